"""What every script does around its one library call."""

from __future__ import annotations

import errno
import logging
import sys
from collections.abc import Callable

from eosflow.storage.errors import UserError


def run(main: Callable[[], None]) -> None:
    """Call `main` and turn its end into an exit status: 0, 1 for a message, 130 for Ctrl-C.

    A `UserError`, or a full disk, is a message on stderr. Any other exception is a defect and keeps
    its traceback.
    """
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("eosflow").setLevel(logging.INFO)  # of ours; of libraries only warnings
    try:
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        print(
            f"error: the disk is full: {error}. Nothing that was finished is lost: make room and "
            "start the same command again.",
            file=sys.stderr,
        )
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted; start the same command again to go on", file=sys.stderr)
        sys.exit(130)
