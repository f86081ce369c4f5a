"""A whole set on the page, without a browser: its numbers are the command line's, and nothing is computed twice."""

from __future__ import annotations

import asyncio
import json
import threading
from dataclasses import replace

import pytest

from demo.answers import whole_set
from demo.answers.datasets import SAMPLES, Datasets
from demo.answers.model_pool import ModelPool
from demo.answers.whole_set import Outcome, Progress, Wanted, evaluate_set
from demo.markup import set_tables
from demo.settings import Limits
from demo.waiting.turns import Turns, never
from segcore.cli import main
from segcore.errors import UsageError
from segcore.inference.task import Task

pytestmark = pytest.mark.slow

SHIPPED = "deeplabv3_mobilenet_v2"
WANTED = Wanted(SAMPLES, 2, Task(), "original", "squeeze", "auto")


class CountingPool(ModelPool):
    """Counts how often a network runs; a second model is the first one under another name."""

    runs = 0

    def network(self, model, resize):
        network = super().network(SHIPPED, resize)
        name = "deeplabv3_resnet50" if model == "deeplabv3_resnet50" else network.model

        def predict_logits(batch):
            self.runs += 1
            return network.predict_logits(batch) * (0.1 if name != network.model else 1)

        return replace(network, model=name, predict_logits=predict_logits)


@pytest.fixture
def engine(no_downloads):
    return CountingPool(offline=True)


@pytest.fixture
def datasets(nine_coco, tmp_path):
    return Datasets(nine_coco, nine_coco, tmp_path / "none")


@pytest.fixture
def ask(engine, datasets, tmp_path):
    """What an evaluation says, one thing after the other."""

    def ask(wanted, stop=None):
        return list(evaluate_set(engine, datasets, wanted, tmp_path / "kept", stop or threading.Event()))

    return ask


class Held:
    """An evaluation that lasts until it is let go."""

    def __init__(self):
        self.begun, self.released = threading.Event(), threading.Event()

    def __call__(self, *_):
        yield Progress("a model", 1, 4, None)
        self.begun.set()
        assert self.released.wait(60)
        yield "an outcome"


async def begins(held):
    while not held.begun.is_set():
        await asyncio.sleep(0.01)


def in_turn(line, wanted=WANTED, stop=None):
    return whole_set.evaluate_in_turn(line, None, None, wanted, None, stop or threading.Event(), object(), never)


async def all_of(evaluation):
    return [said async for said in evaluation]


def test_evaluations_wait_in_a_line_and_say_where_they_are(monkeypatch):
    monkeypatch.setattr(whole_set, "evaluate_set", held := Held())

    async def two():
        line = Turns(1)
        first = asyncio.create_task(all_of(in_turn(line, replace(WANTED, images=100))))
        await begins(held)
        second = in_turn(line)
        place = await anext(second)
        held.released.set()
        return place, await first, await all_of(second)

    place, first, second = asyncio.run(two())
    assert place.ahead == 1 and 50 < place.seconds <= 100
    assert first[-1] == second[-1] == "an outcome"


def test_an_evaluation_is_stopped_while_it_waits_and_no_other_is(monkeypatch):
    monkeypatch.setattr(whole_set, "evaluate_set", held := Held())

    async def two():
        line, stop = Turns(1), threading.Event()
        first = asyncio.create_task(all_of(in_turn(line)))
        await begins(held)
        second = in_turn(line, stop=stop)
        await anext(second)
        stop.set()
        with pytest.raises(UsageError, match="Stopped before any image was scored"):
            await all_of(second)
        assert not first.done()
        held.released.set()
        return await first

    assert asyncio.run(two())[-1] == "an outcome"


def test_who_does_not_listen_any_more_has_no_place(monkeypatch):
    monkeypatch.setattr(whole_set, "evaluate_set", held := Held())

    async def two():
        line = Turns(1)
        first = asyncio.create_task(all_of(in_turn(line)))
        await begins(held)
        second, third = in_turn(line), in_turn(line)
        await anext(second)
        await second.aclose()
        place = await anext(third)
        held.released.set()
        await asyncio.gather(first, all_of(third))
        return place

    assert asyncio.run(two()).ahead == 1


def test_sharp_edges_are_another_way_to_score(ask, engine):
    plain, sharp = (ask(replace(WANTED, sharp=sharp))[-1].record for sharp in (False, True))
    assert (plain["refine"], sharp["refine"]) == (None, "edges")
    assert plain["confusion"] != sharp["confusion"]
    assert engine.runs == 4  # what was counted without them does not serve
    assert "edges refined" in set_tables.provenance(sharp)


def test_scores_are_those_of_the_command_line(ask, engine, nine_coco, tmp_path):
    *before, outcome = ask(WANTED)
    assert all(isinstance(each, Progress) for each in before) and before[0].done == 0 and before[0].total == 2
    assert isinstance(outcome, Outcome) and not outcome.stopped and outcome.comparison is None

    file = tmp_path / "scores.json"
    options = ["--limit", "2", "--model", SHIPPED, "--device", "cpu"]
    assert main.main(["evaluate", "--dataset", str(nine_coco), *options, "--json", str(file)]) == 0
    record = json.loads(file.read_text())
    assert {**json.loads(json.dumps(outcome.record)), "seconds": 0} == {**record, "seconds": 0}


def test_the_longest_time_ends_it_with_what_is_done_and_says_how_to_go_on(ask, engine):
    engine.limits = Limits(scoring_seconds=1e-6)
    outcome = ask(WANTED)[-1]
    assert (outcome.stopped, outcome.timed_out, outcome.record["images"]) == (True, True, 1)
    assert "this is of 1 image of 2" in set_tables.summary(outcome)
    assert "score the images again to continue" in set_tables.summary(outcome)
    engine.limits = Limits()
    outcome = ask(WANTED)[-1]
    assert (outcome.timed_out, outcome.record["images"], engine.runs) == (False, 2, 2)


def test_what_was_scored_is_not_scored_again(ask, engine):
    ask(WANTED)
    assert engine.runs == 2
    assert ask(WANTED)[-1].record["images"] == 2
    assert engine.runs == 2
    assert ask(replace(WANTED, images=3))[-1].record["images"] == 3
    assert engine.runs == 3
    ask(replace(WANTED, images=1, task=Task("binary", "person")))  # other counts
    assert engine.runs == 4


def test_stopped_it_keeps_what_is_done(ask, engine):
    stop = threading.Event()
    stop.set()
    outcome = ask(replace(WANTED, images=9), stop)[-1]
    assert outcome.stopped and 1 <= outcome.record["images"] < 9 and outcome.total == 9
    assert "Stopped: this is of 1 image of 9" in set_tables.summary(outcome)
    assert ask(replace(WANTED, images=9))[-1].record["images"] == 9
    assert engine.runs <= 9 + 2


def test_worst_and_best_images(ask):
    outcome = ask(replace(WANTED, images=9))[-1]
    scores = [row["foreground_mean_iou"] for row in outcome.record["per_image"]]
    shown = [row["foreground_mean_iou"] for row in (*outcome.worst, *outcome.best[::-1])]
    assert scores.count(None) == 1  # where there is rightly nothing, there is nothing to see either
    doubtful = [row["label_quality"] for row in outcome.doubtful]
    assert doubtful == sorted(row["label_quality"] for row in outcome.record["per_image"])[:6]
    assert len(outcome.worst) == 6 and shown == sorted(score for score in scores if score is not None)


def test_images_behind_a_class_and_behind_what_it_is_taken_for(ask):
    outcome = ask(replace(WANTED, images=9))[-1]
    names, matrix = list(outcome.record["per_class"]), outcome.record["confusion"]
    for row, name in enumerate(names):
        others = outcome.taken_for(name)
        assert others == sorted(others, key=lambda other: -matrix[row][names.index(other)])
        for column, other in enumerate(names):
            behind = outcome.behind(name, other)
            assert bool(behind) == bool(matrix[row][column]) == (other in others)
            assert sum(each["pixels"] for each in behind) <= matrix[row][column]
        assert bool(outcome.behind(name)) == (name in outcome.classes)
    assert outcome.behind("cat", "no such class") == outcome.behind("no such class") == []


def test_two_models_are_compared_on_the_same_images(ask):
    outcome = ask(replace(WANTED, images=3, other_model="deeplabv3_resnet50"))[-1]
    comparison = outcome.comparison
    assert (comparison["first"]["model"], comparison["second"]["model"]) == (SHIPPED, "deeplabv3_resnet50")
    assert comparison["images"] == 3 and len(outcome.worst) == 3
    assert outcome.record["model"] == "deeplabv3_resnet50"
    brier = comparison["dataset"]["brier"]
    assert brier["difference"] == pytest.approx(brier["second"] - brier["first"]) and brier["difference"] > 0


@pytest.mark.parametrize("suffix", whole_set.DOWNLOADS)
def test_downloads(ask, engine, datasets, tmp_path, suffix):
    outcome = ask(WANTED)[-1]
    path = whole_set.write_download(engine, datasets, outcome, suffix, tmp_path / "files")
    text = path.read_text(encoding="utf-8")
    assert path.name == f"samples_{SHIPPED}{suffix}"
    if suffix == ".json":
        assert json.loads(text) == json.loads(json.dumps(outcome.record))
    elif suffix == ".csv":
        assert len(text.splitlines()) == 1 + 2 + 21 + 2
    else:
        assert f"{outcome.record['dataset']['mean_iou']:.4f}" in text
        assert text.count("data:image/png;base64,") == 2 + 2  # both by their scores, and by their label quality


def test_errors(ask, engine, datasets, tmp_path):
    with pytest.raises(UsageError, match=r"Both models are DeepLabV3\+, MobileNetV2"):
        ask(replace(WANTED, other_model=SHIPPED))
    with pytest.raises(UsageError, match="no longer here"):
        ask(replace(WANTED, dataset="gone"))
    with pytest.raises(UsageError, match="there is no download"):
        whole_set.write_download(engine, datasets, ask(WANTED)[-1], ".exe", tmp_path)


def test_images_that_cannot_be_read_are_said_so(engine, nine_coco, tmp_path):
    folder = tmp_path / "broken"
    (folder / "annotations").mkdir(parents=True)
    source = nine_coco / "annotations" / "instances_samples.json"
    (folder / "annotations" / "instances_val2017.json").write_bytes(source.read_bytes())
    datasets = Datasets(folder, nine_coco, tmp_path / "none")
    with pytest.raises(UsageError, match="No image could be scored: .*no file"):
        list(evaluate_set(engine, datasets, replace(WANTED, dataset="own:val2017"), tmp_path, threading.Event()))


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "1 s"), (89, "89 s"), (120, "2 min"), (5000, "83 min"), (7200, "2.0 h")]
)
def test_time_left(seconds, text):
    assert set_tables.duration(seconds) == text
    assert text in set_tables.progress(Progress("A model", 1, 9, seconds))
