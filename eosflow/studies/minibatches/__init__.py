"""What minibatches do in the sharpest directions."""

from eosflow.studies.base import Study

STUDY = Study(
    __name__, version=1, measurements=("gradient-alignment", "alpha-scan", "minibatch-sharpness")
)
