"""Semantic segmentation with DeepLabV3: photographs in, label maps and honest scores out."""

from importlib import import_module

TYPE_CHECKING = False  # type checkers take it for true; `typing` would take most of the time until Ctrl-C is awaited
if TYPE_CHECKING:
    from .segmenter import Segmentation, Segmenter

__version__ = "0.1.0"
__all__ = ["Segmentation", "Segmenter"]


def __getattr__(name: str) -> object:
    """Import PyTorch only when a segmenter is asked for: `segcore.metrics` and the page's start-up do without."""
    if name in __all__:
        return getattr(import_module(".segmenter", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
