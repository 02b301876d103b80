"""Write the lock files anew: `python envs/lock.py`, with uv installed.

Each says exact versions and the SHA-256 of every file that the package index has of them:
torch.txt   torch and its CUDA libraries, as the index has them
lock.txt    all else that the workflow needs
test.txt    what the tests need beyond that; docs.txt what the pages need
peers.txt   packages that tests compare with, without their dependencies

Versions stay as they are while they fit the ranges in pyproject.toml. To take a newer one, delete
its lines first; for a new peer, add `name==version` to peers.txt.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
import tomllib
from pathlib import Path

ENVS = Path(__file__).parent
PROJECT = ENVS.parent / "pyproject.toml"
# What differs with the accelerator, and is therefore not in lock.txt.
ACCELERATED = re.compile(r"(torch|triton|nvidia-.*|cuda-.*)==")
HEADER = "# Written by envs/lock.py. "
COMMENTS = {
    "torch": "torch and its CUDA libraries. Other builds of torch have other hashes.",
    "lock": "The workflow without torch, for Python 3.11 and newer on Linux and macOS.",
    "test": "What the tests need beyond lock.txt.",
    "docs": "What the pages need beyond lock.txt.",
    "peers": "Peers that tests compare with, for `pip install --no-deps`: some ask for packages "
    "that they do not need here.",
}


def read(name: str) -> dict[str, str]:
    """The blocks of a lock file, a package with its hashes, by the package's name."""
    text = (ENVS / f"{name}.txt").read_text() if (ENVS / f"{name}.txt").exists() else ""
    return blocks(text)


def blocks(text: str) -> dict[str, str]:
    """A requirement and its hashes, by the name of the package."""
    found = re.findall(r"^\w.*(?:\n    .*)*", text, re.MULTILINE)
    return {block.partition("==")[0]: block for block in found}


def compiled(source: Path | str, *options: str, pins: str) -> dict[str, str]:
    """What uv resolves, with the versions that are locked where these fit."""
    with tempfile.TemporaryDirectory() as folder:
        known = Path(folder, "known.txt")
        known.write_text(pins)
        command = ["uv", "pip", "compile", str(source), *options, "--generate-hashes"]
        command += ["--universal", "--python-version", "3.11", "--no-annotate", "--no-header"]
        subprocess.run([*command, "--quiet", "--output-file", str(known)], check=True)
        return blocks(known.read_text())


def write(name: str, packages: dict[str, str]) -> None:
    """Write one lock file."""
    lines = [HEADER + COMMENTS[name], *(packages[key] for key in sorted(packages))]
    (ENVS / f"{name}.txt").write_text("\n".join(lines) + "\n")


def main() -> None:
    """Resolve all extras together, so that no two files ask for different versions."""
    names = ("torch", "lock", "test", "docs")
    pins = "\n".join(block for name in names for block in read(name).values())
    extras = tomllib.loads(PROJECT.read_text())["project"]["optional-dependencies"]
    everything = compiled(PROJECT, *(f"--extra={extra}" for extra in extras), pins=pins)
    pins = "\n".join(everything.values())
    runtime = compiled(PROJECT, "--extra=workflow", "--extra=slurm", pins=pins)
    torch = {name: block for name, block in runtime.items() if ACCELERATED.match(block)}
    write("torch", torch)
    write("lock", {name: runtime[name] for name in runtime.keys() - torch.keys()})
    for extra in ("test", "docs"):
        own = compiled(PROJECT, f"--extra={extra}", pins=pins)
        # Those of the runtime too that are wanted there on other platforms alone.
        write(extra, {name: own[name] for name in own if own[name] != runtime.get(name)})
    write("peers", compiled(ENVS / "peers.txt", "--no-deps", pins=""))


if __name__ == "__main__":
    main()
