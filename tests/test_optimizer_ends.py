"""Where optimizers end: gradients, the stop that is chosen, quartiles, verdicts, the picture."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
from project import ROOT
from scipy import stats
from verdicts import AGAINST, FEW, drawn, judged

from eosflow.analysis import claims
from eosflow.optimizers import OPTIMIZERS
from eosflow.optimizers.gradient import GradientDescent
from eosflow.storage.settings import record
from eosflow.studies import STUDIES
from eosflow.studies.optimizer_ends.table import EARLY, EQUAL_EPOCHS, QUARTILES, gradients, table
from eosflow.studies.runs import StudyRun
from eosflow.workflow import config, expand

SLOW, FAST = "SGD, η = 0.01", "SGD, η = 0.1"
# Test accuracy by sharpness: the sharper, the worse.
ENDS: dict[str, tuple[dict[str, Any], float, float]] = {
    "slow": ({"name": "gradient-descent", "learning_rate": 0.01, "momentum": 0.0}, 40.0, 0.25),
    "fast": ({"name": "gradient-descent", "learning_rate": 0.1, "momentum": 0.0}, 20.0, 0.27),
    "heavy": ({"name": "gradient-descent", "learning_rate": 0.01, "momentum": 0.9}, 30.0, 0.26),
    "sam": ({"name": "sam", "learning_rate": 0.1, "rho": 0.1}, 10.0, 0.29),
    "tracer": ({"name": "sgd-tracer", "learning_rate": 0.1, "rho": 0.1}, 5.0, 0.30),
    "mean": ({"name": "swa", "learning_rate": 0.1, "average_after": 3}, 15.0, 0.28),
}


def run(experiment: str, seed: int, looks: list[float], stopped: str = "max_iterations") -> Any:
    """λ₁ and N_eff as in `ENDS`, more by 1 % a seed; `looks` are the accuracies to choose by."""
    optimizer, sharpness, accuracy = ENDS[experiment]
    spec = {
        "experiment": experiment, "dataset": {"name": "cifar10"}, "network": {"name": "mlp"},
        "n": 100, "init_seed": seed, "subset_seed": 0, "optimizer": optimizer,
        "batch": {"name": "shuffled", "size": 25},
    }  # fmt: skip
    place = {"iteration": np.arange(len(looks)) * 10, "flow_time": np.arange(len(looks)) * 1.0}
    last = np.array([1e3] * (len(looks) - 1) + [sharpness * (1 + seed / 100)])
    first = pd.DataFrame(
        place | {"eigenvalue_1": last, "residual_1": 1e-3, "eigenvalue_2": 1.0, "converged": True}
    )
    held_out = [0.1 * number for number in range(len(looks) - 1)] + [accuracy + seed / 1000]
    second = pd.DataFrame(
        place
        | {"loss": 1.0, "accuracy": 0.9, "held_out_loss": 2.0, "held_out_accuracy": held_out}
        | {"validation_loss": 2.0, "validation_accuracy": looks}
    )
    third = pd.DataFrame(
        place
        | {"effective_parameters": last * 10, "effective_parameters_error": 1.0}
        | {"effective_parameters_relative": 3.0, "effective_parameters_relative_error": 0.1}
        | {"sharpness_gauss_newton": last, "residual_gauss_newton": 1e-3}
    )
    names = ("top-eigenvalues", "accuracy", "effective-parameters")
    measured = dict(zip(names, (first, second, third), strict=True))
    return StudyRun(spec, stopped, pd.DataFrame(), 1.0, measured)


@functools.cache
def _made(seeds: int) -> pd.DataFrame:
    runs = []
    for name in ENDS:
        looks = [0.1, 0.2, 0.3, 0.25] if name == "fast" else [0.1, 0.2]
        runs += [run(name, seed, looks) for seed in range(seeds)]
    return table(runs)


def made(seeds: int = 6) -> pd.DataFrame:
    """The table of runs that were made up, to be changed."""
    return _made(seeds).copy()


def test_the_stop_is_chosen_by_the_examples_kept_apart() -> None:
    frame = made()
    early = frame[(frame["method"] == EARLY) & (frame["statistic"] == "run")]
    assert early["iteration"].tolist() == [20] * 6  # where `looks` are best, not the others
    assert early["held_out_accuracy"].tolist() == pytest.approx([0.2] * 6)
    assert early["gradients"].tolist() == [20] * 6
    assert set(early["experiment"]) == {"fast"}  # the others were looked at twice


def test_gradients_are_those_that_the_method_needs() -> None:
    course = pd.DataFrame({"power_iterations": [3, 0, 0, 0, 0, 2, 0, 0, 0, 0]})
    noise = {**record(OPTIMIZERS["sharpest-noise"].example()), "k": 1, "examples": 50}
    counted = {
        "gradient-descent": ({}, 7), "swa": ({}, 7), "sam": ({}, 14), "adam-sam": ({}, 14),
        "sgd-tracer": ({}, 21),
        "trace-penalty": ({"probes": 2}, 49),
    }  # fmt: skip
    for name, (settings, expected) in counted.items():
        one = run("fast", 0, [0.1, 0.2])
        optimizer = {**record(OPTIMIZERS[name].example()), **settings}
        one = StudyRun({**one.spec, "optimizer": optimizer}, "", course, 1.0, {})
        assert gradients(one, 7) == expected
    one = StudyRun({**run("fast", 0, [0.1]).spec, "optimizer": noise}, "", course, 1.0, {})
    # Products of two vectors, each of two gradients over 50 examples, which are two batches.
    assert gradients(one, 7) == 7 + (3 + 2) * 2 * 2 * 2
    assert gradients(one, 5) == 5 + 3 * 2 * 2 * 2


def test_quartiles_are_over_the_seeds_that_did_not_diverge() -> None:
    runs = [run("sam", seed, [0.1, 0.2]) for seed in range(5)]
    runs.append(run("sam", 5, [0.1, 0.2], stopped="diverged"))
    frame = table(runs).set_index("statistic")
    ends = np.array([10.0 * (1 + seed / 100) for seed in range(5)])
    for statistic, share in QUARTILES.items():
        row = frame.loc[statistic]
        assert row["sharpness"] == pytest.approx(np.quantile(ends, share))
        assert row["seeds"] == 5
    assert frame.loc["run", "sharpness"].isna().tolist() == [False] * 5 + [True]


def test_the_slides_numbers_stand_beside_cells_that_were_not_run() -> None:
    source = made()
    source = source[source["statistic"] == "source"]
    assert set(source["stopped"]) == {"not run"}
    assert source["held_out_accuracy"].isna().all()
    noisy = source[source["problem"].str.contains("label noise")].set_index("method")
    assert noisy["source_accuracy"].tolist() == [0.2196, 0.4989, 0.5162]


# The files of each of the slides' tables, and the gradients of a run in full and in small.
SLIDES = {
    "3": (["tables"], (78_000, 300)),
    "4": (["tables", "tables-vit"], (78_000, 1_200)),
    "5": (["tables-bert"], (3_600, 300)),
}
TAKEN = {"gradient-descent": 1, "adam": 1, "sam": 2, "adam-sam": 2}
TAKEN |= dict.fromkeys(("sgd-tracer", "adam-tracer"), 3)


@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("number", SLIDES)
def test_the_slides_tables_give_each_method_as_many_gradients_or_epochs(
    number: str, small: bool
) -> None:
    files, gradients = SLIDES[number]
    own = [f"{files[-1]}-small"] * small
    paths = [ROOT / "config.yaml", *(ROOT / "config" / f"{name}.yaml" for name in [*files, *own])]
    runs = expand.expand(config.load(paths)).values()
    methods = {one.experiment for one in runs}
    assert len(runs) == len(methods) * (1 if small else claims.FEWEST_SEEDS)
    for one in runs:
        steps, epochs = one.stop.max_iterations, one.experiment.endswith("-epochs")
        assert steps * (1 if epochs else TAKEN[one.optimizer.name]) == gradients[small]
        assert cast("GradientDescent", one.optimizer).cosine_steps == steps
        assert [one.snapshots.wanted(step, 0.0, 0.0) for step in (0, 1, steps - 1)] == [1, 0, 0]
        changed, data = record(one.batch).get("augment"), record(one.data)
        assert number == "5" or (changed != "none") == one.experiment.startswith("augmented")
        assert data.get("label_noise", 0) == (0.5 if one.experiment.startswith("noise") else 0)
        assert small or one.n == one.data.size()


def test_the_slides_networks_and_held_out_examples_are_theirs() -> None:
    def runs(*names: str) -> dict[str, Any]:
        paths = [ROOT / "config.yaml", *(ROOT / "config" / f"{name}.yaml" for name in names)]
        return {one.folder: one for one in expand.expand(config.load(paths)).values()}

    third, fourth, fifth = (runs(*SLIDES[number][0]) for number in SLIDES)
    for one in third.values():
        assert one.network.describe() == "ResNet of 20 layers with 16 to 64 channels, relu"
        assert one.outputs == 100
    for folder, one in fourth.items():
        assert one.parameters == 313_892
        assert dataclasses.replace(third[folder], network=one.network) == one
    given = config.load([ROOT / "config.yaml", ROOT / "config/tables-bert.yaml"])["experiments"]
    for one in fifth.values():
        words = "BERT of 12 layers, width 768, 12 heads, from google-bert/bert-base-uncased"
        assert one.network.describe() == words
        held_out = given[one.experiment]["measurements"]["accuracy"]["held_out"]
        assert held_out == one.data.size(held_out=True)


def test_adam_stands_beside_adam_tracer_with_as_many_gradients() -> None:
    whole = [ROOT / "config.yaml", ROOT / "config" / "ends-adam.yaml"]
    loaded = config.load(whole)
    runs = expand.expand(loaded).values()
    assert [one.experiment for one in runs] == ["ends-adam"] * 6 + ["ends-adam-tracer"] * 6
    assert {one.stop.max_iterations for one in runs} == {600, 200}
    # So that the rows may stand in one table with those of the demo.
    demo = config.load([ROOT / "config.yaml", ROOT / "config" / "studies-demo.yaml"])
    other = expand.Parts(demo, "ends-sam")
    for name in ("ends-adam", "ends-adam-tracer"):
        parts = expand.Parts(loaded, name)
        for part in ("data", "network", "batch", "measurements", "seeds"):
            assert getattr(parts, part) == getattr(other, part)
        for key in ("dataset", "criterion", "n"):
            assert loaded["experiments"][name][key] == demo["experiments"]["ends-sam"][key]


def verdicts(frame: pd.DataFrame) -> dict[str, Any]:
    return judged("optimizer-ends", frame).to_dict("index")


def test_ratios_and_differences_against_sgd_at_the_large_rate() -> None:
    found = verdicts(made())
    measured = {claim: float(row["measured"]) for claim, row in found.items()}
    expected = {
        "larger-rate-less-sharp": 0.5, "larger-rate-fewer": 0.5, "larger-rate-better": 2,
        "sam-less-sharp": 0.5, "sam-better": 2, "tracer-less-sharp": 0.25, "tracer-fewer": 0.25,
        "tracer-better": 3, "tracer-better-than-sam": 1, "averaging-better": 1,
        "momentum-better": -1, "early-stopping-better": -7.25, "less-sharp-is-better": -1,
        "fewer-is-better": -1,
    }  # fmt: skip
    assert measured == pytest.approx(expected, rel=5e-3)
    wrong = {claim for claim, row in found.items() if row["verdict"] in AGAINST}
    assert wrong == {"momentum-better", "early-stopping-better"}
    assert found["sam-better"]["settings"] == f"cifar10, mlp, N = 100: SAM against {FAST}"
    assert found["larger-rate-better"]["settings"].endswith(f"{FAST} against {SLOW}")


def test_adam_tracer_is_compared_with_adam_and_needs_no_sgd() -> None:
    names = {"SAM": "SAM with Adam", FAST: "Adam", "SGD-TRACER": "Adam-TRACER"}
    frame = made()
    frame = frame[frame["method"].isin(names)].copy()
    frame["method"] = frame["method"].map(names)
    found = verdicts(frame)
    measured = {claim: float(row["measured"]) for claim, row in found.items()}
    expected = {
        "adam-tracer-less-sharp": 0.25, "adam-tracer-fewer": 0.25, "adam-tracer-better": 3,
        "adam-tracer-better-than-sam": 1,
    }  # fmt: skip
    assert measured == pytest.approx(expected, rel=5e-3)
    assert found["adam-tracer-better"]["settings"] == (
        "cifar10, mlp, N = 100: Adam-TRACER against Adam"
    )


def test_one_learning_rate_of_sgd_is_compared_with_the_others() -> None:
    frame = made()
    found = verdicts(frame[frame["method"] != SLOW])
    assert not [claim for claim in found if claim.startswith("larger-rate")]
    both = verdicts(frame)
    assert found["sam-better"]["measured"] == both["sam-better"]["measured"]
    assert found["sam-better"]["settings"].endswith(f"SAM against {FAST}")


def test_augmented_runs_are_a_problem_of_their_own() -> None:
    whole = run("sam", 0, [0.1, 0.2])
    batch = {**whole.spec["batch"], "augment": "crop-and-flip"}
    frame = table([whole, dataclasses.replace(whole, spec={**whole.spec, "batch": batch})])
    ours = frame[frame["statistic"] == "run"]["problem"].tolist()
    assert ours == ["cifar10, mlp, N = 100", "cifar10, mlp, N = 100, augmented"]


def test_a_rank_correlation_is_that_of_scipy_and_takes_five_optimizers_and_six_seeds() -> None:
    frame = made()
    frame.loc[frame["method"] == "SAM", "held_out_accuracy"] = 0.2
    row = verdicts(frame)["less-sharp-is-better"]
    sharp = [40.0, 20.0, 30.0, 10.0, 5.0, 15.0]
    test = [0.25, 0.27, 0.26, 0.2, 0.30, 0.28]
    assert row["measured"] == pytest.approx(stats.spearmanr(sharp, test).statistic, abs=1e-3)
    assert {row["verdict"] for row in verdicts(made(seeds=5)).values()} == FEW
    few = verdicts(made()[made()["method"].isin([FAST, "SAM", "SGD-TRACER"])])
    assert "less-sharp-is-better" not in few


def test_a_method_of_two_gradients_is_compared_at_equal_epochs_too() -> None:
    long = table([run("slow", 0, [0.1, 0.2]), run("sam", 0, [0.1, 0.2])])
    assert set(long.loc[long["statistic"] == "run", "method"]) == {SLOW, "SAM" + EQUAL_EPOCHS}
    frame = made()
    same = frame[frame["method"] == "SAM"].assign(method="SAM" + EQUAL_EPOCHS)
    rows = STUDIES["optimizer-ends"].judge(pd.concat([frame, same]))
    named = rows.loc[rows["claim"] == "sam-better", "settings"].str.contains(EQUAL_EPOCHS)
    assert named.tolist() == [False, True]


def test_each_optimizer_has_its_marks_beside_its_name_and_each_problem_its_row() -> None:
    frame = made()
    middle = frame[frame["statistic"] == "median"].set_index("method")
    panels = drawn("optimizer-ends", frame).axes
    names = [label.get_text() for label in panels[0].get_yticklabels()]
    assert names == list(middle.sort_values("sharpness").index)
    for axes, (column, scale) in zip(
        panels,
        {"sharpness": 1, "accuracy": 100, "held_out_accuracy": 100}.items(),
        strict=True,
    ):
        marks = [line.get_xydata()[0] for line in axes.lines if line.get_marker() == "o"]
        assert len(marks) == len(names)
        for x, place in marks:
            assert x == pytest.approx(scale * middle.loc[names[int(place)], column])
    other = frame[frame["statistic"] != "source"].assign(problem="cifar10-noise, mlp, N = 100")
    both = drawn("optimizer-ends", pd.concat([frame, other])).axes
    titles = [axes.get_title(loc="left") for axes in both[::3]]
    assert titles == [middle["problem"].iloc[0], "cifar10-noise, mlp, N = 100"]
