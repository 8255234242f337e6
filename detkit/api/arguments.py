"""What callers of the engine may say, checked: numbers, times and settings of one call.

Knows numbers and `DetectionSettings`; never an image or an engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict, TypeVar

import numpy as np

from detkit.detection.abstract import DEFAULT_SETTINGS, DetectionSettings

AnyDetector = TypeVar("AnyDetector")


class SettingsOptions(TypedDict, total=False):
    """Keywords that one call may set; see `DetectionSettings` for each."""

    confidence_threshold: float | None
    iou_threshold: float | None
    max_detections: int | None
    classes: Sequence[int] | None
    agnostic_nms: bool | None


def settings_of(options: SettingsOptions) -> DetectionSettings:
    """The settings of one call from its keywords; a `TypeError` that names an unknown one."""
    if not options:
        return DEFAULT_SETTINGS
    known = SettingsOptions.__annotations__
    unknown = ", ".join(repr(name) for name in options if name not in known)
    if unknown:
        raise TypeError(f"there is no setting {unknown}; there are {', '.join(known)}")
    return DetectionSettings(**options)  # type: ignore[arg-type]


def wrapped(detector: AnyDetector) -> AnyDetector:
    """`detector`, if it is an `AsyncDetector`; otherwise a `TypeError` that says how to get one."""
    if not hasattr(detector, "stream"):
        raise TypeError(
            f"detector must be an AsyncDetector, got {type(detector).__name__}: "
            "write AsyncDetector(detector)"
        )
    return detector


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
