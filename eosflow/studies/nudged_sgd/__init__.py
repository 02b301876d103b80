"""Nudged-SGD, with its accuracies."""

from eosflow.studies.base import Study

STUDY = Study(__name__, version=1, measurements=("accuracy", "distance"))
