"""Images whose outcome goes into a future: who cancels the future cancels the image.

Knows futures of both kinds, threads' and event loops', and the engine that they are submitted to.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import TypeVar

from detkit.api.engine import Engine
from detkit.api.items import Item
from detkit.errors import DetkitError
from detkit.results import DetectionResult

F = TypeVar("F", "Future[DetectionResult]", "asyncio.Future[DetectionResult]")


def submit_for(future: F, item: Item, engine: Engine) -> None:
    """Submit; cancelling the future cancels the item, also in the middle of this."""

    def give_up(done: F) -> None:
        if done.cancelled() and engine.ledger.cancel((item,)) and isinstance(done, Future):
            # Those who wait for several futures hear of a cancelled one only through this.
            done.set_running_or_notify_cancel()

    future.add_done_callback(give_up)
    try:
        engine.submit((item,))
    except DetkitError:
        raise  # it was not taken
    except BaseException:  # interrupted on the way, taken or not
        engine.ledger.cancel((item,))
        raise
