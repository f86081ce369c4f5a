"""All that changes while a network is trained, written in one step so that training survives being killed."""

from __future__ import annotations

import errno
import os
import pickle
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from .errors import UsageError

CHECKPOINT = "checkpoint.pt"
_KEYS = {"settings", "step", "best", "network", "optimizer", "average"}


class MovingAverage:
    """The exponential moving average of a network's weights and of its batch norm's statistics, in float32.

    decay: how much of the average each step keeps; less in the first steps, so that the start is soon forgotten.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        if not 0 <= decay < 1:
            raise UsageError(f"the moving average must keep a share from 0 to under 1 at each step, got {decay}")
        self.decay = decay
        self.state = {name: values.detach().clone() for name, values in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """step: how many steps were made, from 1."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, values in network.state_dict().items():
            if values.is_floating_point():
                self.state[name].lerp_(values, 1 - decay)
            else:
                self.state[name].copy_(values)


@dataclass(eq=False)
class TrainingState:
    """step: how many are done; best: the best validation mean IoU so far, None before the first."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    average: MovingAverage
    step: int = 0
    best: float | None = None

    def save(self, folder: Path, settings: dict[str, object]) -> None:
        """Write `checkpoint.pt`; a kill or a full disk leaves the old one or the new one. Raises OSError."""
        partial = folder / (CHECKPOINT + ".part")
        state = {
            "settings": settings,
            "step": self.step,
            "best": self.best,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.state,
        }
        try:
            torch.save(state, partial)
        except RuntimeError as error:  # what PyTorch makes of it
            partial.unlink(missing_ok=True)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(partial)) from error
        os.replace(partial, folder / CHECKPOINT)

    def restore(self, folder: Path, settings: dict[str, object]) -> None:
        """Go on from `checkpoint.pt`. Raises UsageError if it cannot be read or was written with other settings."""
        path = folder / CHECKPOINT
        try:
            saved = torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:  # its own advice is to let the file run code
            raise UsageError(f"{path} is no checkpoint of segcore's; name another folder for a new run") from error
        except (OSError, RuntimeError, EOFError) as error:
            raise UsageError(f"{path} cannot be read ({error}); name another folder for a new run") from error
        if not isinstance(saved, dict) or not _KEYS <= saved.keys():
            raise UsageError(f"{path} is no checkpoint of segcore's; name another folder for a new run")
        before = saved["settings"]
        changed = sorted(name for name in before.keys() | settings.keys() if before.get(name) != settings.get(name))
        if changed:
            raise UsageError(
                f"{path} was written with other settings ({', '.join(changed)}); give the same again, or name another "
                "folder for a new run"
            )
        self.step, self.best = saved["step"], saved["best"]
        self.network.load_state_dict(saved["network"])
        self.optimizer.load_state_dict(saved["optimizer"])
        average: dict[str, Tensor] = saved["average"]
        for name, values in self.average.state.items():
            values.copy_(average[name])
