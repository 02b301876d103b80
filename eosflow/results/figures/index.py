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

DOCS = Path(__file__).parents[3] / "docs"
PICTURE_DPI = 100

# For each kind of figure, the one that the demo makes, and what is seen there.
GALLERY: dict[str, tuple[str, str]] = {
    "sharpness": (
        "figure06",
        "The sharpness climbs higher and for longer with more examples; at the smaller sizes it "
        "falls again. λ₁(G) agrees to within a few percent. λ₁(R) is more than ten times lower.",
    ),
    "overlap": (
        "figure10",
        "E‖M‖² rises and falls with the sharpness. The overlap ratio stays between about 0.4 and "
        "0.9, and falls at the larger sizes while the sharpness climbs.",
    ),
    "factors": (
        "figure19",
        "The inputs are constant, ρ₁ nearly so. A₁ causes the rise of the product, the criterion's "
        "curvature its fall; the Jacobians grow by a small factor.",
    ),
    "dice_examples": (
        "figure05",
        "With 16 × 16 pixels and discs for points, small discs and thin lines vanish: 26 % of the "
        "fives look like fours.",
    ),
    "layers": (
        "figure14",
        "At iteration 10 layer 1 is twice as large as layers 2 to 5, and layer 6 a third of them. "
        "The closer to the input, the further a layer rises.",
    ),
    "activation_ratios": (
        "figure23",
        "ρ stays within a fifth of 1 in every layer. The growth ratios γ rise slowly.",
    ),
    "alignment": (
        "figure28",
        "The ratios of layers 1 to 4 start near 0.2 and rise, to at most 0.46 at the smallest size "
        "and 0.59 at the largest. Layer 5 starts high and hardly moves.",
    ),
    "jacobian_norms": (
        "figure33",
        "The norms rise by a fifth at most at the smallest size, by three fifths at the largest.",
    ),
    "cumulative_alignment": (
        "figure38",
        "From A₅ to A₁ the start is lower by a factor of four to seven per layer and the rise is "
        "larger: the rises of the layers multiply.",
    ),
    "power_law": (
        "power-law",
        "The points lie close to a line. The exponent is not the paper's: the network is narrower "
        "and the sizes far smaller.",
    ),
    "stable_step": (
        "stable-step",
        "The median stable step falls with N; with alignment frozen it does not.",
    ),
    "growth": (
        "growth",
        "A₁ rises the most, the Jacobians a little; the criterion's curvature falls.",
    ),
}

_HEAD = """# Figures

Every figure is a target, `snakemake results/figures/figure04.pdf` or `.png`, drawn from
`results/decomposition.parquet` and `results/runs.parquet` (figure 5 from a Dice subset, those of
the [studies](studies.md) from a study's table). `figure01` to `figure42` have the paper's numbers.
`make generate` writes this page.

The captions of the paper's figures were not available. Its text says what figures 1 to 22 show;
inferred are which experiment each figure of a group shows (in the order of the paper's Table 1) and
what figures 23 to 42 show.

Each thin curve is one run, darker for more examples, dashed if the run stopped above its target
loss. The thick curve is the median of the runs of one N up to the end of the shortest, with a band
between the quartiles. Curves begin after the transient, the first ten iterations, which are shaded
if visible. `figures: {against: flow_time}` in the configuration draws them against flow time. The
PNG has the figure's title, the PDF has none.

An experiment EXP that is not the paper's has its own figures: {own}.
If its network has no such numbers (only an MLP has alignments), the figure says so.
"""


def page() -> str:
    """The page: the figures by number and by name, and what each kind shows."""
    own = ", ".join(f"`EXP{suffix}`" for suffix in sorted(SUFFIXES))
    head = _HEAD.replace("{own}", own)
    lines = [head, "## By number", "", *_numbers()]
    lines += ["", "## By name", "", "Those of the [studies](studies.md) have the study's name."]
    lines += ["", "| figure of all runs | shows |", "|---|---|"]
    lines += [f"| `{name}` | {each.title} |" for name, each in EXTRAS.items()]
    lines += ["", "## Each kind, and what it shows on the demo"]
    for name, kind in KINDS.items():
        lines += ["", f"### {name}", "", f"**{_sentence(kind.title)}** {kind.caption}"]
        if name in GALLERY:
            figure, seen = GALLERY[name]
            lines += ["", f"![{kind.title}](images/{figure}.png)", ""]
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
