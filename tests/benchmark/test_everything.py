"""The plan of all benchmarks: complete, continued where asked, and not ended by one failure."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from benchmark.simulation import MACHINE

from detkit.benchmark import BenchmarkRun, Entry, Offline, Round

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(
    not (ROOT / "benchmarks" / "everything.py").is_file(),
    reason="the benchmarks lie in the repository, not in the package",
)


@pytest.fixture
def everything(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT))
    return import_module("benchmarks.everything")


def test_every_script_has_a_step_and_the_report_is_last(everything: Any) -> None:
    steps = everything.plan(Path("model.pt"))
    named = {Path(part).stem for step in steps for part in step.command}
    named |= {part.rpartition(".")[2] for step in steps for part in step.command}
    scripts = {path.stem for path in (ROOT / "benchmarks").glob("*_benchmark.py")}
    assert scripts <= named
    assert steps[-1].name == "report"
    assert len({step.name for step in steps}) == len(steps)


def test_the_whole_plan_fits_into_forty_minutes(everything: Any) -> None:
    assert sum(step.seconds for step in everything.plan(Path("model.pt"))) <= 2400


def test_without_a_checkpoint_its_steps_are_left_out(everything: Any) -> None:
    names = [step.name for step in everything.plan(None)]
    assert "async" in names and "async-model" not in names and "runtime" not in names


def test_it_goes_on_where_asked(everything: Any) -> None:
    steps = everything.plan(None)
    names = [step.name for step in steps]
    assert [s.name for s in everything.chosen(steps, "tuner", None)] == names[
        names.index("tuner") :
    ]
    assert [s.name for s in everything.chosen(steps, None, "report,async")] == ["async", "report"]
    with pytest.raises(ValueError, match="no step 'asink'; the steps are engine, async"):
        everything.chosen(steps, "asink", None)


def test_one_that_fails_costs_the_others_nothing(
    everything: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def step(name: str, code: int) -> Any:
        return everything.Step(name, ("-c", f"import sys; sys.exit({code})"), 1.0)

    monkeypatch.setattr(everything, "plan", lambda model, video: [step("bad", 3), step("good", 0)])
    assert everything.main([]) == 1
    said = capsys.readouterr().out
    assert "failed (3)" in said and "ok" in said and "2/2 good, 0:0" in said
    assert everything.main(["--only", "good"]) == 0


def test_a_trial_run_leaves_the_results_alone(everything: Any, tmp_path: Path) -> None:
    told = tmp_path / "told"
    code = f"import os; open({str(told)!r}, 'w').write(os.environ['DETKIT_BENCHMARK_RESULTS'])"
    everything.run([everything.Step("one", ("-c", code), 1.0)], "tiny")
    assert Path(told.read_text()) != ROOT / "benchmarks" / "results"


def test_two_runs_that_agree_are_counted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    repeatability = import_module("benchmarks.repeatability")
    contestants = ("loop", "AsyncDetector")

    def run(*costs: float) -> BenchmarkRun:
        entries = [
            Entry(n, tuple(Round(c * (1 + k / 100), 1) for k in range(8)))
            for n, c in zip(contestants, costs, strict=True)
        ]
        return BenchmarkRun(Offline(), MACHINE, tuple(entries), 1)

    pairs = [(run(1.0, 1.1), run(1.0, 1.1)), (run(1.0, 1.1), run(1.0, 2.2))]
    facts = repeatability.judged(pairs)
    assert [facts["contestants"][name]["agreed"] for name in contestants] == [2, 1]
    assert facts["speedup_over_loop"]["agreed"] == 1
    (tmp_path / "repeatability.json").write_text(json.dumps({"rounds": 8, **facts}))
    assert "2 (loop), 1 (AsyncDetector), 1 (speed-up" in repeatability.page(tmp_path)
    assert repeatability.page(tmp_path / "empty") == ""
