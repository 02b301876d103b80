"""Run one job of the workflow: python scripts/job.py NAME PLAN [WORD …], see --help."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from eosflow.workflow import jobs

if __name__ == "__main__":
    jobs.start()
