"""The jobs that make frames, tables, studies, figures and pages; each imports what it needs."""

from __future__ import annotations

import functools
import multiprocessing
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from eosflow.runs.names import measured_folder
from eosflow.runs.records import RunRecord
from eosflow.storage import provenance
from eosflow.storage.errors import UserError
from eosflow.storage.files import sha256
from eosflow.studies import OF_RUNS, STUDIES
from eosflow.workflow.command_line import exit_on_user_error
from eosflow.workflow.job import Job
from eosflow.workflow.products import FRAMES, dice_subset, drawable, why_not


def collect(job: Job) -> None:
    """MEASUREMENT: gather the records of a measurement of all runs into a tidy frame."""
    from eosflow.results import tables
    from eosflow.results.collect import collect_measurement

    (name,) = job.words
    homes = _homes(job)
    frame = collect_measurement(homes, measured_folder(job.plan.measurements[name]))
    product = f"measurements/{name}"
    tables.write_parquet(frame, job.root / job.products[product].made[0])
    job.seal(product, "pandas", "pyarrow", runs=_facts(homes))


def _homes(job: Job) -> list[Path]:
    return [job.plan.home(folder) for folder in job.plan.selected]


def _facts(homes: Iterable[Path]) -> dict[str, Any]:
    """What a record says of the runs behind a product."""
    from eosflow.results import sessions

    return sessions.of_runs(RunRecord.read(home / "run.json").model_dump() for home in homes)


def dice_parameters(job: Job) -> None:
    """Write the drawn parameters of every Dice image, and their ranges as Table 3."""
    import pandas as pd

    from eosflow.datasets import dice
    from eosflow.results import tables
    from eosflow.workflow import expand

    product = job.products["dice-parameters"]
    parquet, csv = (job.root / file for file in product.made)
    settings: Any = expand.dataset(job.plan.config, "dice")
    dice.write_parameters(settings, parquet)
    table = tables.table3(pd.read_parquet(parquet))
    tables.write_csv(table, csv)
    job.seal("dice-parameters", "pyarrow", "pandas")


def tables(job: Job) -> None:
    """Gather all runs into tidy frames, and make the tables and the verdicts on claims of them."""
    import pandas as pd

    from eosflow.results import tables
    from eosflow.results.collect import collect

    homes = _homes(job)
    frames = collect(homes, measured_folder(job.plan.measurements["decomposition"]))
    for frame, file in zip(frames, FRAMES, strict=True):
        tables.write_parquet(frame, job.root / file)
    # Tables are made of what is written, so that they can be made of the kept frames too.
    decomposition, runs = (pd.read_parquet(job.root / name) for name in FRAMES)
    tables.write_all(job.root, decomposition, runs)
    job.seal("tables", "pandas", "pyarrow", "statsmodels", runs=_facts(homes))


def study(job: Job) -> None:
    """STUDY: make the table of a study, from fixed problems or from its runs."""
    import pandas as pd

    from eosflow.results import tables

    (name,), facts = job.words, None
    if name in OF_RUNS:
        from eosflow.results.collect import study_run

        homes, runs = [], []
        for folder in job.plan.study_runs[name]:
            measured = job.plan.measured_of(folder)
            homes.append(job.plan.home(folder))
            folders = {each: measured_folder(measured[each]) for each in measured}
            runs.append(study_run(homes[-1], folders))
        table, facts = STUDIES[name].table(runs), _facts(homes)
    else:
        import torch

        torch.set_num_threads(job.threads)
        with job.reading(STUDIES[name].archives) as archives:
            table = pd.DataFrame(STUDIES[name].rows(*archives))
    tables.write_csv(table, job.root / STUDIES[name].data)
    job.seal(f"studies/{name}/table", "scipy", "pandas", "pyarrow", runs=facts)


def study_claims(job: Job) -> None:
    """STUDY: judge the statements of a study's source by the study's table."""
    import pandas as pd

    from eosflow.results import tables

    (name,) = job.words
    job.verified(f"studies/{name}/table")
    table = STUDIES[name].judge(pd.read_csv(job.root / STUDIES[name].data))
    tables.write_csv(table, job.root / STUDIES[name].claims)
    job.seal(f"studies/{name}/claims", "pandas")


def figure(job: Job) -> None:
    """FIGURE: draw one figure as PDF and PNG."""
    _draw(job, job.words)


def _draw(job: Job, names: Iterable[str]) -> None:
    import pandas as pd

    from eosflow.results.figures import drawing

    @functools.cache
    def frames() -> tuple[pd.DataFrame, pd.DataFrame]:
        job.verified("tables")
        decomposition, runs = (pd.read_parquet(job.root / file) for file in FRAMES)
        return decomposition, runs

    entries, against = drawable(job.plan), job.plan.config["figures"]["against"]
    for name in names:
        data = entries[name].data
        if data is None:
            figure = drawing.draw(entries[name], *frames(), None, against)
        else:
            if data != "dice":
                job.verified(data.removesuffix(".csv"))
            source = job.root / (dice_subset(job.plan) if data == "dice" else data)
            figure = drawing.draw(entries[name], pd.DataFrame(), pd.DataFrame(), source, against)
        pdf, png = (job.root / file for file in job.products[f"figures/{name}"].made)
        drawing.save(figure, pdf, png)
        job.seal(f"figures/{name}", "pandas", "matplotlib", "seaborn")


def report(job: Job) -> None:
    """Draw the figures that cannot stand, and put all tables and figures on one page."""
    from eosflow.results import report

    _draw_missing(job)
    for record in job.products["report"].sources:
        provenance.verify(job.root, record)
    made_of = {job.plan.home(f): name for name, of in job.plan.study_runs.items() for f in of}
    report.render(
        job.root,
        job.root / "report.html",
        job.plan.config,
        job.plan.studies,
        made_of,
        experiments=bool(job.plan.selected),
    )
    job.seal("report", "pandas", "jinja2", "altair", "vl-convert-python")


def _draw_missing(job: Job) -> None:
    """Draw the figures of the report that are not there or cannot stand, in several processes."""
    from eosflow.results.figures import drawing  # noqa: F401  (for all processes that draw)

    @functools.cache
    def checksum(file: str) -> str | None:
        return sha256(job.root / file) if (job.root / file).is_file() else None

    every = {name: job.products[f"figures/{name}"] for name in job.plan.figures}
    names = [name for name, each in every.items() if why_not(job.root, each, checksum)]
    draw, parts = exit_on_user_error(_draw, "error: "), range(job.threads)
    fork = multiprocessing.get_context("fork")
    copies = [fork.Process(target=draw, args=(job, names[n :: job.threads])) for n in parts]
    for copy in copies:
        copy.start()
    for copy in copies:
        copy.join()
    if any(copy.exitcode for copy in copies):
        raise UserError("The figures of the report cannot all be drawn: see above.")
