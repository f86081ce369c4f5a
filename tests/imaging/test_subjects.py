"""The subject alone: soft edges, and plain and blurred backgrounds."""

import numpy as np
import pytest

from segcore.errors import ImageError, LabelError
from segcore.imaging import subjects

RED, BLUE = (255, 0, 0), (0, 0, 255)


def scene(side=120):
    """A red square on blue, uint8 (side, side, 3), and the square's mask."""
    mask = np.zeros((side, side), bool)
    mask[side // 4 : -side // 4, side // 4 : -side // 4] = True
    return np.where(mask[..., None], np.uint8(RED), np.uint8(BLUE)), mask


def test_soft_alpha_is_a_half_at_the_border_and_whole_on_either_side():
    _, mask = scene()
    row = subjects.soft_alpha(mask)[60].astype(int)
    assert (row[0], row[60]) == (0, 255)
    assert (row[29] + row[30]) / 2 == pytest.approx(127.5, abs=2)  # the border lies between these two pixels
    assert (np.diff(row[:60]) >= 0).all() and 0 < row[29] < row[30] < 255
    assert not subjects.soft_alpha(~mask)[60, 60] and subjects.soft_alpha(np.ones((3, 5), bool)).min() == 255


def test_the_edge_is_as_soft_on_a_large_photograph():
    _, mask = scene(3200)
    edge = subjects.soft_alpha(mask)[1600, :1600]
    assert 8 < np.count_nonzero((edge > 0) & (edge < 255)) < 40


def test_cut_out_keeps_the_subject_and_nothing_that_is_transparent():
    image, mask = scene()
    alpha = subjects.soft_alpha(mask)
    cut = subjects.cut_out(image, alpha)
    assert np.array_equal(cut[..., 3], alpha)
    assert np.array_equal(cut[alpha > 0][:, :3], image[alpha > 0]) and not cut[alpha == 0].any()


def test_on_plain_and_on_blurred_keep_the_subject():
    image, mask = scene()
    alpha = subjects.soft_alpha(mask)
    for picture in (subjects.on_plain(image, alpha), subjects.on_blurred(image, alpha)):
        assert picture.shape == image.shape and np.array_equal(picture[alpha == 255], image[alpha == 255])
    white = subjects.on_plain(image, alpha)
    assert (white[alpha == 0] == 255).all() and (subjects.on_plain(image, alpha, BLUE)[alpha == 0] == BLUE).all()


def test_a_blurred_background_has_no_colour_of_the_subject():
    image, mask = scene()
    alpha = subjects.soft_alpha(mask)
    outside = subjects.on_blurred(image, alpha)[alpha == 0]
    assert outside[:, 0].max() < 40 and outside[:, 2].min() > 215  # a plain blur has over 100 of red there


def test_a_blurred_background_is_blurred():
    image, mask = scene(400)
    stripes = np.where((np.arange(400) // 2 % 2 == 1)[:, None], np.uint8(255), np.uint8(0))
    image[:] = stripes
    alpha = subjects.soft_alpha(mask)
    assert np.ptp(subjects.on_blurred(image, alpha)[30:80, 40:-40].astype(int)) < 60 and np.ptp(image[30:80]) == 255


def test_no_subject_and_nothing_but_a_subject():
    image, _ = scene()
    none, all_of_it = np.zeros(image.shape[:2], np.uint8), np.full(image.shape[:2], 255, np.uint8)
    assert not subjects.cut_out(image, none).any() and (subjects.on_plain(image, none) == 255).all()
    for draw in (subjects.on_plain, subjects.on_blurred):
        assert np.array_equal(draw(image, all_of_it), image)


def test_errors():
    image, mask = scene()
    with pytest.raises(LabelError, match="expected a bool mask"):
        subjects.soft_alpha(mask.view(np.uint8))
    for draw in (subjects.cut_out, subjects.on_plain, subjects.on_blurred):
        with pytest.raises(LabelError, match="the opacity of size"):
            draw(image, np.zeros((3, 3), np.uint8))
        with pytest.raises(ImageError, match="expected a photograph"):
            draw(image[..., 0], np.zeros((120, 120), np.uint8))
