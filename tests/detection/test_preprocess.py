from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detkit.detection.environment import import_ultralytics
from detkit.detection.preprocess import (
    PADDING_VALUE,
    InputBuffers,
    fill_letterbox,
    plan_letterbox,
    round_up,
)

sides = st.integers(1, 4000)


@settings(deadline=None, max_examples=60)
@given(height=sides, width=sides, size=st.sampled_from([128, 320, 640, 1280]))
def test_the_input_is_the_smallest_rectangle_that_holds_the_scaled_image(height, width, size):
    plan = plan_letterbox((height, width), (size, size), stride=32)
    for side, scaled in zip(plan.input_hw, plan.scaled_hw, strict=True):
        assert side % 32 == 0
        assert scaled <= side < scaled + 32
    assert max(plan.scaled_hw) == size


@settings(deadline=None, max_examples=60)
@given(
    height=sides,
    width=sides,
    size=st.sampled_from([64, 640]),
    fixed=st.booleans(),
    corners=st.lists(st.floats(0, 1, width=32), min_size=4, max_size=4),
)
def test_there_and_back_within_half_a_pixel(height, width, size, fixed, corners):
    plan = plan_letterbox((height, width), (size, size), stride=32, fixed=fixed)
    x1, x2 = sorted(corners[:2])
    y1, y2 = sorted(corners[2:])
    box = np.array([[x1 * width, y1 * height, x2 * width, y2 * height]], np.float32)
    scale = np.array([plan.scaled_hw[1] / width, plan.scaled_hw[0] / height] * 2, np.float32)
    there = box * scale + np.array([plan.left, plan.top] * 2, np.float32)
    assert np.abs(plan.to_image(there) - box).max() < 0.5


@settings(deadline=None, max_examples=30)
@given(height=st.integers(1, 400), width=st.integers(1, 400), fixed=st.booleans())
def test_the_pixels_are_those_of_ultralytics(height, width, fixed):
    import_ultralytics()
    from ultralytics.data.augment import LetterBox

    rng = np.random.default_rng(height * 1000 + width)
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    plan = plan_letterbox((height, width), (160, 160), stride=32, fixed=fixed)
    out = np.zeros((*plan.input_hw, 3), np.uint8)
    fill_letterbox(image, plan, out)
    expected = LetterBox((160, 160), auto=not fixed, stride=32)(image=image)
    assert np.array_equal(out, expected)


def test_the_boxes_land_where_ultralytics_puts_them():
    tasks = import_ultralytics()
    assert tasks
    from ultralytics.utils.ops import scale_boxes

    rng = np.random.default_rng(1)
    for hw in [(720, 1280), (1080, 810), (33, 517), (640, 640), (1, 3000)]:
        plan = plan_letterbox(hw, (640, 640), stride=32)
        boxes = rng.uniform(-20, 660, (50, 4)).astype(np.float32)
        expected = scale_boxes(plan.input_hw, boxes.copy(), hw)
        assert np.abs(plan.to_image(boxes) - expected).max() < 1e-2


def test_boxes_are_clipped_to_the_image():
    plan = plan_letterbox((100, 200), (640, 640), stride=32)
    boxes = plan.to_image(np.array([[-50, -50, 9000, 9000]], np.float32))
    assert boxes.tolist() == [[0, 0, 200, 100]]
    assert boxes.dtype == np.float32


def test_a_read_only_image_and_a_dirty_buffer():
    image = np.full((64, 128, 3), 7, np.uint8)
    image.flags.writeable = False
    plan = plan_letterbox((64, 128), (128, 128), stride=32, fixed=True)
    out = np.full((128, 128, 3), 255, np.uint8)
    fill_letterbox(image, plan, out)
    assert (out[32:96] == 7).all()
    assert (out[:32] == PADDING_VALUE).all()
    assert (out[96:] == PADDING_VALUE).all()


@pytest.mark.parametrize("size, expected", [(1, 32), (32, 32), (33, 64), (640, 640)])
def test_round_up(size, expected):
    assert round_up(size, 32) == expected


def test_buffers_are_reused_and_few():
    buffers = InputBuffers(max_sizes=2)
    first = buffers.take(2, (32, 64))
    assert first.shape == (2, 32, 64, 3)
    assert np.shares_memory(buffers.take(1, (32, 64)), first)
    buffers.take(1, (64, 64))
    buffers.take(1, (96, 64))
    assert not np.shares_memory(buffers.take(1, (32, 64)), first)
