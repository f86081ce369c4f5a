"""The page's models: who gets which, loaded once, and the big one fetched behind the scenes."""

from __future__ import annotations

import importlib.machinery
import sys
import threading
import types
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from demo.answers import model_pool
from demo.answers.model_pool import Arithmetic, ModelPool
from demo.markup import tables
from segcore.errors import DownloadError, UsageError
from segcore.models import catalogue, checkpoint, loading

PHOTOGRAPH = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
OTHER = "another"


@pytest.fixture(autouse=True)
def fresh(monkeypatch, tmp_path):
    """No segmenter loaded yet, and no published weights on disk."""
    monkeypatch.setattr(model_pool, "_segmenters", type(model_pool._segmenters)())
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


@pytest.fixture
def other_model(monkeypatch, tmp_path):
    """A second model on disk: the shipped network with random weights."""
    torch.manual_seed(0)
    path = tmp_path / f"{OTHER}.safetensors"
    header = checkpoint.read_header(loading.weights_path(catalogue.SHIPPED))
    checkpoint.write(path, header, loading.build_network(catalogue.SHIPPED).state_dict())
    digest = loading._sha256(path, 0, 0)
    added = catalogue.ModelEntry(OTHER, "Another", "Knows nothing.", path=path, sha256=digest)
    monkeypatch.setitem(catalogue.CATALOGUE, OTHER, added)
    return OTHER


def test_auto_is_the_shipped_model_where_no_other_is_on_disk():
    assert ModelPool("auto").resolve("auto") == catalogue.SHIPPED


def test_visitors_may_ask_by_a_former_name_and_nothing_is_logged(recwarn):
    assert ModelPool("auto").resolve("deeplabv3_efficientnet_lite0") == catalogue.SHIPPED
    assert not list(recwarn)


@pytest.mark.parametrize("model", [None, "unicorn", "/tmp/other.safetensors"])
def test_a_model_that_visitors_may_not_ask_for(model):
    with pytest.raises(UsageError, match="there is no model.*deeplabv3_resnet101"):
        ModelPool("auto").resolve(model)


def test_auto_stays_what_it_was_when_the_big_model_arrives(tmp_path):
    pool = ModelPool("auto")
    weights = loading.weights_path(catalogue.PREFERRED)
    weights.parent.mkdir(parents=True)
    weights.touch()
    assert pool.resolve("auto") == catalogue.SHIPPED
    assert ModelPool("auto").resolve("auto") == catalogue.PREFERRED


@pytest.mark.slow
def test_a_model_is_loaded_once_by_many_visitors_at_once(monkeypatch):
    loads = []
    load = model_pool._load
    monkeypatch.setattr(model_pool, "_load", lambda *args: loads.append(args) or load(*args))
    pool = ModelPool()
    threads = [
        threading.Thread(target=pool.segment, args=(PHOTOGRAPH, "auto"), kwargs={"resize": "squeeze"}) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loads) == 1


@pytest.mark.slow
def test_two_visitors_with_different_models_at_once(other_model):
    pool = ModelPool()
    alone = {name: pool.segment(PHOTOGRAPH, name, resize="squeeze") for name in ("auto", other_model)}
    assert not np.array_equal(alone["auto"].logits, alone[other_model].logits)

    results = {}
    barrier = threading.Barrier(2)

    def visit(name):
        barrier.wait()
        results[name] = [pool.segment(PHOTOGRAPH, name, resize="squeeze") for _ in range(3)]

    threads = [threading.Thread(target=visit, args=(name,)) for name in alone]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name, expected in alone.items():
        for result in results[name]:
            assert result.provenance.model == expected.provenance.model
            np.testing.assert_array_equal(result.logits, expected.logits)


def test_the_least_used_model_goes_first(other_model):
    pool = ModelPool(models=2)
    pool.segmenter(catalogue.SHIPPED, Arithmetic("float32"))
    pool.segmenter(other_model, Arithmetic("float32"))
    pool.segmenter(catalogue.SHIPPED, Arithmetic("float32"))
    pool.segmenter(catalogue.SHIPPED, Arithmetic("bfloat16"))
    assert set(model_pool._segmenters) == {(catalogue.SHIPPED, Arithmetic(each)) for each in ("float32", "bfloat16")}


def test_no_more_models_are_kept_when_several_are_asked_for_at_once(other_model):
    pool = ModelPool(models=2)
    both = Arithmetic("float32"), Arithmetic("bfloat16")
    wanted = [(name, arithmetic) for name in (catalogue.SHIPPED, other_model) for arithmetic in both]
    threads = [threading.Thread(target=pool.segmenter, args=each) for each in wanted * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(model_pool._segmenters) == 2


def test_a_model_that_is_being_loaded_holds_no_other_up(other_model, monkeypatch):
    load, begun, go_on = model_pool._load, threading.Event(), threading.Event()

    def slow(model, arithmetic):
        if model == other_model:
            begun.set()
            assert go_on.wait(10)
        return load(model, arithmetic)

    monkeypatch.setattr(model_pool, "_load", slow)
    pool = ModelPool()
    loading = threading.Thread(target=pool.segmenter, args=(other_model, Arithmetic("float32")))
    loading.start()
    assert begun.wait(10)
    assert pool.segmenter(catalogue.SHIPPED, Arithmetic("float32")).model == catalogue.SHIPPED
    go_on.set()
    loading.join()


@pytest.mark.slow
def test_exact_is_float32_and_keeps_float32_logits():
    result = ModelPool().segment(PHOTOGRAPH, "auto", resize="squeeze", exact=True)
    assert result.provenance.precision == "float32"
    assert result.logits.dtype == np.float32
    assert ModelPool().segment(PHOTOGRAPH, "auto", resize="squeeze").logits.dtype == np.float16


@pytest.mark.slow
def test_an_engine_of_ones_own_runs_all_but_scores():
    pytest.importorskip("openvino")
    pool = ModelPool(arithmetic=Arithmetic("float32", "openvino"))
    shown, exact = (pool.segment(PHOTOGRAPH, "auto", resize="squeeze", exact=exact) for exact in (False, True))
    assert (shown.provenance.engine, exact.provenance.engine) == ("openvino", "torch")
    other = replace(shown.provenance, engine="onnxruntime")
    for provenance, title in ((shown.provenance, "OpenVINO"), (other, "ONNX Runtime")):
        assert title in tables.provenance(SimpleNamespace(provenance=provenance, network_runs=1))
    np.testing.assert_allclose(shown.logits, exact.logits, atol=0.02)


def test_results_hold_neither_the_photograph_nor_tensors():
    result = ModelPool().segment(PHOTOGRAPH, "auto", resize="squeeze")
    assert result.image is None
    assert isinstance(result.logits, np.ndarray)


def test_offline_never_downloads(monkeypatch):
    monkeypatch.setattr(loading, "fetch_weights", lambda *args, **kwargs: pytest.fail("downloaded"))
    pool = ModelPool(offline=True)
    with pytest.raises(UsageError, match="stay offline"):
        pool.segment(PHOTOGRAPH, catalogue.PREFERRED, resize="squeeze")
    pool.fetch(catalogue.PREFERRED)
    assert pool.fetching(catalogue.PREFERRED) is None


def test_models_that_are_not_here_say_so_where_one_chooses():
    big, small = catalogue.entry(catalogue.PREFERRED).title, catalogue.entry(catalogue.SHIPPED).title
    offline = {name: title for title, name in ModelPool(offline=True).choices}
    online = {name: title for title, name in ModelPool().choices}
    assert offline[catalogue.PREFERRED] == f"{big} (not on this machine)"
    assert online[catalogue.PREFERRED] == f"{big} (not here yet: choose it to download it)"
    assert offline[catalogue.SHIPPED] == online[catalogue.SHIPPED] == small
    assert list(offline) == list(catalogue.CATALOGUE)


def test_download_is_told_as_it_goes_and_offered_when_it_is_here(monkeypatch):
    half, finish = threading.Event(), threading.Event()

    def fetch_weights(name, *, progress):
        progress(50_000_000, 200_000_000)
        half.set()
        assert finish.wait(10)
        weights = loading.weights_path(name)
        weights.parent.mkdir(parents=True)
        weights.touch()

    monkeypatch.setattr(loading, "fetch_weights", fetch_weights)
    pool, big = ModelPool(), catalogue.PREFERRED
    pool.fetch(big)
    assert half.wait(10)
    text, look_again, offer = tables.download_state(big, pool.fetching(big), here=catalogue.on_disk(big))
    assert "25%" in text and look_again and not offer
    with pytest.raises(UsageError, match="being downloaded .25%"):
        pool.segment(PHOTOGRAPH, big, resize="squeeze")

    finish.set()
    wait_for_fetch(big)
    text, look_again, offer = tables.download_state(big, pool.fetching(big), here=catalogue.on_disk(big))
    assert not look_again and offer


def test_a_failed_download_says_why_and_is_tried_again_when_asked(monkeypatch):
    calls = []

    def fetch_weights(name, *, progress):
        calls.append(name)
        raise DownloadError("<the server said no>")

    monkeypatch.setattr(loading, "fetch_weights", fetch_weights)
    pool, big = ModelPool(), catalogue.PREFERRED
    pool.fetch(big)
    wait_for_fetch(big)
    text, look_again, offer = tables.download_state(big, pool.fetching(big), here=False)
    assert "&lt;the server said no&gt;" in text and not look_again and not offer
    with pytest.raises(UsageError, match="tried again"):
        pool.segment(PHOTOGRAPH, big, resize="squeeze")
    wait_for_fetch(big)
    assert calls == [big, big]


def wait_for_fetch(model):
    for thread in threading.enumerate():
        if thread.name == f"fetch {model}":
            thread.join(10)


def test_zero_gpu_is_asked_where_its_package_is_installed(monkeypatch):
    spaces = types.ModuleType("spaces")
    spaces.__spec__ = importlib.machinery.ModuleSpec("spaces", loader=None)
    spaces.GPU = lambda function: ("on a GPU", function)
    monkeypatch.setitem(sys.modules, "spaces", spaces)
    assert model_pool._on_gpu(len) == ("on a GPU", len)


def test_without_zero_gpu_functions_stay_as_they_are():
    assert model_pool._on_gpu(len) is len


def test_warm_up_runs_the_network_on_a_cpu_only(monkeypatch):
    runs = []
    monkeypatch.setattr(model_pool, "_run", lambda *args: runs.append(args))
    pool = ModelPool()
    pool.warm_up()
    assert len(runs) == 1

    loaded = pool.segmenter(catalogue.SHIPPED, Arithmetic("auto"))
    monkeypatch.setattr(loaded, "device", "cuda")  # where ZeroGPU lends it, for a visitor's request only
    pool.warm_up()
    assert len(runs) == 1
