"""`benchmark`: contestants take turns, round by round, and the result is a `BenchmarkRun`.

Decides the order of the turns and when to stop. What happens in one turn is in `rounds.py`.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from typing import Any

import numpy as np

from detkit.benchmark.contestants import as_contestant
from detkit.benchmark.instruments import Instruments
from detkit.benchmark.intervals import MIN_ROUNDS
from detkit.benchmark.machine import Machine, describe_machine
from detkit.benchmark.rounds import Loader, Round, Sample, load_sample, play_round
from detkit.benchmark.runs import BenchmarkRun, Entry
from detkit.benchmark.scenarios import Offline, Scenario
from detkit.errors import describe
from detkit.progress import NoProgress, Progress, shown_if

# With 20 rounds of a noisy machine (3 % jitter, one round in twenty disturbed) a contestant
# that is 10 % slower is found slower in 99 of 100 trials, with 10 rounds in 80.
DEFAULT_ROUNDS = 20

# The note of a run or a report that Ctrl-C ended early.
INTERRUPTED = "interrupted: what was measured until then"

# Plays one round; the argument seeds what is random in it, alike for all contestants.
Player = Callable[[int], Round]


@dataclass(frozen=True, slots=True)
class Turns:
    """How contestants take turns.

    Attributes:
        rounds: How many rounds are counted.
        warm_up: Rounds before that are not.
        max_seconds: Stop after the round in which so much time has passed, in seconds; at
            least one round is played.
        seed: Of everything random.
        keep_on_interrupt: Whether Ctrl-C stops after the last whole round, if there is one, in
            place of an exception.
    """

    rounds: int = DEFAULT_ROUNDS
    warm_up: int = 1
    max_seconds: float | None = None
    seed: int = 0
    keep_on_interrupt: bool = False

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise ValueError(f"rounds must be at least 1, got {self.rounds!r}")
        if self.warm_up < 0:
            raise ValueError(f"warm_up must be at least 0, got {self.warm_up!r}")


def benchmark(
    contestants: Mapping[str, Any],
    samples: Sequence[Sample],
    scenario: Scenario | None = None,
    *,
    rounds: int = DEFAULT_ROUNDS,
    warm_up: int = 1,
    max_seconds: float | None = None,
    seed: int = 0,
    keep_on_interrupt: bool = False,
    load: Loader = load_sample,
    progress: bool = False,
    instruments: Instruments | None = None,
    machine: Machine | None = None,
) -> BenchmarkRun:
    """Let contestants meet a scenario in turns, in this process.

    Args:
        contestants: By name: `Contestant`, `AsyncDetector`, a detector, or a function of one
            image.
        samples: uint8 RGB arrays, or paths of image files, whose decoding is then measured too.
        scenario: How the work arrives; by default all at once.
        rounds: How many rounds are counted.
        warm_up: Rounds before that are not.
        max_seconds: Stop early after so much time, in seconds. The run notes it.
        seed: Of random arrivals.
        keep_on_interrupt: Whether Ctrl-C ends the run with the whole rounds so far, which it
            notes, in place of an exception.
        load: Makes an image of a sample.
        progress: Whether to show a bar: turns, how many failed altogether, and the time left.
        instruments: Clocks and memory; the machine's own by default.
        machine: What is written down; this one by default.

    Returns:
        One entry per contestant. One that failed altogether has an `error` and no numbers.

    Raises:
        ValueError: If there are no contestants or no samples.
        TypeError: If a contestant is nothing of the kind.

    Example:
        >>> from detkit.testing import FakeDetector, numbered_image
        >>> images = [numbered_image(n) for n in range(4)]
        >>> run = benchmark({"fake": FakeDetector()}, images, rounds=2)
        >>> run["fake"].num_failed
        0
    """
    samples = list(samples)
    if not samples:
        raise ValueError("there are no images to measure with")
    if not contestants:
        raise ValueError("there are no contestants to measure")
    tools = instruments or Instruments()
    meets = scenario or Offline()
    made = {name: as_contestant(given, tools) for name, given in contestants.items()}

    def play(name: str, round_seed: int) -> Round:
        rng = np.random.default_rng(round_seed)
        return play_round(made[name], samples, meets, rng, tools, load)

    return take_turns(
        {name: partial(play, name) for name in made},
        meets,
        len(samples),
        Turns(rounds, warm_up, max_seconds, seed, keep_on_interrupt),
        facts={name: contestant.facts for name, contestant in made.items()},
        clock=tools.clock,
        machine=machine,
        progress=progress,
    )


def take_turns(
    players: Mapping[str, Player],
    scenario: Scenario,
    num_images: int,
    turns: Turns,
    *,
    facts: Mapping[str, Mapping[str, Any]] | None = None,
    clock: Callable[[], float] | None = None,
    machine: Machine | None = None,
    progress: bool = False,
) -> BenchmarkRun:
    """Let players that may live in other processes take turns.

    Args:
        players: By name; each plays one round when called.
        scenario: What they meet.
        num_images: Images in a round.
        turns: How many rounds, and when to stop.
        facts: Settings by name, written down.
        clock: For `turns.max_seconds`.
        machine: What is written down.
        progress: As for `benchmark`.

    Returns:
        As `benchmark`.
    """
    now = clock or Instruments().clock
    with shown_if(progress, (turns.warm_up + turns.rounds) * len(players), "turns") as bar:
        log = _Log(players, bar)
        for number in range(turns.warm_up):
            log.warm_up(turns.seed - 1 - number)
        started = now()
        for number in range(turns.rounds):
            try:
                log.play(number, turns.seed + number)
            except KeyboardInterrupt:
                if not turns.keep_on_interrupt or number == 0:
                    raise
                log.interrupted(number)
                break
            passed = now() - started
            is_over = turns.max_seconds is not None and passed >= turns.max_seconds
            if is_over and number + 1 < turns.rounds:
                log.stopped_early(number + 1, turns.rounds, passed)
                break
    return BenchmarkRun(
        scenario=scenario,
        machine=machine or describe_machine(),
        entries=log.entries(scenario, facts or {}),
        num_images=num_images,
        date=datetime.now(timezone.utc).date().isoformat(),
        run_id=uuid.uuid4().hex[:12],
        notes=tuple(log.notes),
    )


def order_of_round(names: Sequence[str], number: int) -> list[str]:
    """Who plays when in round `number`: turned round, and every other round reversed.

    So nobody always runs after the same neighbour, and two contestants play AB BA BA AB, which
    a steady drift cannot tell apart.
    """
    shift = (number // 2) % max(1, len(names))
    order = [*names[shift:], *names[:shift]]
    return order[::-1] if number % 2 else order


class _Log:
    """Calls the players and keeps what came of it."""

    def __init__(self, players: Mapping[str, Player], bar: Progress | NoProgress) -> None:
        self._players = dict(players)
        self._bar = bar
        self._rounds: dict[str, list[Round | None]] = {name: [] for name in players}
        self._errors: dict[str, str] = {}
        self.notes: list[str] = []

    def warm_up(self, seed: int) -> None:
        """Play without counting; who cannot is out."""
        for name in self._present():
            self._play_one(name, seed & 0xFFFFFFFF)

    def play(self, number: int, seed: int) -> None:
        """Play and count."""
        for name in order_of_round(self._present(), number):
            played = self._play_one(name, seed)
            self._rounds[name].append(played)

    def stopped_early(self, done: int, planned: int, seconds: float) -> None:
        """Time ran out."""
        short = f"; {MIN_ROUNDS} are needed for a verdict" if done < MIN_ROUNDS else ""
        self.notes.append(
            f"stopped after {done} of {planned} rounds: {seconds:.0f} s had passed{short}"
        )

    def interrupted(self, done: int) -> None:
        """Keep the whole rounds."""
        for rounds in self._rounds.values():
            del rounds[done:]
        self.notes.append(INTERRUPTED)

    def entries(
        self, scenario: Scenario, facts: Mapping[str, Mapping[str, Any]]
    ) -> tuple[Entry, ...]:
        """What everybody did; rounds of one that dropped out are filled up with None."""
        length = max(map(len, self._rounds.values()))
        return tuple(
            Entry(
                name,
                tuple(rounds + [None] * (length - len(rounds))),
                scenario.is_paced,
                facts.get(name, {}),
                self._errors.get(name, "") or _error_of(rounds),
            )
            for name, rounds in self._rounds.items()
        )

    def _present(self) -> list[str]:
        return [name for name in self._players if name not in self._errors]

    def _play_one(self, name: str, seed: int) -> Round | None:
        try:
            played = self._players[name](seed)
            self._bar.add(failed=False)
            return played
        except Exception as error:  # noqa: BLE001  one contestant must not end the others' run
            self._bar.add(failed=True)
            self._errors[name] = describe(error)
            self.notes.append(f"{name} dropped out: {describe(error)}")
            return None


def _error_of(rounds: Sequence[Round | None]) -> str:
    """Why there are no numbers, when every image failed."""
    played = [r for r in rounds if r is not None]
    if not played or any(r.num_ok for r in played):
        return ""
    return f"every image failed: {played[0].first_error}"
