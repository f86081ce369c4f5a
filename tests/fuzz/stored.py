"""Targets that read what segcore itself has stored: trained models, journals, checkpoints; and names of classes."""

from __future__ import annotations

import json
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from safetensors.torch import save

from segcore.categories import VOC, Categories
from segcore.evaluation.counts import Counts
from segcore.evaluation.journal import Journal
from segcore.evaluation.objects import ObjectOutcome
from segcore.evaluation.protocols import protocol
from segcore.evaluation.run import Network, Run, Scored
from segcore.inference import upsampling
from segcore.inference.task import Task
from segcore.metrics import confusion
from segcore.models import checkpoint
from segcore.models.transforms import IMAGENET_MEAN, IMAGENET_STD
from segcore.training.state import MovingAverage, TrainingState
from segcore.truth.coco import CocoDataset
from tests.fuzz.annotations import documents
from tests.fuzz.mutations import mutated_bytes, mutated_documents, values
from tests.fuzz.oracle import Target, attempted

# ---- trained models


@cache
def headers() -> list[dict[str, Any]]:
    """What trained models' files say of themselves."""
    made = (Categories.of("cat", "hot dog"), Categories.any_of(("a", "b")), VOC)
    return [
        json.loads(
            checkpoint.Header("deeplabv3_mobilenet_v2", each, 520, IMAGENET_MEAN, IMAGENET_STD, {"seed": 0}).to_json()
        )
        for each in made
    ]


def models() -> list[bytes]:
    """Such files, whose only weight is a small one."""
    weights = {"weight": torch.zeros(2, dtype=torch.float16)}
    return [save(weights, {"segcore": json.dumps(each)}) for each in headers()]


def _model_file(header: Any) -> bytes:
    return save({"weight": torch.zeros(2)}, {"segcore": json.dumps(header)})


def check_model(data: bytes) -> None:
    """Any bytes are a trained model, of whose header everything can be used, or are refused."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.safetensors")
        path.write_bytes(data)
        header, error = attempted(checkpoint.read_header, path)
    if error is None:
        for resize in ("squeeze", "aspect", "torchvision"):
            before, refused = attempted(header.preprocess, resize)
            if refused is None:
                attempted(before.size_hw, 30, 40)
        check_categories_known(header.categories)
        assert checkpoint.Header.from_json(header.to_json()) == header
        hash(header.categories)
        assert header.network.isprintable()


# ---- classes and tasks

_names = st.lists(
    st.text(max_size=5) | st.sampled_from(["cat", "CAT", "c_a t", "person", "any", "background"]), max_size=4
)


def check_categories(names: list[str]) -> None:
    """Any names are categories, or are refused."""
    for make in (lambda: Categories.of(*names), lambda: Categories.any_of(tuple(names))):
        categories, error = attempted(make)
        if error is None:
            check_categories_known(categories)


def check_categories_known(categories: Categories) -> None:
    """Every class is found by its own names, and every name is a text."""
    assert categories.screen_palette.shape == (256, 3)
    for number, name in enumerate(categories.names):
        name.encode("utf-8")
        categories.friendly[number].encode("utf-8")
        assert categories.class_id(name) == categories.class_id(number) == number
    for task in (Task(categories=categories), Task("binary", categories=categories)):
        assert len(task.names) == len(task.friendly_names) == task.num_classes


_logits = st.tuples(
    st.integers(0, 2**32 - 1), st.sampled_from([(1, 1), (3, 4), (5, 2)]), st.sampled_from([0, 1e-3, 1, 30, 6e4]),
    st.sampled_from([(1, 1), (2, 9), (17, 3), (40, 41)]), st.sampled_from(["float16", "float32"]),
)  # fmt: skip


@st.composite
def tasks(draw: Any) -> tuple:
    """A task's settings, right or of any kind, and logits to ask."""
    others = values.filter(lambda value: len(repr(value)) < 300)  # what was given is quoted
    mode = draw(st.sampled_from(["multiclass", "binary", "binary"]) | others)
    class_name = draw(st.sampled_from(["any", "dog", "TV", "dining table", 3, 20, True]) | others)
    threshold = draw(st.none() | st.floats(0, 1) | others)
    return mode, class_name, threshold, draw(_logits)


def check_task(case: tuple) -> None:
    """Any settings are a task, whose decisions do not depend on how they are computed, or are refused."""
    *settings, (seed, coarse_hw, spread, size_hw, dtype) = case
    task, error = attempted(Task, *settings)
    if error:
        return
    with np.errstate(over="ignore"):  # infinite ones are left out below
        logits = (np.random.default_rng(seed).standard_normal((len(VOC), *coarse_hw)) * spread).astype(dtype)
    logits[3] = logits[2]  # equal ones
    if not np.isfinite(logits).all():
        return
    (prediction, confidence), _ = attempted(
        lambda: (decided := task.predict(logits, size_hw), task.confidence(logits, decided))
    )
    assert prediction.shape == size_hw and prediction.dtype == np.uint8 and prediction.max() < task.num_classes
    assert np.all(np.isnan(confidence) | ((confidence >= 0) & (confidence <= 1 + 1e-6)))
    numbers, _ = attempted(task.voc_labels, logits, prediction)
    assert numbers.max() < len(VOC)
    json.dumps(task.record(), allow_nan=False)
    (whole, striped), _ = attempted(_whole_and_striped, logits, size_hw)
    assert np.array_equal(whole, striped)
    assert np.abs(striped.sum(axis=0) - 1).max() < 1e-4
    truth = np.where(prediction.T[::-1].reshape(size_hw) % 3 == 0, 255, prediction).astype(np.uint8)
    scores, _ = attempted(lambda: confusion.scores(confusion.confusion_matrix(truth, prediction, task.num_classes)))
    scores.pop("classes_counted")
    for value in scores.values():
        value = np.asarray(value)
        assert np.all(np.isnan(value) | ((value >= 0) & (value <= 1)))


def _whole_and_striped(logits: np.ndarray, size_hw: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The probabilities in one stripe, and a row at a time."""
    whole, before = upsampling.probabilities(logits, size_hw), upsampling.STRIPE_VALUES
    labels = upsampling.label_map(logits, size_hw)
    upsampling.STRIPE_VALUES = 1
    try:
        assert np.array_equal(upsampling.label_map(logits, size_hw), labels)
        return whole, upsampling.probabilities(logits, size_hw)
    finally:
        upsampling.STRIPE_VALUES = before


# ---- journals


def _run(batch_size: int = 1) -> Run:
    dataset = CocoDataset.from_document(Path("folder"), "tiny", documents()[0], "tiny")
    network = Network("deeplabv3_mobilenet_v2", "0" * 64, "squeeze", "cpu", "float32", None)
    return Run(network, dataset, protocol("original"), Task("binary"), dataset.images, batch_size)


@cache
def journals() -> list[bytes]:
    """A journal that holds both images of a run."""
    run = _run()
    length = sum(int(np.prod(shape)) for shape in Counts._shapes(2).values())
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder), run)
        journal.read()
        for each in run.images:
            counts = Counts.from_flat(np.arange(length, dtype=np.int64), 2)
            journal.append([Scored(each, counts, (ObjectOutcome(1, 15, 30, True, 15),), brightness=99.5)])
        return [journal.path.read_bytes()]


@st.composite
def mutated_journals(draw: Any) -> bytes:
    """Its lines changed as JSON, or its bytes."""
    first, *lines = journals()[0].decode().splitlines()
    changed = [json.dumps(draw(mutated_documents(lambda line=line: [json.loads(line)]))) for line in lines]
    ending = draw(st.sampled_from(["\n", "\n", "", "\n\n", "\r\n"]))
    data = ("\n".join([first, *changed]) + ending).encode("utf-8", "surrogatepass")
    return draw(mutated_bytes(lambda: [data])) if draw(st.integers(0, 3)) == 0 else data


def check_journal(data: bytes) -> None:
    """Any bytes are a journal that the run goes on with, or are refused; what it gives can be added up and told."""
    run = _run()
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder), run)
        journal.path.write_bytes(data)
        done, error = attempted(journal.read)
        if error:
            return
        again, _ = attempted(journal.read)
        assert again.keys() == done.keys()
        lines = [json.loads(line) for line in journal.path.read_text().splitlines()]
        assert len(lines) > len(done)
    assert done.keys() <= {image.id for image in run.images}
    for number, each in done.items():
        assert each.image.id == number
        for outcome in each.objects:
            _check_outcome(outcome)
        if each.counts.flat().max() > 2**50:  # no picture has so many; sums of them have no room
            continue
        scores, _ = attempted(each.counts.scores)
        for key in ("pixel_accuracy", "mean_iou", "boundary_iou", "brier"):
            assert np.isnan(scores[key]) or 0 <= scores[key], (key, scores[key])
        attempted(each.counts.reliability_record)


def _check_outcome(outcome: ObjectOutcome) -> None:
    assert [type(each) for each in outcome] == [int, int, int, bool, int], outcome
    assert outcome.size in ("small", "medium", "large")
    assert 0 <= outcome.class_id < len(VOC) and 0 <= outcome.taken_for < len(VOC), outcome


# ---- checkpoints

SETTINGS = {"seed": 1, "crop": 8}


def _state() -> TrainingState:
    network = torch.nn.Linear(2, 1)
    return TrainingState(network, torch.optim.AdamW(network.parameters()), MovingAverage(network, 0.5))


@cache
def checkpoints() -> list[bytes]:
    """What a small training has saved."""
    with tempfile.TemporaryDirectory() as folder:
        _state().save(Path(folder), SETTINGS)
        return [Path(folder, "checkpoint.pt").read_bytes()]


@st.composite
def saved_objects(draw: Any) -> bytes:
    """A checkpoint that torch itself has written and in which something else is."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "checkpoint.pt")
        path.write_bytes(checkpoints()[0])
        saved = torch.load(path, weights_only=True)
        key = draw(st.sampled_from([*saved, None]))
        part = saved.get(key)
        change = draw(st.sampled_from(["value", "missing", "part"]))
        if key is None:
            saved = draw(values)
        elif change == "missing":
            del saved[key]
        elif change == "part" and isinstance(part, dict) and part:
            part[draw(st.sampled_from(sorted(part)))] = draw(values | st.just(torch.zeros(3, 3)))
        else:
            saved[key] = draw(values)
        torch.save(saved, path)
        return path.read_bytes()


def check_checkpoint(data: bytes) -> None:
    """Any bytes are a checkpoint to go on from, or are refused."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "checkpoint.pt").write_bytes(data)
        state = _state()
        _, error = attempted(state.restore, Path(folder), SETTINGS)
    if error is None:
        assert type(state.step) is int and state.step >= 0
        assert state.best is None or isinstance(state.best, float)
        assert state.average.state.keys() == state.network.state_dict().keys()


TARGETS = (
    Target("model", mutated_documents(headers).map(_model_file) | mutated_bytes(models), check_model, models),
    Target("categories", _names, check_categories),
    Target("task", tasks(), check_task),
    Target("journal", mutated_journals(), check_journal, journals),
    Target("checkpoint", saved_objects() | mutated_bytes(checkpoints), check_checkpoint),
)
