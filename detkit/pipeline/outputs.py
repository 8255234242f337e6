"""Names of annotated pictures in an output folder.

Owns that no name leaves its folder and no two inputs share one. Knows nothing of detectors.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

# Characters that every file system takes.
_STRANGE = re.compile(r"[^\w.\- ]", re.ASCII)
_MAX_STEM_CHARS = 80
# Devices, whatever the suffix, on Windows.
_DEVICES = frozenset(
    {"con", "prn", "aux", "nul"} | {f"{kind}{n}" for kind in ("com", "lpt") for n in range(10)}
)


class OutputNames:
    """Gives every input a file name of its own inside one folder.

    The name is the input's; where two inputs have the same one, the later gets its folder's name
    in front, or a number behind.

    Example:
        >>> names = OutputNames("out")
        >>> [names.take(n, ".jpg").name for n in ("a/x.jpg", "b/x.jpg", "../../etc/x.png")]
        ['x.jpg', 'b-x.jpg', 'etc-x.jpg']
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._taken: set[str] = set()

    def take(self, source: str, suffix: str) -> Path:
        """A path in the folder, different from all that were taken before.

        Args:
            source: Name of the input, whatever it holds.
            suffix: Ending of the output, with the dot.
        """
        parts = re.split(r"[/\\]", source)
        stem = _safe(os.path.splitext(parts[-1])[0])  # noqa: PTH122  no path: any text
        candidates = [stem]
        if len(parts) > 1 and _safe(parts[-2]) != "image":
            candidates.append(f"{_safe(parts[-2])}-{stem}")
        number = 2
        for candidate in candidates:
            if self._claim(candidate + suffix):
                return self.folder / (candidate + suffix)
        while not self._claim(f"{stem}-{number}{suffix}"):
            number += 1
        return self.folder / f"{stem}-{number}{suffix}"

    def reserve(self, name: str) -> None:
        """Leave a name to the input that had it before."""
        self._taken.add(name.casefold())

    def _claim(self, name: str) -> bool:
        # File systems differ in whether case counts.
        key = name.casefold()
        if key in self._taken:
            return False
        self._taken.add(key)
        return True


def _safe(text: str) -> str:
    name = _STRANGE.sub("_", text).strip(" .")[:_MAX_STEM_CHARS].strip(" .")
    if not name or set(name) <= {"_"}:
        return "image"
    return f"_{name}" if name.split(".")[0].casefold() in _DEVICES else name


def picture_suffix(source: str) -> str:
    """The ending of the annotated copy of `source`: PNG stays PNG, all else becomes JPEG."""
    return ".png" if source.lower().endswith(".png") else ".jpg"
