"""How an outcome travels from a worker thread to whoever waits for it.

Three ways, one `Reply` each: into an event loop (`LoopReplies`), into a
`concurrent.futures.Future` (`FUTURE_REPLY`), and into a list that many images share
(`Collector`). A reply is called without any lock held and must return at once. Knows no queue
and no detector.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Protocol

from detkit.api.waiting import HEARTBEAT_S
from detkit.api.workers import Failed, Outcome
from detkit.errors import DetkitError
from detkit.results import DetectionResult

logger = logging.getLogger("detkit")


class Reply(Protocol):
    """Where outcomes go. `token` is whatever the reply put beside the image."""

    def deliver(self, outcomes: list[tuple[Any, Outcome]]) -> int:
        """Hand over `(token, outcome)` pairs; returns how many could not be delivered.

        Who is interrupted here calls it again with the same list; nobody is told twice.
        """


class _Bundle(list[Any]):
    """What travels into or out of a loop together. Only the loop's own callback holds it.

    A loop that is closed forgets its callbacks, and with them the bundle: futures in it lead to
    the loop, which would otherwise live as long as the engine.
    """

    __slots__ = ("__weakref__",)


def _no_bundle() -> _Bundle | None:
    """Stands in for a weak reference that is dead."""
    return None


class LoopReplies:
    """Everything between one engine and one event loop, in bundles.

    Images that tasks hand in during one turn of the loop are submitted together, so that a
    gather of hundreds forms full batches from the first one on; and the loop is woken once for
    many outcomes. Everything but `deliver` is called on the loop's own thread.

    Args:
        loop: The loop.
        submit: Takes a bundle in; see `Engine.submit`.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, submit: Callable[[Sequence[Any]], None]
    ) -> None:
        self._submit = submit
        # Not a strong reference: this object lives in a mapping whose weak key is the loop.
        self._loop = weakref.ref(loop)
        self._lock = threading.Lock()
        self._outbox: Callable[[], _Bundle | None] = _no_bundle
        self._arrived: Callable[[], _Bundle | None] = _no_bundle
        self._num_awaited = 0
        self._is_beating = False

    def is_for(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether this is the loop."""
        return self._loop() is loop

    def send(self, item: Any, max_bundle: int) -> None:
        """Submit an item at the end of this turn of the loop, or when `max_bundle` wait for it."""
        bundle = self._outbox()
        if bundle is None:
            bundle = _Bundle()
            self._outbox = weakref.ref(bundle)
            asyncio.get_running_loop().call_soon(self._flush, bundle)
        bundle.append(item)
        if len(bundle) >= max_bundle:
            self._flush(bundle)

    def flush(self) -> None:
        """Submit what waits for the end of this turn now."""
        bundle = self._outbox()
        if bundle is not None:
            self._flush(bundle)

    def _flush(self, bundle: _Bundle) -> None:
        if self._outbox() is bundle:
            self._outbox = _no_bundle
        # Whoever gave up in this turn of the loop has said so to the future, not yet to the engine.
        items = [i for i in bundle if i.token is not None and not i.token.done()]
        bundle.clear()
        if not items:
            return
        try:
            self._submit(items)
        except DetkitError as error:
            for item in items:
                if item.token is not None and not item.token.done():
                    _fail(item.token, type(error)(*error.args))

    def deliver(self, outcomes: Sequence[tuple[asyncio.Future[Any], Outcome | None]]) -> int:
        """Set the futures' results soon, on their loop."""
        with self._lock:
            bundle = self._arrived()
            if bundle is None:
                bundle = _Bundle()
                loop = self._loop()
                try:
                    if loop is None:
                        raise RuntimeError("the event loop is gone")
                    loop.call_soon_threadsafe(self._set_results, bundle)
                except RuntimeError:  # closed or gone: nobody waits any more
                    return len(outcomes)
                # Not before the loop knows of it: what others add now must arrive, even if this
                # thread is interrupted.
                self._arrived = weakref.ref(bundle)
            bundle.extend(outcomes)
        return 0

    def _set_results(self, bundle: _Bundle) -> None:
        with self._lock:  # nothing is added to this bundle any more
            if self._arrived() is bundle:
                self._arrived = _no_bundle
        arrived: list[tuple[asyncio.Future[Any], Outcome | None]] = bundle
        for future, outcome in arrived:
            if future.done():
                continue
            if isinstance(outcome, Failed):
                _fail(future, outcome.exception)
            else:
                future.set_result(outcome)

    def expect(self) -> None:
        """Something is awaited: keep the loop's heart beating until `arrived`."""
        self._num_awaited += 1
        if not self._is_beating:
            self._is_beating = True
            asyncio.get_running_loop().call_later(HEARTBEAT_S, self._beat)

    def arrived(self) -> None:
        """One `expect` is over, whatever became of it."""
        self._num_awaited -= 1

    def _beat(self) -> None:
        loop = self._loop()
        self._is_beating = self._num_awaited > 0 and loop is not None and not loop.is_closed()
        if self._is_beating and loop is not None:
            loop.call_later(HEARTBEAT_S, self._beat)


def _fail(future: asyncio.Future[Any], error: BaseException) -> None:
    """Give a future of our own its error, which a coroutine of ours is about to raise.

    Where the loop is closed before that, the future does not complain that nobody has asked.
    """
    future.set_exception(error)
    future.exception()


class _FutureReply:
    """Outcomes for `concurrent.futures.Future`s; the token is the future."""

    def deliver(self, outcomes: list[tuple[Future[DetectionResult], Outcome]]) -> int:
        while outcomes:
            self._tell(*outcomes[0])
            del outcomes[0]
        return 0

    def _tell(self, future: Future[DetectionResult], outcome: Outcome) -> None:
        if future.done() and not future.cancelled():
            return  # it was told before an interrupt
        if not (future.running() or future.set_running_or_notify_cancel()):
            return
        try:
            if isinstance(outcome, Failed):
                future.set_exception(outcome.exception)
            else:
                future.set_result(outcome)
        except BaseException as error:
            # Not ours: a callback that somebody added raised SystemExit or the like. The
            # other images of the batch must hear of their outcome all the same.
            on_main = threading.current_thread() is threading.main_thread()
            if isinstance(error, KeyboardInterrupt) and on_main:
                raise
            logger.exception("a callback of a future raised")


FUTURE_REPLY = _FutureReply()


class Collector:
    """Outcomes of many images, by index; says when the last one is there.

    Args:
        size: Number of images.
        on_complete: Called, at least once, on the thread that brought the last outcome.
    """

    def __init__(self, size: int, on_complete: Callable[[], object]) -> None:
        self.outcomes: list[Outcome | None] = [None] * size
        self._missing = size
        self._num_failed = 0
        self.on_complete = on_complete
        self._lock = threading.Lock()

    @property
    def num_arrived(self) -> tuple[int, int]:
        """How many outcomes are there, and how many of them are failures."""
        with self._lock:
            return len(self.outcomes) - self._missing, self._num_failed

    def deliver(self, outcomes: Sequence[tuple[int, Outcome]]) -> int:
        """Store the outcomes under their index."""
        with self._lock:
            for index, outcome in outcomes:
                is_failed = isinstance(outcome, Failed)
                if self.outcomes[index] is None:
                    self.outcomes[index] = outcome
                    self._num_failed += is_failed
                    self._missing -= 1
            complete = self._missing == 0
        if complete:
            self.on_complete()
        return 0
