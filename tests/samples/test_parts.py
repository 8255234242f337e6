"""Every part is painted exactly where its geometry says it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from detkit.samples.draws import Draws
from detkit.samples.light import draw_light
from detkit.samples.names import CLASS_NAMES
from detkit.samples.parts import MAX_SIZE_PX, MIN_SIZE_PX, Part, draw_part, paint_part


def parts_of_each_class(per_class: int) -> list[Part]:
    found: dict[int, list[Part]] = {i: [] for i in range(len(CLASS_NAMES))}
    seed = 0
    while any(len(parts) < per_class for parts in found.values()):
        part = draw_part(Draws(seed))
        if len(found[part.class_id]) < per_class:
            centre = (300.3 + seed % 7 / 7, 300.7)
            found[part.class_id].append(replace(part, pose=part.pose.moved(*centre)))
        seed += 1
    return [part for parts in found.values() for part in parts]


@pytest.mark.parametrize("part", parts_of_each_class(8), ids=lambda p: CLASS_NAMES[p.class_id])
def test_painted_pixels_fill_the_box(part: Part) -> None:
    cutout = paint_part(part, draw_light(Draws(1)))
    box = part.pose.box()
    assert box is not None
    rows, columns = np.nonzero(cutout.alpha > 0.5)
    painted = (
        cutout.x + columns.min(),
        cutout.y + rows.min(),
        cutout.x + columns.max() + 1,
        cutout.y + rows.max() + 1,
    )
    # Half a pixel is rounding; thin ends (a spring's wire, a bolt's corner) fade over one more.
    assert painted == pytest.approx(box, abs=1.6)


@pytest.mark.parametrize("part", parts_of_each_class(3), ids=lambda p: CLASS_NAMES[p.class_id])
def test_cutout_is_premultiplied_light(part: Part) -> None:
    cutout = paint_part(part, draw_light(Draws(2)))
    assert cutout.rgb.dtype == cutout.alpha.dtype == np.float32
    assert cutout.alpha.min() >= 0.0
    assert cutout.alpha.max() <= 1.0 + 1e-6
    assert cutout.rgb.min() >= 0.0
    assert np.isfinite(cutout.rgb).all()
    assert cutout.rgb[cutout.alpha == 0].max(initial=0.0) < 1e-6


def test_sizes_stay_in_the_promised_range() -> None:
    sizes = []
    for seed in range(300):
        box = draw_part(Draws(seed)).pose.box()
        assert box is not None
        sizes.append(max(box[2] - box[0], box[3] - box[1]))
    assert min(sizes) >= MIN_SIZE_PX - 1e-9 and max(sizes) <= MAX_SIZE_PX + 1e-9
    assert 80 < np.median(sizes) < 115


def test_all_classes_come() -> None:
    classes = [draw_part(Draws(seed)).class_id for seed in range(300)]
    assert np.bincount(classes).min() > 25
