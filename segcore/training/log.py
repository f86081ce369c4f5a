"""The training log: one CSV row per step, a plot of the curves, and TensorBoard if it is installed."""

from __future__ import annotations

import csv
import importlib.util
import math
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from ..files.atomic import atomic_write

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


@dataclass(frozen=True)
class Row:
    """One step. mean_iou: on the crops of the step. The validation scores are nan for steps without a validation."""

    step: int
    learning_rate: float
    loss: float
    mean_iou: float
    validation_mean_iou: float = math.nan
    validation_pixel_accuracy: float = math.nan


_COLUMNS = [field.name for field in fields(Row)]


class TrainingLog:
    """`curves.csv` and `curves.png` in a folder. It continues after `done` steps; rows of later steps are removed."""

    def __init__(self, folder: Path, done: int) -> None:
        self.csv_path, self.plot_path = folder / "curves.csv", folder / "curves.png"
        self.rows = [row for row in _read(self.csv_path) if row.step <= done]
        _write(self.csv_path, self.rows)
        self._board = _tensorboard(folder / "tensorboard", done)

    def add(self, row: Row) -> None:
        self.rows.append(row)
        with self.csv_path.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerow(_cells(row))
        if self._board:
            for name, value in zip(_COLUMNS[1:], astuple(row)[1:], strict=True):
                if not math.isnan(value):
                    self._board.add_scalar(name, value, row.step)

    def plot(self) -> None:
        """Plot all rows: the loss at the top, both mean IoUs below it."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(8, 6), layout="constrained")
        FigureCanvasAgg(figure)
        above, below = figure.subplots(2, 1, sharex=True)
        steps = [row.step for row in self.rows]
        above.plot(steps, [row.loss for row in self.rows], linewidth=0.8)
        above.set_ylabel("loss")
        below.plot(steps, [row.mean_iou for row in self.rows], linewidth=0.5, alpha=0.6, label="crops of the step")
        validated = [row for row in self.rows if not math.isnan(row.validation_mean_iou)]
        if validated:
            scores = [row.validation_mean_iou for row in validated]
            below.plot([row.step for row in validated], scores, marker="o", label="validation")
        below.set(xlabel="step", ylabel="mean IoU", ylim=(0, 1))
        below.legend()
        with atomic_write(self.plot_path, single_writer=True) as file:
            figure.savefig(file, format="png")

    def close(self) -> None:
        if self._board:
            self._board.close()


def _cells(row: Row) -> list[str]:
    return ["" if isinstance(value, float) and math.isnan(value) else repr(value) for value in astuple(row)]


def _read(path: Path) -> list[Row]:
    """Read the rows of an earlier run. An incomplete last row is ignored."""
    if not path.exists():
        return []
    rows = []
    with path.open(newline="", encoding="utf-8") as file:
        for cells in list(csv.reader(file))[1:]:
            try:
                step, *values = cells
                rows.append(Row(int(step), *(math.nan if cell == "" else float(cell) for cell in values)))
            except (ValueError, TypeError):
                break
    return rows


def _write(path: Path, rows: list[Row]) -> None:
    with atomic_write(path, single_writer=True) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_COLUMNS)
        writer.writerows(map(_cells, rows))


def _tensorboard(folder: Path, done: int) -> SummaryWriter | None:
    if importlib.util.find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(folder, purge_step=done + 1)
