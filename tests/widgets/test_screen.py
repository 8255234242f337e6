from __future__ import annotations

import contextvars
import threading

from detkit.widgets.screen import Screen


def test_newer_changes_replace_those_that_wait() -> None:
    ran: list[int] = []
    entered, leave = threading.Event(), threading.Event()
    screen = Screen(lambda error: None)

    def first() -> None:
        entered.set()
        leave.wait(10)

    screen.post("gate", first)
    assert entered.wait(10)
    for number in range(100):
        screen.post("number", lambda number=number: ran.append(number))
    leave.set()
    assert screen.flush()
    assert ran == [99]
    screen.close()


def test_an_error_is_told_and_the_screen_goes_on() -> None:
    errors: list[BaseException] = []
    ran: list[str] = []
    screen = Screen(errors.append)

    def bad() -> None:
        raise ValueError("bad change")

    screen.post("bad", bad)
    screen.post("good", lambda: ran.append("good"))
    assert screen.flush()
    assert [str(e) for e in errors] == ["bad change"]
    assert ran == ["good"]
    screen.close()


def test_closing_twice_and_posting_after_it_do_nothing() -> None:
    ran: list[int] = []
    screen = Screen(lambda error: None)
    screen.close()
    screen.close()
    screen.post("late", lambda: ran.append(1))
    assert ran == []


def test_a_change_may_close_its_own_screen() -> None:
    screen = Screen(lambda error: None)
    screen.post("end", screen.close)
    screen._thread.join(10)
    assert not screen._thread.is_alive()


def test_changes_run_in_the_context_of_the_latest_message() -> None:
    sender: contextvars.ContextVar[str] = contextvars.ContextVar("sender", default="nobody")
    heard: list[str] = []
    screen = Screen(lambda error: None)

    def from_browser(name: str) -> None:
        sender.set(name)
        screen.adopt_context()

    screen.post("a", lambda: heard.append(sender.get()))
    assert screen.flush()
    contextvars.copy_context().run(from_browser, "subshell")
    screen.post("a", lambda: heard.append(sender.get()))
    assert screen.flush()
    assert heard == ["nobody", "subshell"]
    screen.close()
