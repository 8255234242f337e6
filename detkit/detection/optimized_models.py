"""Where optimised models are kept: a folder that the user names, or the cache, by their weights.

Knows files; never what is in them.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from functools import partial
from pathlib import Path

from detkit.detection.model_cache import ModelCache, key_of
from detkit.errors import OptimizationError, describe

# What an optimised model consists of, and the line by which its description tells it is one.
_SUFFIXES = frozenset({".xml", ".bin", ".yaml"})
_METADATA, _MARK = "metadata.yaml", "precision: int8"
# Part of every key: raise it when such a model is read in another way.
_FORMAT = "1"


class Target:
    """Where one optimised model will be kept.

    Args:
        source: The file or folder that the model was loaded from.
        out: A folder to make, or that holds an earlier optimised model, which is replaced;
            `None` for the cache.

    Raises:
        OptimizationError: If `out` holds anything else.
    """

    def __init__(self, source: Path, out: str | os.PathLike[str] | None) -> None:
        self._source = source
        self._out = None if out is None else Path(out).expanduser().absolute()
        if self._out is None:
            return
        try:
            names = sorted(path.name for path in self._out.iterdir())
            ours = not names or _is_optimized(self._out)
        except FileNotFoundError:
            return
        except OSError as error:
            raise OptimizationError(f"out={self._out}: {error.strerror}") from error
        if not ours:
            raise OptimizationError(
                f"out={self._out} holds something else, such as {names[0][:80]!r}: "
                "name a new folder"
            )

    def keep(self, folder: Path) -> Path:
        """Copy a finished model to its place, whole or not at all.

        Args:
            folder: Holds the network, its weights and `metadata.yaml`.

        Returns:
            The network's file, whose name is that of the model.

        Raises:
            OptimizationError: If that place cannot be written to.
        """
        try:
            if self._out is None:
                build = partial(_copy, folder)
                return _network(ModelCache().store(_key(self._source), self._source.name, build))
            self._out.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(
                dir=self._out.parent, prefix=".detkit-", ignore_cleanup_errors=True
            ) as scratch:
                new = Path(scratch) / "new"
                new.mkdir()
                _copy(folder, new)
                if self._out.exists():
                    self._out.rename(Path(scratch) / "old")
                new.rename(self._out)
        except OSError as error:
            raise OptimizationError(
                f"the optimised model cannot be kept in {self._out or ModelCache().folder}: "
                f"{describe(error)}"
            ) from error
        return _network(self._out)


def find_optimized(source: Path) -> Path | None:
    """The network in the cache that was optimised from this file or folder, if there is one."""
    try:
        entry = ModelCache().find(_key(source))
    except OSError:
        return None  # whoever reads the file next tells why it cannot be read
    return None if entry is None else _network(entry)


def _key(source: Path) -> str:
    """Files with the same content share an entry, whatever their names."""
    facts = {"precision": "int8", "format": _FORMAT}
    if source.is_dir():
        source = min(source.glob("*.xml"))
    if source.suffix.lower() == ".xml":
        # The graph, and beside it the weights.
        facts["graph"] = hashlib.sha256(source.read_bytes()).hexdigest()
        source = source.with_suffix(".bin")
    return key_of(source, facts)


def _network(folder: Path) -> Path:
    return next(folder.glob("*.xml"))


def _is_optimized(folder: Path) -> bool:
    """Whether a folder holds nothing but a model that was optimised earlier."""
    if any(path.suffix not in _SUFFIXES or not path.is_file() for path in folder.iterdir()):
        return False
    described = folder / _METADATA
    return described.is_file() and _MARK in described.read_text("utf-8", "replace").splitlines()


def _copy(folder: Path, place: Path) -> None:
    for path in folder.iterdir():
        shutil.copyfile(path, place / path.name)
