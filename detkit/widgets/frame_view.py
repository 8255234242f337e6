"""`FrameView`: a picture in the browser that says when it is on the screen.

`frame_view.js` confirms every picture once the browser has drawn it, and tells when the picture is
scrolled away, its tab hidden or its cell removed. Rules about when to send are the channel's. Knows
ipywidgets; never a frame or a result.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anywidget
import traitlets

from detkit.widgets.frame_channel import FrameChannel

# Pages that were reloaded without a farewell leave their views behind.
_MAX_VIEWS = 16


class FrameImage(anywidget.AnyWidget):
    """The widget itself: one JPEG, its number, and what it shows in words."""

    _esm = Path(__file__).with_suffix(".js")
    value = traitlets.Bytes().tag(sync=True)
    caption = traitlets.Unicode("no picture yet").tag(sync=True)
    max_width_px = traitlets.Int().tag(sync=True)
    number = traitlets.Int(0).tag(sync=True)


class FrameView:
    """A `FrameImage` behind a `FrameChannel`.

    Args:
        channel: Decides when a picture may be sent.
        clock: Seconds, steady.
        on_confirmed: Called when a confirmation makes room for another picture, and when somebody
            looks again.
        max_width_px: Of the pictures on the page.
        placeholder: JPEG to show before the first picture.

    Attributes:
        image: The widget to lay out.
        is_hidden: Whether the browser has said that nobody can see any view of it.
    """

    def __init__(
        self,
        channel: FrameChannel,
        clock: Callable[[], float],
        on_confirmed: Callable[[], None],
        max_width_px: int,
        placeholder: bytes,
    ) -> None:
        self.channel = channel
        self._clock = clock
        self._on_confirmed = on_confirmed
        self.image = FrameImage(value=placeholder, max_width_px=max_width_px)
        self._views: dict[str, bool] = {}
        self.is_hidden = False
        self.image.on_msg(self._heard)

    def show(self, jpeg: bytes, caption: str) -> None:
        """Send a picture. The caller has asked the channel first."""
        number = self.channel.send(self._clock())
        with self.image.hold_sync():
            self.image.value = jpeg
            self.image.caption = caption
            self.image.number = number

    def _heard(self, _: object, content: object, __: object) -> None:
        """A message of the browser; what makes no sense is left alone."""
        match content:
            case {"event": "shown", "number": int(number)}:
                if self.channel.confirm(number, self._clock()):
                    self._on_confirmed()
            case {"event": "visible", "view": str(view), "visible": bool(visible)}:
                self._views.pop(view, None)
                self._views[view] = visible
                if len(self._views) > _MAX_VIEWS:
                    self._views.pop(next(iter(self._views)))
                self.is_hidden = not any(self._views.values())
                if visible:
                    self._on_confirmed()

    def close(self) -> None:
        """Take the picture from the browser."""
        self.image.close()
