"""What is made of the runs, file by file: frames, tables, figures, report and manifest."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from eosflow.runs.studies import JUDGED, claims_of, table_of

COLLECTED = ("decomposition.parquet", "runs.parquet", "provenance/collect.json")
DICE_PARAMETERS = ("data/dice-parameters.parquet", "provenance/dice-parameters.json")
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Product:
    """Files of one job, below the results: the first names it, the last is its record.

    `inputs` are what it is made from, and `sources` those of them whose checksums are in the
    record. `of_runs` says whether the record names the runs.
    """

    files: tuple[str, ...]
    inputs: tuple[str, ...]
    sources: tuple[str, ...]
    of_runs: bool = False

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
) -> Iterator[Product]:
    """All products, each after those that it is made from.

    `indices` are the index files of each measurement, `figures` the table that a figure is drawn
    from; None where that is the collected runs, and `dice` for images. `reported` are the names of
    the figures and of the studies whose verdicts are in the report.
    """
    own = tuple(indices["decomposition"])
    yield Product(COLLECTED, own, own, True)
    summaries = ["provenance/collect.json"]
    for name in ("table1", "table2", "alignment", "table3", "claims"):
        made_from = DICE_PARAMETERS if name == "table3" else COLLECTED
        latex = () if name == "claims" else (f"{name}.tex",)
        files = (f"{name}.csv", *latex, f"provenance/{name}.json")
        yield Product(files, made_from, made_from[-1:], name != "table3")
        summaries.append(files[-1])
    for name in JUDGED:
        table = (table_of(name), f"provenance/studies/{name}/table.json")
        record = f"provenance/studies/{name}/claims.json"
        yield Product((claims_of(name), record), table, table[-1:])
        if name in reported:
            summaries.append(record)
    for name, data in figures.items():
        record = f"provenance/figures/{name}.json"
        files = (f"figures/{name}.pdf", f"figures/{name}.png", record)
        if data is None:
            yield Product(files, COLLECTED, COLLECTED[-1:], True)
        elif data == "dice":  # a figure outlives the images that it shows
            yield Product(files, (), ())
        else:
            source = str(Path("provenance", data).with_suffix(".json"))
            yield Product(files, (data, source), (source,))
        if name in reported:
            summaries.append(record)
    for name, those in indices.items():
        if name != "decomposition":
            record = f"provenance/measurements/{name}.json"
            yield Product((f"measurements/{name}.parquet", record), (*those,), (*those,), True)
            summaries.append(record)
    report = ("report.html", "provenance/report.json")
    yield Product(report, tuple(summaries), tuple(summaries))
    everything = (*summaries, report[-1])
    yield Product((MANIFEST,), everything, everything)
