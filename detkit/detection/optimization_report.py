"""What `optimize` measured: speed, agreement with float32, and where the two disagree most.

Owns the counting of agreement. Knows results and boxes; never a model or a picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from detkit.boxes import Agreement, agreement, match
from detkit.results import DetectionResult

# Less than this is no gain: two measurements of the same network differ as much.
_MIN_SPEEDUP = 1.03

# Boxes of the same class that overlap by this much are the same object.
MIN_IOU = 0.5
MAX_WORST = 12


@dataclass(frozen=True, slots=True, eq=False)
class Disagreement:
    """One held-out image as both models see it.

    Attributes:
        index: Position in the images that `optimize` was given.
        source: Path of the file, or "image 3" for an array.
        expected: What the float32 model finds.
        found: What the optimised model finds.
        num_wrong: Boxes that only one of them finds.
        score_drift: Mean absolute difference of the scores of boxes that both find.
    """

    index: int
    source: str
    expected: DetectionResult
    found: DetectionResult
    num_wrong: int
    score_drift: float

    def __repr__(self) -> str:
        return (
            f"<Disagreement on {self.source!r}: {self.num_wrong} of "
            f"{len(self.expected) + len(self.found)} boxes have no partner, "
            f"scores differ by {self.score_drift:.3f}>"
        )


@dataclass(frozen=True, slots=True)
class Fidelity:
    """How well an optimised model agrees with float32 on the held-out images.

    Attributes:
        f1: Share of boxes with a partner of the same class that overlaps by at least 0.5: twice
            the pairs, over the boxes of both models.
        mean_iou: Mean overlap of these pairs.
        score_drift: Mean absolute difference of their scores.
        num_boxes: Boxes that the float32 model finds.
        worst: The images on which the two disagree most, the worst first.
    """

    f1: float
    mean_iou: float
    score_drift: float
    num_boxes: int
    worst: tuple[Disagreement, ...]


def compare(
    sources: Sequence[tuple[int, str]],
    expected: Sequence[DetectionResult],
    found: Sequence[DetectionResult],
) -> Fidelity:
    """Hold results against those of the float32 model, image by image.

    Args:
        sources: Index and name of each image.
        expected: What the float32 model found in it.
        found: What the optimised model found.
    """
    total, drifts, images = Agreement(0, 0, 0, 0.0), list[float](), list[Disagreement]()
    for (index, source), truth, result in zip(sources, expected, found, strict=True):
        here = agreement(result.boxes, result.classes, truth.boxes, truth.classes, MIN_IOU)
        pairs = match(result.boxes, result.classes, truth.boxes, truth.classes, MIN_IOU)
        own = [abs(float(result.scores[i] - truth.scores[j])) for i, j, _ in pairs]
        wrong = here.false_positives + here.false_negatives
        images.append(Disagreement(index, source, truth, result, wrong, _mean(own)))
        total = total.plus(here)
        drifts += own
    images.sort(key=lambda image: (-image.num_wrong, -image.score_drift))
    num_boxes = total.true_positives + total.false_negatives
    return Fidelity(total.f1, total.mean_iou, _mean(drifts), num_boxes, tuple(images[:MAX_WORST]))


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else 0.0


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class OptimizationReport:
    """What became of a model, measured on images that it was not calibrated with.

    Attributes:
        model: Name of the model.
        precision: Number format of the optimised model.
        path: The optimised network, a file that `load_model` takes; `None` if it was not kept.
        kept: Which part of the network stayed in higher precision.
        num_calibration: Images it was calibrated with.
        num_held_out: Images it was judged on.
        min_f1: What was asked for.
        fidelity: Agreement with the float32 model.
        baseline: Number format of the model it was made from, as it was loaded.
        before_ms: Time of the network on one image before, in milliseconds.
        after_ms: The same afterwards. Medians of turns taken by both.
        input_hw: Height and width of the network's input at which that was measured.
    """

    model: str
    precision: str
    path: Path | None
    kept: str
    num_calibration: int
    num_held_out: int
    min_f1: float
    fidelity: Fidelity
    baseline: str
    before_ms: float
    after_ms: float
    input_hw: tuple[int, int]

    @property
    def speedup(self) -> float:
        """How many times faster the optimised network is."""
        return self.before_ms / self.after_ms

    @property
    def is_faster(self) -> bool:
        """Whether that is more than two measurements of one network differ by."""
        return self.speedup >= _MIN_SPEEDUP

    @property
    def worst(self) -> tuple[Disagreement, ...]:
        """The images on which it disagrees most with float32, for `notebook.show_worst`."""
        return self.fidelity.worst

    def __repr__(self) -> str:
        fidelity, (height, width) = self.fidelity, self.input_hw
        verdict = "" if self.is_faster else f", {self.precision} is not faster here"
        lines = (
            f"{self.baseline} {self.before_ms:.1f} ms, {self.precision} {self.after_ms:.1f} ms: "
            f"{self.speedup:.2f} times as fast at {height}x{width}{verdict}",
            f"F1 {fidelity.f1:.3f} (at least {self.min_f1:g} wanted), mean IoU "
            f"{fidelity.mean_iou:.3f}, scores differ by {fidelity.score_drift:.3f}",
            f"{fidelity.num_boxes} float32 boxes in {self.num_held_out} held-out images; "
            f"calibrated on {self.num_calibration} others",
            f"{self.kept}",
            "nowhere" if self.path is None else str(self.path),
        )
        heads = ("speed", "agreement", "judged by", "not int8", "kept in")
        rows = (f"\n  {head:<11}{line}" for head, line in zip(heads, lines, strict=True))
        return f"OptimizationReport({self.model}, {self.precision}){''.join(rows)}"
