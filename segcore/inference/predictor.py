"""Prepares a network to run fast: device, engine, precision, memory format, folded batch norm."""

from __future__ import annotations

import copy
import itertools
import sys
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ..errors import UsageError
from ..models import loading
from ..models.architectures import DeepLabV3Plus
from ..models.own import Model
from . import onnxruntime, openvino
from .any_network import AnyNetwork, adapted
from .engines import check_installed
from .openvino import Calibration
from .torch_core import PRECISIONS, TorchCore, in_parts

AUTO = "auto"
TORCH, OPENVINO, ONNXRUNTIME = ENGINES = ("torch", "openvino", "onnxruntime")
DEVICES = ("cuda", "mps", "cpu")  # in the order of preference
INT8 = "int8"
# Names of the bfloat16 instructions in torch.cpu.get_capabilities(): Intel and AMD, then ARM.
_BFLOAT16_INSTRUCTIONS = ("amx_bf16", "avx512_bf16", "bf16", "sve_bf16")


def _is_available(kind: str) -> bool:
    if kind == "cuda":
        return torch.cuda.is_available()
    return kind == "cpu" or torch.backends.mps.is_available()


def pick_device(device: str = AUTO) -> str:
    """Return the device to run on. "auto" is the first available of cuda, mps and cpu; other names are checked.

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
    return str(device) if kind == "cuda" else kind  # there is only one mps or cpu device


def pick_engine(engine: str = AUTO, device: str = "cpu", precision: str = AUTO) -> str:
    """Return the engine for `device`. "auto" is "openvino" for int8, which only it supports, else "torch".

    Raises UsageError for an engine that does not exist, does not run on `device`, or is not installed.
    """
    if engine == AUTO:
        engine = OPENVINO if precision == INT8 else TORCH
    if engine not in ENGINES:
        raise UsageError(f"there is no engine {engine!r}; choose one of: {', '.join((AUTO, *ENGINES))}")
    if engine != OPENVINO and precision == INT8:
        raise UsageError(f"the engine {engine!r} does not compute in int8; choose the engine 'openvino'")
    if engine == TORCH:
        return engine
    what = f"the precision {INT8!r}" if precision == INT8 else f"the engine {engine!r}"
    if device != "cpu":
        raise UsageError(f"{what} runs on the processor, not on {device!r}; choose 'cpu'")
    packages = onnxruntime.PACKAGES if engine == ONNXRUNTIME else openvino.PACKAGES
    check_installed(what, packages if engine == ONNXRUNTIME or precision == INT8 else packages[:1])
    return engine


def _has_fast_bfloat16(device: str, engine: str) -> bool:
    if engine != TORCH:
        return engine == OPENVINO and openvino.has_fast_bfloat16()
    kind = device.partition(":")[0]
    if kind == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if kind == "cpu":
        if not hasattr(torch.cpu, "get_capabilities"):  # an older PyTorch, which names no instructions
            return False
        capabilities = torch.cpu.get_capabilities()
        return torch.backends.mkldnn.is_available() and any(map(capabilities.get, _BFLOAT16_INSTRUCTIONS))
    return False


def pick_precision(precision: str = AUTO, device: str = "cpu", engine: str = TORCH) -> str:
    """Return the precision to compute in. "auto" is "bfloat16" if the CPU or CUDA device supports it in hardware,
    else "float32"; other names are checked.

    Raises UsageError for an unknown precision, and for float16 on a CPU.
    """
    if precision == AUTO:
        return "bfloat16" if _has_fast_bfloat16(device, engine) else "float32"
    if precision not in (*PRECISIONS, INT8):
        choices = ", ".join((AUTO, *PRECISIONS, INT8))
        raise UsageError(f"there is no precision {precision!r}; choose one of: {choices}")
    if precision == "float16" and (device == "cpu" or engine != TORCH):
        raise UsageError("the precision 'float16' is for graphics cards; choose 'auto' or 'float32' on a processor")
    if engine == ONNXRUNTIME and precision != "float32":
        raise UsageError(f"the engine {engine!r} computes in float32, not in {precision}; choose 'auto' or 'float32'")
    return precision


_FOLDING_ERROR = 1e-3  # relative tolerance; rounding in float32 gives about 1e-6


class Core(nn.Module):
    """A network's backbone and classifier, without the auxiliary head and the upsampling.

    The classifier gets the backbone's "out", or all features if its `takes_all_features` is true.
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


def core_of(model: str | Model) -> Core | AnyNetwork:
    """Load a model's network with its weights, as `loading.load` does, without auxiliary head and upsampling.

    Raises UsageError for a network of the caller's own that does not give logits for its categories.
    """
    network, own = loading.load(model), loading.own_model(model)
    if own is None:
        return Core(network)
    return adapted(Core(network) if _is_torchvisions(network) else network, own)


def _is_torchvisions(network: nn.Module) -> bool:
    """Whether the network's logits are known to be those of its classifier, upsampled."""
    module = sys.modules.get("torchvision.models.segmentation._utils")
    simple = module is not None and isinstance(network, module._SimpleSegmentationModel)
    return simple or _is_lraspp(network) or isinstance(network, DeepLabV3Plus)


def _is_lraspp(network: nn.Module) -> bool:
    """Whether it is torchvision's LRASPP. If torchvision was never imported, it is not; importing it takes seconds."""
    module = sys.modules.get("torchvision.models.segmentation.lraspp")
    return module is not None and isinstance(network, module.LRASPP)


def _fold_batch_norms(core: nn.Module) -> nn.Module:
    """Fold each batch norm of `core`, in eval mode, into the convolution before it.

    A convolution and a batch norm are a pair if they follow each other among a module's children. In an unusual network
    they may not be connected. So the folded network is compared on noise, and if the results differ `core` is returned
    unchanged. Tracing would find the pairs reliably, but no other thread could run a network during tracing.
    """
    folded = copy.deepcopy(core)
    for module in list(folded.modules()):
        parts = list(module.named_children())
        for (conv_name, conv), (norm_name, norm) in itertools.pairwise(parts):
            if type(conv) is nn.Conv2d and type(norm) is nn.BatchNorm2d and norm.track_running_stats:
                setattr(module, conv_name, fuse_conv_bn_eval(conv, norm))
                setattr(module, norm_name, nn.Identity())
    size_hw = core.size_hw if isinstance(core, AnyNetwork) else (64, 64)
    noise = torch.randn(1, 3, *size_hw, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = core(noise)
        difference = (folded(noise) - expected).abs().max()
    return folded if difference <= _FOLDING_ERROR * expected.abs().max() else core


class Predictor:
    """A network that is ready to run, made by `prepare`. It is thread-safe.

    run: float (N, 3, h, w) -> float32 logits on the CPU. device: "cpu", "cuda", ... precision: "float32", "bfloat16",
    "float16" or "int8". engine: one of ENGINES. calibration: how int8 was calibrated, else None.
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
        """Run the network: normalised float (N, 3, h, w) -> float32 logits (N, classes, h', w'), on the CPU.

        The logits are not upsampled. A batch that is too large for the device's memory is split.
        Raises UsageError for a tensor of another shape or type, and DeviceMemoryError if one image is too large.
        """
        return self._checked_run(self._run, batch)

    def on_device(self, batch: Tensor) -> Tensor:
        """Run the network and leave the logits on the device, for further work there."""
        return self._checked_run(self._run.on_device if isinstance(self._run, TorchCore) else self._run, batch)

    def _checked_run(self, run: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor:
        if not isinstance(batch, Tensor):
            raise UsageError(f"expected a tensor as preprocessing gives it, got {type(batch).__name__}")
        if not batch.is_floating_point() or batch.ndim != 4 or batch.shape[1] != 3:
            raise UsageError(f"expected a float tensor (N, 3, h, w), got {batch.dtype} {tuple(batch.shape)}")
        if batch.numel() == 0:
            raise UsageError(f"expected at least one image of at least 1 x 1 pixel, got {tuple(batch.shape)}")
        # Not inference_mode: its tensors cannot be modified in place afterwards, and it is not faster here.
        with torch.no_grad():
            return in_parts(run, batch)


def _torchvision_style(network: nn.Module) -> Core:
    for part in ("backbone", "classifier"):
        if not isinstance(getattr(network, part, None), nn.Module):
            raise UsageError(
                f"expected a segmentation network like torchvision's, with a backbone and a classifier; "
                f"{type(network).__name__} has no {part}"
            )
    return Core(network)


def prepare(
    network: nn.Module,
    *,
    device: str = AUTO,
    precision: str = AUTO,
    engine: str = AUTO,
    calibration: Callable[[], Sequence[Tensor]] | None = None,
) -> Predictor:
    """Prepare a torchvision-style segmentation network to run. Returns a `Predictor`: tensor -> logits.

    network: has a `backbone` that returns a dictionary of features, and a `classifier` that takes its "out" (FCN,
    DeepLabV3 and similar networks) or all features (LRASPP, and classifiers whose `takes_all_features` is true); or a
    core, see `core_of`. It is copied and not changed.
    device: "auto", "cuda", "cuda:N", "mps" or "cpu". precision: "auto", "float32", "bfloat16", "float16" (not on a CPU)
    or "int8". engine: "auto" or one of ENGINES, see `pick_engine`. calibration: returns the preprocessed
    photographs, float32 (1, 3, h, w) each, for int8; it is called only then.

    The network runs in eval mode, without gradients and auxiliary head. Batch norm is folded into the convolutions in
    float32 before the weights are rounded to `precision`. The memory format is channels-last, which is faster.
    Raises UsageError for a network of another kind, and for a device, precision or engine that is not available.
    """
    if not isinstance(network, Core | AnyNetwork):
        network = _torchvision_style(network)
    device = pick_device(device)
    engine = pick_engine(engine, device, precision)
    precision = pick_precision(precision, device, engine)
    core = _fold_batch_norms(copy.deepcopy(network).cpu().float().eval().requires_grad_(False))
    if engine == TORCH:
        return Predictor(TorchCore(core, device, precision), device, precision)
    if engine == ONNXRUNTIME:
        return Predictor(onnxruntime.compiled(core), device, precision, engine)
    if precision != INT8:
        return Predictor(openvino.compiled(core, precision), device, precision, engine)
    if calibration is None:
        raise UsageError("int8 needs photographs to be measured by; give them as `calibration`")
    run, measured = openvino.quantized(core, calibration())
    return Predictor(run, device, precision, engine, measured)
