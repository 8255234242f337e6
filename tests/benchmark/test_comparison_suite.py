"""The comparison: outputs are held against each other, who is missing is passed over, and the
generated page is what the results say."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmark.simulation import MACHINE

from detkit.benchmark import BenchmarkRun, Entry, Offline, Round

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(
    not (ROOT / "benchmarks" / "__main__.py").is_file(),
    reason="the comparison lies in the repository, not in the package",
)


@pytest.fixture(autouse=True)
def root_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))


def module(name: str) -> Any:
    return import_module(f"benchmarks.{name}")


def test_every_registered_file_keeps_the_contract() -> None:
    contestants = module("contestants")
    titles = []
    for name in contestants.REGISTRY:
        file = contestants.load(name)
        known = {*contestants.SCENARIOS, *contestants.VIDEO_SCENARIOS}
        assert set(file.WAYS) <= known and file.WAYS
        assert isinstance(file.PACKAGES, tuple)
        titles.append(file.TITLE)
    assert len(set(titles)) == len(titles)
    files = {p.stem for p in (ROOT / "benchmarks" / "contestants").glob("*.py")}
    assert files - {"__init__", "contract"} == set(contestants.REGISTRY)


def test_detkit_takes_part_everywhere() -> None:
    contestants = module("contestants")
    for scenario in contestants.SCENARIOS:
        assert "detkit_auto" in contestants.contestants_of(scenario)


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    contestants = module("contestants")
    monkeypatch.setattr(contestants.load("naive_pool"), "PACKAGES", ("no-such-package", "numpy"))
    assert contestants.missing_packages("naive_pool") == ["no-such-package"]


def test_outputs_must_agree() -> None:
    suite, contract = module("suite"), module("contestants.contract")
    box = np.array([[0, 0, 100, 100]], np.float32)
    here = contract.Found(box, np.array([1]))
    shifted = contract.Found(box + np.float32(20), np.array([1]))
    other_class = contract.Found(box, np.array([2]))
    assert suite.agreement_of([here], [here]).f1 == 1.0
    assert suite.agreement_of([shifted], [here]).f1 == 0.0
    assert suite.agreement_of([other_class], [here]).f1 == 0.0
    assert suite.agreement_of([here, here], [here]) is None


class FakeRemote:
    """Stands for a contestant in another process."""

    opened: tuple[str, ...] = ()

    def __init__(self, name: str, scenario: str, setup: Any) -> None:
        if name == "ultralytics_stream":
            raise module("processes").ContestantError("it crashed")
        self.name = name

    def __enter__(self) -> FakeRemote:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def outputs(self) -> list[Any]:
        shift = 50 if self.name == "detkit_fp32" else 0
        boxes = np.array([[0, 0, 100, 100]], np.float32) + np.float32(shift)
        return [module("contestants.contract").Found(boxes, np.array([0]))]

    def play(self, seed: int) -> Round:
        return Round(0.1, 1)


def test_who_is_missing_crashes_or_disagrees_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    suite, contract = module("suite"), module("contestants.contract")
    monkeypatch.setattr(suite, "RemoteContestant", FakeRemote)
    absent = {"ultralytics_folder": ["ultralytics"]}
    monkeypatch.setattr(suite, "missing_packages", lambda name: absent.get(name, []))
    setup = contract.Setup(tmp_path, tmp_path, tmp_path, tmp_path, 2, tmp_path)
    size = suite.Size(1, suite.Turns(rounds=2))
    said: list[str] = []
    run = suite.compare_contestants("folder", setup, size, said.append)
    assert run.names == ["ultralytics, loop", "detkit, as it comes"]
    told = " / ".join(run.notes)
    assert "one call passed over: ultralytics is not installed" in told
    assert "stream passed over: it crashed" in told
    assert "float32 not timed: it disagrees" in told
    assert len(said) == 5


def test_the_page_says_what_the_results_say(tmp_path: Path) -> None:
    report = module("report")
    results = tmp_path / "results"
    played = (Round(0.1, 10, cpu_s=0.1),) * 8
    entries = (Entry("ours", played), Entry("theirs", (Round(0.2, 10, cpu_s=0.2),) * 8))
    run = BenchmarkRun(Offline(), MACHINE, entries, 10, "2026-01-02", "r", ("a | note",))
    run.save(results / "comparison_arrays.json")
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    files = report.generated_files(results, readme)
    assert {p.name for p in files} == {"RESULTS.md", "comparison_arrays.svg", "README.md"}
    page = files[tmp_path / "RESULTS.md"]
    assert "| theirs | 50.0 [50.0, 50.0] |" in page and "0.50x" in page and "a | note" in page
    assert "p95" not in page
    text = files[readme]
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert len(report.out_of_date(files)) == 3
    for path, content in files.items():
        path.write_text(content, encoding="utf-8")
    assert report.out_of_date(report.generated_files(results, readme)) == []


def test_the_page_answers_what_was_asked_of_the_preview(tmp_path: Path) -> None:
    section = module("preview_section").preview_section
    assert section(tmp_path) == ""
    rates = {
        "detected_per_s_without_panel": 140.0,
        "displayed_per_s": 15.6,
        "cost_visible": 0.21,
        "cost_hidden": -0.01,
        "core_ms_per_picture": {"kernel": 5.0, "browser": 30.0},
    }
    slider = {f"{k}_{v}_ms": 90 for k in ("paused", "playing") for v in ("median", "worst")}
    growth = {f"{name}_growth_mb": 0.5 for name in ("kernel", "page_heap", "browser")}
    soak = {"date": "2026-01-02", "minutes": 10.0, "num_displayed": 9000, "saved_notebook_mb": 2.5}
    facts = {"in_chromium": rates, "slider": slider, "soak": {**soak, **growth}}
    (tmp_path / "panel_benchmark.json").write_text(json.dumps(facts))
    rows = [line for line in section(tmp_path).splitlines() if line.startswith("| a")]
    answers = [row.rstrip(" |").rpartition("| ")[2] for row in rows[1:]]
    assert "kernel 5.0, browser 30.0" in section(tmp_path)
    assert answers[:3] == ["kept", "not kept here", "kept"]
    assert answers[-1] == "not kept here" and "2.50 MB" in rows[-1]


def test_the_committed_page_is_up_to_date() -> None:
    report = module("report")
    files = report.generated_files(report.ROOT / "results", report.README)
    # Outlines of letters differ between versions of matplotlib; words and numbers do not.
    texts = {path: text for path, text in files.items() if path.suffix == ".md"}
    assert report.out_of_date(texts) == [], "run python -m benchmarks.report"
