"""How every sink writes: under a partial name first, and with errors that name the file."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from detkit.errors import VideoWriteError, describe


def partial_name(path: Path) -> Path:
    """Where a file is written until it is whole; the suffix stays, so that programs open it.

    Example:
        >>> partial_name(Path("a/clip.mp4")).name
        'clip.partial.mp4'
    """
    return path.with_name(f"{path.stem}.partial{path.suffix}")


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
        yield partial
        partial.replace(path)
