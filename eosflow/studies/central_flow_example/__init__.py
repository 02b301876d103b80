"""One run of the study of central flows, in seconds."""

from eosflow.studies.base import Study

STUDY = Study(__name__, version=3)
