import hashlib
import subprocess
import sys
import threading
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

from segcore import Segmenter
from segcore.classes import VOC_NAMES
from segcore.errors import DownloadError, UsageError, WeightsError
from segcore.models import catalogue, checkpoint, loading
from tests.helpers.networks import noise, randomised

SHIPPED = "deeplabv3_mobilenet_v2"
DOWNLOADED = ["deeplabv3_resnet101", "deeplabv3_resnet50", "deeplabv3_mobilenet_v3_large"]
MOBILENET = "deeplabv3_mobilenet_v3_large"


@pytest.fixture(scope="module")
def shipped() -> nn.Module:
    return loading.load(SHIPPED)


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Path:
    """An empty folder in which torch.hub, and so segcore, looks for checkpoints."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> SimpleNamespace:
    """A MobileNetV3 checkpoint with random weights, in a file called after its hash as torchvision's are."""
    network = randomised(loading.build_network(MOBILENET))
    folder = tmp_path_factory.mktemp("published")
    torch.save(network.state_dict(), folder / "new")
    sha256 = hashlib.sha256((folder / "new").read_bytes()).hexdigest()
    path = (folder / "new").rename(folder / f"{MOBILENET}-{sha256[:8]}.pth")
    return SimpleNamespace(network=network, path=path, sha256=sha256)


@pytest.fixture
def published_as_weights(published, hub, monkeypatch):
    """torchvision's entry of the MobileNetV3 weights, with the address of the random ones."""
    original = torchvision.models.get_weight(catalogue.entry(MOBILENET).torchvision_weights)
    url = f"http://published.invalid/models/{published.path.name}"
    weights = SimpleNamespace(url=url, meta=original.meta, transforms=original.transforms)
    monkeypatch.setattr(torchvision.models, "get_weight", lambda _: weights)
    return published


@pytest.fixture
def mirror(published):
    handler = partial(SimpleHTTPRequestHandler, directory=str(published.path.parent))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


# The catalogue


def test_catalogue_order():
    assert list(catalogue.CATALOGUE) == [*DOWNLOADED, SHIPPED]


def test_catalogue_needs_no_torch():
    program = "import sys, segcore.models.catalogue as c; c.resolve('auto'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], timeout=300).returncode == 0


@pytest.mark.parametrize("function", [catalogue.entry, catalogue.resolve, loading.load, loading.facts])
def test_unknown_model_errors(function):
    with pytest.raises(UsageError, match=rf"'resnet'.*deeplabv3_resnet101.*{SHIPPED}"):
        function("resnet")


@pytest.mark.parametrize("variables", [{"TORCH_HOME": "~/t"}, {"XDG_CACHE_HOME": "/x"}, {}])
def test_checkpoints_are_where_torch_hub_has_them(variables, monkeypatch):
    for name in ("TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert catalogue.checkpoints_folder() == Path(torch.hub.get_dir()) / "checkpoints"


def test_auto_is_the_best_model_on_disk(hub):
    assert catalogue.resolve("auto") == SHIPPED
    loading.weights_path("deeplabv3_resnet50").touch()
    assert catalogue.resolve("auto") == SHIPPED
    loading.weights_path("deeplabv3_resnet101").touch()
    assert catalogue.resolve("auto") == "deeplabv3_resnet101"
    assert catalogue.resolve(SHIPPED) == SHIPPED


@pytest.mark.parametrize("name", DOWNLOADED)
def test_on_disk_knows_the_published_files_name(name, hub):
    path = loading.weights_path(name)
    path.with_name(path.name + ".part").touch()
    (hub / f"{name}_mine.pth").touch()
    assert not loading.on_disk(name)
    path.touch()
    assert [each for each in DOWNLOADED if loading.on_disk(each)] == [name]


# Weights


def test_facts_are_those_published():
    facts = loading.facts("deeplabv3_resnet101")
    assert (facts.mean_iou, facts.pixel_accuracy) == (0.674, 0.924)
    assert 240 < facts.megabytes < 250
    assert loading.facts(SHIPPED).megabytes == pytest.approx(loading.weights_path(SHIPPED).stat().st_size / 1e6)


def test_a_network_with_random_weights_computes_as_much_as_the_shipped_one(shipped):
    built = loading.build_network(SHIPPED)
    dilations = [
        [module.dilation for module in each.modules() if isinstance(module, nn.Conv2d)] for each in (built, shipped)
    ]
    assert dilations[0] == dilations[1]


def test_shipped_weights_give_a_network_ready_to_run(shipped):
    assert not shipped.training
    assert {each.dtype for each in shipped.parameters()} == {torch.float32}
    expected = hashlib.sha256(loading.weights_path(SHIPPED).read_bytes()).hexdigest()
    assert loading.weights_sha256(SHIPPED) == expected


def test_weights_sha256_follows_the_file(published_as_weights, hub):
    path = loading.weights_path(MOBILENET)
    path.write_bytes(b"one")
    assert loading.weights_sha256(MOBILENET) == hashlib.sha256(b"one").hexdigest()
    path.write_bytes(b"other")
    assert loading.weights_sha256(MOBILENET) == hashlib.sha256(b"other").hexdigest()


def test_load_takes_a_torchvision_checkpoint_whole(published_as_weights, hub):
    loading.weights_path(MOBILENET).write_bytes(published_as_weights.path.read_bytes())
    network = loading.load(MOBILENET)
    assert network.aux_classifier is None
    batch = noise(1, 3, 64, 80)
    with torch.no_grad():
        assert torch.equal(network(batch)["out"], published_as_weights.network(batch)["out"])


@pytest.mark.parametrize("function", [loading.load, loading.weights_sha256])
def test_missing_weights_errors(function, hub):
    with pytest.raises(WeightsError, match="fetch-weights deeplabv3_resnet50"):
        function("deeplabv3_resnet50")


@pytest.mark.parametrize("content", [b"", b"version https://git-lfs.github.com/spec/v1\n"])
def test_damaged_weights_errors(content, tmp_path, monkeypatch, published_as_weights):
    loading.weights_path(MOBILENET).write_bytes(content)
    with pytest.raises(WeightsError, match=f"damaged.*fetch-weights {MOBILENET}"):
        loading.load(MOBILENET)

    path = tmp_path / f"{SHIPPED}.safetensors"
    path.write_bytes(content)
    monkeypatch.setitem(catalogue.CATALOGUE, SHIPPED, replace(catalogue.CATALOGUE[SHIPPED], path=path))
    with pytest.raises(WeightsError, match="damaged.*install it again"):
        loading.load(SHIPPED)


def test_one_flipped_bit_in_the_shipped_weights_is_seen(tmp_path, monkeypatch):
    content = bytearray(loading.weights_path(SHIPPED).read_bytes())
    content[-1000] ^= 1
    path = tmp_path / f"{SHIPPED}.safetensors"
    path.write_bytes(content)
    monkeypatch.setitem(catalogue.CATALOGUE, SHIPPED, replace(catalogue.CATALOGUE[SHIPPED], path=path))
    with pytest.raises(WeightsError, match="damaged"):
        loading.load(SHIPPED)


def test_weights_of_other_classes_errors(monkeypatch):
    meta = {"categories": ["__background__", "cat"]}
    monkeypatch.setattr(torchvision.models, "get_weight", lambda _: SimpleNamespace(meta=meta))
    with pytest.raises(WeightsError, match="got background, cat"):
        loading.load("deeplabv3_resnet101")


def test_fetch_weights_from_a_mirror(published_as_weights, mirror):
    seen = []
    path = loading.fetch_weights(MOBILENET, base_url=f"{mirror}/", progress=lambda *done: seen.append(done))
    assert path == loading.weights_path(MOBILENET)
    assert path.read_bytes() == published_as_weights.path.read_bytes()
    size = published_as_weights.path.stat().st_size
    assert seen[-1] == (size, size)
    assert loading.weights_sha256(MOBILENET) == published_as_weights.sha256


def test_fetch_weights_errors(published_as_weights, mirror):
    right = published_as_weights.path.read_bytes()
    try:
        published_as_weights.path.write_bytes(b"not those")
        with pytest.raises(DownloadError):
            loading.fetch_weights(MOBILENET, base_url=mirror)
    finally:
        published_as_weights.path.write_bytes(right)
    assert not loading.on_disk(MOBILENET)


def test_fetch_weights_of_the_shipped_model_needs_no_network():
    assert loading.fetch_weights(SHIPPED, base_url="http://nowhere.invalid") == loading.weights_path(SHIPPED)


# Files of our own format


def a_file(path: Path, change) -> str:
    """The shipped weights, changed, under a right header. Returns the path as a model is called."""
    shipped = loading.weights_path(SHIPPED)
    state = load_file(shipped)
    change(state)
    save_file(state, path, {"segcore": checkpoint.read_header(shipped).to_json()})
    return str(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda state: state.pop("backbone.blocks.3.project.weight"),
            r"backbone\.blocks\.3\.project\.weight is missing",
        ),
        (lambda state: state.pop("classifier.correct.bias"), r"classifier\.correct\.bias is missing"),
        (lambda state: state.update(other=torch.zeros(1)), "'other' is no part of that network"),
        (lambda state: state.update({"\x1b\n": torch.zeros(1)}), r"'\\x1b\\n' is no part of that network"),
        (
            lambda state: state.update({"backbone.stem.bias": torch.zeros(31)}),
            r"backbone\.stem\.bias is torch\.float32 \(31,\), expected torch\.float32 \(32,\)",
        ),
        (
            lambda state: state.update({"backbone.stem.bias": torch.zeros(32, dtype=torch.int8)}),
            r"stem\.bias is .*int8",
        ),
        (lambda state: state["backbone.stem.bias"].fill_(torch.nan), r"stem\.bias holds values that are not finite"),
        (lambda state: state["backbone.stem.weight"].view(-1)[5:6].fill_(torch.inf), r"stem\.weight .* not finite"),
    ],
)
def test_weights_that_do_not_fit_errors(change, message, tmp_path):
    name = a_file(tmp_path / "model.safetensors", change)
    with pytest.raises(WeightsError, match=message) as raised:
        loading.load(name)
    assert str(tmp_path / "model.safetensors") in str(raised.value) and str(raised.value).isprintable()


@pytest.mark.slow
def test_only_counters_may_be_missing(published, tmp_path):
    published.network.aux_classifier = None
    state, header = published.network.state_dict(), checkpoint.read_header(loading.weights_path(SHIPPED))
    path = tmp_path / "model.safetensors"
    checkpoint.write(path, replace(header, network=MOBILENET), state)
    assert len(load_file(path)) < len(state)
    loading.load(str(path))
    without = {k: v for k, v in state.items() if "running_var" not in k}
    checkpoint.write(path, replace(header, network=MOBILENET), without)
    with pytest.raises(WeightsError, match="running_var is missing"):
        loading.load(str(path))


# Former names

FORMER = "deeplabv3_efficientnet_lite0"


@pytest.mark.parametrize(
    "function",
    [
        lambda: loading.load(FORMER).state_dict().keys() == loading.load(SHIPPED).state_dict().keys(),
        lambda: catalogue.resolve(FORMER) == SHIPPED,
        lambda: catalogue.entry(FORMER).name == SHIPPED,
        lambda: catalogue.on_disk(FORMER),
        lambda: loading.facts(FORMER) == loading.facts(SHIPPED),
        lambda: loading.fetch_weights(FORMER) == loading.weights_path(SHIPPED),
        lambda: loading.network_of(FORMER) == SHIPPED,
        lambda: Segmenter(FORMER).model == SHIPPED,
    ],
)
def test_a_former_name_is_accepted_with_a_notice(function):
    with pytest.warns(FutureWarning, match=f"'{FORMER}' was replaced by '{SHIPPED}'"):
        assert function()


@pytest.mark.slow
def test_a_former_name_is_noticed_once_a_program():
    program = f"from segcore import Segmenter; Segmenter({FORMER!r}); Segmenter({FORMER!r})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=True)
    assert done.stderr.count("FutureWarning:") == 1 and SHIPPED in done.stderr


def test_a_file_trained_on_a_former_network_errors(tmp_path):
    header = checkpoint.read_header(loading.weights_path(SHIPPED))
    path = tmp_path / "mine.safetensors"
    checkpoint.write(path, replace(header, network=FORMER), {"backbone.conv_stem.weight": torch.zeros(1)})
    with pytest.raises(WeightsError, match=f"{FORMER}, which is no longer part of segcore; train it again") as raised:
        Segmenter(path)
    assert str(path) in str(raised.value)


# Preprocessing


@pytest.mark.parametrize("name", DOWNLOADED)
@pytest.mark.parametrize("size", [(640, 480), (333, 500), (521, 520)])
def test_preprocessing_is_the_published_weights_own(name, size):
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    weights = torchvision.models.get_weight(catalogue.entry(name).torchvision_weights)
    expected = weights.transforms()(Image.fromarray(pixels))[None]
    assert torch.equal(loading.preprocess_for(name, "torchvision")(pixels), expected)


def test_preprocessing_follows_the_weights(monkeypatch):
    original = torchvision.models.get_weight(catalogue.entry(MOBILENET).torchvision_weights)
    other = SimpleNamespace(resize_size=[256], mean=[0.1, 0.2, 0.3], std=[0.4, 0.5, 0.6])
    weights = SimpleNamespace(meta=original.meta, transforms=lambda: other)
    monkeypatch.setattr(torchvision.models, "get_weight", lambda _: weights)
    preprocess = loading.preprocess_for(MOBILENET, "squeeze")
    assert (preprocess.size, preprocess.mean, preprocess.std) == (256, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


@pytest.mark.parametrize("name", [MOBILENET, SHIPPED])
def test_preprocess_for_errors(name):
    with pytest.raises(UsageError, match="stretch"):
        loading.preprocess_for(name, "stretch")


def test_voc_names_are_those_of_every_published_checkpoint():
    for name in DOWNLOADED:
        categories = torchvision.models.get_weight(catalogue.entry(name).torchvision_weights).meta["categories"]
        assert ("background", *categories[1:]) == VOC_NAMES
        assert categories[0] == "__background__"
