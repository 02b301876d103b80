"""docs/figures.md and its pictures, made from the list of figures and a folder of results.

`make generate` writes the page; `python -m eosflow.results.figures.index RESULTS`, with the results
of the demo, draws the pictures of its gallery.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from eosflow.results.figures import EXPERIMENTS, EXTRAS, FIGURES, KINDS, NAMES, OWN_KINDS, Entry
from eosflow.storage.files import replacing

DOCS = Path(__file__).parents[3] / "docs"
PICTURE_DPI = 100

# For each kind of figure, the first of the demo's; one kind is not among them.
GALLERY: dict[str, str] = {
    entry.kind: name
    for name, entry in reversed(NAMES.items())
    if isinstance(entry, Entry) and entry.experiment in ("dice-ce", None)
}

_HEAD = """# Figures

Every figure is a target, `snakemake results/figures/figure04.pdf` or `.png`. `figure01` to
`figure42` have the paper's numbers. `make generate` writes this page.

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
    own = ", ".join(f"`EXP-{kind.replace('_', '-')}`" for kind in sorted(OWN_KINDS))
    head = _HEAD.replace("{own}", own)
    lines = [head, "## By number", "", *_numbers()]
    lines += ["", "## By name", "", "Those of the [studies](studies.md) have the study's name."]
    lines += ["", "| figure of all runs | shows |", "|---|---|"]
    lines += [f"| `{name}` | {each.title} |" for name, each in EXTRAS.items()]
    lines += ["", "## Each kind, on the demo"]
    for name, kind in KINDS.items():
        lines += ["", f"### {kind.title}", "", kind.caption]
        if name in GALLERY and (DOCS / "images" / f"{GALLERY[name]}.png").exists():
            lines += ["", f"![{GALLERY[name]}, on the demo](images/{GALLERY[name]}.png)"]
    return "\n".join(lines) + "\n"


def draw_small(results: Path, names: Iterable[str], prefix: str = "") -> None:
    """Draw figures of a results folder into docs/images, small."""
    import pandas as pd

    from eosflow.analysis import style
    from eosflow.results.figures.drawing import draw

    frames = [pd.read_parquet(results / f"{name}.parquet") for name in ("decomposition", "runs")]
    subset = next((results / "data" / "subsets").glob("dice-subset*.npz"), None)
    for name in names:
        data = subset if NAMES[name].data == "dice" else None
        figure = draw(name, frames[0], frames[1], data)
        picture = DOCS / "images" / f"{prefix}{name}.png"
        with style.applied(), replacing(picture) as temporary:
            figure.savefig(temporary, format="png", dpi=PICTURE_DPI, metadata={"Software": None})


def _numbers() -> list[str]:
    """A row for each kind of the paper's figures, with its number of each experiment."""
    lines = [f"| shows | {' | '.join(EXPERIMENTS.values())} |", f"|---{'|---' * len(EXPERIMENTS)}|"]
    for kind in dict.fromkeys(entry.kind for entry in FIGURES.values()):
        numbers = {e.experiment: str(n) for n, e in FIGURES.items() if e.kind == kind}
        cells = (numbers.get(name, "") for name in EXPERIMENTS)
        lines.append(f"| {KINDS[kind].title} | {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        draw_small(Path(argument), GALLERY.values())
