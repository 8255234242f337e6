"""A thread that several others may wait for, and a call that an interrupt leaves behind whole.

Knows nothing of what threads do.
"""

from __future__ import annotations

import contextvars
import gc
import os
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any, TypeVar

T = TypeVar("T")

# An interrupt that arrives in the moment before a wait begins is noticed only after it.
_HEARTBEAT_S = 0.1

# How long the rest of the way may take, in seconds; usually it is microseconds.
_PATIENCE_S = 1.0


class Thread(threading.Thread):
    """A `threading.Thread` whose `join` and `is_alive` may be called by several threads at once.

    Before Python 3.13 two of them that look at the moment the thread ends disturb each other: one
    raises AssertionError, the other "release unlocked lock". Here they wait for a sign given
    right before the end, and only the rest of the way is looked at, by one after the other.

    On this rest of the way what the thread leaves behind is destroyed, which may need a lock that
    is held by whoever asks. So `is_alive` goes by the sign alone, and `join` has little patience.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._is_leaving = threading.Event()
        self._one_joins = threading.Lock()
        super().__init__(*args, **kwargs)
        _threads.add(self)

    def start(self) -> None:
        """See `threading.Thread`.

        Whoever starts a thread waits for its first steps. Were garbage collected on these, what is
        destroyed there might wait for a lock that the starter holds, as the engine does.
        """
        is_collecting = gc.isenabled()
        try:
            gc.disable()
            super().start()
        finally:
            if is_collecting:
                gc.enable()

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
        with self._one_joins:
            super().join(_PATIENCE_S if timeout is None else min(timeout, _PATIENCE_S))

    def is_alive(self) -> bool:
        """See `threading.Thread`; False from right before the end."""
        return self.ident is not None and not self._is_leaving.is_set()

    def stayed_behind(self) -> None:
        """This is a forked child: the thread is in the parent, perhaps with its locks held."""
        self._one_joins = threading.Lock()
        if self.ident is not None and self is not threading.current_thread():
            self._is_leaving = threading.Event()
            self._is_leaving.set()


_threads: weakref.WeakSet[Thread] = weakref.WeakSet()


def _all_stayed_behind() -> None:
    for thread in list(_threads):
        thread.stayed_behind()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_all_stayed_behind)


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
