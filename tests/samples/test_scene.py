"""`scene`: pinned by its seed, true to its promises about parts, coverage and edges."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from detkit.errors import UnsupportedSettingError
from detkit.samples import CLASS_NAMES, sample_images, scene
from detkit.samples.belt import draw_belt
from detkit.samples.draws import Draws
from detkit.samples.layout import BELT, PARTS, draw_count, lay_out

# Boxes are pure float64 geometry on a frozen random stream: they hold on every machine.
BOXES = {
    0: ([[24.386173, 177.717926, 70.945465, 224.277206]], [1]),
    7: ([[150.723373, 34.947369, 198.582275, 82.609001]], [3]),
}
# Means over a 4 x 4 grid; OpenCV versions may round single pixels differently.
TONES = {
    0: [
        [42.7, 45.1, 43.8, 42.9],
        [42.3, 46.4, 44.4, 44.5],
        [41.5, 44.5, 44.4, 42.9],
        [55.3, 40.4, 40.9, 39.1],
    ],
    7: [
        [51.5, 55.1, 57.9, 48.7],
        [45.6, 52.2, 55.0, 48.0],
        [46.6, 51.8, 53.5, 50.7],
        [44.9, 49.0, 50.4, 48.8],
    ],
}


@pytest.mark.parametrize("seed", [0, 7])
def test_boxes_are_pinned(seed: int) -> None:
    _, truth = scene(seed, size_wh=(320, 240))
    boxes, classes = BOXES[seed]
    np.testing.assert_allclose(truth.boxes, boxes, atol=1e-4)
    assert truth.classes.tolist() == classes


@pytest.mark.parametrize("seed", [0, 7])
def test_picture_is_pinned_up_to_rounding(seed: int) -> None:
    image, _ = scene(seed, size_wh=(320, 240))
    tones = image.reshape(4, 60, 4, 80, 3).mean(axis=(1, 3, 4))
    np.testing.assert_allclose(tones, TONES[seed], atol=1.5)


def test_same_seed_same_scene() -> None:
    (first, a), (second, b) = scene(5, (480, 320)), scene(5, (480, 320))
    assert np.array_equal(first, second)
    assert np.array_equal(a.boxes, b.boxes)


def test_other_seed_other_scene() -> None:
    assert not np.array_equal(scene(5, (320, 240))[0], scene(6, (320, 240))[0])


@pytest.mark.parametrize("size_wh", [(1280, 720), (320, 240), (64, 64), (101, 333)])
def test_result_says_what_it_is(size_wh: tuple[int, int]) -> None:
    image, truth = scene(3, size_wh)
    width, height = size_wh
    assert image.shape == (height, width, 3) and image.dtype == np.uint8
    assert image.flags.c_contiguous
    assert truth.metadata["image_hw"] == (height, width)
    assert truth.metadata["class_names"] == dict(enumerate(CLASS_NAMES))
    assert (truth.scores == 1).all()
    if len(truth.boxes):
        assert truth.boxes.min() >= 0
        assert (truth.boxes[:, 2:] <= (width, height)).all()
        assert (truth.boxes[:, 2:] > truth.boxes[:, :2]).all()


def test_number_of_parts_follows_the_area() -> None:
    counts = [len(scene(seed)[1]) for seed in range(6)]
    assert all(4 <= count <= 18 for count in counts)


@pytest.mark.parametrize("seed", range(12))
def test_no_part_is_covered_by_more_than_30_percent(seed: int) -> None:
    belt = draw_belt(Draws(seed, BELT), 720)
    window = (0.0, float(belt.rail_top), 1280.0, float(720 - belt.rail_bottom))
    draws = Draws(seed, PARTS)
    count = draw_count(draws, (1280, 720))
    parts = lay_out(draws, window, [], count, has_rail_below=belt.rail_bottom > 0)
    for number, part in enumerate(parts):
        points = part.pose.samples()
        hidden = np.zeros(len(points), dtype=bool)
        for above in parts[number + 1 :]:
            hidden |= above.pose.covers(points)
        assert hidden.mean() <= 0.3
        assert part.pose.part_inside(window) >= 0.4


def test_parts_stand_out_from_the_belt() -> None:
    image, truth = scene(2)
    outside = np.ones(image.shape[:2], dtype=bool)
    for x0, y0, x1, y1 in truth.boxes.astype(int):
        outside[y0:y1, x0:x1] = False
    belt = float(image[outside].std())
    inside = [image[y0:y1, x0:x1].std() for x0, y0, x1, y1 in truth.boxes.astype(int)]
    assert np.median(inside) > 1.3 * belt


def test_sample_images_are_scenes() -> None:
    images = sample_images(2, first_seed=4)
    assert len(images) == 2
    assert np.array_equal(images[1], scene(5)[0])


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(UnsupportedSettingError, match="64 px"):
        scene(0, size_wh=(32, 720))
    with pytest.raises(UnsupportedSettingError, match="seed"):
        scene(-1)
    with pytest.raises(UnsupportedSettingError, match="num"):
        sample_images(-1)


def test_importing_samples_is_light() -> None:
    code = (
        "import sys, detkit.samples; "
        "heavy = {'torch', 'ultralytics', 'openvino', 'onnxruntime', 'pandas', 'matplotlib'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
