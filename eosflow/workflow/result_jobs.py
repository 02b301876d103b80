"""The jobs that make frames, tables, studies, figures and pages; each imports what it needs."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

from eosflow.results import figures as listed_figures
from eosflow.runs.names import measured_folder
from eosflow.runs.records import RunRecord
from eosflow.storage import provenance
from eosflow.storage.files import sha256
from eosflow.studies import OF_RUNS, STUDIES
from eosflow.workflow.job import Job
from eosflow.workflow.plan import Plan
from eosflow.workflow.products import OF_STUDIES, dice_subset, drawable, figures_of, why_not


def collect(job: Job) -> None:
    """MEASUREMENT: gather the records of all runs into a tidy frame; of the decomposition, two."""
    from eosflow.results import manifest, tables
    from eosflow.results.collect import collect, collect_measurement

    (name,) = job.words
    folders = [job.plan.home(folder) for folder in job.plan.selected]
    place, product = measured_folder(job.plan.measurements[name]), job.products[f"frame {name}"]
    frames: tuple[Any, ...] = (
        collect(folders, place)
        if name == "decomposition"
        else (collect_measurement(folders, place),)
    )
    for frame, file in zip(frames, product.made, strict=True):
        tables.write_parquet(frame, job.root / file)
    records = (RunRecord.read(folder / "run.json").model_dump() for folder in folders)
    job.seal(f"frame {name}", "pandas", "pyarrow", runs=manifest.of_runs(records))


def dice_parameters(job: Job) -> None:
    """Write the drawn parameters of every Dice image, and their ranges as Table 3."""
    import pandas as pd

    from eosflow.datasets import dice
    from eosflow.results import tables
    from eosflow.workflow import expand

    product = job.products["dice-parameters"]
    parquet, csv, latex = (job.root / file for file in product.made)
    settings: Any = expand.dataset(job.plan.config, "dice")
    dice.write_parameters(settings, parquet)
    table = tables.table3(pd.read_parquet(parquet))
    tables.write_csv(table, csv)
    tables.write_latex(table, latex, "table3")
    job.seal("dice-parameters", "pyarrow", "pandas")


def tables(job: Job) -> None:
    """Make the paper's tables and the check of its claims out of the tidy frames."""
    import pandas as pd

    from eosflow.results import claims, tables

    job.verified("frame decomposition")
    decomposition, runs = (
        pd.read_parquet(job.root / name) for name in ("decomposition.parquet", "runs.parquet")
    )
    made = {
        "table1": tables.table1(runs),
        "table2": tables.table2(decomposition, runs),
        "alignment": tables.alignment(decomposition, runs),
        "claims": claims.check(decomposition, runs),
    }
    titles = tables.given_titles(runs)
    for name, table in made.items():
        tables.write_csv(table, job.root / f"{name}.csv")
        if name in tables.CAPTIONS:
            tables.write_latex(table, job.root / f"{name}.tex", name, titles)
    job.seal("tables", "pandas", "statsmodels")


def study(job: Job) -> None:
    """STUDY: make the table of a study, from fixed problems or from its runs."""
    import pandas as pd

    from eosflow.results import manifest, tables

    (name,), facts = job.words, None
    if name in OF_RUNS:
        from eosflow.results.collect import study_run

        homes, runs = [], []
        for folder in job.plan.study_runs[name]:
            measured = job.plan.measured_of(folder)
            homes.append(job.plan.home(folder))
            places = {each: measured_folder(measured[each]) for each in measured}
            runs.append(study_run(homes[-1], places))
        table = STUDIES[name].table(runs)
        facts = manifest.of_runs(RunRecord.read(home / "run.json").model_dump() for home in homes)
    else:
        import torch

        torch.set_num_threads(job.threads)
        table = pd.DataFrame(STUDIES[name].rows())
    tables.write_csv(table, job.root / STUDIES[name].data)
    job.seal(f"study {name}", "scipy", "pandas", "pyarrow", runs=facts)


def study_claims(job: Job) -> None:
    """STUDY: judge the statements of a study's source by the study's table."""
    import pandas as pd

    from eosflow.results import tables

    (name,) = job.words
    job.verified(f"study {name}")
    table = STUDIES[name].judge(pd.read_csv(job.root / STUDIES[name].data))
    tables.write_csv(table, job.root / STUDIES[name].claims)
    job.seal(f"claims {name}", "pandas")


def figure(job: Job) -> None:
    """FIGURE: draw one figure as PDF and PNG."""
    _draw(job, *job.words)


def figures(job: Job) -> None:
    """GROUP: draw those figures of the paper, or of the studies, that cannot stand."""
    (group,) = job.words

    @functools.cache
    def checksum(file: str) -> str | None:
        return sha256(job.root / file) if (job.root / file).is_file() else None

    names = figures_of(job.plan, group)
    _draw(job, *(n for n in names if why_not(job.root, job.products[f"figure {n}"], checksum)))
    job.seal(f"figures {group}")


def _draw(job: Job, *names: str) -> None:
    if not names:
        return
    import pandas as pd

    @functools.cache
    def frame(name: str) -> pd.DataFrame:
        job.verified("frame decomposition")
        return pd.read_parquet(job.root / name)

    entries = drawable(job.plan)
    for name in names:
        data = entries[name].data
        if data is None:
            frames, source = (frame("decomposition.parquet"), frame("runs.parquet")), None
        else:
            if data != "dice":
                job.verified(f"study {name}")
            frames = (pd.DataFrame(), pd.DataFrame())
            source = job.root / (dice_subset(job.plan) if data == "dice" else data)
        against = job.plan.config["figures"]["against"]
        drawing = listed_figures.draw(name, *frames, source, against)
        pdf, png = (job.root / file for file in job.products[f"figure {name}"].made)
        listed_figures.save(drawing, pdf, png)
        job.seal(f"figure {name}", "pandas", "matplotlib", "seaborn")


def report(job: Job) -> None:
    """Put all tables and figures on one page."""
    from eosflow.results import report

    _verify_sources(job, "report", job.plan.figures)
    report.render(job.root, job.root / "report.html", job.plan.config)
    job.seal("report", "pandas", "jinja2", "altair", "vl-convert-python")


def studies_page(job: Job) -> None:
    """Put the studies on one page, without the experiments of the paper."""
    from eosflow.results import studies_page

    _verify_sources(job, "studies", figures_of(job.plan, OF_STUDIES))
    runs = {
        study: {folder: job.plan.home(folder) for folder in folders}
        for study, folders in job.plan.study_runs.items()
    }
    studies_page.render(job.root, job.plan.studies, runs, job.root / "studies.html")
    job.seal("studies", "pandas", "jinja2")


def _verify_sources(job: Job, name: str, figures: Iterable[str]) -> None:
    """Compare all that a page shows with its records, figures too."""
    for record in job.products[name].sources:
        provenance.verify(job.root, record)
    for figure in figures:
        job.verified(f"figure {figure}")


def manifest(job: Job) -> None:
    """List all results with their checksums and origins."""
    write_manifest(job.plan)


def write_manifest(plan: Plan) -> None:
    """Make manifest.json of the results, and its record."""
    from eosflow.results import manifest

    job = Job(plan, (), 0, 1)
    known = [each for name, each in job.products.items() if name != "manifest"]
    records = [each.record for each in known if (job.root / each.record).exists()]
    homes = [plan.home(folder) for folder in plan.runs]
    manifest.results_manifest(job.root, records, homes, job.root / "manifest.json")
    job.seal("manifest")
