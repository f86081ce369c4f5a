"""Engines, devices that run out of memory, and looking several times, against plain loops over plain calls."""

import importlib.util
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.nn.functional as F

from segcore import Segmenter
from segcore.errors import DeviceMemoryError, UsageError
from segcore.imaging import reading
from segcore.inference import openvino, predictor
from segcore.inference.predictor import Predictor, pick_engine, pick_precision, prepare
from segcore.inference.tta import LOOKS, SCALES, augmented_logits
from segcore.models import loading
from segcore.models.transforms import Preprocess

pytestmark = pytest.mark.slow

SHIPPED = "deeplabv3_mobilenet_v2"


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def stride_4(batch: torch.Tensor) -> torch.Tensor:
    """A network that tells left from right and near from far: (N, 3, h, w) -> (N, 5, h / 4, w / 4)."""
    weight = noise(5, 3, 5, 5)
    return F.conv2d(batch, weight, stride=4, padding=2)


# A device's memory


OUT_OF_MEMORY = {
    "cuda": torch.OutOfMemoryError("CUDA out of memory"),
    "mps": RuntimeError("MPS backend out of memory (MPS allocated: 5.21 GB, max allowed: 9.07 GB)."),
    "cpu": RuntimeError("[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory: you tried"),
}


class SmallMemory:
    """Has room for so many images at a time, and remembers what it was asked for."""

    def __init__(self, room: int, device: str = "cuda") -> None:
        self.room, self.refusal = room, OUT_OF_MEMORY[device]
        self.asked = []

    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        self.asked.append(len(batch))
        if len(batch) > self.room:
            raise self.refusal
        return stride_4(batch)


@pytest.mark.parametrize("kind", OUT_OF_MEMORY)
@pytest.mark.parametrize("room", [1, 2, 3, 7])
def test_a_batch_that_is_too_large_goes_through_in_parts(room, kind):
    device, batch = SmallMemory(room, kind), noise(7, 3, 16, 24)
    logits = predictor.Predictor(device, kind, "float32")(batch)
    expected = torch.cat([stride_4(each[None]) for each in batch])
    torch.testing.assert_close(logits, expected)
    assert device.asked[0] == 7
    assert sum(size for size in device.asked if size <= room) == 7


def test_memory_is_freed_between_tries(monkeypatch):
    device, freed_after = SmallMemory(1), []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: freed_after.append(list(device.asked)))
    predictor.Predictor(device, "cuda", "float32")(noise(2, 3, 8, 8))
    assert freed_after == [[2]] and device.asked == [2, 1, 1]


@pytest.mark.parametrize("kind", OUT_OF_MEMORY)
def test_one_image_that_is_too_large_errors(kind):
    with pytest.raises(DeviceMemoryError, match="24 x 16 pixels.*resize 'squeeze'.*device 'cpu'"):
        predictor.Predictor(SmallMemory(0, kind), kind, "float32")(noise(4, 3, 16, 24))


def test_other_failures_are_not_taken_for_want_of_memory():
    def fail(batch: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    with pytest.raises(RuntimeError, match="illegal memory access"):
        predictor.Predictor(fail, "cuda", "float32")(noise(2, 3, 16, 24))


# Careful


def test_tta_is_the_mean_of_the_probabilities_of_all_looks():
    batch = noise(2, 3, 40, 64)
    logits = augmented_logits(stride_4, batch)
    largest_hw = stride_4(F.interpolate(batch, (50, 80))).shape[-2:]
    total = 0
    for scale in SCALES:
        for mirrored in (False, True):
            seen = F.interpolate(batch, (round(scale * 40), round(scale * 64)), mode="bilinear", antialias=True)
            said = stride_4(seen.flip(3)).flip(3) if mirrored else stride_4(seen)
            total = total + F.interpolate(said, largest_hw, mode="bilinear").softmax(1)
    assert logits.shape == (2, 5, *largest_hw)
    torch.testing.assert_close(logits.softmax(1), total / LOOKS, atol=1e-5, rtol=1e-4)


def test_tta_logits_are_finite_where_a_class_is_impossible():
    def sure(batch: torch.Tensor) -> torch.Tensor:
        return stride_4(batch) * 1000

    assert augmented_logits(sure, noise(1, 3, 40, 64)).isfinite().all()


def test_tta_sees_the_mirrored_photograph_mirrored():
    def mirrored_too(batch: torch.Tensor) -> torch.Tensor:
        return F.avg_pool2d(batch, 4) + 2 * F.avg_pool2d(batch, 4).roll(1, -1)

    batch = noise(1, 3, 64, 64)
    torch.testing.assert_close(
        augmented_logits(mirrored_too, batch.flip(3)), augmented_logits(mirrored_too, batch).flip(3)
    )


def test_tta_is_recorded_and_kept_small(examples_coco):
    segmenter = Segmenter(SHIPPED, device="cpu", precision="float32")
    photograph = examples_coco / "samples" / "000000900002.jpg"
    plain, tta = segmenter(photograph), segmenter(photograph, tta=True)
    assert (plain.provenance.tta, tta.provenance.tta) == (False, True)
    assert plain.logits.shape == (21, 130, 130) and tta.logits.shape == (21, 163, 163)
    assert tta.logits.dtype == "float16"
    assert 0 < (plain.labels != tta.labels).mean() < 0.1
    torch.testing.assert_close(tta.probabilities().sum(0), torch.ones(tta.size_hw).numpy(), atol=1e-5, rtol=0)


# Engines


def test_a_missing_package_is_named_with_its_command(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="engine 'openvino' needs .*pip install openvino$"):
        pick_engine("openvino")
    with pytest.raises(UsageError, match="engine 'onnxruntime' needs .*pip install onnx onnxruntime onnxscript$"):
        pick_engine("onnxruntime")
    with pytest.raises(UsageError, match="precision 'int8' needs .*pip install openvino nncf$"):
        pick_engine(precision="int8")


def test_engine_errors():
    with pytest.raises(UsageError, match="no engine 'tensorrt'; choose one of: auto, torch, openvino, onnxruntime"):
        pick_engine("tensorrt")
    for engine in ("torch", "onnxruntime"):
        with pytest.raises(UsageError, match=f"{engine}' does not compute in int8; choose the engine 'openvino'"):
            pick_engine(engine, precision="int8")
    for engine in ("openvino", "onnxruntime"):
        with pytest.raises(UsageError, match=f"{engine}' runs on the processor, not on 'cuda'"):
            pick_engine(engine, "cuda")
    assert pick_precision("auto", engine="onnxruntime") == "float32"
    with pytest.raises(UsageError, match="onnxruntime' computes in float32, not in bfloat16"):
        pick_precision("bfloat16", engine="onnxruntime")


@pytest.fixture(scope="module")
def shipped() -> torch.nn.Module:
    return loading.load(SHIPPED)


@pytest.fixture(scope="module", params=["openvino", "onnxruntime"])
def by_engine(request, shipped, tmp_path_factory):
    pytest.importorskip(request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield prepare(shipped, precision="float32", engine=request.param, device="cpu")


def test_openvino_takes_the_only_processor_by_its_number(shipped):
    pytest.importorskip("openvino")
    assert prepare(shipped, precision="float32", engine="openvino", device="cpu:0").device == "cpu"


@pytest.mark.parametrize("size_hw", [(64, 64), (65, 97), (130, 260), (31, 200)])
def test_engines_give_what_torch_gives(shipped, by_engine, size_hw):
    batch = noise(2, 3, *size_hw)
    with torch.no_grad():
        expected = shipped.classifier(shipped.backbone(batch))
    logits = by_engine(batch)
    assert logits.shape == expected.shape and logits.dtype == torch.float32
    assert (logits - expected).abs().max() <= 1e-4 * expected.abs().max()


def test_engines_give_photographs_of_three_sizes_torchs_labels(shipped, by_engine, examples_coco):
    photographs = sorted((examples_coco / "samples").glob("*.jpg"))[:3]
    classes = set()
    for path, size, resize in zip(photographs, (96, 161, 224), ("squeeze", "aspect", "aspect"), strict=True):
        batch = Preprocess(size=size, resize=resize)(reading.read(path))
        with torch.no_grad():
            expected = shipped(batch)["out"].argmax(1)
        labels = F.interpolate(by_engine(batch), batch.shape[-2:], mode="bilinear").argmax(1)
        assert (labels == expected).float().mean() >= 0.999
        classes |= set(expected.unique().tolist())
    assert len(classes) > 1


def test_engines_may_be_called_from_several_threads(by_engine):
    batches = [noise(1, 3, 64, 64 + 16 * number) for number in range(6)]
    expected = [by_engine(batch) for batch in batches]
    with ThreadPoolExecutor(6) as pool:
        for given, alone in zip(pool.map(by_engine, batches * 3), expected * 3, strict=True):
            assert torch.equal(given, alone)


def test_openvino_reports_nothing_to_anybody(tmp_path):
    pytest.importorskip("openvino")
    program = (
        "import sys, torch; from segcore import prepare; from segcore.models.loading import build_network;"
        "prepare(build_network('deeplabv3_mobilenet_v2'), engine='openvino', device='cpu');"
        "sys.exit(any(name.startswith('openvino_telemetry.') for name in sys.modules))"
    )
    environment = os.environ | {"HOME": str(tmp_path), "USERPROFILE": str(tmp_path)}
    assert subprocess.run([sys.executable, "-c", program], env=environment, timeout=300).returncode == 0
    assert not any("intel" in path.name.lower() for path in tmp_path.iterdir())


def test_int8_agrees_and_is_made_once(shipped, tmp_path, monkeypatch):
    pytest.importorskip("openvino")
    pytest.importorskip("nncf")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    photographs = [noise(1, 3, 96, 96), noise(1, 3, 128, 64)]

    def prepared() -> Predictor:
        return prepare(shipped, device="cpu", precision="int8", calibration=lambda: photographs)

    first = prepared()
    assert (first.engine, first.precision, first.calibration.photographs) == ("openvino", "int8", 2)
    assert 0.9 < first.calibration.agreement <= 1
    monkeypatch.setattr(openvino, "_quantize", None)
    again = prepared()
    assert again.calibration == first.calibration
    assert torch.equal(again(photographs[0]), first(photographs[0]))
    logits = prepare(shipped, device="cpu", precision="float32")(photographs[0])
    assert not torch.equal(logits, first(photographs[0]))
