"""Entry points of scripts and rules: an error becomes a readable message."""

from __future__ import annotations

import errno
import functools
import logging
import signal
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from eosflow.storage.errors import UserError
from eosflow.storage.quoting import fit_to_show

P = ParamSpec("P")
T = TypeVar("T")

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
MAY_NOT = "Ask its owner to let you write there, or choose another results_dir."
MOVE = "Something else lies where the workflow keeps a file or a folder: move it away."
REMEDIES = {
    errno.EACCES: MAY_NOT,
    errno.EPERM: MAY_NOT,
    errno.EROFS: MAY_NOT,
    errno.EISDIR: MOVE,
    errno.ENOTDIR: MOVE,
    errno.EEXIST: MOVE,
    errno.ELOOP: MOVE,
    errno.ENAMETOOLONG: "Choose a shorter results_dir.",
    errno.EIO: "The disk, or the network to it, is faulty: see to it, and start again.",
    errno.ESTALE: "The network to the disk is faulty: see to it, and start again.",
}


def run(main: Callable[[], None]) -> None:
    """Call `main` and turn its end into an exit status: 0, 1 for a message, 130 for Ctrl-C.

    A `UserError`, or a file system that does not let us work, is a message on stderr. Any other
    exception is a defect and keeps its traceback.
    """
    shown = logging.StreamHandler(sys.stderr)
    shown.addFilter(_fit_to_show)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[shown])
    logging.getLogger("eosflow").setLevel(logging.INFO)  # of ours; of libraries only warnings
    interrupted = False

    def interrupt(*_: object) -> None:
        nonlocal interrupted
        interrupted = True
        raise KeyboardInterrupt

    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as in a shell's background job
        signal.signal(signal.SIGINT, interrupt)
    try:
        exit_on_user_error(main, "error: ")()
    except (Exception, KeyboardInterrupt) as error:
        # A library in the middle of being loaded makes another exception of Ctrl-C.
        if not interrupted and not isinstance(error, KeyboardInterrupt):
            raise
        print("interrupted; start the same command again to go on", file=sys.stderr)
        sys.exit(130)


def _fit_to_show(record: logging.LogRecord) -> bool:
    """Make a line of a log fit to show; a filter of `logging`."""
    record.msg, record.args = fit_to_show(record.getMessage()), ()
    return True


def exit_on_user_error(function: Callable[P, T], start: str = "\n") -> Callable[P, T]:
    """Let a `UserError`, or a file system that refuses, end the program with a message alone.

    Snakemake shows every exception of a workflow file with its place in the source, which tells
    a user nothing; it leaves SystemExit alone.
    """

    @functools.wraps(function)
    def wrapped(*arguments: P.args, **keywords: P.kwargs) -> T:
        try:
            return function(*arguments, **keywords)
        except UserError as error:
            sys.exit(f"{start}{error}")
        except OSError as error:
            if words := explained(error):
                sys.exit(f"{start}{fit_to_show(words)}")
            raise

    return wrapped


def explained(error: OSError) -> str | None:
    """What a user can do about a file system that refuses; None if it may be our own defect."""
    if error.errno in FULL:
        return (
            f"the disk is full: {error}. Nothing that was finished is lost: make room and start "
            "the same command again."
        )
    # Of a file that cannot take its final name, that name is what is wrong.
    name = error.filename2 or error.filename
    if error.errno not in REMEDIES or name is None:
        return None
    return f"{name} cannot be used: {error.strerror}. {REMEDIES[error.errno]}"
