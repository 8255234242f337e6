"""What callers of the engine may say, checked: numbers, times and settings of one call.

Knows numbers and `DetectionSettings`; never an image or an engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import numpy as np

from detkit.detection.abstract import DEFAULT_SETTINGS, DetectionSettings


class SettingsOptions(TypedDict, total=False):
    """Keywords that one call may set; see `DetectionSettings` for each."""

    confidence_threshold: float | None
    iou_threshold: float | None
    max_detections: int | None
    classes: Sequence[int] | None
    agnostic_nms: bool | None


def settings_of(options: SettingsOptions) -> DetectionSettings:
    """The settings of one call from its keywords."""
    return DetectionSettings(**options) if options else DEFAULT_SETTINGS  # type: ignore[arg-type]


def at_least_one(value: int, name: str) -> int:
    """`value`, if it is an integer of at least 1; otherwise a `ValueError` that names it."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name} must be an integer of at least 1, got {value!r}")
    return int(value)


def seconds(value: float, name: str) -> float:
    """`value`, if it is a time that can be waited; otherwise a `ValueError` that names it."""
    if not value >= 0:
        raise ValueError(f"{name} must be at least 0 seconds, got {value!r}")
    return float(value)
