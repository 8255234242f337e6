"""`validate_image`: the same pixels or `InvalidImageError`, never a silent difference."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from detkit.errors import InvalidImageError
from detkit.images import validate_image

REFERENCE = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)


class Tagged(np.ndarray):
    """A subclass whose meaning nobody here knows."""


def strided(image: np.ndarray) -> np.ndarray:
    wide = np.zeros((image.shape[0] * 2, image.shape[1] * 3, 3), np.uint8)
    wide[::2, ::3] = image
    return wide[::2, ::3]


def frozen(image: np.ndarray) -> np.ndarray:
    copy = image.copy()
    copy.flags.writeable = False
    return copy


def unaligned(image: np.ndarray) -> np.ndarray:
    return np.frombuffer(b"x" + image.tobytes(), np.uint8, offset=1).reshape(image.shape)


LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "C order": np.ascontiguousarray,
    "Fortran order": np.asfortranarray,
    "every other row and third column": strided,
    "mirrored view": lambda image: np.ascontiguousarray(image[:, ::-1])[:, ::-1],
    "upside down view": lambda image: np.ascontiguousarray(image[::-1])[::-1],
    "BGR view": lambda image: np.ascontiguousarray(image[..., ::-1])[..., ::-1],
    "transposed view": lambda image: np.ascontiguousarray(image.transpose(1, 0, 2)).transpose(
        1, 0, 2
    ),
    "planes as channels": lambda image: np.ascontiguousarray(image.transpose(2, 0, 1)).transpose(
        1, 2, 0
    ),
    "read-only": frozen,
    "unaligned": unaligned,
    "cropped": lambda image: np.pad(image, ((1, 1), (1, 1), (0, 0)))[1:-1, 1:-1],
    "alpha cut off": lambda image: np.dstack([image, image[..., 0]])[..., :3],
    "broadcast": lambda image: np.broadcast_to(image[:1, :1], image.shape),
}
SIZES_HW = [(1, 1), (1, 8), (6, 1), (3, 3), (6, 8)]


@pytest.mark.parametrize(("layout", "size_hw"), list(product(LAYOUTS, SIZES_HW)))
def test_every_layout_gives_the_same_pixels(layout: str, size_hw: tuple[int, int]) -> None:
    plain = REFERENCE[: size_hw[0], : size_hw[1]]
    given = LAYOUTS[layout](plain)
    checked = validate_image(given)
    np.testing.assert_array_equal(checked, np.array(given))
    if layout != "broadcast":
        np.testing.assert_array_equal(checked, plain)
    assert checked.flags.c_contiguous
    assert type(checked) is np.ndarray
    assert checked.dtype == np.uint8


DTYPES = ["bool", "int8", "uint16", "int16", ">u2", "uint32", "int32", "uint64", "int64"]
DTYPES += ["float16", "float32", ">f4", "float64", "complex64", "object", "U3", "S3", "M8[s]"]
SHAPES: list[tuple[int, ...]] = [
    (),
    (3,),
    (6, 8),
    (6, 8, 1),
    (6, 8, 2),
    (6, 8, 4),
    (6, 8, 5),
    (3, 6, 8),
    (1, 6, 8, 3),
    (1, 1, 1, 1, 3),
    (0, 8, 3),
    (6, 0, 3),
    (6, 8, 0),
    (0,),
]


@pytest.mark.parametrize(("dtype", "shape"), list(product(DTYPES, [(6, 8, 3), (6, 8), (0, 8, 3)])))
def test_every_other_dtype_is_refused(dtype: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidImageError, match="dtype uint8"):
        validate_image(np.zeros(shape, dtype=dtype))


@pytest.mark.parametrize("shape", SHAPES)
def test_every_other_shape_is_refused_and_named(shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidImageError) as caught:
        validate_image(np.zeros(shape, np.uint8))
    assert str(shape) in str(caught.value)


OTHERS: list[Any] = [
    None,
    3,
    "picture.jpg",
    b"picture",
    Path("picture.jpg"),
    [[[0, 0, 0]]],
    REFERENCE.tolist(),
    memoryview(REFERENCE),
    {"image": REFERENCE},
    np.ma.masked_array(REFERENCE, REFERENCE > 9),
    np.asmatrix(REFERENCE[..., 0]),
    np.rec.array(REFERENCE),
    REFERENCE.view(Tagged),
    np.zeros((6, 8), dtype=[("r", "u1"), ("g", "u1"), ("b", "u1")]),
    np.full((6, 8, 3), np.nan),
    np.full((6, 8, 3), np.inf, np.float32),
    np.uint8(3),
]


@pytest.mark.parametrize("value", OTHERS, ids=lambda value: type(value).__name__)
def test_everything_else_is_refused(value: object) -> None:
    with pytest.raises(InvalidImageError, match="got"):
        validate_image(value)


@pytest.mark.parametrize(
    ("value", "advice"),
    [
        ("a.jpg", "decode_image"),
        (REFERENCE[..., 0], "COLOR_GRAY2RGB"),
        (REFERENCE.astype(np.float32), "astype"),
        (np.full((6, 8, 3), np.nan), "NaN"),
        (REFERENCE[None], "detect_batch"),
        (REFERENCE.transpose(2, 0, 1), "transpose"),
        (np.zeros((6, 8, 4), np.uint8), "alpha"),
    ],
)
def test_the_message_says_what_to_do(value: object, advice: str) -> None:
    with pytest.raises(InvalidImageError, match=advice):
        validate_image(value)


def test_a_good_array_is_passed_through_without_a_copy() -> None:
    assert validate_image(REFERENCE) is REFERENCE


def test_a_memory_map_is_read_in_place(tmp_path: Path) -> None:
    mapped = np.memmap(tmp_path / "pixels", np.uint8, "w+", shape=REFERENCE.shape)
    mapped[:] = REFERENCE
    checked = validate_image(mapped)
    assert type(checked) is np.ndarray
    assert np.shares_memory(checked, mapped)


def test_the_matrix_is_as_large_as_promised() -> None:
    cases = len(LAYOUTS) * len(SIZES_HW) + len(DTYPES) * 3 + len(SHAPES) + len(OTHERS)
    assert cases >= 120
