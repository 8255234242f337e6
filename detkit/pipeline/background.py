"""Threads beside an event loop, and an event loop beside a thread.

`OneAtATime` does one job while the loop prepares the next; `iterate_blocking` reads an
asynchronous iterator where there is no loop to run it on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from detkit.video.read_ahead import ReadAhead

T = TypeVar("T")


class OneAtATime:
    """Runs jobs on one thread, in order; at most one is under way and one is being prepared.

    Example:
        >>> async def write(pictures):
        ...     async with OneAtATime() as writer:
        ...         for picture in pictures:
        ...             await writer.do(print, picture)
        >>> asyncio.run(write("ab"))
        a
        b
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="detkit-write")
        self._running: asyncio.Future[None] | None = None

    async def do(self, job: Callable[..., None], *arguments: object) -> None:
        """Wait for the job before, then start this one; an error of that job comes up here."""
        if self._running is not None:
            await self._running
        loop = asyncio.get_running_loop()
        self._running = loop.run_in_executor(self._thread, job, *arguments)
        # Where another error ends the run first, nobody asks this future for its own.
        self._running.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def __aenter__(self) -> OneAtATime:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        try:
            if self._running is not None and kind is None:
                await self._running
        finally:
            # At most one frame is being drawn or encoded; it must end before its file is closed.
            self._thread.shutdown(wait=True, cancel_futures=True)


def iterate_blocking(items: AsyncGenerator[T, None], terminate: Callable[[], None]) -> Iterator[T]:
    """The items of an asynchronous generator, which runs on a loop and thread of its own.

    Works also where a loop is running already, as in a notebook's cell.

    Args:
        items: Read one item ahead.
        terminate: Makes `items` end soon; called when the reader leaves.
    """
    with ReadAhead(_on_a_loop(items), 1) as ahead:
        try:
            # `yield from` would close it first, and wait for that.
            for item in ahead:  # noqa: UP028
                yield item
        finally:
            terminate()


def _on_a_loop(items: AsyncGenerator[T, None]) -> Iterator[T]:
    loop = asyncio.new_event_loop()
    try:
        while True:
            try:
                yield loop.run_until_complete(items.__anext__())
            except StopAsyncIteration:
                return
    finally:
        try:
            loop.run_until_complete(items.aclose())
        finally:
            loop.close()
