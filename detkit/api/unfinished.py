"""`Unfinished`: what a series of images had brought when it ended before its end.

Knows outcomes; never an engine, a future or an event loop.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import TypeAlias

from detkit.errors import ItemFailure
from detkit.results import DetectionResult

# One entry per image; None: not finished.
Outcomes: TypeAlias = list[DetectionResult | ItemFailure | None]

# A series may be endless, so only its latest outcomes are kept: some 20 MB with ten boxes each.
MAX_KEPT = 10_000


class Unfinished:
    """Keeps the latest outcomes of a running series for whoever stops it.

    Args:
        save: Is given what was kept if the series ends before its end.
    """

    def __init__(self, save: Callable[[Outcomes], None]) -> None:
        self._save = save
        self._latest: deque[DetectionResult | ItemFailure | None] = deque(maxlen=MAX_KEPT)

    def add(self, outcome: DetectionResult | ItemFailure | None) -> None:
        """The next outcome, which is being handed out."""
        self._latest.append(outcome)

    def stopped(
        self,
        by: BaseException,
        rest: Iterable[DetectionResult | ItemFailure | None] = (),
    ) -> None:
        """The series ends now; `rest` was under way and was not handed out."""
        keep(by, [*self._latest, *rest], self._save)


def keep(stop: BaseException, outcomes: Outcomes, save: Callable[[Outcomes], None]) -> None:
    """Save the outcomes; a `KeyboardInterrupt` also carries them, as `outcomes`."""
    save(outcomes)
    if isinstance(stop, KeyboardInterrupt):
        stop.outcomes = outcomes  # type: ignore[attr-defined]
