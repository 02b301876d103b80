"""Run one job of the workflow: python scripts/job.py NAME PLAN [WORD …], see --help."""

import signal
import sys
from pathlib import Path

# Ctrl-C just ends the process while libraries are loaded; later it is a message.
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from eosflow.workflow import jobs

if __name__ == "__main__":
    jobs.start()
