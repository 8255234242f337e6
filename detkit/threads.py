"""A thread that several others may wait for, and a call that an interrupt leaves behind whole.

Knows nothing of what threads do.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any, TypeVar

T = TypeVar("T")

# An interrupt that arrives in the moment before a wait begins is noticed only after it.
_HEARTBEAT_S = 0.1


class Thread(threading.Thread):
    """A `threading.Thread` whose `join` and `is_alive` may be called by several threads at once.

    Before Python 3.13 two of them that look at the moment the thread ends disturb each other: one
    raises AssertionError, the other "release unlocked lock". Here they wait for a sign given
    right before the end, and only the rest of the way is looked at, by one after the other.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._is_leaving = threading.Event()
        self._one_looks = threading.Lock()
        super().__init__(*args, **kwargs)

    def run(self) -> None:
        """See `threading.Thread`."""
        try:
            super().run()
        finally:
            self._is_leaving.set()

    def join(self, timeout: float | None = None) -> None:
        """See `threading.Thread`."""
        can_wait = self.ident is not None and self is not threading.current_thread()
        if can_wait and not self._is_leaving.wait(timeout):
            return
        with self._one_looks:
            super().join()

    def is_alive(self) -> bool:
        """See `threading.Thread`."""
        with self._one_looks:
            return super().is_alive()


def call_apart(call: Callable[[], T]) -> T:
    """Call something that must not be interrupted, and let an interrupt end the waiting for it.

    What arrives as a signal, such as a notebook's Stop button, waits until native code comes
    back, and may break what a process can do only once: `import torch` fails for ever after it
    was interrupted half-way. So the main thread, which alone gets signals, has the call made on a
    thread of its own. After an interrupt that thread goes on to its end, which an interpreter that
    exits waits for, and what it returned or raised is dropped.

    Args:
        call: Made in the caller's context, on the caller's thread if that is not the main one.

    Raises:
        BaseException: What the call raised.
    """
    if threading.current_thread() is not threading.main_thread():
        return call()
    outcome: Future[T] = Future()
    context = contextvars.copy_context()

    def make() -> None:
        try:
            outcome.set_result(context.run(call))
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            outcome.set_exception(error)

    thread = threading.Thread(target=make, name="detkit-apart", daemon=False)
    thread.start()
    # Not `join`: before Python 3.13 one that is interrupted takes the thread for ended, and the
    # interpreter exits while it is in native code.
    while not wait([outcome], _HEARTBEAT_S).done:
        pass
    thread.join()
    return outcome.result()
