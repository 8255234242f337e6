"""Series of images of any length through an engine, with a bounded window between in and out.

Both iterators follow one rule: before each result is handed out one more image is taken in, and
further ones as long as there is nothing to hand out and the window has room. So the workers stay
fed however slow the consumer is, and memory stays bounded however fast the source.

The blocking one asks the source on the consumer's own thread. So it looks whether asking takes
longer than all work in the window; then the source is what everything waits for, and what is
finished is handed out before it is asked again. What is finished while it is being asked has to
wait: only the asynchronous one, which reads on a thread of its own, hands that out at once.
Knows futures and iterators; never the engine itself.
"""

from __future__ import annotations

import asyncio
import queue
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any, Literal, NamedTuple, TypeAlias

from detkit.api.reader import as_async
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


class _Window:
    """The images of a blocking series between in and out, and the source they come from."""

    def __init__(
        self, start: StartSync, images: Iterable[RGBImage], size: int, ordered: bool
    ) -> None:
        self.pending: deque[_Entry] = deque()
        self.source_error: BaseException | None = None
        self._start = start
        self._source = iter(images)
        self._size = size
        self._ordered = ordered
        self._finished: queue.SimpleQueue[_Entry] = queue.SimpleQueue()
        self._chosen: list[_Entry] = []
        self._num_in = 0
        self._is_exhausted = self._is_source_slow = False

    def fill(self) -> None:
        """Take in one image, and further ones as long as there is nothing to hand out."""
        if self._has_room() and not (self._is_source_slow and self._is_ready()):
            self._take_one_in()
        while self._has_room() and not self._is_ready():
            self._take_one_in()

    def next_finished(self) -> _Entry:
        """Wait for the next one to hand out, and take it out."""
        wait_for(self._wait_for_next)
        entry = self.pending[0] if self._ordered else self._chosen.pop()
        self.pending.remove(entry)  # not before the wait: what is pending is cancelled in the end
        return entry

    def _has_room(self) -> bool:
        return not self._is_exhausted and len(self.pending) < self._size

    def _is_ready(self) -> bool:
        if not self._ordered:
            return not self._finished.empty()
        return bool(self.pending) and self.pending[0].future.done()

    def _take_one_in(self) -> None:
        latest = self.pending[-1].future if self.pending else None
        if latest is not None and latest.done():
            latest = None  # nobody was at work: how long this takes says nothing
        try:
            image = next(self._source)
            if latest is not None:
                self._is_source_slow = latest.done()
        except StopIteration:
            self._is_exhausted = True
        except Exception as error:  # noqa: BLE001  what came before it is finished first
            self.source_error, self._is_exhausted = error, True
        else:
            entry = _Entry(self._num_in, Future())
            self.pending.append(entry)
            self._num_in += 1
            _start(self._start, image, entry)
            if not self._ordered:
                finished = self._finished
                entry.future.add_done_callback(lambda _: finished.put(entry))

    def _wait_for_next(self, timeout_s: float) -> bool:
        try:
            if self._ordered:
                self.pending[0].future.exception(timeout_s)
            else:
                self._chosen.append(self._finished.get(timeout=timeout_s))
        except (FutureTimeoutError, queue.Empty):
            return False
        return True


def iterate_sync(
    start: StartSync,
    images: Iterable[RGBImage],
    window: int,
    ordered: bool,
    on_error: OnError,
    unfinished: Unfinished,
) -> Iterator[DetectionResult | ItemFailure]:
    """See `AsyncDetector.map`."""
    series = _Window(start, images, window, ordered)
    try:
        while True:
            series.fill()
            if not series.pending:
                break
            entry = series.next_finished()
            outcome = _conclude(entry, on_error)
            unfinished.add(outcome)
            yield outcome
            del entry, outcome
        if series.source_error is not None:
            raise series.source_error
    except BaseException as stop:
        unfinished.stopped(stop, _not_handed_out(series.pending, ordered))
        raise
    finally:
        for entry in series.pending:
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


class _AsyncWindow:
    """Images taken in as they arrive, and the futures of their outcomes. For one event loop."""

    def __init__(
        self, start: StartAsync, source: AsyncIterator[RGBImage], size: int, ordered: bool
    ) -> None:
        self.pending: deque[_Entry] = deque()
        self.source_error: BaseException | None = None
        self._start, self._source, self._size, self._ordered = start, source, size, ordered
        self._news = asyncio.Event()
        self._arrival: asyncio.Future[RGBImage] | None = None
        self._num_in, self._is_exhausted = 0, False

    @property
    def is_over(self) -> bool:
        return self._is_exhausted and not self.pending

    def _has_room(self) -> bool:
        has_place = len(self.pending) < self._size
        return has_place and self._arrival is None and not self._is_exhausted

    async def take_in(self) -> None:
        """Ask for an image where there is room, and start the one that has arrived."""
        self._news.clear()
        if self._has_room():
            self._arrival = asyncio.ensure_future(_next_of(self._source))
            self._arrival.add_done_callback(lambda _: self._news.set())
            await asyncio.sleep(0)  # an image that is at hand arrives now
        if self._arrival is not None and self._arrival.done():
            self._start_arrived(self._arrival)
            self._arrival = None

    def _start_arrived(self, arrived: asyncio.Future[RGBImage]) -> None:
        try:
            image = arrived.result()
        except StopAsyncIteration:
            self._is_exhausted = True
        except Exception as error:  # noqa: BLE001  what came before it is finished first
            self.source_error, self._is_exhausted = error, True
        else:
            entry = _Entry(self._num_in, asyncio.get_running_loop().create_future())
            entry.future.add_done_callback(lambda _: self._news.set())
            self.pending.append(entry)
            self._num_in += 1
            _start(self._start, image, entry)

    def next_finished(self) -> _Entry | None:
        """The one that is handed out next, if it is finished."""
        candidates = [self.pending[0]] if self._ordered and self.pending else self.pending
        entry = next((e for e in candidates if e.future.done()), None)
        if entry is not None:
            self.pending.remove(entry)
        return entry

    async def wait(self) -> None:
        """Until an image arrives or an outcome is there, where no more can be taken in."""
        if not self._has_room():
            await self._news.wait()

    def close(self) -> None:
        for entry in self.pending:
            entry.future.cancel()
        if self._arrival is not None:
            self._arrival.cancel()


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
    source, close_source = as_async(images, loop)
    series = _AsyncWindow(start, source, window, ordered)
    replies.expect()
    try:
        while True:
            await series.take_in()
            entry = series.next_finished()
            if entry is not None:
                outcome = _conclude(entry, on_error)
                unfinished.add(outcome)
                yield outcome
                del entry, outcome
            elif series.is_over:
                break
            else:
                await series.wait()
        if series.source_error is not None:
            raise series.source_error
    except BaseException as stop:
        unfinished.stopped(stop, _not_handed_out(series.pending, ordered))
        raise
    finally:
        replies.arrived()
        series.close()
        close_source()


async def _next_of(source: AsyncIterator[RGBImage]) -> RGBImage:
    """The built-in `anext` as a coroutine, which a task can be made of."""
    return await source.__anext__()
