"""A thread that several wait for at once, and a call that an interrupt leaves behind whole."""

from __future__ import annotations

import contextvars
import gc
import os
import signal
import threading
import time

import pytest

from detkit.threads import Thread, call_apart

NUM_WAITING = 4


@pytest.fixture
def most_at_once(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many threads were inside Python's own `join` of one `Thread` at a time."""
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


class Heirloom:
    """What a thread leaves behind; it is destroyed on the last steps of the thread."""

    def __init__(self, entered: threading.Event, may_go: threading.Event) -> None:
        self.entered, self.may_go = entered, may_go

    def __del__(self) -> None:
        self.entered.set()
        self.may_go.wait(10)


def test_nobody_waits_for_ever_for_what_an_ending_thread_leaves_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It may need a lock that is held by whoever asks, as the engine does."""
    monkeypatch.setattr("detkit.threads._PATIENCE_S", 0.01)
    entered, may_go = threading.Event(), threading.Event()
    here = threading.local()

    def leave_something() -> None:
        here.heirloom = Heirloom(entered, may_go)

    thread = Thread(target=leave_something, daemon=True)
    thread.start()
    waiting = [threading.Thread(target=thread.join) for _ in range(2)]
    for other in waiting:
        other.start()
    assert entered.wait(10)
    assert not thread.is_alive()
    thread.join()
    for other in waiting:
        other.join(10)
        assert not other.is_alive()
    assert not may_go.is_set()
    may_go.set()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no os.fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_child_waits_for_no_thread_of_its_parent() -> None:
    go = threading.Event()
    thread = Thread(target=go.wait, daemon=True)
    thread.start()
    pid = os.fork()
    if pid == 0:
        try:
            thread.join(10)
            os._exit(thread.is_alive())
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert thread.is_alive()
    go.set()
    thread.join(10)
    assert not thread.is_alive()


class Collecting(threading.Event):
    """Makes so many objects when it is set that garbage is collected on that thread."""

    def set(self) -> None:
        kept = [[number] for number in range(100_000)]
        super().set()
        del kept


class Needy:
    """Garbage that can be destroyed only with a lock, as a forgotten call of a detector."""

    def __init__(self, lock: threading.Lock) -> None:
        self.lock, self.cycle = lock, self

    def __del__(self) -> None:
        with self.lock:
            pass


def test_garbage_that_needs_a_lock_of_the_starter_does_not_hold_up_a_new_thread() -> None:
    lock = threading.Lock()
    thread = Thread(target=gc.isenabled, daemon=True)
    thread._started = Collecting()  # type: ignore[attr-defined]

    def start() -> None:
        gc.collect()
        with lock:
            gc.disable()
            Needy(lock)
            gc.enable()
            thread.start()

    starter = threading.Thread(target=start, daemon=True)
    starter.start()
    starter.join(10)
    assert not starter.is_alive(), "the new thread waits for the lock, the starter for the thread"
    thread.join(10)
    assert not thread.is_alive()
    assert gc.isenabled()
