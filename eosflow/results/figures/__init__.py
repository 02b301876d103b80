"""The list of figures: which kind of drawing, of which experiment, and what to see in it.

The paper's figures have its numbers; those of any other experiment are named after it and their
kind, such as `my-experiment-sharpness`. Standard library only, so that planning can read it;
`drawing` draws them.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from dataclasses import dataclass

from eosflow.results import paper
from eosflow.results.figures.kinds import KINDS as KINDS
from eosflow.storage.errors import UserError
from eosflow.studies import STUDIES, Study

# Raise this when drawings change: the figures, and only they, are then drawn again.
FIGURES_VERSION = 7

EXPERIMENTS = {name: each.title for name, each in paper.EXPERIMENTS.items()}


# Kept beside the paper's, see docs/reproduction.md.
BESIDE = {"sst-minilm-ce": "SST by MiniLM, cross-entropy"}


def title_of(experiment: str) -> str:
    """What people call an experiment: its own name if it is not known."""
    return (EXPERIMENTS | BESIDE).get(experiment, experiment)


@dataclass(frozen=True)
class Entry:
    """One figure of the list; `experiment` is None if it shows all of them."""

    kind: str
    experiment: str | None

    @property
    def title(self) -> str:
        """What is drawn, and of which experiment."""
        title = KINDS[self.kind].title
        if self.experiment is None or self.data is not None:
            return title
        return f"{title}: {title_of(self.experiment)}"

    @property
    def caption(self) -> str:
        """What is drawn, and what to see in it."""
        return KINDS[self.kind].caption

    @property
    def data(self) -> str | None:
        """What it is drawn from instead of the tidy tables, see `Kind`."""
        return KINDS[self.kind].data


Drawn = Entry | Study  # a study is the entry of its own figure

_AFTER_CIFAR = ("dice-ce", "cifar10-mse", "atrialfibrillation-ce", "sst-ce")

FIGURES: dict[int, Entry] = {
    1: Entry("sharpness", "cifar10-ce"),
    2: Entry("overlap", "cifar10-ce"),
    3: Entry("layers_three", "cifar10-ce"),
    4: Entry("factors", "cifar10-ce"),
    5: Entry("dice_examples", "dice-ce"),
    **{6 + i: Entry("sharpness", name) for i, name in enumerate(_AFTER_CIFAR)},
    **{10 + i: Entry("overlap", name) for i, name in enumerate(_AFTER_CIFAR)},
    **{14 + i: Entry("layers", name) for i, name in enumerate(EXPERIMENTS)},
    **{19 + i: Entry("factors", name) for i, name in enumerate(_AFTER_CIFAR)},
    **{23 + i: Entry("activation_ratios", name) for i, name in enumerate(EXPERIMENTS)},
    **{28 + i: Entry("alignment", name) for i, name in enumerate(EXPERIMENTS)},
    **{33 + i: Entry("jacobian_norms", name) for i, name in enumerate(EXPERIMENTS)},
    **{38 + i: Entry("cumulative_alignment", name) for i, name in enumerate(EXPERIMENTS)},
}

# Beyond the paper, of the runs of all experiments, by name.
EXTRAS: dict[str, Entry] = {
    "power-law": Entry("power_law", None),
    "stable-step": Entry("stable_step", None),
    "growth": Entry("growth", None),
}

# Modules of this package that hold a further figure: `KIND`, and the function it names.
_ADDED: tuple[str, ...] = ()
for _module in _ADDED:
    KINDS[_module] = importlib.import_module(f"{__name__}.{_module}").KIND
    EXTRAS[_module.replace("_", "-")] = Entry(_module, None)

# The kinds that are drawn of an experiment that is not the paper's.
OWN_KINDS = [kind for kind, each in KINDS.items() if not (each.function or kind == "layers_three")]


def file_name(figure: int | str) -> str:
    """`figure04` of 4; the name itself of one of `EXTRAS`."""
    return f"figure{figure:02d}" if isinstance(figure, int) else figure


# The figure of a study has its name.
NAMES: dict[str, Drawn] = {
    **{file_name(number): entry for number, entry in FIGURES.items()},
    **EXTRAS,
    **{name: study for name, study in STUDIES.items() if study.drawn},
}


def entries(experiments: Iterable[str], studies: Iterable[str] = STUDIES) -> dict[str, Drawn]:
    """The figures of these experiments and studies, by name, and those that show all experiments.

    The paper's experiments have its numbered figures; any other has one of each of `OWN_KINDS`,
    such as `EXP-activation-ratios`.

    Raises: UserError if two figures would have the same name.
    """
    chosen, studies = list(dict.fromkeys(experiments)), set(studies)
    shown = {None, *chosen}
    listed = {
        name: entry
        for name, entry in NAMES.items()
        if (name in studies if isinstance(entry, Study) else entry.experiment in shown)
    }
    for experiment in chosen:
        if experiment in EXPERIMENTS:
            continue
        for kind in OWN_KINDS:
            name = f"{experiment}-{kind.replace('_', '-')}"
            if name in NAMES or name in listed:
                raise UserError(
                    f"The figure {name} could be of two experiments: rename {experiment}."
                )
            listed[name] = Entry(kind, experiment)
    return listed
