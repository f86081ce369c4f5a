"""Pictures of the subject alone: a cut-out with soft edges, and the subject on a plain or a blurred background."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

from ..errors import LabelError
from .drawing import check_image, check_labels
from .reading import fit_within

WHITE = (255, 255, 255)
_PIXELS_PER_SIGMA = 800  # of the longer side: the edge's softness grows with the photograph
_LEAST_SIGMA = 0.7  # pixels
_BLURRED_SIDE = 640  # a blurred background is computed at this size; it has no detail that this would lose
_BLUR = 12  # pixels at that size


def soft_alpha(mask: np.ndarray) -> np.ndarray:
    """Return the opacity of a subject with soft edges: uint8 (H, W), 255 inside the mask and 0 far outside.

    mask: bool (H, W). The border of the mask lies where the opacity is a half. Raises LabelError for another array.
    """
    if mask.dtype != np.bool_ or mask.ndim != 2 or mask.size == 0:
        raise LabelError(f"expected a bool mask (H, W), got {mask.dtype} {mask.shape}")
    sigma = max(_LEAST_SIGMA, max(mask.shape) / _PIXELS_PER_SIGMA)
    hard = Image.fromarray(mask.view(np.uint8) * np.uint8(255))
    return np.asarray(hard.filter(ImageFilter.GaussianBlur(sigma)))


def cut_out(image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Return the photograph with this opacity: uint8 (H, W, 4). Fully transparent pixels are black.

    image: uint8 (H, W, 3). alpha: uint8 (H, W). Raises ImageError and LabelError for other arrays.
    """
    _check(image, alpha)
    result = np.empty((*alpha.shape, 4), np.uint8)
    np.multiply(image, (alpha > 0)[..., None], out=result[..., :3])
    result[..., 3] = alpha
    return result


def on_plain(image: np.ndarray, alpha: np.ndarray, color: tuple[int, int, int] = WHITE) -> np.ndarray:
    """Return the subject on one colour: uint8 (H, W, 3). Arguments and errors as in `cut_out`."""
    _check(image, alpha)
    return _composite(image, alpha, Image.new("RGB", alpha.shape[::-1], color))


def on_blurred(image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Return the subject on a blurred copy of its own background: uint8 (H, W, 3).

    The blur uses only pixels outside the subject, so that the subject has no halo of its own colours. Arguments and
    errors as in `cut_out`.
    """
    _check(image, alpha)
    small = Image.fromarray(fit_within(image, _BLURRED_SIDE))
    small.putalpha(Image.fromarray(~alpha).resize(small.size, Image.Resampling.BOX))
    # "RGBa" has its colours multiplied by the opacity: the blur weights each pixel by how far it is background.
    blurred = small.convert("RGBa").filter(ImageFilter.GaussianBlur(_BLUR)).convert("RGBA").convert("RGB")
    return _composite(image, alpha, blurred.resize(alpha.shape[::-1], Image.Resampling.BILINEAR))


def _composite(image: np.ndarray, alpha: np.ndarray, background: Image.Image) -> np.ndarray:
    return np.asarray(Image.composite(Image.fromarray(image), background, Image.fromarray(alpha)))


def _check(image: np.ndarray, alpha: np.ndarray) -> None:
    check_image(image)
    check_labels(alpha, "the opacity", image.shape[:2])
