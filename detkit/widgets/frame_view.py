"""`FrameView`: a picture in the browser that says when it is on the screen.

`frame_view.js` confirms a picture, where asked to, once the browser has drawn it; it tells how wide
the picture is there, and when it is scrolled away, its tab hidden or its cell removed. Rules about
when to send are the channel's. Knows ipywidgets; never a frame or a result.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anywidget
import traitlets

from detkit.widgets.frame_channel import FrameChannel

# Pages that were reloaded without a farewell leave their views behind.
_MAX_VIEWS = 16
# A view that is still unfolding says that it is a pixel wide.
_MIN_WIDTH_PX = 64


class FrameImage(anywidget.AnyWidget):
    """The widget itself: one JPEG, its number, and what it shows in words."""

    _esm = Path(__file__).with_suffix(".js")
    value = traitlets.Bytes().tag(sync=True)
    caption = traitlets.Unicode("no picture yet").tag(sync=True)
    max_width_px = traitlets.Int().tag(sync=True)
    number = traitlets.Int(0).tag(sync=True)
    must_confirm = traitlets.Bool(True).tag(sync=True)


class FrameView:
    """A `FrameImage` behind a `FrameChannel`.

    Args:
        channel: Decides when a picture may be sent.
        clock: Seconds, steady.
        on_confirmed: Called when a confirmation makes room for another picture, and when somebody
            looks again or at another size.
        max_width_px: Of the pictures on the page.
        placeholder: JPEG to show before the first picture.

    Attributes:
        image: The widget to lay out.
        is_hidden: Whether the browser has said that nobody can see any view of it.
        width_px: Pixels across the widest view that can be seen: more need not be sent.
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
        self._views: dict[str, int] = {}  # pixels across, 0 where nobody can see it
        self.is_hidden = False
        self.width_px = max_width_px
        self.image.on_msg(self._heard)

    def show(self, jpeg: bytes, caption: str) -> None:
        """Send a picture. The caller has asked the channel first."""
        number = self.channel.send(self._clock())
        with self.image.hold_sync():
            self.image.value = jpeg
            self.image.caption = caption
            self.image.must_confirm = self.channel.must_confirm
            self.image.number = number

    def _heard(self, _: object, content: object, __: object) -> None:
        """A message of the browser; what makes no sense is left alone."""
        match content:
            case {"event": "shown", "number": int(number)}:
                if self.channel.confirm(number, self._clock()):
                    self._on_confirmed()
            case {"event": "visible", "view": str(view), "visible": bool(visible), **more}:
                self._looked(view, self._room_px(more.get("width_px")), visible)

    def _room_px(self, told: object) -> int:
        """Pixels across a view; a page that does not tell is given all there is."""
        most_px = int(self.image.max_width_px)
        if isinstance(told, int) and told >= _MIN_WIDTH_PX:
            return min(told, most_px)
        return most_px

    def _looked(self, view: str, width_px: int, visible: bool) -> None:
        self._views.pop(view, None)
        self._views[view] = width_px if visible else 0
        if len(self._views) > _MAX_VIEWS:
            self._views.pop(next(iter(self._views)))
        widest_px = max(self._views.values())
        self.is_hidden = widest_px == 0
        self.width_px = widest_px or self.width_px
        if visible:
            self._on_confirmed()

    def close(self) -> None:
        """Take the picture from the browser."""
        self.image.close()
