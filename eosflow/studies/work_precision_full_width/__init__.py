"""Error against work at the paper's width."""

from eosflow.studies.base import Study

STUDY = Study(__name__, version=6, like="work_precision", options={"full_width": True})
