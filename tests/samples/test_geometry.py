"""Boxes come from geometry alone; these tests hold it against sums done by hand."""

from __future__ import annotations

import numpy as np
import pytest

from detkit.samples.geometry import Outline, Pose, circle, pose_of_size, rectangle

BAR = Outline((rectangle(-0.5, -0.1, 0.5, 0.1),), 0.5, 0.1, is_round=False)
DISC = Outline((circle(0.5),), 0.5, 0.5, is_round=True)


def test_box_of_a_level_bar() -> None:
    assert Pose(BAR, 100, 50, 200, 0.0).box() == pytest.approx((0, 30, 200, 70))


def test_box_of_an_upright_bar() -> None:
    assert Pose(BAR, 100, 50, 200, np.pi / 2).box() == pytest.approx((80, -50, 120, 150))


def test_box_of_a_disc_does_not_depend_on_its_angle() -> None:
    for angle in (0.0, 0.3, 2.0):
        assert Pose(DISC, 0, 0, 100, angle).box() == pytest.approx((-50, -50, 50, 50), abs=0.03)


def test_box_is_tight_round_what_the_window_leaves() -> None:
    # Of a bar at 45 degrees, the left half of the picture holds only the lower end.
    pose = Pose(BAR, 0, 0, 200, -np.pi / 4)
    box = pose.box((-1000, -1000, 0, 1000))
    assert box is not None
    end = 100 * np.sqrt(0.5)
    side = 20 * np.sqrt(0.5)
    assert box == pytest.approx((-end - side, -20 * np.sqrt(2), 0, end + side), abs=1e-9)


def test_box_outside_the_window_is_none() -> None:
    assert Pose(BAR, 0, 0, 200, 0.0).box((500, 500, 600, 600)) is None


@pytest.mark.parametrize("angle", [0.0, 0.4, 1.2, 3.0])
def test_pose_of_size_gives_the_longer_side(angle: float) -> None:
    box = pose_of_size(BAR, 88.0, angle).box()
    assert box is not None
    assert max(box[2] - box[0], box[3] - box[1]) == pytest.approx(88.0)


def test_part_inside_counts_area() -> None:
    pose = Pose(BAR, 0, 0, 200, 0.0)
    assert pose.part_inside((-500, -500, 500, 500)) == 1.0
    assert pose.part_inside((0, -500, 500, 500)) == pytest.approx(0.5)
    assert Pose(DISC, 0, 0, 200, 0.0).part_inside((0, 0, 500, 500)) == pytest.approx(0.25)


def test_covers_follows_the_angle() -> None:
    points = np.array([[0.0, 80.0], [80.0, 0.0]])
    assert Pose(BAR, 0, 0, 200, np.pi / 2).covers(points).tolist() == [True, False]
    assert Pose(DISC, 0, 0, 100, 0.0).covers(points).tolist() == [False, False]
