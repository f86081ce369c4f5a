"""Decodes visitors' files in other processes: a malicious file may take for ever, and a process can be killed."""

from __future__ import annotations

import atexit
import io
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from demo.waiting.turns import never
from segcore import errors
from segcore.errors import Cancelled, ImageError, SegcoreError

if TYPE_CHECKING:
    from segcore.truth.supplied import OwnTruth

KEPT = 2  # idle processes that wait for files; each takes 40 MB
RENEWED_AFTER = 20.0  # seconds; an idle process is then replaced, so that it does not keep the last photograph's data
LONGEST = 180.0  # seconds; each process should end itself long before
_LOOK_EVERY = 0.2  # seconds
_PIPE = 2**20  # bytes; with the default of 64 KB, transfers take three times as long
_ROOT = Path(__file__).resolve().parents[2]
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}  # memory is limited

_TOO_MUCH = (
    "{name} is damaged, or takes too long or too much memory to decode; make it smaller, or save it again as JPEG or "
    "PNG"
)


class Decoders:
    """A pool of decoding processes. Each file has its own process; KEPT idle ones wait for the next files.

    All methods are thread-safe.
    """

    def __init__(self) -> None:
        self._idle: list[_Decoder] = []
        self._lock = threading.Lock()

    def photograph(
        self, path: Path, *, max_pixels: int, max_bytes: int, given_up: Callable[[], bool] = never
    ) -> np.ndarray:
        """Decode a photograph as `reading.read` does. Raises its errors, and ImageError for too much time or memory.

        given_up: is checked regularly; Cancelled is raised once it is true.
        """
        fields, pixels = self._ask(path, given_up, job="photograph", max_pixels=max_pixels, max_bytes=max_bytes)
        return pixels.reshape(fields["shape"])

    def small_copy(
        self, path: Path, side: int, *, max_pixels: int, given_up: Callable[[], bool] = never
    ) -> bytes | None:
        """Make an upright JPEG with the longer side `side`; None if the photograph is no larger. Raises as above."""
        _, jpeg = self._ask(path, given_up, job="small_copy", side=side, max_pixels=max_pixels)
        return jpeg.tobytes() or None

    def truth(self, path: Path, photograph: Path, size_hw: tuple[int, int]) -> OwnTruth:
        """Read a truth as `supplied.read_truth` does. Raises its errors, and ImageError for too much time or memory."""
        from segcore.truth.supplied import OwnTruth

        fields, packed = self._ask(path, never, job="truth", photograph=str(photograph.resolve()), size_hw=size_hw)
        listed = {name: tuple(value) for name, value in fields.items() if isinstance(value, list)}
        return OwnTruth(**fields | listed, packed=packed.tobytes())

    def start(self) -> None:
        """Start a process in advance, so that the first photograph need not wait."""
        with self._lock:
            if not self._idle:
                self._idle.append(_Decoder())

    def renew(self) -> None:
        """End the processes that have been idle for RENEWED_AFTER seconds, and start a new one in their place."""
        long_ago = time.monotonic() - RENEWED_AFTER
        with self._lock:
            stale = [each for each in self._idle if each.used is not None and each.used < long_ago]
            self._idle = [each for each in self._idle if each not in stale]
        for each in stale:
            each.end()
        if stale:
            self.start()

    def close(self) -> None:
        """End the idle processes."""
        with self._lock:
            idle, self._idle = self._idle, []
        for each in idle:
            each.end()

    def _ask(self, path: Path, given_up: Callable[[], bool], **asked: Any) -> tuple[dict[str, Any], np.ndarray]:
        decoder = self._take()
        over = threading.Event()
        watch = threading.Thread(target=decoder.watch, args=(over, given_up), name="watch decoder", daemon=True)
        watch.start()
        try:
            fields, payload = decoder.ask({"path": str(Path(path).resolve())} | asked)
        except (OSError, EOFError):
            if decoder.given_up:
                raise Cancelled("whoever asked has left") from None
            print(f"segcore: decoding {path.name!r} ended with status {decoder.end()}", file=sys.stderr)
            raise ImageError(_TOO_MUCH.format(name=path.name)) from None
        finally:
            over.set()
            watch.join()
            self._put_back(decoder)
        if "error" in fields:
            raise getattr(errors, fields["error"])(fields["sentence"])
        return fields, payload

    def _take(self) -> _Decoder:
        with self._lock:
            while self._idle:
                decoder = self._idle.pop()
                if decoder.runs():
                    return decoder
        return _Decoder()

    def _put_back(self, decoder: _Decoder) -> None:
        """Keep a process for the next photograph, or start a new one if it has ended."""
        ended = decoder.used is None
        if ended:
            decoder.end()
        with self._lock:
            if len(self._idle) < KEPT:
                self._idle.append(_Decoder() if ended else decoder)
                return
        decoder.end()


class _Decoder:
    """One decoding process.

    used: the time of its last answer; None before the first answer and after a failure. given_up: whether it was killed
    because nobody waited for the result.
    """

    def __init__(self) -> None:
        self.used: float | None = None
        self.given_up = False
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "demo.server.decoding_process"],
                cwd=_ROOT,
                env=os.environ | _ENVIRONMENT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # libraries write many messages for a damaged file
                pipesize=_PIPE,
            )
        except OSError as error:
            raise SegcoreError("The machine that runs this page is too busy to open a picture; try again.") from error

    def runs(self) -> bool:
        return self._process.poll() is None

    def ask(self, request: dict[str, Any]) -> tuple[dict[str, Any], np.ndarray]:
        """Return the answer's fields and bytes, uint8 (n,). Raises OSError or EOFError if the process ended instead."""
        self.used = None
        requests, answers = self._process.stdin, self._process.stdout
        assert requests and isinstance(answers, io.BufferedReader)  # both are pipes
        requests.write(json.dumps(request).encode() + b"\n")
        requests.flush()
        if not (line := answers.readline()).endswith(b"\n"):
            raise EOFError
        fields = json.loads(line)
        payload = np.empty(fields.pop("bytes"), np.uint8)
        if answers.readinto(payload.data) < len(payload):
            raise EOFError
        self.used = time.monotonic()
        return fields, payload

    def watch(self, over: threading.Event, given_up: Callable[[], bool]) -> None:
        """Kill the process if nobody waits for the result any more, or if it does not end itself."""
        ends = time.monotonic() + LONGEST
        while not over.wait(_LOOK_EVERY):
            self.given_up = given_up()
            if self.given_up or time.monotonic() > ends:
                self._process.kill()
                return

    def end(self) -> int:
        """End the process. Returns its exit status."""
        self._process.kill()
        self._process.communicate()
        return self._process.returncode


DECODERS = Decoders()
atexit.register(DECODERS.close)
