"""The interactive chart of the report: all trajectories, the chart, its library.

The library is bundled into the page, so that nothing is fetched. Without JavaScript the page shows
the static figures alone.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import altair as alt
import pandas as pd
import vl_convert

from eosflow.analysis import style
from eosflow.results import run_summaries
from eosflow.results.figures import title_of
from eosflow.results.run_summaries import FACTORS, IDENTITY, transient

DIGITS = 4  # significant digits of what is drawn
TIMES = {
    "iteration": "iteration",
    "flow_time": "gradient-flow time t",
    "loss": "training loss",
}
_SINGLE = {
    "sharpness_hessian": "λ₁(𝓗), sharpness of the Hessian",
    "sharpness_gauss_newton": "λ₁(G), of the Gauss–Newton part",
    "sharpness_residual": "λ₁(R), of the residual",
    "m_norm2": "E‖M‖²",
    "overlap": "ω, overlap ratio",
}
_FACTORS = {
    "activation_ratio": "ρ₁, activation ratio",
    "activation_norm2": "E[1 + ‖a₀‖²], inputs",
    "criterion_norm2": "E‖H_ℓ^½‖², criterion",
    "jacobian_product": "Π E‖D_j‖², Jacobians",
    "alignment": "A₁, alignment",
}
_LAYERWISE = {
    "layer_norm2_": "E‖M‖² of layer {}",
    "alignment_": "α of layer {}, alignment ratio",
    "jacobian_norm2_": "E‖D‖² of layer {}",
}


def quantities(decomposition: pd.DataFrame) -> dict[str, str]:
    """What can be shown, with its words; only what some run has."""
    layers = range(1, run_summaries.layer_count(decomposition) + 1)
    by_layer = {f"{start}{n}": text.format(n) for start, text in _LAYERWISE.items() for n in layers}
    words = _SINGLE | {"layer_norm2_1": "E‖M₁‖²"} | _FACTORS
    words |= {name: by_layer[name] for name in sorted(by_layer) if name not in words}
    frame = values(decomposition)
    known = {name for name in words if name in frame and frame[name].notna().any()}
    return {name: text for name, text in words.items() if name in known}


def values(decomposition: pd.DataFrame) -> pd.DataFrame:
    """The decomposition with the five factors of E‖M_1‖² under the names of `FACTORS`."""
    factors = run_summaries.factors(decomposition)
    return decomposition.drop(columns=[*FACTORS], errors="ignore").join(factors)


def data(decomposition: pd.DataFrame, runs: pd.DataFrame) -> dict[str, Any]:
    """The trajectories of all runs from the end of their transient on, rounded.

    Returns: `quantities` and `times` (pairs of name and words), and `runs`: name, experiment,
    title, n, seeds, stopped, colour, and `points`, a list per time and quantity.
    """
    named = quantities(decomposition)
    frame = values(decomposition[decomposition["iteration"] >= transient(decomposition)])
    frame = frame.merge(runs[[*IDENTITY, "stopped"]], on=IDENTITY, how="inner")
    drawn: list[dict[str, Any]] = []
    for experiment, rows in frame.groupby("experiment", sort=False):
        colors = style.shades(rows["n"])
        for _, run in rows.sort_values("iteration").groupby(IDENTITY, sort=True):
            first = run.iloc[0]
            drawn.append(
                {
                    "run": run_summaries.run_names(run).iloc[0],
                    "experiment": experiment,
                    "title": title_of(str(experiment)),
                    "n": int(first["n"]),
                    "init": int(first["init_seed"]),
                    "subset": int(first["subset_seed"]),
                    "stopped": first["stopped"],
                    "color": colors[int(first["n"])],
                    "points": {name: _rounded(run[name]) for name in (*TIMES, *named)},
                }
            )
    return {"quantities": list(named.items()), "times": list(TIMES.items()), "runs": drawn}


def _rounded(column: pd.Series) -> list[float | int | None]:
    if column.name == "iteration":
        return [int(value) for value in column]
    return [float(f"{value:.{DIGITS}g}") if pd.notna(value) else None for value in column]


def chart() -> dict[str, Any]:
    """The chart without its data: a line per run, its points, a tooltip that names the run.

    The page fills in the data `points` (run, experiment, n, seeds, x, y, color), the scales and the
    titles of the axes; it sets `chosen` to the name of a run that is to stand out.
    """
    chosen = alt.param(name="chosen", value="")
    near = alt.selection_point(
        name="near", fields=["run"], on="pointerover", nearest=True, empty=False
    )
    stands_out, dimmed = "datum.run === chosen", "chosen !== '' && datum.run !== chosen"
    base = alt.Chart(alt.NamedData("points")).encode(
        x="x:Q",
        y="y:Q",
        color=alt.Color("color:N").scale(None),
        detail="run:N",
        strokeDash=alt.StrokeDash("experiment:N").legend(None),
        tooltip=[
            alt.Tooltip("run:N", title="run"),
            alt.Tooltip("experiment:N", title="experiment"),
            alt.Tooltip("n:Q", title="N", format=","),
            alt.Tooltip("init:Q", title="initialisation seed"),
            alt.Tooltip("subset:Q", title="subset seed"),
            alt.Tooltip("x:Q", format=".4g"),
            alt.Tooltip("y:Q", format=".4g"),
        ],
    )
    lines = base.mark_line(strokeJoin="round").encode(
        strokeWidth=alt.when(near)
        .then(alt.value(3))
        .when(stands_out)
        .then(alt.value(4))
        .otherwise(alt.value(1.3)),
        opacity=alt.when(near)
        .then(alt.value(0.95))
        .when(dimmed)
        .then(alt.value(0.25))
        .otherwise(alt.value(0.95)),
    )
    # Without a name Altair counts the views of a process; the same page must come out the same.
    points = (
        base.properties(name="points")
        .mark_circle(size=22)
        .encode(opacity=alt.value(0.01))
        .add_params(near)
    )
    drawn = alt.layer(lines, points).add_params(chosen)
    drawn = drawn.properties(width="container", height=380)
    drawn = drawn.configure_axis(labelFontSize=12, titleFontSize=13, titleFontWeight="normal")
    spec: dict[str, Any] = drawn.to_dict()
    return spec


@cache
def library() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script that sets `window.vegaEmbed`."""
    # Its type stub asks for an argument that may be left out.
    return str(vl_convert.javascript_bundle())  # type: ignore[call-arg]


def embedded(content: Any) -> str:
    """JSON that can stand inside a script element, always with the same bytes."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")
