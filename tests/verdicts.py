"""Verdicts of either kind of claim, of a source's and of our own."""

from eosflow.analysis import claims

FOR = {claims.HOLDS, claims.AS_EXPECTED}
AGAINST = {claims.CONTRADICTED, claims.UNEXPECTED}
FEW = {claims.NOT_ENOUGH}
