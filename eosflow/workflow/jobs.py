"""What each rule's job does: `python scripts/job.py NAME PLAN [WORD …]`.

PLAN is the file in which the workflow has written its plan, and the words are the rule's wildcards.
Each job imports what it needs, so that no job waits for the libraries of another.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eosflow.results import figures as listed_figures
from eosflow.runs.names import measured_folder
from eosflow.storage import provenance
from eosflow.storage.files import sha256
from eosflow.storage.locks import alone_in
from eosflow.studies import OF_RUNS, STUDIES
from eosflow.workflow import command_line, gpu, views
from eosflow.workflow.plan import Plan
from eosflow.workflow.products import (
    Product,
    dice_subset,
    drawable,
    figures_of,
    products,
    why_not,
)


@dataclass(frozen=True)
class Job:
    """What a job is given: the plan, the rule's wildcards, GPUs to hold and threads to use."""

    plan: Plan
    words: tuple[str, ...]
    gpus: int
    threads: int

    @property
    def root(self) -> Path:
        """The results folder."""
        return Path(self.plan.results)

    @functools.cached_property
    def products(self) -> dict[str, Product]:
        """All products of the plan, by name."""
        return products(self.plan)

    def seal(self, name: str, *packages: str, runs: dict[str, Any] | None = None) -> None:
        """Write the record of a product that has been made."""
        of = self.products[name]
        where = self.root, of.record, of.made, of.made_of, of.sources
        provenance.seal(*where, runs=runs, packages=packages)

    def verified(self, *names: str) -> None:
        """Compare products with their records. Raises: UserError where one is damaged."""
        for name in names:
            provenance.verify(self.root, self.products[name].record)


def start() -> None:
    """The entry point of scripts/job.py."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=JOBS)
    parser.add_argument("plan", type=Path, help="where the workflow has written its plan")
    parser.add_argument("words", nargs="*", help="the wildcards of the rule")
    parser.add_argument("--gpus", type=int, default=0, help="how many to hold; 0: use the CPU")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()

    def main() -> None:
        plan = Plan.read(given.plan)
        JOBS[given.name](Job(plan, tuple(given.words), given.gpus, given.threads))

    command_line.run(main)


def fetch(job: Job) -> None:
    """ARCHIVE: fetch an archive from its official host or a mirror, and verify it."""
    from eosflow.datasets import ARCHIVES, download

    (name,), config = job.words, job.plan.config
    output = job.root / "data" / "archives" / name
    download.fetch(ARCHIVES[name], output, config["mirror"], config["checksums"].get(name))


def subset(job: Job) -> None:
    """DATASET WHICH: draw a subset of a dataset, `subset3`, or examples of its test split."""
    from eosflow.datasets import Resources
    from eosflow.datasets.download import verified
    from eosflow.datasets.subsets import write_subset
    from eosflow.workflow.data import Data, seed_of

    dataset, which = job.words
    seed = seed_of(which)
    data, checksums = Data(job.plan), job.plan.config["checksums"]
    settings = data.settings(dataset)
    archives = [job.root / "data" / "archives" / each.name for each in settings.facts.archives]
    resources = Resources(
        archive=archives[-1] if archives else None,
        cache=job.root / "data" / "embeddings",
        device="cpu",
    )
    with contextlib.ExitStack() as held:
        for archive, path in zip(settings.facts.archives, archives, strict=True):
            held.enter_context(verified(archive, path, checksums.get(archive.name)))
        size, output = data.size(dataset, seed), Path(data.path(dataset, seed))
        write_subset(dataset, settings, seed, size, resources, output)


def dice_parameters(job: Job) -> None:
    """Write the drawn parameters of every Dice image, the source of Table 3."""
    from eosflow.datasets import dice
    from eosflow.workflow import expand

    name = "dice-parameters"
    settings: Any = expand.dataset(job.plan.config, "dice")
    dice.write_parameters(settings, job.root / job.products[name].made[0])
    job.seal(name, "pyarrow")


def train(job: Job) -> None:
    """EXP/nN/RUN: train a run, or continue it from its checkpoint."""
    (folder,) = job.words
    home = job.plan.home(folder)
    # A cluster ends a job so. As Ctrl-C does, it leaves a checkpoint.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with alone_in(home), gpu.lease(job.plan.config["device"], job.gpus) as device:
        from eosflow.runs.train import train  # after the lease, which decides what torch sees

        train(job.plan.run(folder), _subset_of(job, folder), home, device, job.threads)
        views.update(job.plan, folder, trained=True, measured=False)


def measure(job: Job) -> None:
    """EXP/nN/RUN: take all measurements of a run; with PLACE and STEP, one of one snapshot."""
    folder, *one = job.words
    home, measured = job.plan.home(folder), list(job.plan.measured_of(folder).values())
    with alone_in(home), gpu.lease(job.plan.config["device"], job.gpus) as device:
        import torch  # after the lease, which decides what torch sees

        from eosflow.runs.measure import measure_run, measure_snapshot

        torch.set_num_threads(job.threads)
        subset = _subset_of(job, folder)
        if one:
            place, step = one
            wanted = job.plan.measurement(folder, place)
            measure_snapshot(home, int(step), subset, wanted, device)
        else:
            measure_run(home, subset, *measured, device=device)
        whole = not any(map(any, job.plan.damages(folder)))
        views.update(job.plan, folder, trained=True, measured=whole)


def _subset_of(job: Job, folder: str) -> Path:
    from eosflow.workflow.data import Data

    run = job.plan.run(folder)
    return Path(Data(job.plan).path(run.dataset, run.subset_seed))


def discard(job: Job) -> None:
    """EXP/nN/RUN: delete the weight snapshots of a run of which all is measured."""
    from eosflow.workflow.clean import discard

    (folder,) = job.words
    places = [measured_folder(each) for each in job.plan.measured_of(folder).values()]
    discard(job.plan.home(folder), places)
    views.update(job.plan, folder, trained=True, measured=True)


def collect(job: Job) -> None:
    """MEASUREMENT: gather the records of all runs into a tidy frame; of the decomposition, two."""
    from eosflow.results import manifest, tables
    from eosflow.results.collect import collect, collect_measurement, verified

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
    records = (record.model_dump() for record in verified(folders, []))
    job.seal(f"frame {name}", "pandas", "pyarrow", runs=manifest.of_runs(records))


def tables(job: Job) -> None:
    """Make the paper's tables and the check of its claims out of the tidy frames."""
    import pandas as pd

    from eosflow.results import claims, tables

    job.verified("frame decomposition", "dice-parameters")
    decomposition, runs, parameters = (
        pd.read_parquet(job.root / name)
        for name in ("decomposition.parquet", "runs.parquet", "data/dice-parameters.parquet")
    )
    made = {
        "table1": tables.table1(runs),
        "table2": tables.table2(decomposition, runs),
        "alignment": tables.alignment(decomposition, runs),
        "table3": tables.table3(parameters),
        "claims": claims.check(decomposition, runs),
    }
    titles = tables.given_titles(runs)
    for name, table in made.items():
        tables.write_csv(table, job.root / f"{name}.csv")
        if name in tables.CAPTIONS:
            of_runs = {} if name == "table3" else titles
            latex = job.root / f"{name}.tex"
            tables.write_latex(table, latex, tables.CAPTIONS[name], f"tab:{name}", of_runs)
    job.seal("tables", "pandas", "statsmodels")


def study(job: Job) -> None:
    """STUDY: make the table of a study, from problems of its own or from its runs."""
    import pandas as pd

    from eosflow.results import manifest, tables

    (name,), facts = job.words, None
    if name in OF_RUNS:
        from eosflow.results.collect import study_run, verified

        homes, runs = [], []
        for folder in job.plan.study_runs[name]:
            measured = job.plan.measured_of(folder)
            homes.append(job.plan.home(folder))
            places = {each: measured_folder(measured[each]) for each in measured}
            runs.append(study_run(homes[-1], places))
        table = STUDIES[name].table(runs)
        facts = manifest.of_runs(record.model_dump() for record in verified(homes, []))
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

    _verify_sources(job, "report")
    report.render(job.root, job.root / "report.html")
    job.seal("report", "pandas", "jinja2", "altair", "vl-convert-python")


def studies_page(job: Job) -> None:
    """Put the studies on one page, without the experiments of the paper."""
    from eosflow.results import studies_page

    _verify_sources(job, "studies")
    runs = {
        study: {folder: job.plan.home(folder) for folder in folders}
        for study, folders in job.plan.study_runs.items()
    }
    studies_page.render(job.root, job.plan.studies, runs, job.root / "studies.html")
    job.seal("studies", "pandas", "jinja2")


def _verify_sources(job: Job, name: str) -> None:
    """Compare all that a page shows with its records, figures too."""
    for record in job.products[name].sources:
        provenance.verify(job.root, record)
    for figure in job.plan.figures:
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


JOBS: dict[str, Callable[[Job], None]] = {
    each.__name__: each
    for each in (
        *(fetch, subset, dice_parameters, train, measure, discard, collect, tables),
        *(study, study_claims, figure, figures, report, studies_page, manifest),
    )
}
