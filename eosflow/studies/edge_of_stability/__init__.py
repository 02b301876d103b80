"""Gradient descent and the flow."""

from eosflow.studies.base import Study

STUDY = Study(__name__, version=7)
