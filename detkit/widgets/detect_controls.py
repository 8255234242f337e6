"""The controls of `DetectPanel`: model, confidence, pages, downloads, and how they lie.

Knows ipywidgets; what a control does is bound by the panel.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import ipywidgets

from detkit.widgets.picture_queue import GIVEN_MODEL, SAMPLE_MODEL

if TYPE_CHECKING:
    import pandas as pd

OTHER_MODEL = "another"
# What people without a model of their own look for, the fast ones first.
_MODELS: tuple[tuple[str, str], ...] = (
    ("Sample model: parts on a conveyor belt", SAMPLE_MODEL),
    ("YOLOv8 nano: 80 everyday objects, fast (yolov8n.pt)", "yolov8n.pt"),
    ("YOLOv8 small: the same, more exact (yolov8s.pt)", "yolov8s.pt"),
    ("YOLOv8 medium: more exact still, slow (yolov8m.pt)", "yolov8m.pt"),
    ("YOLO11 nano: 80 everyday objects, fast (yolo11n.pt)", "yolo11n.pt"),
    ("Another model file …", OTHER_MODEL),
)
_MAX_ROWS = 200
_HEADS = ("File", "Object", "Confidence", "Left", "Top", "Right", "Bottom", "Note")


class DetectControls:
    """Makes the widgets of one panel."""

    def __init__(self, given_name: str, model: str, confidence_threshold: float) -> None:
        given = ((given_name, GIVEN_MODEL),) if given_name else ()
        known = {value for _, value in _MODELS} | {GIVEN_MODEL}
        style = {"description_width": "84px"}
        self.model = ipywidgets.Dropdown(
            description="Model",
            options=(*given, *_MODELS),
            value=model if model in known else OTHER_MODEL,
            tooltip="What to look for; official models are downloaded once",
            layout=ipywidgets.Layout(width="470px"),
            style=style,
        )
        self.path = ipywidgets.Text(
            description="Model file",
            value="" if model in known else model,
            placeholder="path or official name, then Enter",
            continuous_update=False,
            tooltip="Path of a model file on the computer that runs this notebook",
            layout=ipywidgets.Layout(width="470px"),
            style=style,
        )
        self.confidence = ipywidgets.FloatSlider(
            description="Confidence",
            value=confidence_threshold,
            min=0.05,
            max=1.0,
            step=0.01,
            tooltip="Show boxes of at least this score; redrawn without detecting again",
            layout=ipywidgets.Layout(width="340px"),
            style=style,
        )
        self.stop = _button("Stop", "stop", "Detect in no more pictures", 90)
        self.stop.disabled = True
        self.clear = _button("Clear", "trash", "Take all pictures away", 90)
        self.previous = _button("", "chevron-left", "Previous pictures", 44)
        self.next = _button("", "chevron-right", "Next pictures", 44)
        self.where = ipywidgets.HTML()
        self._pages = ipywidgets.HBox(
            (self.previous, self.where, self.next),
            layout=ipywidgets.Layout(display="none", align_items="center"),
        )
        self.table = ipywidgets.HTML()
        self.save_pictures = _button(
            "Download pictures", "download", "All pictures with their boxes, as PNG or zip", 170
        )
        self.save_table = _button("Download table", "table", "All boxes as CSV", 150)
        self.show_path()
        self.allow_downloads(False)

    def layout(self, zone: Any, cards: tuple[Any, ...]) -> tuple[Any, ...]:
        """Where to drop, what decides, the pictures, the table, what to take home."""
        wrap = ipywidgets.Layout(flex_flow="row wrap", align_items="center")
        top = ipywidgets.Layout(flex_flow="row wrap", align_items="flex-start")
        return (
            ipywidgets.HBox((self.model, self.path), layout=wrap),
            zone,
            ipywidgets.HBox((self.confidence, self.stop, self.clear), layout=wrap),
            self._pages,
            ipywidgets.HBox(cards, layout=top),
            self.table,
            ipywidgets.HBox((self.save_pictures, self.save_table), layout=wrap),
        )

    def show_path(self) -> None:
        """The field for a path is there only when it is needed."""
        is_needed = self.model.value == OTHER_MODEL
        self.path.layout.display = "flex" if is_needed else "none"

    def chosen_model(self) -> str:
        """Name or path of the model; empty while the path is still to be written."""
        if self.model.value == OTHER_MODEL:
            return str(self.path.value).strip()
        return str(self.model.value)

    def show_page(self, page: int, num_pages: int) -> None:
        """Say which pictures these are; one page needs no buttons."""
        self._pages.layout.display = "flex" if num_pages > 1 else "none"
        self.where.value = f'<span class="detkit-note">page {page + 1} of {num_pages}</span>'
        self.previous.disabled = page == 0
        self.next.disabled = page >= num_pages - 1

    def allow_downloads(self, is_allowed: bool) -> None:
        """There is something to take home, or not."""
        self.save_pictures.disabled = self.save_table.disabled = not is_allowed


def found_html(table: pd.DataFrame) -> str:
    """The first 200 rows of a `found_table`. All text is escaped."""
    if table.empty:
        return ""
    head = "".join(f'<th scope="col"{_text_class(name)}>{name}</th>' for name in _HEADS)
    lines = []
    for row in table.head(_MAX_ROWS).itertuples(index=False):
        has_box = isinstance(row.object, str)
        numbers = (f"{row.confidence:.2f}", *(f"{value:.0f}" for value in row[3:7]))
        cells = (row.file, row.object, *numbers) if has_box else (row.file, *[""] * 6)
        lines.append(
            "<tr>"
            + "".join(
                f"<td{_text_class(name)}>{escape(str(cell))}</td>"
                for cell, name in zip((*cells, row.note), _HEADS, strict=True)
            )
            + "</tr>"
        )
    more = len(table) - len(lines)
    rest = f'<p class="detkit-note">and {more} more in the download</p>' if more > 0 else ""
    return (
        '<div role="region" aria-label="What was found" tabindex="0" '
        'style="max-height:260px;overflow:auto">'
        f'<table class="detkit-found"><tr>{head}</tr>{"".join(lines)}</table>{rest}</div>'
    )


def _text_class(head: str) -> str:
    return ' class="detkit-text"' if head in ("File", "Object", "Note") else ""


def _button(text: str, icon: str, tooltip: str, width_px: int) -> Any:
    layout = ipywidgets.Layout(width=f"{width_px}px")
    return ipywidgets.Button(description=text, icon=icon, tooltip=tooltip, layout=layout)
