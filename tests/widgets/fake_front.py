"""A browser that exists only in the test: it receives widget messages and confirms pictures.

`Front` replaces the kernel's comms. It can be fast (confirms at once, inside the sending call),
slow (confirms when the test says so) or silent. It also does what a person does: `front.set`
sends a message that a control was moved.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
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
        self._links: dict[str, str] = {}
        self._captions: dict[str, str] = {}

    def opened(self, channel: FakeComm, state: dict[str, Any]) -> None:
        self._comms[channel.comm_id] = channel
        if state.get("_model_name") == "DirectionalLinkModel":
            source, target = state["source"][0], state["target"][0]
            self._links[source.removeprefix("IPY_MODEL_")] = target.removeprefix("IPY_MODEL_")

    def received(self, channel: FakeComm, data: dict[str, Any], buffers: list[Any]) -> None:
        caption = data.get("state", {}).get("caption")
        self.threads.add(threading.current_thread().name)
        if caption is None or not buffers:
            with self._changed:
                self._changed.notify_all()
            return
        with self._changed:
            self.pictures.append(int(caption.split()[1].rstrip(":")))
            self.bytes.append(sum(len(b) for b in buffers))
            self.max_unconfirmed = max(
                self.max_unconfirmed, len(self.pictures) - self.num_confirmed
            )
            self._captions[channel.comm_id] = caption
            self._changed.notify_all()
        if self.manner == "fast":
            self.confirm()

    def confirm(self) -> None:
        """Confirm the latest picture of every image, as the browser's link does."""
        for image, caption in list(self._captions.items()):
            self.num_confirmed = len(self.pictures)
            self.send(self._links[image], {"value": caption})

    def send(self, comm_id: str, state: dict[str, Any]) -> None:
        data = {"method": "update", "state": dict(state), "buffer_paths": []}
        message = {"content": {"comm_id": comm_id, "data": data}, "buffers": []}
        self._comms[comm_id].handle_msg(message)

    def set(self, widget: Any, **state: Any) -> None:
        """What happens in the kernel when a person moves this control."""
        self.send(widget.model_id, state)

    def click(self, button: Any) -> None:
        data = {"method": "custom", "content": {"event": "click"}}
        self._comms[button.model_id].handle_msg({"content": {"data": data}, "buffers": []})

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
            self.front.opened(self, (data or {}).get("state", {}))
        elif msg_type == "comm_msg":
            self.front.received(self, data or {}, buffers or [])
        elif msg_type == "comm_close":
            self.front.closed.add(self.comm_id)
