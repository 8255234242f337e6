"""Pictures with their boxes, side by side, as a figure that is shown exactly once.

Owns which images are shown, in which order, and what is written above them. Knows tiles and their
layout; never pyplot, a detector or a loop. `outcomes` says what may be passed as `results`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np

from detkit.addresses import without_credentials
from detkit.errors import ItemFailure
from detkit.notebook.figures import ALARM, Picture
from detkit.notebook.layout import Caption, class_legend, laid_out, tile_width
from detkit.notebook.outcomes import (
    Outcome,
    Outcomes,
    Record,
    Source,
    is_outcome,
    outcome_list,
    source_list,
)
from detkit.notebook.picture_lists import AnyImage, Images, are_outcomes, image_list, images_of
from detkit.notebook.tiles import Tile, make_tile
from detkit.results import DetectionResult

Order: TypeAlias = Literal["input", "count", "confidence", "uncertain", "random"]

# Labels of 11 px cover a smaller tile; the legend names the colours there.
_LABEL_WIDTH_PX = 400


def show_grid(
    images: Images | Outcomes,
    results: Outcomes | None = None,
    sources: Iterable[Source] | None = None,
    *,
    columns: int = 4,
    max_images: int = 24,
    page: int = 0,
    by: Order = "input",
    show_labels: bool | None = None,
) -> Picture:
    """Draw images with their boxes side by side.

    Every image keeps its aspect. Its title says its source and how much was found; a failed one is
    drawn as failed with the reason; a legend below counts the classes. Paths are read one page at
    a time and only small pictures are kept, so a list of 10,000 costs nothing.

    Args:
        images: uint8 RGB arrays of shape (H, W, 3), paths, bytes of image files, or a folder. Or
            only the results, where their images are known: kept with a record, still held by
            somebody, or a file that is still there.
        results: One result or failure per image, or the `PartialBatchError` that holds them;
            without it the images are shown plain.
        sources: One name per image; by default paths, or what each result's metadata calls
            "source".
        columns: Images side by side, at most.
        max_images: Images on a page, at most.
        page: Which page, from 0.
        by: Order of the images: "input", "count" (most boxes first), "confidence" (highest score
            first) or "uncertain" (a score nearest to 0.5 first), failed ones last; or "random", a
            fixed shuffle of all, whose first page is a fair sample.
        show_labels: Whether boxes carry names and scores; by default only where tiles are wide
            enough to read them.

    Returns:
        A matplotlib figure. As the last value of a cell it is shown once; `savefig` writes it.

    Raises:
        ValueError: If there are no images, the number of results or sources is another, a result
            is of an image of another size, or there is no such page.

    Example:
        >>> import numpy as np
        >>> figure = show_grid([np.zeros((90, 160, 3), np.uint8)] * 3, columns=3)
        >>> figure.get_size_inches().tolist()
        [10.79, 2.46]
    """
    images, outcomes, names = _paired(images, results, sources)
    if columns < 1 or max_images < 1:
        raise ValueError(f"{columns=} and {max_images=} must be at least 1")
    order = _ordered(outcomes, by)
    pages = -(-len(order) // max_images)
    if not 0 <= page < pages:
        raise ValueError(f"page {page} does not exist: there are {pages}, counted from 0")
    chosen = order[page * max_images : (page + 1) * max_images]

    columns = min(columns, len(chosen))
    tile_w = tile_width(columns, 640)
    labels = tile_w >= _LABEL_WIDTH_PX if show_labels is None else show_labels
    tiles = [make_tile(images[i], outcomes[i], (tile_w, tile_w), labels) for i in chosen]
    footer = (
        f"page {page + 1} of {pages}: {len(chosen)} of {len(order)} images" if pages > 1 else ""
    )
    return _grid(tiles, [names[i] for i in chosen], columns, tile_w, footer)


def show(
    image: AnyImage | Outcome | Record,
    result: Outcome | Record | None = None,
    source: Source = None,
    *,
    show_labels: bool = True,
    max_width_px: int = 960,
) -> Picture:
    """Draw one image with its boxes, names and scores.

    Args:
        image: A uint8 RGB array of shape (H, W, 3), a path, or the bytes of an image file; or its
            result alone, as for `show_grid`.
        result: Its result or failure; without it the image is shown plain.
        source: Its name; by default its path, or what the result's metadata calls "source".
        show_labels: Whether boxes carry names and scores.
        max_width_px: Larger images are shrunk to this width.

    Returns:
        A matplotlib figure. As the last value of a cell it is shown once.

    Raises:
        ValueError: If the result is of an image of another size.
    """
    results = None if result is None else [result]
    given = image if is_outcome(image) else [image]
    images, outcomes, names = _paired(given, results, None if source is None else [source])
    image = images[0]
    width = max_width_px
    if isinstance(image, np.ndarray) and image.ndim == 3:
        width = min(max_width_px, max(image.shape[1], 320))
    tile = make_tile(image, outcomes[0], (width, width * 5 // 4), show_labels)
    # No wider than an upright picture; wide enough for its title.
    return _grid([tile], names, 1, min(width, max(tile.size_wh[0], 320)))


def _paired(
    images: Any, results: Outcomes | None, sources: Iterable[Source] | None
) -> tuple[Sequence[AnyImage], list[Outcome | None], list[str]]:
    """Every image with an outcome and a name."""
    given: Any = images if are_outcomes(images) else image_list(images)
    if are_outcomes(given):
        if results is not None:
            raise TypeError("results were given in the place of images: images come first")
        results, given = given, images_of(given)
    images = given
    if len(images) == 0:
        raise ValueError("there are no images to show")
    outcomes: list[Outcome | None] = [None] * len(images)
    names: list[str | None] = [None] * len(images)
    if results is not None:
        given = outcome_list(results)
        if len(given) != len(images):
            raise ValueError(
                f"{len(given)} results were given for {len(images)} images; "
                "after a PartialBatchError pass the error itself, it knows which ones failed"
            )
        outcomes = [*given]
        names = source_list(given)
    if sources is not None:
        listed = list(sources)
        if len(listed) != len(images):
            raise ValueError(f"{len(listed)} sources were given for {len(images)} images")
        names = [None if s is None else os.fsdecode(s) for s in listed]
    for i, image in enumerate(images):
        if names[i] is None and isinstance(image, (str, os.PathLike)):
            names[i] = os.fsdecode(image)
    return (
        images,
        outcomes,
        [f"image {i}" if n is None else short_source(n) for i, n in enumerate(names)],
    )


def short_source(name: str) -> str:
    """The file name of a path; an address without its password."""
    # The folder is the same for all of them, more often than not.
    name = without_credentials(name)
    return name if "://" in name else os.path.basename(name) or name  # noqa: PTH119  not a file


def _ordered(outcomes: Sequence[Outcome | None], by: Order) -> list[int]:
    keys: dict[str, Callable[[DetectionResult], float]] = {
        "count": lambda r: -len(r),
        "confidence": lambda r: -float(r.scores.max(initial=0)),
        "uncertain": lambda r: float(np.abs(r.scores - 0.5).min(initial=1)),
    }
    if by == "input":
        return list(range(len(outcomes)))
    if by == "random":
        # The same every time: a page must not change when it is looked at again.
        return [int(i) for i in np.random.default_rng(0).permutation(len(outcomes))]
    if by not in keys:
        raise ValueError(f"by must be 'input', 'random', {', '.join(map(repr, keys))}, got {by!r}")
    key = keys[by]

    def rank(index: int) -> float:
        outcome = outcomes[index]
        return key(outcome) if isinstance(outcome, DetectionResult) else float("inf")

    return sorted(range(len(outcomes)), key=rank)


def _caption(tile: Tile, name: str) -> Caption:
    if tile.error is not None or isinstance(tile.outcome, ItemFailure):
        return Caption(name, "failed", ALARM)
    if tile.outcome is None:
        return Caption(name)
    num = len(tile.outcome)
    return Caption(name, "nothing found" if num == 0 else f"{num} found")


def _grid(
    tiles: Sequence[Tile], names: Sequence[str], columns: int, tile_w: int, footer: str = ""
) -> Picture:
    captions = [_caption(tile, name) for tile, name in zip(tiles, names, strict=True)]
    legend = class_legend(tile.outcome for tile in tiles)
    return laid_out(tiles, captions, columns, tile_w, legend, footer)
