"""`FrameView`: a picture in the browser that says when it has arrived.

The picture travels with a caption, in one message. A link that lives in the browser copies the
caption to a text nobody sees, and the browser sends that text back: the confirmation. Rules about
when to send are the channel's. Knows ipywidgets; never a frame or a result.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import ipywidgets
import traitlets

from detkit.widgets.frame_channel import FrameChannel

_NUMBER = re.compile(r"^picture (\d+)")


class FrameView:
    """An `ipywidgets.Image` behind a `FrameChannel`.

    Args:
        channel: Decides when a picture may be sent.
        clock: Seconds, steady.
        on_confirmed: Called when a confirmation makes room for another picture.
        max_width_px: Of the pictures on the page.
        placeholder: JPEG to show before the first picture; an empty image would be an error.

    Attributes:
        image: The widget to lay out.
        is_hidden: Whether the browser has said that no view of it is left.
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
        layout = ipywidgets.Layout(width="100%", max_width=f"{max_width_px}px", height="auto")
        self.image = ipywidgets.Image(value=placeholder, format="jpeg", layout=layout)
        # A trait of our own: `tooltip` of an image breaks its view in ipywidgets 8.1.
        self.image.add_traits(caption=traitlets.Unicode("no picture yet").tag(sync=True))
        self.image._view_count = 0  # asks the browser to count views
        self._seen = False
        self.is_hidden = False
        self._echo = ipywidgets.Text()
        self._link = ipywidgets.jsdlink((self.image, "caption"), (self._echo, "value"))
        self._echo.observe(self._confirmed, "value")
        self.image.observe(self._counted, "_view_count")

    def show(self, jpeg: bytes, caption: str) -> None:
        """Send a picture. The caller has asked the channel first."""
        number = self.channel.send(self._clock())
        with self.image.hold_sync():
            self.image.value = jpeg
            self.image.caption = f"picture {number}: {caption}"

    def _confirmed(self, change: dict[str, Any]) -> None:
        found = _NUMBER.match(str(change["new"]))
        if found and self.channel.confirm(int(found[1]), self._clock()):
            self._on_confirmed()

    def _counted(self, change: dict[str, Any]) -> None:
        count = change["new"]
        self._seen = self._seen or bool(count)
        self.is_hidden = self._seen and count == 0
        if not self.is_hidden:
            self._on_confirmed()

    def close(self) -> None:
        """Take picture and link from the browser."""
        for widget in (self._link, self._echo, self.image):
            widget.close()
