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
from verdicts import AGAINST, FEW, drawn, judged, study_run

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


LOOKS = [0.1, 0.2]


def run(
    experiment: str, seed: int, looks: list[float] = LOOKS, stopped: str = "max_iterations"
) -> StudyRun:
    """λ₁ and N_eff as in `ENDS`, more by 1 % a seed; `looks` are the accuracies to choose by."""
    optimizer, sharpness, accuracy = ENDS[experiment]
    place = {"iteration": np.arange(len(looks)) * 10, "flow_time": np.arange(len(looks)) * 1.0}
    last = np.array([1e3] * (len(looks) - 1) + [sharpness * (1 + seed / 100)])
    held_out = [0.1 * number for number in range(len(looks) - 1)] + [accuracy + seed / 1000]
    columns = {
        "top-eigenvalues": {
            "eigenvalue_1": last, "residual_1": 1e-3, "eigenvalue_2": 1.0, "converged": True,
        },
        "accuracy": {
            "loss": 1.0, "accuracy": 0.9, "held_out_loss": 2.0, "held_out_accuracy": held_out,
            "validation_loss": 2.0, "validation_accuracy": looks,
        },
        "effective-parameters": {
            "effective_parameters": last * 10, "effective_parameters_error": 1.0,
            "effective_parameters_relative": 3.0, "effective_parameters_relative_error": 0.1,
            "sharpness_gauss_newton": last, "residual_gauss_newton": 1e-3,
        },
    }  # fmt: skip
    measured = {name: pd.DataFrame(place | found) for name, found in columns.items()}
    return study_run(optimizer, measured, seed, stopped, experiment=experiment)


@functools.cache
def made(seeds: int = 6) -> pd.DataFrame:
    """The table of runs that were made up."""
    peak = {"fast": [0.1, 0.2, 0.3, 0.25]}
    return table([run(name, seed, peak.get(name, LOOKS)) for name in ENDS for seed in range(seeds)])


def test_the_stop_is_chosen_by_the_examples_kept_apart() -> None:
    frame = made()
    early = frame[(frame["method"] == EARLY) & (frame["statistic"] == "run")]
    assert early["iteration"].tolist() == [20] * 6  # where `looks` are best, not the others
    assert early["held_out_accuracy"].tolist() == pytest.approx([0.2] * 6)
    assert early["gradients"].tolist() == [20] * 6
    assert set(early["experiment"]) == {"fast"}  # the others were looked at twice


def test_gradients_are_those_that_the_method_needs() -> None:
    course = pd.DataFrame({"power_iterations": [3, 0, 0, 0, 0, 2, 0, 0, 0, 0]})
    counted = {"gradient-descent": 7, "swa": 7, "sam": 14, "sgd-tracer": 21, "trace-penalty": 28}
    for name, expected in counted.items():
        one = study_run(record(OPTIMIZERS[name].example()), {}, trajectory=course)
        assert gradients(one, 7) == expected
    noise = {**record(OPTIMIZERS["sharpest-noise"].example()), "k": 1, "examples": 50}
    one = study_run(noise, {}, trajectory=course)
    # Products of two vectors, each of two gradients over 50 examples, which are two batches.
    assert gradients(one, 7) == 7 + (3 + 2) * 2 * 2 * 2
    assert gradients(one, 5) == 5 + 3 * 2 * 2 * 2


def test_quartiles_are_over_the_seeds_that_did_not_diverge() -> None:
    frame = table([run("sam", n, stopped="diverged" if n > 4 else "") for n in range(6)])
    frame = frame.set_index("statistic")
    ends = [10.0 * (1 + seed / 100) for seed in range(5)]
    for statistic, share in QUARTILES.items():
        row = frame.loc[statistic]
        assert row["sharpness"] == pytest.approx(np.quantile(ends, share))
        assert row["seeds"] == 5
    assert frame.loc["run", "sharpness"].isna().tolist() == [False] * 5 + [True]
    # The slides' numbers stand beside cells that were not run.
    source = frame.loc["source"]
    assert set(source["stopped"]) == {"not run"} and source["held_out_accuracy"].isna().all()
    noisy = source[source["problem"].str.contains("label noise")]
    assert noisy["source_accuracy"].tolist() == [0.2196, 0.4989, 0.5162]


# The files of each of the slides' tables, and the gradients of a run in full and in small.
SLIDES = {
    "3": (["tables"], (78_000, 300)),
    "4": (["tables", "tables-vit"], (78_000, 1_200)),
    "5": (["tables-bert"], (3_600, 300)),
}
NETWORKS = {"3": "ResNet of 20 layers", "4": "ViT of 6 blocks", "5": "BERT of 12 layers"}
TAKEN = {"gradient-descent": 1, "adam": 1, "sam": 2, "adam-sam": 2}
TAKEN |= dict.fromkeys(("sgd-tracer", "adam-tracer"), 3)


def test_adam_has_as_many_gradients_as_adam_tracer() -> None:
    loaded = config.load([ROOT / "config.yaml", ROOT / "config" / "ends-adam.yaml"])
    steps = {(one.experiment, one.stop.max_iterations) for one in expand.expand(loaded).values()}
    assert steps == {("ends-adam", 600), ("ends-adam-tracer", 200)}


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
        assert small or NETWORKS[number] in one.network.describe()


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
    # One learning rate of SGD is compared with the others all the same.
    one = verdicts(made()[made()["method"] != SLOW])
    assert not [claim for claim in one if claim.startswith("larger-rate")]
    for part in ("measured", "settings"):
        assert one["sam-better"][part] == found["sam-better"][part]
    # Adam-TRACER is compared with Adam, and needs no SGD.
    names = {"SAM": "SAM with Adam", FAST: "Adam", "SGD-TRACER": "Adam-TRACER"}
    frame = made()[made()["method"].isin(names)]
    adam = verdicts(frame.assign(method=frame["method"].map(names)))
    assert {claim: float(row["measured"]) for claim, row in adam.items()} == pytest.approx({
        "adam-tracer-less-sharp": 0.25, "adam-tracer-fewer": 0.25, "adam-tracer-better": 3,
        "adam-tracer-better-than-sam": 1,
    }, rel=5e-3)  # fmt: skip
    assert adam["adam-tracer-better"]["settings"].endswith("Adam-TRACER against Adam")


def test_augmented_runs_are_a_problem_of_their_own() -> None:
    whole = run("sam", 0)
    batch = {**whole.spec["batch"], "augment": "crop-and-flip"}
    frame = table([whole, dataclasses.replace(whole, spec={**whole.spec, "batch": batch})])
    ours = frame[frame["statistic"] == "run"]["problem"].tolist()
    assert ours == ["cifar10, mlp, N = 100", "cifar10, mlp, N = 100, augmented"]


def test_a_rank_correlation_is_that_of_scipy_and_takes_five_optimizers_and_six_seeds() -> None:
    frame = made().copy()
    frame.loc[frame["method"] == "SAM", "held_out_accuracy"] = 0.2
    row = verdicts(frame)["less-sharp-is-better"]
    expected = stats.spearmanr([40, 20, 30, 10, 5, 15], [0.25, 0.27, 0.26, 0.2, 0.30, 0.28])
    assert row["measured"] == pytest.approx(expected.statistic, abs=1e-3)
    assert {row["verdict"] for row in verdicts(made(seeds=5)).values()} == FEW
    few = verdicts(frame[frame["method"].isin([FAST, "SAM", "SGD-TRACER"])])
    assert "less-sharp-is-better" not in few


def test_a_method_of_two_gradients_is_compared_at_equal_epochs_too() -> None:
    long = table([run("slow", 0), run("sam", 0)])
    assert set(long.loc[long["statistic"] == "run", "method"]) == {SLOW, "SAM" + EQUAL_EPOCHS}
    same = made()[made()["method"] == "SAM"].assign(method="SAM" + EQUAL_EPOCHS)
    rows = STUDIES["optimizer-ends"].judge(pd.concat([made(), same]))
    named = rows.loc[rows["claim"] == "sam-better", "settings"].str.contains(EQUAL_EPOCHS)
    assert named.tolist() == [False, True]


def test_each_optimizer_has_its_marks_beside_its_name_and_each_problem_its_row() -> None:
    frame = made()
    middle = frame[frame["statistic"] == "median"].set_index("method").sort_values("sharpness")
    other = frame[frame["statistic"] != "source"].assign(problem="cifar10-noise, mlp, N = 100")
    panels = drawn("optimizer-ends", pd.concat([frame, other])).axes
    titles = [axes.get_title(loc="left") for axes in panels[::3]]
    assert titles == [middle["problem"].iloc[0], "cifar10-noise, mlp, N = 100"]
    assert [label.get_text() for label in panels[0].get_yticklabels()] == list(middle.index)
    scales = {"sharpness": 1, "accuracy": 100, "held_out_accuracy": 100}
    for axes, (column, scale) in zip(panels[:3], scales.items(), strict=True):
        marks = [line.get_xydata()[0].tolist() for line in axes.lines if line.get_marker() == "o"]
        assert marks == [[pytest.approx(scale * x), y] for y, x in enumerate(middle[column])]


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
