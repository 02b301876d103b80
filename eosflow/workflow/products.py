"""What is made of the runs, file by file: frames, tables, figures, report and manifest."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from eosflow.studies import JUDGED, STUDIES

COLLECTED = ("decomposition.parquet", "runs.parquet", "provenance/collect.json")
DICE_PARAMETERS = ("data/dice-parameters.parquet", "provenance/dice-parameters.json")
MANIFEST = "manifest.json"
STUDIES_PAGE = ("studies.html", "provenance/studies.json")
PAPER = "the paper"  # whose runs the tables are made of; no study can be called that


@dataclass(frozen=True)
class Product:
    """Files of one job, below the results: the first names it, the last is its record.

    `inputs` are what it is made from, and `sources` those of them whose checksums are in the
    record. `of` says of whose runs the record tells: those of the paper, or of a study by its name.
    """

    files: tuple[str, ...]
    inputs: tuple[str, ...]
    sources: tuple[str, ...]
    of: str | None = None

    @property
    def record(self) -> str:
        """The file that tells of the others."""
        return self.files[-1]

    @property
    def benchmark(self) -> str:
        """The file with the time and memory that the job took, which Snakemake goes by too."""
        name = Path(self.record.removeprefix("provenance/")).with_suffix(".tsv")
        return f"benchmarks/{name}"


def products(
    indices: Mapping[str, Iterable[str]],
    figures: Mapping[str, str | None],
    reported: Collection[str],
    studies: Mapping[str, Sequence[str]],
    discarded: Iterable[str] = (),
) -> Iterator[Product]:
    """All products, each after those that it is made from.

    `indices` are the index files of each measurement of the experiments of `select`, and empty
    where there are none: then neither tables nor report are made. `figures` names the table that a
    figure is drawn from; None where that is the collected runs, and `dice` for images. `reported`
    are the names of the figures and of the studies whose verdicts are in the report. `studies` are
    those made of runs, each with the files of its runs. `discarded` are notes of deleted snapshots,
    after which the manifest is made.
    """
    tables = list(_tables(tuple(indices["decomposition"]))) if indices else []
    yield from tables
    summaries = [table.record for table in tables]
    studied = []
    for name, made_of in studies.items():
        yield Product((STUDIES[name].data, STUDIES[name].record), (*made_of,), (*made_of,), name)
        studied.append(STUDIES[name].record)
    for name in JUDGED:
        table = (STUDIES[name].data, STUDIES[name].record)
        record = f"provenance/studies/{name}/claims.json"
        of = name if name in studies else None
        yield Product((STUDIES[name].claims, record), table, table[-1:], of)
        if name in reported:
            studied.append(record)
    for name, data in figures.items():
        record = f"provenance/figures/{name}.json"
        files = (f"figures/{name}.pdf", f"figures/{name}.png", record)
        if data is None:
            yield Product(files, COLLECTED, COLLECTED[-1:], PAPER)
        elif data == "dice":  # a figure outlives the images that it shows
            yield Product(files, (), ())
        else:
            source = str(Path("provenance", data).with_suffix(".json"))
            of = next((study for study in studies if data == STUDIES[study].data), None)
            yield Product(files, (data, source), (source,), of)
        if name in reported:
            of_study = data is not None and data.startswith("studies/")
            (studied if of_study else summaries).append(record)
    for name, those in indices.items():
        if name != "decomposition":
            record = f"provenance/measurements/{name}.json"
            yield Product((f"measurements/{name}.parquet", record), (*those,), (*those,), PAPER)
            summaries.append(record)
    if studied:
        yield Product(STUDIES_PAGE, (*studied,), (*studied,))
    everything = (*summaries, *studied)
    if indices:
        report = ("report.html", "provenance/report.json")
        yield Product(report, everything, everything)
        everything += report[-1:]
    elif studied:
        everything += STUDIES_PAGE[-1:]
    yield Product((MANIFEST,), (*everything, *discarded), everything)


def _tables(decomposed: tuple[str, ...]) -> Iterator[Product]:
    """The frames of the decomposed runs, and the tables made of them."""
    yield Product(COLLECTED, decomposed, decomposed, PAPER)
    for name in ("table1", "table2", "alignment", "table3", "claims"):
        made_from = DICE_PARAMETERS if name == "table3" else COLLECTED
        latex = () if name == "claims" else (f"{name}.tex",)
        files = (f"{name}.csv", *latex, f"provenance/{name}.json")
        yield Product(files, made_from, made_from[-1:], None if name == "table3" else PAPER)
