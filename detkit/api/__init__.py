"""The engine and its public face."""

from detkit.api.async_detector import AsyncDetector, detect_multiple_async
from detkit.api.statistics import EngineStatistics
from detkit.detection.abstract import AbstractDetector, DetectionSettings
from detkit.errors import DetectorClosed, ItemFailure, PartialBatchError
from detkit.results import DetectionResult

__all__ = [
    "AbstractDetector",
    "AsyncDetector",
    "DetectionResult",
    "DetectionSettings",
    "DetectorClosed",
    "EngineStatistics",
    "ItemFailure",
    "PartialBatchError",
    "detect_multiple_async",
]
