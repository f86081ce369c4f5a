"""What the browser is sent to show of an uploaded photograph is small; who downloads the file gets all of it."""

from __future__ import annotations

import asyncio
import io
import threading
from types import SimpleNamespace

import httpx
import numpy as np
import pytest
from PIL import Image

from demo.server.previews import LONGEST, PREVIEW_SIDE, Previews, small_copy
from segcore.imaging import reading

TO_SHOW = {"Accept": "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"}  # what browsers send for <img>
TO_OPEN = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"}


def photograph(width: int = 2400, height: int = 1800) -> Image.Image:
    """Dark at the top left, red to the right, green to the bottom."""
    y, x = np.mgrid[0:height, 0:width]
    return Image.fromarray(np.stack([x * 255 // width, y * 255 // height, 0 * x], -1).astype(np.uint8))


def turned_jpeg() -> bytes:
    """A phone's photograph: stored on its side, upright by its EXIF orientation."""
    picture, buffer = photograph(), io.BytesIO()
    picture.getexif()[274] = 6
    picture.save(buffer, "JPEG", quality=90, exif=picture.getexif())
    return buffer.getvalue()


def test_small_copy_is_the_photograph_upright(tmp_path):
    path = tmp_path / "turned.jpg"
    path.write_bytes(turned_jpeg())

    small = reading.read(small_copy(path))

    assert small.shape == (PREVIEW_SIDE, PREVIEW_SIDE * 3 // 4, 3)
    whole = reading.fit_within(reading.read(path), PREVIEW_SIDE)
    assert np.abs(small.astype(int) - whole).mean() < 3


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.slow
def test_small_copy_tells_nothing_of_the_metadata(tmp_path, file_format):
    picture = photograph()
    picture.getexif()[271] = "a camera"
    path = tmp_path / "photograph"
    picture.save(path, file_format, exif=picture.getexif())
    with Image.open(io.BytesIO(small_copy(path))) as small:
        assert small.size == (PREVIEW_SIDE, PREVIEW_SIDE * 3 // 4) and not small.getexif()


def test_what_is_small_or_no_photograph_is_left_alone(tmp_path):
    photograph(PREVIEW_SIDE, 300).save(tmp_path / "small.png")
    (tmp_path / "notes.json").write_text("{}")
    (tmp_path / "cut.jpg").write_bytes(turned_jpeg()[:5000])
    for name in ("small.png", "notes.json", "cut.jpg", "missing.jpg"):
        assert small_copy(tmp_path / name) is None


def test_only_who_shows_an_upload_gets_the_small_copy(page_url):
    with httpx.Client(base_url=f"{page_url}/gradio_api", timeout=300, trust_env=False) as http:
        whole = turned_jpeg()
        [path] = http.post("/upload", files={"files": ("turned.jpg", whole, "image/jpeg")}).json()

        shown = http.get(f"/file={path}", headers=TO_SHOW)
        assert shown.headers["content-type"] == "image/jpeg"
        assert reading.read(shown.content).shape == (PREVIEW_SIDE, PREVIEW_SIDE * 3 // 4, 3)
        assert len(shown.content) < len(whole) / 4
        for headers in (TO_OPEN, {"Accept": "*/*"}):
            assert http.get(f"/file={path}", headers=headers).content == whole


class Asking:
    """Requests to a page that has nothing but previews; what it has no preview of it answers with `[]`."""

    def __init__(self):
        self.previews = Previews(self.rest)
        self.sent: dict[str, list] = {}

    async def rest(self, scope, receive, send):
        assert (await receive())["type"] == "http.request"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"[]"})

    async def ask(self, path, gone: asyncio.Event | None = None) -> tuple[int, bytes]:
        scope = {"type": "http", "path": f"/gradio_api/file={path}", "headers": [(b"accept", b"image/*")]}
        gone, begun, sent = gone or asyncio.Event(), False, []

        async def receive():
            nonlocal begun
            if begun:
                await gone.wait()
                return {"type": "http.disconnect"}
            begun = True
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message):
            sent.append(message)

        await self.previews(scope, receive, send)
        return sent[0]["status"], b"".join(each.get("body", b"") for each in sent)


@pytest.fixture
def decoded(monkeypatch, tmp_path):
    """The photographs that a small copy was made of; none is made until `go` is set, but of who gives up."""
    monkeypatch.setattr("demo.server.gradio_internals.get_upload_folder", lambda: str(tmp_path))
    done, go = [], threading.Event()

    def small_copy(path, given_up):
        while not go.wait(0.01) and not given_up():
            pass
        done.append((path.name, given_up()))
        return path.name.encode()

    monkeypatch.setattr("demo.server.previews.small_copy", small_copy)
    done_and_go = SimpleNamespace(done=done, go=go)
    yield done_and_go
    go.set()


def uploads(folder, count: int):
    for number in range(count):
        (folder / f"{number}.png").write_bytes(b"x")
    return [folder / f"{number}.png" for number in range(count)]


def test_a_small_copy_is_made_once_for_all_who_ask(decoded, tmp_path):
    async def asked():
        page, [path] = Asking(), uploads(tmp_path, 1)
        decoded.go.set()
        answers = await asyncio.gather(*(page.ask(path) for _ in range(5)))
        answers.append(await page.ask(path))
        assert answers == [(200, b"0.png")] * 6 and decoded.done == [("0.png", False)]
        path.write_bytes(b"another")
        assert await page.ask(path) == (200, b"0.png") and len(decoded.done) == 2

    asyncio.run(asked())


def test_who_hangs_up_is_not_waited_for(decoded, tmp_path):
    async def asked():
        page, paths, gone = Asking(), uploads(tmp_path, 10), asyncio.Event()
        left = [asyncio.create_task(page.ask(path, gone)) for path in paths[:9]]
        await asyncio.sleep(0.1)
        stays = asyncio.create_task(page.ask(paths[9]))
        await asyncio.sleep(0.1)
        gone.set()
        await asyncio.gather(*left)
        decoded.go.set()
        assert await stays == (200, b"9.png")
        assert decoded.done == [("0.png", True), ("9.png", False)]  # the first was under way, and ended
        assert await page.ask(paths[3]) == (200, b"3.png")  # and may be asked for again

    asyncio.run(asked())


def test_the_line_has_an_end(decoded, tmp_path):
    async def asked():
        page, paths = Asking(), uploads(tmp_path, LONGEST + 1)
        waiting = [asyncio.create_task(page.ask(path)) for path in paths[:LONGEST]]
        await asyncio.sleep(0.1)
        assert await page.ask(paths[LONGEST]) == (503, b"Too many photographs are being opened. Try again later.\n")
        again = asyncio.create_task(page.ask(paths[0]))  # which is being made for another
        await asyncio.sleep(0.1)
        decoded.go.set()
        assert [(await each)[0] for each in (*waiting, again)] == [200] * (LONGEST + 1)

    asyncio.run(asked())


def test_a_small_copy_goes_in_time(decoded, tmp_path, monkeypatch):
    monkeypatch.setattr("demo.server.previews.KEPT_SECONDS", 0.01)

    async def asked():
        page, [path] = Asking(), uploads(tmp_path, 1)
        decoded.go.set()
        await page.ask(path)
        await asyncio.sleep(0.1)
        assert not page.previews._copies

    asyncio.run(asked())


@pytest.mark.parametrize("path", ["/etc/passwd", "\0", "a\0b", "missing.jpg", "x" * 5000])
def test_what_is_no_upload_is_left_to_the_page(decoded, tmp_path, path):
    path = path if path.startswith("/") else f"{tmp_path}/{path}"
    assert asyncio.run(Asking().ask(path)) == (200, b"[]")
    assert decoded.done == []


def test_a_path_that_cannot_be_one_is_answered_in_words(page_url):
    with httpx.Client(base_url=f"{page_url}/gradio_api", timeout=300, trust_env=False) as http:
        [path] = http.post("/upload", files={"files": ("small.png", b"x", "image/png")}).json()
        answer = http.get(f"/file={path}%00", headers=TO_SHOW)
        assert 400 <= answer.status_code < 500
