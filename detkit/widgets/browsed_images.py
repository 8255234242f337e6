"""`BrowsedImages`: the images behind a `ResultBrowser`, read when they are looked at.

Keeps a page of them, shrunk, so that a slider redraws without reading a file. Knows image files
and pixels; never a widget.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from detkit.errors import ItemFailure
from detkit.image_files import ImageSource, decode_image, source_name
from detkit.images import RGBImage
from detkit.widgets.pictures import SmallPicture, shrunk

if TYPE_CHECKING:
    from detkit.widgets.catalogue import Outcome

BrowsedImage: TypeAlias = "RGBImage | ImageSource"


class BrowsedImages:
    """Pixels and names by index.

    Args:
        images: uint8 RGB arrays, paths, or bytes of image files.
        sources: One name per image, or `None`.
        num_kept: Shrunk pictures that are remembered.
    """

    def __init__(
        self, images: Sequence[BrowsedImage], sources: Sequence[str] | None, num_kept: int
    ) -> None:
        self._images, self._sources, self._num_kept = images, sources, num_kept
        self._read: dict[tuple[int, tuple[int, int]], SmallPicture] = {}

    def small(self, index: int, max_wh: tuple[int, int]) -> SmallPicture:
        """One image shrunk to `max_wh`, read again only if others were looked at since.

        Raises:
            ImageDecodeError: If its file cannot be read.
        """
        key = (index, max_wh)
        if key not in self._read:
            pixels = self._pixels(index)
            while len(self._read) >= self._num_kept:
                self._read.pop(next(iter(self._read)))
            self._read[key] = shrunk(pixels, max_wh)
        return self._read[key]

    def size_hw(self, index: int) -> tuple[int, int]:
        """Height and width of one image; reads it.

        Raises:
            ImageDecodeError: If its file cannot be read.
        """
        height, width = self._pixels(index).shape[:2]
        return height, width

    def _pixels(self, index: int) -> RGBImage:
        given = self._images[index]
        return given if isinstance(given, np.ndarray) else decode_image(given)

    def name(self, index: int, outcome: Outcome) -> str:
        """What the image is called: the name given, what its outcome says, its file, its number."""
        if self._sources is not None:
            return self._sources[index]
        known = (
            outcome.source if isinstance(outcome, ItemFailure) else outcome.metadata.get("source")
        )
        if known is not None:
            return Path(str(known)).name
        image = self._images[index]
        if isinstance(image, (str, os.PathLike)):
            return source_name(image).strip("'\"")
        return f"image {index}"
