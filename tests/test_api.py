"""The page as programs use it: its two endpoints, the example client, and the page as a Hugging Face Space runs it."""

from __future__ import annotations

import ast
import json
import re
import runpy
import shutil
import socket
import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image
from pycocotools import mask as coco_mask

from segcore.cli import main
from segcore.cli.common import DONE
from segcore.models import catalogue
from tests.misbehaving_server import MisbehavingServer
from tests.page_server import free_port, running_page

ROOT = Path(__file__).parents[1]
SAMPLES = ROOT / "examples" / "samples"
ASTRONAUT, CAT, DOG = 900001, 900002, 900005
FILE_DATA = {"_type": "gradio.FileData"}


def sample(image_id: int) -> Path:
    return SAMPLES / f"{image_id:012d}.jpg"


@pytest.fixture(scope="module")
def page(no_downloads):
    with running_page() as running:
        yield running
        assert running.process.poll() is None, f"the page died:\n{running.log()}"


@pytest.fixture(scope="module")
def client(page, tmp_path_factory):
    return Client(page.url, download_files=tmp_path_factory.mktemp("downloads"), verbose=False)


@pytest.fixture
def quiet(page):
    """Whatever the test does, the page's log gets no traceback from it."""
    before = len(page.log())
    yield
    assert "Traceback" not in page.log()[before:]


def predict(folder: Path, photograph: Path, *flags: str) -> tuple[dict, np.ndarray]:
    """The command line's record and overlay."""
    assert main.main(["predict", str(photograph), "--out", str(folder), *flags]) == DONE
    record = json.loads((folder / f"{photograph.stem}.json").read_text())
    return record, pixels(folder / f"{photograph.stem}_overlay.png")


def evaluate(folder: Path, image_id: int, *flags: str) -> dict:
    """The command line's JSON for one of the samples."""
    file = folder / "scores.json"
    arguments = ["evaluate", "--dataset", str(ROOT / "examples"), "--image-ids", str(image_id), "--json", str(file)]
    assert main.main([*arguments, *flags]) == DONE
    return json.loads(file.read_text())


def pixels(file: str | Path) -> np.ndarray:
    """A PNG's pixels; what the page gives must be PNG, since lossy colours mean nothing."""
    with Image.open(file) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


def without(record: dict, *keys: str) -> dict:
    return {key: value for key, value in record.items() if key not in keys}


def mask_of(result: dict, name: str) -> np.ndarray:
    """bool (H, W): where `/segment` sees a class."""
    [found] = [each for each in result["classes"] if each["name"] == name]
    return coco_mask.decode(found["rle"]).astype(bool)


def raw_call(url: str, endpoint: str, data: list) -> str:
    """Call an endpoint as plain HTTP has it: what the server says in the end, "event: ..." and its data."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    body, headers = json.dumps({"data": data}).encode(), {"Content-Type": "application/json"}
    with opener.open(urllib.request.Request(f"{url}/gradio_api/call/{endpoint}", body, headers)) as answer:
        event = json.load(answer)["event_id"]
    with opener.open(f"{url}/gradio_api/call/{endpoint}/{event}", timeout=60) as answer:
        return answer.read().decode()


# ------------------------------------------------------------------------------------------------ what there is


def test_two_endpoints_are_listed_and_every_argument_but_the_first_has_a_default(client):
    listed = client.view_api(return_format="dict", print_info=False)
    defaults = {
        endpoint: {
            each["parameter_name"]: each["parameter_default"] if each["parameter_has_default"] else "(none)"
            for each in entry["parameters"]
        }
        for endpoint, entry in listed["named_endpoints"].items()
    }
    assert defaults == {
        "/segment": {
            "image": "(none)",
            "mode": "multiclass",
            "class_name": "any",
            "threshold": -1,
            "model": "auto",
        },
        "/evaluate_coco": {
            "image_id": "(none)",
            "mode": "multiclass",
            "class_name": "any",
            "protocol": "original",
            "model": "auto",
        },
    }
    assert not listed["unnamed_endpoints"]


# ------------------------------------------------------------------------------------------------ /segment


@pytest.mark.parametrize(
    ("arguments", "flags"),
    [
        ({}, []),
        ({"mode": "binary"}, ["--mode", "binary"]),
        (
            {"mode": "binary", "class_name": "person", "threshold": 0.9, "model": "deeplabv3_efficientnet_lite0"},
            ["--mode", "binary", "--class", "person", "--threshold", "0.9", "--model", catalogue.SHIPPED],
        ),
    ],
    ids=["multiclass", "any object", "everything chosen, the model by its former name"],
)
def test_segment_gives_what_predict_writes(client, tmp_path, arguments, flags):
    overlay, result = client.predict(handle_file(sample(ASTRONAUT)), api_name="/segment", **arguments)
    record, painted = predict(tmp_path, sample(ASTRONAUT), *flags)
    assert without(result, "seconds") == without(record, "seconds")
    assert list(result) == list(record)
    assert result["classes"], "the sample shows a person"
    np.testing.assert_array_equal(pixels(overlay), painted)


def test_threshold_decides(client):
    asked = {"mode": "binary", "class_name": "person"}
    everything, surest, automatic = (
        client.predict(handle_file(sample(ASTRONAUT)), api_name="/segment", **asked, **threshold)[1]["classes"][0][
            "share"
        ]
        for threshold in ({"threshold": 0}, {"threshold": 0.9}, {"threshold": -1})
    )
    assert everything == 1, "every pixel has at least the probability 0"
    assert everything > automatic > surest > 0.15


def test_exif_rotation_is_undone(client, tmp_path):
    with Image.open(sample(ASTRONAUT)) as photograph:
        upright = photograph.crop((0, 0, 512, 400))
        exif = Image.Exif()
        exif[274] = 6  # to be turned a quarter clockwise, as telephones store portraits
        upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "rotated.jpg", exif=exif, quality=95)
        upright.save(tmp_path / "upright.png")
    turned, straight = (
        client.predict(handle_file(tmp_path / name), api_name="/segment") for name in ("rotated.jpg", "upright.png")
    )
    assert (turned[1]["width"], turned[1]["height"]) == (512, 400)
    assert pixels(turned[0]).shape == (400, 512, 3)
    assert np.mean(mask_of(turned[1], "person") == mask_of(straight[1], "person")) > 0.98


def test_transparency_is_over_white(client, tmp_path):
    with Image.open(sample(ASTRONAUT)) as photograph:
        photograph.putalpha(255)
        photograph.paste((0, 0, 0, 0), (0, 0, 512, 40))
        photograph.save(tmp_path / "transparent.png")
    overlay, result = client.predict(handle_file(tmp_path / "transparent.png"), api_name="/segment")
    assert (result["width"], result["height"]) == (512, 512)
    assert mask_of(result, "person").mean() > 0.3
    top = pixels(overlay)[:40]
    assert np.median(top) == 255


def test_sixteen_bits_are_scaled(client, tmp_path):
    with Image.open(sample(ASTRONAUT)) as photograph:
        grey = np.asarray(photograph.convert("L"))
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    with Image.open(tmp_path / "deep.png") as deep:
        assert deep.mode == "I;16"
    overlay, result = client.predict(handle_file(tmp_path / "deep.png"), api_name="/segment")
    assert (result["width"], result["height"]) == (512, 512)
    painted = np.any([coco_mask.decode(each["rle"]) for each in result["classes"]], axis=0)
    same = np.all(pixels(overlay) == grey[..., None], axis=2)
    assert same[~painted].mean() > 0.95, "what is not painted, but for outlines, is the photograph"


# ------------------------------------------------------------------------------------------------ /evaluate_coco


@pytest.mark.parametrize(
    ("arguments", "flags"),
    [
        ({}, []),
        ({"protocol": "torchvision"}, ["--protocol", "torchvision"]),
        ({"protocol": "report"}, ["--protocol", "report"]),
        ({"mode": "binary", "class_name": "cat"}, ["--mode", "binary", "--class", "cat"]),
    ],
    ids=["original", "torchvision", "report", "binary"],
)
def test_evaluate_coco_gives_the_scores_of_evaluate(client, tmp_path, arguments, flags):
    *pictures, result = client.predict(CAT, api_name="/evaluate_coco", **arguments)
    labels = tmp_path / "labels"
    record = evaluate(tmp_path, CAT, "--save-labels", str(labels), *flags)
    [row] = record["per_image"]
    assert {key: result[key] for key in row} == row
    assert result["dataset"] == record["dataset"]
    shared = set(record) - {"images", "skipped", "seconds", "image_mean", "per_image"}
    assert {key: result[key] for key in shared} == {key: record[key] for key in shared}
    scored_size = np.asarray(Image.open(labels / f"{CAT:012d}.png")).shape
    assert [pixels(each).shape for each in pictures] == [(*scored_size, 3)] * 3


def test_pictures_show_prediction_truth_and_errors(client):
    overlay, truth, errors, result = client.predict(CAT, api_name="/evaluate_coco")
    [cat] = [each for each in annotations() if each["image_id"] == CAT]
    rle = coco_mask.frPyObjects(cat["segmentation"], *pixels(truth).shape[:2])
    drawn = coco_mask.decode(coco_mask.merge(rle)).astype(bool)
    assert result["per_class"]["cat"]["iou"] > 0.5
    original = np.asarray(Image.open(sample(CAT)))
    painted = np.any(pixels(truth) != original, axis=2)
    assert np.mean(painted == drawn) > 0.98, "but for the outline"
    assert not np.array_equal(pixels(overlay), pixels(truth))
    assert not np.array_equal(pixels(errors), pixels(truth))


def annotations() -> list[dict]:
    return json.loads((ROOT / "examples" / "annotations" / "instances_samples.json").read_text())["annotations"]


# ------------------------------------------------------------------------------------------------ wrong input


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"mode": "binary", "class_name": "unicorn"}, "no class 'unicorn'; choose one of: .*tvmonitor"),
        ({"mode": "binary", "class_name": "background"}, "the background is no object; choose 'any'"),
        ({"model": "unet"}, "no model 'unet'; choose 'auto' or one of: deeplabv3_resnet101"),
        ({"model": "deeplabv3_resnet50"}, "ResNet-50 is not on this machine.*choose another"),
        ({"mode": "both"}, "mode must be 'multiclass' or 'binary', got 'both'"),
        ({"mode": "binary", "threshold": 3}, "probability from 0 to 1.*got 3"),
        ({"mode": "binary", "threshold": "high"}, "probability from 0 to 1.*got 'high'"),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else "",
)
def test_segment_errors(client, quiet, arguments, sentence):
    with pytest.raises(AppError, match=sentence):
        client.predict(handle_file(sample(CAT)), api_name="/segment", **arguments)


def test_segment_errors_for_what_is_no_photograph(client, quiet, tmp_path):
    (tmp_path / "notes.txt").write_text("not a picture")
    (tmp_path / "cut.jpg").write_bytes(sample(CAT).read_bytes()[:3000])
    for name, sentence in (("notes.txt", "notes.txt is not an image.*use JPEG"), ("cut.jpg", "cut.jpg is damaged")):
        with pytest.raises(AppError, match=sentence):
            client.predict(handle_file(tmp_path / name), api_name="/segment")
    with pytest.raises(AppError, match="Give an image"):
        client.predict(None, api_name="/segment")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"image_id": 17}, "no image 17 in samples; .* the nearest is 542"),
        ({"image_id": None}, "Give the id of an image"),
        ({"image_id": "cat"}, "no image 'cat' in samples; ids are numbers: .* from 542"),
        ({"image_id": CAT, "protocol": "voc"}, "no protocol 'voc'; choose one of: original, torchvision, report"),
        ({"image_id": CAT, "model": "unet"}, "no model 'unet'"),
        ({"image_id": CAT, "mode": "binary", "class_name": "unicorn"}, "no class 'unicorn'"),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else "",
)
def test_evaluate_coco_errors(client, quiet, arguments, sentence):
    with pytest.raises(AppError, match=sentence):
        client.predict(api_name="/evaluate_coco", **arguments)


@pytest.fixture(scope="module")
def elsewhere():
    """Another server on this machine, which must never hear of the page."""
    with MisbehavingServer({"/photo.jpg": sample(CAT).read_bytes()}) as server:
        with urllib.request.urlopen(f"{server.url}/photo.jpg") as answer:
            answer.read()
        assert len(server.requests) == 1, "it does count"
        server.requests.clear()
        yield server


ADDRESSES = {
    "path": lambda url: {"path": url},
    "path of a file": lambda url: {"path": url, "meta": FILE_DATA},
    "path by name": lambda url: {"path": url.replace("127.0.0.1", "localhost"), "meta": FILE_DATA},
    "path in capitals": lambda url: {"path": url.replace("http", "HTTP"), "meta": FILE_DATA},
    "url": lambda url: {"url": url},
    "url of a file": lambda url: {"url": url, "meta": FILE_DATA},
    "both": lambda url: {"path": url, "url": url, "orig_name": "photo.jpg", "meta": FILE_DATA},
    "url beside an upload's path": lambda url: {"path": "photo.jpg", "url": url, "meta": FILE_DATA},
    "text": lambda url: url,
}


@pytest.mark.parametrize("payload", ADDRESSES.values(), ids=ADDRESSES.keys())
def test_addresses_are_refused_without_a_request(page, quiet, elsewhere, payload):
    image = payload(f"{elsewhere.url}/photo.jpg")
    answer = raw_call(page.url, "segment", [image, "multiclass", "any", -1, "auto"])
    assert elsewhere.requests == []
    assert "event: error" in answer
    assert re.search("Please upload the file|Give an image|upload files themselves", answer)


def test_the_clients_own_addresses_are_refused_too(client, quiet, elsewhere):
    with pytest.raises(AppError, match="Please upload the file"):
        client.predict(handle_file(f"{elsewhere.url}/photo.jpg"), api_name="/segment")
    assert elsewhere.requests == []


@pytest.mark.parametrize("marks", [{}, {"meta": FILE_DATA}], ids=["bare", "marked"])
def test_files_of_the_server_are_refused(page, quiet, marks):
    image = {"path": str(sample(CAT)), **marks}
    answer = raw_call(page.url, "segment", [image, "multiclass", "any", -1, "auto"])
    assert "event: error" in answer
    assert "Please upload the file" in answer


# ------------------------------------------------------------------------------------------------ several at once


def test_two_clients_at_once_each_get_their_own(page, tmp_path):
    def ask(image_id: int, mode: str) -> list:
        mine = Client(page.url, download_files=tmp_path / mode, verbose=False)
        return [mine.predict(handle_file(sample(image_id)), mode=mode, api_name="/segment") for _ in range(2)]

    with ThreadPoolExecutor(2) as both:
        astronauts, dogs = both.map(ask, [ASTRONAUT, DOG], ["binary", "multiclass"])
    for answers, image_id, mode, first in ((astronauts, ASTRONAUT, "binary", "any"), (dogs, DOG, "multiclass", "dog")):
        for overlay, result in answers:
            assert (result["file"], result["mode"]) == (sample(image_id).name, mode)
            assert result["classes"][0]["name"] == first
            assert pixels(overlay).shape == (result["height"], result["width"], 3)
            assert without(result, "seconds") == without(answers[0][1], "seconds")


# ------------------------------------------------------------------------------------------------ the example client


API_CLIENT = ROOT / "examples" / "api_client.py"


@pytest.fixture
def run_client(monkeypatch, capsys, tmp_path):
    """Run the script as `python examples/api_client.py` would, in an empty folder: status, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", [str(API_CLIENT), *arguments])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(API_CLIENT), run_name="__main__")
        return ended.value.code, *capsys.readouterr()

    return run


def test_api_client_by_itself(page, tmp_path):
    done = subprocess.run([sys.executable, API_CLIENT, page.url], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"cat +\d+\.\d% of the picture", done.stdout)
    assert pixels(tmp_path / "overlay.png").shape == (300, 451, 3)


def test_api_client_segments_a_photograph(page, client, run_client):
    status, printed, complaints = run_client(page.url, str(sample(ASTRONAUT)), "--mode", "binary", "--class", "person")
    assert (status, complaints) == (0, "")
    overlay, result = client.predict(handle_file(sample(ASTRONAUT)), "binary", "person", api_name="/segment")
    assert f"{sample(ASTRONAUT).name}, 512 x 512, by {result['model']}" in printed
    assert re.search(rf"person +{result['classes'][0]['share']:.1%} of the picture", printed)
    np.testing.assert_array_equal(pixels("overlay.png"), pixels(overlay))


def test_api_client_scores_an_image(page, client, run_client):
    arguments = ("--coco-image", str(CAT), "--protocol", "torchvision", "--out", "cat.png")
    status, printed, complaints = run_client(page.url, *arguments)
    assert (status, complaints) == (0, "")
    overlay, *_, result = client.predict(CAT, protocol="torchvision", api_name="/evaluate_coco")
    assert f"{sample(CAT).name} by {result['model']}, protocol torchvision, float32" in printed
    assert re.search(rf"pixel_accuracy +{result['pixel_accuracy']:.4g}\n", printed)
    np.testing.assert_array_equal(pixels("cat.png"), pixels(overlay))


def test_api_client_errors(page, run_client, tmp_path):
    nowhere = f"http://127.0.0.1:{free_port()}"
    for arguments, status, sentence in (
        ((page.url, "--model", "unet"), 1, "there is no model 'unet'"),
        ((page.url, "absent.jpg"), 1, "absent.jpg"),
        ((nowhere,), 1, nowhere),
        (("somebody/some-space",), 2, "begins with http"),
    ):
        ended, _, complaints = run_client(*arguments)
        assert ended == status
        assert sentence in complaints
    assert not (tmp_path / "overlay.png").exists()


# ------------------------------------------------------------------------------------------------ as a Space


@pytest.fixture
def checkout(tmp_path) -> Path:
    """The files that are under version control, as a Space gets them, all read-only."""
    if not (ROOT / ".git").exists() or not shutil.which("git"):
        pytest.skip("needs the repository's git checkout")
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    copy = tmp_path / "space"
    for name in filter(None, names.split("\0")):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, copy / name)
    everything = [copy, *copy.rglob("*")]
    for path in everything:
        path.chmod(0o555 if path.is_dir() else 0o444)
    yield copy
    for path in everything:
        path.chmod(0o755 if path.is_dir() else 0o644)


def contents(folder: Path) -> dict[str, bytes | None]:
    """Every file of a tree but Python's caches, which a user who may not write does without."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
        if "__pycache__" not in path.parts
    }


def test_page_runs_as_a_space(checkout, no_downloads, tmp_path):
    home, temporary = tmp_path / "home", tmp_path / "tmp"
    home.mkdir()
    temporary.mkdir()
    before, port = contents(checkout), free_port()
    environment = {"HOME": str(home), "TMPDIR": str(temporary), "GRADIO_SERVER_NAME": "0.0.0.0"}
    with running_page(env=environment | {"GRADIO_SERVER_PORT": str(port)}, root=checkout) as page:
        client = Client(page.url, download_files=tmp_path / "downloads", verbose=False)
        _, result = client.predict(handle_file(sample(DOG)), api_name="/segment")
        with socket.create_connection((outward_address(), port), timeout=5):
            pass  # a Space is reached from outside
        uploads = [path.name for path in temporary.rglob("*") if path.name == sample(DOG).name]
    assert result["classes"][0]["name"] == "dog"
    assert contents(checkout) == before
    assert uploads, "the photograph was there"
    assert list(temporary.rglob("*.jpg")) == [], "and went with the page"


def outward_address() -> str:
    """An address of this machine that is not the loopback's, where it has one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
            return probe.getsockname()[0]
        except OSError:
            return "127.0.0.2"


def test_page_listens_on_loopback_alone(page):
    port = int(page.url.rsplit(":", 1)[1])
    if outward_address().startswith("127."):
        pytest.skip("this machine has no other address")
    with pytest.raises(OSError), socket.create_connection((outward_address(), port), timeout=5):
        pass


def test_requirements_name_everything_that_is_imported():
    """A Space installs requirements.txt and nothing else."""
    named = {
        re.match(r"[\w.-]+", line).group().lower()
        for line in (ROOT / "requirements.txt").read_text().splitlines()
        if line and not line.startswith("#")
    }
    distributions = metadata.packages_distributions()
    ours, part_of_gradio = {"segcore", "demo"}, {"gradio_client", "markupsafe"}
    optional = {"spaces", "openvino", "nncf", "ray", "tflite"}
    known = {*sys.stdlib_module_names, *ours, *optional, *part_of_gradio}
    for module in sorted(imported_modules() - known):
        owners = {each.lower().replace("_", "-") for each in distributions[module]}
        assert owners & named, f"{module} is imported, but {' or '.join(owners)} is not in requirements.txt"


def imported_modules() -> set[str]:
    """The top-level names of all that segcore and demo import."""
    modules = set()
    for file in [*ROOT.glob("segcore/**/*.py"), *ROOT.glob("demo/**/*.py")]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules |= {each.name.split(".")[0] for each in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                modules.add(node.module.split(".")[0])
    return modules
