"""What an optimizer really follows: descent, central flow and flow from one start."""

from eosflow.studies.base import Study

STUDY = Study(__name__, version=2)
