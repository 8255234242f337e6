"""`OneAtATime`: a thread that does one job while the event loop prepares the next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor


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
