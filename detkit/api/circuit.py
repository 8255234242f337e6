"""When workers die so often that new work is refused for a while. Time is an argument.

A detector that keeps dying would otherwise burn through a whole night's images.
"""

from __future__ import annotations

from collections import deque

# This many deaths within this time open the circuit.
MAX_DEATHS = 3
DEATH_WINDOW_S = 60.0
# How long new work is refused then, before one more try.
COOLDOWN_S = 30.0


class Circuit:
    """Counts deaths, and is open for a while after too many of them. The pool's lock guards it."""

    def __init__(self) -> None:
        self.num_deaths = 0
        self._latest: deque[float] = deque(maxlen=MAX_DEATHS)
        self.was_opened = False
        self._refuse_until = 0.0

    def is_open(self, now: float) -> bool:
        """Whether new work is refused."""
        return self.was_opened and now < self._refuse_until

    def count_death(self, now: float) -> bool:
        """One more worker died; True if these are too many in too short a time."""
        self.num_deaths += 1
        self._latest.append(now)
        return len(self._latest) == MAX_DEATHS and now - self._latest[0] <= DEATH_WINDOW_S

    def open(self, now: float) -> None:
        """Refuse new work from now on, for a while."""
        self._refuse_until = now + COOLDOWN_S
        self.was_opened = True
