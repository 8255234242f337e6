"""What every test runs under: a watchdog that prints all threads, and no stray error unnoticed.

An error that nobody catches (in a thread, in an event loop, in a finalizer) fails the test it
happened in, as does a test that hangs or that reaches for another machine. The environment
variable `DETKIT_TIER` says how long repeated tests repeat: "P" (the default, for every change) or
"N" (nightly).
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import logging
import os
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

import hypothesis
import pytest

IS_NIGHTLY = os.environ.get("DETKIT_TIER", "P") == "N"

# After this long a test counts as hung. Those of the engine use fakes; others load models.
ENGINE_WATCHDOG_S = 20.0
WATCHDOG_S = 120.0
ENGINE_TESTS = (Path("tests/api"), Path("tests/test_testing.py"))

hypothesis.settings.register_profile(
    "P", derandomize=True, deadline=None, max_examples=100, database=None
)
hypothesis.settings.register_profile("N", deadline=None, max_examples=2000, print_blob=True)
hypothesis.settings.load_profile("N" if IS_NIGHTLY else "P")

_terminal: TextIO | None = None


def pytest_configure(config: pytest.Config) -> None:
    global _terminal
    # Output is not captured yet: the dump of a hung test goes where a person sees it.
    _terminal = os.fdopen(os.dup(2), "w")
    sys.addaudithook(_watch_network)
    config.addinivalue_line("markers", "watchdog(seconds): this test may take so long.")


def pytest_unconfigure() -> None:
    global _terminal
    faulthandler.cancel_dump_traceback_later()
    if _terminal is not None:
        _terminal.close()
        _terminal = None


def pytest_collection_finish() -> None:
    # Modules and tests live as long as the run: a collection need not look at them every time.
    gc.collect()
    gc.freeze()


def _is_engine_test(item: pytest.Item) -> bool:
    here = item.path.relative_to(item.config.rootpath) if item.config.rootpath else item.path
    return any(here == place or place in here.parents for place in ENGINE_TESTS)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    marker = item.get_closest_marker("watchdog")
    usual = ENGINE_WATCHDOG_S if _is_engine_test(item) else WATCHDOG_S
    patience_s = marker.args[0] if marker else usual * (30 if IS_NIGHTLY else 1)
    faulthandler.dump_traceback_later(patience_s, exit=True, file=_terminal)


def pytest_runtest_logfinish() -> None:
    faulthandler.cancel_dump_traceback_later()


_strangers: list[str] = []  # machines other than this one that somebody reached for


def _watch_network(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook: what Python code connects to or looks up, in whatever library."""
    if event == "socket.connect":
        connection, address = arguments
        is_stream = connection.type == socket.SOCK_STREAM  # connecting a datagram sends nothing
        if is_stream and isinstance(address, tuple) and not _is_here(address[0]):
            _strangers.append(f"a connection to {address[0]}")
    elif event == "socket.getaddrinfo" and not _is_here(arguments[0]):
        _strangers.append(f"a look-up of {arguments[0]}")


def _is_here(host: object) -> bool:
    name = host.decode() if isinstance(host, bytes) else host
    return name in (None, "", "localhost", "::", "0.0.0.0", socket.gethostname()) or (
        isinstance(name, str) and name.startswith(("127.", "::1", "::ffff:127."))
    )


class _ErrorLog(logging.Handler):
    def __init__(self, stray: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._stray = stray

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + "".join(traceback.format_exception(*record.exc_info))
        self._stray.append(f"logged by {record.name}: {text}")


@pytest.fixture(autouse=True)
def stray_errors(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[str]]:
    """Errors that nobody caught so far. A test that expects one takes it out of the list."""
    stray: list[str] = []

    def in_thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_type is not SystemExit:
            lines = traceback.format_exception(args.exc_type, args.exc_value, args.exc_traceback)
            stray.append(f"in thread {args.thread}: {''.join(lines)}")

    def unraisable(args: Any) -> None:
        lines = traceback.format_exception(args.exc_type, args.exc_value, args.exc_traceback)
        stray.append(f"{args.err_msg or 'ignored'} in {args.object!r}: {''.join(lines)}")

    def in_loop(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        lines = traceback.format_exception(error) if error is not None else []
        stray.append(f"in an event loop: {context.get('message')}: {''.join(lines)}")

    monkeypatch.setattr(threading, "excepthook", in_thread)
    monkeypatch.setattr(sys, "unraisablehook", unraisable)
    monkeypatch.setattr(asyncio.BaseEventLoop, "default_exception_handler", in_loop)
    handler = _ErrorLog(stray)
    for name in ("asyncio", "concurrent.futures"):
        logging.getLogger(name).addHandler(handler)
    yield stray
    if _is_engine_test(request.node):
        gc.collect()  # a future that nobody asked complains when it is collected
    for name in ("asyncio", "concurrent.futures"):
        logging.getLogger(name).removeHandler(handler)
    stray += _strangers
    _strangers.clear()
    if stray:
        pytest.fail("stray errors:\n" + "\n".join(stray), pytrace=False)


@pytest.fixture(params=["usual", "adversarial"])
def scheduling(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Run the test twice: as usual, and with threads that switch 500 times as often."""
    if request.param == "usual":
        yield "usual"
        return
    before = sys.getswitchinterval()
    monkeypatch.setenv("PYTHONASYNCIODEBUG", "1")
    sys.setswitchinterval(1e-5)
    try:
        yield "adversarial"
    finally:
        sys.setswitchinterval(before)


@pytest.fixture(scope="session")
def repetitions() -> Callable[[int, int], int]:
    """`repetitions(on_every_change, nightly)` is the number that this run asks for."""
    return lambda on_every_change, nightly: nightly if IS_NIGHTLY else on_every_change
