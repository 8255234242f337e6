"""The controls of `ResultBrowser`: filters, paging, marks, the large picture, and how they lie.

Knows ipywidgets; what a control does is bound by the browser.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ipywidgets

from detkit.widgets.catalogue import ORDERS, SHOWS


class BrowserControls:
    """Makes the widgets of one browser."""

    def __init__(self, class_names: Sequence[str]) -> None:
        look: dict[str, Any] = {
            "layout": ipywidgets.Layout(width="230px"),
            "style": {"description_width": "76px"},
        }
        dropdown = ipywidgets.Dropdown
        self.show = dropdown(description="Show", options=SHOWS, tooltip="Which images", **look)
        self.order = dropdown(
            description="Order", options=ORDERS, tooltip="In what order images come", **look
        )
        self.class_name = dropdown(
            description="Class",
            options=[("all classes", ""), *((name, name) for name in class_names)],
            tooltip="Show and count boxes of this class only",
            **look,
        )
        self.confidence = ipywidgets.FloatSlider(
            description="Confidence",
            min=0.0,
            max=1.0,
            step=0.01,
            tooltip="Show and count boxes of at least this score",
            layout=ipywidgets.Layout(width="300px"),
            style={"description_width": "84px"},
        )
        self.count = ipywidgets.BoundedIntText(
            description="At least",
            min=0,
            max=100_000,
            tooltip="Leave out images with fewer boxes than this",
            layout=ipywidgets.Layout(width="150px"),
            style=look["style"],
        )
        self.is_showing = False  # the kernel turns the page number, not a person
        self.page = ipywidgets.BoundedIntText(
            description="Page",
            min=1,
            max=1,
            value=1,
            tooltip="Go to a page",
            layout=ipywidgets.Layout(width="120px"),
            style={"description_width": "40px"},
        )
        self.previous = _button("", "chevron-left", "Previous page", 44)
        self.next = _button("", "chevron-right", "Next page", 44)
        self.select_all = _button("Select all shown", "check-square-o", "On all pages", 150)
        self.select_none = _button("Select none", "square-o", "Empty the selection", 120)
        self.save = _button("Save marks", "save", "Write accept and reject marks as CSV", 120)
        self.save_coco = _button(
            "Save COCO", "save", "Write the accepted images and their boxes as COCO JSON", 120
        )
        self.where = ipywidgets.HTML()
        self.large = ipywidgets.HTML()
        self.shrink = _button("Close", "search-minus", "Close the large picture", 90)
        self._large_box = ipywidgets.VBox(
            (self.large, self.shrink), layout=ipywidgets.Layout(display="none")
        )
        self._large_box.add_class("detkit-large")

    def layout(self, cards: Sequence[Any]) -> tuple[Any, ...]:
        """Filters, actions, the large picture, the page."""
        wrap = ipywidgets.Layout(flex_flow="row wrap", align_items="center")
        top = ipywidgets.Layout(flex_flow="row wrap", align_items="flex-start")
        filters = (self.show, self.class_name, self.order, self.count, self.confidence)
        pages = (self.previous, self.page, self.where, self.next)
        actions = (self.select_all, self.select_none, self.save, self.save_coco)
        return (
            ipywidgets.HBox(filters, layout=wrap),
            ipywidgets.HBox((*pages, *actions), layout=wrap),
            self._large_box,
            ipywidgets.HBox(tuple(cards), layout=top),
        )

    def show_page(self, page: int, num_pages: int) -> None:
        """Say which page this is."""
        self.is_showing = True
        try:
            self.page.max, self.page.value = num_pages, page + 1
        finally:
            self.is_showing = False
        self.where.value = f'<span class="detkit-note">of {num_pages:,}</span>'
        self.previous.disabled = page == 0
        self.next.disabled = page >= num_pages - 1

    def show_large(self, html: str) -> None:
        """Show the large picture; an empty text takes it away."""
        self.large.value = html
        self._large_box.layout.display = "flex" if html else "none"


def _button(text: str, icon: str, tooltip: str, width_px: int) -> Any:
    layout = ipywidgets.Layout(width=f"{width_px}px")
    return ipywidgets.Button(description=text, icon=icon, tooltip=tooltip, layout=layout)
