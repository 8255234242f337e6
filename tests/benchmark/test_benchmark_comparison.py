"""Faster is called faster, the same is called no different, whatever the machine does meanwhile."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from benchmark.simulation import MACHINE, noisy_pair

from detkit.benchmark import (
    BenchmarkRun,
    Comparison,
    DifferentMachinesError,
    Entry,
    Machine,
    Offline,
    Round,
    SingleStream,
    benchmark,
    compare,
    compare_all,
)
from detkit.benchmark.intervals import inflation

IMAGES = [np.zeros((2, 2, 3), np.uint8)] * 8
STEADY: Callable[[int], float] = lambda number: 1.0  # noqa: E731
DRIFTS: dict[str, Callable[[int], float]] = {
    "steady": STEADY,
    "slows down by half": lambda number: 1 + 0.5 * number / 20,
    "throttles in the middle": lambda number: 1.0 if number < 10 else 1.6,
}


def trial(seed: int, slower_by: float, drift: Callable[[int], float] = STEADY) -> Comparison:
    contestants, tools = noisy_pair(seed, slower_by, drift)
    run = benchmark(contestants, IMAGES, instruments=tools, machine=MACHINE)
    return compare_all(run, "a")[0]


@pytest.mark.parametrize("drift", DRIFTS)
def test_a_contestant_slowed_by_a_tenth_is_found_slower(drift: str) -> None:
    verdicts = [trial(seed, 1.1, DRIFTS[drift]).verdict for seed in range(100)]
    assert verdicts.count("slower") >= 95
    assert "faster" not in verdicts


@pytest.mark.parametrize("drift", DRIFTS)
def test_two_copies_are_found_no_different(drift: str) -> None:
    verdicts = [trial(seed, 1.0, DRIFTS[drift]).verdict for seed in range(1000, 1100)]
    assert verdicts.count("no difference") >= 95


@pytest.mark.parametrize("weather_step", [0.0, 0.01, 0.02])
def test_the_same_benchmark_twice_agrees_with_itself(weather_step: float) -> None:
    """Idle, and where each round resembles the one before."""
    agreed = 0
    for seed in range(100):
        runs = []
        for part in range(2):
            both, tools = noisy_pair(1000 * part + seed, 1.0, weather_step=weather_step)
            one = {"a": both["a"]}
            runs.append(benchmark(one, IMAGES, instruments=tools, machine=MACHINE))
        agreed += compare(*runs).verdict == "no difference"
    assert agreed >= 95


def test_a_contestant_slowed_by_a_tenth_is_found_in_another_run_too() -> None:
    verdicts = []
    for seed in range(100):
        runs = []
        for part, slower_by in enumerate((1.0, 1.1)):
            both, tools = noisy_pair(1000 * part + seed, slower_by, weather_step=0.0)
            runs.append(benchmark({"b": both["b"]}, IMAGES, instruments=tools, machine=MACHINE))
        verdicts.append(compare(runs[1], runs[0]).verdict)
    assert verdicts.count("slower") >= 95


def test_rounds_that_resemble_their_neighbours_widen_the_interval() -> None:
    rng = np.random.default_rng(0)
    shuffled = rng.normal(0, 1, 40)
    assert 1.0 <= inflation(shuffled) < 1.4
    assert inflation(np.sort(shuffled)) > 2.5
    assert inflation([1.0, 2.0] * 10) == 1.0
    assert inflation([1.0] * 8) == 1.0


def test_a_verdict_says_how_much_and_how_sure() -> None:
    found = trial(1, 1.1)
    assert found.is_paired and found.num_rounds == 20
    assert 1 / 1.1 in found.speedup
    assert str(found).startswith("b is slower than a: 0.9")
    same = trial(1, 1.0)
    assert "no difference" in str(same) and "would have been seen" in str(same)


def run_of(costs: list[float], machine: Machine = MACHINE, run_id: str = "") -> BenchmarkRun:
    rounds = [Round(cost, num_ok=int(cost < math.inf)) for cost in costs]
    return BenchmarkRun(Offline(), machine, (Entry("x", tuple(rounds)),), 1, run_id=run_id)


def test_too_few_rounds_leave_it_undecided() -> None:
    found = compare(run_of([1.0] * 5), run_of([2.0] * 5))
    assert found.verdict == "undecided"
    assert "8 are needed" in str(found)


def test_other_machines_are_refused_unless_told() -> None:
    other = replace(MACHINE, cores=64)
    a, b = run_of([1.0] * 8), run_of([2.0] * 8, other)
    with pytest.raises(DifferentMachinesError, match="different machines"):
        compare(a, b)
    found = compare(a, b, allow_other_machine=True)
    assert found.verdict == "faster" and not found.is_paired


def test_other_software_on_the_same_machine_is_comparable() -> None:
    newer = replace(MACHINE, packages={"numpy": "3"}, python="3.15")
    assert compare(run_of([1.0] * 8), run_of([2.0] * 8, newer)).verdict == "faster"


def test_other_scenarios_are_refused() -> None:
    a, b = run_of([1.0] * 8), run_of([2.0] * 8)
    with pytest.raises(DifferentMachinesError, match="scenarios"):
        compare(a, replace(b, scenario=SingleStream()), allow_other_machine=True)


def test_a_round_that_one_could_not_play_counts_for_neither() -> None:
    a = run_of([1.0, math.inf, *[1.0] * 8], run_id="r")
    b = run_of([2.0, 0.001, *[2.0] * 8], run_id="r")
    found = compare(a, b)
    assert found.is_paired and found.num_rounds == 9
    assert found.speedup.value == pytest.approx(2.0)


def test_a_difference_below_one_percent_is_none() -> None:
    assert compare(run_of([1.0] * 8), run_of([1.008] * 8)).verdict == "no difference"


def test_nothing_to_compare_is_said() -> None:
    failed = run_of([math.inf] * 8)
    with pytest.raises(ValueError, match="has no numbers"):
        compare(failed, run_of([1.0] * 8))
    two = replace(failed, entries=(*failed.entries, *failed.entries))
    with pytest.raises(ValueError, match="2 contestants"):
        compare(two, failed)
