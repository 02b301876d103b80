"""What SGD holds at the edge: batch sharpness by batch size."""

from eosflow.studies.base import Study

STUDY = Study(__name__, version=1)
