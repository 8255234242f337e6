"""What crosses into a spawned process, which must be able to import it by a name of its own."""

from __future__ import annotations

from os import PathLike

from detkit import AbstractDetector, AsyncDetector, DetectionResult
from detkit.images import RGBImage
from detkit.testing import image_number, numbered_image, result_number


class PlainDetector(AbstractDetector):
    """Knows no lock, so that it can be pickled."""

    is_loaded = True

    def load_model(self, model_path: str | PathLike[str], device: str = "cpu") -> None:
        pass

    def detect(self, image: RGBImage) -> DetectionResult:
        return DetectionResult([[0, 0, image_number(image), 1]], [1.0], [0])


def detect_in_child(detector: AsyncDetector, numbers: list[int]) -> list[int]:
    with detector:
        results = detector.detect_batch([numbered_image(n) for n in numbers])
    return [result_number(r) for r in results]
