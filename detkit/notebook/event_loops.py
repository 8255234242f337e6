"""Coroutines where no `await` can stand: plain cells, scripts, threads, callbacks.

Knows asyncio and threads; nothing of detection.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Coroutine
from concurrent.futures import Future, wait
from concurrent.futures import TimeoutError as FutureTimeoutError
from importlib.metadata import version
from typing import Any, TypeVar

T = TypeVar("T")

# How long an interrupted `run` waits for its coroutine to clean up. The Stop button promises an
# answer within 0.5 s, and a coroutine that ignores its cancellation must not hold it.
_CLEAN_UP_S = 0.3


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end and return its result, whether or not a loop is running.

    Without a running loop this is `asyncio.run`. With one, as in every notebook cell, the
    coroutine runs on a loop of its own in a helper thread, and the caller waits: nothing else
    happens on the caller's loop meanwhile. Where you can write `await`, write `await`. Everything
    that the coroutine awaits must be made inside it, not on the loop outside.

    Args:
        coroutine: What calling an `async def` function gives.

    Returns:
        What the coroutine returns. Context variables are copied in, not out.

    Raises:
        TypeError: If it is no coroutine.
        KeyboardInterrupt: If interrupted; the coroutine is cancelled.
        Exception: Whatever the coroutine raises.

    Example:
        >>> async def answer():
        ...     return 42
        >>> run(answer())
        42
    """
    if not asyncio.iscoroutine(coroutine):
        raise TypeError(f"run() takes a coroutine, got a {type(coroutine).__name__}")
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    return _run_in_thread(coroutine)


def _run_in_thread(coroutine: Coroutine[Any, Any, T]) -> T:
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = Future()
    finished: Future[T] = Future()

    async def main() -> T:
        task = asyncio.current_task()
        assert task is not None
        started.set_result((asyncio.get_running_loop(), task))
        return await coroutine

    def body() -> None:
        try:
            finished.set_result(asyncio.run(main()))
        except BaseException as error:  # noqa: BLE001  raised again, in the caller's thread
            finished.set_exception(error)

    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(body,), name="detkit-run", daemon=True)
    try:
        thread.start()  # waits for the thread, so an interrupt may come here as well
        return finished.result()
    except BaseException:
        if not finished.done():  # the wait was interrupted, not the coroutine
            _cancel(started, finished)
        raise


def _cancel(
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]], finished: Future[Any]
) -> None:
    try:
        loop, task = started.result(_CLEAN_UP_S)
        loop.call_soon_threadsafe(task.cancel)
    except (FutureTimeoutError, RuntimeError):
        return  # it never began, or ended in this very moment and its loop is closed
    wait([finished], _CLEAN_UP_S)


def enable_nested_asyncio() -> str:
    """Let `asyncio.run` work in notebook cells, by applying nest-asyncio.

    Nothing in detkit needs this: `await`, `run` and the synchronous methods work without. It is
    for code that calls `asyncio.run` itself. The change holds for the whole process and cannot be
    undone.

    Returns:
        What was done, in one sentence.

    Raises:
        ValueError: If the running loop is of a kind that cannot be patched, as uvloop's.
    """
    import nest_asyncio

    try:
        loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
    except RuntimeError:
        loop = None
    if hasattr(asyncio, "_nest_patched") and (loop is None or hasattr(loop, "_nest_patched")):
        return "nest-asyncio was already applied; nothing was changed."
    nest_asyncio.apply(loop)
    where = "the running event loop" if loop is not None else "new event loops"
    return (
        f"nest-asyncio {version('nest-asyncio')} applied to asyncio and {where}: "
        "asyncio.run() and loop.run_until_complete() now work inside running code."
    )
