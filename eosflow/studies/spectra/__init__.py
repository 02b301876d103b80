"""The largest eigenvalues and the accuracies."""

from eosflow.studies.base import Study

STUDY = Study(__name__, version=2, measurements=("top-eigenvalues", "accuracy"))
