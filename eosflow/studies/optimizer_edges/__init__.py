"""Momentum, RMSprop and Adam."""

from eosflow.studies.base import Study

STUDY = Study(__name__, version=2)
