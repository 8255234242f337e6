"""Real models on real files: what they find does not depend on how much of a JPEG was decoded."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from detkit import AsyncDetector, YOLOv8Detector, detect_images
from detkit.boxes import Agreement, agreement
from detkit.samples import sample_detector, sample_images
from detkit.scaled_decode import decode_reduced


def write(path: Path, image: np.ndarray, size_wh: tuple[int, int] | None = None) -> None:
    if size_wh is not None:
        image = cv2.resize(image, size_wh, interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(path), image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])


def compare(base: YOLOv8Detector, folder: Path) -> Agreement:
    """Detections from fractions beside those from whole pictures."""
    total = Agreement(0, 0, 0, 0.0)
    with AsyncDetector(base, max_workers=1) as detector:
        scaled = list(detect_images(detector, folder))
        exact = list(detect_images(detector, folder, decode="exact"))
    for one, other in zip(scaled, exact, strict=True):
        assert one.source == other.source
        a, b = one.result, other.result
        height, width = b.metadata["image_hw"]
        assert a.metadata["image_hw"] == (height, width)
        assert (a.boxes >= 0).all()
        assert (a.boxes <= [width, height, width, height]).all()
        total = total.plus(agreement(a.boxes, a.classes, b.boxes, b.classes))
    return total


@pytest.mark.parametrize("size_wh", [None, (4000, 3000)], ids=["720p", "12 megapixels"])
def test_the_sample_model(tmp_path, size_wh):
    base = sample_detector(precision="fp32")
    for index, image in enumerate(sample_images(8)):
        write(tmp_path / f"{index}.jpg", image, size_wh)
    factor = decode_reduced(tmp_path / "0.jpg", base.scaled_hw).reduction.factor
    assert factor == (2 if size_wh is None else 4)
    total = compare(base, tmp_path)
    assert total.true_positives > 60
    assert total.f1 >= 0.97, total
    assert total.mean_iou >= 0.95, total


def test_photographs_of_12_megapixels(coco_onnx, photographs, tmp_path):
    # A whole picture is scaled by a sixth through a few of its pixels, a fraction through all of
    # them: scores of small objects differ by up to 0.1, so those near the threshold are left out.
    base = YOLOv8Detector()
    base.load_model(coco_onnx, precision="fp32", confidence_threshold=0.4)
    write(tmp_path / "bus.jpg", photographs["bus"], (3000, 4000))
    write(tmp_path / "zidane.jpg", photographs["zidane"], (4619, 2598))
    write(tmp_path / "small.jpg", photographs["zidane"])
    total = compare(base, tmp_path)
    assert total.true_positives >= 9
    assert total.f1 >= 0.97, total
    assert total.mean_iou >= 0.95, total
