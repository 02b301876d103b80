"""docs/figures.md and its pictures, made from the list of figures and a folder of results.

`python -m eosflow.results.figures.index` writes the page; with a results folder (that of the demo)
also the pictures of its gallery.
"""

from __future__ import annotations

import sys
from pathlib import Path

from eosflow.results.figures import (
    EXPERIMENTS,
    EXTRAS,
    FIGURES,
    KINDS,
    NAMES,
    SUFFIXES,
    Entry,
)
from eosflow.storage.files import replacing, write_text

DOCS = Path(__file__).parents[3] / "docs"
PICTURE_DPI = 100

# For each kind of figure, the one that the demo makes, and what is seen there.
GALLERY: dict[str, tuple[str, str]] = {
    "sharpness": (
        "figure06",
        "The sharpness of Dice climbs steeply in the first few hundred iterations, the further "
        "the more examples there are, and at the smaller sizes falls again. λ₁(G) does the same "
        "to within a few percent; λ₁(R) is 11 to 30 times lower at first, and more later.",
    ),
    "overlap": (
        "figure10",
        "E‖M‖² follows the sharpness up and down. The overlap ratio stays between about 0.4 and "
        "0.9 and falls while the sharpness climbs.",
    ),
    "factors": (
        "figure19",
        "The inputs are constant, ρ₁ nearly so. The criterion's curvature falls by an order of "
        "magnitude and more as the examples are fitted, the Jacobians gain a small factor, and A₁ "
        "gains far more than the two together: it makes the rise, the criterion ends it.",
    ),
    "dice_examples": (
        "figure05",
        "The demo's images have 16 × 16 pixels. Small points and thin lines come close to "
        "vanishing, as they do in the paper's renderer.",
    ),
    "layers": (
        "figure14",
        "All layers start alike. The closer to the input, the further they rise; layer 1 is the "
        "largest almost everywhere after the first hundred iterations.",
    ),
    "activation_ratios": (
        "figure23",
        "ρ stays within a fifth of 1 in every layer. The growth ratios γ drift upwards.",
    ),
    "alignment": (
        "figure28",
        "The ratios of layers 1 to 4 start near 0.2 and rise, to at most 0.46 at the smallest size "
        "and 0.59 at the largest. Layer 5, which sees only the output layer above it, starts high "
        "and hardly moves.",
    ),
    "jacobian_norms": (
        "figure33",
        "The norms rise by a fifth at most at the smallest size, by three fifths at the largest.",
    ),
    "cumulative_alignment": (
        "figure38",
        "From A₅ to A₁ the start moves down by a factor of four to seven a layer and the climb "
        "gets longer: the small rises of the layers multiply.",
    ),
    "power_law": (
        "power-law",
        "Peak alignment rises with N and the points lie close to a line. The exponent is not the "
        "paper's: the network is narrower and the sizes far smaller.",
    ),
    "stable_step": (
        "stable-step",
        "The median of the stable step falls with N, and would not have with alignment frozen.",
    ),
    "growth": (
        "growth",
        "E‖M₁‖² rises less than A₁ does: the criterion takes the rest away again.",
    ),
    "work_precision": (
        "work-precision",
        "For about the same work exponential Heun is nearer to the flow than exponential Euler: "
        "six and eleven times at the largest step, some hundred times at the smallest. Exponential "
        "Rosenbrock is nearer than both for the same work. λ₁ stays "
        "below 1,100 here, and RK4 is nearer still; it levels off at a few 10⁻⁷, where the "
        "reference ends. Gradient descent at 1/λ₁ lies close to Heun. The demo leaves the study "
        "out, which is the same under any configuration.",
    ),
    "work_precision_full_width": (
        "work-precision-full-width",
        "As at width 64: exponential Rosenbrock at tolerance 10⁻² is nearer than exponential Euler "
        "at 0.005, for a fifth of the work. It is made by its name alone, in six minutes.",
    ),
    "transient": (
        "transient",
        "λ₁(𝓗) rises from 250 to 861 within 0.0015 units of flow time, falls to 516 by 0.03 and "
        "rises to 1,049 from there. Exponential Euler has 745, 379, 578, 706 and 573 after its "
        "first five steps, and is 6 % above the flow at its tenth and 3 % at the end. The demo "
        "leaves the study out, which is the same under any configuration.",
    ),
    "edge_of_stability": (
        "edge-of-stability",
        "On cheb-4 gradient descent is held at its line at each of the three learning rates, and "
        "leaves the flow just there. On Dice it settles above the line, at 2.3 to 3.0 over the "
        "learning rate. The study is the same under any configuration.",
    ),
    "spectral_density": (
        "spectral-density",
        "Two eigenvalues of 𝓗 stand apart before and after; 𝓗 and G look alike. At the peak of the "
        "loss 𝓗 has a hundred eigenvalues near 1.3 and a hundred near −1.4, which G has not: they "
        "are those of R. The study is made by its name alone.",
    ),
    "effective_parameters": (
        "effective-parameters",
        "At η = 0.4 λ₁ ends at half of what it is at 0.1, N_eff within 4 % of it. Over 𝓗 the sum "
        "goes from −18,000 to 2,500. The study is made by its name alone.",
    ),
    "generalized_prediction_error": (
        "generalized-prediction-error",
        "The points lie on the line at the same inputs, and above it at new ones. Each model wins "
        "on its own data. Noise adds what the second order says, up to s = 0.1. It is made by "
        "its name alone.",
    ),
    "optimizer_edges": (
        "optimizer-edges",
        "Each is held at its own line, in medians over the second half to within 5 %. RMSprop "
        "first climbs to half as much again. The study is made by its name alone.",
    ),
    "schedules": (
        "schedules",
        "The sharpness climbs to the new line after the drop and is pressed down by the warm-up. "
        "Under the cosine it follows for about half the steps. With weight decay 0.01 it falls to "
        "0. The study is made by its name alone.",
    ),
    "instabilities": (
        "instabilities",
        "For most of the instability the swing grows unseen; 𝓗 changes and the loss rises in its "
        "last twenty steps alone. The study is made by its name alone.",
    ),
    "subspaces": (
        "subspaces",
        "Without their part in the top subspace the steps lower the loss faster, and nothing holds "
        "the sharpness. On this seed that part alone triples the loss at once and then stays; in "
        "the median over five it stays from the start. The study is made by its name alone.",
    ),
    "escaping": (
        "escaping",
        "Without the sharpest direction the sharpness rises; with all of each step or with that "
        "direction alone it falls. The study is made by its name alone.",
    ),
    "sam_edge": (
        "sam-edge",
        "From iteration 100 on SAM is within 8 % of its edge at both radii. It is made by its name "
        "alone.",
    ),
}

_HEAD = """# Figures

Every figure is a pure function of `results/decomposition.parquet` and `results/runs.parquet`
(figure 5: of a Dice subset; those of the [studies](studies.md): of a study's table). Each is a
target of its own, as PDF and as PNG; `figure01` to `figure42` carry the paper's numbers, the
others go beyond it. This page is written from `eosflow/results/figures/kinds.py` by
`python -m eosflow.results.figures.index`; given the folder of the demo's results, that command
draws the gallery's pictures too.

Thin curves are one run each, darker for more examples, dashed where the run stopped above its
target loss. The thick curve is the median of the runs of one N, with a band between their
quartiles, as far as all of them go. The horizontal axis is logarithmic where the longest run of
the experiment is more than four times as long as the shortest, and linear otherwise. No curve is
drawn in the first ten iterations, a transient, which are shaded where they can be seen. With
`figures: {against: flow_time}` in the configuration the curves are drawn against gradient-flow
time instead of iterations. The PNG has the figure's title; the PDF leaves it to the caption.

An experiment EXP that is not the paper's has figures of its own: {own}.
Where its network lacks the numbers (only an MLP has alignments), the figure says so. Figures that
show all experiments show it beside the paper's.
"""


def page() -> str:
    """The page: the paper's list by number, the figures beyond it, and the gallery."""
    own = ", ".join(f"`EXP{suffix}`" for suffix in sorted(SUFFIXES))
    head = _HEAD.replace("{own}", own)
    lines = [head, "## By number", "", *_table({str(n): e for n, e in FIGURES.items()})]
    lines += ["", "## Beyond the paper", "", *_table(dict(EXTRAS))]
    lines += ["", "## Gallery: each kind, and what it shows on the demo"]
    for name, kind in KINDS.items():
        lines += ["", f"### {name}", "", f"**{_sentence(kind.title)}** {kind.caption}", ""]
        lines.append(f"Drawn by `{_function(kind.function)}`.")
        if name in GALLERY:
            figure, seen = GALLERY[name]
            lines += ["", f"On the demo: {seen}", ""]
            lines.append(f"![{NAMES[figure].title}, on the demo](images/{figure}.png)")
    return "\n".join(lines) + "\n"


def draw_gallery(results: Path, folder: Path) -> None:
    """Draw the gallery's pictures from a results folder into `folder`, small."""
    import pandas as pd

    from eosflow.results.figures import draw, style

    frames = [pd.read_parquet(results / f"{name}.parquet") for name in ("decomposition", "runs")]
    subset = next((results / "data" / "subsets").glob("dice-subset*.npz"))
    for name, _ in GALLERY.values():
        data = NAMES[name].data
        source = subset if data == "dice" else results / data if data else None
        figure = draw(name, frames[0], frames[1], source)
        with style.applied(), replacing(folder / f"{name}.png") as temporary:
            figure.savefig(temporary, format="png", dpi=PICTURE_DPI, metadata={"Software": None})


def _table(entries: dict[str, Entry]) -> list[str]:
    names = {id(entry): name for name, entry in NAMES.items()}
    head = ["| figure | kind | function | experiment | command |", "|---|---|---|---|---|"]
    return head + [
        f"| {label} | {entry.kind} | `{_function(KINDS[entry.kind].function)}` "
        f"| {_experiment(entry)} | `snakemake results/figures/{names[id(entry)]}.pdf` |"
        for label, entry in entries.items()
    ]


def _experiment(entry: Entry) -> str:
    if entry.experiment is not None:
        return f"`{entry.experiment}` ({EXPERIMENTS[entry.experiment]})"
    return {None: "all", "dice": "Dice images"}.get(entry.data, "none: a study of its own")


def _sentence(title: str) -> str:
    return title if title.endswith("?") else f"{title}."


def _function(path: str) -> str:
    return path.removeprefix("eosflow.").replace(":", ".")


if __name__ == "__main__":
    write_text(DOCS / "figures.md", page())
    for argument in sys.argv[1:]:
        draw_gallery(Path(argument), DOCS / "images")
