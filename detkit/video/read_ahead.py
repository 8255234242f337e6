"""`ReadAhead`: a thread that takes items from an iterator before they are asked for.

Owns the one bounded hand-over between a reading thread and its consumer, sync or async. Closing
wakes a producer that waits for room, so nothing is ever joined while blocked on this buffer.
Knows nothing of frames or files.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Generic, Literal, TypeVar

from detkit.threads import Thread

T = TypeVar("T")

Keep = Literal["every", "latest"]

# A source that stops soon is waited for; a stuck one is left behind, so that a kernel's Stop button
# ends a cell that waits for a silent camera within half a second.
_JOIN_TIMEOUT_S = 0.25
# At the end of the interpreter: the read time-out of a network stream and a little more.
_EXIT_TIMEOUT_S = 3.0


class ReadAhead(Generic[T], Iterator[T], AsyncIterator[T]):
    """Reads `source` in a thread of its own; iterate it with `for` or `async for`.

    An error of the source reaches the consumer after the items that came before it. The source
    is closed, if it has a `close`, by the reading thread itself.

    Args:
        source: Any iterator. Only the reading thread touches it.
        max_ahead: Most items that wait, at least 1.
        keep: "every" makes the reader wait for room; "latest" makes it forget the oldest item
            that waits, and count it in `num_skipped`.
        on_skip: Told of each item that is forgotten so, on the reading thread.
    """

    def __init__(
        self,
        source: Iterator[T],
        max_ahead: int = 4,
        *,
        keep: Keep = "every",
        on_skip: Callable[[T], None] | None = None,
    ) -> None:
        if max_ahead < 1:
            raise ValueError(f"max_ahead must be at least 1, got {max_ahead}")
        self.num_skipped = 0
        self._source = source
        self._max_ahead = max_ahead
        self._keep = keep
        self._on_skip = on_skip
        self._items: deque[T] = deque()
        self._error: BaseException | None = None
        self._finished = False
        self._closed = False
        self._changed = threading.Condition()
        self._waiter: tuple[asyncio.AbstractEventLoop, asyncio.Future[None]] | None = None
        self._thread = Thread(target=self._read, name="detkit-read-ahead", daemon=True)
        _readers.add(self)
        self._thread.start()

    # -- the reading thread ------------------------------------------------------------------

    def _read(self) -> None:
        error: BaseException | None = None
        try:
            for item in self._source:
                if not self._put(item):
                    break
        except BaseException as failure:  # noqa: BLE001  handed to the consumer
            error = failure
        finally:
            close = getattr(self._source, "close", None)
            if close is not None:
                with contextlib.suppress(Exception):
                    close()
            with self._changed:
                self._error, self._finished = error, True
                self._wake()

    def _put(self, item: T) -> bool:
        with self._changed:
            while len(self._items) >= self._max_ahead and not self._closed:
                if self._keep == "latest":
                    skipped = self._items.popleft()
                    self.num_skipped += 1
                    if self._on_skip is not None:
                        self._on_skip(skipped)
                else:
                    self._changed.wait()
            if self._closed:
                return False
            self._items.append(item)
            self._wake()
            return True

    def _wake(self) -> None:
        self._changed.notify_all()
        if self._waiter is not None:
            loop, future = self._waiter
            self._waiter = None
            # The loop may have been closed with its consumer.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(_settle, future)

    # -- the consumer ------------------------------------------------------------------------

    def _take(self) -> tuple[bool, T | None]:
        if self._items:
            item = self._items.popleft()
            self._changed.notify_all()
            return True, item
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        return self._finished or self._closed, None

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        with self._changed:
            while True:
                ready, item = self._take()
                if item is not None:
                    return item
                if ready:
                    raise StopIteration
                self._changed.wait()

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        while True:
            with self._changed:
                ready, item = self._take()
                if item is not None:
                    return item
                if ready:
                    raise StopAsyncIteration
                loop = asyncio.get_running_loop()
                future: asyncio.Future[None] = loop.create_future()
                self._waiter = (loop, future)
            await future

    def stop(self) -> None:
        """Stop reading and forget what waits; does not wait for the source to be released."""
        with self._changed:
            self._closed = True
            self._items.clear()
            self._wake()

    def close(self) -> None:
        """Stop reading, forget what waits, release the source. Idempotent, under a second."""
        self.stop()
        self.join(_JOIN_TIMEOUT_S)

    def join(self, timeout_s: float) -> None:
        """Wait until the source is released."""
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout_s)

    async def aclose(self) -> None:
        """`close` for a coroutine: the event loop goes on while the source is released."""
        self.stop()
        with self._changed:
            loop = asyncio.get_running_loop()
            ended: asyncio.Future[None] = loop.create_future()
            if self._finished:
                return
            self._waiter = (loop, ended)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(ended, _JOIN_TIMEOUT_S)

    def __enter__(self) -> ReadAhead[T]:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


_readers: weakref.WeakSet[ReadAhead[Any]] = weakref.WeakSet()

if hasattr(os, "register_at_fork"):
    # The threads stay in the parent, one of them perhaps with its lock held.
    os.register_at_fork(after_in_child=_readers.clear)


@atexit.register
def _close_all() -> None:
    """A daemon thread inside a native read at the end of the interpreter can abort it."""
    deadline = time.monotonic() + _EXIT_TIMEOUT_S
    readers = list(_readers)
    for reader in readers:
        reader.stop()
    for reader in readers:
        reader.join(max(0.0, deadline - time.monotonic()))
