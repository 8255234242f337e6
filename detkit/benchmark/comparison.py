"""`compare`: which of two contestants is faster, or that there is no telling.

Pairs the rounds of one run, so that what slowed the machine slowed both. Knows runs and
intervals; never how they came about.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from detkit.benchmark.intervals import MIN_ROUNDS, Interval, ratio_interval
from detkit.benchmark.runs import BenchmarkRun, Entry
from detkit.errors import DetkitError

Verdict = Literal["faster", "slower", "no difference", "undecided"]

# Less than this nobody acts on, and the harness itself may cost as much.
SMALLEST_DIFFERENCE = 0.01
_SEED = 0


class DifferentMachinesError(DetkitError, ValueError):
    """Runs of two machines, or of two scenarios, do not tell which contestant is faster."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """How one contestant stands to another.

    Attributes:
        name: Of the one.
        other: Of the other.
        verdict: "faster", "slower" or "no difference" of the first beside the second;
            "undecided" if there were too few rounds to say.
        speedup: How many times faster the first is; below 1 it is slower.
        is_paired: Whether both took turns in the same rounds.
        num_rounds: Rounds that went into it.
    """

    name: str
    other: str
    verdict: Verdict
    speedup: Interval
    is_paired: bool
    num_rounds: int

    def __str__(self) -> str:
        ratio = self.speedup.text(unit="x")
        if self.verdict == "undecided":
            return (
                f"{self.name} and {self.other}: undecided after {self.num_rounds} rounds, "
                f"{MIN_ROUNDS} are needed; so far {ratio}"
            )
        if self.verdict == "no difference":
            unseen = max(self.speedup.high - 1, 1 - self.speedup.low)
            return (
                f"{self.name} and {self.other}: no difference, {ratio}; "
                f"one of more than {unseen:.0%} would have been seen"
            )
        return f"{self.name} is {self.verdict} than {self.other}: {ratio}"


def compare(a: BenchmarkRun, b: BenchmarkRun, *, allow_other_machine: bool = False) -> Comparison:
    """Say whether the contestant of `a` is faster or slower than that of `b`, or no different.

    Args:
        a: A run of one contestant; `run.only(name)` takes one out of several.
        b: Another. If both come from one run they are compared round by round; otherwise by
            their medians, and nothing protects from a machine that changed in between.
        allow_other_machine: Compare runs of different machines nevertheless.

    Returns:
        The verdict, with a 99 % interval of the ratio. Differences below 1 % do not count.

    Raises:
        DifferentMachinesError: If the runs are of different machines and that was not allowed,
            or of different scenarios.
        ValueError: If a run has several contestants, or one has no numbers.
    """
    if a.scenario != b.scenario:
        raise DifferentMachinesError(
            f"these runs met different scenarios: {a.scenario} and {b.scenario}"
        )
    if a.machine.fingerprint != b.machine.fingerprint and not allow_other_machine:
        raise DifferentMachinesError(
            f"these runs are of different machines ({a.machine}; {b.machine}): a difference would "
            "not tell which contestant is faster. allow_other_machine=True compares them all the "
            "same"
        )
    is_paired = bool(a.run_id) and a.run_id == b.run_id
    return _judge(_only_entry(a), _only_entry(b), is_paired)


def compare_all(run: BenchmarkRun, baseline: str) -> list[Comparison]:
    """Every other contestant of a run beside `baseline`, round by round.

    Contestants without numbers are left out.

    Raises:
        KeyError: If there is no contestant `baseline`.
        ValueError: If the baseline has no numbers.
    """
    other = run[baseline]
    return [
        _judge(entry, other, is_paired=True)
        for entry in run
        if entry.name != baseline and entry.has_numbers
    ]


def _judge(a: Entry, b: Entry, is_paired: bool) -> Comparison:
    for entry in (a, b):
        if not entry.has_numbers:
            raise ValueError(
                f"{entry.name!r} has no numbers: {entry.error or 'every image failed'}"
            )
    mine, theirs = a.costs_s(), b.costs_s()
    if is_paired:
        both = [(x, y) for x, y in zip(mine, theirs, strict=True) if max(x, y) < math.inf]
        mine, theirs = [x for x, _ in both], [y for _, y in both]
    else:
        mine, theirs = ([x for x in costs if x < math.inf] for costs in (mine, theirs))
    if not mine or not theirs:
        raise ValueError(f"{a.name!r} and {b.name!r} have no round in common")
    speedup = ratio_interval(theirs, mine, np.random.default_rng(_SEED), paired=is_paired)
    num_rounds = min(len(mine), len(theirs))
    return Comparison(
        a.name, b.name, verdict_of(speedup, num_rounds), speedup, is_paired, num_rounds
    )


def verdict_of(speedup: Interval, num_rounds: int) -> Verdict:
    """What an interval of the speed-up means in one word."""
    if num_rounds < MIN_ROUNDS:
        return "undecided"
    if 1.0 in speedup or abs(speedup.value - 1) < SMALLEST_DIFFERENCE:
        return "no difference"
    return "faster" if speedup.value > 1 else "slower"


def _only_entry(run: BenchmarkRun) -> Entry:
    if len(run) != 1:
        raise ValueError(f"a run with {len(run)} contestants: choose one with run.only(name)")
    return run.entries[0]
