"""Plain iterables of images, read for an event loop that must not wait for a disk or a camera.

Owns the thread that reads and its end. Knows iterators and one event loop; never an engine.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator

from detkit.images import RGBImage
from detkit.threads import Thread

# A source read on its own thread runs this many images ahead of what the window has asked for.
_READ_AHEAD = 2


def as_async(
    images: Iterable[RGBImage] | AsyncIterable[RGBImage], loop: asyncio.AbstractEventLoop
) -> tuple[AsyncIterator[RGBImage], Callable[[], None]]:
    """An asynchronous iterator over `images`, and what ends it early."""
    if isinstance(images, AsyncIterable):
        return images.__aiter__(), lambda: None
    if isinstance(images, (list, tuple)):
        return _at_hand(images), lambda: None
    reader = Reader(iter(images), loop)
    return reader, reader.close


async def _at_hand(images: Iterable[RGBImage]) -> AsyncIterator[RGBImage]:
    for image in images:
        yield image


class Reader:
    """Reads a plain iterator on a thread of its own, a little ahead of the loop that asks."""

    def __init__(self, source: Iterator[RGBImage], loop: asyncio.AbstractEventLoop) -> None:
        self._source = source
        self._loop = loop
        self._room = threading.Semaphore(_READ_AHEAD)
        self._is_closed = False
        self._arrived: deque[tuple[RGBImage | None, BaseException | None]] = deque()
        self._news = asyncio.Event()
        self._thread = Thread(target=self._read, name="detkit-reader", daemon=True)
        _live_readers.add(self)
        self._thread.start()

    def __aiter__(self) -> Reader:
        return self

    async def __anext__(self) -> RGBImage:
        while not self._arrived:
            self._news.clear()
            await self._news.wait()
        image, error = self._arrived.popleft()
        if error is not None:
            self._arrived.append((None, error))  # it stays the end, however often one asks
            raise error
        self._room.release()
        assert image is not None
        return image

    def close(self) -> None:
        """Let the thread end after the image it is reading; does not wait for that."""
        self._is_closed = True
        self._room.release()

    def join(self, timeout_s: float) -> None:
        """Wait for the thread."""
        self._thread.join(timeout_s)

    def _read(self) -> None:
        try:
            while True:
                self._room.acquire()
                if self._is_closed:
                    return
                try:
                    arrived = next(self._source), None
                except StopIteration:
                    self._post((None, StopAsyncIteration()))
                    return
                except BaseException as error:  # noqa: BLE001  told to whoever reads
                    self._post((None, error))
                    return
                self._post(arrived)
                del arrived
        finally:
            close = getattr(self._source, "close", None)
            if close is not None:
                close()

    def _post(self, arrived: tuple[RGBImage | None, BaseException | None]) -> None:
        self._arrived.append(arrived)
        try:
            self._loop.call_soon_threadsafe(self._news.set)
        except RuntimeError:  # the loop was closed: nobody reads any more
            self._is_closed = True


_live_readers: weakref.WeakSet[Reader] = weakref.WeakSet()

if hasattr(os, "register_at_fork"):
    # The threads stay in the parent, one of them perhaps with its lock held.
    os.register_at_fork(after_in_child=_live_readers.clear)


@atexit.register
def _close_readers() -> None:
    """A daemon thread inside a native read at the end of the interpreter can abort it."""
    deadline = time.monotonic() + 1.0
    readers = list(_live_readers)
    for reader in readers:
        reader.close()
    for reader in readers:
        reader.join(max(0.0, deadline - time.monotonic()))
