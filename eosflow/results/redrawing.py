"""Figures, tables, claims and report.html of kept evidence, without the runs or a GPU."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from eosflow.results import figures, report, tables
from eosflow.results.evidence import (
    DICE_EXAMPLES,
    MANIFEST,
    OWN_TABLES,
    read_frame,
    refuse_others,
    verified,
)
from eosflow.results.figures import drawing
from eosflow.storage.errors import UserError
from eosflow.storage.files import replacing
from eosflow.studies import STUDIES

log = logging.getLogger(__name__)


def redraw(folder: Path | str, output: Path | str) -> None:
    """Make every figure, the tables, the claims and report.html from a folder that `keep` wrote.

    `output` is laid out like a results folder; what an earlier `redraw` left there is replaced.

    Raises: UserError where a file of `folder` is missing or damaged, where `output` holds anything
    else and, after all is written, where a table differs from the kept one in any byte.
    """
    folder, output = Path(folder), Path(output)
    kept = verified(folder).names
    decomposition, runs, parameters = (
        read_frame(folder / f"{name}.parquet")
        for name in ("decomposition", "runs", "dice-parameters")
    )
    studies = [study for study in STUDIES.values() if study.data in kept]
    listed = figures.entries(runs["experiment"], [study.name for study in studies])
    sources = {study.data: folder / study.data for study in studies}
    if kept.issuperset(DICE_EXAMPLES):
        sources["dice"] = folder / DICE_EXAMPLES[0]
    drawn = [name for name, entry in listed.items() if entry.data in (None, *sources)]
    own = {f"figures/{name}{end}" for name in figures.NAMES | listed for end in (".pdf", ".png")}
    own |= {*OWN_TABLES, "report.html", "decomposition.parquet", "runs.parquet"}
    own |= {file for study in STUDIES.values() for file in (study.data, study.claims)}
    refuse_others(output, own)
    for name in own:  # of an earlier redraw; the report looks at what is there
        (output / name).unlink(missing_ok=True)
    for name in ("decomposition.parquet", "runs.parquet", *(study.data for study in studies)):
        with replacing(output / name) as temporary:
            shutil.copyfile(folder / name, temporary)
    for study in studies:
        if study.judged:
            verdicts = study.judge(pd.read_csv(folder / study.data))
            tables.write_csv(verdicts, output / study.claims)
    tables.write_all(output, decomposition, runs)
    tables.write_csv(tables.table3(parameters), output / "table3.csv")
    for name in tqdm(drawn, unit="figure", disable=None):
        source = sources.get(str(listed[name].data))
        figure = drawing.draw(listed[name], decomposition, runs, source)
        drawing.save(figure, *(output / "figures" / f"{name}{end}" for end in (".pdf", ".png")))
    report.render(output, output / "report.html", studies=[study.name for study in studies])
    log.info("%d figures, %d tables and report.html: %s", len(drawn), len(OWN_TABLES), output)
    different = [n for n in OWN_TABLES if (output / n).read_bytes() != (folder / n).read_bytes()]
    if different:
        raise UserError(
            f"All is drawn, but {', '.join(different)} in {output} differ from the kept ones. "
            f"Other versions may be the reason: compare the installed ones with those in "
            f"{MANIFEST}, or make the kept tables again with eosflow evidence keep."
        )
