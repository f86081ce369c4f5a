"""Runs a network on a PyTorch device: uploads batches, downloads logits, and splits batches if memory is too small."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..errors import DeviceMemoryError

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class TorchCore:
    """A core on a device: float (N, 3, h, w) -> float32 logits. It is thread-safe.

    With float32 on a graphics card, TF32 (10 bits of mantissa) is switched off for convolutions in this process.
    """

    def __init__(self, core: nn.Module, device: str, precision: str) -> None:
        self.device = device
        self.dtype = PRECISIONS[precision]
        on_card = is_card(device)
        if on_card and precision == "float32":
            torch.backends.cudnn.allow_tf32 = False
        self.core = core.to(device, self.dtype).to(memory_format=torch.channels_last)
        self._upload = Upload(device) if on_card else None

    def __call__(self, batch: Tensor) -> Tensor:
        """Return the logits on the CPU, which runs the images of a batch one by one: together they take twice as long.

        A batch's tensors are so large that each is memory newly taken from the system, which clears it first.
        """
        if self.device == "cpu" and len(batch) > 1:
            return torch.cat([self(image) for image in batch.split(1)])
        return self.on_device(batch).to("cpu", memory_format=torch.contiguous_format)

    def on_device(self, batch: Tensor) -> Tensor:
        """Return the logits on the device. On a graphics card this returns before they are computed."""
        there = self._upload(batch) if self._upload else batch.to(self.device)
        return self.core(there.to(self.dtype, memory_format=torch.channels_last)).float()


def is_card(device: str | torch.device) -> bool:
    """Whether the device is a CUDA graphics card."""
    return str(device).startswith("cuda")


class Upload:
    """Copies tensors from pinned memory to a card on a separate stream, while the card computes."""

    def __init__(self, device: str) -> None:
        self._device = torch.device(device)
        self._stream = torch.cuda.Stream(self._device)

    def __call__(self, tensor: Tensor) -> Tensor:
        """Return the tensor on the card, for use on the current stream."""
        pinned = tensor if tensor.is_pinned() else tensor.pin_memory()
        with torch.cuda.stream(self._stream):
            there = pinned.to(self._device, non_blocking=True)
        current = torch.cuda.current_stream(self._device)
        current.wait_stream(self._stream)
        there.record_stream(current)  # otherwise the next upload could reuse the memory while it is read
        return there


# ---- memory

# CUDA has its own exception. Metal and the CPU raise RuntimeError with one of these texts.
_OUT_OF_MEMORY = ("MPS backend out of memory", "can't allocate memory", "not enough memory")


def is_out_of_memory(error: Exception) -> bool:
    """Whether an exception of PyTorch says that the device's memory is too small."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(each in str(error) for each in _OUT_OF_MEMORY)


def in_parts(run: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor:
    """Return `run(batch)`. If the device's memory is too small, run the two halves of the batch one after the other.

    Raises DeviceMemoryError if the memory is too small for one image.
    """
    try:
        return run(batch)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
    # Inside the except block the traceback keeps the failed run's tensors alive, so memory is released here.
    release_memory()
    if len(batch) == 1:
        height, width = batch.shape[-2:]
        raise DeviceMemoryError(
            f"the device's memory is too small for one image of {width} x {height} pixels; choose the resize "
            "'squeeze', a smaller model, or the device 'cpu'"
        )
    return torch.cat([in_parts(run, part) for part in batch.chunk(2)])


def release_memory() -> None:
    """Return the accelerators' memory that PyTorch caches and no tensor uses, so that other programs can use it."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()
