"""Figures, tables, claims and report.html of kept evidence, without the runs or a GPU."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from eosflow.results import figures, report, tables
from eosflow.results.evidence import (
    DICE_EXAMPLES,
    MANIFEST,
    OWN_TABLES,
    TABLES,
    read_frame,
    refuse_others,
    verified,
    write_tables,
)
from eosflow.storage.errors import UserError
from eosflow.storage.files import replacing
from eosflow.storage.paths import inside
from eosflow.studies import STUDIES

log = logging.getLogger(__name__)

# The verdicts that are made of a study's table.
JUDGES = {study.data: study for study in STUDIES.values() if study.judged}
VERDICTS = {table: study.claims for table, study in JUDGES.items()}


def redraw(folder: Path | str, output: Path | str) -> None:
    """Make every figure, the tables, the claims and report.html from a folder that `keep` wrote.

    `output` is laid out like a results folder; what an earlier `redraw` left there is replaced.

    Raises: UserError where a file of `folder` is missing or damaged, where `output` holds anything
    else and, after all is written, where a table differs from the kept one in any byte.
    """
    folder, output = Path(folder), Path(output)
    kept = verified(folder)
    decomposition, runs, parameters = (
        read_frame(folder / f"{name}.parquet")
        for name in ("decomposition", "runs", "dice-parameters")
    )
    listed = figures.entries([*figures.EXPERIMENTS, *runs["experiment"]])
    drawn = {f"figures/{name}{end}" for name in listed for end in (".pdf", ".png")}
    made = {*OWN_TABLES, "report.html"}
    frames = ("decomposition.parquet", "runs.parquet")
    refuse_others(output, {*drawn, *made, *frames, *TABLES, *VERDICTS.values()})
    # Those of an earlier redraw; the report looks at what is there.
    for name in (*drawn, *TABLES, *VERDICTS.values()):
        (output / name).unlink(missing_ok=True)
    for name in (*frames, *kept.intersection(TABLES)):
        with replacing(output / name) as temporary:
            shutil.copyfile(folder / name, temporary)
    for name in kept.intersection(VERDICTS):
        table = JUDGES[name].judge(pd.read_csv(folder / name))
        tables.write_csv(table, output / VERDICTS[name])
    write_tables(output, decomposition, runs, parameters)
    data: dict[str | None, Path | None] = {name: folder / name for name in kept}
    data |= {None: None, "dice": data.get(DICE_EXAMPLES[0])}
    sources = {name: data.get(entry.data) for name, entry in listed.items()}
    absent = [name for name in sources if listed[name].data and sources[name] is None]
    # The report shows every figure that is there, so those with nothing to show come after it.
    _draw(sources.keys() - absent, decomposition, runs, sources, output / "figures")
    report.render(output, output / "report.html")
    _draw(absent, decomposition, runs, sources, output / "figures")
    log.info("%d figures, 4 tables, the claims and report.html: %s", len(listed), output)
    different = [n for n in OWN_TABLES if (output / n).read_bytes() != (folder / n).read_bytes()]
    if different:
        raise UserError(
            f"All is drawn, but {', '.join(different)} in {output} differ from the kept ones. "
            f"Other versions may be the reason: compare the installed ones with those in "
            f"{MANIFEST}, or make the kept tables again with eosflow evidence keep."
        )


def _draw(
    names: Iterable[str],
    decomposition: pd.DataFrame,
    runs: pd.DataFrame,
    sources: Mapping[str, Path | None],
    folder: Path,
) -> None:
    for name in tqdm(sorted(names), unit="figure", disable=None):
        figure = figures.draw(name, decomposition, runs, sources[name])
        figures.save(figure, inside(folder, f"{name}.pdf"), inside(folder, f"{name}.png"))
