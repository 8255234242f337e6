"""One number of CPU threads: counted, divided, passed on, and changed while work is running."""

from __future__ import annotations

import threading

import cv2
import numpy as np
import pytest

from detkit import AsyncDetector
from detkit.detection import YOLOv8Detector, threads
from detkit.detection.opencv_threads import opencv_threads
from detkit.detection.preprocess import fill_letterbox
from detkit.detection.threads import CROWD_MEMORY_S, ThreadLayout, ThreadPlan, divide_threads
from detkit.testing import FakeDetector


@pytest.fixture(autouse=True)
def opencv_as_it_was():
    before = cv2.getNumThreads()
    yield
    cv2.setNumThreads(before)


@pytest.mark.parametrize(
    "num_threads, num_workers, num_calls, each",
    [(1, 1, 1, 1), (2, 4, 2, 1), (8, 1, 1, 8), (8, 3, 3, 2), (16, 4, 4, 4), (1, 9, 1, 1)],
)
def test_dividing(num_threads, num_workers, num_calls, each):
    layout = divide_threads(num_threads, num_workers)
    assert layout == (num_calls, num_threads)
    assert layout.threads_per_call == each
    assert layout.num_calls * layout.threads_per_call <= num_threads


@pytest.mark.parametrize(
    "files, cores",
    [
        ({}, 8),
        ({"cpu.max": "max 100000"}, 8),
        ({"cpu.max": "250000 100000"}, 3),
        ({"cpu.max": "5000 100000"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 8),
        ({"cpu/cpu.cfs_quota_us": "200000", "cpu/cpu.cfs_period_us": "100000"}, 2),
        ({"cpu.max": "nonsense"}, 8),
    ],
)
def test_cores_follow_affinity_and_quota(tmp_path, monkeypatch, files, cores):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(threads, "_CGROUP", tmp_path)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert threads.usable_cores() == cores


LONE, SHARED = ThreadLayout(1, 4), ThreadLayout(2, 4)


def test_a_lone_call_has_all_threads_and_calls_that_overlap_divide_them():
    plan = ThreadPlan(4)
    plan.share(4, 2)
    assert plan.enter(0.0) == LONE
    assert plan.enter(0.01) == SHARED
    plan.leave(0.02)
    plan.leave(0.03)
    assert plan.enter(0.04) == SHARED  # between two images of a batch
    plan.leave(0.05)
    assert plan.enter(0.03 + 2 * CROWD_MEMORY_S) == LONE


def test_one_worker_does_not_take_from_another_engine_what_that_shares():
    plan = ThreadPlan(4)
    plan.share(4, 2)
    plan.share(4, 1)
    assert plan.layouts() == {LONE, SHARED}
    plan.share(2, 8)
    assert plan.layouts() == {(1, 2), (2, 2)}


def load(path, runtime, precision="fp32", **options) -> YOLOv8Detector:
    detector = YOLOv8Detector()
    detector.load_model(
        path, runtime=runtime, precision=precision, confidence_threshold=0.3, **options
    )
    return detector


RUNTIMES = [("tiny_onnx", "openvino"), ("tiny_onnx", "onnxruntime"), ("tiny_pt", "ultralytics")]


@pytest.mark.parametrize("name, runtime", RUNTIMES)
def test_knobs_of_a_real_detector_change_while_it_works(request, noise, name, runtime):
    detector = load(request.getfixturevalue(name), runtime)
    expected = detector.detect(noise)
    with AsyncDetector(detector, max_workers=1, default_batch_size=2) as engine:
        for max_workers in (4, 1, 3, 2):
            futures = [engine.submit(noise) for _ in range(12)]
            engine.max_workers = max_workers
            assert all(future.result(60) == expected for future in futures)
            stats = engine.get_stats()
            assert stats["threads_per_worker"] == max(1, stats["num_threads"] // max_workers)


# "auto" is bfloat16 where the processor has it.
@pytest.mark.parametrize(
    "name, runtime, precision",
    [*((*given, "fp32") for given in RUNTIMES), ("tiny_onnx", "openvino", "auto")],
)
def test_the_same_image_gives_the_same_result_in_every_layout(
    request, noise, name, runtime, precision
):
    detector = load(request.getfixturevalue(name), runtime, precision)
    expected = detector.detect(noise)
    other = np.ascontiguousarray(noise[:, ::-1])
    for num_threads, num_workers in ((1, 1), (2, 2), (2, 5)):
        detector.share_threads(num_threads, num_workers)
        copies = [detector, detector.replicate(), detector.replicate()]
        start = threading.Barrier(len(copies))
        wrong: list[object] = []

        def work(copy, start=start, wrong=wrong):
            start.wait()
            for _ in range(6):
                copy.detect(other)
                found = copy.detect_batch([other, noise])[1]
                wrong.extend([found] if found != expected else [])

        crew = [threading.Thread(target=work, args=(copy,)) for copy in copies]
        for thread in crew:
            thread.start()
        for thread in crew:
            thread.join()
        assert wrong == []


def test_the_library_is_told(tiny_onnx, noise):
    detector = load(tiny_onnx, "openvino", num_threads=1)
    detector.detect(noise)
    for compiled in detector._loaded.runtime._networks._compiled.values():
        assert compiled.get_property("INFERENCE_NUM_THREADS") == 1
    with AsyncDetector(detector, max_workers=3) as engine:
        assert engine.get_stats()["num_threads"] == 1


def test_opencv_is_told_while_it_works_for_us_and_is_as_the_user_left_it(
    tiny_onnx, noise, monkeypatch
):
    seen: list[int] = []

    def fill(image, plan, out):
        seen.append(cv2.getNumThreads())
        fill_letterbox(image, plan, out)

    monkeypatch.setattr("detkit.detection.loaded_model.fill_letterbox", fill)
    monkeypatch.setattr(opencv_threads, "num_threads", None)
    cv2.setNumThreads(3)
    detector = load(tiny_onnx, "openvino")
    detector.detect(noise)
    assert set(seen) == {3}
    seen.clear()
    with AsyncDetector(detector, max_workers=2, num_threads=2) as engine:
        engine.detect_batch([noise] * 20, batch_size=2)
        assert set(seen) == {1}
        assert cv2.getNumThreads() == 3


def test_opencv_keeps_its_number_until_the_last_is_done(monkeypatch):
    monkeypatch.setattr(opencv_threads, "num_threads", 1)
    cv2.setNumThreads(3)
    with opencv_threads:
        with opencv_threads:
            assert cv2.getNumThreads() == 1
        assert cv2.getNumThreads() == 1
        opencv_threads.num_threads = 2  # for those who come to an empty room
        assert cv2.getNumThreads() == 1
    assert cv2.getNumThreads() == 3
    with pytest.raises(KeyError), opencv_threads:
        assert cv2.getNumThreads() == 2
        raise KeyError
    assert cv2.getNumThreads() == 3


def test_threads_told_before_the_model_is_there(tiny_onnx, noise):
    detector = YOLOv8Detector()
    engine = AsyncDetector(detector, max_workers=2, num_threads=2)
    detector.load_model(tiny_onnx)
    assert detector._loaded.runtime._networks.plan.layouts() == {(1, 2), (2, 2)}
    engine.shutdown()


def test_statistics_and_the_warning_of_too_many(monkeypatch):
    monkeypatch.setattr("detkit.api.controls.usable_cores", lambda: 2)
    with AsyncDetector(FakeDetector(), max_workers=2, num_threads=2) as engine:
        stats = engine.get_stats()
        assert (stats["num_threads"], stats["threads_per_worker"]) == (2, 1)
    with pytest.warns(RuntimeWarning, match="3 threads for 2 cores"):
        AsyncDetector(FakeDetector(), num_threads=3).shutdown()
    with pytest.raises(ValueError, match="num_threads"):
        AsyncDetector(FakeDetector(), num_threads=0)


def test_a_detector_may_hear_of_threads_and_may_fail_at_it(caplog):
    told: list[tuple[int, int]] = []

    class Hears(FakeDetector):
        num_threads = 2

        def share_threads(self, num_threads, num_workers):
            told.append((num_threads, num_workers))
            if num_workers == 3:
                raise OSError("no")

    with AsyncDetector(Hears(), max_workers=2) as engine:
        engine.max_workers = 3
        assert told == [(2, 2), (2, 3)]
        assert "no thread budget" in caplog.text
