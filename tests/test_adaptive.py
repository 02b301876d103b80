"""Adaptive runs from the config to the claims: snapshots in flow time, and no transient."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import synthetic
from fuzzing.nursery import Nursery
from project import ROOT, Project

from eosflow.results import run_summaries
from eosflow.results.figures import drawing
from eosflow.runs.snapshots import SNAPSHOTS, FlowTimes
from eosflow.storage.settings import make
from eosflow.workflow import config, resources
from eosflow.workflow.expand import expand


def taken(schedule: FlowTimes, times: list[float]) -> list[int]:
    """The iterations of a run at these flow times that leave a snapshot."""
    found: list[int] = []
    for iteration, time in enumerate(times):
        last = times[found[-1]] if found else -math.inf
        if schedule.wanted(iteration, time, last):
            found.append(iteration)
    return found


def test_flow_times_leave_one_snapshot_per_mark() -> None:
    schedule = make(SNAPSHOTS, "flow-time", {"per_decade": 4})
    assert isinstance(schedule, FlowTimes)
    # Steps much shorter than the marks' distances: one per mark, and the first two iterations.
    times = [0.0, *np.geomspace(1e-3, 1.0, 3001)]
    found = taken(schedule, times)
    assert found[:2] == [0, 1]
    marks = {math.floor(4 * math.log10(times[index])) for index in found[1:]}
    assert len(found) - 1 == len(marks)
    assert 4 * 3 <= len(marks) <= 4 * 3 + 1
    # Steps that are longer: all of them, and none is cut.
    assert taken(schedule, [0.0, 0.001, 0.01, 0.1, 1.0]) == [0, 1, 2, 3, 4]


def test_flow_times_ask_no_more_where_a_run_goes_on() -> None:
    schedule = FlowTimes()
    times = [0.0, *np.cumsum(np.geomspace(1e-3, 1e-1, 50))]
    found = taken(schedule, times)
    kept = [index for index in found if index <= 20]
    last = times[kept[-1]]
    assert not schedule.wanted(kept[-1], last, last)
    assert next(i for i in range(21, 51) if schedule.wanted(i, times[i], last)) == found[len(kept)]
    assert schedule.count(20, 5.0) == 20
    assert schedule.count(1e6, 5.0) == 48


def test_a_frame_says_which_runs_have_a_transient() -> None:
    decomposition, runs = synthetic.frames(["dice-ce"], seeds=2)
    usual = run_summaries.alignment_peaks(decomposition)
    first = decomposition["init_seed"] == 0
    mixed = decomposition.assign(transient=np.where(first, 0, np.nan))
    pd.testing.assert_frame_equal(run_summaries.alignment_peaks(mixed), usual)
    # Ten iterations of 0.01 are 0.1 units of flow time; a snapshot comes every hundred iterations.
    for factor, expected in ((1, [10, 10]), (0.2, [100, 10]), (1e-5, [0, 10])):
        scaled = mixed.assign(flow_time=mixed["flow_time"] * factor)
        starts = run_summaries.after_transient(scaled).groupby("init_seed")["iteration"].min()
        assert starts.tolist() == expected  # the last of these ends before
    beginning = decomposition.query("iteration <= 300")  # of which the ten are more than 2 %
    shaded = drawing.draw("figure06", beginning, runs)
    none = drawing.draw("figure06", beginning.assign(transient=0), runs)
    for figure, there in ((shaded, True), (none, False)):
        legends = [*figure.legends, *(axes.get_legend() for axes in figure.axes)]
        texts = [text.get_text() for legend in legends if legend for text in legend.get_texts()]
        assert any("transient" in text for text in texts) is there


def test_an_adaptive_run_is_given_time_for_fewer_steps() -> None:
    minutes = []
    for files in (["config.yaml"], ["config.yaml", "config/adaptive.yaml"]):
        settings = config.load([ROOT / name for name in files], {"device": "cpu"})
        runs = expand(settings).values()
        run = next(run for run in runs if (run.dataset, run.n) == ("cifar10", 390))
        minutes.append(resources.minutes(run, settings, 0))
    assert minutes[1] < minutes[0] / 3


class Adaptive(Project):
    configs = ("config/adaptive.yaml", "tiny.yaml")


@pytest.mark.slow
def test_the_adaptive_paper_is_planned_and_a_tiny_one_is_made(
    tmp_path: Path, nursery: Nursery
) -> None:
    project = Adaptive(tmp_path / "tree").hurry(nursery)
    assert project.jobs("--configfile", "config/adaptive.yaml", tiny=False)["train"] > 0
    project.make(*(f"results/{name}" for name in ("table2.csv", "claims.csv")))
    runs = pd.read_parquet(project.results / "runs.parquet")
    assert (runs["stopped"] == "target_loss").all()
    assert runs["optimizer"].str.startswith("exponential Rosenbrock").all()
    assert (runs["iterations"] < 100).all()
    assert (runs["final_loss"] / runs["target_loss"]).between(0.999, 1).all()
    decomposition = pd.read_parquet(project.results / "decomposition.parquet")
    assert (decomposition["transient"] == 0).all()
    snapshots = decomposition.groupby(run_summaries.IDENTITY)["iteration"]
    assert (snapshots.min() == 0).all() and (snapshots.count() >= 5).all()
    assert len(run_summaries.alignment_peaks(decomposition)) == len(runs)
    run = project.results / "mse/n6/init0-subset0"
    products = pd.read_parquet(run / "trajectory.parquet")["power_iterations"]
    assert (products > 0).all()
    assert json.loads((run / "run.json").read_text())["block_products"] == products.sum()
