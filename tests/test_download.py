"""Downloads, against a real HTTP server on loopback and every fault a host has shown."""

from __future__ import annotations

import base64
import hashlib
import logging
import random
import re
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import ROOT
from project import job_command
from servers import ArchiveServer

from eosflow.datasets import ARCHIVES, Archive
from eosflow.datasets.archives import read_members
from eosflow.datasets.download import fetch, verified
from eosflow.datasets.transfer import CHUNK, Patience
from eosflow.storage.errors import UserError
from eosflow.storage.files import read_json

CONTENT = random.Random(0).randbytes(1_000_000)
KEPT = len(CONTENT) // 2 // CHUNK * CHUNK  # of an answer cut at half: its whole chunks
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MD5 = hashlib.md5(CONTENT).hexdigest()
QUICK = Patience(connect=2, read=0.5, attempts=3, backoff=0.01)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "archives" / "a.zip"


def archive_at(*urls: str, sha256: str | None = SHA256, md5: str | None = None) -> Archive:
    return Archive(name="a.zip", urls=urls, sha256=sha256, md5=md5, size_limit=2_000_000)


@pytest.fixture
def archive(server: ArchiveServer) -> Archive:
    server.files["a.zip"] = CONTENT
    return archive_at(f"{server.url}/a.zip")


def leftovers(output: Path) -> set[str]:
    return {path.name for path in output.parent.iterdir()} - {"a.zip", "a.zip.json", "a.zip.lock"}


def test_a_good_host(server, archive, output):
    record = fetch(archive, output, patience=QUICK)
    assert output.read_bytes() == CONTENT
    assert record == read_json(output.with_name("a.zip.json"))
    assert record["sha256"] == SHA256
    assert record["verified"] == "sha256 of the official archive"
    assert leftovers(output) == set()
    fetch(archive, output, patience=QUICK)  # there already: not asked for again
    assert len(server.requests) == 1


def test_404_names_the_address_and_the_remedy(server, output):
    archive = archive_at(f"{server.url}/a.zip")
    with pytest.raises(UserError) as failure:
        fetch(archive, output, patience=QUICK)
    for part in (f"{server.url}/a.zip", "404", "mirror", str(output)):
        assert part in str(failure.value)
    assert not output.exists()


def test_the_next_official_host_is_tried(server, archive, output):
    archive = archive_at(f"{server.url}/gone.zip", *archive.urls)
    assert fetch(archive, output, patience=QUICK)["url"] == archive.urls[1]


def test_503_twice_then_success(server, archive, output):
    server.faults = [503, 503]
    fetch(archive, output, patience=QUICK)
    assert output.read_bytes() == CONTENT
    assert len(server.requests) == 3


def test_503_for_ever(server, archive, output):
    server.faults = [503] * 50
    with pytest.raises(UserError, match="answered 503"):
        fetch(archive, output, patience=QUICK)


def test_a_cut_connection_is_resumed_where_it_broke(server, archive, output):
    server.faults = ["cut"]
    fetch(archive, output, patience=QUICK)
    assert output.read_bytes() == CONTENT
    assert server.requests == [("a.zip", None), ("a.zip", f"bytes={KEPT}-")]


def test_a_later_call_goes_on_from_the_partial_file(server, archive, output):
    server.faults = ["cut", 404]
    with pytest.raises(UserError):
        fetch(archive, output, patience=QUICK)
    partial = output.with_name("a.zip.partial")
    assert partial.read_bytes() == CONTENT[:KEPT]
    server.requests.clear()
    fetch(archive, output, patience=QUICK)
    assert output.read_bytes() == CONTENT
    assert server.requests == [("a.zip", f"bytes={KEPT}-")]
    assert leftovers(output) == set()


def test_an_archive_that_changed_meanwhile_starts_anew(server, archive, output):
    server.faults = ["cut", 404]
    server.files["a.zip"] = bytes(len(CONTENT))
    with pytest.raises(UserError):
        fetch(archive, output, patience=QUICK)
    server.files["a.zip"], server.tag = CONTENT, '"2"'
    fetch(archive, output, patience=QUICK)
    assert output.read_bytes() == CONTENT


def test_a_partial_file_of_another_address_is_not_continued(server, archive, output):
    server.faults = ["cut", 404]
    with pytest.raises(UserError):
        fetch(archive, output, patience=QUICK)
    server.files["b/a.zip"] = CONTENT
    server.requests.clear()
    fetch(archive_at(f"{server.url}/b/a.zip"), output, patience=QUICK)
    assert server.requests == [("b/a.zip", None)]


@pytest.mark.parametrize("tag", ['"1"', None])
def test_a_server_without_ranges(server, archive, output, tag):
    server.ranges, server.tag, server.faults = False, tag, ["cut"]
    fetch(archive, output, patience=QUICK)
    assert output.read_bytes() == CONTENT
    assert len(server.requests) == 2


def test_a_partial_file_longer_than_the_archive_starts_anew(server, archive, output):
    server.faults = ["cut", 404]
    with pytest.raises(UserError):
        fetch(archive, output, patience=QUICK)
    with output.with_name("a.zip.partial").open("ab") as file:
        file.write(CONTENT)
    server.faults = [416]
    fetch(archive, output, patience=QUICK)
    assert output.read_bytes() == CONTENT


def test_a_stalled_server_is_given_up_in_time(server, archive, output):
    server.faults = ["stall"] * 30
    patience = Patience(connect=1, read=0.1, attempts=2, backoff=0.01)
    start = time.monotonic()
    server.ranges = False  # so that no attempt gets further than the one before
    with pytest.raises(UserError, match="no answer in time"):
        fetch(archive, output, patience=patience)
    assert time.monotonic() - start < 10
    assert output.with_name("a.zip.partial").exists()
    assert not output.exists()


def test_a_stall_that_passes_is_resumed(server, archive, output):
    server.faults = ["stall"]
    fetch(archive, output, patience=QUICK)
    assert output.read_bytes() == CONTENT
    assert server.requests[1][1] is not None


def test_no_connection(output):
    archive = archive_at("http://127.0.0.1:9/a.zip")  # the discard port: nobody listens
    with pytest.raises(UserError, match="no connection") as failure:
        fetch(archive, output, patience=QUICK)
    assert "mirror" in str(failure.value)


@pytest.mark.parametrize(
    "known", [{"sha256": "0" * 64}, {"sha256": None, "md5": "0" * 32}], ids=["sha256", "md5"]
)
def test_a_wrong_checksum_is_refused_and_the_file_put_aside(server, output, known):
    server.files["a.zip"] = CONTENT
    with pytest.raises(UserError, match="wrong checksum") as failure:
        fetch(archive_at(f"{server.url}/a.zip", **known), output, patience=QUICK)
    refused = output.with_name("a.zip.refused")
    assert refused.read_bytes() == CONTENT
    assert str(refused) in str(failure.value)
    assert not output.exists()


def test_a_file_already_there_is_verified_and_fetched_again(server, archive, output, caplog):
    output.parent.mkdir()
    output.write_bytes(CONTENT[:1000])  # truncated
    fetch(archive, output, patience=QUICK)
    assert output.read_bytes() == CONTENT
    assert output.with_name("a.zip.refused").read_bytes() == CONTENT[:1000]
    assert "wrong checksum" in caplog.text


def test_an_answer_that_is_too_large_is_refused(server, archive, output):
    server.files["a.zip"] = bytes(2_000_001)
    with pytest.raises(UserError, match="another file"):
        fetch(archive, output, patience=QUICK)
    assert not output.exists()


def sums(digest: str) -> bytes:
    return f"{'1' * 64}  other.zip\n{digest} *a.zip\n".encode()


@pytest.mark.parametrize("place", ["folder", "address"])
def test_a_mirror_is_the_only_source_and_speaks_for_itself(server, output, tmp_path, caplog, place):
    caplog.set_level(logging.INFO)
    official = archive_at(f"{server.url}/official/a.zip", sha256=None)
    server.files["official/a.zip"] = CONTENT
    mirror = server.url + "/" if place == "address" else str(tmp_path / "mirror")
    (tmp_path / "mirror").mkdir()

    def serve(name: str, content: bytes) -> None:
        server.files[name] = content
        (tmp_path / "mirror" / name).write_bytes(content)

    with pytest.raises(UserError) as failure:
        fetch(official, output, mirror, patience=QUICK)
    assert str(Path(mirror).name) in str(failure.value)
    assert all(name != "official/a.zip" for name, _ in server.requests)

    serve("a.zip", CONTENT)
    record = fetch(official, output, mirror, patience=QUICK)
    assert record["verified"] is None
    assert "no checksum is known" in caplog.text

    output.unlink()
    serve("SHA256SUMS", sums(SHA256))
    record = fetch(official, output, mirror, patience=QUICK)
    assert record["verified"] == "sha256 of the mirror's SHA256SUMS"
    assert "mirror's SHA256SUMS" in caplog.text

    output.unlink()
    serve("SHA256SUMS", sums("2" * 64))
    with pytest.raises(UserError, match="SHA256SUMS"):
        fetch(official, output, mirror, patience=QUICK)
    assert fetch(official, output, mirror, SHA256.upper(), QUICK)["verified"].endswith("config")


def test_a_mirror_with_the_official_bytes_is_recognised(archive, server, output):
    assert fetch(archive, output, server.url, patience=QUICK)["official"] is True


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
    assert [job.wait(60) for job in jobs] == [0, 0]
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
    text = job.communicate(timeout=60)[1]
    assert job.returncode == 1
    assert "the disk is full" in text
    assert "results_dir" in text
    assert "Traceback" not in text
    partial = output.with_name(output.name + ".partial")
    assert partial.read_bytes() == CONTENT[: partial.stat().st_size]
    assert partial.stat().st_size > 0
    assert start_fetch(server.url, output).wait(60) == 0
    assert output.read_bytes() == CONTENT
    assert server.requests[-1][1] is not None  # it went on


def test_the_script_ends_with_a_message_and_status_1(tmp_path):
    job = start_fetch(str(tmp_path), tmp_path / "data" / "archives" / "AtrialFibrillation.zip")
    text = job.communicate(timeout=60)[1]
    assert job.returncode == 1
    assert "error: AtrialFibrillation.zip could not be fetched" in text
    assert "Traceback" not in text


def test_official_checksums_are_well_formed():
    for archive in ARCHIVES.values():
        assert archive.urls
        assert all(url.startswith("https://") for url in archive.urls)
        assert archive.sha256 is None or len(bytes.fromhex(archive.sha256)) == 32
        assert archive.md5 is None or len(bytes.fromhex(archive.md5)) == 16


HEX = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    "line",
    [
        f"{SHA256}  a.zip",
        f"{SHA256} *a.zip\r",
        f"{SHA256.upper()}  ./a.zip",
        f"# made today\n\n{HEX}  b c.zip\n{SHA256}  a.zip",
        f"SHA256 (a.zip) = {SHA256}",
        f"SHA256 (./a.zip)={SHA256}",
        f"\ufeff{SHA256}  a.zip",
        f"\\{HEX}  b\\nb.zip\n{SHA256}  a.zip",
    ],
)
def test_every_usual_list_of_checksums_is_read(server, archive, output, line):
    server.files["SHA256SUMS"] = line.encode()
    record = fetch(archive, output, server.url, patience=QUICK)
    assert record["verified"] == "sha256 of the mirror's SHA256SUMS"
    server.files["SHA256SUMS"] = line.replace(SHA256, HEX).replace(SHA256.upper(), HEX).encode()
    output.unlink()
    with pytest.raises(UserError, match=f"expected {HEX}"):
        fetch(archive, output, server.url, patience=QUICK)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<html>\n", "line 1 is '<html>'"),
        (f"{HEX}  b.zip\n{SHA256[:-1]}  a.zip\n".encode(), "line 2 is"),
        (f"MD5 (a.zip) = {SHA256[:32]}".encode(), "line 1 is"),
        (f"{SHA256}  a.zip".encode("utf-16"), "line 1 is"),
        (f"{SHA256}  a.zip\n{HEX}  ./a.zip\n".encode(), "two checksums of a.zip"),
        (b"#" * (2**20 + 1), "more than 1048576 bytes"),
    ],
)
@pytest.mark.parametrize("place", ["folder", "address"])
def test_garbage_for_a_list_of_checksums_is_refused(
    server, archive, output, tmp_path, place, content, words
):
    server.files["SHA256SUMS"] = content
    (tmp_path / "SHA256SUMS").write_bytes(content)
    (tmp_path / "a.zip").write_bytes(CONTENT)
    mirror = server.url if place == "address" else str(tmp_path)
    with pytest.raises(UserError) as failure:
        fetch(archive, output, mirror, patience=QUICK)
    assert words in str(failure.value)
    assert not output.exists()


@pytest.mark.parametrize("what", ["folder", "loop"])
def test_what_is_no_file_in_a_mirror_is_named(archive, output, tmp_path, what):
    for name in ("SHA256SUMS", "a.zip"):
        place = tmp_path / what / name
        place.parent.mkdir(exist_ok=True)
        place.mkdir() if what == "folder" else place.symlink_to(place)
        with pytest.raises(UserError, match=f"{name}: "):
            fetch(archive, output, str(tmp_path / what), patience=QUICK)
        place.rmdir() if what == "folder" else place.unlink()


@pytest.mark.parametrize("known", [{"sha256": SHA256}, {"sha256": None, "md5": MD5}])
def test_a_mirror_without_checksums_must_have_the_official_bytes(server, output, known):
    server.files["a.zip"] = CONTENT
    record = fetch(archive_at("https://x/a.zip", **known), output, server.url, patience=QUICK)
    assert record["verified"].endswith("of the official archive")
    output.unlink()
    server.files["a.zip"] = CONTENT[:-1]
    with pytest.raises(UserError, match="belongs below `checksums`"):
        fetch(archive_at("https://x/a.zip", **known), output, server.url, patience=QUICK)


def test_a_host_that_drips_is_given_up_in_time(server, archive, output):
    server.faults = ["drip"] * 30
    patience = Patience(connect=1, read=1, attempts=2, backoff=0.01, window=0.3)
    start = time.monotonic()
    with pytest.raises(UserError, match="too slow, less than 4096 bytes a second"):
        fetch(archive, output, patience=patience)
    assert time.monotonic() - start < 10
    server.faults = []
    fetch(archive, output, patience=patience)
    assert output.read_bytes() == CONTENT


@pytest.mark.parametrize("length", ["abc", "-5", "1, 2"])
def test_a_size_that_is_none_is_said(server, archive, output, length):
    server.faults = [f"Content-Length: {length}"] * 9
    with pytest.raises(UserError, match=r"Content-Length|as the size, which is none"):
        fetch(archive, output, patience=QUICK)


def test_a_password_is_refused_and_never_shown(server, archive, output, tmp_path, monkeypatch):
    mirror = server.url.replace("//", "//me:secret@")
    with pytest.raises(UserError, match=r"\.netrc") as failure:
        fetch(archive, output, mirror, patience=QUICK)
    assert "secret" not in str(failure.value)
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    record = fetch(archive, output, server.url, patience=QUICK)
    assert server.logins == ["Basic " + base64.b64encode(b"me:secret").decode()]
    assert "secret" not in str(record)


@pytest.mark.parametrize(
    "address",
    [
        "HTTP://me:secret@host/x",
        " http://me:secret@host/x",
        "http://me:se cret@host/x",
        "ftp://me:secret@host/x",
        "http:/me:secret@host/x",
        "https://host/x?token=secret",
        "https://host/x#secret",
        "http://me:secret@[::/x",
    ],
)
def test_no_spelling_of_a_secret_is_shown(archive, output, caplog, capfd, address):
    with pytest.raises(UserError, match=r"\.netrc") as failure:
        fetch(archive, output, address, patience=QUICK)
    with pytest.raises(UserError, match="was given"):
        raise UserError(f"mirror: '{address}' was given")
    shown = f"{failure.value} {caplog.text} {capfd.readouterr()} {UserError(address)}"
    assert not re.search("se ?cret", shown)
    assert not output.parent.exists()


@pytest.mark.parametrize("address", ["http://[::/x", "ftp://host/x", "http://", "https://h o/x"])
def test_what_is_no_address_is_refused(archive, output, address):
    with pytest.raises(UserError, match="an address is http://HOST"):
        fetch(archive, output, address, patience=QUICK)


def test_what_a_server_says_has_no_codes_for_the_terminal(server, archive, output):
    server.faults, server.reason = [404], "\x1b[31mgone\x07"
    with pytest.raises(UserError, match=r"answered 404 \\x1b\[31mgone\\x07"):
        fetch(archive, output, patience=QUICK)


def test_a_part_of_the_rest_is_not_taken_for_the_whole(server, archive, output):
    server.faults = ["cut", "part", "part"]
    fetch(archive, output, patience=QUICK)
    assert output.read_bytes() == CONTENT
    assert len(server.requests) == 4


def test_a_rest_of_another_size_starts_anew(server, output):
    archive = archive_at(f"{server.url}/a.zip", sha256=None)
    server.files["a.zip"], server.faults, server.total = CONTENT, ["cut"], len(CONTENT) + 1
    fetch(archive, output, patience=QUICK)
    assert output.read_bytes() == CONTENT
    assert server.requests[2:] == [("a.zip", None)]


@pytest.fixture
def certificate(tmp_path: Path) -> Callable[[str], Path]:
    """A certificate for a name, signed by itself, with its key."""

    def make(name: str) -> Path:
        file, key = tmp_path / f"{name[:2]}.pem", tmp_path / "key.pem"
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"]
        command += ["-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", "/CN=test"]
        command += ["-addext", f"subjectAltName={name}", "-out", str(file), "-keyout", str(key)]
        subprocess.run(command, check=True, capture_output=True)
        file.write_text(file.read_text() + key.read_text())
        return file

    return make


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
    output, certificate, monkeypatch, name, known, words
):
    file = certificate(name)
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
        assert not output.exists()
        assert server.requests == []


@pytest.mark.parametrize("content", ["null", "[]", "{}", "7", "{", "\udcff"])
def test_a_record_that_is_none_does_not_matter(server, archive, output, content):
    fetch(archive, output, patience=QUICK)
    output.with_name("a.zip.json").write_text(content, errors="surrogateescape")
    assert fetch(archive, output, patience=QUICK)["url"] == "put there by hand"
    output.unlink()
    output.with_name("a.zip.partial").write_bytes(CONTENT[:9])
    output.with_name("a.zip.partial.json").write_text(content, errors="surrogateescape")
    fetch(archive, output, patience=QUICK)
    assert output.read_bytes() == CONTENT


def put(output: Path, content: bytes = CONTENT) -> Path:
    output.parent.mkdir(exist_ok=True)
    output.write_bytes(content)
    return output


def test_an_archive_put_by_hand_is_verified_before_it_is_used(output):
    known, unknown = archive_at("https://x"), archive_at("https://x", sha256=None)
    with verified(known, put(output)):
        record = read_json(output.with_name("a.zip.json"))
    assert record["verified"] == "sha256 of the official archive"
    assert record["url"] == "put there by hand"
    for archive, sha256 in ((known, HEX), (unknown, HEX)):  # also one that was verified before
        with pytest.raises(UserError, match=f"expected {HEX}"), verified(archive, output, sha256):
            pytest.fail("it was used")
        assert not put(output.with_name("a.zip.refused")).with_name("a.zip").exists()
        put(output)
    put(output, CONTENT[:-1])  # changed after it was verified
    with pytest.raises(UserError, match="Start the workflow again"), verified(known, output):
        pytest.fail("it was used")
    with verified(unknown, put(output)):
        assert read_json(output.with_name("a.zip.json"))["verified"] is None


def test_an_archive_that_is_too_large_is_not_even_read(output):
    unknown = archive_at("https://x", sha256=None)
    put(output, bytes(2_000_001))
    with pytest.raises(UserError, match="2000001 bytes"), verified(unknown, output):
        pytest.fail("it was used")
    assert not output.exists()


def test_a_truncated_archive_is_put_aside_and_fetched_again(server, output):
    unknown = archive_at(f"{server.url}/a.zip", sha256=None)
    server.files["a.zip"] = CONTENT
    put(output, CONTENT[:99])
    words = r"put aside as .*refused\. Start the workflow again"
    with pytest.raises(UserError, match=words), verified(unknown, output):
        read_members(output, ["x"])
    fetch(unknown, output, patience=QUICK)
    assert output.read_bytes() == CONTENT


def test_an_archive_that_is_not_there(output):
    with pytest.raises(UserError, match="start again"), verified(archive_at("x"), output):
        pytest.fail("it was used")
