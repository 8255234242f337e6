from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from widgets.fake_front import Front

from detkit import AsyncDetector
from detkit.errors import ModelLoadError
from detkit.testing import FakeDetector, numbered_image
from detkit.widgets import BenchmarkPanel
from detkit.widgets.trials import WAYS

IMAGES = [numbered_image(n) for n in range(6)]


@pytest.fixture
def fake() -> FakeDetector:
    return FakeDetector()


@pytest.fixture
def detector(fake: FakeDetector) -> Iterator[AsyncDetector]:
    with AsyncDetector(fake, max_workers=1, default_batch_size=4) as detector:
        yield detector


def made(detector: AsyncDetector | FakeDetector) -> BenchmarkPanel:
    return BenchmarkPanel(detector, IMAGES, seconds_per_run=0.0)


def test_run_returns_at_once_and_adds_a_row(
    front: Front, fake: FakeDetector, detector: AsyncDetector
) -> None:
    fake.gates.at("in_detector").close()
    with made(detector) as panel:
        front.click(panel.parts.run_button)  # returns, although the detector stands still
        assert panel.is_running
        assert panel.parts.run_button.disabled and not panel.parts.stop_button.disabled
        fake.gates.open_all()
        assert panel.wait(20)
        assert len(panel.runs) == 1
        assert panel.runs["verdict"].tolist() == ["best"]
        assert "detkit-bar" in panel.parts.chart.value
        assert "★ best" in panel.parts.table.value
        assert panel.parts.progress.description == "Done"
        assert not panel.parts.run_button.disabled and panel.parts.stop_button.disabled


def test_a_second_measurement_counts_from_nought(front: Front, detector: AsyncDetector) -> None:
    with made(detector) as panel:
        assert panel.parts.export_button.disabled, "there is nothing to export yet"
        said: list[str] = []
        for _ in range(2):
            front.click(panel.parts.run_button)
            assert panel.wait(20)
        panel.parts.progress.observe(lambda change: said.append(change["new"]), "description")
        panel._drawn_at = float("-inf")
        front.click(panel.parts.run_button)
        assert panel.wait(20)
        assert said[-1] == "Done" and set(said) <= {"0 of 1", "Done"}
        assert not panel.parts.export_button.disabled


@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_calling_measures_every_image(
    front: Front, fake: FakeDetector, detector: AsyncDetector, way: str
) -> None:
    with made(detector) as panel:
        front.set(panel.parts.way, index=WAYS.index(way))  # type: ignore[arg-type]
        front.click(panel.parts.run_button)
        assert panel.wait(20)
        assert panel.error_text == ""
        row = panel.runs.iloc[0]
        assert row["way"] == way
        assert row["num_images"] == 18
        assert row["latency_p50_ms"] > 0
        assert set(fake.seen.values()) == {4}  # a round to warm up, and three


def test_the_knobs_are_set_for_the_run_and_put_back(
    front: Front, fake: FakeDetector, detector: AsyncDetector
) -> None:
    with made(detector) as panel:
        front.set(panel.parts.workers, value=2)
        front.set(panel.parts.batch_size, value=3)
        front.click(panel.parts.run_button)
        assert panel.wait(20)
        assert max(fake.batch_sizes) == 3
        assert (detector.max_workers, detector.default_batch_size) == (1, 4)


def test_apply_turns_the_live_detector(front: Front, detector: AsyncDetector) -> None:
    with made(detector) as panel:
        front.set(panel.parts.workers, value=2)
        front.set(panel.parts.batch_size, value=7)
        front.set(panel.parts.delay, value=3.0)
        front.click(panel.parts.apply_button)
        assert (detector.max_workers, detector.default_batch_size) == (2, 7)
        assert detector.batch_timeout_s == pytest.approx(0.003)
        assert "2 workers" in panel.status_text


def test_two_panels_never_measure_one_detector_at_once(
    front: Front, fake: FakeDetector, detector: AsyncDetector
) -> None:
    fake.gates.at("in_detector").close()
    with made(detector) as first, made(detector) as second:
        front.set(first.parts.workers, value=2)
        front.click(first.parts.run_button)
        fake.gates.at("in_detector").wait_for_arrivals()
        front.click(second.parts.apply_button)
        assert "this detector is being measured" in second.error_text
        front.click(second.parts.run_button)
        assert second.wait(20)
        assert "this detector is being measured" in second.error_text
        fake.gates.open_all()
        assert first.wait(20)
        assert len(first.runs) == 1 and detector.max_workers == 1
        front.click(second.parts.run_button)
        assert second.wait(20)
        assert second.error_text == "" and len(second.runs) == 1


def test_nothing_is_applied_to_a_detector_that_was_shut_down(
    front: Front, detector: AsyncDetector
) -> None:
    with made(detector) as panel:
        detector.shutdown()
        front.click(panel.parts.apply_button)
        assert "DetectorClosed" in panel.error_text
        assert "The detector now has" not in panel.status_text


def test_sweep_measures_the_grid(front: Front, detector: AsyncDetector) -> None:
    with made(detector) as panel:
        front.set(panel.parts.workers, value=2)
        front.set(panel.parts.batch_size, value=4)
        front.click(panel.parts.sweep_button)
        assert panel.wait(30)
        pairs = panel.runs[["max_workers", "batch_size"]].to_numpy().tolist()
        assert pairs == [[1, 1], [1, 4], [2, 1], [2, 4]]
        assert panel.runs["verdict"].tolist().count("best") == 1
        assert "Best of 4" in panel.status_text


def test_stop_ends_a_run_inside_the_detector(
    front: Front, fake: FakeDetector, detector: AsyncDetector
) -> None:
    fake.gates.at("in_detector").close()
    with made(detector) as panel:
        front.click(panel.parts.sweep_button)
        fake.gates.at("in_detector").wait_for_arrivals()
        front.click(panel.parts.stop_button)
        assert panel.wait(10)
        assert panel.parts.progress.description == "Stopped"
        assert len(panel.runs) == 0
        assert (detector.max_workers, detector.default_batch_size) == (1, 4)
        fake.gates.open_all()


def test_an_error_of_the_detector_is_shown_escaped(front: Front) -> None:
    def broken(images: object) -> object:
        raise ValueError("<script>broken</script>")

    with AsyncDetector(FakeDetector(behaviour=broken)) as detector, made(detector) as panel:
        front.click(panel.parts.run_button)
        assert panel.wait(20)
        assert "broken" in panel.error_text and "<script>" not in panel.error_text
        assert panel.parts.progress.description == "Failed"
        assert not panel.parts.run_button.disabled


def test_some_failing_images_are_counted(front: Front) -> None:
    with AsyncDetector(FakeDetector(fail_on={2})) as detector, made(detector) as panel:
        front.click(panel.parts.run_button)
        assert panel.wait(20)
        assert panel.runs.loc[0, "num_failed"] == 3


def test_a_detector_that_was_shut_down_is_an_error_in_the_panel(front: Front) -> None:
    detector = AsyncDetector(FakeDetector())
    with made(detector) as panel:
        detector.shutdown()
        front.click(panel.parts.run_button)
        assert panel.wait(20)
        assert "DetectorClosed" in panel.error_text


def test_a_second_run_at_once_is_refused_in_words(
    front: Front, fake: FakeDetector, detector: AsyncDetector
) -> None:
    fake.gates.at("in_detector").close()
    with made(detector) as panel:
        front.click(panel.parts.run_button)
        front.click(panel.parts.sweep_button)
        assert "under way" in panel.error_text
        front.click(panel.parts.apply_button)
        assert "stop the measurement first" in panel.error_text
        fake.gates.open_all()
        assert panel.wait(20)


def test_closing_the_panel_ends_the_measurement(
    front: Front, fake: FakeDetector, detector: AsyncDetector
) -> None:
    fake.gates.at("in_detector").close()
    panel = made(detector)
    front.click(panel.parts.run_button)
    fake.gates.at("in_detector").wait_for_arrivals()
    panel.close()
    panel.close()
    assert not panel.is_running
    fake.gates.open_all()
    assert panel.widget.model_id in front.closed if panel.widget.comm else True


def test_export_writes_the_table_and_code(
    front: Front, detector: AsyncDetector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with made(detector) as panel:
        front.click(panel.parts.export_button)
        assert "no run to export" in panel.error_text
        front.click(panel.parts.run_button)
        assert panel.wait(20)
        front.click(panel.parts.export_button)
        lines = (tmp_path / "benchmark.csv").read_text().splitlines()
        assert len(lines) == 2 and lines[0].startswith("way,max_workers,batch_size")
        assert "await measure" in panel.parts.code.value


def test_the_saved_output_holds_chart_and_table(front: Front, detector: AsyncDetector) -> None:
    with made(detector) as panel:
        panel.run()
        assert panel.wait(20)
        html = panel._repr_mimebundle_()["text/html"]
        assert "<svg" in html and "<table" in html


def test_a_bare_detector_is_wrapped_and_closed_with_the_panel(front: Front) -> None:
    panel = made(FakeDetector())
    panel.close()
    assert panel.detector.get_stats()["shutdown"]


def test_no_images_no_panel(front: Front, detector: AsyncDetector) -> None:
    with pytest.raises(ValueError, match="no images"):
        BenchmarkPanel(detector, [])


def test_only_the_screen_and_callbacks_touch_widgets(front: Front, detector: AsyncDetector) -> None:
    with made(detector) as panel:
        front.click(panel.parts.run_button)
        assert panel.wait(20)
    assert front.threads <= {"detkit-screen", threading.current_thread().name}


class Reloadable(FakeDetector):
    """A detector that can be loaded in another way."""

    runtimes = ("fast", "slow")

    def __init__(self, **options: object) -> None:
        super().__init__()
        self.options = options
        self.copies: list[Reloadable] = []

    def reload(self, **changes: object) -> Reloadable:
        if changes.get("runtime") == "slow":
            raise ModelLoadError("<b>slow</b> is not installed")
        self.copies.append(Reloadable(**changes))
        return self.copies[-1]


def test_a_run_with_another_runtime_measures_a_copy(front: Front) -> None:
    original = Reloadable()
    with AsyncDetector(original, max_workers=1) as detector, made(detector) as panel:
        assert panel.parts.runtime.options == (
            ("as loaded", ""),
            ("fast", "fast"),
            ("slow", "slow"),
        )
        front.set(panel.parts.runtime, index=1)
        front.set(panel.parts.image_size, index=1)
        front.set(panel.parts.num_threads, index=1)
        front.click(panel.parts.run_button)
        assert panel.wait(20)
        front.click(panel.parts.run_button)
        assert panel.wait(20)
        assert panel.error_text == ""
        (copy,) = original.copies  # loaded once for both runs
        assert copy.options == {"runtime": "fast", "image_size": 320, "num_threads": 1}
        assert sum(original.batch_sizes) == 0 and sum(copy.batch_sizes) == 2 * 4 * len(IMAGES)
        assert panel.runs["runtime"].tolist() == ["fast", "fast"]
        assert "fast 320 px 1 thread" in panel.parts.table.value
        front.click(panel.parts.apply_button)
        assert "cannot be changed later" in panel.status_text


def test_what_cannot_be_loaded_is_an_error_in_the_panel(front: Front) -> None:
    with AsyncDetector(Reloadable()) as detector, made(detector) as panel:
        front.set(panel.parts.runtime, index=2)
        front.click(panel.parts.run_button)
        assert panel.wait(20)
        assert "slow" in panel.error_text and "<b>" not in panel.error_text
        front.set(panel.parts.runtime, index=0)
        front.click(panel.parts.run_button)
        assert panel.wait(20)
        assert panel.error_text == "" and len(panel.runs) == 1


def test_a_detector_without_reload_is_measured_as_it_is(
    front: Front, detector: AsyncDetector
) -> None:
    with made(detector) as panel:
        assert panel.parts._loading.layout.display == "none"
        panel.parts.image_size.value = 320
        panel.run()
        assert panel.wait(20)
        assert "no reload method" in panel.error_text


def test_closing_lets_go_of_the_copy(front: Front) -> None:
    original = Reloadable()
    with AsyncDetector(original) as detector:
        panel = made(detector)
        panel.parts.image_size.value = 320
        panel.run()
        assert panel.wait(20)
        copy = panel._variants._copy
        assert copy is not None
        panel.close()
        assert copy.get_stats()["shutdown"] and not detector.get_stats()["shutdown"]


def test_the_chart_lives_while_a_run_goes_on(
    front: Front, fake: FakeDetector, detector: AsyncDetector
) -> None:
    with BenchmarkPanel(detector, IMAGES, seconds_per_run=1e9) as panel:
        panel.run()
        front.wait_for(lambda: "detkit-running" in panel.parts.chart.value)
        assert "round" in panel.status_text
        panel.stop()
        assert panel.wait(20)
        assert "No run yet" in panel.parts.chart.value
