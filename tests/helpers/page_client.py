"""A visitor of a running page over plain HTTP: as the page's own script talks to it, and as programs do."""

from __future__ import annotations

import json
import re
import time
import uuid
import zlib
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import numpy as np

API = "/gradio_api"
TASK = ["multiclass", "any", True, 0.5]
FILE_DATA = {"_type": "gradio.FileData"}
SEGMENT = ["multiclass", "any", -1, "auto"]


class Refused(Exception):
    """What the page said instead of an answer."""


class Stuck(Exception):
    """The page answered nothing in time."""


class Visitor:
    """One session of the page. Not for several threads at once.

    patience: seconds in which an answer must have come, else Stuck or httpx.TimeoutException is raised.
    """

    def __init__(self, url: str, patience: float = 600) -> None:
        # The page closes a connection that was idle for 5 seconds, which must not be just when it is used again.
        limits = httpx.Limits(keepalive_expiry=1)
        self.http = httpx.Client(base_url=url, timeout=patience, trust_env=False, limits=limits)
        self.patience = patience
        self.session = uuid.uuid4().hex
        self.said: list[str] = []  # what it was told while it waited
        self.begun = False

    def close(self) -> None:
        self.http.close()

    def config(self) -> dict[str, Any]:
        """The page's components and events, as its script gets them."""
        return self.http.get("/config").raise_for_status().json()

    def events(self) -> dict[str, dict]:
        """The page's events by the names of their functions; those of the first tab come first."""
        found: dict[str, dict] = {}
        for each in self.config()["dependencies"]:
            found.setdefault(each["api_name"], each)
        return found

    def upload(self, name: str, content: bytes) -> dict:
        """Hand a file over; returns what an event takes for it."""
        answer = self.http.post(f"{API}/upload", files={"files": (name, content)}).raise_for_status()
        return {"path": answer.json()[0], "orig_name": name, "meta": FILE_DATA}

    def begin(self) -> None:
        """Say that the page was opened, as its script does; else the page answers that it has lost the visit."""
        body = {"data": [], "session_hash": self.session}
        self.http.post(f"{API}/run/on_clock", json=body).raise_for_status()
        self.begun = True

    @contextmanager
    def heartbeat(self) -> Iterator[None]:
        """Hold the heartbeat open, as a browser does for as long as the page is open."""
        with self.http.stream("GET", f"{API}/heartbeat/{self.session}") as answer:
            lines = answer.iter_lines()  # the connection is closed once nobody holds this
            next(lines)
            yield

    def join(self, event: dict, data: list[Any], told: Any = None) -> str:
        """Get in line with an event, and return its id. Raises Refused."""
        if not self.begun:
            self.begin()
        body = {"data": data, "fn_index": event["id"], "session_hash": self.session}
        if told is not None:
            body["event_data"] = told
        joined = self.http.post(f"{API}/queue/join", json=body)
        if joined.is_error:
            raise Refused(joined.text)
        return joined.json()["event_id"]

    @contextmanager
    def stream(self) -> Iterator[httpx.Response]:
        """The open stream of this session's answers; the block may leave it unread, and hangs up where it ends."""
        with self.http.stream("GET", f"{API}/queue/data", params={"session_hash": self.session}) as answer:
            yield answer

    def trigger(self, event: dict, data: list[Any], picked: Any = None, told: Any = None) -> list[Any]:
        """Do what a click does, on the picture of that index in a gallery, and return the event's last outputs.

        told: what is told of the event instead, as it is. Raises Refused.
        """
        if picked is not None:
            told = {"index": picked, "value": None}
        wanted, outputs = self.join(event, data, told), []
        for message in self._messages():
            if message.get("event_id") != wanted or message["msg"] not in ("process_generating", "process_completed"):
                continue
            output = message["output"]
            if not message["success"]:
                raise Refused(output.get("error"))
            if message["msg"] == "process_completed":
                return outputs or output["data"]
            outputs = output["data"]
            said = [re.sub("<[^>]*>", "", each) for each in outputs if isinstance(each, str)]
            self.said += [each for each in said if "ahead of you" in each]
        raise Refused("the page hung up")

    def open(self, events: dict[str, dict], name: str, content: bytes) -> str:
        """Give the page a photograph, and wait until it is segmented; returns what the page says of it, if anything."""
        return self.trigger(events["on_upload"], [self.upload(name, content), None, "auto", "squeeze", False])[3]

    def viewer(self, events: dict[str, dict], *task: Any, sharp: bool = False, known: str = "") -> dict:
        """What a light control gives: the viewer's value. known: keys of the photographs that the browser has."""
        return self.trigger(events["on_look"], [None, *(task or TASK), sharp, known])[0]

    def look(self, events: dict[str, dict], *task: Any, sharp: bool = False) -> np.ndarray:
        """The label map in it, uint8 (H, W)."""
        viewer = self.viewer(events, *task, sharp=sharp)
        labels = viewer["panels"][0]["labels"]
        return np.frombuffer(zlib.decompress(b64decode(labels["deflate"])), np.uint8).reshape(
            labels["height"], labels["width"]
        )

    def segment(self, name: str, content: bytes, *arguments: Any, own_session: bool = True) -> tuple[bytes, dict]:
        """`/segment`, as a program calls it: the overlay's PNG and the record. Raises Refused."""
        return self.segment_file(self.upload(name, content), *arguments, own_session=own_session)

    def segment_file(self, file: Any, *arguments: Any, own_session: bool = True) -> tuple[bytes, dict]:
        body = {"data": [file, *arguments, *SEGMENT[len(arguments) :]]} | (
            {"session_hash": self.session} if own_session else {}
        )
        called = self.http.post(f"{API}/call/segment", json=body)
        if called.is_error:
            raise Refused(called.text)
        path = f"{API}/call/segment/{called.json()['event_id']}"
        with self.http.stream("GET", path) as answer:
            kind = ""
            for line in self._lines(answer):
                if line.startswith("event: "):
                    kind = line.removeprefix("event: ")
                elif line.startswith("data: ") and kind in ("complete", "error"):
                    said = json.loads(line.removeprefix("data: "))
                    break
            else:
                raise Refused("the page hung up")
        if kind == "error":
            raise Refused(said)
        overlay, record = said
        return self.http.get(f"{API}/file={overlay['path']}").raise_for_status().content, record

    def listen(self, session: str) -> None:
        """Wait for answers under that name until there are none. Raises Refused."""
        answer = self.http.get(f"{API}/queue/data", params={"session_hash": session})
        if answer.is_error:
            raise Refused(answer.text)

    def _messages(self) -> Iterator[dict]:
        with self.stream() as answer:
            for line in self._lines(answer):
                if line.startswith("data: "):
                    yield json.loads(line.removeprefix("data: "))

    def _lines(self, answer: httpx.Response) -> Iterator[str]:
        """Those of a stream, which says every few seconds that it is still there."""
        end = time.monotonic() + self.patience
        for line in answer.iter_lines():
            if time.monotonic() > end:
                raise Stuck(f"no answer within {self.patience:g} s")
            yield line
