"""A local stand-in for the Hugging Face Hub: models to download, and uploads to keep; it can err as the Hub does."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Hub:
    """What the server holds and has been asked.

    revisions: by repository and then by branch or commit, the commit and its files. lies: by path, the bytes that are
    sent in place of the file's, under its headers. status: by repository, the answer to every request.
    """

    revisions: dict[str, dict[str, tuple[str, dict[str, bytes]]]] = field(default_factory=dict)
    status: dict[str, int] = field(default_factory=dict)
    lies: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    url: str = ""

    def put(self, repo: str, files: dict[str, bytes], branch: str = "main") -> str:
        """Commit files to a branch. Returns the commit."""
        commit = hashlib.sha1(repr((repo, sorted(files.items()))).encode()).hexdigest()
        at = self.revisions.setdefault(repo, {})
        at[branch] = at[commit] = commit, files
        return commit

    def files(self, repo: str, revision: str = "main") -> dict[str, bytes]:
        return self.revisions[repo][revision][1]


@contextmanager
def running_hub() -> Iterator[Hub]:
    """Serve a Hub on a free port of the loopback interface until the block ends."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub

    def log_message(self, *_: object) -> None:
        """Say nothing: `asked` has it all."""

    def do_HEAD(self) -> None:
        self._serve(body=False)

    def do_GET(self) -> None:
        self._serve(body=True)

    def _serve(self, *, body: bool) -> None:
        self.hub.asked.append(f"{self.command} {self.path}")
        found = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self.path)
        if not found:
            return self._answer(404, {"X-Error-Code": "RepoNotFound"})
        repo, revision, name = found.groups()
        if refused := self.hub.status.get(repo):
            return self._answer(refused, {})
        if repo not in self.hub.revisions:
            return self._answer(404, {"X-Error-Code": "RepoNotFound"})
        if revision not in self.hub.revisions[repo]:
            return self._answer(404, {"X-Error-Code": "RevisionNotFound"})
        commit, files = self.hub.revisions[repo][revision]
        if name not in files:
            return self._answer(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
        content = files[name]
        digest = hashlib.sha256(content).hexdigest()
        headers = {"X-Repo-Commit": commit, "X-Linked-Etag": f'"{digest}"', "ETag": f'"{digest}"'}
        headers |= {"X-Linked-Size": str(len(content)), "Content-Length": str(len(content))}
        self._answer(200, headers, self.hub.lies.get(self.path, content) if body else b"")

    def do_POST(self) -> None:
        self.hub.asked.append(f"{self.command} {self.path}")
        given = self.rfile.read(int(self.headers["Content-Length"]))
        if "Bearer " not in self.headers.get("Authorization", ""):
            return self._answer(401, {})
        if self.path == "/api/repos/create":
            record = json.loads(given)
            name = f"{record.get('organization') or 'somebody'}/{record['name']}"
            return self._answer_json({"url": f"{self.hub.url}/{name}"})
        found = re.fullmatch(r"/api/models/([^/]+/[^/]+)/(preupload|commit)/main.*", self.path)
        if not found:
            return self._answer_json({"type": "regular"})
        if found[2] == "preupload":
            files = [{"path": each["path"], "uploadMode": "regular", "shouldIgnore": False}
                     for each in json.loads(given)["files"]]  # fmt: skip
            return self._answer_json({"files": files})
        lines = [json.loads(line) for line in given.splitlines()]
        files = {each["value"]["path"]: base64.b64decode(each["value"]["content"]) for each in lines[1:]}
        commit = self.hub.put(found[1], files)
        return self._answer_json({"commitOid": commit, "commitUrl": f"{self.hub.url}/{found[1]}/commit/{commit}"})

    def _answer_json(self, value: object) -> None:
        body = json.dumps(value).encode()
        self._answer(200, {"Content-Type": "application/json", "Content-Length": str(len(body))}, body)

    def _answer(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.close_connection = True
        self.send_response(status)
        for name, value in ({"Content-Length": "0"} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
