"""What a user may name as input: files, folders, patterns, addresses; turned into single ones.

Knows names and suffixes; never opens a file.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from detkit.errors import SourceError
from detkit.video.sources import VIDEO_SUFFIXES
from detkit.video.streams import is_address

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif"})


def find_files(
    source: str | os.PathLike[str],
    suffixes: Iterable[str] = IMAGE_SUFFIXES,
    *,
    exclude: str | os.PathLike[str] | None = None,
) -> Iterator[Path]:
    """The files that one name stands for, lazily, in a fixed order.

    Args:
        source: A file, whatever its suffix and whether it exists or not; a folder, searched with
            its subfolders, hidden ones and links to folders left out; or a pattern such as
            `photos/*.jpg` or `photos/**/*.png`, whose `**` leaves the same out.
        suffixes: Which files to take from a folder, lower case with the dot.
        exclude: A folder to leave out, such as the one that results are written to.

    Yields:
        Paths, sorted by name within each folder, files before subfolders; in the end, subfolders
        that cannot be read.

    Raises:
        SourceError: If a folder or pattern holds no such file.
    """
    text = os.fspath(source)
    wanted = frozenset(suffixes)
    left_out = None if exclude is None else Path(exclude).absolute()
    num_found = 0
    if Path(text).is_dir():
        found, what = (
            _in_folder(Path(text), wanted, left_out),
            "folder holds no file of a known kind",
        )
    elif glob.has_magic(text) and not os.path.lexists(text):
        found, what = _in_pattern(text, left_out), "pattern matches no file"
    else:
        yield Path(text)
        return
    for path in found:
        num_found += 1
        yield path
    if not num_found:
        raise SourceError(f"{text}: the {what}")


@dataclass(frozen=True, slots=True)
class Inputs:
    """What the named sources hold.

    Attributes:
        images: Image files, in order.
        videos: Video files, addresses and cameras, in order.
        missing: Sources that stand for no file at all, with the reason.
    """

    images: list[str]
    videos: list[str]
    missing: list[tuple[str, str]]


def sort_inputs(sources: Iterable[str], folder: Path) -> Inputs:
    """Expand files, folders and patterns; what lies in the output `folder` is left out.

    Addresses and the numbers of cameras stay as they are, among the videos.
    """
    inputs = Inputs([], [], [])
    for source in sources:
        if is_live_name(source):
            inputs.videos.append(source)
            continue
        if not glob.has_magic(source) and not os.path.lexists(source):
            inputs.missing.append((source, f"{source}: there is no such file or folder"))
            continue
        try:
            for path in find_files(source, IMAGE_SUFFIXES | VIDEO_SUFFIXES, exclude=folder):
                kind = inputs.videos if path.suffix.lower() in VIDEO_SUFFIXES else inputs.images
                kind.append(str(path))
        except (SourceError, OSError) as error:
            inputs.missing.append((source, str(error)))
    return inputs


def is_live_name(text: str) -> bool:
    """Whether a text stands for what does not wait: an address, or a camera by its number."""
    return is_address(text) or (text.isdecimal() and not os.path.lexists(text))


def num_files(source: str | os.PathLike[str], exclude: str | os.PathLike[str] | None = None) -> int:
    """How many inputs one name stands for; one that cannot be read is one input that fails."""
    try:
        return sum(1 for _ in find_files(source, exclude=exclude))
    except (SourceError, OSError):
        return 1


def _in_folder(folder: Path, wanted: frozenset[str], exclude: Path | None) -> Iterator[Path]:
    unread: list[OSError] = []
    for where, folders, names in os.walk(folder, onerror=unread.append):
        here = Path(where)
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and (here / name).absolute() != exclude
        )
        for name in sorted(names):
            if not name.startswith(".") and Path(name).suffix.lower() in wanted:
                yield here / name
    # Whoever opens one of these is told why; nobody shall think that it was empty.
    yield from (Path(error.filename) for error in unread)


def _in_pattern(pattern: str, exclude: Path | None) -> Iterator[Path]:
    for path in sorted(set(map(Path, _matches(pattern)))):
        if path.is_file() and (exclude is None or exclude not in path.absolute().parents):
            yield path


def _matches(pattern: str) -> Iterator[str]:
    """What `glob` finds, some twice; but `**` follows no link: two in a circle have no end."""
    parts = Path(pattern).parts
    if "**" not in parts:
        yield from glob.iglob(pattern)  # noqa: PTH207  `Path.glob` takes no absolute pattern
        return
    at = parts.index("**")
    rest = parts[at + 1 :] or ("*",)
    for start in glob.iglob(str(Path(*parts[:at]))):  # noqa: PTH207
        for where, folders, _ in os.walk(start):
            folders[:] = [name for name in folders if not name.startswith(".")]
            yield from _matches(str(Path(glob.escape(where), *rest)))
