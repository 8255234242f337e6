"""`clip`: the belt moves, parts keep their identity, nothing jumps."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from detkit.errors import UnsupportedSettingError
from detkit.results import DetectionResult
from detkit.samples import clip

SIZE_WH = (320, 240)


def results(seed: int, num_frames: int, fps: float = 25.0) -> list[DetectionResult]:
    return [truth for _, truth in clip(seed, num_frames, SIZE_WH, fps)]


def test_same_seed_same_clip() -> None:
    first = list(clip(4, 3, SIZE_WH))
    second = list(clip(4, 3, SIZE_WH))
    for (image_a, a), (image_b, b) in zip(first, second, strict=True):
        assert np.array_equal(image_a, image_b)
        assert np.array_equal(a.boxes, b.boxes)
        assert np.array_equal(a.metadata["tracker_ids"], b.metadata["tracker_ids"])


def test_frames_differ_in_noise_even_when_the_belt_hardly_moves() -> None:
    frames = [image for image, _ in clip(4, 2, SIZE_WH, fps=1000.0)]
    assert not np.array_equal(*frames)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_parts_move_at_one_speed_and_keep_class_and_identity(seed: int) -> None:
    classes: dict[int, int] = {}
    shifts: list[float] = []
    before: dict[int, np.ndarray] = {}
    for truth in results(seed, 120):
        ids = truth.metadata["tracker_ids"].tolist()
        assert len(set(ids)) == len(ids) == len(truth)
        now = dict(zip(ids, truth.boxes, strict=True))
        for i, class_id in zip(ids, truth.classes.tolist(), strict=True):
            assert classes.setdefault(i, class_id) == class_id
        for i in now.keys() & before.keys():
            edges = (now[i][0], now[i][2], before[i][0], before[i][2])
            if min(edges) > 1 and max(edges) < SIZE_WH[0] - 1:
                shifts.append(float(now[i][0] - before[i][0]))
                assert now[i][1] == pytest.approx(before[i][1], abs=0.01)
        before = now
    assert len(shifts) > 20
    assert max(shifts) - min(shifts) <= 1.01  # whole pixels: the belt steps by n or n + 1
    assert 4 <= abs(np.mean(shifts)) <= 8


def test_parts_enter_and_leave() -> None:
    ids = [set(truth.metadata["tracker_ids"].tolist()) for truth in results(3, 200)]
    assert set.union(*ids) - ids[0]
    assert set.union(*ids) - ids[-1]


def test_pixels_follow_the_boxes() -> None:
    frames = list(clip(2, 40, SIZE_WH))
    first, last = frames[0], frames[8]
    shared = sorted(
        set(first[1].metadata["tracker_ids"].tolist())
        & set(last[1].metadata["tracker_ids"].tolist())
    )
    crops = []
    for image, truth in (first, last):
        number = truth.metadata["tracker_ids"].tolist().index(shared[0])
        x0, y0, x1, y1 = np.round(truth.boxes[number]).astype(int)
        crops.append(image[y0:y1, x0:x1].astype(float))
    width = min(crop.shape[1] for crop in crops)
    assert np.abs(crops[0][:, :width] - crops[1][:, :width]).mean() < 12


def test_blocks_join_without_a_seam() -> None:
    # Two frames that overlap by all but the step between them, where a block border passes.
    frames = list(clip(5, 60, SIZE_WH))
    for (a, _), (b, _) in pairwise(frames):
        jump = np.abs(a.astype(float) - b.astype(float)).mean()
        assert jump < 25


def test_speed_is_in_seconds_not_frames() -> None:
    slow, fast = results(2, 21, fps=20.0)[-1], results(2, 41, fps=40.0)[-1]
    np.testing.assert_allclose(slow.boxes, fast.boxes, atol=1e-3)


def test_bad_arguments_are_refused_before_the_first_frame() -> None:
    with pytest.raises(UnsupportedSettingError):
        clip(0, -1)
    with pytest.raises(UnsupportedSettingError):
        clip(0, 1, fps=0.0)
    with pytest.raises(UnsupportedSettingError):
        clip(-1, 1)
    with pytest.raises(UnsupportedSettingError):
        clip(0, 1, size_wh=(10, 10))


def test_no_frames() -> None:
    assert list(clip(0, 0)) == []
