"""The sample detector: a small YOLOv8 trained on `scene`, shipped inside the package.

Owns where its weights lie and how they are loaded. How they were made and measured stands in
`data/model_card.md` of the repository.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from detkit.errors import ModelNotFoundError

if TYPE_CHECKING:
    from detkit.detection.yolov8 import YOLOv8Detector

_WEIGHTS = Path(__file__).parent / "weights"


def sample_model_path(suffix: Literal[".onnx", ".pt"] = ".onnx") -> Path:
    """Path of the shipped weights.

    Args:
        suffix: `".onnx"` (float32, dynamic batch and size) or `".pt"` (ultralytics, float16).

    Raises:
        ModelNotFoundError: If no weights with that suffix are shipped.
    """
    path = _WEIGHTS / f"parts{suffix}"
    if not path.is_file():
        raise ModelNotFoundError(
            f"detkit ships no sample weights with suffix {suffix!r}; use '.onnx' or '.pt'"
        )
    return path


def sample_detector(**load_options: Any) -> YOLOv8Detector:
    """A loaded detector for the six kinds of part in `CLASS_NAMES`.

    Needs no network. Each call loads a detector of its own.

    Args:
        **load_options: Passed on to `YOLOv8Detector.load_model`; `device` is "cpu" if not given.

    Raises:
        ModelLoadError: If the weights are missing or no runtime can load them.

    Example:
        >>> from detkit.samples import sample_detector, scene
        >>> image, truth = scene(seed=7)
        >>> found = sample_detector().detect(image)  # doctest: +SKIP
    """
    from detkit.detection.yolov8 import YOLOv8Detector

    detector = YOLOv8Detector()
    detector.load_model(sample_model_path(), **{"device": "cpu", **load_options})
    return detector
