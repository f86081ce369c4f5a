"""What gave a result, and how it says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from .old_names import renamed_attribute

if TYPE_CHECKING:
    from .openvino import Calibration


def arithmetic(settings: Mapping[str, Any]) -> str:
    """On what and how a record's network computed: device, precision, and what is not as usual."""
    unusual = [
        *[settings["engine"]] * (settings["engine"] != "torch"),
        *["test-time augmentation"] * settings["tta"],
        *["edges refined"] * (settings["refine"] is not None),
    ]
    return ", ".join([settings["device"], settings["precision"], *unusual])


def mode(settings: Mapping[str, Any]) -> str:
    """What a record's task was: the mode, of binary mode also the class and the threshold."""
    if settings["class"] is None:
        return settings["mode"]
    return f"{settings['mode']} ({settings['class']}, threshold {settings['threshold']})"


@dataclass(frozen=True)
class Provenance:
    """What gave a result, as every exported file says it; `seconds` is the network's own time.

    engine: "torch" or "openvino"; tta: whether the network looked several times; calibration: int8's, else None;
    refine: "edges" where borders follow the photograph, else None.
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
    """How a `Provenance`, a `Segmenter` or a `run.Network` computes, as every exported file says it."""
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
