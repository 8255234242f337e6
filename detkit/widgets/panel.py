"""`Panel`: what every panel has: a frame, a status line, a place for errors, and an end.

State goes one way: a control calls a method of the panel's model, the model changes, and the
panel posts to its screen what follows from that. Knows ipywidgets and the screen; never a frame,
a result or a detector.
"""

from __future__ import annotations

import atexit
import weakref
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import ipywidgets

from detkit.errors import describe
from detkit.widgets.panel_head import PanelHead
from detkit.widgets.screen import Screen

_live: weakref.WeakSet[Panel] = weakref.WeakSet()


class Panel:
    """Base of all panels. Show it as the last value of a cell, or with `display(panel)`.

    Attributes:
        widget: The ipywidgets box, for those who build it into a layout of their own.
        is_closed: Whether `close` was called.
        num_errors: Errors that were shown so far.
    """

    def __init__(self, title: str) -> None:
        self.is_closed = False
        self.num_errors = 0
        self.title = title
        self.screen = Screen(self.show_error)
        self.controls: list[Any] = []
        self._error = ipywidgets.HTML(layout=ipywidgets.Layout(display="none"))
        self._status = ipywidgets.HTML()
        self.widget = ipywidgets.VBox()
        self.widget.add_class("detkit-panel")
        _live.add(self)

    def fill(self, children: Sequence[Any]) -> None:
        """Put the parts of the panel below its title, and errors and status below them."""
        head = PanelHead(title=self.title)
        self.widget.children = (head, *children, self._status, self._error)
        _let_page_choose_shell(self.widget)

    # -- what is said --------------------------------------------------------------------------

    @property
    def error_text(self) -> str:
        """The error shown now, as HTML; empty if there is none."""
        return str(self._error.value)

    @property
    def status_text(self) -> str:
        """The status line shown now, as HTML."""
        return str(self._status.value)

    def show_error(self, error: BaseException | str) -> None:
        """Show an error in the panel until the next one, or until `clear_error`."""
        text = error if isinstance(error, str) else describe(error, 600)
        with self.screen.lock:
            if not self.is_closed:
                self.num_errors += 1
                self._error.value = f'<div class="detkit-error" role="alert">{escape(text)}</div>'
                self._error.layout.display = "block"

    def clear_error(self) -> None:
        """Take the error away."""
        with self.screen.lock:
            if not self.is_closed and self._error.value:
                self._error.value = ""
                self._error.layout.display = "none"

    def say(self, text: str) -> None:
        """Show one line of plain text below the panel."""
        with self.screen.lock:
            if not self.is_closed:
                line = f'<div class="detkit-note" role="status" aria-live="polite">{escape(text)}'
                self._status.value = f"{line}</div>"

    # -- controls ------------------------------------------------------------------------------

    def on_click(self, button: Any, action: Callable[[], object]) -> None:
        """Call `action` when the button is pressed; what it raises is shown in the panel."""
        button.on_click(lambda _: self.guard(action))

    def on_change(self, control: Any, action: Callable[[Any], object], name: str = "value") -> None:
        """Call `action` with the new value; what it raises is shown in the panel."""
        control.observe(lambda change: self.guard(lambda: action(change["new"])), name)

    def guard(self, action: Callable[[], object]) -> None:
        """Run a callback with the screen's lock held, and show what it raises."""
        self.screen.adopt_context()
        with self.screen.lock:
            if self.is_closed:
                return
            try:
                action()
            except Exception as error:  # noqa: BLE001  shown, never lost to a log
                self.show_error(error)

    # -- the end -------------------------------------------------------------------------------

    def close(self) -> None:
        """End the panel's work and take it from the page. Idempotent, from any thread."""
        if self.is_closed:
            return
        self.is_closed = True
        self.stop_work()
        self.screen.close()
        with self.screen.lock:
            _close_tree(self.widget)

    def stop_work(self) -> None:
        """End whatever runs for this panel; called once, before its widgets go."""

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # -- in the notebook -----------------------------------------------------------------------

    def fallback_html(self) -> str:
        """What a saved notebook shows where widgets do not live."""
        return f"<p>{escape(self.title)}</p>"

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        if self.is_closed:
            return {"text/plain": f"<{type(self).__name__}, closed>"}
        with self.screen.lock:
            return {
                "application/vnd.jupyter.widget-view+json": {
                    "version_major": 2,
                    "version_minor": 0,
                    "model_id": self.widget.model_id,
                },
                "text/html": self.fallback_html(),
                "text/plain": repr(self),
            }

    def __repr__(self) -> str:
        state = ", closed" if self.is_closed else ""
        return f"<{type(self).__name__} {self.title!r}{state}>"


def _let_page_choose_shell(widget: Any) -> None:
    """Controls answer while a cell is busy, also those that this very cell has made.

    JupyterLab sends what a person does to a subshell, beside the busy one. ipykernel 7.4 takes it
    from there to the shell that wrote to the control last, which is that of the cell
    (`shell_channel_thread_main` asks the comm for `_reply_subshell_for`, if it has one), to serve
    code that waits for an answer where it asked. Panels never do.
    """
    widget.comm._reply_subshell_for = None
    for child in getattr(widget, "children", ()):
        _let_page_choose_shell(child)


def _close_tree(widget: Any) -> None:
    for child in getattr(widget, "children", ()):
        _close_tree(child)
    widget.close()


@atexit.register
def _close_all() -> None:
    # A thread inside OpenCV or a decoder when the interpreter ends would abort the process.
    for panel in list(_live):
        panel.close()
