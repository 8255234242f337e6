"""Tables hold a whole run and give it back; plots show what was measured and nothing else."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from benchmark.simulation import MACHINE, noisy_pair
from matplotlib.figure import Figure

from detkit.benchmark import (
    BenchmarkFileError,
    BenchmarkRun,
    Entry,
    Interval,
    Offline,
    Round,
    SingleStream,
    TunePoint,
    TuneReport,
    benchmark,
)
from detkit.benchmark.choices import Choice
from detkit.notebook.benchmark_plots import frontier
from detkit.notebook.benchmark_report import (
    plot_comparison,
    plot_frontier,
    plot_scaling,
    plot_stages,
    run_from_dataframe,
    run_to_dataframe,
    summarize_run,
    tuning_to_dataframe,
)

IMAGES = [np.zeros((2, 2, 3), np.uint8)] * 8
STAGES = {"decode": 0.01, "inference": 0.08, "other": 0.01}
PLAYED = Round(0.1, 8, 0, (0.01,) * 8, 0.2, 10**8, STAGES, 0)
GONE = Entry("gone $x$", (None, None), error="ImportError: not installed")
RUN = BenchmarkRun(
    SingleStream(), MACHINE, (Entry("good", (PLAYED, PLAYED)), GONE), 8, "2026-01-01", "r", ("n",)
)


def noisy_run() -> BenchmarkRun:
    contestants, tools = noisy_pair(3, 1.1)
    return benchmark(contestants, IMAGES, instruments=tools, machine=MACHINE)


def report(points: tuple[TunePoint, ...], best: Choice) -> TuneReport:
    return TuneReport("throughput", best, points, "advice", True, None, None, 9.0, MACHINE, "m")


def grid(variant: tuple[tuple[str, Any], ...] = ()) -> tuple[TunePoint, ...]:
    return tuple(
        TunePoint(
            Choice(w, b, variant),
            Interval(10.0 * w * b**0.5, 9.0 * w * b**0.5, 11.0 * w * b**0.5),
            b**0.5 / 10,
            5,
        )
        for w in (1, 2)
        for b in (1, 4)
    )


def texts(figure: Figure) -> list[str]:
    inside = [t.get_text() for axes in figure.axes for t in axes.texts]
    return [*(t.get_text() for t in figure.texts), *inside]


@pytest.mark.parametrize("run", [RUN, noisy_run()])
def test_a_run_survives_the_table(run: BenchmarkRun) -> None:
    table = run_to_dataframe(run)
    assert len(table) == sum(r is not None for entry in run for r in entry.rounds)
    assert run_from_dataframe(table).as_json() == run.as_json()


def test_a_table_without_its_attributes_is_refused() -> None:
    table = pd.DataFrame(run_to_dataframe(RUN).to_dict("list"))
    with pytest.raises(BenchmarkFileError, match="lost its attributes"):
        run_from_dataframe(table)


def test_the_summary_has_every_contestant() -> None:
    table = summarize_run(RUN)
    assert table.index.tolist() == ["good", "gone $x$"]
    assert table.loc["good", "images_per_s"] == pytest.approx(80)
    assert table.loc["good", "inference_ms"] == pytest.approx(10)
    assert math.isnan(float(table.loc["gone $x$", "images_per_s"]))
    assert "ImportError" in str(table.loc["gone $x$", "error"])


def test_a_tuning_report_as_a_table() -> None:
    table = tuning_to_dataframe(report(grid((("threads", 2),)), Choice(1, 1, (("threads", 2),))))
    assert table["threads"].tolist() == [2] * 4
    assert table["latency_ms"].tolist() == pytest.approx([100, 200, 100, 200])


def test_the_comparison_shows_every_contestant_with_numbers() -> None:
    run = noisy_run()
    said = texts(plot_comparison(run))
    assert {"a", "b", "baseline"} <= set(said)
    assert any("slower" in text for text in said)
    rates = [f"{entry.images_per_s().value:.1f}" for entry in run]
    assert set(rates) <= set(said)
    assert "gone $x$" not in texts(plot_comparison(RUN))


def test_bars_are_as_long_as_the_numbers() -> None:
    run = noisy_run()
    bars = [p.get_width() for p in plot_comparison(run).axes[0].patches]
    assert bars == pytest.approx([entry.images_per_s().value for entry in run])
    stages = [p.get_width() for p in plot_stages(RUN).axes[0].patches]
    assert stages == pytest.approx([1.25, 10.0, 1.25])


def test_stages_have_a_legend() -> None:
    assert {"decode", "inference", "other"} <= set(texts(plot_stages(RUN)))
    assert "queue" not in texts(plot_stages(RUN))


def test_the_frontier_holds_what_nothing_beats() -> None:
    points = grid()
    kept = frontier(points)
    for point in points:
        beaten = any(
            other.images_per_s.value > point.images_per_s.value
            and other.latency_s <= point.latency_s
            for other in points
        )
        assert (point in kept) == (not beaten)
    rates = [p.images_per_s.value for p in kept]
    assert rates == sorted(rates)


def test_figures_are_shown_as_png_and_belong_to_nobody() -> None:
    import matplotlib.pyplot as plt

    made = report(grid(), Choice(2, 4))
    for figure in (plot_frontier(made), plot_scaling(made), plot_stages(RUN), plot_comparison(RUN)):
        shown = figure._repr_png_()
        assert shown is not None
        assert shown[0].startswith(b"\x89PNG")
        assert figure._repr_jpeg_() is None
    assert plt.get_fignums() == []


def test_one_point_and_one_round_can_be_drawn() -> None:
    lone = (TunePoint(Choice(1, 1), Interval(5.0, math.nan, math.nan), 0.2, 1),)
    made = report(lone, Choice(1, 1))
    assert plot_frontier(made)._repr_png_() and plot_scaling(made)._repr_png_()
    single = BenchmarkRun(Offline(), MACHINE, (Entry("x", (PLAYED,)),), 8)
    assert plot_comparison(single)._repr_png_()


def test_nothing_to_draw_is_said() -> None:
    empty = BenchmarkRun(Offline(), MACHINE, (GONE,), 8)
    with pytest.raises(ValueError, match="numbers"):
        plot_comparison(empty)
    with pytest.raises(ValueError, match="where the time went"):
        plot_stages(empty)
    broken = (TunePoint(Choice(1, 1), Interval(0.0, math.nan, math.nan), math.inf, 1),)
    with pytest.raises(ValueError, match="no setting"):
        plot_frontier(report(broken, Choice(1, 1)))
