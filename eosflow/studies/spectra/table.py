"""The table of the study: one row per run and snapshot measured."""

from eosflow.studies.runs import with_accuracies as table

__all__ = ["table"]
