"""Series of images of any length through an engine, with a bounded window between in and out.

Both iterators follow one rule: before each result is handed out one more image is taken in, and
further ones as long as there is nothing to hand out and the window has room. So the workers stay
fed however slow the consumer is, and memory stays bounded however fast the source.
Knows futures and iterators; never the engine itself.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import queue
import threading
import time
import weakref
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any, Literal, NamedTuple, TypeAlias

from detkit.api.replies import LoopReplies
from detkit.api.unfinished import Unfinished
from detkit.api.waiting import wait_for
from detkit.errors import DetkitError, InvalidImageError, ItemFailure, Stage
from detkit.images import RGBImage
from detkit.results import DetectionResult

OnError = Literal["raise", "yield"]
# Hands an image in; its outcome goes into the future. An interrupt may come at any moment, so the
# future is in the window before the image is in the engine.
StartSync: TypeAlias = Callable[[RGBImage, "Future[DetectionResult]"], None]
StartAsync: TypeAlias = Callable[[RGBImage, "asyncio.Future[DetectionResult]"], None]

# A source read on its own thread runs this many images ahead of what the window has asked for.
_READ_AHEAD = 2


class _Entry(NamedTuple):
    """One image in the window."""

    position: int
    future: Any  # of a DetectionResult, from concurrent.futures or from asyncio


def _conclude(entry: _Entry, on_error: OnError) -> DetectionResult | ItemFailure:
    """What a finished future holds; its failure as `on_error` wants it."""
    error = entry.future.exception()
    if error is None:
        result: DetectionResult = entry.future.result()
        return result
    if on_error == "raise":
        raise error
    stage: Stage = "validate" if isinstance(error, InvalidImageError) else "detect"
    return ItemFailure(entry.position, stage, error)


def iterate_sync(
    start: StartSync,
    images: Iterable[RGBImage],
    window: int,
    ordered: bool,
    on_error: OnError,
    unfinished: Unfinished,
) -> Iterator[DetectionResult | ItemFailure]:
    """See `AsyncDetector.map`."""
    source = iter(images)
    pending: deque[_Entry] = deque()
    finished: queue.SimpleQueue[_Entry] = queue.SimpleQueue()
    chosen: list[_Entry] = []
    source_error: BaseException | None = None
    num_in, is_exhausted = 0, False

    def take_one_in() -> None:
        nonlocal num_in, is_exhausted, source_error
        try:
            image = next(source)
        except StopIteration:
            is_exhausted = True
        except Exception as error:  # noqa: BLE001  what came before it is finished first
            source_error, is_exhausted = error, True
        else:
            entry = _Entry(num_in, Future())
            pending.append(entry)
            num_in += 1
            _start(start, image, entry)
            if not ordered:
                entry.future.add_done_callback(lambda _: finished.put(entry))

    def is_ready() -> bool:
        return pending[0].future.done() if ordered else not finished.empty()

    def wait_for_next(timeout_s: float) -> bool:
        try:
            if ordered:
                pending[0].future.exception(timeout_s)
            else:
                chosen.append(finished.get(timeout=timeout_s))
        except (FutureTimeoutError, queue.Empty):
            return False
        return True

    try:
        while True:
            if not is_exhausted and len(pending) < window:
                take_one_in()
            while not is_exhausted and len(pending) < window and not is_ready():
                take_one_in()
            if not pending:
                break
            wait_for(wait_for_next)
            entry = pending[0] if ordered else chosen.pop()
            pending.remove(entry)  # not before the wait: what is pending is cancelled in the end
            outcome = _conclude(entry, on_error)
            unfinished.add(outcome)
            yield outcome
            del entry, outcome
        if source_error is not None:
            raise source_error
    except BaseException as stop:
        unfinished.stopped(stop, _not_handed_out(pending, ordered))
        raise
    finally:
        for entry in pending:
            entry.future.cancel()


def _not_handed_out(
    pending: Iterable[_Entry], ordered: bool
) -> Iterator[DetectionResult | ItemFailure | None]:
    """What is finished in the window; None for an image that is not, where places matter."""
    for entry in pending:
        if entry.future.done() and not entry.future.cancelled():
            yield _conclude(entry, "yield")
        elif ordered:
            yield None


def _start(start: Callable[[RGBImage, Any], None], image: RGBImage, entry: _Entry) -> None:
    """Hand an image in; the reason why that cannot be is its outcome."""
    try:
        start(image, entry.future)
    except DetkitError as error:
        entry.future.set_exception(error)


async def iterate_async(
    start: StartAsync,
    replies_of: Callable[[asyncio.AbstractEventLoop], LoopReplies],
    images: Iterable[RGBImage] | AsyncIterable[RGBImage],
    window: int,
    ordered: bool,
    on_error: OnError,
    unfinished: Unfinished,
) -> AsyncIterator[DetectionResult | ItemFailure]:
    """See `AsyncDetector.stream`."""
    loop = asyncio.get_running_loop()
    replies = replies_of(loop)
    source, close_source = _as_async(images, loop)
    news = asyncio.Event()
    pending: deque[_Entry] = deque()
    arrival: asyncio.Future[RGBImage] | None = None
    source_error: BaseException | None = None
    num_in, is_exhausted = 0, False

    def has_room() -> bool:
        return arrival is None and not is_exhausted and len(pending) < window

    def take_in(arrived: asyncio.Future[RGBImage]) -> None:
        nonlocal num_in, is_exhausted, source_error
        try:
            image = arrived.result()
        except StopAsyncIteration:
            is_exhausted = True
        except Exception as error:  # noqa: BLE001  what came before it is finished first
            source_error, is_exhausted = error, True
        else:
            entry = _Entry(num_in, loop.create_future())
            entry.future.add_done_callback(lambda _: news.set())
            pending.append(entry)
            num_in += 1
            _start(start, image, entry)

    replies.expect()
    try:
        while True:
            news.clear()
            if has_room():
                arrival = asyncio.ensure_future(_next_of(source))
                arrival.add_done_callback(lambda _: news.set())
                await asyncio.sleep(0)  # an image that is at hand arrives now
            if arrival is not None and arrival.done():
                take_in(arrival)
                arrival = None
            candidates = [pending[0]] if ordered and pending else pending
            entry = next((e for e in candidates if e.future.done()), None)
            if entry is not None:
                pending.remove(entry)
                outcome = _conclude(entry, on_error)
                unfinished.add(outcome)
                yield outcome
                del entry, outcome
            elif is_exhausted and not pending:
                break
            elif not has_room():
                await news.wait()
        if source_error is not None:
            raise source_error
    except BaseException as stop:
        unfinished.stopped(stop, _not_handed_out(pending, ordered))
        raise
    finally:
        replies.arrived()
        for entry in pending:
            entry.future.cancel()
        if arrival is not None:
            arrival.cancel()
        close_source()


async def _next_of(source: AsyncIterator[RGBImage]) -> RGBImage:
    """The built-in `anext` as a coroutine, which a task can be made of."""
    return await source.__anext__()


def _as_async(
    images: Iterable[RGBImage] | AsyncIterable[RGBImage], loop: asyncio.AbstractEventLoop
) -> tuple[AsyncIterator[RGBImage], Callable[[], None]]:
    """An asynchronous iterator over `images`, and what ends it early."""
    if isinstance(images, AsyncIterable):
        return images.__aiter__(), lambda: None
    if isinstance(images, (list, tuple)):
        return _at_hand(images), lambda: None
    reader = _Reader(iter(images), loop)
    return reader, reader.close


async def _at_hand(images: Iterable[RGBImage]) -> AsyncIterator[RGBImage]:
    for image in images:
        yield image


class _Reader:
    """Reads a plain iterator on a thread of its own, a little ahead of the loop that asks."""

    def __init__(self, source: Iterator[RGBImage], loop: asyncio.AbstractEventLoop) -> None:
        self._source = source
        self._loop = loop
        self._room = threading.Semaphore(_READ_AHEAD)
        self._is_closed = False
        self._arrived: deque[tuple[RGBImage | None, BaseException | None]] = deque()
        self._news = asyncio.Event()
        self._thread = threading.Thread(target=self._read, name="detkit-reader", daemon=True)
        _live_readers.add(self)
        self._thread.start()

    def __aiter__(self) -> _Reader:
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


_live_readers: weakref.WeakSet[_Reader] = weakref.WeakSet()

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
