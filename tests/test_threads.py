"""A thread that several wait for at once, and a call that an interrupt leaves behind whole."""

from __future__ import annotations

import contextvars
import signal
import threading
import time

import pytest

from detkit.threads import Thread, call_apart

NUM_WAITING = 4


@pytest.fixture
def most_at_once(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many threads were inside Python's own `join` or `is_alive` of one `Thread` at a time."""
    inside: list[int] = []
    seen: list[int] = []

    def watch(name: str) -> None:
        original = getattr(threading.Thread, name)

        def watched(self: threading.Thread, *args: float | None) -> object:
            if not isinstance(self, Thread):
                return original(self, *args)
            inside.append(1)
            seen.append(len(inside))
            for _ in range(20):
                time.sleep(0)  # let the others in, if anything does
            try:
                return original(self, *args)
            finally:
                inside.pop()

        monkeypatch.setattr(threading.Thread, name, watched)

    watch("join")
    watch("is_alive")
    return seen


def test_several_may_wait_for_one_thread_at_once(most_at_once: list[int]) -> None:
    # Python's own join then fails in two of them, before 3.13: "release unlocked lock".
    for _ in range(20):
        go = threading.Event()
        thread = Thread(target=go.wait, daemon=True)
        thread.start()
        found_alive: list[bool] = []

        def wait(thread: Thread = thread, found_alive: list[bool] = found_alive) -> None:
            thread.join(10)
            found_alive.append(thread.is_alive())

        waiting = [threading.Thread(target=wait) for _ in range(NUM_WAITING)]
        for other in waiting:
            other.start()
        go.set()
        for other in waiting:
            other.join(10)
        assert found_alive == [False] * NUM_WAITING
    assert max(most_at_once) == 1


def test_join_gives_up_after_its_time_and_ends_with_the_thread() -> None:
    go = threading.Event()
    thread = Thread(target=go.wait, daemon=True)
    thread.start()
    thread.join(0.01)
    assert thread.is_alive()
    go.set()
    thread.join()
    assert not thread.is_alive()


def test_a_thread_that_was_never_started_or_waits_for_itself_is_refused() -> None:
    with pytest.raises(RuntimeError, match="before it is started"):
        Thread(target=print).join()
    refusals: list[str] = []

    def wait_for_itself() -> None:
        try:
            thread.join()
        except RuntimeError as error:
            refusals.append(str(error))

    thread = Thread(target=wait_for_itself)
    thread.start()
    thread.join(10)
    assert refusals == ["cannot join current thread"]


def test_an_error_in_the_thread_still_ends_the_waiting() -> None:
    def fail() -> None:
        raise SystemExit

    thread = Thread(target=fail, daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()


def test_a_call_apart_returns_raises_and_keeps_its_context() -> None:
    word = contextvars.ContextVar("word", default="none")
    word.set("mine")
    num_threads = threading.active_count()
    assert call_apart(lambda: (word.get(), threading.current_thread().name)) == (
        "mine",
        "detkit-apart",
    )
    with pytest.raises(KeyError, match="missing"):
        call_apart(lambda: {}["missing"])
    assert threading.active_count() == num_threads


def test_a_call_apart_stays_on_a_thread_that_gets_no_signals() -> None:
    seen: list[bool] = []

    def call() -> None:
        here = threading.current_thread()
        seen.append(call_apart(threading.current_thread) is here)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join(10)
    assert seen == [True]


def test_an_interrupt_ends_the_waiting_for_a_call_apart_and_not_the_call() -> None:
    main_thread = threading.main_thread().ident
    assert main_thread is not None
    go, ended = threading.Event(), threading.Event()

    def call() -> None:
        signal.pthread_kill(main_thread, signal.SIGINT)
        go.wait(10)
        ended.set()

    with pytest.raises(KeyboardInterrupt):
        call_apart(call)
    assert not ended.is_set()
    (apart,) = (t for t in threading.enumerate() if t.name == "detkit-apart")
    assert not apart.daemon, "the interpreter waits for it"
    go.set()
    apart.join(10)
    assert ended.is_set()
