"""One sentence about what a search found, and the intervals behind it.

Words only; the search has measured.
"""

from __future__ import annotations

from detkit.benchmark.choices import Goal
from detkit.benchmark.intervals import Interval
from detkit.benchmark.search import EQUAL, Point, Search

# An interval that still allows this much gain does not show that there is none.
_WIDE = 0.10


def gain_of_batching(search: Search) -> Interval | None:
    """The best with batches beside the best with single images; None if one did not race."""
    raced = [p for p in search.ranked() if p.race]
    batches = next((p for p in raced if p.choice.batch_size > 1), None)
    singles = next((p for p in raced if p.choice.batch_size == 1), None)
    return search.ratio(batches, singles) if batches and singles else None


def gain_of_workers(search: Search) -> Interval | None:
    """The best with several workers beside the best with one; None if one did not race."""
    raced = [p for p in search.ranked() if p.race]
    several = next((p for p in raced if p.choice.max_workers > 1), None)
    lone = next((p for p in raced if p.choice.max_workers == 1), None)
    return search.ratio(several, lone) if several and lone else None


def advise(
    best: Point,
    goal: Goal,
    *,
    batching: Interval | None,
    parallel: Interval | None,
    is_decided: bool,
    seconds: float,
) -> str:
    """The sentence.

    Args:
        best: What was chosen.
        goal: What was wanted.
        batching: From `gain_of_batching`.
        parallel: From `gain_of_workers`.
        is_decided: Whether the time sufficed.
        seconds: The time given.
    """
    numbers = f"{best.images_per_s:.3g} images/s, {1000 * best.latency_s:.3g} ms per image"
    opening = f"Use {best.choice} ({numbers})"
    if not is_decided:
        opening = f"{seconds:g} s were too short to decide; best so far: {best.choice} ({numbers})"
    elif best.value(goal)[0] == 0:
        opening = f"{goal} is out of reach here; fastest: {best.choice} ({numbers})"
    clauses = [
        _clause("batching", batching),
        _clause("more than one worker", parallel),
    ]
    return "; ".join([opening, *(c for c in clauses if c)]) + "."


def _clause(what: str, gain: Interval | None) -> str:
    if gain is None:
        return ""
    ratio = gain.text(unit="x")
    if gain.low > 1 + EQUAL:
        return f"{what} helps: {ratio}"
    if gain.high < 1 - EQUAL:
        return f"{what} hurts here: {ratio}"
    if not gain.high < 1 + _WIDE:  # written so that an unknown interval counts as wide
        return f"{what} was not shown to help: {ratio}"
    return f"{what} does not help here: {ratio}"
