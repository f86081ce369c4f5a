"""Results of the samples are kept, so that the network runs once for each, on this machine."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from demo.answers import ground_truth, model_pool, photographs
from demo.answers.kept_samples import KeptSamples
from demo.answers.model_pool import Arithmetic, ModelPool
from segcore.inference.task import Task
from segcore.models import catalogue

DOG = 900005


@pytest.fixture
def runs(monkeypatch):
    """The calls of the network."""
    calls, run = [], model_pool._run
    monkeypatch.setattr(model_pool, "_run", lambda *args: calls.append(args) or run(*args))
    return calls


@pytest.fixture
def start(no_downloads, dataset, tmp_path):
    """Start a page, as it were: its model pool, with the results that are kept on disk."""
    paths = [dataset.path(image.id) for image in dataset.images]
    return lambda **settings: ModelPool(offline=True, kept=KeptSamples(paths, tmp_path / "kept"), **settings)


def shown(pool, path, **settings):
    return photographs.open_photograph(pool, None, path, **({"model": "auto", "resize": "squeeze"} | settings))


@pytest.mark.slow
def test_the_network_runs_once_for_a_sample_whatever_starts_again(start, dataset, runs):
    pool, dog = start(), dataset.path(DOG)
    first = shown(pool, dog)
    assert len(runs) == 1 and first.network_runs == 1

    for again in (shown(pool, dog), shown(start(), dog), shown(start(), dog, model=catalogue.SHIPPED)):
        assert len(runs) == 1 and again.network_runs == 0
        assert again.result.provenance == first.result.provenance
        for task in (Task(), Task("binary", "dog", 0.3)):
            one, other = (photographs.view_photograph(each, task, True) for each in (first, again))
            assert one.viewer == other.viewer and one.found == other.found


@pytest.mark.slow
def test_scores_have_their_own_exact_result(start, dataset, runs):
    pool = start()
    shown(pool, dataset.path(DOG))
    compared = [
        ground_truth.compare(each, None, dataset, DOG, "auto", "original", "squeeze") for each in (pool, start())
    ]
    assert len(runs) == 2 and [each.network_runs for each in compared] == [1, 0]
    assert all(each.result.provenance.precision == "float32" for each in compared)
    one, other = (ground_truth.view_compared(each, Task(), "original").record for each in compared)
    assert one == other


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes", [{"resize": "aspect"}, {"tta": True}], ids=["another resize", "test-time augmentation"]
)
def test_other_settings_are_not_kept(start, dataset, runs, changes):
    pool = start()
    before = shown(pool, dataset.path(DOG)).result
    for count in (1, 2):
        ran = len(runs)
        assert shown(pool, dataset.path(DOG), **changes).network_runs == 1
        assert len(runs) == ran + 1, count
    np.testing.assert_array_equal(shown(pool, dataset.path(DOG)).result.logits, before.logits)


@pytest.mark.slow
def test_another_precision_has_another_result(start, dataset, runs):
    shown(start(), dataset.path(DOG))
    other = shown(start(arithmetic=Arithmetic("float32", "torch")), dataset.path(DOG))
    assert len(runs) == 2 and other.result.provenance.precision == "float32"


def test_a_visitors_photograph_is_never_kept(start, dataset, runs, tmp_path):
    own = shutil.copy(dataset.path(DOG), tmp_path / "own.jpg")  # even the same picture
    for pool in (start(), start()):
        shown(pool, own)
    assert len(runs) == 2 and not (tmp_path / "kept").exists()


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["empty", "cut", "a flipped bit", "no archive", "no number"])
def test_a_damaged_file_is_made_anew(start, dataset, runs, tmp_path, capsys, damage):
    before = shown(start(), dataset.path(DOG)).result
    [file] = (tmp_path / "kept").iterdir()
    content = file.read_bytes()
    middle = len(content) // 2
    if damage == "no number":
        logits = np.full_like(before.logits, np.nan)
        with np.load(file) as stored:
            np.savez(file, logits=logits, facts=stored["facts"])
    else:
        file.write_bytes(
            {
                "empty": b"",
                "cut": content[:middle],
                "a flipped bit": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
                "no archive": b"not an archive" * 9,
            }[damage]
        )
    again = shown(start(), dataset.path(DOG))
    assert len(runs) == 2 and again.network_runs == 1
    np.testing.assert_array_equal(again.result.logits, before.logits)
    assert "is damaged and is made anew" in capsys.readouterr().err
    assert shown(start(), dataset.path(DOG)).network_runs == 0


def test_without_room_on_disk_results_are_kept_in_memory(start, dataset, runs, tmp_path, capsys):
    (tmp_path / "kept").write_text("a file where the folder should be")
    pool = start()
    assert [shown(pool, dataset.path(DOG)).network_runs for _ in range(2)] == [1, 0]
    assert "could not be kept" in capsys.readouterr().err
