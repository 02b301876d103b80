"""The drawing of the study."""

from eosflow.studies.work_precision.figure import draw

__all__ = ["draw"]
