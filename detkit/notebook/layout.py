"""Where tiles, captions, legend and footer stand on a figure.

Owns the arithmetic of rows and columns, in pixels. Knows `Picture` and tiles; never a result's
meaning, a file or a detector.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeAlias

from matplotlib.patches import Rectangle

from detkit.drawing import class_color
from detkit.labels import Color
from detkit.notebook.figures import ALARM, FAINT_INK, INK, Picture
from detkit.notebook.one_line import shortened
from detkit.notebook.tiles import Tile
from detkit.results import DetectionResult

# A notebook's output is about this wide before the browser scales it down.
WIDTH_PX = 1080
_MARGIN_PX = 12
_GAP_PX = 16
_TITLE_PX = 22
_LINE_PX = 24
_MAX_LEGEND = 20
_CHAR_PX = 7.6  # average advance of the 13 px font

Legend: TypeAlias = list[tuple[Color, str]]


class Caption(NamedTuple):
    """What stands above a tile: a name on the left, a note on the right."""

    name: str
    note: str = ""
    color: str = FAINT_INK


def tile_width(columns: int, most: int) -> int:
    """How wide each of `columns` tiles can be, in pixels, at most `most`."""
    return min((WIDTH_PX - 2 * _MARGIN_PX - _GAP_PX * (columns - 1)) // columns, most)


def class_legend(results: Iterable[object]) -> Legend:
    """Colour, name and number of boxes of every class, up to twenty."""
    counts: Counter[tuple[int, str]] = Counter()
    for result in results:
        if isinstance(result, DetectionResult):
            counts.update(zip(result.classes.tolist(), result.names, strict=True))
    return [
        (class_color(class_id), f"{shortened(name, 28)} {count}")
        for (class_id, name), count in sorted(counts.items())[:_MAX_LEGEND]
    ]


def laid_out(
    tiles: Sequence[Tile],
    captions: Sequence[Caption],
    columns: int,
    tile_w: int,
    legend: Legend,
    footer: str = "",
) -> Picture:
    """A figure with tiles in rows, each `tile_w` pixels wide, and a legend below them."""
    rows = [range(i, min(i + columns, len(tiles))) for i in range(0, len(tiles), columns)]
    heights = [max(tiles[i].size_wh[1] for i in row) for row in rows]
    width = 2 * _MARGIN_PX + columns * tile_w + (columns - 1) * _GAP_PX
    lines = _legend_lines(legend, width - 2 * _MARGIN_PX)
    below = (len(lines) + bool(footer)) * _LINE_PX
    total = sum(heights) + len(rows) * (_TITLE_PX + _GAP_PX) + 2 * _MARGIN_PX - _GAP_PX // 2 + below
    figure = Picture(width, total)
    top = _MARGIN_PX
    for row, height in zip(rows, heights, strict=True):
        for column, i in enumerate(row):
            left = _MARGIN_PX + column * (tile_w + _GAP_PX)
            _place_tile(figure, tiles[i], captions[i], left, top, tile_w)
        top += _TITLE_PX + height + _GAP_PX
    for line in lines:
        _place_legend(figure, line, top)
        top += _LINE_PX
    if footer:
        figure.place_text(footer, _MARGIN_PX, top, size_px=12, color=FAINT_INK)
    return figure


def _place_tile(
    figure: Picture, tile: Tile, caption: Caption, left: int, top: int, tile_w: int
) -> None:
    width, height = tile.size_wh
    room = int((tile_w - len(caption.note) * _CHAR_PX) / _CHAR_PX) - 2
    figure.place_text(shortened(caption.name, max(4, room)), left, top)
    figure.place_text(caption.note, left + tile_w, top, color=caption.color, align="right")
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


def _legend_lines(legend: Legend, width: int) -> list[list[tuple[Color, str, float]]]:
    """Colour, text and left edge of every entry, broken into lines of at most `width`."""
    lines: list[list[tuple[Color, str, float]]] = []
    right = float("inf")
    for color, text in legend:
        needed = 20 + len(text) * _CHAR_PX + 16
        if right + needed > width:
            lines.append([])
            right = 0
        lines[-1].append((color, text, right))
        right += needed
    return lines


def _place_legend(figure: Picture, line: list[tuple[Color, str, float]], top: float) -> None:
    for color, text, offset in line:
        left = _MARGIN_PX + offset
        swatch = Rectangle(
            (left / figure.width_px, 1 - (top + 13) / figure.height_px),
            13 / figure.width_px,
            13 / figure.height_px,
            transform=figure.transFigure,
            facecolor=tuple(channel / 255 for channel in color),
        )
        figure.add_artist(swatch)
        figure.place_text(text, left + 20, top)
