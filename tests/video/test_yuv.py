"""`YuvPlanes`: the numbers of BT.709, and colour averaged over squares of four pixels."""

from __future__ import annotations

import numpy as np
import pytest

from detkit.video.yuv import Planes, YuvPlanes, even_areas


def planes(height: int, width: int, longer: int = 0) -> Planes:
    """Luma, blue and red, with so much room after every row."""
    sizes = (height, width), (height // 2, width // 2), (height // 2, width // 2)
    luma, blue, red = (np.zeros((h, w + longer), np.uint8)[:, :w] for h, w in sizes)
    return luma, blue, red


@pytest.mark.parametrize(
    ("rgb", "yuv"),
    # The colour bars of ITU-R BT.709 at full strength, as in every table of them.
    [
        ((0, 0, 0), (16, 128, 128)),
        ((255, 255, 255), (235, 128, 128)),
        ((255, 0, 0), (63, 102, 240)),
        ((0, 255, 0), (173, 42, 26)),
        ((0, 0, 255), (32, 240, 118)),
        ((255, 255, 0), (219, 16, 138)),
    ],
)
def test_colours_are_those_of_bt709(rgb: tuple[int, ...], yuv: tuple[int, ...]) -> None:
    luma, blue, red = planes(4, 6)
    YuvPlanes((luma, blue, red)).fill(np.full((4, 6, 3), rgb, np.uint8))
    assert [set(plane.ravel().tolist()) for plane in (luma, blue, red)] == [{v} for v in yuv]


@pytest.mark.parametrize("hw", [(2, 2), (6, 4), (46, 66)])
@pytest.mark.parametrize("longer", [0, 10])
def test_noise_is_converted_to_within_one_level(hw: tuple[int, int], longer: int) -> None:
    height, width = hw
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    red, green, blue = np.moveaxis(image.astype(float), 2, 0)
    luma = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    exact = (
        16 + 219 / 255 * luma,
        128 + 224 / 255 * _averaged((blue - luma) / 1.8556),
        128 + 224 / 255 * _averaged((red - luma) / 1.5748),
    )
    written = planes(height, width, longer)
    YuvPlanes(written).fill(image)
    for plane, numbers in zip(written, exact, strict=True):
        assert np.abs(plane - numbers).max() <= 1


def test_the_same_planes_take_picture_after_picture() -> None:
    luma, blue, red = planes(4, 4)
    pictures = YuvPlanes((luma, blue, red))
    for level, expected in ((0, 16), (255, 235), (0, 16)):
        pictures.fill(np.full((4, 4, 3), level, np.uint8))
        assert np.all(luma == expected)


def _averaged(plane: np.ndarray) -> np.ndarray:
    height, width = plane.shape
    averages: np.ndarray = plane.reshape(height // 2, 2, width // 2, 2).mean((1, 3))
    return averages


def test_what_is_drawn_is_converted_and_all_else_stays_as_it_was() -> None:
    rng = np.random.default_rng(0)
    canvas = rng.integers(0, 256, (12, 16, 3), np.uint8)
    before = planes(12, 16, 6)
    for plane in before:
        plane[...] = rng.integers(0, 256, plane.shape)
    whole, drawn = planes(12, 16), planes(12, 16, 10)
    YuvPlanes(whole).fill(canvas)
    YuvPlanes(drawn).fill_drawn(before, canvas, [(2, 4, 8, 10), (14, 0, 16, 12)])
    for scale, new, old, full in zip((1, 2, 2), drawn, before, whole, strict=True):
        is_drawn = np.zeros((12, 16), bool)
        is_drawn[4:10, 2:8] = is_drawn[:, 14:] = True
        is_drawn = is_drawn[::scale, ::scale]
        assert np.array_equal(new[is_drawn], full[is_drawn])
        assert np.array_equal(new[~is_drawn], old[~is_drawn])


def test_areas_grow_to_whole_squares_until_they_are_the_picture() -> None:
    hw = (1080, 1920)
    assert even_areas([(1, 2, 4, 5), (3, 3, 9, 9)], hw) == [(0, 2, 4, 6), (2, 2, 10, 10)]
    assert even_areas([(203, 3, 1920, 1080)], hw) == [(202, 2, 1920, 1080)]
    assert even_areas([(0, 0, 2, 2)] * 1000, hw) == [(0, 0, 1920, 1080)]
    assert even_areas([], hw) == []
