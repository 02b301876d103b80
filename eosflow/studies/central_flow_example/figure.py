"""Its drawing: that of `central-flow`."""

from eosflow.studies.central_flow.figure import draw as draw
