"""Waiting that an interrupt can end. Knows time; nothing of detection, threads or event loops.

A signal that arrives in the moment before a thread blocks in a lock is noticed only when that
wait is over: measured, 2 of 900 interrupts of an `Event.wait()` in ipykernel 7.4 on Python 3.11
took effect when the event was set, 1.4 and 4 s late. Waiting for a tenth of a second at a time
bounds that.
"""

from __future__ import annotations

import time
from collections.abc import Callable

# The longest wait that is not interrupted by anything. Event loops wake as often while something
# is awaited: a kernel's Stop button arrives as a signal that an idle loop does not notice.
# Measured, an `await` in ipykernel 7.4 ended after 5 s or never without such a timer, and after
# 0.15 to 0.28 s with it.
HEARTBEAT_S = 0.1


def wait_for(wait: Callable[[float], bool], timeout_s: float | None = None) -> bool:
    """Wait until `wait(seconds)` says that it was worth waiting.

    Args:
        wait: Waits for at most that long; whether what it waits for has come.
        timeout_s: How long to go on. None: for ever.

    Returns:
        False if `timeout_s` has passed.
    """
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    while True:
        left_s = HEARTBEAT_S if deadline is None else deadline - time.monotonic()
        if wait(max(0.0, min(HEARTBEAT_S, left_s))):
            return True
        if left_s <= 0:
            return False
