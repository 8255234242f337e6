"""`decode_reduced`: a fraction of the pixels, boxes where the whole picture has them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from image_corpus import BAD, GOOD, encoded, exif_with
from PIL import Image

from detkit.errors import ImageDecodeError
from detkit.image_files import decode_image
from detkit.images import RGBImage
from detkit.results import DetectionResult
from detkit.scaled_decode import ReducedImage, decode_reduced

# Height, width and a bright patch (x_min, y_min, x_max, y_max) away from the middle. The sides of
# the last two leave a rest whatever they are divided by.
SIZES = {"even": (480, 640), "odd": (487, 653), "upright": (651, 343)}
PATCH = (64, 96, 144, 256)


def photograph(hw: tuple[int, int]) -> RGBImage:
    image = np.full((*hw, 3), 30, np.uint8)
    x_min, y_min, x_max, y_max = PATCH
    image[y_min:y_max, x_min:x_max] = 220
    return image


def jpeg(pixels: RGBImage, orientation: int = 1, **options: object) -> bytes:
    exif = exif_with(orientation)
    return encoded(Image.fromarray(pixels), "JPEG", quality=95, exif=exif, **options)


def bright(pixels: RGBImage) -> DetectionResult:
    """A detector: the box round everything bright."""
    y, x = np.nonzero(pixels.mean(axis=2) > 125)
    box = [x.min(), y.min(), x.max() + 1, y.max() + 1]
    return DetectionResult([box], [1.0], [0], {"image_hw": pixels.shape[:2]})


def whole(reduced: ReducedImage) -> DetectionResult:
    return reduced.reduction.to_whole(bright(reduced.pixels))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("factor", [1, 2, 4, 8])
def test_boxes_come_back_to_the_whole_picture_however_it_was_held(size, orientation, factor):
    data = jpeg(photograph(SIZES[size]), orientation)
    exact = decode_image(data)
    height, width = exact.shape[:2]
    asked = []

    def needed_hw(image_hw):
        asked.append(image_hw)
        return -(-height // factor), -(-width // factor)

    reduced = decode_reduced(data, needed_hw)
    assert asked == [(height, width)]
    assert reduced.reduction.factor == factor
    assert reduced.pixels.shape == (-(-height // factor), -(-width // factor), 3)
    assert reduced.pixels.flags.c_contiguous
    result = whole(reduced)
    assert result.metadata["image_hw"] == (height, width)
    # An edge of the patch that falls into a square goes to one of its sides.
    assert np.abs(result.boxes - bright(exact).boxes).max() <= factor
    # Where the patch lies on the grid of squares nothing is lost at all.
    if orientation == 1:
        assert result.boxes.tolist() == [list(PATCH)]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pixels_are_those_of_the_whole_picture_averaged(orientation):
    smooth = cv2.resize(np.random.default_rng(3).integers(0, 256, (6, 8, 3), np.uint8), (640, 480))
    data = jpeg(smooth, orientation)
    exact = decode_image(data)
    pixels, _ = decode_reduced(data, lambda hw: (1, 1))
    height, width = pixels.shape[:2]
    averaged = cv2.resize(exact, (width, height), interpolation=cv2.INTER_AREA)
    assert np.abs(pixels.astype(int) - averaged).max() <= 12


def test_boxes_never_leave_the_picture():
    for orientation in range(1, 9):
        data = jpeg(np.full((487, 653, 3), 220, np.uint8), orientation)
        height, width = decode_image(data).shape[:2]
        result = whole(decode_reduced(data, lambda hw: (8, 8)))
        assert result.boxes.tolist() == [[0, 0, width, height]]


@pytest.mark.parametrize(
    ("needed", "factor"),
    [
        (None, 1),
        ((480, 640), 1),
        ((241, 320), 1),  # half would be one row short
        ((240, 320), 2),
        ((121, 10), 2),
        ((120, 160), 4),
        ((60, 80), 8),
        ((1, 1), 8),
        ((9999, 9999), 1),
    ],
)
def test_the_smallest_fraction_that_is_large_enough(needed, factor):
    data = jpeg(photograph((480, 640)))
    assert decode_reduced(data, lambda hw: needed).reduction.factor == factor


def test_a_sliver_is_not_reduced_to_nothing():
    for hw in ((3, 4000), (4000, 1), (7, 9)):
        pixels, reduction = decode_reduced(jpeg(np.zeros((*hw, 3), np.uint8)), lambda hw: (1, 1))
        assert min(hw) >= reduction.factor
        assert min(pixels.shape) >= 1


JPEGS = [name for name, (data, *_) in GOOD.items() if data.startswith(b"\xff\xd8\xff")]


@pytest.mark.parametrize("name", JPEGS)
def test_every_kind_of_jpeg_can_be_reduced(name):
    data = GOOD[name][0]
    exact = decode_image(data)
    pixels, reduction = decode_reduced(data, lambda hw: (1, 1))
    assert reduction.factor == 8
    assert pixels.shape == (exact.shape[0] // 8, exact.shape[1] // 8, 3)
    assert abs(float(pixels.mean()) - float(exact.mean())) < 8


@pytest.mark.parametrize("name", sorted(set(GOOD) - set(JPEGS)))
def test_other_formats_are_read_whole(name):
    data = GOOD[name][0]
    pixels, reduction = decode_reduced(data, lambda hw: (1, 1))
    assert np.array_equal(pixels, decode_image(data))
    assert (reduction.factor, reduction.image_hw) == (1, pixels.shape[:2])
    result = DetectionResult.empty()
    assert reduction.to_whole(result) is result


@pytest.mark.parametrize("name", BAD)
def test_what_is_refused_whole_is_refused_in_part(name, tmp_path):
    path = tmp_path / "broken.jpg"
    path.write_bytes(BAD[name])
    with pytest.raises(ImageDecodeError, match=r"broken\.jpg"):
        decode_reduced(path, lambda hw: (1, 1))


def test_half_a_large_jpeg_is_refused():
    data = jpeg(np.random.default_rng(1).integers(0, 256, (480, 640, 3), np.uint8))
    for length in (len(data) // 2, len(data) - 2):
        with pytest.raises(ImageDecodeError, match="truncated or corrupt"):
            decode_reduced(data[:length], lambda hw: (60, 80))


def test_the_limit_counts_the_whole_picture():
    data = jpeg(photograph((480, 640)))
    assert decode_reduced(data, lambda hw: (60, 80), max_pixels=480 * 640).reduction.factor == 8
    with pytest.raises(ImageDecodeError, match="640 x 480 pixels are more than max_pixels"):
        decode_reduced(data, lambda hw: (60, 80), max_pixels=480 * 640 - 1)
