"""Take measurements of all snapshots of a run, or of a single one."""

from __future__ import annotations

import argparse
import contextlib
import json
from pathlib import Path

from eosflow.measurements import MEASUREMENTS
from eosflow.runs.names import place_of
from eosflow.storage import settings
from eosflow.workflow import command_line, gpu
from eosflow.workflow.locks import measuring_in


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="folder of the run")
    parser.add_argument(
        "--measurement",
        type=json.loads,
        nargs="+",
        default=[{"name": "decomposition"}],
        help='JSON, name and settings of each, such as {"name": "decomposition"}',
    )
    parser.add_argument("--step", type=int, help="iteration of one snapshot; without it, all")
    parser.add_argument("--subset", type=Path, required=True, help="the .npz it was trained on")
    parser.add_argument("--device", choices=gpu.CHOICES, default="auto")
    parser.add_argument("--gpus", type=int, default=1, help="how many to hold; 0: use the CPU")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    measurements = [settings.from_record(MEASUREMENTS, each) for each in arguments.measurement]
    with contextlib.ExitStack() as held:
        for measurement in measurements:
            held.enter_context(measuring_in(arguments.folder, place_of(measurement.name)))
        device = held.enter_context(gpu.lease(arguments.device, arguments.gpus))
        import torch  # after the lease, which decides what torch sees

        from eosflow.runs.measure import measure_run, measure_snapshot

        torch.set_num_threads(arguments.threads)
        for measurement in measurements:
            place = (arguments.subset, measurement, device)
            if arguments.step is None:
                measure_run(arguments.folder, *place)
            else:
                measure_snapshot(arguments.folder, arguments.step, *place)


if __name__ == "__main__":
    command_line.run(main)
