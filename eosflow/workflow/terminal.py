"""The command `eosflow`: the progress of runs, the meaning of columns, disk space, and more."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from eosflow import __version__
from eosflow.storage.errors import UserError, did_you_mean
from eosflow.workflow import command_line

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
        if package == "eosflow":
            raise
        install = "pip install 'eosflow[workflow,report]'"
        raise UserError(f"{package} is not installed: {install}") from None
    except BrokenPipeError:  # of a reader such as `head`
        sys.stderr.close()


class Parser(argparse.ArgumentParser):
    """Raises UserError for wrong arguments, as its commands do, in place of ending with 2."""

    def error(self, message: str) -> NoReturn:
        """Raises: UserError with what is wrong, names that are near, and the usage."""
        wrong = re.search(r"invalid choice: '(.*?)'|unrecognized arguments: (\S+)", message)
        meant = did_you_mean(wrong[1] or wrong[2], list(_names(self))) if wrong else ""
        raise UserError(f"{message}.{meant}\n{self.format_usage().strip()}")


def _names(parser: argparse.ArgumentParser) -> Iterator[str]:
    """The options of a parser, and the commands below it with theirs."""
    for action in parser._actions:
        yield from action.option_strings
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                yield name
                yield from _names(below)


def parser() -> Parser:
    """The commands and their options."""
    whole = Parser(prog="eosflow", description=__doc__)
    whole.add_argument("--version", action="version", version=f"eosflow {__version__}")
    commands = whole.add_subparsers(metavar="COMMAND", required=True)

    status = _command(commands, "status", "show the progress of the runs in a results folder")
    _results(status)
    status.add_argument("--all", action="store_true", help="print a line for every run")
    status.add_argument("--json", action="store_true", help="print everything, for scripts")
    status.set_defaults(run=_status)

    explain = _command(commands, "explain", "print the symbol, equation, unit and file of a column")
    explain.add_argument("column", help="name of the column, such as alignment_product")
    explain.set_defaults(run=_explain)

    clean = _command(commands, "clean", "delete the weight snapshots of measured runs")
    _results(clean)
    clean.add_argument(
        "--keep-tables",
        action="store_true",
        required=True,
        help="keep the data of tables, figures and the report; delete only snapshots",
    )
    clean.add_argument("--yes", action="store_true", help="delete; default: only show the sizes")
    clean.set_defaults(run=_clean)

    verify = _command(commands, "verify", "read every byte of the results and list damaged files")
    _results(verify)
    verify.set_defaults(run=_verify)

    _add_evidence(_command(commands, "evidence", "keep finished results as a few small files"))

    check = _command(commands, "check", "check whether this machine can run a configuration")
    check.add_argument(
        "--configfile",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="files that override config.yaml",
    )
    check.add_argument(
        "--config",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="values that override those files",
    )
    check.set_defaults(run=_check)
    return whole


def _command(commands: argparse._SubParsersAction[Parser], name: str, words: str) -> Parser:
    """A command, described in the list of commands and in its own help."""
    return commands.add_parser(name, help=words, description=f"{words[0].upper()}{words[1:]}.")


def _results(parser: Parser) -> None:
    parser.add_argument(
        "results", type=Path, nargs="?", default=RESULTS, help="results folder (default: results)"
    )


def _add_evidence(parser: Parser) -> None:
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    keep = _command(commands, "keep", "add the finished runs of results folders to kept evidence")
    keep.add_argument(
        "results",
        type=Path,
        nargs="*",
        help="results folders; without any, the tables are made again",
    )
    keep.add_argument(
        "folder", type=Path, help="where to keep the evidence: new, empty, or from an earlier keep"
    )
    keep.set_defaults(run=_keep)
    redraw = _command(commands, "redraw", "make figures, tables and report from kept evidence")
    redraw.add_argument("folder", type=Path, help="folder with kept evidence")
    redraw.add_argument(
        "output", type=Path, help="where to write: new, empty, or from an earlier redraw"
    )
    redraw.set_defaults(run=_redraw)


# Each imports its own packages, so that the others start fast.


def _status(given: argparse.Namespace) -> None:
    from eosflow.workflow.status import Status

    status = Status.of(given.results)
    record = dataclasses.asdict(status)
    print(json.dumps(record, indent=1) if given.json else status.in_words(given.all))


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
            "there and start the workflow again: they are made again."
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
