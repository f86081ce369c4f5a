"""One HTTP request: its checks, and its failures as clear messages."""

from __future__ import annotations

import functools
import http.client
import re
import socket
import ssl
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit

from ..errors import DownloadError

CHUNK = 1 << 20


def read_body(response: http.client.HTTPResponse, url: str, timeout: float) -> bytes:
    try:
        return response.read1(CHUNK)  # returns what has arrived, so a slow link does not delay progress and cancelling
    except (OSError, http.client.HTTPException) as error:
        raise TryAgain(in_words(error, url, timeout)) from error


def open_url(url: str, headers: dict[str, str], timeout: float) -> http.client.HTTPResponse:
    request = urllib.request.Request(url, headers=headers)
    try:
        return _opener().open(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        with error:
            reason = f"the server answered {error.code} {error.reason}"
            asked = error.headers.get("Retry-After", "")
        if error.code in (408, 425, 429) or error.code >= 500:
            raise TryAgain(reason, pause=float(asked) if asked.isdecimal() else 0.0) from None
        if error.code == 416 and "Range" in headers:
            raise TryAgain(reason, stale=True) from None
        raise DownloadError(f"cannot fetch {url}: {reason}; check the address", error.code) from None
    except (OSError, http.client.HTTPException) as error:
        cause = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(cause, ssl.SSLCertVerificationError):
            advice = "check this computer's clock and its certificates"
            raise DownloadError(f"cannot fetch {url} safely: {cause.verify_message}; {advice}") from error
        raise TryAgain(in_words(cause, url, timeout)) from error


class _Redirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, request: urllib.request.Request, fp: Any, code: int, message: str, headers: Any, url: str
    ) -> urllib.request.Request | None:
        check_url(url)
        if urlsplit(request.full_url).scheme == "https" and urlsplit(url).scheme == "http":
            raise DownloadError(f"{request.full_url} leads to {url}, which is not encrypted: refused")
        return super().redirect_request(request, fp, code, message, headers, url)


@functools.cache  # from Python 3.12 on, each opener reads all certificates
def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(_Redirects)


def check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good or re.search("[^!-~]", url):
        raise DownloadError(f"cannot fetch {url!r}: give an http:// or https:// address without spaces")


def in_words(cause: object, url: str, timeout: float) -> str:
    host = urlsplit(url).hostname
    if isinstance(cause, socket.gaierror):
        return f"the name {host} cannot be looked up (is this computer online?)"
    if isinstance(cause, TimeoutError):
        return f"nothing came from {host} for {timeout:g} s"
    if isinstance(cause, ConnectionRefusedError):
        return f"{host} refuses the connection"
    return f"the connection to {host} failed ({cause or type(cause).__name__})"


class TryAgain(Exception):
    """A temporary failure. stale: the partial file must not be resumed. pause: seconds that the server asked for."""

    def __init__(self, reason: str, *, stale: bool = False, pause: float = 0.0):
        super().__init__(reason)
        self.stale, self.pause = stale, pause
