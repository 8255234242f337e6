"""Converted models on disk: whole or not there, and found again by what they were made from.

An entry is a folder named after a hash of all that went into it. It is built beside its place and
renamed, so that processes may race; its files are held against their checksums before they are
used; the least recently used entries go when there are too many bytes. Knows no library and not
what the files mean.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from detkit.detection.environment import cache_folder

# Some 150 networks of the smallest YOLO or seven of the largest.
MAX_BYTES = 2_000_000_000
_RECORD = "entry.json"
_UNFINISHED = ".unfinished-"
# What a killed process left behind; no conversion takes this long.
_LEFTOVER_AFTER_S = 24 * 3600.0
_CHUNK = 1 << 20
_logger = logging.getLogger("detkit.detection")


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """One converted model.

    Attributes:
        path: Its folder.
        source: Name of the file it was made from.
        num_bytes: Size of all its files.
        last_used: When it was last written or found, in seconds since the epoch.
    """

    path: Path
    source: str
    num_bytes: int
    last_used: float


def key_of(path: Path, facts: Mapping[str, str]) -> str:
    """The name of the entry for a file and everything else that decides what is made of it.

    Args:
        path: The file; its content counts and its name does not.
        facts: Versions and options.
    """
    parts = json.dumps([sha256_of(path), sorted(facts.items())])
    return hashlib.sha256(parts.encode()).hexdigest()[:40]


class ModelCache:
    """The entries in one folder. Any number of processes may use it at once.

    Args:
        folder: Where they lie; need not exist. None: `converted` in the user's cache folder.
        max_bytes: After an entry was added, the least recently used go until this holds.
    """

    def __init__(self, folder: Path | None = None, max_bytes: int = MAX_BYTES) -> None:
        self.folder = cache_folder() / "converted" if folder is None else folder
        self.max_bytes = max_bytes

    def find(self, key: str) -> Path | None:
        """The folder of an entry, whole and unchanged; None if there is none."""
        path = self.folder / key
        try:
            _check(path)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
            _logger.info("a cached model is damaged and will be made again: %s", error)
            return None
        with contextlib.suppress(OSError):  # a folder that is not ours to write to
            os.utime(path / _RECORD)
        return path

    def store(self, key: str, source: str, build: Callable[[Path], None]) -> Path:
        """Add an entry, or replace it.

        Args:
            key: From `key_of`.
            source: Name of the file it is made from.
            build: Writes the files into the empty folder that it is given.

        Returns:
            The entry's folder.

        Raises:
            OSError: If the folder cannot be written to.
            Exception: Whatever `build` raised; then nothing is left behind.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self._remove_leftovers()
        with tempfile.TemporaryDirectory(
            dir=self.folder, prefix=_UNFINISHED, ignore_cleanup_errors=True
        ) as scratch:
            new = Path(scratch) / "new"
            new.mkdir()
            build(new)
            files = {p.name: [p.stat().st_size, sha256_of(p)] for p in sorted(new.iterdir())}
            (new / _RECORD).write_text(json.dumps({"source": source, "files": files}))
            self._put_in_place(new, key, Path(scratch) / "old")
        self._shrink(spare=key)
        return self.folder / key

    def entries(self) -> list[CacheEntry]:
        """All entries, the most recently used first."""
        found = []
        with contextlib.suppress(OSError):
            for path in self.folder.iterdir():
                if not path.name.startswith(_UNFINISHED):
                    with contextlib.suppress(OSError):  # another process removed it meanwhile
                        found.append(_look_at(path))
        return sorted(found, key=lambda entry: -entry.last_used)

    def clear(self) -> list[CacheEntry]:
        """Remove every entry.

        Returns:
            What was removed.

        Raises:
            OSError: If something could not be removed.
        """
        gone = self.entries()
        if self.folder.is_dir():
            shutil.rmtree(self.folder)
        return gone

    def _put_in_place(self, new: Path, key: str, old: Path) -> None:
        target = self.folder / key
        try:
            new.rename(target)
        except OSError:
            # Another process was faster, or what lies there is damaged.
            if self.find(key) is None:
                target.rename(old)
                new.rename(target)

    def _shrink(self, spare: str) -> None:
        entries = self.entries()
        total = sum(entry.num_bytes for entry in entries)
        for entry in reversed(entries):
            if total <= self.max_bytes:
                return
            if entry.path.name != spare:
                shutil.rmtree(entry.path, ignore_errors=True)
                total -= entry.num_bytes
                _logger.info("removed the converted %s from a full cache", entry.source)

    def _remove_leftovers(self) -> None:
        oldest = time.time() - _LEFTOVER_AFTER_S
        for path in self.folder.glob(f"{_UNFINISHED}*"):
            with contextlib.suppress(OSError):
                if path.stat().st_mtime < oldest:
                    shutil.rmtree(path, ignore_errors=True)


def _check(entry: Path) -> None:
    """Hold the files of an entry against its record.

    Raises:
        OSError, ValueError, TypeError, AttributeError, KeyError: If it is not whole.
    """
    files = json.loads((entry / _RECORD).read_text())["files"]
    present = {path.name for path in entry.iterdir()} - {_RECORD}
    if present != set(files):
        raise ValueError(f"its files are {sorted(present)}")
    for name, (size, digest) in files.items():
        path = entry / name
        if path.stat().st_size != size or sha256_of(path) != digest:
            raise ValueError(f"{name} is not what was written")


def _look_at(path: Path) -> CacheEntry:
    record = path / _RECORD
    try:
        source = str(json.loads(record.read_text())["source"])
        last_used = record.stat().st_mtime
    except (OSError, ValueError, TypeError, KeyError):
        source, last_used = "damaged", path.stat().st_mtime
    num_bytes = sum(file.stat().st_size for file in path.iterdir())
    return CacheEntry(path, source, num_bytes, last_used)


def sha256_of(path: Path) -> str:
    """Of the content of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
