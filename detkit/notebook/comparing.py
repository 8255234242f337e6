"""`compare`: two answers to the same images side by side, what they agree on and what not.

Owns the colours of agreement. Knows boxes, tiles and their layout; never a detector.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from detkit.boxes import match
from detkit.drawing import annotate
from detkit.images import RGBImage
from detkit.labels import Color
from detkit.notebook.figures import Picture
from detkit.notebook.grids import short_source
from detkit.notebook.layout import Caption, laid_out, tile_width
from detkit.notebook.outcomes import Outcome, Outcomes, outcome_list, source_list
from detkit.notebook.picture_lists import AnyImage, Images, image_list, image_of, images_of
from detkit.notebook.tiles import LINE_PX, make_tile
from detkit.results import DetectionResult

# Blue, orange, violet: told apart by all common kinds of colour vision.
_AGREED: Color = (47, 155, 255)
_ONLY_A: Color = (255, 150, 20)
_ONLY_B: Color = (190, 80, 230)


class _Pair(NamedTuple):
    """Two outcomes for one image; which of their boxes have a partner."""

    a: Outcome
    b: Outcome
    agreed_a: npt.NDArray[np.bool_]
    agreed_b: npt.NDArray[np.bool_]

    @property
    def num_disagreements(self) -> int:
        if isinstance(self.a, DetectionResult) and isinstance(self.b, DetectionResult):
            return int((~self.agreed_a).sum() + (~self.agreed_b).sum())
        return 1_000_000  # one of them failed: nothing disagrees more


def compare(
    a: Outcomes,
    b: Outcomes,
    images: Images | None = None,
    *,
    names: tuple[str, str] = ("a", "b"),
    iou_threshold: float = 0.5,
    max_images: int = 4,
    only_disagreements: bool = False,
) -> Picture:
    """Draw two answers to the same images side by side, coloured by agreement.

    Boxes agree when they have the same class and overlap enough; each has one partner at most.
    Images with the most disagreements come first. `b` may be the truth.

    Args:
        a: Results and failures, records of `detect_images`, a `PartialBatchError`, or one result.
        b: The other answers, one per image in the same order.
        images: The images; by default those that the results know, see `show_grid`.
        names: What `a` and `b` are called.
        iou_threshold: Least intersection over union of boxes that agree.
        max_images: Images shown, at most.
        only_disagreements: Whether boxes that agree are left out.

    Returns:
        A matplotlib figure. As the last value of a cell it is shown once.

    Raises:
        ValueError: If there is nothing to compare, the numbers differ, an image is not there any
            more, or belongs to other results.
    """
    pairs = _pairs(outcome_list(a), outcome_list(b), iou_threshold)
    pictures = _images_of(pairs, images)
    sources = [
        f"image {i}" if source is None else short_source(source)
        for i, source in enumerate(source_list([pair.a for pair in pairs]))
    ]
    order = sorted(range(len(pairs)), key=lambda i: -pairs[i].num_disagreements)[:max_images]
    width = tile_width(2, 640)
    tiles, captions = [], []
    for i in order:
        sides = ((pairs[i].a, pairs[i].agreed_a), (pairs[i].b, pairs[i].agreed_b))
        for (outcome, agreed), name, color in zip(sides, names, (_ONLY_A, _ONLY_B), strict=True):
            draw = partial(_draw, agreed=agreed, color=color, hides_agreed=only_disagreements)
            tiles.append(make_tile(pictures[i], outcome, (width, width), True, draw))
            title = name if len(pairs) == 1 else f"{name} · {sources[i]}"
            captions.append(Caption(title, _note(outcome, agreed)))
    footer = "" if len(order) == len(pairs) else f"{len(order)} of {len(pairs)} images"
    legend = [
        (_AGREED, f"agreed {sum(int(pair.agreed_a.sum()) for pair in pairs)}"),
        (_ONLY_A, f"only {names[0]} {sum(int((~pair.agreed_a).sum()) for pair in pairs)}"),
        (_ONLY_B, f"only {names[1]} {sum(int((~pair.agreed_b).sum()) for pair in pairs)}"),
    ]
    return laid_out(tiles, captions, 2, width, legend, footer)


def _pairs(a: Sequence[Outcome], b: Sequence[Outcome], iou_threshold: float) -> list[_Pair]:
    if len(a) != len(b) or not a:
        raise ValueError(f"two answers to the same images are compared, got {len(a)} and {len(b)}")
    if not 0 < iou_threshold <= 1:
        raise ValueError(f"iou_threshold must lie above 0 and be at most 1, got {iou_threshold!r}")
    pairs = []
    for one, other in zip(a, b, strict=True):
        agreed_a, agreed_b = _nobody(one), _nobody(other)
        if isinstance(one, DetectionResult) and isinstance(other, DetectionResult):
            found = match(one.boxes, one.classes, other.boxes, other.classes, iou_threshold)
            for i, j, _ in found:
                agreed_a[i] = agreed_b[j] = True
        pairs.append(_Pair(one, other, agreed_a, agreed_b))
    return pairs


def _nobody(outcome: Outcome) -> npt.NDArray[np.bool_]:
    return np.zeros(len(outcome) if isinstance(outcome, DetectionResult) else 0, dtype=bool)


def _images_of(pairs: Sequence[_Pair], images: Images | None) -> Sequence[AnyImage]:
    if images is None:
        return images_of([_who_knows(pair) for pair in pairs])
    given = image_list(images)
    if len(given) != len(pairs):
        raise ValueError(f"{len(given)} images were given for {len(pairs)} results")
    return given


def _who_knows(pair: _Pair) -> Outcome:
    """Whichever of both answers still has the image."""
    return pair.a if image_of(pair.a) is not None else pair.b


def _draw(
    pixels: RGBImage,
    result: DetectionResult,
    *,
    agreed: npt.NDArray[np.bool_],
    color: Color,
    hides_agreed: bool,
) -> RGBImage:
    texts = [f"{n} {s:.2f}" for n, s in zip(result.names, result.scores, strict=True)]
    shown = np.flatnonzero(~agreed) if hides_agreed else np.arange(len(result))
    # Class ids stand for agreement here; the labels say the true class.
    colored = DetectionResult(result.boxes[shown], result.scores[shown], agreed[shown].astype(int))
    labels = [texts[i] for i in shown.tolist()]
    colors = {0: color, 1: _AGREED}
    return annotate(pixels, colored, labels=labels, colors=colors, thickness=LINE_PX)


def _note(outcome: Outcome, agreed: npt.NDArray[np.bool_]) -> str:
    if not isinstance(outcome, DetectionResult):
        return "failed"
    return f"{len(outcome)} found, {int(agreed.sum())} agreed"
