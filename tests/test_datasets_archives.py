"""Archives from strangers: read in memory alone, no bombs, no half files."""

from __future__ import annotations

import gzip
import tarfile
import tracemalloc
from pathlib import Path
from random import Random

import pytest
from small_archives import tar_of, zip_of

from eosflow.datasets import archives
from eosflow.datasets.archives import read_members
from eosflow.storage.errors import UserError


@pytest.fixture(params=["zip", "tar"])
def make(request, tmp_path):
    """A function that writes members (name -> bytes) to an archive of either kind."""
    if request.param == "zip":
        return lambda members: zip_of(tmp_path / "a.zip", members)
    return lambda members: tar_of(tmp_path / "a.tar.gz", members)


def test_members_are_found_in_any_folder(make):
    archive = make({"folder/a.txt": b"one", "b.txt": b"two", "c.txt": b"not wanted"})
    assert read_members(archive, ["a.txt", "b.txt"]) == {"a.txt": b"one", "b.txt": b"two"}


def test_nothing_is_ever_unpacked(make, tmp_path):
    """Members outside the folder and links do no harm: what is read stays in memory."""
    archive = make({"../a.txt": b"one", "/etc/b.txt": b"two"})
    assert read_members(archive, ["a.txt", "b.txt"]) == {"a.txt": b"one", "b.txt": b"two"}
    link = tarfile.TarInfo("a.txt")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    with pytest.raises(UserError, match=r"no member a\.txt"):
        read_members(tar_of(tmp_path / "link.tar.gz", {"a.txt": link}), ["a.txt"])
    assert {path.suffix for path in tmp_path.iterdir()} <= {".zip", ".gz"}


def test_members_beyond_the_bound_are_refused(make, monkeypatch):
    monkeypatch.setattr(archives, "MEMBER_LIMIT", 1000)
    archive = make({"a.txt": bytes(1001)})
    with pytest.raises(UserError, match="more than 1000 bytes"):
        read_members(archive, ["a.txt"])


def test_a_missing_member_is_named(make):
    with pytest.raises(UserError, match=r"no member b\.txt"):
        read_members(make({"a.txt": b"one"}), ["a.txt", "b.txt"])


def test_a_member_that_is_there_twice_is_refused(make):
    with pytest.raises(UserError, match=r"two members named a\.txt"):
        read_members(make({"x/a.txt": b"one", "y/a.txt": b"two"}), ["a.txt"])


def test_a_truncated_archive_a_flipped_byte_and_something_else(make):
    archive = make({"a.txt": bytes(range(256)) * 4000})
    content = archive.read_bytes()
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 0xFF
    page = b"<html>404</html>"
    cut_off = b"", content[:10], content[: len(content) // 2], content[:-1]
    for damaged in (*cut_off, flipped, page, gzip.compress(page * 100)):
        archive.write_bytes(damaged)
        with pytest.raises(UserError, match="truncated or damaged"):
            read_members(archive, ["a.txt"])


def test_a_zip_that_lies_about_a_size_is_refused_before_it_is_unpacked(tmp_path: Path):
    archive = zip_of(tmp_path / "a.zip", {"a.txt": bytes(2**27)})
    content = archive.read_bytes()
    archive.write_bytes(content.replace((2**27).to_bytes(4, "little"), (9).to_bytes(4, "little")))
    tracemalloc.start()
    with pytest.raises(UserError, match="damaged"):
        read_members(archive, ["a.txt"])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**22


@pytest.mark.parametrize(("place", "value"), [("flags", 1), ("method", 93), ("method", 9)])
def test_an_encrypted_or_exotic_zip_is_named(tmp_path: Path, place: str, value: int):
    """93 is Zstandard, 9 Deflate64, and the lowest flag says that a password is needed."""
    archive = zip_of(tmp_path / "a.zip", {"a.txt": b"one"})
    content = bytearray(archive.read_bytes())
    for start, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        at = content.index(start) + offset + (2 if place == "method" else 0)
        content[at] = value
    archive.write_bytes(content)
    with pytest.raises(UserError, match=r"damaged \(.*(encrypted|compression)"):
        read_members(archive, ["a.txt"])


def test_flipped_bytes_are_never_a_traceback(make):
    archive = make({"a.txt": b"one" * 50, "b.txt": b"two"})
    content, random = archive.read_bytes(), Random(0)
    read = 0
    for _ in range(300):
        damaged = bytearray(content)
        for _ in range(random.randint(1, 3)):
            damaged[random.randrange(len(damaged))] = random.randrange(256)
        archive.write_bytes(damaged)
        try:
            assert read_members(archive, ["a.txt"]) == {"a.txt": b"one" * 50}
            read += 1
        except UserError:
            continue
    assert 0 < read < 300
