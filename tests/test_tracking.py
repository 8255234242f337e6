"""Tracking: numbers that stay with their objects, one set for each source, in any circumstances."""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from detkit import AsyncDetector, detect_video
from detkit.boxes import match
from detkit.errors import DetkitError, ItemFailure, MissingPackageError, UnsupportedSettingError
from detkit.pipeline import Tracks, TrackSettings
from detkit.results import DetectionResult
from detkit.samples import CLASS_NAMES, clip, sample_detector
from detkit.testing import FakeDetector
from detkit.video import Frame, VideoSource

DATA = Path(__file__).parents[1] / "data"
NUM_BELT_FRAMES = 120

IMAGE = np.zeros((48, 64, 3), np.uint8)


def frame(index: int, pts_seconds: float | None = None, source: str = "a") -> Frame:
    return Frame(IMAGE, source, index, pts_seconds)


def two_objects(index: float, score: float = 0.9) -> DetectionResult:
    """One goes right and one goes down, 4 pixels a frame."""
    right = [10 + 4 * index, 200, 60 + 4 * index, 240]
    down = [300, 20 + 4 * index, 340, 70 + 4 * index]
    return DetectionResult([right, down], [score, score], [0, 1])


def ids(result: Any) -> list[int]:
    return list(result.metadata["tracker_ids"])


def test_objects_keep_their_numbers_from_their_second_frame_on() -> None:
    tracks = Tracks(fps=25)
    found = [ids(tracks.follow(frame(i, i / 25), two_objects(i))) for i in range(20)]
    assert found[0] == [-1, -1]
    assert sorted(found[1]) == [1, 2]
    assert found[1:] == [found[1]] * 19


def test_the_order_of_the_boxes_is_the_detectors() -> None:
    tracks = Tracks()
    for i in range(3):
        first = tracks.follow(frame(i), two_objects(i))
    swapped = two_objects(3).select(np.array([1, 0]))
    result = tracks.follow(frame(3), swapped)
    assert result == swapped
    assert ids(result) == ids(first)[::-1]


def test_an_object_that_was_hidden_for_a_moment_gets_its_number_back() -> None:
    tracks = Tracks(fps=25)
    for i in range(10):
        before = ids(tracks.follow(frame(i, i / 25), two_objects(i)))
    for i in range(10, 18):
        assert ids(tracks.follow(frame(i, i / 25), DetectionResult.empty())) == []
    assert ids(tracks.follow(frame(18, 18 / 25), two_objects(18))) == before


def test_after_lost_s_it_is_a_new_object() -> None:
    tracks = Tracks(TrackSettings(lost_s=0.2), fps=25)
    for i in range(10):
        before = ids(tracks.follow(frame(i, i / 25), two_objects(i)))
    tracks.follow(frame(30, 30 / 25), DetectionResult.empty())
    later = [ids(tracks.follow(frame(i, i / 25), two_objects(10))) for i in (31, 32)]
    assert not set(later[1]) & set(before)


@pytest.mark.parametrize("has_times", [True, False])
def test_frames_that_were_dropped_on_the_way_cost_no_number(has_times: bool) -> None:
    tracks = Tracks(fps=25)
    kept = [0, 1, 2, 3, 4, 7, 8, 13, 14, 20, 21]
    found = [
        ids(tracks.follow(frame(i, i / 25 if has_times else None), two_objects(i))) for i in kept
    ]
    assert found[1:] == [found[1]] * 10


def test_every_source_has_tracks_of_its_own() -> None:
    tracks = Tracks()
    for i in range(4):
        a = tracks.follow(frame(i, source="a"), two_objects(i))
        b = tracks.follow(frame(i, source="b"), two_objects(-i))
        c = tracks.follow(frame(i, source="c"), two_objects(i).select(np.array([0])))
    assert sorted(ids(a)) == sorted(ids(b)) == [1, 2]
    assert ids(c) == [1]


def test_a_clock_that_goes_back_ends_no_track(recwarn: pytest.WarningsRecorder) -> None:
    tracks = Tracks(fps=25)
    times = [5.0, 5.04, 5.08, 5.08, 0.0, 0.04, 0.08]
    found = [ids(tracks.follow(frame(i, time), two_objects(i))) for i, time in enumerate(times)]
    assert found[1:] == [found[1]] * 6
    assert not [w for w in recwarn if "timestamp" in str(w.message)]


def test_a_failure_passes_and_a_weak_box_starts_nothing() -> None:
    tracks = Tracks(TrackSettings(start_confidence=0.8))
    failure = ItemFailure(0, "detect", DetkitError("no"), "a")
    assert tracks.follow(frame(0), failure) is failure
    for i in range(3):
        weak = tracks.follow(frame(i), two_objects(i, score=0.75))
    assert ids(weak) == [-1, -1]
    for i in range(3, 6):
        strong = tracks.follow(frame(i), two_objects(i))
    again = tracks.follow(frame(6), two_objects(6, score=0.4))
    assert ids(again) == ids(strong)


def test_trails_are_the_last_centres_of_what_is_in_the_frame() -> None:
    tracks = Tracks(TrackSettings(num_trail_points=5), fps=25)
    for i in range(12):
        result = tracks.follow(frame(i), two_objects(i))
    trails = result.metadata["tracker_trails"]
    assert sorted(trails) == [1, 2]
    right = trails[ids(result)[0]]
    assert right.tolist() == [[35 + 4 * i, 220] for i in range(7, 12)]
    one = tracks.follow(frame(12), two_objects(12).select(np.array([1])))
    assert list(one.metadata["tracker_trails"]) == ids(one)
    assert one.filter(confidence_threshold=0.99).metadata["tracker_ids"].tolist() == []


@pytest.mark.parametrize(
    "wrong",
    [{"start_confidence": 1.5}, {"min_iou": -0.1}, {"lost_s": 0}, {"num_trail_points": -1}],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedSettingError, match=next(iter(wrong))):
        TrackSettings(**wrong)


def test_a_missing_package_is_named_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trackers", None)
    with AsyncDetector(FakeDetector()) as detector:
        with pytest.raises(MissingPackageError, match=r"detkit\[track\]"):
            detect_video(detector, iter([frame(0)]), track=True)
        assert len(list(detect_video(detector, iter([frame(0)])))) == 1
    assert issubclass(MissingPackageError, ImportError)


def test_tracking_is_imported_only_when_asked_for() -> None:
    code = "import detkit.pipeline, sys; print([m for m in ('trackers', 'supervision', 'scipy') "
    code += "if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# -- in a run -----------------------------------------------------------------------------------


def moving(images: list[Any]) -> list[DetectionResult]:
    """Reads the frame's number from its pixels, so that the order of batches shows."""
    return [two_objects(int(image[0, 0, 0])) for image in images]


def source_frames(num: int, source: str = "a") -> Iterator[Frame]:
    for i in range(num):
        image = np.full((48, 64, 3), i, np.uint8)
        yield Frame(image, source, i, i / 25)


def test_a_run_tracks_in_frame_order_with_many_workers_sync_and_async() -> None:
    async def collect(detector: AsyncDetector) -> list[list[int]]:
        run: Any = detect_video(detector, source_frames(60), track=True)
        return [ids(result) async for _, result in run]

    with AsyncDetector(FakeDetector(behaviour=moving), max_workers=4) as detector:
        plain = [ids(r) for _, r in detect_video(detector, source_frames(60), track=True)]
        awaited = asyncio.run(collect(detector))
    assert plain[1:] == [plain[1]] * 59
    assert awaited == plain
    assert not [t for t in threading.enumerate() if t.name.startswith("detkit-track")]


def test_two_runs_at_once_share_a_detector_and_no_track() -> None:
    with AsyncDetector(FakeDetector(behaviour=moving), max_workers=2) as detector:
        runs = [
            iter(detect_video(detector, source_frames(10, name), track=True)) for name in ("a", "a")
        ]
        pairs = [[next(run) for run in runs] for _ in range(10)]
    for (_, a), (_, b) in pairs[1:]:
        assert sorted(ids(a)) == sorted(ids(b)) == [1, 2]


def test_frames_left_out_by_stride_and_failing_ones_cost_no_number() -> None:
    def failing(images: list[Any]) -> list[DetectionResult]:
        if any(image[0, 0, 0] == 8 for image in images):
            raise RuntimeError("mine")
        return moving(images)

    with AsyncDetector(FakeDetector(behaviour=failing)) as detector:
        run = detect_video(detector, source_frames(40), stride=2, track=True, on_error="yield")
        outcomes = [outcome for _, outcome in run]
    assert isinstance(outcomes[4], ItemFailure)
    found = [ids(o) for o in outcomes if isinstance(o, DetectionResult)]
    assert len(found) == 19
    assert found[1:] == [found[1]] * 18


# -- against true identities --------------------------------------------------------------------


def mota(pairs: list[tuple[DetectionResult, DetectionResult]]) -> tuple[float, int]:
    """MOTA (Bernardin & Stiefelhagen 2008) at IoU 0.5, and the identity switches in it.

    1 - (misses + false positives + switches) / true boxes. Boxes without a track do not count.
    """
    errors = switches = total = 0
    last: dict[int, int] = {}
    for found, truth in pairs:
        tracked = found.select(found.metadata["tracker_ids"] >= 0)
        matched = match(tracked.boxes, tracked.classes, truth.boxes, truth.classes)
        total += len(truth)
        errors += len(truth) + len(tracked) - 2 * len(matched)
        for i, j, _ in matched:
            identity, number = ids(truth)[j], ids(tracked)[i]
            switches += last.setdefault(identity, number) != number
            last[identity] = number
    return 1 - (errors + switches) / total, switches


def noisy(truth: DetectionResult, rng: np.random.Generator) -> DetectionResult:
    """As a detector would see it: corners off by 2 pixels, one box in ten missed."""
    boxes = truth.boxes + rng.normal(0, 1, truth.boxes.shape)
    result = DetectionResult(boxes, np.full(len(truth), 0.9), truth.classes)
    return result.select(rng.random(len(truth)) > 0.1)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_identities_of_the_belt_survive_noise_and_missed_boxes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tracks = Tracks(fps=25)
    pairs: list[Any] = []
    for i, (_, truth) in enumerate(clip(seed, 150, (320, 240))):
        pairs.append((tracks.follow(frame(i, i / 25), noisy(truth, rng)), truth))
    score, switches = mota(pairs)
    assert switches == 0
    assert score > 0.8  # a tenth is missed by the detector, and every object's first box


def belt_truths() -> list[DetectionResult]:
    """The boxes and identities that `data/belt.mp4` was rendered from."""
    document = json.loads((DATA / "belt_annotations.json").read_text(encoding="utf-8"))
    parts: dict[int, list[Any]] = {image["id"]: [] for image in document["images"]}
    for part in document["annotations"]:
        parts[part["image_id"]].append(part)
    kinds = {kind["id"]: CLASS_NAMES.index(kind["name"]) for kind in document["categories"]}
    return [
        DetectionResult(
            [[x, y, x + w, y + h] for x, y, w, h in (p["bbox"] for p in frame_parts)],
            [1.0] * len(frame_parts),
            [kinds[p["category_id"]] for p in frame_parts],
            {"tracker_ids": np.array([p["track_id"] for p in frame_parts])},
        )
        for frame_parts in parts.values()
    ]


@pytest.mark.watchdog(240)
def test_identities_of_the_sample_video_with_the_sample_model() -> None:
    with AsyncDetector(sample_detector(precision="fp32"), max_workers=2) as detector:
        frames = itertools.islice(VideoSource(DATA / "belt.mp4"), NUM_BELT_FRAMES)
        run = detect_video(detector, frames, track=True, agnostic_nms=True)
        found = [result for _, result in run if isinstance(result, DetectionResult)]
    score, switches = mota(list(zip(found, belt_truths(), strict=False)))
    assert len(found) == NUM_BELT_FRAMES
    assert switches <= 1
    assert score > 0.9
