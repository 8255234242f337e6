"""A JPEG is read piece by piece and judged as if it lay in memory whole."""

from __future__ import annotations

import io
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from image_corpus import GOOD, jpeg_of_scans, jpeg_segment

from detkit.jpeg_markers import jpeg_problem

WHOLE = GOOD["jpeg RGB"][0]
PARTS = st.lists(
    st.sampled_from(
        [b"\xff", b"\xff\x00", b"\xff\xd0", b"a\xd9", b"\xff\xd9", b"\0" * 9]
        + [jpeg_segment(marker, bytes(length)) for marker in (0xDA, 0xE1) for length in (0, 1, 30)]
    ),
    max_size=12,
)


def test_whole_and_cut() -> None:
    assert jpeg_problem(io.BytesIO(WHOLE)) is None
    assert jpeg_problem(io.BytesIO(WHOLE + b"a film behind it")) is None
    for cut in range(2, len(WHOLE)):
        assert "no end" in (jpeg_problem(io.BytesIO(WHOLE[:cut])) or ""), cut


@given(PARTS, st.integers(1, 40))
def test_the_size_of_the_pieces_does_not_matter(parts: list[bytes], piece_bytes: int) -> None:
    data = b"\xff\xd8" + b"".join(parts)
    in_pieces = jpeg_problem(io.BytesIO(data), piece_bytes)
    assert in_pieces == jpeg_problem(io.BytesIO(data), 10_000)


@pytest.mark.parametrize("piece_bytes", [1, 7, 1 << 20])
def test_scans_are_counted_once_each(piece_bytes: int) -> None:
    assert jpeg_problem(io.BytesIO(jpeg_of_scans((16, 8), 499)), piece_bytes) is None
    many = jpeg_problem(io.BytesIO(jpeg_of_scans((16, 8), 500)), piece_bytes)
    assert "more than 500 scans" in (many or "")


def test_a_file_of_any_length_takes_little_memory() -> None:
    file = io.BytesIO(WHOLE[:-2] + bytes(50_000_000))
    tracemalloc.start()
    try:
        assert "no end" in (jpeg_problem(file) or "")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8_000_000
