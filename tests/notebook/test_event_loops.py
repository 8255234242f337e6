"""`run` works wherever it is called, and an interrupt reaches the coroutine."""

from __future__ import annotations

import asyncio
import contextvars
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Awaitable, Callable

import pytest

from detkit.notebook import run

flavour: contextvars.ContextVar[str] = contextvars.ContextVar("flavour", default="none")


async def double(value: int) -> int:
    await asyncio.sleep(0)
    return value * 2


async def fail() -> None:
    raise LookupError("inside")


def plainly(call: Callable[[], object]) -> object:
    return call()


def inside_a_running_loop(call: Callable[[], object]) -> object:
    async def cell() -> object:
        return call()

    return asyncio.run(cell())


def inside_a_thread(call: Callable[[], object]) -> object:
    answers: list[object] = []
    thread = threading.Thread(target=lambda: answers.append(call()))
    thread.start()
    thread.join(10)
    return answers[0]


PLACES = [plainly, inside_a_running_loop, inside_a_thread]


@pytest.mark.parametrize("place", PLACES)
def test_the_result_comes_back_from_everywhere(place: Callable[..., object]) -> None:
    assert place(lambda: run(double(21))) == 42


@pytest.mark.parametrize("place", [plainly, inside_a_running_loop])
def test_the_error_comes_back_from_everywhere(place: Callable[..., object]) -> None:
    with pytest.raises(LookupError, match="inside"):
        place(lambda: run(fail()))


def test_it_nests() -> None:
    async def outer() -> int:
        return run(double(run(double(1))))

    assert run(outer()) == 4


def test_context_variables_are_seen_inside() -> None:
    async def look() -> str:
        return flavour.get()

    flavour.set("salty")
    assert inside_a_running_loop(lambda: run(look())) == "salty"


@pytest.mark.parametrize("value", [3, double, None])
def test_only_coroutines_are_taken(value: object) -> None:
    with pytest.raises(TypeError, match="takes a coroutine"):
        run(value)  # type: ignore[arg-type]


def test_no_thread_is_left_behind() -> None:
    before = set(threading.enumerate())
    inside_a_running_loop(lambda: run(double(1)))
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
    assert set(threading.enumerate()) <= before


def test_an_interrupt_cancels_the_coroutine() -> None:
    ended: list[str] = []

    async def endless() -> None:
        try:
            asyncio.get_running_loop().call_soon(_interrupt_main_thread)
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    with pytest.raises(KeyboardInterrupt):
        inside_a_running_loop(lambda: _swallowing_the_loops_own(run, endless()))
    assert ended == ["cancelled"]


def _interrupt_main_thread() -> None:
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


def _swallowing_the_loops_own(call: Callable[..., object], work: Awaitable[None]) -> object:
    # asyncio.run installs its own handler, which a notebook's kernel does not.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return call(work)


def test_nested_asyncio_is_applied_once_and_says_so() -> None:
    code = """
        import asyncio
        from detkit.notebook import enable_nested_asyncio

        async def one():
            return 1

        async def cell():
            said = enable_nested_asyncio()
            return said, asyncio.run(one()), enable_nested_asyncio()

        first, value, second = asyncio.run(cell())
        assert value == 1
        assert "applied to asyncio and the running event loop" in first, first
        assert "already applied" in second, second
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=60)
