"""ONNX Runtime, an optional engine for CPUs, and the ONNX programs that it runs.

Making an ONNX program takes seconds, so those of known networks are cached in $XDG_CACHE_HOME/segcore/onnx (by default
~/.cache/segcore/onnx). The cache may be deleted at any time.
"""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import filelock
import torch
from torch import Tensor, nn

from ..errors import UsageError
from ..files.atomic import atomic_write
from ..models.own import failure
from .any_network import AnyNetwork
from .engines import Run, cached_file, check_equal, example_size_hw

if TYPE_CHECKING:
    import onnxruntime

PACKAGES = ("onnx", "onnxruntime", "onnxscript")
OPSETS = range(18, 24)  # PyTorch exports 18, and onnxscript converts it faithfully only upwards
OPSET = OPSETS[0]
INPUT, OUTPUT = "image", "logits"
_KNOWN = ("torch.nn.", "torchvision.", "segcore.")  # the code of their layers changes only with their versions


def compiled(core: nn.Module) -> Run:
    """Compile a core in eval mode to a thread-safe callable: float32 (N, 3, h, w) -> float32 logits.

    The number of threads is PyTorch's at the time of this call.
    Raises UsageError if a caller's network cannot be exported, or if ONNX Runtime computes it wrongly.
    """
    if all(type(each).__module__.startswith(_KNOWN) for each in core.modules()):
        run = _run(session(_cached(core)))
    else:
        try:
            run = _run(session(exported(core).model_proto.SerializeToString()))
        except Exception as error:  # the caller's code may raise anything
            raise UsageError(
                f"ONNX Runtime cannot compute this network: {failure(first_error(error))}; choose the engine 'torch'"
            ) from error
    if isinstance(core, AnyNetwork):
        check_equal(run, core, "ONNX Runtime")
    return run


def _cached(core: nn.Module) -> Path:
    file = cached_file("onnx", ".onnx", core, str(OPSET), packages=("torch", "torchvision", "onnxscript"))
    with filelock.FileLock(file.with_suffix(".lock")):
        if not file.is_file():
            with atomic_write(file) as partial:
                exported(core).save(partial, external_data=False)
    return file


def exported(network: nn.Module, opset: int = OPSET) -> torch.onnx.ONNXProgram:
    """Export a network as an ONNX program: INPUT, float32 (N, 3, h, w) -> OUTPUT. N, h and w are free."""
    # With a batch of 1, torch.export would take 1 for a constant.
    example = torch.zeros(2, 3, *example_size_hw(network))
    _report_nothing()  # onnxscript imports ONNX Runtime
    with _quiet():
        program = torch.onnx.export(
            network,
            (example,),
            dynamo=True,
            opset_version=opset,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=({0: "batch", 2: "height", 3: "width"},),
            verbose=False,
        )
    assert program is not None  # it is None only if a file is written
    return program


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hide PyTorch's remarks on its own exporter, which nobody who exports can act on."""
    log = logging.getLogger("torch.onnx")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(before)


def _report_nothing() -> None:
    """Keep ONNX Runtime from reporting its use to Microsoft, its default. It reads the variable when it is imported."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"


def first_error(error: BaseException) -> BaseException:
    """Return the exception that led to this one. PyTorch's exporter wraps it in advice on how to report it."""
    return error if error.__cause__ is None else first_error(error.__cause__)


def session(program: Path | bytes) -> onnxruntime.InferenceSession:
    """Load an ONNX program, a file or its bytes, for the processor."""
    _report_nothing()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    return onnxruntime.InferenceSession(program, options, providers=["CPUExecutionProvider"])


def _run(session: onnxruntime.InferenceSession) -> Run:
    def run(batch: Tensor) -> Tensor:
        (logits,) = session.run([OUTPUT], {INPUT: batch.to(torch.float32).contiguous().numpy()})
        return torch.from_numpy(logits)

    return run
