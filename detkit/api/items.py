"""`Item`: one image on its way through an engine, and what is told of it to whom.

Says what an item is and which states it has; what may become of it is for the `Ledger` to say.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from detkit.api.batcher import BatchKey
from detkit.api.replies import Reply
from detkit.api.workers import Failed, ImageItem, Outcome
from detkit.images import RGBImage

WAITING, TAKEN, SETTLED = range(3)


class Item(ImageItem):
    """One image from submission to outcome."""

    __slots__ = ("image_hw", "queue_ms", "reply", "state", "token")

    def __init__(self, image: RGBImage, key: BatchKey, reply: Reply, token: Any) -> None:
        super().__init__(key)
        self.image = image
        self.image_hw: tuple[int, int] = image.shape[:2]
        self.reply: Reply | None = reply
        self.token = token
        self.state = WAITING
        self.queue_ms = 0.0

    def release(self) -> None:
        """Let go of what somebody who keeps the item would keep alive."""
        self.image = self.reply = self.token = None


# Images that end without a result, each with the reason.
Endings: TypeAlias = list[tuple[Item, Failed]]
# What is to be told to whom, with what each put beside its images.
Letters: TypeAlias = dict[Reply, list[tuple[Any, Outcome]]]
