"""Object detection for notebooks: await it, batch it, stream it, see it, measure it.

Everything a user starts from is here; importing it loads no inference library, no pandas and no
matplotlib. The rest has a home of its own: `detkit.notebook`, `detkit.video`, `detkit.pipeline`,
`detkit.samples`, `detkit.testing`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from detkit.api import (
    AbstractDetector,
    AsyncDetector,
    DetectionResult,
    DetectionSettings,
    DetectorClosed,
    EngineStatistics,
    ItemFailure,
    PartialBatchError,
    detect_multiple_async,
)
from detkit.api.tuning import register_tuner
from detkit.detection import ModelLoadError, ModelNotFoundError, YOLOv8Detector
from detkit.errors import DetkitError, ImageDecodeError, InvalidImageError

if TYPE_CHECKING:
    from detkit.drawing import annotate
    from detkit.image_files import decode_image
    from detkit.notebook.event_loops import run
    from detkit.pipeline import detect_images, detect_video

__version__ = "0.1.0"

# Names that would load more than an import may cost, and where they live.
_LATER = {
    "annotate": "detkit.drawing",
    "decode_image": "detkit.image_files",
    "detect_images": "detkit.pipeline",
    "detect_video": "detkit.pipeline",
    "run": "detkit.notebook.event_loops",
}

__all__ = [
    "AbstractDetector",
    "AsyncDetector",
    "DetectionResult",
    "DetectionSettings",
    "DetectorClosed",
    "DetkitError",
    "EngineStatistics",
    "ImageDecodeError",
    "InvalidImageError",
    "ItemFailure",
    "ModelLoadError",
    "ModelNotFoundError",
    "PartialBatchError",
    "YOLOv8Detector",
    "annotate",
    "decode_image",
    "detect_images",
    "detect_multiple_async",
    "detect_video",
    "run",
]


def _tune(detector: AsyncDetector, images: Any, **options: Any) -> Any:
    from detkit.benchmark import tune

    return tune(detector, images, **options)


register_tuner(_tune)  # see there: the engine reaches nothing above it by itself


def __getattr__(name: str) -> Any:
    if name in _LATER:
        value = getattr(import_module(_LATER[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'detkit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
