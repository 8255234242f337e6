"""What the markers of a JPEG tell before a pixel is decoded: whether it is whole, and no trap.

Reads a file of any length piece by piece. Knows bytes; never Pillow or a picture.
"""

from __future__ import annotations

import re
from typing import BinaryIO

# A marker inside or after scan data: anything but a stuffed zero, a restart or a fill byte.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_END, _SCAN = 0xD9, 0xDA
# An ordinary progressive JPEG has about 10. Each pass goes through all of the picture's blocks for
# some 100 bytes of file; libjpeg-turbo's own tests against hostile files end at 500 too.
_MAX_SCANS = 500
_PIECE_BYTES = 1 << 20


def jpeg_problem(file: BinaryIO, piece_bytes: int = _PIECE_BYTES) -> str | None:
    """Why a JPEG is not to be decoded, or `None`: libjpeg fills what is missing with grey.

    Args:
        file: At its beginning.
        piece_bytes: Most bytes that are in memory at once, about.
    """
    data, at, num_scans = b"", 2, 0  # `at`: where in `data` to look on, perhaps beyond its end
    while piece := file.read(piece_bytes):
        data += piece
        while match := _MARKER.search(data, at):
            marker, length = data[match.end() - 1], data[match.end() : match.end() + 2]
            if marker == _END:
                return None
            if len(length) < 2:
                break
            # Every other marker opens a segment that begins with its own length.
            at = match.end() + int.from_bytes(length, "big")
            num_scans += marker == _SCAN
            if num_scans > _MAX_SCANS:
                return f"more than {_MAX_SCANS} scans: a JPEG made to take for ever"
        begun = match.start() if match else max(at, len(data) - 1)  # half a marker perhaps
        data, at = data[begun:], max(0, begun - len(data))
    return "truncated or corrupt image: the JPEG has no end"
