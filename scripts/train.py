"""Train one run into its folder, or continue it from its checkpoint."""

from __future__ import annotations

import argparse
import json
import signal
from pathlib import Path

from eosflow.runs.spec import RunSpec
from eosflow.workflow import command_line, gpu
from eosflow.workflow.locks import alone_in


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spec", type=json.loads, required=True, help="JSON, as in run.json")
    parser.add_argument("--subset", type=Path, required=True, help="the .npz to train on")
    parser.add_argument("--folder", type=Path, required=True, help="where the run's files go")
    parser.add_argument("--device", choices=gpu.CHOICES, default="auto")
    parser.add_argument("--gpus", type=int, default=1, help="how many to hold; 0: use the CPU")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    spec = RunSpec.from_record(arguments.spec)
    # A cluster ends a job so. As Ctrl-C does, it leaves a checkpoint.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with alone_in(arguments.folder), gpu.lease(arguments.device, arguments.gpus) as device:
        from eosflow.runs.train import train  # after the lease, which decides what torch sees

        train(spec, arguments.subset, arguments.folder, device, arguments.threads)


if __name__ == "__main__":
    command_line.run(main)
