"""What may be passed as images: arrays, files, a folder, or the results that know their image.

Owns the one place where any of them becomes a plain list. Knows files by name and results; decodes
nothing and draws nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from detkit.errors import ItemFailure, PartialBatchError
from detkit.image_files import ImageSource
from detkit.images import RGBImage
from detkit.notebook.outcomes import Outcome, is_outcome, outcome_list
from detkit.pipeline.inputs import find_files
from detkit.results import DetectionResult

AnyImage: TypeAlias = "RGBImage | ImageSource"
Images: TypeAlias = "Iterable[AnyImage] | AnyImage"


def image_list(images: Any) -> Sequence[AnyImage]:
    """One entry per image; a single one is a list of one, a folder the image files in it.

    Raises:
        SourceError: If a folder holds no images.
        TypeError: If it is nothing of the kind.
    """
    if isinstance(images, (str, os.PathLike)):
        path = Path(images)
        return list(find_files(path)) if path.is_dir() else [images]
    if isinstance(images, (bytes, bytearray, memoryview)):
        return [images]
    if isinstance(images, np.ndarray) and images.ndim <= 3:
        return [images]
    if isinstance(images, (list, tuple)):
        return images
    if not isinstance(images, Iterable):
        raise TypeError(f"images must be arrays, paths or a folder, got a {type(images).__name__}")
    return list(images)


def are_outcomes(images: Any) -> bool:
    """Whether results stand where images are expected."""
    if isinstance(images, PartialBatchError) or is_outcome(images):
        return True
    return isinstance(images, (list, tuple)) and len(images) > 0 and is_outcome(images[0])


def images_of(results: Any) -> list[AnyImage]:
    """The images that results know: kept with a record, held by somebody, or a file still there.

    Args:
        results: What `outcome_list` takes, but no iterator.

    Raises:
        ValueError: If one is not there any more.
    """
    outcomes = outcome_list(results)
    entries = results if isinstance(results, (list, tuple)) else [results]
    kept = [getattr(entry, "image", None) for entry in entries]
    if len(kept) != len(outcomes):
        kept = [None] * len(outcomes)
    found = [k if k is not None else image_of(o) for k, o in zip(kept, outcomes, strict=True)]
    known = [image for image in found if image is not None]
    if len(known) < len(found):
        raise ValueError(
            f"{len(found) - len(known)} of {len(found)} images are not held by anybody any "
            "more: pass images"
        )
    return known


def image_of(outcome: Outcome) -> AnyImage | None:
    """The image of one outcome, if it is known; nothing for a failure without a file."""
    if isinstance(outcome, DetectionResult) and outcome.image is not None:
        return outcome.image
    named = outcome.source if isinstance(outcome, ItemFailure) else outcome.metadata.get("source")
    if named is not None and os.path.isfile(named):  # noqa: PTH113  any text may be there
        return str(named)
    # No image, which is drawn as what it is: failed.
    return b"" if isinstance(outcome, ItemFailure) else None
