"""Semantic segmentation with DeepLabV3: photographs in, label maps and honest scores out."""

from importlib import import_module

TYPE_CHECKING = False  # type checkers take it for true; `typing` would take most of the time until Ctrl-C is awaited
if TYPE_CHECKING:
    from .inference.predictor import prepare
    from .inference.segmentation import Segmentation
    from .inference.segmenter import Segmenter
    from .models.own import Model
    from .models.transforms import Preprocess

__version__ = "0.1.0"
_WHERE = {
    "Model": "models.own",
    "Preprocess": "models.transforms",
    "Segmentation": "inference.segmentation",
    "Segmenter": "inference.segmenter",
    "prepare": "inference.predictor",
}
__all__ = ["Model", "Preprocess", "Segmentation", "Segmenter", "prepare"]


def __getattr__(name: str) -> object:
    """Import PyTorch only when a segmenter is asked for: `segcore.metrics` and the page's start-up do without."""
    if name in __all__:
        return getattr(import_module(f".{_WHERE[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
