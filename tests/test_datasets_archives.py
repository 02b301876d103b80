"""Archives: read in memory alone, and refused if they are damaged or not the published ones."""

from __future__ import annotations

import gzip
from random import Random

import pytest
from small_archives import tar_of, zip_of

from eosflow.datasets import archives
from eosflow.datasets.archives import UnfitArchive, read_members


@pytest.fixture(params=["zip", "tar"])
def make(request, tmp_path):
    """A function that writes members (name -> bytes) to an archive of either kind."""
    if request.param == "zip":
        return lambda members: zip_of(tmp_path / "a.zip", members)
    return lambda members: tar_of(tmp_path / "a.tar.gz", members)


def test_members_are_found_in_any_folder_and_never_unpacked(make, tmp_path):
    archive = make({"../a.txt": b"one", "/etc/b.txt": b"two", "c.txt": b"not wanted"})
    assert read_members(archive, ["a.txt", "b.txt"]) == {"a.txt": b"one", "b.txt": b"two"}
    assert list(tmp_path.iterdir()) == [archive]


def test_a_member_that_is_missing_twice_there_or_too_large_is_named(make, monkeypatch):
    monkeypatch.setattr(archives, "MEMBER_LIMIT", 1000)
    members = {"x/a.txt": b"one", "y/a.txt": b"two", "b.txt": bytes(1001)}
    for name, words in (("a", "two members named"), ("b", "more than 1000"), ("c", "no member")):
        with pytest.raises(UnfitArchive, match=words) as refusal:
            read_members(make(members), [f"{name}.txt"])
        assert f"{name}.txt" in str(refusal.value)


def test_a_truncated_archive_and_something_else(make):
    archive = make({"a.txt": bytes(range(256)) * 4000})
    content = archive.read_bytes()
    page = b"<html>404</html>"
    for damaged in (b"", content[: len(content) // 2], content[:-1], page, gzip.compress(page * 9)):
        archive.write_bytes(damaged)
        with pytest.raises(UnfitArchive, match="truncated or damaged"):
            read_members(archive, ["a.txt"])


def test_flipped_bytes_are_never_a_traceback_or_another_content(make):
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
        except UnfitArchive:
            continue
    assert 0 < read < 300
