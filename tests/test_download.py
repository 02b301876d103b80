"""Downloads, against a real HTTP server on loopback with the faults that hosts have shown."""

from __future__ import annotations

import base64
import hashlib
import random
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
from eosflow.datasets.download import fetch, verified
from eosflow.datasets.mirror import listed_sha256, refusal
from eosflow.datasets.transfer import Patience
from eosflow.storage.errors import UserError
from eosflow.storage.files import read_json

CONTENT = random.Random(0).randbytes(1_000_000)
KEPT = len(CONTENT) // 2  # of an answer cut at half
SHA256 = hashlib.sha256(CONTENT).hexdigest()
HEX = "0123456789abcdef" * 4
QUICK = Patience(timeout=(2, 1), attempts=3, backoff=0.01, window=0.3)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "data" / "archives" / "AtrialFibrillation.zip"


def archive_at(url: str, sha256: str | None = SHA256) -> Archive:
    return Archive("AtrialFibrillation.zip", url, sha256)


@pytest.fixture
def archive(server: ArchiveServer) -> Archive:
    server.files["AtrialFibrillation.zip"] = CONTENT
    return archive_at(f"{server.url}/AtrialFibrillation.zip")


def beside(output: Path, end: str) -> Path:
    return output.with_name(output.name + end)


# --- official hosts -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("faults", "ranges", "wanted"),
    [
        ([], True, [None]),
        ([503, 503], True, [None] * 3),
        (["cut"], True, [None, KEPT]),
        (["stall"], True, [None, KEPT]),
        (["cut", "part", "part"], True, [None, KEPT, 750_000, 875_000]),
        (["cut"], False, [None, KEPT]),
    ],
    ids=["good", "busy", "cut", "stalled", "in parts", "without ranges"],
)
def test_what_a_host_breaks_off_is_resumed(server, archive, output, faults, ranges, wanted):
    server.faults, server.ranges = list(faults), ranges
    record = fetch(archive, output, patience=QUICK)
    assert output.read_bytes() == CONTENT
    assert record == read_json(beside(output, ".json"))
    assert (record["url"], record["official"]) == (archive.url, True)
    assert len(list(output.parent.iterdir())) == 3  # with its record and its lock
    assert [first for _, first in server.requests] == wanted
    assert fetch(archive, output, patience=QUICK) == record  # there already: not asked for again
    assert len(server.requests) == len(wanted)


@pytest.mark.parametrize("change", ["none", "content", "address", "too long", "damaged record"])
def test_a_later_call_goes_on_from_the_partial_file_of_the_same_archive(
    server, archive, output, change
):
    server.faults = ["cut", 404]
    if change == "content":
        server.files[archive.name] = bytes(len(CONTENT))
    with pytest.raises(UserError, match="404"):
        fetch(archive, output, patience=QUICK)
    assert beside(output, ".partial").stat().st_size == KEPT
    server.requests.clear()
    if change == "content":
        server.files[archive.name], server.tag = CONTENT, '"2"'
    if change == "address":
        server.files["b/a.zip"] = CONTENT
        archive = archive_at(f"{server.url}/b/a.zip")
    if change == "too long":
        beside(output, ".partial").write_bytes(CONTENT * 2)
        server.faults = [416]
    if change == "damaged record":
        beside(output, ".partial.json").write_text("null")
    fetch(archive, output, patience=QUICK)
    assert output.read_bytes() == CONTENT
    first = {"none": KEPT, "content": KEPT, "too long": 2 * len(CONTENT)}.get(change)
    assert server.requests[0][1] == first
    assert len(list(output.parent.iterdir())) == 3


@pytest.mark.parametrize(
    ("fault", "words"),
    [(404, "answered 404"), (503, "answered 503"), ("stall", "timed out"), ("drip", "too slow")],
)
def test_a_host_that_does_not_recover_is_given_up(server, archive, output, fault, words):
    server.faults, server.ranges = [fault] * 50, False  # so that no attempt gets further
    with pytest.raises(UserError, match=words) as failure:
        fetch(archive, output, patience=QUICK)
    for part in (archive.url, "mirror", str(output)):
        assert part in str(failure.value)
    assert not output.exists()


def test_without_a_connection_the_remedies_work(archive, output, tmp_path):
    nowhere = archive_at("http://127.0.0.1:9/a.zip")  # the discard port: nobody listens
    with pytest.raises(UserError, match=r"Connection refused.*\n.*set `mirror`.*or put it at"):
        fetch(nowhere, output, patience=QUICK)
    (tmp_path / nowhere.name).write_bytes(CONTENT)
    assert fetch(nowhere, output, str(tmp_path), patience=QUICK)["official"]
    with verified(nowhere, put(output)):
        assert output.read_bytes() == CONTENT


def test_a_wrong_checksum_is_refused_and_the_remedy_works(server, archive, output):
    other = archive_at(archive.url, sha256=HEX)
    with pytest.raises(UserError, match=rf"{SHA256}, expected {HEX}.*`checksums`") as failure:
        fetch(other, output, patience=QUICK)
    assert not output.exists()
    (aside,) = output.parent.glob("*damaged*")
    assert aside.read_bytes() == CONTENT and str(aside) in str(failure.value)
    record = fetch(other, output, sha256=SHA256.upper(), patience=QUICK)
    assert "config" in record["verified"] and not record["official"]
    with verified(other, output, SHA256):
        assert output.read_bytes() == CONTENT


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

    def fetched(sha256: str | None = None) -> str | None:
        output.unlink(missing_ok=True)
        return fetch(official, output, mirror, sha256, QUICK)["verified"]

    with pytest.raises(UserError, match="could not be fetched"):
        fetched()
    assert all(name != "official/a.zip" for name, _ in server.requests)
    serve(official.name, CONTENT)
    assert fetched() is None
    with pytest.raises(UserError, match=rf"expected {HEX}.*official"):  # which is not listed
        fetch(archive_at(official.url, HEX), output, mirror, patience=QUICK)
    serve("SHA256SUMS", f"{HEX}  b.zip\n{SHA256} *{official.name}\n".encode())
    assert fetched() == "sha256 of the mirror's SHA256SUMS"
    for content, words in ((f"{HEX}  {official.name}\n", f"expected {HEX}"), ("x", "line 1")):
        serve("SHA256SUMS", content.encode())
        with pytest.raises(UserError, match=words):
            fetched()
    assert fetched(SHA256) == "sha256 of the config"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (f"{SHA256} *a.zip\r".encode(), None),
        (f"# made today\n\n{HEX}  b c.zip\n{SHA256.upper()}  ./a.zip".encode(), None),
        (f"\ufeff\\{HEX}  b\\nb.zip\n{SHA256}  a.zip".encode(), None),
        (b"<html>\n", "line 1 is '<html>'"),
        (f"{HEX}  b.zip\n{SHA256[:-1]}  a.zip\n".encode(), "line 2 is"),
        (f"{SHA256}  a.zip".encode("utf-16"), "line 1 is"),
        (f"{SHA256}  a.zip\n{HEX}  ./a.zip\n".encode(), "two checksums of a.zip"),
    ],
)
def test_every_usual_list_of_checksums_is_read_and_garbage_is_refused(content, words):
    if words is None:
        assert listed_sha256(content, "a.zip") == SHA256
        assert listed_sha256(content, "c.zip") is None
        return
    with pytest.raises(ValueError, match=words):
        listed_sha256(content, "a.zip")


@pytest.mark.parametrize("name", ["SHA256SUMS", "AtrialFibrillation.zip"])
def test_what_is_no_file_in_a_mirror_is_named(archive, output, tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(UserError, match=f"{name}: .*Is a directory"):
        fetch(archive, output, str(tmp_path), patience=QUICK)


SECRET = ("HTTP://me:secret@host/x", " http://me:secret@host/x", "http://me:se cret@host/x",
          "ftp://me:secret@host/x", "http:/me:secret@host/x", "https://host/x?token=secret",
          "https://host/x#secret", "http://me:secret@[::/x")  # fmt: skip
WRONG = ("http://[::/x", "ftp://host/x", "http://", "https://h o/x", "http://host:x/y")
RIGHT = ("http://host", "HTTPS://a.b-c:80/x/y", "http://[::1]:80/", "/x/y", "c:x", "a@b")


def test_an_address_that_cannot_be_used_is_refused_without_its_password():
    for address in SECRET:
        why = str(refusal(address))
        assert ".netrc" in why and "secret" not in why and "se cret" not in why
    for address in WRONG:
        assert f"'{address}' was given; an address is http://HOST" in str(refusal(address))
    assert not any(map(refusal, RIGHT))


def test_the_login_of_netrc_is_sent_and_not_recorded(server, output, tmp_path, monkeypatch):
    server.files[output.name] = CONTENT
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    record = fetch(archive_at("unused"), output, server.url, patience=QUICK)
    assert set(server.logins) == {"Basic " + base64.b64encode(b"me:secret").decode()}
    assert "secret" not in str(record)


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl makes the certificates")
@pytest.mark.parametrize(
    ("name", "known", "believed"),
    [("IP:127.0.0.1", True, True), ("IP:127.0.0.1", False, False), ("DNS:else.org", True, False)],
)
def test_only_a_host_with_the_right_certificate_is_believed(
    output, tmp_path, monkeypatch, name, known, believed
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
        if believed:
            fetch(archive, output, patience=QUICK)
            assert output.read_bytes() == CONTENT
            return
        with pytest.raises(UserError, match=r"certificate is not trusted.*REQUESTS_CA_BUNDLE"):
            fetch(archive, output, patience=QUICK)
        assert server.requests == []


# --- jobs ---------------------------------------------------------------------------------------


def start_fetch(mirror: str, output: Path, **more: object) -> subprocess.Popen[str]:
    command = job_command(output.parents[2], "fetch", output.name, mirror=mirror)
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, **more)


@pytest.mark.usefixtures("archive")
def test_two_jobs_fetch_once_and_a_killed_one_is_continued(server, output):
    server.faults = ["stall"]  # the first holds the lock until its read times out
    first = start_fetch(server.url, output)
    while not server.requests:
        time.sleep(0.01)
    second = start_fetch(server.url, output)
    time.sleep(1)  # it is waiting by now
    assert len(server.requests) == 1
    while beside(output, ".partial").stat().st_size < KEPT:
        time.sleep(0.01)
    first.kill()
    assert second.wait(HANGS) == 0
    assert output.read_bytes() == CONTENT
    assert [start for _, start in server.requests] == [None, KEPT]
    third = start_fetch(server.url, output)
    assert "already there" in third.communicate(timeout=HANGS)[1]


@pytest.mark.usefixtures("archive")
def test_a_disk_that_fills_is_said_and_keeps_what_came(server, output):
    """The limit on the size of a file stands for the disk: the kernel refuses to write more."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

    job = start_fetch(server.url, output, preexec_fn=limit)
    text = job.communicate(timeout=HANGS)[1]
    assert job.returncode == 1
    assert "the disk is full" in text and "results_dir" in text and "Traceback" not in text
    kept = beside(output, ".partial").read_bytes()
    assert kept and CONTENT.startswith(kept)
    assert start_fetch(server.url, output).wait(HANGS) == 0
    assert output.read_bytes() == CONTENT
    assert server.requests[-1][1] is not None  # it went on


# --- archives put there by hand -----------------------------------------------------------------


def put(output: Path, content: bytes = CONTENT) -> Path:
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_bytes(content)
    return output


def assert_refused(archive: Archive, path: Path, words: str, sha256: str | None = None) -> None:
    with pytest.raises(UserError, match=words) as failure, verified(archive, path, sha256):
        pytest.fail("it was used")
    assert "Start the workflow again" in str(failure.value)
    assert not path.is_file()


def test_an_archive_put_by_hand_is_verified_before_it_is_used(output):
    known, unknown = archive_at("https://x"), archive_at("https://x", sha256=None)
    output.parent.mkdir(parents=True)
    assert_refused(known, output, "No such file")
    with verified(known, put(output)):
        record = read_json(beside(output, ".json"))
    assert (record["url"], record["official"]) == ("put there by hand", True)
    assert_refused(known, output, f"expected {HEX}", HEX)  # though it was verified before
    assert_refused(unknown, put(output), f"expected {HEX}", HEX)
    with verified(unknown, put(output)):
        assert read_json(beside(output, ".json"))["verified"] is None
    for archive in (known, unknown):
        with verified(archive, put(output)):
            pass
        assert_refused(archive, put(output, CONTENT[:-1]), "its record")  # it changed since
    output.mkdir()
    assert_refused(known, output, "directory.*Move away")


def test_what_is_damaged_is_moved_aside_and_fetched_again(archive, output):
    """One of unknown checksum when it is read, and one that is there already when it is fetched."""
    unknown = archive_at(archive.url, sha256=None)
    put(output, CONTENT[:99])
    words = r"damaged.*moved aside\. Start the workflow again"
    with pytest.raises(UserError, match=words), verified(unknown, output):
        read_members(output, ["x"])
    fetch(unknown, output, patience=QUICK)
    assert output.read_bytes() == CONTENT
    fetch(archive, put(output, CONTENT[:99]), patience=QUICK)
    assert output.read_bytes() == CONTENT


def test_official_checksums_are_well_formed():
    for archive in ARCHIVES.values():
        assert archive.url.startswith("https://")
        assert archive.sha256 is None or len(bytes.fromhex(archive.sha256)) == 32
