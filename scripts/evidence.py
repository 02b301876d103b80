"""The command `eosflow evidence`, for a tree that is not installed."""

from __future__ import annotations

import sys

from eosflow.workflow import command_line, terminal

if __name__ == "__main__":
    command_line.run(lambda: terminal.main(["evidence", *sys.argv[1:]]))
