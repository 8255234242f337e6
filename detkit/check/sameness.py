"""When two answers of a detector are the same. Knows results; calls no detector."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from detkit.results import DetectionResult

# What float arithmetic may change between two batch sizes: pixels and score.
_BOX_TOLERANCE = 0.5
_SCORE_TOLERANCE = 1e-2


def is_same(a: Sequence[DetectionResult] | None, b: Sequence[DetectionResult] | None) -> bool:
    """Whether both hold the same objects, as far as float arithmetic allows."""
    if a is None or b is None or len(a) != len(b):
        return False
    return all(
        len(x) == len(y)
        and np.array_equal(x.classes, y.classes)
        and np.allclose(x.boxes, y.boxes, rtol=0, atol=_BOX_TOLERANCE)
        and np.allclose(x.scores, y.scores, rtol=0, atol=_SCORE_TOLERANCE)
        for x, y in zip(a, b, strict=True)
    )


def is_shuffled(a: Sequence[DetectionResult], b: Sequence[DetectionResult]) -> bool:
    """Whether `a` holds what `b` holds, in whatever order."""
    left = list(b)
    for result in a:
        match = next((i for i, r in enumerate(left) if is_same([result], [r])), None)
        if match is None:
            return False
        del left[match]
    return True
