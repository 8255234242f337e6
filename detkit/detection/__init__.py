"""Detectors: the contract, and what implements it."""

from detkit.detection.abstract import AbstractDetector, DetectionSettings
from detkit.detection.yolov8 import YOLOv8Detector
from detkit.errors import ModelLoadError, ModelNotFoundError
from detkit.results import DetectionResult

__all__ = [
    "AbstractDetector",
    "DetectionResult",
    "DetectionSettings",
    "ModelLoadError",
    "ModelNotFoundError",
    "YOLOv8Detector",
]
