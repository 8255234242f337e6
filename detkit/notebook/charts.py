"""Three charts of results: how sure, how many of each class, and when in a video.

Owns what is counted and how it is drawn. Knows tables and `Picture`; never pyplot or a detector.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullLocator

from detkit.drawing import class_color
from detkit.notebook.benchmark_drawing import heading, plain_axes
from detkit.notebook.figures import ALARM, FAINT_INK, INK, Picture
from detkit.notebook.one_line import shortened
from detkit.notebook.outcomes import Outcome, Outcomes, outcome_list
from detkit.notebook.tables import to_dataframe
from detkit.results import DetectionResult

_WIDTH_PX = 860
_ROW_PX = 30
# More classes than this are counted together, as "other": their colours would not be told apart.
_MAX_CLASSES = 12
_OTHER = "#b5bcc4"
_NUM_BINS = 20


def plot_confidence(results: Outcomes, *, threshold: float | None = None) -> Picture:
    """A histogram of scores in steps of 0.05, classes stacked.

    Args:
        results: Results and failures, records of `detect_images`, or a `PartialBatchError`.
        threshold: Draws a line there and says how many boxes lie on either side.

    Returns:
        A matplotlib figure. As the last value of a cell it is shown once.

    Raises:
        ValueError: If there is no box.
    """
    boxes = _boxes(results)
    below = f"{len(boxes)} boxes"
    if threshold is not None:
        num_kept = int((boxes["confidence"] >= threshold).sum())
        below += f" · {num_kept} at {threshold:g} or more, {len(boxes) - num_kept} below"
    picture = Picture(_WIDTH_PX, 340)
    heading(picture, "Confidence", below)
    axes = plain_axes(picture, (64, 74, _WIDTH_PX - 64 - 170, 340 - 74 - 46))
    edges = np.linspace(0, 1, _NUM_BINS + 1)
    bottom = np.zeros(_NUM_BINS)
    classes = _classes(boxes)
    for _, color, rows in classes:
        counts, _ = np.histogram(boxes.loc[rows, "confidence"], edges)
        axes.bar(edges[:-1] + 0.025, counts, 0.046, bottom=bottom, color=color)
        bottom += counts
    if threshold is not None:
        axes.axvline(threshold, color=ALARM, linewidth=1.4)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.08 * bottom.max())
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.set_ylabel("boxes", color=FAINT_INK)
    _name_classes(picture, [(name, color) for name, color, _ in classes])
    return picture


def plot_class_counts(results: Outcomes) -> Picture:
    """How many boxes of each class, the most frequent on top, and in how many images.

    Args:
        results: Results and failures, records of `detect_images`, or a `PartialBatchError`.

    Returns:
        A matplotlib figure. As the last value of a cell it is shown once.

    Raises:
        ValueError: If there is no box.
    """
    outcomes = outcome_list(results)
    boxes = _boxes(outcomes)
    classes = _classes(boxes)
    height = 74 + _ROW_PX * len(classes) + 24
    picture = Picture(_WIDTH_PX, height)
    heading(picture, "Boxes by class", _of_images(outcomes, len(boxes)))
    axes = plain_axes(picture, (190, 74, _WIDTH_PX - 190 - 24, _ROW_PX * len(classes)))
    most = max(int(rows.sum()) for _, _, rows in classes)
    for row, (name, color, rows) in enumerate(classes):
        num_boxes = int(rows.sum())
        num_images = boxes.loc[rows, "image_index"].nunique()
        axes.barh(row, num_boxes, height=0.66, color=color)
        said = f"{num_boxes}  in {num_images} image" + ("" if num_images == 1 else "s")
        axes.text(num_boxes + 0.012 * most, row, said, color=INK, fontsize=9, va="center")
        y = 74 + _ROW_PX * (row + 0.5) - 8
        picture.place_text(shortened(name, 24), 178, y, align="right")
    axes.set_xlim(0, 1.22 * most)
    axes.set_ylim(len(classes) - 0.5, -0.5)
    axes.yaxis.set_major_locator(NullLocator())
    axes.xaxis.set_major_locator(NullLocator())
    axes.grid(visible=False)
    return picture


def plot_timeline(results: Outcomes) -> Picture:
    """When in a video what was seen: one row per class, as high as there are boxes at that time.

    Args:
        results: The results of `detect_video` in order. Those that do not know their
            `pts_seconds` are placed by their number.

    Returns:
        A matplotlib figure. As the last value of a cell it is shown once.

    Raises:
        ValueError: If there is no box.
    """
    outcomes = outcome_list(results)
    boxes = _boxes(outcomes)
    edges, unit = _edges(outcomes)
    classes = _classes(boxes)
    row_px = 44
    height = 74 + row_px * len(classes) + 46
    picture = Picture(_WIDTH_PX, height)
    heading(picture, "What was seen when", _of_images(outcomes, len(boxes), "frame"))
    axes = plain_axes(picture, (150, 74, _WIDTH_PX - 150 - 60, row_px * len(classes)))
    for row, (name, color, rows) in enumerate(classes):
        counts = np.bincount(boxes.loc[rows, "image_index"], minlength=len(outcomes))
        most = int(counts.max())
        base = len(classes) - 1 - row
        heights = base + 0.86 * counts / most
        axes.stairs(heights, edges, baseline=base, fill=True, color=color)
        y = 74 + row_px * (row + 1) - 22
        picture.place_text(shortened(name, 18), 138, y, align="right")
        picture.place_text(f"max {most}", _WIDTH_PX - 50, y, size_px=11, color=FAINT_INK)
    _mark_failures(axes, outcomes, edges)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(0, len(classes))
    axes.yaxis.set_major_locator(MaxNLocator(len(classes), integer=True))
    axes.set_yticklabels([])
    axes.set_xlabel(unit, color=FAINT_INK)
    return picture


def _boxes(results: Outcomes | Sequence[Outcome]) -> pd.DataFrame:
    boxes = to_dataframe(results)
    if boxes.empty:
        raise ValueError("nothing was found, so there is nothing to draw")
    return boxes


def _classes(boxes: pd.DataFrame) -> list[tuple[str, str, pd.Series[bool]]]:
    """Name, colour and rows of every class, the most frequent first, the rare ones together."""
    pairs = boxes.groupby(["class_id", "class_name"], observed=True).size()
    ordered = pairs.sort_values(ascending=False, kind="stable").index.tolist()
    kept = ordered if len(ordered) <= _MAX_CLASSES else ordered[: _MAX_CLASSES - 1]
    classes: list[tuple[str, str, pd.Series[bool]]] = []
    rest = pd.Series(True, index=boxes.index)
    for class_id, name in kept:
        rows = (boxes["class_id"] == class_id) & (boxes["class_name"] == name)
        color = "#{:02x}{:02x}{:02x}".format(*class_color(class_id))
        classes.append((str(name), color, rows))
        rest &= ~rows
    if len(kept) < len(ordered):
        classes.append((f"{len(ordered) - len(kept)} other classes", _OTHER, rest))
    return classes


def _name_classes(picture: Picture, classes: Sequence[tuple[str, str]]) -> None:
    left = _WIDTH_PX - 150
    for row, (name, color) in enumerate(classes):
        y = 78 + 20 * row
        picture.place_text("■", left, y, size_px=14).set_color(color)
        picture.place_text(shortened(name, 18), left + 19, y + 1, size_px=12)


def _of_images(outcomes: Sequence[Outcome], num_boxes: int, noun: str = "image") -> str:
    num_failed = sum(not isinstance(outcome, DetectionResult) for outcome in outcomes)
    said = f"{num_boxes} boxes in {len(outcomes)} {noun}" + ("" if len(outcomes) == 1 else "s")
    return f"{said} · {num_failed} failed" if num_failed else said


def _edges(outcomes: Sequence[Outcome]) -> tuple[npt.NDArray[np.float64], str]:
    """When each image was seen and when the last one ended, and in which unit."""
    numbers = np.arange(len(outcomes), dtype=np.float64)
    known = {
        i: float(o.metadata["pts_seconds"])
        for i, o in enumerate(outcomes)
        if isinstance(o, DetectionResult) and o.metadata.get("pts_seconds") is not None
    }
    if len(known) < sum(isinstance(o, DetectionResult) for o in outcomes):
        return np.append(numbers, len(outcomes)), "number of the frame"
    # A frame that failed lies between its neighbours; the last one lasts as long as the others.
    times = np.interp(numbers, list(known), list(known.values()))
    step = float(np.median(np.diff(times))) if len(times) > 1 else 1.0
    return np.append(times, times[-1] + max(step, 1e-3)), "seconds"


def _mark_failures(axes: Axes, outcomes: Sequence[Outcome], edges: npt.NDArray[np.float64]) -> None:
    for outcome, start, end in zip(outcomes, edges[:-1], edges[1:], strict=True):
        if not isinstance(outcome, DetectionResult):
            axes.axvspan(start, end, color=ALARM, alpha=0.18, linewidth=0)
