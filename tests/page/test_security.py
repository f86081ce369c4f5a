"""What the page refuses: other addresses, the server's own files, too much at once, and what it tells browsers."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import urllib.error
import urllib.parse
import urllib.request
import uuid
from pathlib import Path

import pytest

from demo.server import guard
from demo.settings import Limits, Settings
from segcore.imaging import reading
from tests.helpers.files import becomes, files_in
from tests.helpers.misbehaving_server import MisbehavingServer
from tests.helpers.page_client import FILE_DATA, Refused, Visitor
from tests.helpers.page_server import RunningPage, running_page
from tests.helpers.plain_http import ask, ask_json, form, segment, upload
from tests.helpers.samples import DOG, sample

pytestmark = pytest.mark.page

ROOT = Path(__file__).parents[2]
PHOTOGRAPH = sample(DOG)
SECRET = ROOT / "pyproject.toml"


@pytest.fixture(scope="module")
def page(no_downloads, tmp_path_factory):
    """A page with small limits; whatever the tests do, it lives, and its log has no traceback."""
    limits = {"SEGCORE_MAX_MB": "1", "SEGCORE_MAX_MEGAPIXELS": "0.5", "SEGCORE_UPLOAD_SECONDS": "3"}
    own = {"GRADIO_TEMP_DIR": str(tmp_path_factory.mktemp("page")), "GRADIO_ANALYTICS_ENABLED": "True"}
    with running_page(env=limits | own | {"GRADIO_SHARE": "True"}) as running:
        yield running, Path(own["GRADIO_TEMP_DIR"])
        assert running.process.poll() is None
        assert "Traceback" not in running.log()
    assert list(Path(own["GRADIO_TEMP_DIR"]).iterdir()) == [], "all that it wrote goes with it"


@pytest.fixture(scope="module")
def url(page) -> str:
    return page[0].url


@pytest.fixture(scope="module")
def uploads(page) -> Path:
    [folder] = page[1].glob("*/uploads")
    return folder


# ------------------------------------------------------------------------------------------------ limits


def test_limits_are_the_librarys_own_unless_set():
    assert (Limits().max_bytes, Limits().max_pixels) == (reading.MAX_BYTES, reading.MAX_PIXELS)
    assert Limits.read({}) == Limits()
    environment = {
        **{"SEGCORE_MAX_MB": "5", "SEGCORE_MAX_MEGAPIXELS": "1.5", "SEGCORE_UPLOAD_SECONDS": "9"},
        **{"SEGCORE_SCORING_MINUTES": "2", "SEGCORE_KEEP_MINUTES": "10", "SEGCORE_KEEP_MB": "7"},
    }
    assert Settings.read([], environment).limits == Limits(5 * 2**20, 1_500_000, 9, 120, 600, 7_000_000)


@pytest.mark.parametrize("value", ["many", "0", "-1", "nan", "inf"])
def test_limits_errors(value, capsys):
    with pytest.raises(SystemExit):
        Settings.read([], {"SEGCORE_MAX_MB": value})
    assert f"SEGCORE_MAX_MB must be a number above 0, not '{value}'" in capsys.readouterr().err


def test_an_upload_of_too_many_bytes_is_refused_and_nothing_of_it_stays(url, uploads):
    before = files_in(uploads)
    status, said = upload(url, bytes(2**20 + 2**17))
    assert (status, said) == (
        413,
        "This is over the maximum allowed size of 1 MB. Make it smaller, or save it as JPEG, and give it again.",
    )
    assert files_in(uploads) == before
    assert upload(url, bytes(2**20))[0] == 200


def test_many_files_in_one_form_count_together(url, uploads):
    before = files_in(uploads)
    one = form(bytes(600_000))[0].removesuffix(b"--edge--\r\n")
    status, _, said = ask(
        f"{url}/gradio_api/upload", one * 3 + b"--edge--\r\n", Content_Type="multipart/form-data; boundary=edge"
    )
    assert status == 413
    assert "maximum allowed size" in said
    assert files_in(uploads) == before


def test_a_form_without_a_file_takes_no_memory_either(url):
    body = b'--edge\r\nContent-Disposition: form-data; name="text"\r\n\r\n' + bytes(2**21) + b"\r\n--edge--\r\n"
    assert ask(f"{url}/gradio_api/upload", body, Content_Type="multipart/form-data; boundary=edge")[0] == 413


def test_other_requests_are_small(url):
    status, said = ask_json(f"{url}/gradio_api/call/segment", {"data": ["x" * guard.MAX_JSON_BYTES]})
    assert status == 413
    assert "maximum allowed size of 1 MB" in said


def test_a_picture_inside_a_request_is_not_opened(url):
    """Gradio would decode it, by its own limits."""
    said = segment(url, {"url": "data:image/png;base64,iVBORw0KGgo=", "meta": FILE_DATA})
    assert said.startswith("event: error")
    assert "Give an image" in said


def test_a_photograph_of_too_many_pixels_is_refused(url, tmp_path):
    from PIL import Image

    Image.new("L", (1000, 501)).save(tmp_path / "large.png")
    [path] = json.loads(upload(url, (tmp_path / "large.png").read_bytes(), b"large.png")[1])
    said = segment(url, {"path": path, "meta": FILE_DATA})
    assert "large.png is 1000 x 501 = 0.5 megapixels, and 0.5 is the most that is read; make it smaller first" in said


@pytest.mark.parametrize("ending", ["stalls", "is broken off"])
def test_an_upload_that_never_ends_is_ended_and_nothing_of_it_stays(url, uploads, ending):
    before = files_in(uploads)
    address = urllib.parse.urlsplit(url)
    body, kind = form(bytes(200_000))
    with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
        head = f"POST /gradio_api/upload HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Type: {kind}\r\n"
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:150_000])
        assert becomes(lambda: files_in(uploads) > before), "it has begun"
        if ending == "stalls":
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            assert b"The upload took longer than 3 seconds. Make the file smaller." in answer.read()
    assert becomes(lambda: files_in(uploads) == before)


# ------------------------------------------------------------------------------------------------ paths


def paths_to(target: Path, uploads: Path) -> dict[str, str]:
    """The ways in which a path may be spelt."""
    up = "../" * 20
    here = str(uploads)
    return {
        "plain": str(target),
        "upwards": f"{up}{str(target)[1:]}",
        "through the uploads": f"{here}/{up}{str(target)[1:]}",
        "encoded": urllib.parse.quote(str(target), safe=""),
        "encoded twice": urllib.parse.quote(urllib.parse.quote(str(target), safe=""), safe=""),
        "encoded dots": f"{here}/{'%2e%2e/' * 20}{str(target)[1:]}",
        "encoded slashes": f"{here}/{'..%2f' * 20}{str(target)[1:]}",
        "backslashes": f"{here}\\..\\..\\..{target}",
        "double slash": f"/{target}",
        "file URL": f"file://{target}",
        "file URL of a host": f"file://localhost{target}",
        "UNC": f"\\\\127.0.0.1\\c$\\{target.name}",
        "by the process": f"/proc/self/cwd/{target.relative_to(ROOT)}",
        "relative": str(target.relative_to(ROOT)),
        "home": "~/.bashrc",
        "zero byte": f"{target}\0.jpg",
        "too long": f"{here}/{'x' * 5000}",
        "the folder itself": here,
        "its lock": str(uploads.parent / "running.lock"),
    }


WAYS = paths_to(SECRET, Path("/tmp"))


@pytest.mark.parametrize("way", WAYS)
def test_no_file_of_the_server_is_handed_out(url, uploads, way):
    path = paths_to(SECRET, uploads)[way]
    for route in ("gradio_api/file=", "gradio_api/file/", "file=", "static/", "assets/", "svelte/"):
        status, _, text = ask(f"{url}/{route}{urllib.parse.quote(path, safe='/%')}")
        assert status >= 400, (route, path)
        assert "setuptools" not in text


@pytest.mark.parametrize("way", WAYS)
def test_no_file_of_the_server_is_read(url, uploads, way):
    path = paths_to(SECRET, uploads)[way]
    for payload in (path, {"path": path}, {"path": path, "meta": FILE_DATA}, [{"path": path, "meta": FILE_DATA}]):
        said = segment(url, payload)
        assert said.startswith("event: error"), payload
        assert "setuptools" not in said


@pytest.mark.parametrize(
    "payload",
    [
        {"path": {"path": str(PHOTOGRAPH), "meta": FILE_DATA}, "meta": FILE_DATA},
        {"path": [str(PHOTOGRAPH)], "meta": FILE_DATA},
        {"path": "", "meta": FILE_DATA},
        {"path": 1, "meta": FILE_DATA},
        {"path": None, "url": None, "meta": FILE_DATA},
        {"path": "photo.jpg", "is_stream": True, "meta": FILE_DATA},
        {"image": {"path": str(PHOTOGRAPH), "meta": FILE_DATA}, "caption": None},
        [[{"path": str(PHOTOGRAPH), "meta": FILE_DATA}]],
        {"video": {"path": str(PHOTOGRAPH), "meta": FILE_DATA}},
        {"orig_name": str(PHOTOGRAPH), "meta": FILE_DATA},
        {"__type__": "update", "value": {"path": str(PHOTOGRAPH), "meta": FILE_DATA}},
    ],
    ids=str,
)
def test_no_payload_leads_to_a_file(url, payload):
    assert segment(url, payload).startswith("event: error")


def test_a_link_among_the_uploads_leads_nowhere(url, uploads):
    link = uploads / "link.jpg"
    link.symlink_to(PHOTOGRAPH)
    try:
        assert segment(url, {"path": str(link), "meta": FILE_DATA}).startswith("event: error")
        assert ask(f"{url}/gradio_api/file={link}")[0] == 403
    finally:
        link.unlink()


def names() -> dict[str, bytes]:
    return {
        "upwards": b"../../x.jpg",
        "absolute": b"/etc/cron.d/x",
        "backslashes": b"..\\\\..\\\\x.jpg",
        "dots": b"..",
        "device": b"con.png",
        "long": b"x" * 4000 + b".jpg",
        "long ending": b"x." + b"j" * 4000,
        "zero byte": b"a\0b.jpg",
        "newline": b"a\\nb.jpg",
        "unicode": "\u202egpj.exe \U0001f600".encode(),
        "broken unicode": b"\xff\xfe.jpg",
        "stream": b"photo.jpg:stream",
        "nothing": b"",
    }


@pytest.mark.parametrize("name", list(names().values()), ids=list(names()))
def test_no_file_name_leads_out_of_the_folder(url, page, uploads, name):
    folder = page[1]
    outside = files_in(folder) - files_in(uploads)
    status, said = upload(url, uuid.uuid4().bytes, name)
    assert status in (200, 400), said
    assert files_in(folder) - files_in(uploads) == outside
    for path in json.loads(said) if status == 200 else []:
        assert Path(path).resolve().is_relative_to(uploads)
        assert len(Path(path).name.encode()) <= 255


def test_nothing_that_a_visitor_gave_runs_in_the_browser(url):
    for name, content in ((b"x.html", b"<script>1</script>"), (b"x.svg", b"<svg onload='1'/>"), (b"x.xml", b"<x/>")):
        [path] = json.loads(upload(url, content, name)[1])
        status, headers, _ = ask(f"{url}/gradio_api/file={path}")
        assert (status, headers["Content-Type"]) == (200, "application/octet-stream")
        assert headers["Content-Disposition"].startswith("attachment")
        assert headers["X-Content-Type-Options"] == "nosniff"


def test_the_page_does_not_tell_where_it_lies(url):
    for path in ("/", "/config", "/gradio_api/info", "/gradio_api/openapi.json", "/gradio_api/startup-events"):
        status, _, text = ask(url + path)
        assert status == 200
        assert str(ROOT) not in text, path
        assert str(Path.home()) + "/" not in text, path


# ------------------------------------------------------------------------------------------------ addresses


@pytest.fixture(scope="module")
def elsewhere():
    """Another server on this machine, which must never hear of the page."""
    with MisbehavingServer({"/photo.jpg": PHOTOGRAPH.read_bytes()}) as server:
        yield server


@pytest.mark.parametrize("spelling", ["{}", " {}", "http:{}", "HTTP:{}", "{}?x", "https:{}", "ftp:{}"])
def test_no_route_asks_another_server(url, elsewhere, spelling):
    host = elsewhere.url.removeprefix("http:")
    target = spelling.format(host if ":{" in spelling else elsewhere.url) + "/photo.jpg"
    for route in ("file=", "file/", "proxy=", "stream/"):
        status, _, text = ask(f"{url}/gradio_api/{route}{urllib.parse.quote(target, safe=':/?')}")
        assert status >= 400, route
    assert segment(url, {"path": target, "url": target, "meta": FILE_DATA}).startswith("event: error")
    assert elsewhere.requests == []


@pytest.mark.parametrize("start", guard.CLOSED)
def test_routes_that_the_page_does_not_need_are_closed(url, start):
    for method in (None, b"{}"):
        assert ask(url + start, method)[0] == 404
        assert ask(f"{url}{start}x", method)[0] == 404


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("run/predict", b'{"data": []}'),
        ("queue/join", b'{"data": [], "fn_index": 2147483648, "session_hash": "x"}'),
        ("queue/join", b'{"data": [NaN], "fn_index": "x"}'),
        ("queue/join", rb'{"data": ["\ud800"], "fn_index": "x"}'),
        ("queue/join", b'{"data": {}, "fn_index": {}, "trigger_id": "x"}'),
        ("call/segment", b'{"data": Infinity}'),
    ],
)
def test_requests_that_make_no_sense_are_answered(url, path, body):
    """And leave no traceback in the log, as all of these tests."""
    status, _, said = ask(f"{url}/gradio_api/{path}", body, Content_Type="application/json")
    assert status in (400, 422)
    assert said


def test_what_the_browser_does_by_itself_is_refused(url):
    visitor = Visitor(url)
    event = next(each for each in visitor.config()["dependencies"] if not each["backend_fn"])
    with pytest.raises(Refused, match="An input is missing or of the wrong kind"):
        visitor.trigger(event, [None])
    visitor.close()


@pytest.mark.parametrize(
    "task", [["ternary", "any", True, 0.5], ["binary", "unicorn", True, 0.5], ["binary", "any", False, 7]]
)
def test_what_no_control_says_is_refused(url, task):
    visitor = Visitor(url)
    with pytest.raises(Refused, match="An input is missing or of the wrong kind"):
        visitor.viewer(visitor.events(), *task)
    visitor.close()


@pytest.mark.parametrize("several", [[], [[]], ["own:samples"]])
def test_several_where_one_is_to_be_chosen_are_refused(url, several):
    visitor = Visitor(url)
    with pytest.raises(Refused, match="An input is missing or of the wrong kind"):
        visitor.trigger(visitor.events()["on_sources"], [several])
    visitor.close()


def test_errors_of_our_own_are_not_taken_for_nonsense():
    async def broken(*_):
        Limits.read({"SEGCORE_MAX_MB": "x"})

    async def ended(*_):
        raise OSError("disk full")

    for app, error in ((broken, ValueError), (ended, OSError)):
        with pytest.raises(error):
            asyncio.run(guard.Sense(app)({"type": "http", "path": "/"}, None, None))


# What the page and its clients use of Gradio's routes, in the version that it was made with.
OPEN = {
    *("/", "/openapi.json", "/config", "/theme.css", "/robots.txt", "/manifest.json", "/favicon.ico"),
    *("/svelte/", "/static/", "/assets/"),
    *(
        f"/gradio_api/{name}"
        for name in (
            *("info", "openapi.json", "user", "login_check", "app_id", "theme.css", "startup-events", "heartbeat/"),
            *("run/", "api/", "call/", "queue/join", "queue/data", "queue/status", "cancel", "reset"),
            *("upload", "upload_progress", "file=", "file/"),
        )
    ),
}


def test_every_route_of_the_server_is_known():
    """An update of Gradio that brings a route has to say whether the page needs it."""
    import gradio as gr
    from gradio.routes import App

    def known(path: str) -> bool:
        return path.startswith(guard.CLOSED) or any(
            path.startswith(each) if each.endswith(("/", "=")) and each != "/" else path == each for each in OPEN
        )

    with gr.Blocks() as blocks:
        pass
    routes = {path.rstrip("/") or "/" for path in all_paths(App.create_app(blocks).routes)}
    assert len(routes) > 30
    assert {path for path in routes if not known(path) and not known(path + "/")} == set()


def all_paths(routes) -> set[str]:
    """The paths of all routes, those in routers among them."""
    found = set()
    for route in routes:
        if path := getattr(route, "path", None):
            found.add(path)
        found |= all_paths(getattr(getattr(route, "original_router", route), "routes", ()))
    return found


# ------------------------------------------------------------------------------------------------ browsers


def test_headers_say_what_browsers_may_do(url):
    for path in ("/", "/config", "/gradio_api/info", "/gradio_api/file=/nowhere", "/nowhere", "/monitoring"):
        _, headers, _ = ask(url + path)
        policy = dict(each.split(" ", 1) for each in headers["Content-Security-Policy"].split("; "))
        assert policy["default-src"] == "'self'"
        assert policy["object-src"] == "'none'"
        assert "https://huggingface.co" in policy["frame-ancestors"].split()
        assert not any("http" in sources for name, sources in policy.items() if name != "frame-ancestors")
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "same-origin"


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1.evil.example", "http://[::2]"])
def test_other_sites_cannot_use_a_page_on_loopback(url, origin):
    status, headers, said = ask(url, Origin=origin)
    assert (status, headers["Access-Control-Allow-Origin"]) == (403, None)
    assert "SEGCORE_HOSTS" in said
    body, kind = form(b"x")
    assert ask(f"{url}/gradio_api/upload", body, Content_Type=kind, Origin=origin)[0] == 403
    assert ask_json(f"{url}/gradio_api/call/segment", {"data": []}, Origin=origin)[0] == 403


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "[::1]", "127.0.0.2"])
def test_other_programs_of_this_machine_cannot_use_the_page(url, name):
    port = urllib.parse.urlsplit(url).port
    for origin in (f"http://{name}:{port + 1}", f"http://{name}"):
        status, _, said = ask(url, Origin=origin)
        assert status == 403 and said.startswith("This page does not answer to")
        assert ask_json(f"{url}/gradio_api/call/segment", {"data": []}, Origin=origin)[0] == 403


@pytest.mark.parametrize("host", ["evil.example", "evil.example:7860", "127.0.0.1.evil.example", "localhost.evil"])
def test_a_name_that_leads_to_loopback_is_not_answered(url, host):
    assert ask(url, Host=host)[0] == 403


def test_the_loopbacks_own_names_are_answered(url):
    port = urllib.parse.urlsplit(url).port
    for name in ("localhost", "127.0.0.1", "[::1]", "LOCALHOST"):
        assert ask(url, Host=f"{name}:{port}", Origin=f"http://{name}:{port}")[0] == 200


@pytest.mark.parametrize(
    ("environment", "hosts"),
    [
        ({}, {"localhost", "127.0.0.1", "::1"}),
        ({"GRADIO_SERVER_NAME": "127.0.0.2"}, {"localhost", "127.0.0.1", "127.0.0.2", "::1"}),
        ({"GRADIO_SERVER_NAME": "0.0.0.0"}, None),
        ({"SEGCORE_HOSTS": "Example.org, b"}, {"localhost", "127.0.0.1", "::1", "example.org", "b"}),
        ({"SEGCORE_HOSTS": "*"}, None),
        ({"SEGCORE_HOSTS": "example.org", "GRADIO_SERVER_NAME": "0.0.0.0"},
         {"localhost", "127.0.0.1", "::1", "example.org", "0.0.0.0"}),
    ],
    ids=lambda each: str(each) if isinstance(each, dict) else "",
)  # fmt: skip
def test_names_by_which_the_page_may_be_called(environment, hosts):
    assert Settings.read([], environment).hosts == hosts


def test_nothing_is_shared_or_counted_whatever_the_environment_says(page):
    running: RunningPage = page[0]
    assert "public URL" not in running.log()
    text = ask(f"{running.url}/config")[2]
    assert json.loads(text)["analytics_enabled"] is False
