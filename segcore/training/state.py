"""The state of a training, written atomically so that a killed training can be resumed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UsageError, shown
from ..files.atomic import atomic_write

CHECKPOINT = "checkpoint.pt"


class MovingAverage:
    """The exponential moving average of a network's weights and batch norm statistics, in float32.

    decay: the share of the average that each step keeps; smaller in the first steps, so that the initial weights lose
    their influence.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        if not 0 <= decay < 1:
            raise UsageError(f"the moving average must keep a share from 0 to under 1 at each step, got {decay}")
        self.decay = decay
        self.state = {name: values.detach().clone() for name, values in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Add the weights after a step. step: its number, from 1."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, values in network.state_dict().items():
            if values.is_floating_point():
                self.state[name].lerp_(values, 1 - decay)
            else:
                self.state[name].copy_(values)


@dataclass(eq=False)
class TrainingState:
    """The state of a training. step: finished steps. best: the best validation mean IoU, None before the first."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    average: MovingAverage
    step: int = 0
    best: float | None = None

    def save(self, folder: Path, settings: dict[str, object]) -> None:
        """Write `checkpoint.pt` atomically. Raises OSError if it cannot be written."""
        path = folder / CHECKPOINT
        state = {
            "settings": settings,
            "step": self.step,
            "best": self.best,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.state,
        }
        try:
            with atomic_write(path, single_writer=True) as partial, partial.open("wb") as file:
                torch.save(state, file)
        except RuntimeError as error:
            refusal = error.__context__  # PyTorch hides the OSError behind its own error
            if isinstance(refusal, OSError):
                raise OSError(refusal.errno, refusal.strerror, str(path)) from error
            raise

    def restore(self, folder: Path, settings: dict[str, object]) -> None:
        """Restore `checkpoint.pt`. Raises UsageError if it cannot be read or was written with other settings."""
        path = folder / CHECKPOINT
        with _failures_named(path):
            saved = torch.load(path, map_location="cpu", weights_only=True)
            before = dict(saved["settings"])
            changed = ", ".join(sorted(name for name in settings if before.get(name) != settings[name]))
            changed = changed or ", ".join(sorted(map(shown, before.keys() - settings.keys())))
        if changed:
            raise UsageError(
                f"{path} was written with other settings ({changed}); give the same again, or name another "
                "folder for a new run"
            )
        with _failures_named(path):
            self.step, self.best = _progress(saved)
            self.network.load_state_dict(saved["network"])
            self.optimizer.load_state_dict(saved["optimizer"])
            average: dict[str, Tensor] = saved["average"]
            for name, values in self.average.state.items():
                values.copy_(average[name])


def _progress(saved: dict[str, Any]) -> tuple[int, float | None]:
    step, best = saved["step"], saved["best"]
    best = None if best is None else float(best)
    if (
        type(step) is not int or step < 0 or (best is not None and (best < 0 or best > 1))
    ):  # best is nan if nothing could be scored
        raise ValueError(f"no training has been at step {step!r} with {best!r} as its best")
    return step, best


@contextmanager
def _failures_named(path: Path) -> Iterator[None]:
    """Turn any exception of reading a damaged file into a UsageError."""
    try:
        yield
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}); name another folder for a new run") from error
    except Exception as error:
        raise UsageError(f"{path} cannot be read, it is damaged; name another folder for a new run") from error
