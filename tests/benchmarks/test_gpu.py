"""A graphics card gives what the processor gives, and the checks of that themselves: `benchmarks.gpu` runs the same.

Where there is no card, tests marked `gpu` are skipped, and the checks run on the processor, small.
"""

import os
from functools import partial

import pytest
import torch

from benchmarks import gpu, gpu_checks
from benchmarks.gpu_checks import BIG, SMALL
from segcore.errors import UsageError
from segcore.inference.predictor import Predictor, pick_precision, prepare


@pytest.fixture
def card() -> str:
    if not torch.cuda.is_available():
        pytest.skip("needs a graphics card that CUDA drives")
    return "cuda"


@pytest.mark.gpu
@pytest.mark.parametrize("name", [SMALL, BIG])
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_a_card_gives_the_labels_of_the_processor(card, name, precision):
    assert_passed(gpu_checks.same_labels(name, precision, card))


@pytest.mark.gpu
def test_a_card_out_of_memory_halves_the_batch_and_then_says_so(card):
    assert_passed(*gpu_checks.out_of_memory(card))


@pytest.mark.gpu
def test_two_visitors_share_a_card(card):
    assert_passed(gpu_checks.two_at_once(card))


@pytest.mark.gpu
def test_a_dropped_model_frees_the_memory_of_a_card(card):
    assert_passed(gpu_checks.pool_frees(card))


@pytest.mark.gpu
def test_a_card_is_used_in_a_fork(card):
    assert_passed(gpu_checks.zero_gpu_fork(card))


# On the processor: the checks notice what is wrong, and hold, with all of the path but the card


@pytest.mark.slow
def test_a_network_that_differs_is_noticed(monkeypatch):
    other = prepare(gpu_checks.network_of(SMALL), device="cpu", precision="float32")
    monkeypatch.setattr(Predictor, "__call__", lambda self, batch: next(noisy) * other._run(batch))
    noisy = iter([1.0, -1.0])
    assert gpu_checks.same_labels(SMALL, "float32", "cpu", size=129).passed is False


@pytest.mark.slow
def test_a_pool_that_drops_nothing_is_noticed(monkeypatch):
    from demo.answers import model_pool

    kept = []
    load = model_pool._load
    monkeypatch.setattr(model_pool, "_load", lambda *given: kept.append(load(*given)) or kept[-1])
    assert gpu_checks.pool_frees("cpu").passed is False


def test_the_pool_gives_a_card_s_memory_back_when_it_drops_a_model(monkeypatch):
    from demo.answers import model_pool

    given_back = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: given_back.append(len(model_pool._segmenters)))
    model_pool._segmenters.clear()
    for precision in ("float32", "bfloat16"):
        model_pool._loaded(SMALL, model_pool.Arithmetic(precision, device="cpu"), 1)
    model_pool._segmenters.clear()
    assert given_back == [1]


def test_float16_is_not_for_the_processor():
    assert pick_precision("float16", "cuda:0") == "float16"
    with pytest.raises(UsageError, match="'float16' is for graphics cards; choose 'auto' or 'float32'"):
        pick_precision("float16", "cpu")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork, which ZeroGPU's machines have")
@pytest.mark.slow
def test_the_benchmark_runs_without_a_card(monkeypatch, capsys):
    """All checks pass on the processor, and each speed is measured."""
    arguments = ["--device", "cpu", "--model", SMALL, "--size", "65", "--batches", "1,2"]
    monkeypatch.setattr("sys.argv", ["gpu", *arguments, "--images", "3", "--evaluation-batch", "2"])
    monkeypatch.setattr(gpu, "MEASURE_SECONDS", 0.0)  # the least number of calls for each
    monkeypatch.setattr(gpu_checks, "same_labels", partial(gpu_checks.same_labels, count=1))
    status, out = gpu.main(), capsys.readouterr().out
    assert status == 0, out
    assert "no graphics card" in out
    assert "**no**" not in out and "left out" not in out
    for checked in ("float32: labels of", "bfloat16: labels of", "batch is halved", "two visitors", "pool", "fork"):
        assert checked in out
    assert "segcore, bfloat16, batch 2" in out and "evaluate, 3 images" in out


def assert_passed(*checks: gpu_checks.Check) -> None:
    assert [each for each in checks if not each.passed] == []
