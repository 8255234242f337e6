"""Ctrl-C in the middle of a benchmark or a search: what was measured until then is kept."""

from __future__ import annotations

import _thread
import itertools
from typing import Any

import numpy as np
import pytest
from benchmark.simulation import MACHINE, noisy_pair
from typer.testing import CliRunner

from detkit import cli
from detkit.benchmark import Contestant, benchmark
from detkit.benchmark.choices import Choice, Goal, Measurement, Space
from detkit.benchmark.runner import INTERRUPTED
from detkit.benchmark.search import Search
from detkit.cli import measuring, models
from detkit.results import DetectionResult
from detkit.testing import FakeDetector

IMAGES = [np.zeros((2, 2, 3), np.uint8)] * 8


class Interrupting(Contestant):
    """Raises as Ctrl-C does in its `number`-th round."""

    def __init__(self, inner: Contestant, number: int) -> None:
        self._inner, self._left = inner, number

    def issue(self, query: int, images: Any) -> None:
        self._left -= query == 0
        if self._left == 0:
            raise KeyboardInterrupt
        self._inner.issue(query, images)

    def answers(self, until: float | None = None) -> Any:
        return self._inner.answers(until)


@pytest.mark.parametrize("number", [2, 5])
def test_whole_rounds_are_kept_where_asked(number: int) -> None:
    pair, tools = noisy_pair(0, 1.0)
    pair["b"] = Interrupting(pair["b"], number)
    run = benchmark(
        pair, IMAGES, warm_up=0, keep_on_interrupt=True, instruments=tools, machine=MACHINE
    )
    assert [len(entry.rounds) for entry in run] == [number - 1] * 2
    assert None not in run["a"].rounds and run.notes == (INTERRUPTED,)


@pytest.mark.parametrize(("number", "keep"), [(1, True), (5, False)])
def test_without_a_whole_round_or_unasked_it_is_raised(number: int, keep: bool) -> None:
    pair, tools = noisy_pair(0, 1.0)
    pair["b"] = Interrupting(pair["b"], number)
    with pytest.raises(KeyboardInterrupt):
        benchmark(pair, IMAGES, warm_up=0, keep_on_interrupt=keep, instruments=tools)


def interrupted_after(num_tries: int, *, keep: bool) -> Search:
    calls = itertools.count()

    def measure(choice: Choice, num_images: int) -> Measurement:
        if next(calls) == num_tries:
            raise KeyboardInterrupt
        return Measurement(num_images, num_images / (10 * choice.batch_size), 0.1)

    search = Search(Space((1, 2), (1, 2, 4)), Goal("throughput"), measure, lambda: 0.0, 10.0)
    search.run(keep_on_interrupt=keep)
    return search


@pytest.mark.parametrize("num_tries", [1, 3, 20])
def test_a_search_keeps_the_best_so_far_where_asked(num_tries: int) -> None:
    search = interrupted_after(num_tries, keep=True)
    best = search.best()
    assert search.was_interrupted and best is not None
    assert sum(len(p.tries) for p in search.points.values()) == num_tries
    assert best.images_per_s == max(p.images_per_s for p in search.points.values())


@pytest.mark.parametrize(("num_tries", "keep"), [(0, True), (3, False)])
def test_a_search_without_a_try_or_unasked_is_given_up(num_tries: int, keep: bool) -> None:
    with pytest.raises(KeyboardInterrupt):
        interrupted_after(num_tries, keep=keep)


@pytest.mark.parametrize(
    "command", [["bench", "--rounds", "200"], ["tune", "--seconds", "30", "--no-cache"]]
)
def test_the_command_shows_what_there_is_and_ends_with_130(
    command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = itertools.count()

    def work(images: list[Any]) -> list[DetectionResult]:
        if next(calls) == 200:
            _thread.interrupt_main()
        return [DetectionResult.empty()] * len(images)

    monkeypatch.setattr(measuring, "_NUM_RENDERED", 2)
    monkeypatch.setattr(models, "load", lambda model, device: made)
    made = FakeDetector()
    made.behaviour = work
    done = CliRunner().invoke(cli.app, command)
    assert done.exit_code == 130, done.output
    assert "interrupted" in done.output and "AsyncDetector" in done.output
    assert "Traceback" not in done.output
