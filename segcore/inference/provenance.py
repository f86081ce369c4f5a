"""The provenance of a result: which model, device and settings gave it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from .old_names import renamed_attribute

if TYPE_CHECKING:
    from .openvino import Calibration


LABEL_MAPS = "label maps"  # stands for the engine if another program made the predictions and no network ran


def arithmetic(settings: Mapping[str, Any]) -> str:
    """Describe how a record's network computed: device, precision, and settings that are not the default."""
    if settings["engine"] == LABEL_MAPS:
        return "label maps as they were given"
    unusual = [
        *[settings["engine"]] * (settings["engine"] != "torch"),
        *["test-time augmentation"] * settings["tta"],
        *["edges refined"] * (settings["refine"] is not None),
    ]
    return ", ".join([settings["device"], settings["precision"], *unusual])


def mode(settings: Mapping[str, Any]) -> str:
    """Describe a record's task: the mode, and for binary mode the class and the threshold."""
    if settings["class"] is None:
        return settings["mode"]
    return f"{settings['mode']} ({settings['class']}, threshold {settings['threshold']})"


@dataclass(frozen=True)
class Provenance:
    """The model, device and settings that gave a result. Every exported file records them.

    seconds: the network's time. engine: "torch", "openvino" or "onnxruntime". tta: whether test-time augmentation was
    used. calibration: int8's, else None. refine: "edges" if borders follow the photograph, else None.
    """

    model: str
    weights_sha256: str
    resize: str
    device: str
    precision: str
    seconds: float
    engine: str = "torch"
    tta: bool = False
    calibration: Calibration | None = None
    refine: str | None = None

    careful = renamed_attribute("careful", "tta")


def arithmetic_record(provenance: Any) -> dict[str, object]:
    """Return how a `Provenance`, a `Segmenter` or a `run.Network` computes, as exported files record it."""
    calibration = provenance.calibration
    return {
        "device": provenance.device,
        "precision": provenance.precision,
        "engine": provenance.engine,
        "tta": provenance.tta,
        "careful": provenance.tta,  # the old name of "tta", until version 0.2
        "calibration": calibration and asdict(calibration),
        "refine": provenance.refine,
    }
