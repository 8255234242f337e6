"""`BoundedFile`: the bytes of a file, for a demuxer that may never find what it looks for.

Owns how far it may look. Knows files; never a container format.
"""

from __future__ import annotations

from pathlib import Path

# A demuxer that has lost its way reads on to the end, at 0.2 GB/s: 64 GB of zeros behind a film
# took minutes. A raw picture of 8K with 16 bits a colour has 200 MB.
MAX_FRUITLESS_BYTES = 1 << 28


class BoundedFile:
    """Ends, as a file does, where so much was read that nothing came of.

    Args:
        path: A regular file.

    Attributes:
        name: Its absolute path.
        has_given_up: Whether it ended that way, or could not be read on.
        complaint: Why, then.

    Raises:
        OSError: If it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.name = str(path.absolute())
        self.has_given_up = False
        self.complaint = ""
        self._num_fruitless = 0
        self._file = path.open("rb", buffering=0)

    def found(self) -> None:
        """Something came of what was read: as much again may be read."""
        self._num_fruitless = 0

    def read(self, size: int) -> bytes:
        """At most `size` bytes; none at the end."""
        if self._num_fruitless > MAX_FRUITLESS_BYTES:
            return self._give_up(f"{MAX_FRUITLESS_BYTES >> 20} MB without a frame: not read on")
        try:
            data = self._file.read(size)
        except OSError as error:
            return self._give_up(f"cannot be read on: {error.strerror}")
        self._num_fruitless += len(data)
        return data

    def _give_up(self, complaint: str) -> bytes:
        self.has_given_up, self.complaint = True, complaint
        return b""

    def seek(self, offset: int, whence: int = 0) -> int:
        """See `io.IOBase.seek`."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """See `io.IOBase.tell`."""
        return self._file.tell()

    def close(self) -> None:
        """Give the file back. Idempotent."""
        self._file.close()
