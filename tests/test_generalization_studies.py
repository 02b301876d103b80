"""From sharpness to generalization: the studies against closed forms, and what is said of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import multivariate_normal
from torch import Tensor, nn
from verdicts import AGAINST, FOR, judged

from eosflow.analysis import claims
from eosflow.networks.module import ModuleNetwork, glorot_uniform
from eosflow.objectives.module import ModuleObjective
from eosflow.studies.base import DESCENT, FLOW
from eosflow.studies.effective_parameters import rows as effective_parameters
from eosflow.studies.generalized_prediction_error import rows as prediction_error
from eosflow.studies.generalized_prediction_error.rows import DEGREES, NOISE, PRIOR
from eosflow.studies.spectral_density import rows as spectra_study
from eosflow.studies.testbeds import cheb, dense


def linear() -> tuple[ModuleObjective, Tensor]:
    """½ E(y − w·x)² in five features, and its minimum."""
    stream = torch.Generator().manual_seed(1)
    inputs = torch.randn(30, 5, generator=stream, dtype=torch.float64)
    targets = torch.randn(30, 1, generator=stream, dtype=torch.float64)
    module = ModuleNetwork(nn.Linear(5, 1, bias=False), (5,), glorot_uniform)
    objective = ModuleObjective(module, "half_squared_error", inputs, targets)
    objective.network.initialize(0)
    return objective, torch.linalg.lstsq(inputs, targets).solution[:, 0]


def test_the_prediction_error_of_ridge_is_moodys() -> None:
    for row in prediction_error.ridge(seed=7):
        assert row["gap"] == pytest.approx(row["expected"], abs=4 * row["gap_error"])
        assert row["test_error"] - row["train_error"] == pytest.approx(row["gap"])


def test_the_evidence_is_the_density_of_the_data() -> None:
    places = torch.linspace(-1, 1, 12, dtype=torch.float64)
    targets = torch.cos(3 * places)
    for degree in DEGREES:
        features = prediction_error.legendre(places, degree)
        # Legendre polynomials by numpy, and the law of y by scipy.
        expected = np.polynomial.legendre.legvander(places.numpy(), degree)
        expected = expected * np.sqrt(2 * np.arange(degree + 1) + 1)
        np.testing.assert_allclose(features, expected, atol=1e-12)
        covariance = NOISE**2 * np.eye(12) + expected @ expected.T / PRIOR
        law = multivariate_normal(np.zeros(12), covariance)
        value = float(law.logpdf(targets.numpy()))
        assert prediction_error.log_evidence(features, targets) == pytest.approx(value, rel=1e-10)
    rows = pd.DataFrame(prediction_error.evidence(0))
    assert len(rows) == 9
    assert ((rows["effective"] > 0) & (rows["effective"] < rows["degree"] + 1)).all()


def test_noise_on_the_weights_of_a_quadratic_adds_half_its_curvature(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(prediction_error, "PAIRS", 20)
    objective, least = linear()
    rows = pd.DataFrame(prediction_error.noise(objective, least, seed=0))
    assert set(rows["noise"]) == {"all weights", "along q₁"}
    curvature = objective.inputs.T @ objective.inputs / 30
    values = torch.linalg.eigvalsh(curvature)
    first = rows.set_index(["noise", "scale"])["predicted"]
    assert first["all weights", 0.1] == pytest.approx(0.005 * values.sum().item())
    assert first["along q₁", 0.1] == pytest.approx(0.005 * values[-1].item())
    assert ((rows["added"] - rows["predicted"]).abs() < 4 * rows["added_error"]).all()
    # Exactly quadratic: a hundred times the noise adds ten thousand times as much.
    added = rows.set_index(["noise", "scale"])["added"]
    assert added["along q₁", 0.1] / added["along q₁", 0.001] == pytest.approx(1e4, rel=1e-6)


def test_effective_parameters_are_counted_at_each_look(monkeypatch: pytest.MonkeyPatch) -> None:
    objective = cheb()
    monkeypatch.setattr(effective_parameters, "EVERY", 2.0)
    frame = pd.DataFrame(effective_parameters.rows((0,), (0.2, 0.4), end=4.0))
    assert frame["iteration"].tolist() == [0, 10, 20, 0, 5, 10]
    theta = objective.network.initialize(0)
    for _ in range(10):
        theta = theta - 0.2 * objective.evaluate(theta).gradient
    evaluation = objective.evaluate(theta)
    values = np.linalg.eigvalsh(dense(evaluation, "gauss_newton").numpy()).clip(min=0)
    hessian = np.linalg.eigvalsh(dense(evaluation, "hessian").numpy())
    expected = {
        "loss": evaluation.loss,
        "effective": (values / (values + 0.01)).sum(),
        "effective_relative": (values / (values + 0.01 * values.max())).sum(),
        "sharpness": hessian.max(),
        "of_hessian": (hessian / (hessian + 0.01)).sum(),
    }
    assert frame.loc[1, list(expected)].to_dict() == pytest.approx(expected, rel=1e-6)
    assert (frame["turned_effective"] - 1).abs().max() < 1e-6
    assert (frame["turned_sharpness"] > 1.25).all()
    singular = torch.linalg.svdvals(effective_parameters.coordinates(20))
    assert singular.max() / singular.min() == pytest.approx(10)


@pytest.mark.slow
def test_the_spectrum_is_looked_at_around_the_first_instability(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(spectra_study, "EVERY", 50)
    frame = pd.DataFrame(spectra_study.rows((1,)))
    numbers = frame[frame["kind"] == "numbers"].set_index(["matrix", "phase"])
    before, peak, after = (numbers.loc["hessian", phase] for phase in ("before", "in", "after"))
    assert before["iteration"] < peak["iteration"] == after["iteration"] - 60
    assert 2 <= before["largest"] * 0.4 < 2.4
    assert peak["loss"] > 3 * before["loss"]
    assert after["largest"] < peak["largest"]
    assert numbers.loc["gauss_newton", "before"]["smallest"] > -1e-12
    assert ((numbers["trace"] - numbers["trace_exact"]).abs() < 4 * numbers["trace_error"]).all()
    counts = frame[(frame["kind"] == "counts") & (frame["matrix"] == "gauss_newton")]
    below = counts[counts["value"] < -1e-9]  # G has no negative eigenvalues
    assert (below["count_exact"] == 300).all() and below["count"].to_numpy() == pytest.approx(300)
    ends = frame[frame["kind"] == "ends"].set_index("method")
    assert ends.loc[DESCENT, "loss"] == pytest.approx(after["loss"], rel=1e-9)
    # Small steps are near the flow, which is not held at 2/η.
    small, flow = ends.loc[spectra_study.SMALL_STEPS], ends.loc[FLOW]
    assert small["loss"] == pytest.approx(flow["loss"], rel=0.1)
    assert flow["largest"] > ends.loc[DESCENT, "largest"]


def counted(seed: int, large: float) -> pd.DataFrame:
    columns = {"seed": seed, "learning_rate": [0.1, 0.1, 0.4, 0.4], "flow_time": [0.0, 9.0] * 2}
    columns |= {"sharpness": [1.0, 8.0, 1.0, 4.0], "effective": [2.0, 5.0, 2.0, large]}
    columns |= {"effective_relative": [2.0, 4.0, 2.0, 5.0], "turned_effective": 1 + 1e-9}
    columns |= {"of_hessian": [3.0, -345.0, 284.0, 301.0], "turned_sharpness": 30.0}
    return pd.DataFrame(columns | {"turned_trace": 1.1})


def verdicts(study: str, frames: list[pd.DataFrame]) -> pd.DataFrame:
    return judged(study, pd.concat(frames))


def test_verdicts_on_the_count() -> None:
    found = verdicts("effective-parameters", [counted(seed, 4.0) for seed in range(6)])
    assert found.loc[~found["verdict"].isin(FOR), "verdict"].to_dict() == {
        "trace-is-not": claims.CONTRADICTED,
        "count-of-the-hessian": claims.UNEXPECTED,
        "large-rates-tame-the-relative-number": claims.UNEXPECTED,
    }
    assert float(found.loc["count-of-the-hessian", "measured"]) == 0.5
    found = verdicts("effective-parameters", [counted(seed, 6.0) for seed in range(6)])
    assert found.loc["large-rates-tame-the-number", "verdict"] in AGAINST
    made = (counted(seed, 4.0) for seed in range(6))
    gone = [run[run["flow_time"] * run["learning_rate"] < 2] for run in made]
    found = verdicts("effective-parameters", gone)
    assert found.loc["large-rates-tame-the-number", "verdict"] == claims.NOT_RUN


def test_verdicts_on_the_prediction_error_and_the_evidence() -> None:
    def made(seed: int, gap: float, lead: float) -> pd.DataFrame:
        errors = {"part": "ridge", "alpha": [0.1, 1.0], "gap": gap, "expected": 1.0}
        models = [(t, d, 0.0 if t != d else lead) for t in DEGREES for d in DEGREES]
        proofs = pd.DataFrame(models, columns=["truth", "degree", "log_evidence"])
        added = {"part": "noise", "noise": ["all weights", "along q₁"], "scale": 0.01}
        added |= {"added": [1.0, 2.0], "predicted": 1.0}
        parts = pd.DataFrame(errors | {"gap_elsewhere": 1.1}), pd.DataFrame(added)
        return pd.concat([*parts, proofs.assign(part="evidence")]).assign(seed=seed)

    good = verdicts("generalized-prediction-error", [made(seed, 1.02, 1.0) for seed in range(6)])
    bad = verdicts("generalized-prediction-error", [made(seed, 1.4, -1.0) for seed in range(6)])
    assert [v in FOR for v in good["verdict"]] == [True] * 5 + [False]
    assert [v in FOR for v in bad["verdict"]][:4] == [False, True, False, False]


def spectra_of(seed: int, loss: float, moment: float = 1.0) -> pd.DataFrame:
    numbers = pd.DataFrame(
        {
            "kind": "numbers", "seed": seed, "matrix": "hessian",
            "phase": ["before", "in", "after"], "largest": [5.0, 6.0, 4.0], "loss": [0.1, 1.0, 0.2],
            "second_moment_over_law": moment, "trace": 1.0, "trace_exact": 1.1, "trace_error": 0.1,
        }
    )  # fmt: skip
    methods = [DESCENT, spectra_study.SMALL_STEPS, FLOW]
    ends = {"kind": "ends", "seed": seed, "method": methods, "largest": [4.0, 9.0, 9.0]}
    return pd.concat([numbers, pd.DataFrame(ends | {"loss": [loss, 0.075, 0.07]})])


def test_verdicts_on_the_spectrum() -> None:
    found = verdicts("spectral-density", [spectra_of(seed, 0.08) for seed in range(6)])
    assert found.loc["less-sharp", "measured"] == 0.8
    assert set(found.loc[["less-sharp", "less-sharp-than-the-flow", "better"], "verdict"]) <= FOR
    # Lower than at the start, but not than small steps from there: nothing the instability did.
    against = ["better-than-small-steps", "better-than-the-flow"]
    assert set(found.loc[against, "verdict"]) == {claims.CONTRADICTED}
    found = verdicts("spectral-density", [spectra_of(seed, 0.05, 9.0) for seed in range(6)])
    assert set(found.loc[against, "verdict"]) == {claims.HOLDS}
    assert set(found.loc["bulk-follows-the-law", "verdict"]) == {claims.CONTRADICTED}


def test_the_bulk_of_a_wishart_sample_is_found_without_its_outliers() -> None:
    stream = torch.Generator().manual_seed(0)
    sample = torch.randn(400, 200, generator=stream, dtype=torch.float64)
    values = torch.linalg.eigvalsh(sample.T @ sample / 400)
    spiked = torch.cat([values, torch.tensor([40.0, 60.0, 90.0], dtype=torch.float64)])
    law = spectra_study.bulk(spiked, 0.5)
    assert law.variance == pytest.approx(1, rel=0.03)
    assert (spiked > law.edges[1]).sum() <= 5
    assert spectra_study.bulk(-spiked, 0.5) is None
