"""Decompose all snapshots of a run, or a single one."""

from __future__ import annotations

import argparse
from pathlib import Path

from eosflow.workflow import command_line, gpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="folder of the run")
    parser.add_argument("--step", type=int, help="iteration of one snapshot; without it, all")
    parser.add_argument("--subset", type=Path, required=True, help="the .npz it was trained on")
    parser.add_argument("--device", choices=gpu.CHOICES, default="auto")
    parser.add_argument("--gpus", type=int, default=1, help="how many to hold; 0: use the CPU")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    with gpu.lease(arguments.device, arguments.gpus) as device:
        import torch  # after the lease, which decides what torch sees

        from eosflow.runs import measure

        torch.set_num_threads(arguments.threads)
        place = (arguments.subset, device)
        if arguments.step is None:
            measure.decompose_run(arguments.folder, *place)
        else:
            measure.decompose_snapshot(arguments.folder, arguments.step, *place)


if __name__ == "__main__":
    command_line.run(main)
