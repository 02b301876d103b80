"""Downloads, against a real HTTP server on loopback and every fault a host has shown."""

from __future__ import annotations

import base64
import hashlib
import random
import re
import resource
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from conftest import ROOT
from project import HANGS, job_command
from servers import ArchiveServer

from eosflow.datasets import ARCHIVES, Archive
from eosflow.datasets.archives import read_members
from eosflow.datasets.checksums import mirrors_checksum
from eosflow.datasets.download import fetch, verified
from eosflow.datasets.transfer import Patience, SourceError, open_session
from eosflow.storage.errors import UserError
from eosflow.storage.files import read_json

CONTENT = random.Random(0).randbytes(1_000_000)
KEPT = len(CONTENT) // 2  # of an answer cut at half
SHA256 = hashlib.sha256(CONTENT).hexdigest()
HEX = "0123456789abcdef" * 4
QUICK = Patience(connect=2, read=1, attempts=3, backoff=0.01, window=0.3)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "archives" / "a.zip"


def archive_at(*urls: str, sha256: str | None = SHA256) -> Archive:
    return Archive(name="a.zip", urls=urls, sha256=sha256, size_limit=2_000_000)


@pytest.fixture
def archive(server: ArchiveServer) -> Archive:
    server.files["a.zip"] = CONTENT
    return archive_at(f"{server.url}/a.zip")


def leftovers(output: Path) -> set[str]:
    return {path.name for path in output.parent.iterdir()} - {"a.zip", "a.zip.json", "a.zip.lock"}


# --- hosts that recover -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("faults", "ranges", "wanted"),
    [
        ([], True, [None]),
        ([503, 503], True, [None] * 3),
        (["cut"], True, [None, f"bytes={KEPT}-"]),
        (["stall"], True, [None, f"bytes={KEPT}-"]),
        (["cut", "part", "part"], True, [None, f"bytes={KEPT}-", *["bytes=750000-"], None]),
        (["cut"], False, [None, f"bytes={KEPT}-"]),
    ],
    ids=["good", "busy", "cut", "stalled", "in parts", "without ranges"],
)
def test_what_a_host_breaks_off_is_resumed(server, archive, output, faults, ranges, wanted):
    server.faults, server.ranges = list(faults), ranges
    record = fetch(archive, output, patience=QUICK)
    assert output.read_bytes() == CONTENT
    assert record == read_json(output.with_name("a.zip.json"))
    assert record["verified"] == "sha256 of the official archive"
    assert leftovers(output) == set()
    count = len(server.requests)
    assert count == len(wanted)
    assert [asked for _, asked in server.requests][:2] == wanted[:2]
    fetch(archive, output, patience=QUICK)  # there already: not asked for again
    assert len(server.requests) == count


@pytest.mark.parametrize("change", ["none", "content", "address", "too long", "another total"])
def test_a_later_call_goes_on_from_the_partial_file_of_the_same_archive(
    server, archive, output, change
):
    server.faults = ["cut", 404]
    if change == "content":
        server.files["a.zip"] = bytes(len(CONTENT))
    with pytest.raises(UserError, match="404"):
        fetch(archive, output, patience=QUICK)
    partial = output.with_name("a.zip.partial")
    assert partial.stat().st_size == KEPT
    server.requests.clear()
    if change == "content":
        server.files["a.zip"], server.tag = CONTENT, '"2"'
    if change == "address":
        server.files["b/a.zip"] = CONTENT
        archive = archive_at(f"{server.url}/b/a.zip")
    if change == "too long":
        partial.write_bytes(CONTENT * 2)
        server.faults = [416]
    if change == "another total":
        server.total = len(CONTENT) + 1
    fetch(archive, output, patience=QUICK)
    assert output.read_bytes() == CONTENT
    if change == "none":
        assert server.requests == [("a.zip", f"bytes={KEPT}-")]
    if change == "address":
        assert server.requests == [("b/a.zip", None)]
    assert leftovers(output) == set()


@pytest.mark.parametrize("content", ["null", "{", "\udcff"])
def test_a_record_that_is_none_does_not_matter(server, archive, output, content):
    fetch(archive, output, patience=QUICK)
    output.with_name("a.zip.json").write_text(content, errors="surrogateescape")
    assert fetch(archive, output, patience=QUICK)["url"] == "put there by hand"
    output.unlink()
    output.with_name("a.zip.partial").write_bytes(CONTENT[:9])
    output.with_name("a.zip.partial.json").write_text(content, errors="surrogateescape")
    fetch(archive, output, patience=QUICK)
    assert output.read_bytes() == CONTENT


# --- hosts that do not --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (404, "answered 404"),
        (503, "answered 503"),
        ("stall", "no answer in time"),
        ("drip", "too slow"),
        ("Content-Length: abc", "Content-Length|as the size"),
        ("Content-Length: -5", "Content-Length|as the size"),
    ],
)
def test_a_host_that_does_not_recover_is_given_up(server, archive, output, fault, words):
    server.faults, server.ranges = [fault] * 50, False  # so that no attempt gets further
    server.reason = "\x1b[31mgone\x07" if fault == 404 else None
    with pytest.raises(UserError, match=words) as failure:
        fetch(archive, output, patience=QUICK)
    for part in (archive.urls[0], "mirror", str(output)):
        assert part in str(failure.value)
    assert "\x1b" not in str(failure.value)  # no codes for the terminal
    assert not output.exists()


def test_no_connection_and_then_the_next_host(server, archive, output):
    nowhere = "http://127.0.0.1:9/a.zip"  # the discard port: nobody listens
    with pytest.raises(UserError, match="no connection"):
        fetch(archive_at(nowhere), output, patience=QUICK)
    archive = archive_at(nowhere, f"{server.url}/gone.zip", *archive.urls)
    assert fetch(archive, output, patience=QUICK)["url"] == archive.urls[2]


def test_a_wrong_checksum_is_refused_and_the_file_put_aside(server, archive, output):
    with pytest.raises(UserError, match=r"wrong checksum.*belongs below `checksums`") as failure:
        fetch(archive_at(*archive.urls, sha256=HEX), output, patience=QUICK)
    refused = output.with_name("a.zip.refused")
    assert refused.read_bytes() == CONTENT
    assert str(refused) in str(failure.value)
    assert not output.exists()


def test_a_file_already_there_is_verified_and_fetched_again(server, archive, output):
    output.parent.mkdir()
    output.write_bytes(CONTENT[:1000])  # truncated
    fetch(archive, output, patience=QUICK)
    assert output.read_bytes() == CONTENT
    assert output.with_name("a.zip.refused").read_bytes() == CONTENT[:1000]


def test_an_answer_that_is_too_large_is_refused(server, archive, output):
    server.files["a.zip"] = bytes(2_000_001)
    with pytest.raises(UserError, match="another file"):
        fetch(archive, output, patience=QUICK)
    assert not output.exists()


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl makes the certificates")
@pytest.mark.parametrize(
    ("name", "known", "words"),
    [
        ("IP:127.0.0.1", True, None),
        ("IP:127.0.0.1", False, "certificate is not trusted.*REQUESTS_CA_BUNDLE"),
        ("DNS:elsewhere.example", True, "certificate is not trusted"),
    ],
)
def test_only_a_host_with_the_right_certificate_is_believed(
    output, tmp_path, monkeypatch, name, known, words
):
    file, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"]
    command += ["-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", "/CN=test"]
    command += ["-addext", f"subjectAltName={name}", "-out", str(file), "-keyout", str(key)]
    subprocess.run(command, check=True, capture_output=True)
    file.write_text(file.read_text() + key.read_text())
    if known:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(file))
    with ArchiveServer(file) as server:
        server.files["a.zip"] = CONTENT
        archive = archive_at(f"{server.url}/a.zip")
        if words is None:
            fetch(archive, output, patience=QUICK)
            assert output.read_bytes() == CONTENT
            return
        with pytest.raises(UserError, match=words):
            fetch(archive, output, patience=QUICK)
        assert server.requests == []


# --- mirrors ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["folder", "address"])
def test_a_mirror_is_the_only_source_and_speaks_for_itself(server, output, tmp_path, kind):
    official = archive_at(f"{server.url}/official/a.zip", sha256=None)
    server.files["official/a.zip"] = CONTENT
    folder = tmp_path / "mirror"
    mirror = server.url + "/" if kind == "address" else str(folder)
    folder.mkdir()

    def serve(name: str, content: bytes) -> None:
        server.files[name] = content
        (folder / name).write_bytes(content)

    with pytest.raises(UserError, match="could not be fetched"):
        fetch(official, output, mirror, patience=QUICK)
    assert all(name != "official/a.zip" for name, _ in server.requests)
    serve("a.zip", CONTENT)
    assert fetch(official, output, mirror, patience=QUICK)["verified"] is None
    assert fetch(archive_at(*official.urls), output, mirror, patience=QUICK)["official"]
    output.unlink()
    serve("SHA256SUMS", f"{HEX}  b.zip\n{SHA256} *a.zip\n".encode())
    record = fetch(official, output, mirror, patience=QUICK)
    assert record["verified"] == "sha256 of the mirror's SHA256SUMS"
    output.unlink()
    serve("SHA256SUMS", f"{HEX}  a.zip\n".encode())
    with pytest.raises(UserError, match=f"expected {HEX}"):
        fetch(official, output, mirror, patience=QUICK)
    assert fetch(official, output, mirror, SHA256.upper(), QUICK)["verified"].endswith("config")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (f"{SHA256} *a.zip\r".encode(), None),
        (f"# made today\n\n{HEX}  b c.zip\n{SHA256.upper()}  ./a.zip".encode(), None),
        (f"SHA256 (./a.zip)={SHA256}".encode(), None),
        (f"\ufeff\\{HEX}  b\\nb.zip\n{SHA256}  a.zip".encode(), None),
        (b"<html>\n", "line 1 is '<html>'"),
        (f"{HEX}  b.zip\n{SHA256[:-1]}  a.zip\n".encode(), "line 2 is"),
        (f"{SHA256}  a.zip".encode("utf-16"), "line 1 is"),
        (f"{SHA256}  a.zip\n{HEX}  ./a.zip\n".encode(), "two checksums of a.zip"),
        (b"#" * (2**20 + 1), "more than 1048576 bytes"),
    ],
)
def test_every_usual_list_of_checksums_is_read_and_garbage_is_refused(tmp_path, content, words):
    (tmp_path / "SHA256SUMS").write_bytes(content)
    with open_session(QUICK) as session:
        if words is None:
            checksum = mirrors_checksum(session, QUICK, str(tmp_path), "a.zip")
            assert checksum is not None and checksum.digest == SHA256
            return
        with pytest.raises(SourceError, match=words):
            mirrors_checksum(session, QUICK, str(tmp_path), "a.zip")


@pytest.mark.parametrize("name", ["SHA256SUMS", "a.zip"])
def test_what_is_no_file_in_a_mirror_is_named(archive, output, tmp_path, name):
    for number, make in enumerate((Path.mkdir, lambda path: path.symlink_to(path))):
        folder = tmp_path / str(number)
        folder.mkdir()
        make(folder / name)
        with pytest.raises(UserError, match=f"{name}: "):
            fetch(archive, output, str(folder), patience=QUICK)


def test_a_password_is_refused_and_never_shown(server, archive, output, tmp_path, monkeypatch):
    for address in (
        server.url.replace("//", "//me:secret@"),
        "HTTP://me:secret@host/x",
        " http://me:secret@host/x",
        "http://me:se cret@host/x",
        "ftp://me:secret@host/x",
        "http:/me:secret@host/x",
        "https://host/x?token=secret",
        "https://host/x#secret",
        "http://me:secret@[::/x",
    ):
        with pytest.raises(UserError, match=r"\.netrc") as failure:
            fetch(archive, output, address, patience=QUICK)
        shown = (
            f"{failure.value} {UserError(address)} {UserError(f'mirror: {address!r} was given')}"
        )
        assert not re.search("se ?cret", shown)
    for address in ("http://[::/x", "ftp://host/x", "http://", "https://h o/x"):
        with pytest.raises(UserError, match="an address is http://HOST"):
            fetch(archive, output, address, patience=QUICK)
    assert not output.parent.exists()
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    record = fetch(archive, output, server.url, patience=QUICK)
    assert server.logins == ["Basic " + base64.b64encode(b"me:secret").decode()]
    assert "secret" not in str(record)


# --- jobs ---------------------------------------------------------------------------------------


def start_fetch(mirror: str, output: Path, **more: object) -> subprocess.Popen[str]:
    results, name = output.parents[2], output.name
    command = job_command(results, "fetch", name, mirror=mirror)
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, **more)


def test_two_jobs_fetch_once(server, tmp_path):
    server.files["AtrialFibrillation.zip"] = CONTENT
    server.faults = ["stall"]  # the first holds the lock until its read times out, or it is woken
    output = tmp_path / "data" / "archives" / "AtrialFibrillation.zip"
    jobs = [start_fetch(server.url, output) for _ in range(2)]
    while not server.requests:
        time.sleep(0.01)
    time.sleep(1)  # the second job is waiting by now
    assert len(server.requests) == 1
    server._wake.set()
    assert [job.wait(HANGS) for job in jobs] == [0, 0]
    assert output.read_bytes() == CONTENT
    texts = [job.communicate()[1] for job in jobs]
    assert sum("already there" in text for text in texts) == 1
    # The stalled answer was cut when woken: one request and its continuation, by one job.
    assert [wanted for _, wanted in server.requests] == [None, f"bytes={KEPT}-"]


def test_a_disk_that_fills_is_said_and_keeps_what_came(server, tmp_path):
    """The limit on the size of a file stands for the disk: the kernel refuses to write more."""
    server.files["AtrialFibrillation.zip"] = CONTENT

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

    output = tmp_path / "data" / "archives" / "AtrialFibrillation.zip"
    job = start_fetch(server.url, output, preexec_fn=limit)
    text = job.communicate(timeout=HANGS)[1]
    assert job.returncode == 1
    assert "the disk is full" in text and "results_dir" in text and "Traceback" not in text
    partial = output.with_name(output.name + ".partial")
    assert partial.read_bytes() == CONTENT[: partial.stat().st_size]
    assert partial.stat().st_size > 0
    assert start_fetch(server.url, output).wait(HANGS) == 0
    assert output.read_bytes() == CONTENT
    assert server.requests[-1][1] is not None  # it went on


# --- archives put there by hand -----------------------------------------------------------------


def put(output: Path, content: bytes = CONTENT) -> Path:
    output.parent.mkdir(exist_ok=True)
    output.write_bytes(content)
    return output


def test_an_archive_put_by_hand_is_verified_before_it_is_used(output):
    known, unknown = archive_at("https://x"), archive_at("https://x", sha256=None)
    output.parent.mkdir()
    with pytest.raises(UserError, match="start again"), verified(known, output):
        pytest.fail("it was used")
    with verified(known, put(output)):
        record = read_json(output.with_name("a.zip.json"))
    assert record["verified"] == "sha256 of the official archive"
    assert record["url"] == "put there by hand"
    for archive, sha256 in ((known, HEX), (unknown, HEX)):  # also one that was verified before
        with pytest.raises(UserError, match=f"expected {HEX}"), verified(archive, output, sha256):
            pytest.fail("it was used")
        assert not output.exists()
        put(output)
    put(output, CONTENT[:-1])  # changed after it was verified
    with pytest.raises(UserError, match="Start the workflow again"), verified(known, output):
        pytest.fail("it was used")
    with verified(unknown, put(output)):
        assert read_json(output.with_name("a.zip.json"))["verified"] is None
    put(output, bytes(2_000_001))
    with pytest.raises(UserError, match="2000001 bytes"), verified(unknown, output):
        pytest.fail("it was used")


def test_a_truncated_archive_is_put_aside_and_fetched_again(server, archive, output):
    unknown = archive_at(*archive.urls, sha256=None)
    put(output, CONTENT[:99])
    words = r"put aside as .*refused\. Start the workflow again"
    with pytest.raises(UserError, match=words), verified(unknown, output):
        read_members(output, ["x"])
    fetch(unknown, output, patience=QUICK)
    assert output.read_bytes() == CONTENT


def test_official_checksums_are_well_formed():
    for archive in ARCHIVES.values():
        assert archive.urls
        assert all(url.startswith("https://") for url in archive.urls)
        assert archive.sha256 is None or len(bytes.fromhex(archive.sha256)) == 32
