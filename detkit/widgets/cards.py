"""A page of cards for `ResultBrowser`: picture, caption, and what can be done with each.

A fixed number of cards is made once and filled anew for every page, so a browser over 100,000
images has a few dozen widgets. Knows ipywidgets; never results or files.
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any, Literal

import ipywidgets

from detkit.widgets.pictures import data_url

Mark = Literal["accept", "reject", ""]

_CARD_PX = 250


class Card:
    """One picture of a page.

    Args:
        on_open: Called when it is to be enlarged.
        on_select: Called with whether it is selected.
        on_mark: Called with its new mark.

    Attributes:
        box: The widget to lay out.
        index: Which image it shows; `None` for none.
    """

    def __init__(
        self,
        bind_click: Callable[[Any, Callable[[], object]], None],
        bind_change: Callable[[Any, Callable[[Any], object]], None],
        on_open: Callable[[int], object],
        on_select: Callable[[int, bool], object],
        on_mark: Callable[[int, Mark], object],
    ) -> None:
        self.index: int | None = None
        self._is_showing = False
        self.picture = ipywidgets.HTML()
        self.enlarge = ipywidgets.Button(icon="search-plus", layout=ipywidgets.Layout(width="40px"))
        self.chosen = ipywidgets.Checkbox(
            indent=False, description="select", layout=ipywidgets.Layout(width="80px")
        )
        self.mark = ipywidgets.ToggleButtons(
            options=[("–", ""), ("✓", "accept"), ("✗", "reject")],
            tooltips=["not reviewed", "accept", "reject"],
            style={"button_width": "34px"},
            layout=ipywidgets.Layout(width="auto"),
        )
        row = ipywidgets.HBox(
            (self.enlarge, self.chosen, self.mark), layout=ipywidgets.Layout(align_items="center")
        )
        layout = ipywidgets.Layout(width=f"{_CARD_PX + 14}px", margin="0 8px 8px 0")
        self.box = ipywidgets.VBox((self.picture, row), layout=layout)
        self.box.add_class("detkit-card")  # a click on the picture is one on its first button

        def told(action: Callable[[int, Any], object]) -> Callable[[Any], object]:
            return lambda value: None if self._is_showing else action(self._number(), value)

        bind_click(self.enlarge, lambda: on_open(self._number()))
        bind_change(self.chosen, told(on_select))
        bind_change(self.mark, told(on_mark))

    def _number(self) -> int:
        assert self.index is not None, "an empty card is not on the page"
        return self.index

    def show(self, index: int, html: str, name: str) -> None:
        """Fill the card with an image; `sync` comes next."""
        self.index = index
        self.picture.value = html
        self.enlarge.tooltip = f"Enlarge {name}"
        self.chosen.tooltip = f"Select {name}"
        self.box.layout.display = "flex"

    def sync(self, is_selected: bool, mark: Mark) -> None:
        """Show whether the image is selected, and its mark."""
        self._is_showing = True
        try:
            self.chosen.value = is_selected
            self.mark.value = mark
        finally:
            self._is_showing = False

    def clear(self) -> None:
        """Take it from the page."""
        self.index = None
        self.box.layout.display = "none"


def picture_html(jpeg: bytes | None, caption: str, problem: str, width_px: int = _CARD_PX) -> str:
    """A picture with its caption, or the reason why there is none. All text is escaped."""
    # Characters that turn the direction of reading would turn that of the numbers beside them.
    text = escape("".join(c if c.isprintable() else " " for c in caption), quote=True)
    note = f'<div class="detkit-error">{escape(problem)}</div>' if problem else ""
    image = ""
    if jpeg is not None:
        image = (
            f'<img alt="{text}" src="{data_url(jpeg)}" '
            f'style="max-width:{width_px}px;width:100%;display:block"/>'
        )
    return (
        f'<div class="detkit-note" style="max-width:{width_px}px;overflow-wrap:anywhere">'
        f"{image}{text}{note}</div>"
    )
