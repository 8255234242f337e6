"""`Sink`: how everything is written: under a partial name first, with errors that name the file.

Owns the promise that what stands under its final name is whole, and that no two runs write to one
partial name. Knows no format.
"""

from __future__ import annotations

import contextlib
import errno
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from detkit.errors import VideoWriteError, describe

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

try:
    import fcntl
except ImportError:  # Windows, which opens no file twice for writing where it matters.
    fcntl = None  # type: ignore[assignment]


def partial_name(path: Path) -> Path:
    """Where a file is written until it is whole: a name that no pattern like `*.mp4` matches.

    Example:
        >>> partial_name(Path("a/clip.mp4")).name
        'clip.mp4.partial'
    """
    return path.with_name(f"{path.name}.partial")


@contextlib.contextmanager
def write_errors(path: Path) -> Iterator[None]:
    """Turn what the system or a library says into one kind of error that names the file.

    Raises:
        VideoWriteError: In place of `OSError` and `ValueError`.
    """
    try:
        yield
    except VideoWriteError:
        raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or describe(error)
        raise VideoWriteError(f"{path}: cannot be written ({reason})") from error


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A partial path to write to; it takes the name `path` when the block ends well.

    Raises:
        VideoWriteError: If it cannot be written.
    """
    partial = partial_name(path)
    with write_errors(path):
        unlink_link(partial)
        yield partial
        partial.replace(path)


def unlink_link(partial: Path) -> None:
    """A link that a folder of a stranger has under this name would lead what is written away."""
    if partial.is_symlink():
        partial.unlink()


class Sink(ABC):
    """A file or folder that is written piece by piece, and takes its name when it is whole.

    `close` finishes it and renames it; an error inside `with`, and `abort`, leave what was written
    under the partial name. While it is open no other sink, of this process or another, can write
    to the same name, where the system has such locks.

    Attributes:
        path: The finished file or folder.
        partial_path: Where it is written until then.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.partial_path = partial_name(self.path)
        self._state: Literal["open", "closed", "aborted"] = "open"
        self._lock: int | None = None

    @abstractmethod
    def _finish(self) -> None:
        """Write what is still to be written and give it its name."""

    @abstractmethod
    def _leave(self) -> None:
        """Let go of the partial file or folder, as it is."""

    def _claim(self) -> None:
        """Keep others away from the partial file, which is made where it is not there yet.

        Raises:
            VideoWriteError: If another sink writes to it.
        """
        unlink_link(self.partial_path)
        if fcntl is None:
            return
        is_folder = self.partial_path.is_dir()
        flags = os.O_RDONLY if is_folder else os.O_RDWR | os.O_CREAT
        lock = os.open(self.partial_path, flags, 0o666)  # no file of results is a program
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                return  # a file system without locks
            raise VideoWriteError(
                f"{self.path}: another run is writing it; give another name"
            ) from None
        self._lock = lock

    def _release(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    def _check_open(self) -> None:
        if self._state != "open":
            raise VideoWriteError(f"{self.path}: it is already closed")

    def close(self) -> None:
        """Finish it and give it its name. Idempotent.

        Raises:
            VideoWriteError: If nothing was written that makes a whole, or the disk is full; what
                was written stays under the partial name.
        """
        if self._state != "open":
            return
        self._state = "closed"
        try:
            with write_errors(self.path):
                self._finish()
        finally:
            self._release()

    def abort(self) -> None:
        """Stop, and leave what was written under the partial name. Idempotent; never raises."""
        if self._state != "open":
            return
        self._state = "aborted"
        try:
            with contextlib.suppress(OSError, ValueError):
                self._leave()
        finally:
            self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()
