"""The drawing of how many parameters are determined, beside how sharp the loss is."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from eosflow.analysis import seeds, style
from eosflow.studies.effective_parameters.claims import PARAMETERS

QUANTITIES = {
    "sharpness": r"sharpness $\lambda_1(\mathcal{H})$",
    "effective": r"$N_\mathrm{eff}$, α = 0.01",
    "effective_relative": r"$N_\mathrm{eff}$, α = 0.01 $\lambda_1(G)$",
}
AT_THE_END = {
    "sharpness": r"$\lambda_1(\mathcal{H})$ at the end",
    "effective": r"$N_\mathrm{eff}$ at the end, α = 0.01",
    "no_count": r"share that is no count",
}


def draw(frame: pd.DataFrame, title: str) -> Figure:
    """λ₁(𝓗) and N_eff over flow time; at the end against η, and where the sum over 𝓗 is no
    count."""
    figure, panels, _ = style.panels(6, 3, title, share_x=False)
    shades = seeds.colors(frame["learning_rate"])
    for axes, (name, label) in zip(panels, QUANTITIES.items(), strict=False):
        axes.set(xlabel="flow time", ylabel=label)
        for rate, color in shades.items():
            runs = frame[frame["learning_rate"] == rate]
            seeds.lines(axes, runs, "flow_time", name, color, f"η = {rate:g}")
    end = frame[frame["flow_time"] == frame["flow_time"].max()]
    outside = ~frame["of_hessian"].between(0, PARAMETERS)
    shares = outside.groupby([frame["seed"], frame["learning_rate"]]).mean()
    end = end.set_index(["seed", "learning_rate"]).assign(no_count=shares).reset_index()
    for axes, (name, label) in zip(panels[3:], AT_THE_END.items(), strict=True):
        axes.set(xlabel="learning rate η", ylabel=label)
        for rate, color in shades.items():
            runs = end[end["learning_rate"] == rate]
            axes.plot(runs["learning_rate"], runs[name], "o", ms=3, mfc="none", color=color)
            axes.plot([rate], [runs[name].median()], "_", ms=14, mew=1.8, color=color)
    panels[-1].set_ylim(0, 1)
    named = panels[0].get_legend_handles_labels()
    figure.legend(*named, loc="outside lower center", ncols=4)
    return figure
