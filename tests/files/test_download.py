"""fetch() against a server that errs: whatever happens, the file is right or not there."""

from __future__ import annotations

import hashlib
import http.client
import io
import os
import random
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from segcore.errors import Cancelled, DownloadError, NoRoomError, UsageError
from segcore.files import download, requests
from segcore.files.download import fetch
from tests.helpers.misbehaving_server import MisbehavingServer, Twist

CONTENT = random.Random(0).randbytes(300_000)
OTHER = random.Random(1).randbytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
CUT = Twist(cut_after=100_000)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def pauses(monkeypatch):
    """No waiting between attempts; what was to be waited is (failures, seconds that the server asked for)."""
    asked = []
    monkeypatch.setattr(download, "_delay", lambda *arguments: asked.append(arguments) or 0.0)
    return asked


@pytest.fixture
def target(tmp_path):
    return tmp_path / "new" / "folder" / "weights.pth"


def serve(behaviour=(), content=CONTENT):
    return MisbehavingServer({"/weights.pth": content}, behaviour)


def ranges(server):
    return [seen.headers.get("range") for seen in server.requests]


def leftovers(target):
    return sorted(each.name for each in target.parent.iterdir() if each != target)


def failure(server, target, **options):
    with pytest.raises(DownloadError) as caught:
        fetch(f"{server.url}/weights.pth", target, **options)
    return str(caught.value)


def test_a_good_download_leaves_the_file_and_nothing_else(target):
    calls = []
    with serve() as server:
        got = fetch(
            f"{server.url}/weights.pth",
            str(target),
            sha256_prefix=SHA256[:8].upper(),
            expected_bytes=len(CONTENT),
            progress=lambda *call: calls.append(call),
        )
    assert got == target and target.read_bytes() == CONTENT
    assert leftovers(target) == []
    done = [each for each, _ in calls]
    assert done == sorted(done) and calls[-1] == (len(CONTENT), len(CONTENT))


def test_an_empty_file_is_a_file(target):
    with serve(content=b"") as server:
        assert fetch(f"{server.url}/weights.pth", target).read_bytes() == b""


@pytest.mark.parametrize("options", [{}, {"sha256_prefix": SHA256[:8]}, {"expected_bytes": len(CONTENT)}])
def test_a_good_file_is_not_fetched_again(target, options):
    target.parent.mkdir(parents=True)
    target.write_bytes(CONTENT)
    with serve() as server:
        assert fetch(f"{server.url}/weights.pth", target, **options) == target
        assert server.requests == []


@pytest.mark.parametrize("options", [{"sha256_prefix": SHA256[:8]}, {"expected_bytes": len(CONTENT)}])
def test_a_bad_file_is_fetched_again_and_the_reason_is_told(target, options, caplog):
    target.parent.mkdir(parents=True)
    target.write_bytes(b"an error page")
    with serve() as server:
        fetch(f"{server.url}/weights.pth", target, **options)
    assert target.read_bytes() == CONTENT
    assert "weights.pth has" in caplog.text and "fetching it again" in caplog.text


def test_a_cut_connection_is_resumed(target, pauses):
    with serve([CUT, CUT]) as server:
        fetch(f"{server.url}/weights.pth", target)
        assert ranges(server) == [None, "bytes=100000-", "bytes=200000-"]
        assert server.requests[1].headers["if-range"].startswith('"')
    assert target.read_bytes() == CONTENT and leftovers(target) == []


def test_a_connection_that_always_breaks_finishes_as_long_as_it_gets_further(target, pauses):
    with serve(Twist(cut_after=10_000)) as server:
        fetch(f"{server.url}/weights.pth", target, attempts=2)
        assert len(server.requests) == 30
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("validator", [{}, {"ETag": None, "Last-Modified": "Sat, 22 Nov 2025 10:00:00 GMT"}])
def test_what_arrived_is_resumed_by_the_next_call(target, pauses, validator):
    with serve([Twist(cut_after=100_000, headers=validator), Twist(headers=validator)]) as server:
        message = failure(server, target, attempts=1)
        assert "100,000" in message and "resume" in message
        assert not target.exists()
        fetch(f"{server.url}/weights.pth", target)
        assert ranges(server) == [None, "bytes=100000-"]
    assert target.read_bytes() == CONTENT


def test_a_complete_part_is_only_checked(target, monkeypatch):
    def cannot(*_):
        raise PermissionError(13, "the file is in use")

    with serve() as server:
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", cannot)
            assert "no permission" in failure(server, target, sha256_prefix=SHA256)
        fetch(f"{server.url}/weights.pth", target, sha256_prefix=SHA256)
        assert len(server.requests) == 1
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_without_a_way_to_know_the_version_only_a_hash_allows_resuming(target, pauses, etag):
    twists = [Twist(headers={"ETag": etag}, cut_after=100_000), Twist(headers={"ETag": etag})]
    with serve(twists) as server:
        fetch(f"{server.url}/weights.pth", target)
        assert ranges(server) == [None, None]
    target.unlink()
    with serve(twists) as server:
        fetch(f"{server.url}/weights.pth", target, sha256_prefix=SHA256)
        assert ranges(server) == [None, "bytes=100000-"]
    assert target.read_bytes() == CONTENT


def test_a_part_of_another_address_is_not_continued(target, pauses):
    with serve([CUT]) as server:
        server.files["/other"] = OTHER
        failure(server, target, attempts=1)
        fetch(f"{server.url}/other", target)
        assert ranges(server) == [None, None]
    assert target.read_bytes() == OTHER


@pytest.mark.parametrize("note", [None, b"", b'{"url": "htt'])
def test_a_part_with_no_readable_note_is_not_continued(target, pauses, note):
    with serve([CUT]) as server:
        failure(server, target, attempts=1)
        path = target.with_name("weights.pth.part.json")
        path.unlink() if note is None else path.write_bytes(note)
        fetch(f"{server.url}/weights.pth", target)
        assert ranges(server) == [None, None]
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("careless", [{}, {"ignore_if_range": True}, {"ignore_range": True}])
@pytest.mark.parametrize("size", [300_000, 250_000, 50_000])
def test_a_file_changed_in_between_is_never_spliced(target, pauses, careless, size):
    with serve([CUT, Twist(**careless)]) as server:
        failure(server, target, attempts=1)
        server.files["/weights.pth"] = OTHER[:size]
        fetch(f"{server.url}/weights.pth", target)
    assert target.read_bytes() == OTHER[:size]


def test_a_server_without_versions_that_changes_its_length_is_noticed(target, pauses):
    nameless = {"ETag": None}
    with serve([Twist(cut_after=100_000, headers=nameless), Twist(headers=nameless)]) as server:
        failure(server, target, attempts=1, sha256_prefix=hashlib.sha256(OTHER[:250_000]).hexdigest())
        server.files["/weights.pth"] = OTHER[:250_000]
        fetch(f"{server.url}/weights.pth", target, sha256_prefix=hashlib.sha256(OTHER[:250_000]).hexdigest())
        assert ranges(server) == [None, "bytes=100000-", None]
    assert target.read_bytes() == OTHER[:250_000]


def test_a_server_that_ignores_ranges_starts_over_and_is_not_asked_for_ever(target, pauses):
    with serve([CUT, Twist(ignore_range=True)]) as server:
        fetch(f"{server.url}/weights.pth", target)
        assert ranges(server) == [None, "bytes=100000-"]
    assert target.read_bytes() == CONTENT
    target.unlink()
    with serve(Twist(cut_after=100_000, ignore_range=True)) as server:
        assert "100,000 of 300,000" in failure(server, target, attempts=3)
        assert len(server.requests) == 3  # the first brought something, the others nothing new


@pytest.mark.parametrize(
    "answer", [None, "bytes 0-299999/300000", "bytes 100001-299999/300000", "bytes 100000-299999/300001", "?"]
)
def test_a_wrong_content_range_is_not_believed(target, pauses, answer):
    with serve([CUT, Twist(headers={"Content-Range": answer})]) as server:
        fetch(f"{server.url}/weights.pth", target)
        assert ranges(server) == [None, "bytes=100000-", None]
    assert target.read_bytes() == CONTENT


def test_a_range_that_nobody_asked_for_is_not_believed(target, pauses):
    with serve([Twist(status=206, headers={"Content-Range": "bytes 0-99/100"})]) as server:
        fetch(f"{server.url}/weights.pth", target)
    assert target.read_bytes() == CONTENT


def test_a_length_that_promises_more_than_comes(target, pauses):
    lie = Twist(headers={"Content-Length": "400000"})
    with serve([lie]) as server:
        fetch(f"{server.url}/weights.pth", target)
        assert ranges(server) == [None, "bytes=300000-", None]  # answered by 416 in between
    assert target.read_bytes() == CONTENT
    target.unlink()
    with serve(lie) as server:
        failure(server, target)
    assert not target.exists()


@pytest.mark.parametrize("known", [{"sha256_prefix": SHA256}, {"expected_bytes": len(CONTENT)}])
def test_a_length_that_promises_less_than_the_file(target, pauses, known):
    lie = Twist(headers={"Content-Length": "200000"})
    with serve([lie]) as server:
        fetch(f"{server.url}/weights.pth", target, **known)
    assert target.read_bytes() == CONTENT
    target.unlink()
    with serve(lie) as server:
        failure(server, target, **known)
    assert not target.exists()


def test_a_body_of_unknown_length(target, pauses):
    calls = []
    with serve(Twist(chunked=True)) as server:
        fetch(f"{server.url}/weights.pth", target, progress=lambda *call: calls.append(call))
    assert target.read_bytes() == CONTENT and calls[-1] == (len(CONTENT), None)
    target.unlink()
    with serve([Twist(chunked=True, cut_after=100_000)]) as server:
        fetch(f"{server.url}/weights.pth", target)
        assert ranges(server) == [None, "bytes=100000-"]
    assert target.read_bytes() == CONTENT


def test_a_body_longer_than_the_file(target, pauses):
    longer = Twist(chunked=True, body=CONTENT + b"and an advertisement")
    with serve([longer]) as server:
        fetch(f"{server.url}/weights.pth", target, expected_bytes=len(CONTENT))
    assert target.read_bytes() == CONTENT
    target.unlink()
    with serve(longer) as server:
        assert "more than" in failure(server, target, expected_bytes=len(CONTENT))
    assert not target.exists()


def test_wrong_bytes_are_tried_once_more_from_the_start(target, pauses):
    with serve([Twist(body=OTHER)]) as server:
        fetch(f"{server.url}/weights.pth", target, sha256_prefix=SHA256)
        assert ranges(server) == [None, None]
    assert target.read_bytes() == CONTENT


def test_a_resumed_part_of_other_bytes_does_not_stand_in_the_way(target, pauses):
    with serve([Twist(body=OTHER, cut_after=100_000)]) as server:
        fetch(f"{server.url}/weights.pth", target, sha256_prefix=SHA256)
        assert ranges(server) == [None, "bytes=100000-", None]
    assert target.read_bytes() == CONTENT


def test_bytes_that_stay_wrong_are_refused_with_both_hashes(target, pauses):
    with serve(Twist(body=OTHER)) as server:
        message = failure(server, target, sha256_prefix=SHA256[:8])
        assert len(server.requests) == 2
    assert SHA256[:8] in message and hashlib.sha256(OTHER).hexdigest() in message and "nothing" in message
    assert list(target.parent.iterdir()) == []


def test_an_old_file_stays_when_its_replacement_fails(target, pauses):
    target.parent.mkdir(parents=True)
    target.write_bytes(b"version 1")
    with serve(Twist(body=OTHER)) as server:
        failure(server, target, sha256_prefix=SHA256)
    assert target.read_bytes() == b"version 1"


def test_a_stall_ends_by_the_timeout_and_is_resumed(target, pauses):
    with serve([Twist(stall_after=100_000)]) as server:
        fetch(f"{server.url}/weights.pth", target, timeout=0.3)
        assert ranges(server) == [None, "bytes=100000-"]
    assert target.read_bytes() == CONTENT


def test_a_server_that_never_answers(target, pauses):
    with serve(Twist(stall_after=0)) as server:
        assert "nothing came" in failure(server, target, timeout=0.1, attempts=2)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_server_in_trouble_is_asked_again(target, pauses, status):
    with serve([Twist(status=status), Twist(status=status)]) as server:
        fetch(f"{server.url}/weights.pth", target)
        assert len(server.requests) == 3
    assert target.read_bytes() == CONTENT and [failures for failures, _ in pauses] == [1, 2]


def test_a_server_that_stays_in_trouble(target, pauses):
    with serve(Twist(status=503)) as server:
        assert "503 Service Unavailable" in failure(server, target, attempts=3)
        assert len(server.requests) == 3


@pytest.mark.slow
def test_retry_after_is_obeyed(target):
    with serve([Twist(status=429, headers={"Retry-After": "1"})]) as server:
        begin = time.monotonic()
        fetch(f"{server.url}/weights.pth", target)
    assert 1.0 <= time.monotonic() - begin < 3.0


def test_retry_after_in_words_or_in_days_does_not_hold_up(target, pauses):
    with serve([Twist(status=503, headers={"Retry-After": "soon"})]) as server:
        fetch(f"{server.url}/weights.pth", target)
    assert pauses == [(1, 0.0)]


def test_pauses_grow_and_end():
    delay = download._delay
    assert 0.3 < delay(1, 0.0) < 0.7 < delay(2, 0.0) < 1.3 < delay(3, 0.0) < 2.6 and delay(40, 0.0) < 40
    assert delay(1, 7.0) == 7.0 and delay(1, 86_400.0) == download.LONGEST_PAUSE


@pytest.mark.parametrize(("status", "words"), [(404, "404 Not Found"), (403, "403 Forbidden"), (416, "416")])
def test_a_refusal_is_final(target, pauses, status, words):
    with serve(Twist(status=status)) as server:
        message = failure(server, target)
        assert words in message and server.url in message
        assert len(server.requests) == 1
    assert not target.exists()


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_followed(target, status):
    with serve() as server:
        server.behaviour = [Twist(status=status, headers={"Location": f"{server.url}/weights.pth"})]
        fetch(f"{server.url}/moved", target)
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://127.0.0.1/weights.pth", "data:,weights"])
def test_a_redirect_may_not_leave_http(target, location):
    with serve(Twist(status=302, headers={"Location": location})) as server:
        assert location in failure(server, target) or "302" in failure(server, target)
    assert not target.exists()


def test_a_redirect_may_not_drop_encryption():
    request = urllib.request.Request("https://example.org/weights.pth")
    with pytest.raises(DownloadError, match="not encrypted"):
        requests._Redirects().redirect_request(request, None, 302, "Found", {}, "http://example.org/weights.pth")


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://a/b",
        "data:,a",
        "weights.pth",
        "",
        "http://",
        "http://a/b c",
        "http://a:b/",
    ],
)
def test_other_addresses_are_refused(target, pauses, url):
    with pytest.raises(DownloadError, match="give an http://"):
        fetch(url, target)


@pytest.mark.parametrize("prefix", ["", "12ab", "not a hash", SHA256 + "0"])
def test_an_impossible_hash_is_refused(target, prefix):
    with pytest.raises(UsageError, match="hex digits"):
        fetch("http://127.0.0.1/", target, sha256_prefix=prefix)


def test_a_refused_connection(target, pauses):
    with serve() as server:
        pass
    assert "refuses the connection" in failure(server, target, attempts=2)
    assert len(pauses) == 1


def test_offline(target, pauses, monkeypatch):
    def no_answer(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with serve([CUT]) as server:
        failure(server, target, attempts=1)
        monkeypatch.setattr(socket, "getaddrinfo", no_answer)
        message = failure(server, target)
    assert server.url in message and "online?" in message and "resume from 100,000" in message


def test_an_untrusted_certificate_is_final(target, pauses, monkeypatch):
    def refuse(_):
        error = ssl.SSLCertVerificationError(1, "certificate verify failed")
        error.verify_message = "self-signed certificate"
        raise error

    monkeypatch.setattr(http.client.HTTPSConnection, "connect", refuse)
    with pytest.raises(DownloadError, match="self-signed certificate"):
        fetch("https://127.0.0.1/weights.pth", target)
    assert pauses == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, which only Linux has")
def test_a_full_disk(target):
    target.parent.mkdir(parents=True)
    target.with_name("weights.pth.part").symlink_to("/dev/full")
    with serve() as server:
        with pytest.raises(NoRoomError) as caught:
            fetch(f"{server.url}/weights.pth", target)
    assert "disk is full" in str(caught.value) and str(target) in str(caught.value)


def test_a_file_system_that_takes_only_some_of_the_bytes(target, monkeypatch):
    class Reluctant(io.FileIO):
        def write(self, data):
            return super().write(data[:1000])

    def reluctant_open(path, mode, **options):
        return Reluctant(path, mode) if "a" in mode else open(path, mode, **options)

    monkeypatch.setattr(download, "open", reluctant_open, raising=False)
    with serve() as server:
        fetch(f"{server.url}/weights.pth", target)
    assert target.read_bytes() == CONTENT


def test_a_folder_that_may_not_be_written(target, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with serve() as server:
        message = failure(server, target)
    assert "no permission" in message and str(target.parent) in message


def test_a_lock_file_that_another_user_owns_is_left(target, monkeypatch):
    unlink = Path.unlink

    def refuse(path, **options):
        if path.suffix == ".lock":
            raise PermissionError(1, "Operation not permitted")
        unlink(path, **options)

    monkeypatch.setattr(Path, "unlink", refuse)
    with serve() as server:
        fetch(f"{server.url}/weights.pth", target)
    assert target.read_bytes() == CONTENT


def test_a_file_in_the_place_of_the_folder_and_the_reverse(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with serve() as server:
        assert "cannot write" in failure(server, tmp_path / "file" / "weights.pth")
        assert "is a folder" in failure(server, tmp_path)


def test_cancel_midway_then_resume(target):
    cancel = threading.Event()
    with serve([Twist(pause=0.02)]) as server:
        with pytest.raises(Cancelled, match="resume from"):
            fetch(f"{server.url}/weights.pth", target, cancel=cancel, progress=lambda *_: cancel.set())
        assert not target.exists()
        fetch(f"{server.url}/weights.pth", target)
        assert server.requests[1].headers["range"].startswith("bytes=")
    assert target.read_bytes() == CONTENT


def test_cancel_before_and_during_a_pause(target):
    cancel = threading.Event()
    with serve(Twist(status=429, headers={"Retry-After": "60"})) as server:
        timer = threading.Timer(0.2, cancel.set)
        timer.start()
        begin = time.monotonic()
        with pytest.raises(Cancelled):
            fetch(f"{server.url}/weights.pth", target, cancel=cancel)
        assert time.monotonic() - begin < 5
        with pytest.raises(Cancelled):
            fetch(f"{server.url}/weights.pth", target, cancel=cancel)
        assert len(server.requests) == 1


def test_two_at_once_fetch_it_once(target):
    with serve(Twist(pause=0.01)) as server, ThreadPoolExecutor(4) as pool:
        url = f"{server.url}/weights.pth"
        got = list(pool.map(lambda _: fetch(url, target), range(4)))
        assert got == [target] * 4 and len(server.requests) == 1
    assert target.read_bytes() == CONTENT and leftovers(target) == []


@pytest.mark.slow
def test_who_waits_for_another_can_be_cancelled(target):
    begun, cancel_first, cancel_second = threading.Event(), threading.Event(), threading.Event()
    with serve(Twist(pause=0.05)) as server, ThreadPoolExecutor(1) as pool:
        url = f"{server.url}/weights.pth"
        first = pool.submit(fetch, url, target, cancel=cancel_first, progress=lambda *_: begun.set())
        assert begun.wait(5)
        cancel_second.set()
        with pytest.raises(Cancelled, match="another process"):
            fetch(url, target, cancel=cancel_second)
        assert first.result() == target
    assert target.read_bytes() == CONTENT


def test_a_killed_process_leaves_something_to_resume_and_no_lock(target):
    code = "import sys; from segcore.files.download import fetch; fetch(sys.argv[1], sys.argv[2])"
    part = target.with_name("weights.pth.part")
    with serve([Twist(stall_after=100_000)]) as server:
        url = f"{server.url}/weights.pth"
        process = subprocess.Popen([sys.executable, "-c", code, url, target], cwd=Path(__file__).parents[2])
        try:
            deadline = time.monotonic() + 60
            while not (part.exists() and part.stat().st_size == 100_000) and time.monotonic() < deadline:
                time.sleep(0.01)
        finally:
            process.kill()
            process.wait()
        assert not target.exists()
        fetch(url, target)
        assert ranges(server) == [None, "bytes=100000-"]
    assert target.read_bytes() == CONTENT and leftovers(target) == []
