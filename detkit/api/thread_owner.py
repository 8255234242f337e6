"""Which pool the calling thread works for, if any.

Whoever waits for a pool on one of its own threads would wait for ever. Knows threads only.
"""

from __future__ import annotations

import threading

_here = threading.local()


def pool_of_this_thread() -> object:
    """The pool that the calling thread works for; None for everybody else's thread."""
    return getattr(_here, "pool", None)


def own_this_thread(pool: object) -> None:
    """The calling thread works for this pool from now on; None: for nobody any more."""
    _here.pool = pool
