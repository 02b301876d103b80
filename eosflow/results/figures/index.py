"""docs/figures.md and its pictures, made from the list of figures and a folder of results.

`make generate` writes the page; `python -m eosflow.results.figures.index RESULTS`, with the results
of the demo, draws the pictures of its gallery.
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
)
from eosflow.storage.files import replacing
from eosflow.studies import STUDIES

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
        "The demo's images have 16 × 16 pixels and discs for points. Small discs and thin lines "
        "vanish: 26 % of the fives show no point and look like fours.",
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
}

_HEAD = """# Figures

Every figure is a pure function of `results/decomposition.parquet` and `results/runs.parquet`
(figure 5: of a Dice subset; those of the [studies](studies.md): of a study's table), and a target:
`snakemake results/figures/figure04.pdf`, or `.png`. `figure01` to `figure42` carry the paper's
numbers. `make generate` writes this page; `python -m eosflow.results.figures.index results/demo`
draws its pictures.

The paper's text says what its figures 1 to 22 show; their captions were not available here. So
three things are inferred: which experiment each figure of a group shows (the order is that of its
Table 1), what figures 23 to 42 show, and that 38 to 42 show the cumulative alignment.

Thin curves are one run each, darker for more examples, dashed if the run stopped above its
target loss. The thick curve is the median of the runs of one N, with a band between their
quartiles, as far as all of them go. The horizontal axis is logarithmic if the longest run of
the experiment is more than four times as long as the shortest, and linear otherwise. No curve is
drawn in the first ten iterations, a transient, which are shaded if they can be seen. With
`figures: {against: flow_time}` in the configuration the curves are drawn against gradient-flow
time instead of iterations. The PNG has the figure's title; the PDF leaves it to the caption.

An experiment EXP that is not the paper's has its own figures: {own}.
If its network lacks the numbers (only an MLP has alignments), the figure says so. Figures that
show all experiments show it beside the paper's.
"""


def page() -> str:
    """The page: the figures by number and by name, and what each kind shows."""
    own = ", ".join(f"`EXP{suffix}`" for suffix in sorted(SUFFIXES))
    head = _HEAD.replace("{own}", own)
    lines = [head, "## By number", "", *_numbers()]
    lines += ["", "## By name", "", "Of all runs, and of the [studies](studies.md):"]
    lines += ["", "| figure | shows |", "|---|---|"]
    named = EXTRAS | {name: study for name, study in STUDIES.items() if study.drawn}
    lines += [f"| `{name}` | {each.title} |" for name, each in named.items()]
    lines += ["", "## Each kind, and what it shows on the demo"]
    for name, kind in KINDS.items():
        lines += ["", f"### {name}", "", f"**{_sentence(kind.title)}** {kind.caption}"]
        if name in GALLERY:
            figure, seen = GALLERY[name]
            lines += ["", f"![{NAMES[figure].title}, on the demo](images/{figure}.png)", ""]
            lines.append(f"On the demo, `snakemake results/demo/figures/{figure}.pdf`: {seen}")
    return "\n".join(lines) + "\n"


def draw_gallery(results: Path, folder: Path) -> None:
    """Draw the gallery's pictures from a results folder into `folder`, small."""
    import pandas as pd

    from eosflow.analysis import style
    from eosflow.results.figures import draw

    frames = [pd.read_parquet(results / f"{name}.parquet") for name in ("decomposition", "runs")]
    subset = next((results / "data" / "subsets").glob("dice-subset*.npz"))
    for name, _ in GALLERY.values():
        data = NAMES[name].data
        source = subset if data == "dice" else results / data if data else None
        figure = draw(name, frames[0], frames[1], source)
        with style.applied(), replacing(folder / f"{name}.png") as temporary:
            figure.savefig(temporary, format="png", dpi=PICTURE_DPI, metadata={"Software": None})


def _numbers() -> list[str]:
    """A row for each kind of the paper's figures, with its number of each experiment."""
    lines = [f"| shows | {' | '.join(EXPERIMENTS.values())} |", f"|---{'|---' * len(EXPERIMENTS)}|"]
    for kind in dict.fromkeys(entry.kind for entry in FIGURES.values()):
        numbers = {e.experiment: str(n) for n, e in FIGURES.items() if e.kind == kind}
        cells = (numbers.get(name, "") for name in EXPERIMENTS)
        lines.append(f"| {KINDS[kind].title} | {' | '.join(cells)} |")
    return lines


def _sentence(title: str) -> str:
    return title if title.endswith("?") else f"{title}."


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        draw_gallery(Path(argument), DOCS / "images")
