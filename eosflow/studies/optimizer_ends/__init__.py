"""Which optimizer ends where."""

from eosflow.studies.base import Study

STUDY = Study(
    __name__, version=3, measurements=("top-eigenvalues", "accuracy", "effective-parameters")
)
