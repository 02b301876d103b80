"""The table of the study: one row per run and snapshot measured."""

from eosflow.studies.runs import with_eigenvalues as table

__all__ = ["table"]
