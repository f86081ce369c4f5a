"""From a network to one that runs fast: device, engine, precision, memory format, folded batch norm."""

from __future__ import annotations

import copy
import itertools
import sys
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ..errors import UsageError
from . import openvino
from .openvino import Calibration
from .torch_core import PRECISIONS, TorchCore, in_parts

AUTO = "auto"
TORCH, OPENVINO = ENGINES = ("torch", "openvino")
DEVICES = ("cuda", "mps", "cpu")  # in the order of preference
INT8 = "int8"
# What torch.cpu.get_capabilities() calls the instructions that multiply bfloat16: Intel and AMD, then ARM.
_BFLOAT16_INSTRUCTIONS = ("amx_bf16", "avx512_bf16", "bf16", "sve_bf16")


def _is_available(kind: str) -> bool:
    if kind == "cuda":
        return torch.cuda.is_available()
    return kind == "cpu" or torch.backends.mps.is_available()


def pick_device(device: str = AUTO) -> str:
    """The device to run on: "auto" is the first available of cuda, mps and cpu; any other is checked.

    Raises UsageError for a device that does not exist or is not available here.
    """
    available = [each for each in DEVICES if _is_available(each)]
    if device == AUTO:
        return available[0]
    kind, _, index = str(device).partition(":")
    count = torch.cuda.device_count() if kind == "cuda" else 1
    if kind not in available or (index and not (index.isdecimal() and int(index) < count)):
        choices = ", ".join((AUTO, *available))
        raise UsageError(f"the device {device!r} is not available here; choose one of: {choices}")
    return str(device) if kind == "cuda" else kind  # of the others there is one


def pick_engine(engine: str = AUTO, device: str = "cpu", precision: str = AUTO) -> str:
    """What runs the network on `device`: "auto" is "openvino" for the precision "int8", which is its own, else "torch".

    Raises UsageError for an engine that does not exist, does not run on `device`, or is not installed.
    """
    if engine == AUTO:
        engine = OPENVINO if precision == INT8 else TORCH
    if engine not in ENGINES:
        raise UsageError(f"there is no engine {engine!r}; choose one of: {', '.join((AUTO, *ENGINES))}")
    if engine == TORCH and precision == INT8:
        raise UsageError("the engine 'torch' does not compute in int8; choose the engine 'openvino'")
    if engine == OPENVINO:
        if device != "cpu":
            raise UsageError(f"the engine 'openvino' and int8 run on the processor, not on {device!r}; choose 'cpu'")
        openvino.check_installed(for_int8=precision == INT8)
    return engine


def _has_fast_bfloat16(device: str, engine: str) -> bool:
    if engine == OPENVINO:
        return openvino.has_fast_bfloat16()
    kind = device.partition(":")[0]
    if kind == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if kind == "cpu":
        capabilities = torch.cpu.get_capabilities()
        return torch.backends.mkldnn.is_available() and any(map(capabilities.get, _BFLOAT16_INSTRUCTIONS))
    return False


def pick_precision(precision: str = AUTO, device: str = "cpu", engine: str = TORCH) -> str:
    """The precision to compute in: "auto" is "bfloat16" where `device`, a CPU or a CUDA device, has that in
    hardware, else "float32"; any other is checked.

    Raises UsageError for any other name.
    """
    if precision == AUTO:
        return "bfloat16" if _has_fast_bfloat16(device, engine) else "float32"
    if precision not in (*PRECISIONS, INT8):
        choices = ", ".join((AUTO, *PRECISIONS, INT8))
        raise UsageError(f"there is no precision {precision!r}; choose one of: {choices}")
    if precision == "float16" and (device == "cpu" or engine != TORCH):
        raise UsageError("the precision 'float16' is for graphics cards; choose 'auto' or 'float32' on a processor")
    return precision


_FOLDING_ERROR = 1e-3  # relative; of float32 it is some 1e-6


class Core(nn.Module):
    """A network's backbone and classifier alone: no auxiliary head, no upsampling.

    The classifier takes the backbone's "out", or all its features where it says `takes_all_features`.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.backbone: nn.Module = network.get_submodule("backbone")
        self.classifier: nn.Module = network.get_submodule("classifier")
        self.takes_all_features = getattr(self.classifier, "takes_all_features", False) or _is_lraspp(network)

    def forward(self, x: Tensor) -> Tensor:
        features = self.backbone(x)
        if self.takes_all_features:
            return self.classifier(features)
        if not isinstance(features, Mapping) or "out" not in features:
            got = list(features) if isinstance(features, Mapping) else type(features).__name__
            raise UsageError(f"expected a backbone that returns a dictionary with the key 'out', got {got}")
        return self.classifier(features["out"])


def _is_lraspp(network: nn.Module) -> bool:
    """Asked without importing torchvision, which takes seconds: where nobody did, no network is of its class."""
    module = sys.modules.get("torchvision.models.segmentation.lraspp")
    return module is not None and isinstance(network, module.LRASPP)


def _fold_batch_norms(core: nn.Module) -> nn.Module:
    """`core`, in eval mode, with each batch norm's scale and shift in the convolution before it.

    Taken for a pair are a convolution and the batch norm that comes right after it among the parts of a module. In a
    network that uses them otherwise the result would differ, which one look at noise shows: that one stays as it is.
    Tracing would know without trying, but while one thread traces no other may run any network.
    """
    folded = copy.deepcopy(core)
    for module in list(folded.modules()):
        parts = list(module.named_children())
        for (conv_name, conv), (norm_name, norm) in itertools.pairwise(parts):
            if type(conv) is nn.Conv2d and type(norm) is nn.BatchNorm2d and norm.track_running_stats:
                setattr(module, conv_name, fuse_conv_bn_eval(conv, norm))
                setattr(module, norm_name, nn.Identity())
    noise = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = core(noise)
        difference = (folded(noise) - expected).abs().max()
    return folded if difference <= _FOLDING_ERROR * expected.abs().max() else core


class Predictor:
    """A network ready to run, as `prepare` makes it. May be called from several threads.

    run: float (N, 3, h, w) -> float32 logits, on the CPU; device: where it runs ("cpu", "cuda", ...); precision:
    "float32", "bfloat16", "float16" or "int8"; engine: "torch" or "openvino"; calibration: what int8 was measured by,
    else None.
    """

    def __init__(
        self,
        run: Callable[[Tensor], Tensor],
        device: str,
        precision: str,
        engine: str = TORCH,
        calibration: Calibration | None = None,
    ) -> None:
        self.device = device
        self.precision = precision
        self.engine = engine
        self.calibration = calibration
        self._run = run

    def __call__(self, batch: Tensor) -> Tensor:
        """Normalised float (N, 3, h, w) -> float32 logits (N, classes, h', w'), on the CPU, not upsampled.

        A batch that is too large for the device's memory goes through in parts.
        Raises UsageError for a tensor of another shape or type, and DeviceMemoryError where one image is too large.
        """
        return self._checked_run(self._run, batch)

    def on_device(self, batch: Tensor) -> Tensor:
        """As a call, but the logits stay on the device: what is made of them there need not wait for their way back."""
        return self._checked_run(self._run.on_device if isinstance(self._run, TorchCore) else self._run, batch)

    def _checked_run(self, run: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor:
        if not isinstance(batch, Tensor):
            raise UsageError(f"expected a tensor as preprocessing gives it, got {type(batch).__name__}")
        if not batch.is_floating_point() or batch.ndim != 4 or batch.shape[1] != 3:
            raise UsageError(f"expected a float tensor (N, 3, h, w), got {batch.dtype} {tuple(batch.shape)}")
        if batch.numel() == 0:
            raise UsageError(f"expected at least one image of at least 1 x 1 pixel, got {tuple(batch.shape)}")
        # Not inference_mode: its tensors may not be written to afterwards, and here it saves no time.
        with torch.no_grad():
            return in_parts(run, batch)


def prepare(
    network: nn.Module,
    *,
    device: str = AUTO,
    precision: str = AUTO,
    engine: str = AUTO,
    calibration: Callable[[], Sequence[Tensor]] | None = None,
) -> Predictor:
    """Make a torchvision-style segmentation network ready to run: a `Predictor`, tensor -> logits.

    network: has a `backbone` that returns a dictionary of features and a `classifier` that takes its "out"
    (FCN, DeepLabV3 and those made like them) or all of it (LRASPP, and classifiers whose `takes_all_features` is true).
    It is copied, and left as it was.
    device: "auto", "cuda", "cuda:N", "mps" or "cpu"; precision: "auto", "float32", "bfloat16", "float16" (not on a CPU)
    or "int8"; engine: "auto", "torch" or "openvino", as `pick_engine` has it. calibration: gives what int8 is measured
    by, preprocessed photographs, float32 (1, 3, h, w) each; called for int8 alone.

    Evaluation mode, no gradients, no auxiliary head. Batch norm is folded into the convolutions in float32
    and only then rounded to `precision`. The memory format is channels-last, the quicker one in both.
    Raises UsageError for a network of another kind, and for what is not available or not installed.
    """
    for part in ("backbone", "classifier"):
        if not isinstance(getattr(network, part, None), nn.Module):
            raise UsageError(
                f"expected a segmentation network like torchvision's, with a backbone and a classifier; "
                f"{type(network).__name__} has no {part}"
            )
    device = pick_device(device)
    engine = pick_engine(engine, device, precision)
    precision = pick_precision(precision, device, engine)
    core = _fold_batch_norms(copy.deepcopy(Core(network)).cpu().float().eval().requires_grad_(False))
    if engine == TORCH:
        return Predictor(TorchCore(core, device, precision), device, precision)
    if precision != INT8:
        return Predictor(openvino.compiled(core, precision), device, precision, engine)
    if calibration is None:
        raise UsageError("int8 needs photographs to be measured by; give them as `calibration`")
    run, measured = openvino.quantized(core, calibration())
    return Predictor(run, device, precision, engine, measured)
