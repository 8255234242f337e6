"""A browser that exists only in the test: it receives widget messages and confirms pictures.

`Front` replaces the kernel's comms. It can be fast (confirms at once, inside the sending call),
slow (confirms when the test says so) or silent. It also does what a person does: `front.set`
sends a message that a control was moved.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, Literal

from comm.base_comm import BaseComm

PATIENCE_S = 20.0


class Front:
    """The fake front end.

    Attributes:
        manner: How it confirms pictures.
        pictures: Numbers of the pictures that arrived.
        max_unconfirmed: Most pictures that were ever under way at once.
    """

    def __init__(self) -> None:
        self.manner: Literal["fast", "slow", "silent"] = "fast"
        self.pictures: list[int] = []
        self.bytes: list[int] = []
        self.max_unconfirmed = 0
        self.num_confirmed = 0
        self.closed: set[str] = set()
        self.threads: set[str] = set()
        self._comms: dict[str, FakeComm] = {}
        self._changed = threading.Condition()
        self._numbers: dict[str, int] = {}
        self._is_asked: dict[str, bool] = {}
        self._listeners: dict[str, list[Callable[[Any, list[Any]], None]]] = {}

    def opened(self, channel: FakeComm) -> None:
        self._comms[channel.comm_id] = channel

    def received(self, channel: FakeComm, data: dict[str, Any], buffers: list[Any]) -> None:
        number = data.get("state", {}).get("number")
        self.threads.add(threading.current_thread().name)
        if data.get("method") == "custom":
            for heard in self._listeners.get(channel.comm_id, ()):
                heard(data["content"], buffers)
        if number is None or not buffers:
            with self._changed:
                self._changed.notify_all()
            return
        with self._changed:
            self.pictures.append(number)
            self.bytes.append(sum(len(b) for b in buffers))
            self.max_unconfirmed = max(
                self.max_unconfirmed, len(self.pictures) - self.num_confirmed
            )
            self._numbers[channel.comm_id] = number
            self._is_asked[channel.comm_id] = data["state"].get(
                "must_confirm", self._is_asked.get(channel.comm_id, True)
            )
            self._changed.notify_all()
        if self.manner == "fast" and self._is_asked[channel.comm_id]:
            self.confirm()

    def confirm(self) -> None:
        """Confirm the latest picture of every image, as the browser does once it is drawn."""
        for image, number in list(self._numbers.items()):
            self.num_confirmed = len(self.pictures)
            self.tell(self._comms[image], {"event": "shown", "number": number})

    def send(self, comm_id: str, state: dict[str, Any]) -> None:
        data = {"method": "update", "state": dict(state), "buffer_paths": []}
        message = {"content": {"comm_id": comm_id, "data": data}, "buffers": []}
        self._comms[comm_id].handle_msg(message)

    def set(self, widget: Any, **state: Any) -> None:
        """What happens in the kernel when a person moves this control."""
        self.send(widget.model_id, state)

    def click(self, button: Any) -> None:
        self.tell(self._comms[button.model_id], {"event": "click"})

    def tell(self, channel: FakeComm, content: Any, buffers: Sequence[bytes] = ()) -> None:
        """A message of a widget's own, as `model.send` makes it."""
        data = {"method": "custom", "content": content}
        channel.handle_msg({"content": {"data": data}, "buffers": [memoryview(b) for b in buffers]})

    def listen(self, comm_id: str, heard: Callable[[Any, list[Any]], None]) -> None:
        """Give a widget's own messages to a page that understands them."""
        self._listeners.setdefault(comm_id, []).append(heard)

    def look(
        self, image: Any, visible: bool, view: str = "a view", width_px: object = None
    ) -> None:
        """A person scrolls to a picture, which may be so wide on the page, or away from it."""
        message = {"event": "visible", "view": view, "visible": visible, "width_px": width_px}
        self.tell(self._comms[image.model_id], message)

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait, without polling, until a message makes `condition` true."""
        with self._changed:
            assert self._changed.wait_for(condition, PATIENCE_S), "it never came to pass"


class FakeComm(BaseComm):
    front: Front

    def publish_msg(
        self, msg_type: str, data: Any = None, metadata: Any = None, buffers: Any = None, **_: Any
    ) -> None:
        if msg_type == "comm_open":
            self.front.opened(self)
        elif msg_type == "comm_msg":
            self.front.received(self, data or {}, buffers or [])
        elif msg_type == "comm_close":
            self.front.closed.add(self.comm_id)
