"""A local HTTP server that serves files well, or errs in the ways that servers and networks do."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PIECE = 16 * 1024


@dataclass(frozen=True)
class Twist:
    """How one answer departs from a good server's."""

    status: int | None = None  # answer so, with no body
    headers: Mapping[str, str | None] = field(default_factory=dict)  # over the good; None removes one
    body: bytes | None = None  # in place of the file's, under the headers of the file
    cut_after: int | None = None  # close the connection after so many bytes of the body
    stall_after: int | None = None  # after so many, send nothing more, but keep the connection open
    pause: float = 0.0  # seconds between pieces of 16 KiB
    ignore_range: bool = False
    ignore_if_range: bool = False
    chunked: bool = False  # Transfer-Encoding: chunked, hence no length


GOOD = Twist()
Behaviour = Twist | Sequence[Twist]


@dataclass(frozen=True)
class Seen:
    """One request as it came in; the names of `headers` are lower case."""

    path: str
    headers: Mapping[str, str]


class MisbehavingServer:
    """Serves `files` (path with its slash -> bytes; may be changed any time) at `.url` within a `with` block.

    `behaviour` is one Twist for every request, or a sequence with one for each in turn, after which all is
    well; or a mapping that has one or the other for some of the paths. What was asked is in `.requests`, in
    order. ETag, ranges and If-Range are as RFC 9110 has them.
    """

    def __init__(self, files: dict[str, bytes], behaviour: Behaviour | Mapping[str, Behaviour] = ()):
        self.files = files
        self.behaviour = behaviour
        self.requests: list[Seen] = []
        self._lock = threading.Lock()
        self._closing = threading.Event()

    def __enter__(self) -> MisbehavingServer:
        self._http = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"owner": self}))
        self._http.daemon_threads = True
        self._http.block_on_close = False
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def _next_twist(self, seen: Seen) -> Twist:
        with self._lock:
            self.requests.append(seen)
            behaviour, alike = self.behaviour, self.requests
            if isinstance(behaviour, Mapping):
                behaviour, alike = behaviour.get(seen.path, ()), [each for each in alike if each.path == seen.path]
            if isinstance(behaviour, Twist):
                return behaviour
            return behaviour[len(alike) - 1] if len(alike) <= len(behaviour) else GOOD


class _Server(ThreadingHTTPServer):
    request_queue_size = 64  # of 5, which is usual, some would be dropped when many connect at once


class _Handler(BaseHTTPRequestHandler):
    owner: MisbehavingServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing: `.requests` has it all."""

    def do_GET(self) -> None:
        self.close_connection = True
        seen = Seen(self.path, {name.lower(): value for name, value in self.headers.items()})
        twist = self.owner._next_twist(seen)
        content = self.owner.files.get(self.path)
        try:
            if twist.status or content is None:
                self._send_head(twist.status or 404, {"Content-Length": "0", **twist.headers})
            else:
                self._send_file(seen, twist, content)
        except ConnectionError:
            return  # the client has had enough, as some tests want

    def _send_file(self, seen: Seen, twist: Twist, content: bytes) -> None:
        etag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        headers = {"ETag": etag, "Accept-Ranges": "bytes", **twist.headers}
        named = (None, headers.get("ETag"), headers.get("Last-Modified"))
        asked = re.fullmatch(r"bytes=(\d+)-", seen.headers.get("range", ""))
        same = twist.ignore_if_range or seen.headers.get("if-range") in named
        status, start = 200, 0
        if asked and same and not twist.ignore_range:
            status, start = 206, int(asked[1])
            if start >= len(content):
                self._send_head(416, {"Content-Range": f"bytes */{len(content)}", "Content-Length": "0"})
                return
            headers = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}", **headers}
        length = {"Content-Length": str(len(content) - start)}
        size = {"Transfer-Encoding": "chunked"} if twist.chunked else length
        self._send_head(status, {**size, **headers})
        self._send_body(twist, (content if twist.body is None else twist.body)[start:])

    def _send_head(self, status: int, headers: Mapping[str, str | None]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Connection": "close"}.items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()

    def _send_body(self, twist: Twist, body: bytes) -> None:
        stops = [stop for stop in (twist.cut_after, twist.stall_after) if stop is not None]
        end = min([len(body), *stops])
        for start in range(0, end, PIECE):
            piece = body[start : min(start + PIECE, end)]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if twist.chunked else piece)
            if twist.pause:
                self.owner._closing.wait(twist.pause)
        if twist.stall_after is not None:
            self.owner._closing.wait()
        elif twist.chunked and twist.cut_after is None:
            self.wfile.write(b"0\r\n\r\n")
