"""A real HTTP server on loopback that serves bytes and, when told to, misbehaves."""

from __future__ import annotations

import contextlib
import re
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class ArchiveServer:
    """Serves `files` (name -> bytes) at `url`/name.

    `faults` holds what happens to the next requests for an archive, one entry each: a status code,
    "cut" (half of what is due, then the connection closes), "stall" (half, then silence), "drip"
    (a byte now and then) or "part" (half of the range asked for, as an answer that says so).
    `requests` lists (name, first byte of the range) of those requests, None without a range;
    `logins` the login of every request. A `certificate` file holds the key too.
    """

    def __init__(self, certificate: Path | None = None) -> None:
        self.files: dict[str, bytes] = {}
        self.faults: list[int | str] = []
        self.requests: list[tuple[str, int | None]] = []
        self.logins: list[str | None] = []
        self.ranges = True
        self.tag = '"1"'
        self._wake = threading.Event()
        handler = type("Handler", (_Handler,), {"site": self, "wake": self._wake})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self.url = self.url.replace("http:", "https:")

    def __enter__(self) -> ArchiveServer:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._wake.set()
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    site: ArchiveServer
    wake: threading.Event

    def log_message(self, *_: object) -> None:
        """Keep the test output quiet."""

    def do_GET(self) -> None:
        name = self.path.strip("/")
        self.site.logins.append(self.headers.get("Authorization"))
        if name not in self.site.files:
            self.send_error(404)
            return
        content = self.site.files[name]
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        first, last = int(wanted[1]) if wanted else None, len(content)
        fault = None
        if name != "SHA256SUMS":
            self.site.requests.append((name, first))
            fault = self.site.faults.pop(0) if self.site.faults else None
        if isinstance(fault, int):
            self.send_error(fault)
            return
        current = self.headers.get("If-Range") in (None, self.site.tag)
        if first is not None and self.site.ranges and current:
            if fault == "part":
                last, fault = first + (last - first) // 2, None
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{last - 1}/{len(content)}")
        else:
            first = 0
            self.send_response(200)
        body = content[first:last]
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", self.site.tag)
        self.end_headers()
        if fault == "drip":
            self.drip(body)
            return
        self.wfile.write(body if fault is None else body[: len(body) // 2])
        self.wfile.flush()
        if fault == "stall":
            self.wake.wait(30)

    def drip(self, body: bytes) -> None:
        with contextlib.suppress(OSError):  # the other side has had enough
            for place in range(len(body)):
                if self.wake.wait(0.02):
                    return
                self.wfile.write(body[place : place + 1])
                self.wfile.flush()
