"""The search finds what a full sweep would find, on simulated cost surfaces and noise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from benchmark.simulation import Clock

from detkit.benchmark.choices import (
    Choice,
    Goal,
    Measurement,
    Space,
    default_workers,
    parse_goal,
    variants_of,
)
from detkit.benchmark.search import Search

SPACE = Space((1, 2, 4, 8), (1, 2, 4, 8, 16, 32))
Surface = Callable[[Choice], float]


def cpu(rng: np.random.Generator) -> Surface:
    """Workers fill the cores, then get into each other's way; batching is worth nothing."""
    cores, each = int(rng.integers(1, 9)), rng.uniform(8, 60)
    crowd, batch_loss = rng.uniform(0, 0.06), rng.uniform(0, 0.08)

    def rate(c: Choice) -> float:
        surplus = max(0, c.max_workers - cores)
        filled = min(c.max_workers, cores) ** 0.8
        return float(
            each * filled / (1 + crowd * surplus) / (1 + batch_loss * np.log2(c.batch_size))
        )

    return rate


def accelerator(rng: np.random.Generator) -> Surface:
    """A call costs something, an image less; calls of several workers overlap a little."""
    call_s, image_s, overlap = rng.uniform(4e-3, 3e-2), rng.uniform(3e-4, 3e-3), rng.uniform(0, 0.5)

    def rate(c: Choice) -> float:
        serial = call_s / (1 + overlap * (min(c.max_workers, 3) - 1)) + image_s * c.batch_size
        return float(c.batch_size / serial)

    return rate


def cliff(rng: np.random.Generator) -> Surface:
    """As the accelerator, until so many images no longer fit the fast memory."""
    smooth, fits = accelerator(rng), int(rng.choice([8, 16, 32, 64]))
    return lambda c: smooth(c) * (1.0 if c.in_flight <= fits else 0.55)


def locked(rng: np.random.Generator) -> Surface:
    """One shared model: nothing helps."""
    each = rng.uniform(5, 100)
    return lambda c: float(each)


SURFACES = {"cpu": cpu, "accelerator": accelerator, "cliff": cliff, "locked": locked}


def noisy(
    surface: Surface, clock: Clock, rng: np.random.Generator, *, overhead_s: float = 0.002
) -> Callable[[Choice, int], Measurement]:
    """Jitter of 3 %, one try in twenty disturbed by 25 % on average, a machine that wanders."""
    weather = 0.0

    def measure(choice: Choice, num_images: int) -> Measurement:
        nonlocal weather
        weather = 0.9 * weather + rng.normal(0, 0.01)
        factor = np.exp(weather + rng.normal(0, 0.03))
        factor *= 1 + (rng.random() < 0.05) * rng.exponential(0.25)
        elapsed = float(num_images / surface(choice) * factor)
        clock.sleep(elapsed + overhead_s)
        return Measurement(num_images, elapsed, choice.in_flight * elapsed / num_images)

    return measure


def searched(
    surface: Surface,
    seed: int,
    goal: str = "throughput",
    space: Space = SPACE,
    budget_s: float = 20.0,
) -> tuple[Search, Clock]:
    clock = Clock()
    measure = noisy(surface, clock, np.random.default_rng([seed, 1]))
    search = Search(space, parse_goal(goal), measure, clock.read, budget_s)
    search.run()
    return search, clock


@pytest.mark.parametrize("kind", SURFACES)
def test_within_five_percent_of_the_full_sweep(kind: str) -> None:
    good, num_decided = 0, 0
    for seed in range(100):
        surface = SURFACES[kind](np.random.default_rng([seed, 0]))
        search, _ = searched(surface, seed)
        best = search.best()
        assert best is not None
        good += surface(best.choice) >= 0.95 * max(surface(c) for c in SPACE.all())
        num_decided += search.is_decided
    assert good >= 95
    assert num_decided >= 70  # the slowest surfaces give five images a second


@pytest.mark.parametrize("kind", SURFACES)
def test_the_time_is_kept(kind: str) -> None:
    for seed in range(30):
        surface = SURFACES[kind](np.random.default_rng([seed, 0]))
        search, clock = searched(surface, seed, budget_s=10.0)
        assert clock.now - 1000.0 <= 10.0 * 1.25, search.ranked()[0]


def test_where_nothing_helps_the_smallest_setting_is_chosen_and_time_is_saved() -> None:
    smallest, spent = 0, []
    for seed in range(40):
        search, clock = searched(lambda c: 80.0, seed, budget_s=60.0)
        best = search.best()
        assert best is not None
        smallest += best.choice == Choice(1, 1)
        spent.append(clock.now - 1000.0)
    assert smallest >= 30  # within 2 % all are as good; chance moves a few beyond
    assert np.median(spent) < 59


def test_far_fewer_tries_than_a_sweep_for_those_that_are_behind() -> None:
    search, _ = searched(cpu(np.random.default_rng(5)), 5, budget_s=60.0)
    tries = sorted(len(p.tries) for p in search.points.values())
    assert tries[0] == 1 and tries[-1] >= 8


def test_a_time_too_short_is_undecided_and_the_best_so_far_is_told() -> None:
    search, _ = searched(lambda c: 5.0, 1, budget_s=0.5)
    assert not search.is_decided
    assert search.best() is not None and len(search.points) < len(SPACE)


def test_a_machine_too_noisy_to_tell_is_undecided() -> None:
    undecided = 0
    for seed in range(20):
        clock, rng = Clock(), np.random.default_rng(seed)

        def measure(
            choice: Choice, num_images: int, clock: Clock = clock, rng: np.random.Generator = rng
        ) -> Measurement:
            elapsed = num_images / 80 * float(np.exp(rng.normal(0, 0.4)))
            clock.sleep(elapsed)
            return Measurement(num_images, elapsed, elapsed)

        search = Search(SPACE, Goal("throughput"), measure, clock.read, 20.0)
        search.run()
        undecided += not search.is_decided
    assert undecided >= 18


def test_with_a_rate_to_keep_the_least_latency_wins() -> None:
    for seed in range(30):
        surface = accelerator(np.random.default_rng([seed, 0]))
        most = max(surface(c) for c in SPACE.all())
        wanted = most / 3
        search, _ = searched(surface, seed, goal=f"fps>={wanted}")
        best = search.best()
        assert best is not None and surface(best.choice) >= wanted
        latency = {c: c.in_flight / surface(c) for c in SPACE.all() if surface(c) >= 1.15 * wanted}
        # 10 %: settings within reach of the rate may or may not count as keeping it.
        assert best.choice.in_flight / surface(best.choice) <= 1.10 * min(latency.values())


def test_a_rate_out_of_reach_gives_the_fastest() -> None:
    surface = accelerator(np.random.default_rng(3))
    search, _ = searched(surface, 3, goal="fps>=100000")
    best = search.best()
    assert best is not None and best.value(Goal("fps", 1e5))[0] == 0
    assert surface(best.choice) >= 0.95 * max(surface(c) for c in SPACE.all())


def test_the_best_variant_is_found() -> None:
    variants = variants_of({"precision": ["fp32", "bf16"], "num_threads": [1, 2]})
    space = Space((1, 2, 4), (1, 2, 4, 8), variants)

    def surface(c: Choice) -> float:
        facts = dict(c.variant)
        speed = 20.0 * (1.9 if facts["precision"] == "bf16" else 1.0)
        return speed * min(2, c.max_workers * facts["num_threads"]) ** 0.9

    for seed in range(20):
        search, _ = searched(surface, seed, space=space)
        best = search.best()
        assert best is not None
        assert surface(best.choice) >= 0.95 * max(surface(c) for c in space.all())


def test_a_detector_that_fails_for_some_settings_loses_them() -> None:
    clock = Clock()

    def measure(choice: Choice, num_images: int) -> Measurement:
        clock.sleep(0.05)
        if choice.batch_size > 4:
            return Measurement(0, 0.05, float("inf"), num_images)
        return Measurement(num_images, num_images / (10.0 * choice.batch_size), 0.1)

    search = Search(SPACE, Goal("throughput"), measure, clock.read, 20.0)
    search.run()
    best = search.best()
    assert best is not None and best.choice.batch_size == 4


def test_nothing_works() -> None:
    clock = Clock()

    def measure(choice: Choice, num_images: int) -> Measurement:
        clock.sleep(0.05)
        return Measurement(0, 0.05, float("inf"), num_images)

    search = Search(SPACE, Goal("throughput"), measure, clock.read, 20.0)
    search.run()
    assert search.best() is None


@pytest.mark.parametrize("text", ["", "fast", "fps", "fps>=", "fps>=0", "fps>=-3", "FPS>=3"])
def test_bad_goals_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="goal must be"):
        parse_goal(text)


def test_goals_as_written() -> None:
    for text in ("throughput", "latency", "fps>=30", "fps>=29.97"):
        assert str(parse_goal(text)) == text


@pytest.mark.parametrize("bad", [(), (0,), (True,), (1.5,)])
def test_bad_spaces_are_refused(bad: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="integers of at least 1"):
        Space(bad, (1,))


def test_worker_counts_worth_trying() -> None:
    assert default_workers(1) == (1, 2)
    assert default_workers(2) == (1, 2, 4)
    assert default_workers(6) == (1, 2, 4, 6, 8)
    assert default_workers(64) == (1, 2, 4, 8, 16)
