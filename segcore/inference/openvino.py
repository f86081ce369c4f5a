"""OpenVINO, an optional engine for CPUs. It is faster than PyTorch, and faster still in int8.

Making an int8 network takes long, so it is cached in $XDG_CACHE_HOME/segcore/int8 (by default ~/.cache/segcore/int8).
The cache may be deleted at any time.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, cast

import filelock
import torch
from torch import Tensor, nn

from ..errors import UsageError
from ..models.own import failure
from .any_network import AnyNetwork
from .engines import Run, cached_file, check_equal, example_size_hw, sha256, sha256_of_code

if TYPE_CHECKING:
    import openvino

PACKAGES = ("openvino", "nncf")  # the second for int8 alone


@dataclass(frozen=True)
class Calibration:
    """How an int8 network was calibrated: the number of photographs, and the SHA-256 of their tensors.

    agreement: the share of positions of the logits' grid, 0..1, where int8 and float32 give the same class for these
    photographs.
    """

    photographs: int
    sha256: str
    agreement: float


@cache
def _core() -> openvino.Core:
    # If openvino_telemetry can be imported, openvino and nncf report their use to Intel. segcore promises not to.
    cast(dict[str, Any], sys.modules).setdefault("openvino_telemetry", None)
    import openvino

    return openvino.Core()


def has_fast_bfloat16() -> bool:
    """Whether OpenVINO can use the processor's bfloat16 instructions."""
    return "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def compiled(core: nn.Module, precision: str) -> Run:
    """Compile a core in eval mode to a thread-safe callable: float32 (N, 3, h, w) -> float32 logits.

    precision: "float32" or "bfloat16". The number of threads is PyTorch's at the time of this call.
    """
    run = _compile(_converted(core), precision)
    if isinstance(core, AnyNetwork):
        check_equal(run, core, "OpenVINO")
    return run


def _converted(core: nn.Module) -> openvino.Model:
    _core()
    import openvino

    example = torch.zeros(1, 3, *example_size_hw(core))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning, message=".*torch.jit")  # OpenVINO reads its traces
        warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)  # what is traced wrongly is found later
        try:
            traced = torch.jit.trace(core, example, check_trace=False)  # checking would take three times as long
            return openvino.convert_model(traced, example_input=example, input=[-1, 3, -1, -1])
        except Exception as error:
            if not isinstance(core, AnyNetwork):
                raise
            raise UsageError(
                f"OpenVINO cannot compute this network: {failure(error)}; choose the engine 'torch'"
            ) from error


def _compile(model: openvino.Model, precision: str) -> Run:
    network = _core().compile_model(
        model,
        "CPU",
        {
            "INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16"}[precision],
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        },
    )

    def run(batch: Tensor) -> Tensor:
        request = network.create_infer_request()  # one must not be shared between threads
        outputs = request.infer([batch.to(torch.float32).contiguous().numpy()])
        return torch.from_numpy(outputs[0].copy())

    return run


def quantized(core: nn.Module, photographs: Sequence[Tensor]) -> tuple[Run, Calibration]:
    """Compile a core in eval mode in int8, like `compiled`, and measure its agreement with float32.

    photographs: float32 (1, 3, h, w) each; the value ranges of int8 are measured on them. More photographs, similar to
    the real inputs, are better. The first convolution and depthwise convolutions are not quantized: int8 harms them
    most and speeds them up least. Raises UsageError for no photographs, and if OpenVINO computes a caller's network
    wrongly.
    """
    if not photographs:
        raise UsageError("int8 needs at least one photograph to be measured by")
    rest = "bfloat16" if has_fast_bfloat16() else "float32"
    digest = sha256(photographs)
    code = [sha256_of_code(core)] if isinstance(core, AnyNetwork) else []
    file = cached_file("int8", ".xml", core, digest, rest, *code, packages=PACKAGES)
    with filelock.FileLock(file.with_suffix(".lock")):
        facts = file.with_suffix(".json")  # written last, so if it exists the network is complete
        if facts.is_file():
            calibration = Calibration(**json.loads(facts.read_text()))
            return _compile(_core().read_model(file), rest), calibration
        exact = _converted(core)
        exact_run = _compile(exact, "float32")
        if isinstance(core, AnyNetwork):
            check_equal(exact_run, core, "OpenVINO")
        model = _quantize(exact, photographs)
        run = _compile(model, rest)
        same = [(run(each).argmax(1) == exact_run(each).argmax(1)).float().mean().item() for each in photographs]
        calibration = Calibration(len(photographs), digest, sum(same) / len(same))
        import openvino

        openvino.save_model(model, file, compress_to_fp16=False)
        facts.write_text(json.dumps(asdict(calibration)))
    return run, calibration


def _quantize(model: openvino.Model, photographs: Sequence[Tensor]) -> openvino.Model:
    import nncf

    nncf.set_log_level(logging.ERROR)
    operations = model.get_ordered_ops()
    first = next(each for each in operations if each.get_type_name() == "Convolution")
    depthwise = [each for each in operations if each.get_type_name() == "GroupConvolution"]
    names = [each.get_friendly_name() for each in (first, *depthwise)]
    with contextlib.redirect_stdout(sys.stderr):  # nncf prints progress; stdout is for results
        return nncf.quantize(
            model,
            nncf.Dataset([each.numpy() for each in photographs]),
            subset_size=len(photographs),
            ignored_scope=nncf.IgnoredScope(names=names),
        )
