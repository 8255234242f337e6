"""`Inbox`: which files a browser may hand in, and in what pieces. No widget, no thread, no disk.

Rule 1: the kernel asks for every piece; what was not asked for is refused. So a page, whatever it
says, can never fill more memory than the limits allow.
Rule 2: a name is text to show. It is shortened and cleaned, and never a path.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from detkit.errors import SourceError

_MAX_NAME_CHARS = 80
# A page that offers a whole disk must not cost the kernel a list of it.
_MAX_OFFERED = 10_000


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a person may hand in.

    Attributes:
        max_files: Files at one time.
        max_file_bytes: Bytes of one file.
        max_total_bytes: Bytes of all files at one time.
        max_pixels: Pixels of one picture, checked before it is decoded.
        part_bytes: Bytes of one message. Jupyter servers end the connection at 10 MB.
    """

    max_files: int = 100
    max_file_bytes: int = 32_000_000
    max_total_bytes: int = 400_000_000
    max_pixels: int = 60_000_000
    part_bytes: int = 1_000_000


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a file that is asked for.

    Attributes:
        file: Number of the file in the offer.
        offset: First byte.
        size: Number of bytes.
    """

    file: int
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that has arrived.

    Attributes:
        name: What its owner calls it, fit to be shown; not a path.
        data: Its bytes.
    """

    name: str
    data: bytes

    def __repr__(self) -> str:
        return f"Upload({self.name!r}, {len(self.data)} bytes)"


@dataclass(slots=True)
class _Expected:
    file: int
    name: str
    size: int


class Inbox:
    """Takes offers and pieces, gives uploads. A new offer takes the place of the one before.

    Example:
        >>> inbox = Inbox(Limits(part_bytes=2))
        >>> inbox.offer([{"name": "a.png", "size": 3}], num_files=0, num_bytes=0)
        []
        >>> inbox.wanted
        Part(file=0, offset=0, size=2)
        >>> inbox.receive(0, 0, b"ab"), inbox.receive(0, 2, b"c")
        (None, Upload('a.png', 3 bytes))
        >>> inbox.wanted is None
        True
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._expected: deque[_Expected] = deque()
        self._data = bytearray()

    @property
    def wanted(self) -> Part | None:
        """The piece to ask for next; `None` if nothing is under way."""
        if not self._expected:
            return None
        first = self._expected[0]
        offset = len(self._data)
        return Part(first.file, offset, min(self.limits.part_bytes, first.size - offset))

    def offer(self, files: object, num_files: int, num_bytes: int) -> list[str]:
        """Decide about files that a page would like to hand in.

        Args:
            files: What the page says: a list of mappings with `name` and `size`.
            num_files: Files that are there already.
            num_bytes: Their bytes.

        Returns:
            Why files were refused, in words; the others are `wanted` from now on.

        Raises:
            SourceError: If this is no offer, or far too large.
        """
        self.forget()
        if not isinstance(files, list) or len(files) > _MAX_OFFERED:
            raise SourceError(f"at most {self.limits.max_files} pictures can be added at a time")
        problems: list[str] = []
        for index, entry in enumerate(files):
            name, size = _named(entry)
            problem = self._problem(size, num_files, num_bytes)
            if problem:
                problems.append(f"{name}: {problem}")
                continue
            num_files, num_bytes = num_files + 1, num_bytes + size
            self._expected.append(_Expected(index, name, size))
        return problems

    def _problem(self, size: int, num_files: int, num_bytes: int) -> str:
        limits = self.limits
        if num_files >= limits.max_files:
            return f"{limits.max_files} pictures are the most at one time; clear some first"
        if size < 1:
            return "the file is empty"
        if size > limits.max_file_bytes:
            return f"{_mb(size)} are more than the {_mb(limits.max_file_bytes)} of one file"
        if num_bytes + size > limits.max_total_bytes:
            return f"all files together may have {_mb(limits.max_total_bytes)}; clear some first"
        return ""

    def receive(self, file: object, offset: object, data: bytes) -> Upload | None:
        """Take a piece; the whole file if this was the last of it.

        Raises:
            SourceError: If it is not what was asked for. The rest of the offer is forgotten.
        """
        wanted = self.wanted
        if wanted is None or (file, offset, len(data)) != (wanted.file, wanted.offset, wanted.size):
            self.forget()
            raise SourceError("the upload broke off: add the pictures again")
        self._data += data
        first = self._expected[0]
        if len(self._data) < first.size:
            return None
        self._expected.popleft()
        whole, self._data = bytes(self._data), bytearray()
        return Upload(first.name, whole)

    def forget(self) -> None:
        """Let go of what is under way."""
        self._expected.clear()
        self._data = bytearray()


def _named(entry: object) -> tuple[str, int]:
    """Name and size as the page gives them; an impossible size counts as empty."""
    facts = entry if isinstance(entry, Mapping) else {}
    given = str(facts.get("name", ""))[: 2 * _MAX_NAME_CHARS]
    name = " ".join("".join(c if c.isprintable() else " " for c in given).split())
    size = facts.get("size")
    return name[-_MAX_NAME_CHARS:] or "picture", size if isinstance(size, int) else 0


def _mb(num_bytes: int) -> str:
    return f"{num_bytes / 1e6:.3g} MB"
