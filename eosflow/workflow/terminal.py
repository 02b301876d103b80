"""The command `eosflow`: how far runs are, what columns mean, what can be deleted, and more."""

from __future__ import annotations

import argparse
import functools
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from eosflow import __version__
from eosflow.storage.errors import UserError
from eosflow.workflow import command_line
from eosflow.workflow.arguments import Parser

# Packages that only an extra brings.
EXTRAS = {
    "cairocffi": "workflow",
    "jinja2": "report",
    "matplotlib": "report",
    "seaborn": "report",
    "statsmodels": "report",
}
RESULTS = Path("results")


def start() -> None:
    """The entry point."""
    command_line.run(functools.partial(main, sys.argv[1:]))


def main(arguments: Sequence[str]) -> None:
    """Run one command. Raises: UserError, also for wrong arguments and a failed check."""
    given = parser().parse_args(arguments)
    folder = getattr(given, "results", None)
    if isinstance(folder, Path) and not folder.is_dir():
        raise UserError(f"There is no folder {folder}. Name a results folder, such as results.")
    try:
        given.run(given)
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        if package not in EXTRAS:
            raise
        raise UserError(
            f"{package} is not installed: pip install 'eosflow[{EXTRAS[package]}]'"
        ) from None
    except BrokenPipeError:  # of a reader such as `head`
        sys.stderr.close()


def parser() -> Parser:
    """The commands and their options."""
    whole = Parser(prog="eosflow", description=__doc__)
    whole.add_argument("--version", action="version", version=f"eosflow {__version__}")
    commands = whole.add_subparsers(metavar="COMMAND", required=True)

    status = commands.add_parser("status", help="how far the runs of a results folder are")
    _results(status)
    status.add_argument("--all", action="store_true", help="a line for every run")
    status.add_argument("--json", action="store_true", help="everything, for scripts")
    status.set_defaults(run=_status)

    explain = commands.add_parser("explain", help="symbol, equation, unit and file of a column")
    explain.add_argument("column", help="such as alignment_product")
    explain.set_defaults(run=_explain)

    clean = commands.add_parser("clean", help="free the space of weight snapshots")
    _results(clean)
    clean.add_argument(
        "--keep-tables",
        action="store_true",
        required=True,
        help="keep all that tables, figures and the report are made of; only snapshots go",
    )
    clean.add_argument("--yes", action="store_true", help="delete; without it nothing is")
    clean.set_defaults(run=_clean)

    verify = commands.add_parser("verify", help="read every byte, and say what is damaged")
    _results(verify)
    verify.set_defaults(run=_verify)

    _add_evidence(commands.add_parser("evidence", help="finished results as a few small files"))

    check = commands.add_parser("check", help="whether a configuration can be run here")
    check.add_argument(
        "--configfile", type=Path, nargs="+", default=[], metavar="FILE", help="over config.yaml"
    )
    check.add_argument(
        "--config", nargs="+", default=[], metavar="KEY=VALUE", help="values over those files"
    )
    check.set_defaults(run=_check)
    return whole


def _results(parser: Parser) -> None:
    parser.add_argument("results", type=Path, nargs="?", default=RESULTS, help="default: results")


def _add_evidence(parser: Parser) -> None:
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    keep = commands.add_parser("keep", help="add the finished runs of results to kept evidence")
    keep.add_argument(
        "results", type=Path, nargs="*", help="folders of results; none makes the tables anew"
    )
    keep.add_argument("folder", type=Path, help="output: new, empty, or of an earlier keep")
    keep.set_defaults(run=_keep)
    redraw = commands.add_parser("redraw", help="make figures, tables and report of kept evidence")
    redraw.add_argument("folder", type=Path, help="folder that keep has written")
    redraw.add_argument("output", type=Path, help="output: new, empty, or of an earlier redraw")
    redraw.set_defaults(run=_redraw)


# Each imports what it needs, so that the others start at once.


def _status(given: argparse.Namespace) -> None:
    from eosflow.workflow.status import Status

    status = Status.of(given.results)
    words = json.dumps(status.record(), indent=1) if given.json else status.in_words(given.all)
    print(words)


def _explain(given: argparse.Namespace) -> None:
    from eosflow.results import columns

    print(columns.in_words(columns.explain(given.column)))


def _clean(given: argparse.Namespace) -> None:
    from eosflow.workflow import clean

    print(clean.freeable(given.results).in_words())
    if given.yes:
        clean.clean(given.results)
    else:
        print("Nothing was deleted. Add --yes to do it.")


def _keep(given: argparse.Namespace) -> None:
    from eosflow.results import archive

    archive.keep(given.folder, *given.results)


def _redraw(given: argparse.Namespace) -> None:
    from eosflow.results import redrawing

    redrawing.redraw(given.folder, given.output)


def _verify(given: argparse.Namespace) -> None:
    from eosflow.workflow.verify import verify

    count = 0
    for line in verify(given.results):
        print(line, flush=True)
        count += 1
    if count:
        raise UserError(
            f"{count} files of {given.results} are damaged or missing. Delete those that are "
            "there and start the workflow again: they are made anew."
        )
    print(f"All files of {given.results} are as they were written.")


def _check(given: argparse.Namespace) -> None:
    from eosflow.workflow import check

    findings = []
    for finding in check.check(check.plan_of(given.configfile, given.config)):
        print(finding.line(), flush=True)
        findings.append(finding)
    if any(finding.verdict == check.BAD for finding in findings):
        raise UserError("this configuration cannot be run here; see the lines marked `missing`.")
    print("This configuration can be run here.")


if __name__ == "__main__":
    start()
