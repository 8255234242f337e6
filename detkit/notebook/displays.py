"""How results look as the last value of a cell: a thumbnail and a small table, or a gallery.

HTML that stands on its own in light and dark pages, at 1× and 2×, and never grows beyond its bound.
All text from data is escaped. Knows tiles and results; never IPython, a file or a detector.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Sequence
from html import escape

import cv2
import numpy as np

from detkit.addresses import without_credentials
from detkit.drawing import class_color
from detkit.errors import ItemFailure, describe
from detkit.images import RGBImage
from detkit.notebook.one_line import shortened
from detkit.notebook.outcomes import Outcome
from detkit.notebook.tiles import make_tile
from detkit.results import DetectionResult

# What one result may add to a notebook, as HTML. Its table takes 3 kB, the rest is the picture.
MAX_RESULT_BYTES = 200_000
_MAX_PICTURE_BYTES = 140_000  # a third more as base64
_MAX_GALLERY = 12
_MAX_ROWS = 10
_RESULT_WH = (360, 270)
_CARD_WH = (200, 150)
_FAINT = "opacity:.65;font-size:90%"
_TEXT = "font-family:system-ui,sans-serif;font-size:13px;line-height:1.45"
# Pages style tables their own way, each another.
_CELL = "padding:1px 10px 1px 0;text-align:{};border:0;background:none;white-space:nowrap"


def result_html(result: DetectionResult, image: RGBImage | None = None) -> str:
    """A result as HTML of at most `MAX_RESULT_BYTES`.

    Args:
        result: What was found.
        image: Its image, where somebody keeps it; by default what the result knows of it.
    """
    image = result.image if image is None else image
    picture = "" if image is None else _img(image, result, _RESULT_WH)
    facts = [_count(result), *_size(result), *_source(result)]
    head = f"<b>{escape(facts[0])}</b>" + "".join(
        f' <span style="{_FAINT}">· {escape(fact)}</span>' for fact in facts[1:]
    )
    body = f'<div style="{_TEXT}">{head}{_table(result)}</div>'
    return f'<div style="display:flex;flex-wrap:wrap;gap:16px;margin:4px 0">{picture}{body}</div>'


def failure_html(failure: ItemFailure, image: RGBImage | None = None) -> str:
    """A failure as HTML: where, and why."""
    picture = "" if image is None else _img(image, failure, _RESULT_WH)
    where = shortened(without_credentials(failure.source or f"image {failure.index}"), 60)
    why = shortened(describe(failure.exception), 300)
    body = (
        f'<div style="{_TEXT};max-width:480px"><b style="color:#d64545">failed at '
        f'{escape(failure.stage)}</b> <span style="{_FAINT}">· {escape(where)}</span>'
        f"<div>{escape(why)}</div></div>"
    )
    return f'<div style="display:flex;flex-wrap:wrap;gap:16px;margin:4px 0">{picture}{body}</div>'


def gallery_html(outcomes: Sequence[Outcome], images: Sequence[RGBImage | None] = ()) -> str:
    """A list of results and failures as a short gallery.

    Args:
        outcomes: One per image; the first twelve are shown.
        images: Their images, where somebody keeps them; by default what the results know.
    """
    results = [o for o in outcomes if isinstance(o, DetectionResult)]
    num_failed = len(outcomes) - len(results)
    head = f"<b>{len(outcomes)} images</b> · {_plural(sum(map(len, results)), 'detection')}"
    if num_failed:
        head += f' · <b style="color:#d64545">{num_failed} failed</b>'
    shown = list(outcomes[:_MAX_GALLERY])
    kept = [*images, *[None] * len(shown)]
    cards = "".join(_card(o, i, kept[i]) for i, o in enumerate(shown))
    rest = len(outcomes) - len(shown)
    more = f'<div style="{_FAINT}">and {rest} more: see show_grid</div>' if rest else ""
    return (
        f'<div style="{_TEXT};margin:4px 0">{head}<div style="display:flex;flex-wrap:wrap;'
        f'gap:12px;margin:8px 0">{cards}</div>{more}</div>'
    )


def _card(outcome: Outcome, index: int, image: RGBImage | None) -> str:
    width = _CARD_WH[0]
    if image is None and isinstance(outcome, DetectionResult):
        image = outcome.image
    picture = "" if image is None else _img(image, outcome, _CARD_WH)
    if isinstance(outcome, ItemFailure):
        name = outcome.source or f"image {outcome.index}"
        said, style = f"failed at {outcome.stage}", "color:#d64545"
        below = shortened(describe(outcome.exception), 60)
    else:
        name = str(outcome.metadata.get("source") or f"image {index}")
        said, style = _count(outcome), _FAINT
        counts = Counter(outcome.names).most_common(3)
        below = ", ".join(f"{shortened(n, 16)} {count}" for n, count in counts)
    title = shortened(_file_name(name), 18)
    return (
        f'<div style="width:{width}px"><div style="display:flex;justify-content:space-between">'
        f'<span>{escape(title)}</span><span style="{style}">{escape(said)}</span></div>'
        f'{picture}<div style="{_FAINT}">{escape(below)}</div></div>'
    )


def _img(image: RGBImage, outcome: Outcome, size_wh: tuple[int, int]) -> str:
    # Without labels, which nobody could read at this size; the table names the colours.
    tile = make_tile(image, outcome, size_wh, show_labels=False)
    width, height = tile.size_wh
    data = base64.b64encode(_jpeg(tile.pixels)).decode("ascii")
    return (
        f'<img alt="" width="{width}" height="{height}" '
        f'style="width:{width}px;height:{height}px;border-radius:3px;margin:0" '
        f'src="data:image/jpeg;base64,{data}">'
    )


def _jpeg(pixels: RGBImage) -> bytes:
    """As good as fits: noise of this size takes more than the bound at the usual quality."""
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    for quality in (85, 60, 30, 10):
        data: bytes = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
        if len(data) <= _MAX_PICTURE_BYTES:
            break
    return data


def _table(result: DetectionResult) -> str:
    if not len(result):
        return ""
    left, right = _CELL.format("left"), _CELL.format("right")
    heads = ("", "class", "confidence", "x_min", "y_min", "x_max", "y_max")
    row = "".join(
        f'<th style="{left if i < 2 else right};font-weight:normal;opacity:.65">{head}</th>'
        for i, head in enumerate(heads)
    )
    rows = [row]
    best = np.argsort(-result.scores, kind="stable")[:_MAX_ROWS]
    for i in best.tolist():
        class_id = int(result.classes[i])
        swatch = f'<span style="color:rgb{class_color(class_id)}">■</span>'
        cells = [f'<td style="{left}">{swatch}</td>']
        cells.append(
            f'<td style="{left}">{escape(shortened(result.class_name(class_id), 32))}</td>'
        )
        numbers = [f"{result.scores[i]:.2f}", *(f"{value:.0f}" for value in result.boxes[i])]
        cells += [f'<td style="{right}">{number}</td>' for number in numbers]
        rows.append("".join(cells))
    body = "".join(f'<tr style="background:none">{row}</tr>' for row in rows)
    rest = len(result) - len(best)
    more = f'<div style="{_FAINT}">and {rest} more</div>' if rest else ""
    style = "border-collapse:collapse;margin:4px 0;border:0;font-variant-numeric:tabular-nums"
    return f'<table style="{style}">{body}</table>{more}'


def _count(result: DetectionResult) -> str:
    return _plural(len(result), "detection") if len(result) else "nothing found"


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _size(result: DetectionResult) -> list[str]:
    size_hw = result.metadata.get("image_hw")
    return [] if size_hw is None else [f"{int(size_hw[1])}×{int(size_hw[0])}"]


def _source(result: DetectionResult) -> list[str]:
    source = result.metadata.get("source")
    return [] if source is None else [shortened(_file_name(str(source)), 48)]


def _file_name(source: str) -> str:
    source = without_credentials(source)
    return source if "://" in source else source.replace("\\", "/").rpartition("/")[2] or source
