"""Learning rate and batch size."""

from eosflow.studies.base import Study

STUDY = Study(__name__, version=3, measurements=("top-eigenvalues",))
