"""Requests to a running page as they are, whatever it answers."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request

from tests.helpers.page_client import API, SEGMENT

HEARTBEAT = "event: heartbeat\ndata: null\n\n"  # while an answer takes long, as on a busy machine
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def ask(url: str, data: bytes | None = None, **headers: str) -> tuple[int, http.client.HTTPMessage, str]:
    """One request, as it is: status, headers and text of the answer, whatever the status."""
    request = urllib.request.Request(url, data, {name.replace("_", "-"): text for name, text in headers.items()})
    try:
        with _direct.open(request, timeout=30) as answer:
            return answer.status, answer.headers, answer.read().decode(errors="replace")
    except urllib.error.HTTPError as answer:
        with answer:
            return answer.status, answer.headers, answer.read().decode(errors="replace")


def ask_json(url: str, body: object, **headers: str) -> tuple[int, str]:
    status, _, text = ask(url, json.dumps(body).encode(), Content_Type="application/json", **headers)
    return status, text


def form(content: bytes, name: bytes = b"photo.jpg", field: bytes = b"files") -> tuple[bytes, str]:
    """A form with one file, as browsers send it, and its content type."""
    head = b'--edge\r\nContent-Disposition: form-data; name="%s"; filename="%s"\r\n\r\n' % (field, name)
    return head + content + b"\r\n--edge--\r\n", "multipart/form-data; boundary=edge"


def upload(url: str, content: bytes, name: bytes = b"photo.jpg") -> tuple[int, str]:
    body, kind = form(content, name)
    status, _, text = ask(f"{url}{API}/upload", body, Content_Type=kind)
    return status, text


def call(url: str, data: list, endpoint: str = "segment") -> str:
    """What an endpoint says in the end: "event: ..." and its data."""
    status, text = ask_json(f"{url}{API}/call/{endpoint}", {"data": data})
    if status != 200:
        return text
    return ask(f"{url}{API}/call/{endpoint}/{json.loads(text)['event_id']}")[2].replace(HEARTBEAT, "")


def segment(url: str, photograph: object) -> str:
    return call(url, [photograph, *SEGMENT])
