"""`Screen`: the one thread that writes what a panel shows, and the lock it shares with callbacks.

Rule 1: widgets are touched with `lock` held, and by two kinds of thread only: the screen's own and
the one that the kernel runs a callback on. Workers post a change and go on.
Rule 2: a newer change under the same key replaces the one that waits, so a fast worker cannot
fill the memory or the connection.

Why a thread, and not the kernel's main loop: the loop stands still while a cell is busy, and then
so would the panel. JupyterLab sends widget messages to a subshell, whose callbacks run on yet
another thread; hence the lock. ipywidgets documents updates from a background thread, and
ipykernel hands every message to its own output thread.

Rule 3: changes run in the context of the latest message from the browser (`adopt_context`).
ipykernel sends the browser's answer to whichever shell the change seemed to come from; without a
context that is the shell of the latest cell, where the answer waits until the cell ends.

Knows threads; nothing of widgets, frames or detectors.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable

from detkit.threads import Thread

# A change is drawn in milliseconds; closing must not wait for one that hangs.
_JOIN_TIMEOUT_S = 2.0


class Screen:
    """Runs posted changes, one at a time, newest per key.

    Args:
        on_error: Told of every exception that a change raises; called with `lock` held.

    Attributes:
        lock: Hold it while touching widgets from anywhere else. Re-entrant.

    Example:
        >>> screen = Screen(print)
        >>> screen.post("greeting", lambda: print("hello"))
        >>> screen.flush()
        hello
        True
        >>> screen.close()
    """

    def __init__(self, on_error: Callable[[BaseException], None]) -> None:
        self.lock = threading.RLock()
        self._on_error = on_error
        self._pending: dict[str, Callable[[], None]] = {}
        self._changed = threading.Condition()
        self._is_busy = False
        self._closed = False
        self._context = contextvars.Context()
        self._thread = Thread(target=self._run, name="detkit-screen", daemon=True)
        self._thread.start()

    def post(self, key: str, change: Callable[[], None]) -> None:
        """Have `change` run soon, in place of one under the same key that still waits.

        Never blocks; after `close` it does nothing.
        """
        with self._changed:
            if not self._closed:
                self._pending[key] = change
                self._changed.notify_all()

    def adopt_context(self) -> None:
        """Run changes from now on in the caller's context; see rule 3.

        Called from whatever handles a message of the browser.
        """
        self._context = contextvars.copy_context()

    def flush(self, timeout_s: float = 10.0) -> bool:
        """Wait until everything posted has run; whether it has."""
        with self._changed:
            return self._changed.wait_for(
                lambda: not self._pending and not self._is_busy, timeout_s
            )

    def close(self) -> None:
        """Forget what waits and end the thread. Idempotent, from any thread."""
        with self._changed:
            self._closed = True
            self._pending.clear()
            self._changed.notify_all()
        if threading.current_thread() is not self._thread:
            self._thread.join(_JOIN_TIMEOUT_S)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._is_busy = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._pending or self._closed)
                if self._closed:
                    return
                key = next(iter(self._pending))
                change = self._pending.pop(key)
                self._is_busy = True
            with self.lock:
                try:
                    self._context.run(change)
                except Exception as error:  # noqa: BLE001  shown in the panel
                    self._on_error(error)
