"""`annotate` and `class_color`: what is drawn, where, and what is never touched."""

from __future__ import annotations

import numpy as np
import pytest

from detkit import labels
from detkit.drawing import Style, annotate, class_color, plan_drawing
from detkit.errors import InvalidImageError, InvalidResultError
from detkit.results import DetectionResult


def one_box(box: list[float], **metadata: object) -> DetectionResult:
    return DetectionResult([box], [0.9], [0], metadata)


def test_the_input_is_not_written_and_the_output_is_new() -> None:
    image = np.full((90, 120, 3), 127, np.uint8)
    image.flags.writeable = False
    drawn = annotate(image, one_box([20, 30, 100, 80]))
    assert not np.shares_memory(drawn, image)
    assert (image == 127).all()
    assert drawn.shape == image.shape
    assert drawn.dtype == np.uint8


def test_no_boxes_gives_an_equal_copy() -> None:
    image = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    drawn = annotate(image, DetectionResult.empty())
    assert np.array_equal(drawn, image)
    assert drawn is not image


def test_the_frame_lies_exactly_on_the_outermost_pixels_of_the_box() -> None:
    drawn = annotate(
        np.zeros((60, 80, 3), np.uint8),
        one_box([10, 20, 50, 40]),
        show_labels=False,
        thickness=1,
    )
    is_line = (drawn == class_color(0)).all(axis=2)
    rows, columns = np.nonzero(is_line)
    assert (columns.min(), rows.min(), columns.max(), rows.max()) == (10, 20, 49, 39)
    assert not is_line[25:35, 15:45].any()


@pytest.mark.parametrize("value", [0, 128, 255])
def test_the_frame_shows_on_dark_and_light(value: int) -> None:
    image = np.full((200, 200, 3), value, np.uint8)
    drawn = annotate(image, one_box([20, 20, 180, 180]), show_labels=False, thickness=2)
    difference = np.abs(drawn[100, 15:30].astype(int) - value).sum(axis=1)
    assert difference.max() > 100


@pytest.mark.parametrize("hw", [(1, 1), (1, 300), (300, 1), (2, 3), (8, 8), (15, 40), (37, 41)])
def test_pictures_of_any_size(hw: tuple[int, int]) -> None:
    box = [0, 0, hw[1], hw[0]]
    assert annotate(np.zeros((*hw, 3), np.uint8), one_box(box)).shape == (*hw, 3)


@pytest.mark.parametrize(
    "box",
    [
        [-50, -50, 20, 20],
        [90, 60, 500, 400],
        [-1e9, -1e9, 1e9, 1e9],
        [30, 30, 30, 30],
        [-20, 10, -10, 20],
        [200, 200, 210, 210],
        [0, 0, 100, 1],
        [99.6, 79.7, 100, 80],
    ],
)
def test_boxes_at_and_beyond_the_edge(box: list[float]) -> None:
    image = np.zeros((80, 100, 3), np.uint8)
    drawn = annotate(image, one_box(box))
    assert (drawn.shape, drawn.dtype) == (image.shape, image.dtype)
    assert not image.any()


def test_a_box_outside_leaves_the_picture_as_it_was() -> None:
    image = np.zeros((80, 100, 3), np.uint8)
    assert not annotate(image, one_box([200, 200, 300, 300])).any()


@pytest.mark.parametrize(
    "name",
    ["Füßgänger", "日本語", "Привет", "🐱", "a\nb\x00c\x1b[31m", "", " ", "x" * 5000, "%s{}\\"],
)
def test_any_class_name_is_drawn(name: str) -> None:
    image = np.zeros((120, 400, 3), np.uint8)
    result = one_box([20, 50, 200, 110], class_names={0: name})
    assert annotate(image, result).any()


@pytest.mark.parametrize("name", ["Füßgänger", "日本語 猫", "x" * 500])
def test_letters_of_opencv_4(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels, "_has_font_face", lambda: False)
    labels._text_width.cache_clear()
    labels._written.cache_clear()
    try:
        result = one_box([20, 50, 200, 110], class_names={0: name})
        drawn = annotate(np.zeros((120, 400, 3), np.uint8), result)
    finally:
        labels._text_width.cache_clear()
        labels._written.cache_clear()
    assert drawn[:50].any()
    assert all(c.isascii() for c in labels.clean(name, 32))


def test_labels_stay_inside_the_picture() -> None:
    # The label's colour must show as often as in a picture with room on all sides.
    name = {"class_names": {0: "some object"}}
    size = (300, 400, 3)
    middle = annotate(np.zeros(size, np.uint8), one_box([150, 150, 250, 200], **name))
    for box in ([0, 0, 100, 50], [300, 0, 400, 50], [0, 250, 100, 300], [300, 250, 400, 300]):
        corner = annotate(np.zeros(size, np.uint8), one_box(box, **name))
        shown = [(d == class_color(0)).all(axis=2).sum() for d in (middle, corner)]
        assert shown[1] > 0.8 * shown[0], box


def test_labels_avoid_one_another() -> None:
    box = labels.Corners(100, 100, 200, 200)
    placed = labels.place_labels(
        (300, 400), [box, box], {0: "a", 1: "b"}, {0: (0,) * 3, 1: (0,) * 3}, 16
    )
    second, first = (label.area for label in placed)
    assert (first.left, first.bottom) == (100, 100)
    assert labels._overlaps([second], [first]).tolist() == [0]


def test_a_thousand_boxes() -> None:
    rng = np.random.default_rng(3)
    corners = rng.uniform(-40, 640, (1000, 2))
    boxes = np.hstack([corners, corners + rng.uniform(0, 90, (1000, 2))])
    result = DetectionResult(boxes, rng.uniform(0, 1, 1000), rng.integers(0, 80, 1000))
    assert annotate(np.zeros((480, 640, 3), np.uint8), result).any()


def test_the_most_confident_box_lies_on_top() -> None:
    result = DetectionResult([[10, 10, 60, 60]] * 2, [0.9, 0.3], [1, 2])
    drawn = annotate(np.zeros((80, 80, 3), np.uint8), result, show_labels=False)
    assert tuple(drawn[30, 10]) == class_color(1)


def test_texts_names_and_colours_can_be_given() -> None:
    image = np.zeros((100, 200, 3), np.uint8)
    result = one_box([20, 40, 120, 90])
    drawn = annotate(image, result, labels=["mine"], colors={0: (1, 200, 3)}, thickness=5)
    assert tuple(drawn[60, 22]) == (1, 200, 3)
    plain = annotate(image, result, show_labels=False)
    assert not plain[:39].any()
    with pytest.raises(InvalidResultError, match="2 labels were given for 1 boxes"):
        annotate(image, result, labels=["a", "b"])


def test_tracks_get_colours_of_their_own() -> None:
    image = np.zeros((100, 200, 3), np.uint8)
    result = one_box([20, 40, 120, 90], tracker_ids=np.array([5]))
    by_track = annotate(image, result, color_by="track", show_labels=False)
    assert tuple(by_track[60, 20]) == class_color(5)


def test_a_float_image_is_refused() -> None:
    with pytest.raises(InvalidImageError):
        annotate(np.zeros((4, 4, 3)), one_box([0, 0, 2, 2]))  # type: ignore[arg-type]


def test_class_colours_are_stable_bright_and_apart() -> None:
    colors = np.array([class_color(i) for i in range(200)], dtype=int)
    assert np.array_equal(colors, [class_color(np.int64(i)) for i in range(200)])
    assert colors.min() >= 0
    assert colors.max(axis=1).min() > 150
    first = colors[:8]
    distance = np.abs(first[:, None] - first[None]).sum(axis=2) + 999 * np.eye(8)
    assert distance.min() > 90
    assert len({tuple(c) for c in colors.tolist()}) > 190


def tracked(points: object, box: tuple[float, ...] = (60, 60, 90, 90)) -> DetectionResult:
    metadata = {"tracker_ids": np.array([3]), "tracker_trails": {3: np.array(points)}}
    return DetectionResult([box], [0.9], [0], metadata)


@pytest.mark.parametrize("value", [0, 128, 255])
def test_a_trail_shows_on_dark_and_light_and_ends_in_a_point(value: int) -> None:
    image = np.full((120, 160, 3), value, np.uint8)
    result = tracked([(x, 75) for x in range(5, 76, 5)])
    drawn = annotate(image, result, show_trails=True, show_labels=False, thickness=3)
    changed = np.abs(drawn.astype(int) - value).max(axis=2) > 60
    assert changed[75, 10:58].all()
    thickness = changed[60:, :58].sum(axis=0)
    assert 1 <= thickness[12] < thickness[50] <= 9
    assert np.array_equal(annotate(image, result, show_labels=False, thickness=3)[:, :50],
                          image[:, :50])  # fmt: skip


@pytest.mark.parametrize(
    "points",
    [
        [(-500, -500), (900, 900)],
        [(1e9, 75), (75, 75)],
        [(np.nan, 75), (75, np.inf)],
        [(75, 75)],
        [],
        [(75, 75)] * 40,
    ],
)
def test_trails_of_any_shape(points: list[tuple[float, float]]) -> None:
    image = np.zeros((120, 160, 3), np.uint8)
    assert annotate(image, tracked(points), show_trails=True).shape == image.shape
    assert not image.any()


def test_trails_have_the_colour_of_their_box_and_end_with_it() -> None:
    image = np.zeros((120, 160, 3), np.uint8)
    result = tracked([(5, 75), (75, 75)])
    for color_by, color in (("class", class_color(0)), ("track", class_color(3))):
        drawn = annotate(image, result, show_trails=True, color_by=color_by, thickness=3)
        assert tuple(drawn[75, 50]) == color
    none = result.filter(confidence_threshold=0.95)
    assert np.array_equal(annotate(image, none, show_trails=True), image)
    plain = DetectionResult([[60, 60, 90, 90]], [0.9], [0])
    assert np.array_equal(annotate(image, plain, show_trails=True), annotate(image, plain))


def test_a_box_without_a_track_is_grey_among_tracks() -> None:
    image = np.zeros((120, 160, 3), np.uint8)
    result = tracked([]).with_metadata(tracker_ids=np.array([-1]))
    red, green, blue = annotate(image, result, color_by="track", thickness=3)[75, 61].astype(int)
    assert abs(red - green) < 20
    assert abs(green - blue) < 20
    assert red > 120


def test_nothing_is_drawn_outside_the_areas_that_a_plan_names() -> None:
    rng = np.random.default_rng(4)
    for hw in ((720, 1280), (90, 161), (12, 20)):
        corners = rng.uniform(-30, [hw[1], hw[0]], (9, 2))
        boxes = np.hstack([corners, corners + rng.uniform(0, 0.6 * min(hw), (9, 2))])
        trails = {i: rng.uniform(-20, [hw[1] + 20, hw[0] + 20], (5, 2)) for i in range(9)}
        result = DetectionResult(
            boxes,
            rng.uniform(0, 1, 9),
            np.arange(9),
            {"tracker_ids": np.arange(9), "tracker_trails": trails},
        )
        plan = plan_drawing(hw, result, Style(show_trails=True))
        image = rng.integers(0, 256, (*hw, 3), np.uint8)
        # As one who draws only there does it: the rest of the canvas shows anything.
        canvas = np.zeros_like(image)
        is_inside = np.zeros(hw, bool)
        for left, top, right, bottom in plan.areas():
            assert 0 <= left < right <= hw[1]
            assert 0 <= top < bottom <= hw[0]
            is_inside[top:bottom, left:right] = True
        canvas[is_inside] = image[is_inside]
        plan.draw(canvas)
        whole = plan.over(image)
        assert np.array_equal(whole[is_inside], canvas[is_inside])
        assert np.array_equal(whole[~is_inside], image[~is_inside])
        turned = image[:, :, ::-1].copy()
        plan.draw(turned, is_bgr=True)
        assert np.array_equal(turned[:, :, ::-1], whole)
