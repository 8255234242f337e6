"""`Unfinished`: what a series of images had brought when it ended before its end.

Knows outcomes; never an engine, a future or an event loop.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import TypeAlias

from detkit.api.arguments import at_least_one
from detkit.errors import ItemFailure
from detkit.results import DetectionResult

# One entry per image; None: not finished.
Outcomes: TypeAlias = list[DetectionResult | ItemFailure | None]

# A series may be endless, so only its latest outcomes are kept: 1.3 kB each with one box, 20 MB in
# all with ten.
MAX_KEPT = 10_000


class Unfinished:
    """Keeps the latest outcomes of a running series for whoever stops it.

    Args:
        save: Is given what was kept if the series ends before its end.
        max_kept: Most outcomes that are kept.

    Raises:
        ValueError: If `max_kept` is below 1.
    """

    def __init__(self, save: Callable[[Outcomes], None], max_kept: int = MAX_KEPT) -> None:
        self._save = save
        self._latest: deque[DetectionResult | ItemFailure | None] = deque(
            maxlen=at_least_one(max_kept, "max_kept")
        )

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
