"""Small copies of uploaded photographs to show: the browser that sent a large one need not get it back."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

from gradio.utils import get_upload_folder, is_in_or_equal
from PIL import Image
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from segcore.errors import SegcoreError
from segcore.imaging import reading

PREVIEW_SIDE = 640


class Previews:
    """Answers a browser that wants to show a file of the upload folder; a link or a program gets the file itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._one_at_a_time = asyncio.Lock()  # however many are asked for, memory is for one

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = self._app
        # All browsers begin so what they accept in the place of an <img>, and nowhere else.
        if scope["type"] == "http" and Headers(scope=scope).get("accept", "").startswith("image/"):
            path = scope["path"].partition("/file=")[2]
            if path and is_in_or_equal(path, get_upload_folder()):
                async with self._one_at_a_time:
                    jpeg = await run_in_threadpool(small_copy, Path(path))
                answer = answer if jpeg is None else Response(jpeg, media_type="image/jpeg")
        await answer(scope, receive, send)


def small_copy(path: Path) -> bytes | None:
    """A JPEG of the photograph, upright, its longer side PREVIEW_SIDE; None where it is no larger, or no photograph."""
    try:
        with reading.opened(path) as picture:
            if max(picture.size) <= PREVIEW_SIDE:
                return None
            picture.draft("RGB", (PREVIEW_SIDE, PREVIEW_SIDE))
            small = reading.fit_within(reading.read(picture), PREVIEW_SIDE)
    except SegcoreError:
        return None
    buffer = io.BytesIO()
    Image.fromarray(small).save(buffer, "JPEG")
    return buffer.getvalue()
