"""`Search`: finds the best choice in the time there is. The time comes from the clock it is given.

Two steps. Exploring tries a coarse grid once, then the neighbours of the leaders until none is
new (hill climbing from several hills). Racing lets the finalists take turns and drops those that
are surely behind (O. Maron and A. Moore, "Hoeffding Races", NIPS 1993, with the spread of the
rounds in place of Hoeffding's bound), so that the time left goes to those that might win.
Knows choices and measurements; no detector, and no clock but its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

import numpy as np

from detkit.benchmark.choices import Choice, Goal, Measurement, Space
from detkit.benchmark.intervals import MIN_ROUNDS, Interval, ratio_interval

Measure = Callable[[Choice, int], Measurement]

# Shorter tries measure the clock and the scheduler; but a hundred should fit into the time.
_TRY_S = 0.1
_TRIES = 100
# Finalists: no more than six, none that is a quarter behind. One disturbed try costs that much.
_MAX_FINALISTS = 6
_FINAL_SHARE = 0.75
# Who leads by less is not better: the smaller setting is taken.
EQUAL = 0.02
# Where the standard error between two finalists is larger, and the gap no clearer, nothing is
# decided. Three rounds of a quiet machine (3 % jitter) give half of it.
_PRECISE = 0.06
# Rounds after which the race ends even if time is left: the intervals hardly shrink any more.
_MAX_ROUNDS = 24
# A single try may not take more than this share of the time, exploring not more than that.
_LARGEST_TRY = 0.06
_EXPLORING = 0.6
_SEED = 0


@dataclass
class Point:
    """A choice and everything measured of it."""

    choice: Choice
    tries: list[Measurement] = field(default_factory=list)
    race: dict[int, Measurement] = field(default_factory=dict)
    fate: str = ""

    @property
    def images_per_s(self) -> float:
        """Median over the tries."""
        return median([t.images_per_s for t in self.tries])

    @property
    def latency_s(self) -> float:
        """Median over the tries, in seconds."""
        return median([t.latency_s for t in self.tries])

    @property
    def num_failed(self) -> int:
        """Images that failed, in all tries."""
        return sum(t.num_failed for t in self.tries)

    def value(self, goal: Goal) -> tuple[int, float]:
        """How good it is; see `Goal.value`."""
        return goal.value(self.images_per_s, self.latency_s)


class Search:
    """One search.

    Args:
        space: What may be chosen.
        goal: What is wanted.
        measure: Tries a choice with a number of images.
        clock: Seconds.
        budget_s: How long the search may take, in seconds.
        witnesses: Choices that take part in the race in any case, such as today's setting.
    """

    def __init__(
        self,
        space: Space,
        goal: Goal,
        measure: Measure,
        clock: Callable[[], float],
        budget_s: float,
        witnesses: tuple[Choice, ...] = (),
    ) -> None:
        self._space = space
        self.goal = goal
        self._measure = measure
        self._clock = clock
        self._budget_s = budget_s
        self._witnesses = witnesses
        self._try_s = min(_TRY_S, budget_s / _TRIES)
        self._started = clock()
        self.points: dict[Choice, Point] = {}
        self.num_rounds = 0
        self._still_racing: list[Point] = []
        self.too_dear: list[Choice] = []
        self.was_interrupted = False

    def run(self, *, keep_on_interrupt: bool = False) -> None:
        """Explore, then race; Ctrl-C may end it like the end of its time, once something works."""
        try:
            self._explore()
            if any(p.images_per_s > 0 for p in self.points.values()):
                self._race()
        except KeyboardInterrupt:
            if not keep_on_interrupt or self.best() is None:
                raise
            self.was_interrupted = True

    @property
    def elapsed_s(self) -> float:
        """Seconds since the search began."""
        return self._clock() - self._started

    @property
    def is_decided(self) -> bool:
        """Whether every neighbour of the best was tried, and the race told finalists apart."""
        best = self.best()
        if best is None or self.num_rounds < 3:
            return False
        gaps = [self._gap(best, rival) for rival in self._still_racing if rival is not best]
        is_clear = all(spread <= _PRECISE or gap > 2 * spread for gap, spread in gaps)
        return is_clear and all(n in self.points for n in self._space.neighbours(best.choice))

    def ranked(self) -> list[Point]:
        """Points by merit, the best first. One that was tried once only counts as it came."""
        return sorted(self.points.values(), key=lambda p: p.value(self.goal), reverse=True)

    def best(self) -> Point | None:
        """The smallest setting among those that are as good as the best; None if nothing works."""
        ranked = [p for p in self.ranked() if p.images_per_s > 0]
        if not ranked:
            return None
        # Who raced was measured best; the others were lucky at most once.
        raced = [p for p in ranked if p.race] or ranked
        tier = raced[0].value(self.goal)[0]
        rivals = [p for p in raced if p.value(self.goal)[0] == tier]
        equals = [p for p in rivals if p is raced[0] or self._is_equal(raced[0], p)]
        return min(equals, key=lambda p: _size(p.choice))

    def _is_equal(self, top: Point, point: Point) -> bool:
        """Whether a point is as good, as far as its rounds beside the top one tell."""
        gap, spread = self._gap(top, point)
        if math.isinf(spread):
            return point.value(self.goal)[1] >= (1 - EQUAL) * top.value(self.goal)[1]
        # The top is on top partly by luck: one standard error is granted, but never 5 % in all.
        return gap <= min(EQUAL + spread, 2 * EQUAL)

    def ratio(self, a: Point, b: Point) -> Interval | None:
        """How many times better `a` is than `b`, over the rounds in which both raced."""
        common = sorted(a.race.keys() & b.race.keys())
        first, second = ([self._merit(p.race[k]) for k in common] for p in (a, b))
        pairs = [(x, y) for x, y in zip(first, second, strict=True) if x > 0 and y > 0]
        if not pairs:
            return None
        upper, lower = [x for x, _ in pairs], [y for _, y in pairs]
        rng = np.random.default_rng(_SEED)
        return ratio_interval(upper, lower, rng, paired=True, confidence=0.95)

    # -- exploring ----------------------------------------------------------------------------

    def _explore(self) -> None:
        wanted = [self._space.all()[0], *self._witnesses, *self._space.start()]
        while wanted:
            for choice in wanted:
                if choice in self.points or choice in self.too_dear:
                    continue
                if self.elapsed_s > _EXPLORING * self._budget_s:
                    return
                if self._is_too_dear(choice):
                    self.too_dear.append(choice)
                    continue
                self._try(choice)
            wanted = [n for leader in self._leaders() for n in self._space.neighbours(leader)]
            wanted = sorted(
                {n for n in wanted if n not in self.points and n not in self.too_dear}, key=_size
            )

    def _leaders(self) -> list[Choice]:
        return [p.choice for p in self.ranked() if p.images_per_s > 0][:3]

    def _is_too_dear(self, choice: Choice) -> bool:
        rates = [p.images_per_s for p in self.points.values() if p.images_per_s > 0]
        if not rates:
            return False
        return choice.in_flight / max(rates) > _LARGEST_TRY * self._budget_s

    # -- racing -------------------------------------------------------------------------------

    def _race(self) -> None:
        finalists = self._still_racing = self._finalists()
        while finalists and self.num_rounds < _MAX_ROUNDS:
            # Turned round, so that nobody always follows the same one.
            shift = self.num_rounds % len(finalists)
            for point in [*finalists[shift:], *finalists[:shift]]:
                dearest = max((t.elapsed_s for t in point.tries), default=0.0)
                if self._time_left() < dearest:
                    return
                point.race[self.num_rounds] = self._try(point.choice)
            self.num_rounds += 1
            if self.num_rounds >= 3:
                finalists = self._still_racing = self._still_in(finalists)
            if self.num_rounds >= MIN_ROUNDS and self._is_clear(finalists):
                return

    def _finalists(self) -> list[Point]:
        ranked = [p for p in self.ranked() if p.images_per_s > 0]
        tier, top = ranked[0].value(self.goal)
        near = [
            p
            for p in ranked
            if p.value(self.goal)[0] == tier and p.value(self.goal)[1] >= _FINAL_SHARE * top
        ]
        chosen = near[:_MAX_FINALISTS]
        # For the advice: the best without batches, with one worker, and the setting of today.
        for wanted in (
            [p for p in ranked if p.choice.batch_size == 1],
            [p for p in ranked if p.choice.batch_size > 1],
            [p for p in ranked if p.choice.max_workers == 1],
        ):
            chosen += wanted[:1]
        witnesses = (self._space.all()[0], *self._witnesses)
        chosen += [self.points[w] for w in witnesses if w in self.points]
        return list({p.choice: p for p in chosen}.values())

    def _still_in(self, finalists: list[Point]) -> list[Point]:
        leader = max(finalists, key=lambda p: p.value(self.goal))
        kept = []
        for point in finalists:
            gap, spread = self._gap(leader, point)
            # Surely behind, twice the standard error; and by so much that it would matter.
            if gap - 2 * spread > EQUAL and len(point.race) >= 3 and self._may_leave(point):
                point.fate = f"dropped after {len(point.race)} rounds"
            else:
                kept.append(point)
        return kept

    def _may_leave(self, point: Point) -> bool:
        """The yardsticks of the advice stay until their ratio is worth telling."""
        is_yardstick = point.choice.batch_size == 1 or point.choice.max_workers == 1
        return not is_yardstick or len(point.race) >= MIN_ROUNDS

    def _gap(self, leader: Point, point: Point) -> tuple[float, float]:
        """How far a point is behind, and the standard error of that, in logarithms."""
        common = sorted(leader.race.keys() & point.race.keys())
        gaps = [
            math.log(mine / theirs)
            for k in common
            if (mine := self._merit(leader.race[k])) > 0
            and (theirs := self._merit(point.race[k])) > 0
        ]
        if len(gaps) < 2:
            return 0.0, math.inf
        middle = median(gaps)
        # 1.4826 makes the median deviation a standard deviation, 1.2533 is the median's own
        # standard error beside the mean's; both for normal errors.
        deviation = 1.4826 * median([abs(gap - middle) for gap in gaps])
        return middle, 1.2533 * max(deviation, 0.005) / math.sqrt(len(gaps))

    def _is_clear(self, finalists: list[Point]) -> bool:
        """Whether whoever is left differs so little that more rounds would not matter."""
        best = self.best()
        if best is None:
            return False
        for point in finalists:
            if point is best:
                continue
            gap, spread = self._gap(best, point)
            if 2 * spread - gap > 2 * EQUAL:
                return False
        return True

    # -- measuring ----------------------------------------------------------------------------

    def _try(self, choice: Choice) -> Measurement:
        rates = [p.images_per_s for p in self.points.values() if p.images_per_s > 0]
        waves = math.ceil(self._try_s * max(rates, default=0.0) / choice.in_flight)
        made = self._measure(choice, max(1, waves) * choice.in_flight)
        point = self.points.setdefault(choice, Point(choice))
        point.tries.append(made)
        return made

    def _merit(self, measurement: Measurement) -> float:
        return self.goal.value(measurement.images_per_s, measurement.latency_s)[1]

    def _time_left(self) -> float:
        return self._budget_s - self.elapsed_s


def _size(choice: Choice) -> tuple[int, int, bool, str]:
    """Smaller is simpler; of the same size the detector as it is comes first."""
    return choice.in_flight, choice.max_workers, bool(choice.variant), str(choice)
