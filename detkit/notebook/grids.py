"""Pictures with their boxes, side by side, as a figure that is shown exactly once.

Owns the layout: rows, titles, legend. Knows `Picture` and tiles; never pyplot, a detector or a
loop. `outcomes` says what may be passed as `results`.
"""

from __future__ import annotations

import os
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, TypeAlias

import numpy as np
from matplotlib.patches import Rectangle

from detkit.drawing import class_color
from detkit.errors import ItemFailure
from detkit.image_files import ImageSource, without_credentials
from detkit.images import RGBImage
from detkit.notebook.figures import ALARM, FAINT_INK, INK, Picture, shortened
from detkit.notebook.outcomes import Outcome, Outcomes, Source, outcome_list, source_list
from detkit.notebook.tiles import Tile, make_tile
from detkit.results import DetectionResult

AnyImage: TypeAlias = "RGBImage | ImageSource"
Order: TypeAlias = Literal["input", "count", "confidence", "uncertain"]

# A notebook's output is about this wide before the browser scales it down.
_WIDTH_PX = 1080
_MARGIN_PX = 12
_GAP_PX = 16
_TITLE_PX = 22
_LINE_PX = 24
# Labels of 11 px cover a smaller tile; the legend names the colours there.
_LABEL_WIDTH_PX = 400
_MAX_LEGEND = 20
_CHAR_PX = 7.6  # average advance of the 13 px font


def show_grid(
    images: Sequence[AnyImage],
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
        images: uint8 RGB arrays of shape (H, W, 3), paths, or bytes of image files.
        results: One result or failure per image, or the `PartialBatchError` that holds them;
            without it the images are shown plain.
        sources: One name per image; by default paths, or what each result's metadata calls
            "source".
        columns: Images side by side, at most.
        max_images: Images on a page, at most.
        page: Which page, from 0.
        by: Order of the images: "input", "count" (most boxes first), "confidence" (highest score
            first) or "uncertain" (a score nearest to 0.5 first). Failed ones come last.
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
    outcomes, names = _paired(images, results, sources)
    if columns < 1 or max_images < 1:
        raise ValueError(f"{columns=} and {max_images=} must be at least 1")
    order = _ordered(outcomes, by)
    pages = -(-len(order) // max_images)
    if not 0 <= page < pages:
        raise ValueError(f"page {page} does not exist: there are {pages}, counted from 0")
    chosen = order[page * max_images : (page + 1) * max_images]

    columns = min(columns, len(chosen))
    tile_w = min((_WIDTH_PX - 2 * _MARGIN_PX - _GAP_PX * (columns - 1)) // columns, 640)
    labels = tile_w >= _LABEL_WIDTH_PX if show_labels is None else show_labels
    tiles = [make_tile(images[i], outcomes[i], (tile_w, tile_w), labels) for i in chosen]
    footer = (
        f"page {page + 1} of {pages}: {len(chosen)} of {len(order)} images" if pages > 1 else ""
    )
    return _laid_out(tiles, [names[i] for i in chosen], columns, tile_w, footer)


def show(
    image: AnyImage,
    result: Outcome | None = None,
    source: Source = None,
    *,
    show_labels: bool = True,
    max_width_px: int = 960,
) -> Picture:
    """Draw one image with its boxes, names and scores.

    Args:
        image: A uint8 RGB array of shape (H, W, 3), a path, or the bytes of an image file.
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
    outcomes, names = _paired([image], results, None if source is None else [source])
    width = max_width_px
    if isinstance(image, np.ndarray) and image.ndim == 3:
        width = min(max_width_px, max(image.shape[1], 320))
    tile = make_tile(image, outcomes[0], (width, width * 5 // 4), show_labels)
    return _laid_out([tile], names, 1, width, "")


def _paired(
    images: Sequence[AnyImage], results: Outcomes | None, sources: Iterable[Source] | None
) -> tuple[list[Outcome | None], list[str]]:
    """An outcome and a name for every image."""
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
    return outcomes, [f"image {i}" if n is None else _short_source(n) for i, n in enumerate(names)]


def _short_source(name: str) -> str:
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
    if by not in keys:
        raise ValueError(f"by must be 'input' or one of {', '.join(map(repr, keys))}, got {by!r}")
    key = keys[by]

    def rank(index: int) -> float:
        outcome = outcomes[index]
        return key(outcome) if isinstance(outcome, DetectionResult) else float("inf")

    return sorted(range(len(outcomes)), key=rank)


def _laid_out(
    tiles: Sequence[Tile], names: Sequence[str], columns: int, tile_w: int, footer: str
) -> Picture:
    rows = [range(i, min(i + columns, len(tiles))) for i in range(0, len(tiles), columns)]
    heights = [max(tiles[i].size_wh[1] for i in row) for row in rows]
    width = 2 * _MARGIN_PX + columns * tile_w + (columns - 1) * _GAP_PX
    legend = _legend_lines(tiles, width - 2 * _MARGIN_PX)
    below = (len(legend) + bool(footer)) * _LINE_PX
    total = sum(heights) + len(rows) * (_TITLE_PX + _GAP_PX) + 2 * _MARGIN_PX - _GAP_PX // 2 + below
    figure = Picture(width, total)
    top = _MARGIN_PX
    for row, height in zip(rows, heights, strict=True):
        for column, i in enumerate(row):
            left = _MARGIN_PX + column * (tile_w + _GAP_PX)
            _place_tile(figure, tiles[i], names[i], left, top, tile_w)
        top += _TITLE_PX + height + _GAP_PX
    for line in legend:
        _place_legend(figure, line, top)
        top += _LINE_PX
    if footer:
        figure.place_text(footer, _MARGIN_PX, top, size_px=12, color=FAINT_INK)
    return figure


def _place_tile(figure: Picture, tile: Tile, name: str, left: int, top: int, tile_w: int) -> None:
    width, height = tile.size_wh
    count, color = _count(tile)
    room = int((tile_w - len(count) * _CHAR_PX) / _CHAR_PX) - 2
    figure.place_text(shortened(name, max(4, room)), left, top)
    figure.place_text(count, left + tile_w, top, color=color, align="right")
    figure.place_image(tile.pixels, left, top + _TITLE_PX, (width, height))
    if tile.error is None:
        return
    lines = textwrap.wrap(tile.error, max(8, int((width - 20) / 6.6)))
    shown = lines[: max(1, (height - 30) // 16)]
    start = top + _TITLE_PX + height / 2 - 8 * (len(shown) + 1)
    middle = left + width / 2
    head = f"failed at {tile.stage}"
    figure.place_text(head, middle, start, color=ALARM, weight="bold", align="center")
    for number, line in enumerate(shown, 1):
        place = start + 4 + 16 * number
        figure.place_text(line, middle, place, size_px=11, color=INK, align="center")


def _count(tile: Tile) -> tuple[str, str]:
    if tile.error is not None or isinstance(tile.outcome, ItemFailure):
        return "failed", ALARM
    if tile.outcome is None:
        return "", INK
    num = len(tile.outcome)
    return ("nothing found" if num == 0 else f"{num} found"), FAINT_INK


def _legend_lines(tiles: Sequence[Tile], width: int) -> list[list[tuple[int, str, float]]]:
    """Class id, text and left edge of every entry, broken into lines of at most `width`."""
    counts: Counter[tuple[int, str]] = Counter()
    for tile in tiles:
        if isinstance(tile.outcome, DetectionResult):
            ids = tile.outcome.classes.tolist()
            counts.update(zip(ids, tile.outcome.names, strict=True))
    lines: list[list[tuple[int, str, float]]] = []
    right = float("inf")
    for (class_id, name), count in sorted(counts.items())[:_MAX_LEGEND]:
        text = f"{shortened(name, 28)} {count}"
        needed = 20 + len(text) * _CHAR_PX + 16
        if right + needed > width:
            lines.append([])
            right = 0
        lines[-1].append((class_id, text, right))
        right += needed
    return lines


def _place_legend(figure: Picture, line: list[tuple[int, str, float]], top: float) -> None:
    for class_id, text, offset in line:
        left = _MARGIN_PX + offset
        color = tuple(channel / 255 for channel in class_color(class_id))
        swatch = Rectangle(
            (left / figure.width_px, 1 - (top + 13) / figure.height_px),
            13 / figure.width_px,
            13 / figure.height_px,
            transform=figure.transFigure,
            facecolor=color,
        )
        figure.add_artist(swatch)
        figure.place_text(text, left + 20, top)
