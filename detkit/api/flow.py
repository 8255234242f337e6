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
