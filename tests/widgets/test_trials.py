from __future__ import annotations

import ast
import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from detkit.testing import FakeDetector, numbered_image
from detkit.widgets.charts import chart_svg, table_html
from detkit.widgets.trials import (
    Round,
    Trial,
    TrialRun,
    code_for,
    runs_dataframe,
    summarize_rounds,
    sweep,
    verdicts,
)


def run(rate: float, noise: float = 1.0, **settings: int) -> TrialRun:
    return TrialRun(Trial("batch", **settings), 3, 30, 0, rate, noise, 5.0, 9.0)


def test_rounds_become_a_median_with_its_noise() -> None:
    rounds = [Round(10, 0, elapsed, (0.1,) * 10) for elapsed in (1.0, 0.5, 2.0)]
    summary = summarize_rounds(Trial(), rounds)
    assert summary.images_per_s == 10
    assert summary.noise_per_s == pytest.approx(1.4826 * 5)
    assert summary.num_images == 30
    assert summary.latency_p50_ms == pytest.approx(100)


def test_one_disturbed_round_does_not_drown_a_difference() -> None:
    steady = [Round(10, 0, elapsed, ()) for elapsed in (0.1, 0.101, 0.099, 0.102, 1.0)]
    summary = summarize_rounds(Trial(), steady)
    assert summary.images_per_s == pytest.approx(99, rel=0.01)
    assert summary.noise_per_s < 5


def test_rounds_that_agree_still_have_some_noise() -> None:
    summary = summarize_rounds(Trial(), [Round(10, 0, 1.0, ())] * 3)
    assert summary.noise_per_s == pytest.approx(0.3)


def test_failed_images_count_as_no_throughput() -> None:
    summary = summarize_rounds(Trial(), [Round(10, 4, 1.0, (0.1,) * 6)] * 3)
    assert summary.images_per_s == 6
    assert summary.num_failed == 12


def test_no_rounds_no_run() -> None:
    with pytest.raises(ValueError, match="at least one round"):
        summarize_rounds(Trial(), [])


def test_a_difference_within_noise_is_none() -> None:
    assert verdicts([run(10), run(20), run(18.5), run(17.9)]) == [
        "",
        "best",
        "as good as the best",
        "",
    ]
    assert verdicts([]) == []


def test_sweeps_double_and_end_at_the_sliders() -> None:
    trials = sweep(Trial("stream", batch_timeout_ms=2.0), 3, 6)
    assert [(t.max_workers, t.batch_size) for t in trials] == [
        (w, b) for w in (1, 2, 3) for b in (1, 4, 6)
    ]
    assert {t.way for t in trials} == {"stream"}
    assert len(sweep(Trial(), 1, 1)) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"way": "magic"},
        {"max_workers": 0},
        {"batch_size": 0},
        {"batch_timeout_ms": -1},
        {"image_size": -1},
        {"num_threads": -1},
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        Trial(**wrong)  # type: ignore[arg-type]


def test_the_table_has_one_row_per_run() -> None:
    table = runs_dataframe([run(10), run(20, max_workers=2)])
    assert table["verdict"].tolist() == ["", "best"]
    assert table["max_workers"].tolist() == [1, 2]
    assert list(runs_dataframe([]).columns) == list(table.columns)


def test_code_names_the_settings() -> None:
    code = code_for(Trial("stream", 3, 8, 2.0))
    assert "max_workers=3" in code and "batch_size=8" in code


def test_code_runs_as_a_cell() -> None:
    trial = Trial("stream", 2, 3, 2.0)
    cell = compile(code_for(trial), "cell", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    names: dict[str, Any] = {
        "detector": FakeDetector(),
        "images": [numbered_image(n) for n in range(5)],
    }
    # On a thread of its own: a browser test before this one leaves its event loop running here.
    with ThreadPoolExecutor(1) as elsewhere:
        elsewhere.submit(asyncio.run, eval(cell, names)).result()
    assert names["run"].trial == trial and names["run"].num_images >= 15


def test_the_chart_has_a_bar_per_run_and_speaks() -> None:
    svg = chart_svg([run(10), run(20)])
    assert svg.count('class="detkit-bar"') == 2
    assert 'role="img"' in svg and "2 runs; best: batch, 1 worker, batch 1 with 20.0" in svg
    assert chart_svg([run(float(n)) for n in range(1, 40)]).count("detkit-bar") == 16
    assert "No run yet" in chart_svg([])


def test_the_table_marks_the_best_in_words() -> None:
    html = table_html([run(10), run(20)])
    assert html.count("<tr") == 3
    assert html.count("★ best") == 1
    assert table_html([]) == ""


def test_what_is_loaded_otherwise_is_said_and_repeated() -> None:
    trial = Trial("loop", runtime="openvino", precision="fp32", image_size=320, num_threads=1)
    assert str(trial) == "loop, 1 worker, batch 1, openvino fp32 320 px 1 thread"
    assert sweep(trial, 2, 1)[1].load_options == trial.load_options
    code = code_for(trial)
    compile(code, "cell", "exec", flags=0x2000)
    assert "detector.reload(\n    runtime='openvino'" in code
    assert "reload" not in code_for(Trial())
    slow = TrialRun(trial, 3, 30, 0, 10.0, 1.0, 5.0, 9.0)
    assert "openvino fp32 320 px 1 thread" in table_html([slow])


def test_a_run_that_is_being_measured_is_in_the_chart() -> None:
    svg = chart_svg([run(10)], run(30))
    assert svg.count('class="detkit-bar"') == 2 and svg.count("detkit-running") == 1
    assert "1 run; best" in svg
    assert chart_svg([], run(30)).count('class="detkit-bar"') == 1
