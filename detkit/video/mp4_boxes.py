"""The boxes of an MP4 file, as far as they tell what a decoder does not.

Owns whether a file ends in the middle of a box, and whether it announces more than it can hold.
Knows bytes and ISO 14496-12; never a decoder.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_FIRST = (b"ftyp", b"styp", b"moov", b"moof")
# Those that FFmpeg looks into for the two that count samples.
_OUTER = frozenset(b"moov trak mdia minf stbl moof traf dinf edts mvex tref udta wave".split())
# FFmpeg takes 58 bytes for each sample that is announced: for so many 60 MB.
_MAX_SAMPLES = 1 << 20
# Looking at these takes 0.2 s; a recording in fragments of 2 s has them after eight hours.
_MAX_BOXES = 100_000
# `trun` tells of each sample its duration, size, flags or offset: these bits of its flags say so.
_HAS_TABLE = 0xF00


def ends_in_a_box(path: Path) -> bool:
    """Whether an MP4 file ends in the middle of one of its outermost boxes (4.2).

    A fragmented one that was cut announces only what is in it; nothing else tells that more was
    to come. False for any other file, and for one that is not there any more.
    """
    end = size = 0
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            for number, (kind, _, end) in enumerate(_boxes(file, size)):  # noqa: B007
                if number == 0 and kind not in _FIRST:
                    return False  # another kind of container
    except OSError:
        return False
    return end > size


def announces_too_much(path: Path) -> str | None:
    """Why an MP4 file of a few bytes would take gigabytes to open, or `None` if it would not.

    A table that says one size for all samples (`stsz`, 8.7.3) and a run of samples that are all
    alike (`trun`, 8.8.8) hold a number and nothing else. There cannot be more samples than bytes.
    """
    num_samples = 0
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            for number, (kind, start, _) in enumerate(_boxes(file, size, _OUTER)):
                if number == _MAX_BOXES:
                    break
                if kind in (b"stsz", b"trun"):
                    file.seek(start)
                    num_samples += _without_table(kind, file.read(12))
    except OSError:
        return None  # whoever opens it finds that out, too
    if num_samples <= max(size, _MAX_SAMPLES):
        return None
    return f"its header announces {num_samples:,} samples in {size:,} bytes"


def _without_table(kind: bytes, content: bytes) -> int:
    """How many samples this box announces without a word on each of them."""
    flags, first, second = (int.from_bytes(content[at : at + 4], "big") for at in (0, 4, 8))
    if kind == b"stsz":
        return second if first else 0
    return 0 if flags & _HAS_TABLE else first


def _boxes(
    file: BinaryIO, size: int, outer: frozenset[bytes] = frozenset()
) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start of content and end of each box in turn, also of those inside an `outer` one.

    The end of the last may lie beyond the file's.
    """
    at = 0
    while at < size:
        file.seek(at)
        head = file.read(16)
        kind, start = head[4:8], at + 8
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length, start = int.from_bytes(head[8:16], "big"), at + 16
        if length == 0:  # to the end of the file
            length = size - at
        if length < 8 or len(head) < 8:
            yield kind, start, size + 1
            return
        yield kind, start, at + length
        at = start if kind in outer else at + length
