"""The page: what its handlers take from visitors and programs, and the page itself, asked over HTTP."""

from __future__ import annotations

import http.client
import json
import tempfile
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from pycocotools import mask as rle_tools

from demo.answers import ground_truth, photographs
from demo.answers.datasets import SAMPLES, Datasets
from demo.answers.model_pool import ModelPool
from segcore.models.catalogue import CATALOGUE, SHIPPED
from tests.fuzz.mutations import mutated_bytes, values
from tests.fuzz.oracle import Target, attempted
from tests.fuzz.pictures import example_photographs
from tests.helpers.page_server import ROOT, RunningPage

EXAMPLES = ROOT / "examples"
_MOST_ANSWER = 200_000  # bytes looked at of one answer
_short = values.filter(lambda value: len(repr(value)) < 300)  # what was given is quoted

# What is left of a program's values once Gradio's components have taken them: texts, numbers and nothing.
_texts = st.none() | st.text(max_size=9)
_numbers = st.none() | st.booleans() | st.floats() | st.integers() | st.just(10**400)

_mode = st.sampled_from(["multiclass", "binary"]) | _short
_class_name = st.sampled_from(["any", "dog", "Person", "TV", "background"]) | _short
_threshold = st.sampled_from([None, -1, 0, 0.5, 1, "0.5"]) | st.floats() | _short
_protocol = st.sampled_from(["original", "torchvision", "report"]) | _short
_model = st.sampled_from(["auto", "auto", SHIPPED, *CATALOGUE, "/etc/passwd", "x.safetensors"]) | _short
_image_id = st.sampled_from([900001, 160012]) | _short
_resize = st.sampled_from(["squeeze", "aspect"]) | _short

# ---- the functions behind it


@cache
def _engine() -> ModelPool:
    return ModelPool(SHIPPED, offline=True, threads=1)


@cache
def _samples() -> Any:
    return Datasets(EXAMPLES, EXAMPLES, EXAMPLES / "none", offline=True).get(SAMPLES)


def check_segment(case: tuple) -> None:
    """`/segment` answers with an overlay and a record of the photograph's size, or refuses in words."""
    photograph, settings = case
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "photo.png")
        path.write_bytes(photograph)
        answer, error = attempted(photographs.segment_for_program, _engine(), path, *settings)
    if error:
        return
    overlay, record = answer
    assert overlay.shape == (record["height"], record["width"], 3) and overlay.dtype == np.uint8
    json.dumps(record, allow_nan=False)
    for each in record["classes"]:
        assert 0 < each["share"] <= 1 and 0 <= each["confidence"] <= 1 + 1e-6
        assert int(rle_tools.area(each["rle"])) == each["pixels"]


def check_evaluate(case: tuple) -> None:
    """`/evaluate_coco` answers with pictures of one size and scores from 0 to 1, or refuses in words."""
    answer, error = attempted(ground_truth.evaluate_for_program, _engine(), _samples(), *case)
    if error:
        return
    *pictures, record = answer
    assert len({each.shape for each in pictures}) == 1
    json.dumps(record, allow_nan=False)
    assert all(value is None or 0 <= value <= 1 for key, value in record["dataset"].items() if key != "classes_counted")


# ---- over HTTP

API_NAMES = ["/segment", "/evaluate_coco", "segment", "evaluate_coco", "", "none", "lambda", "on_start", "_write"]


SESSIONS = [uuid.UUID(int=number).hex for number in range(4)]


@st.composite
def requests(draw: Any) -> tuple[str, Any]:
    """A path, and what is sent to it; None asks for it."""
    picture = st.fixed_dictionaries(
        {
            "path": st.sampled_from(["/etc/passwd", "http://127.0.0.1:9/x.png", "..", "", "photo.png"])
            | st.text(max_size=9)
        },
        optional={
            "url": st.sampled_from(["data:image/png;base64,AAAA", "data:,", "http://127.0.0.1:9/"]) | _short,
            "meta": st.sampled_from([{"_type": "gradio.FileData"}]) | _short,
            "orig_name": _short,
            "size": _short,
        },
    )
    for_segment = st.tuples(picture | _short, _mode, _class_name, _threshold, _model)
    for_evaluate = st.tuples(_image_id, _mode, _class_name, _protocol, _model)
    data = draw(for_segment | for_evaluate | st.lists(_short | picture, max_size=14) | _short)
    data = list(data) if isinstance(data, tuple) else data
    match draw(st.integers(0, 5)):
        case 0 | 1:
            name = draw(st.sampled_from(["segment", "evaluate_coco"]))
            return f"/gradio_api/call/{name}", {"data": data}
        case 2:
            return f"/gradio_api/run/{draw(st.sampled_from(['segment', 'evaluate_coco', 'predict']))}", {"data": data}
        case 3 | 4:
            body = {
                "data": data,
                "fn_index": draw(st.integers(0, 99) | _short),
                "session_hash": draw(st.sampled_from(SESSIONS)),
            }
            extra = draw(
                st.dictionaries(
                    st.sampled_from(["event_data", "trigger_id", "api_name", "batched"]), _short, max_size=2
                )
            )
            return "/gradio_api/queue/join", body | extra
        case _:
            paths = [
                "queue/data?session_hash=x",
                "file=/etc/passwd",
                "file=../x",
                "info",
                "startup-events",
                "heartbeat",
            ]
            return f"/gradio_api/{draw(st.sampled_from(paths[:5]))}", draw(st.none() | _short)


class Asked:
    """A running page, and how much of its log has been looked at."""

    page: RunningPage | None = None
    seen = 0


@contextmanager
def asked_page(page: RunningPage) -> Iterator[None]:
    """The page that `check_request` asks until the block ends."""
    Asked.page, Asked.seen = page, len(page.log())
    for session in SESSIONS[1:]:  # the first has never opened the page
        _ask(f"{page.url}/gradio_api/run/on_clock", {"data": [], "session_hash": session})
    try:
        yield
        assert _ask(page.url + "/gradio_api/info", None)[0] == 200, "it no longer answers"
    finally:
        Asked.page = None


def check_request(case: tuple[str, Any]) -> None:
    """The page answers whatever it is asked, and its log has no traceback of it."""
    path, body = case
    page = Asked.page
    status, text = _ask(page.url + path, body)
    if status == 200 and "/call/" in path:
        event = json.loads(text)["event_id"]
        _, text = _ask(f"{page.url}{path}/{event}", None)
        assert text.startswith("event: "), text[:200]
    elif status == 200 and path.endswith("join"):
        _ask(f"{page.url}/gradio_api/queue/data?session_hash={body['session_hash']}", None)
    assert "Traceback" not in text
    assert page.process.poll() is None, "the page died"
    log, Asked.seen = page.log()[Asked.seen :], len(page.log())
    assert "Traceback" not in log, log[-3000:]


def _ask(url: str, body: Any) -> tuple[int, str]:
    """The status, and the beginning of the answer."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url.replace(" ", "%20"), data, {"Content-Type": "application/json"})
    try:
        with opener.open(request, timeout=60) as answer:
            return answer.status, answer.read(_MOST_ANSWER).decode(errors="replace")
    except urllib.error.HTTPError as error:
        return error.code, error.read(_MOST_ANSWER).decode(errors="replace")
    except http.client.HTTPException:  # it has hung up, and its log says why
        return 0, ""


_settings = st.tuples(
    st.sampled_from(["multiclass", "binary", "binary"]) | _texts,
    st.sampled_from(["any", "dog", "Person", "TV", "background"]) | _texts,
    st.sampled_from([-1, 0, 0.5, 1]) | _numbers,
    st.sampled_from(["auto", "auto", "auto", SHIPPED, "deeplabv3_resnet50", "/etc/passwd", "x.safetensors"]) | _texts,
)
_coco_settings = st.tuples(
    st.sampled_from(["900001", "160012", "900005"]) | st.integers().map(str) | st.text(max_size=9),
    st.sampled_from(["multiclass", "binary"]) | _texts,
    st.sampled_from(["any", "dog", "TV"]) | _texts,
    st.sampled_from(["original", "torchvision", "report"]) | _texts,
    st.sampled_from(["auto", "auto", SHIPPED, "x.safetensors"]) | _texts,
)
TARGETS = (
    Target("segment", st.tuples(mutated_bytes(example_photographs), _settings), check_segment, smoke=5),
    Target("evaluate", _coco_settings, check_evaluate, smoke=8),
    Target("page", requests(), check_request, uses_page=True, smoke=8),
)
