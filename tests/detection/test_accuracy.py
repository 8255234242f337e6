"""Real weights on real pictures: what detkit finds is what ultralytics finds."""

from __future__ import annotations

import numpy as np
import pytest

from detkit.detection import YOLOv8Detector

EXPECTED = {"bus": ["bus"] + ["person"] * 4, "zidane": ["person"] * 2 + ["tie"]}


@pytest.mark.parametrize("precision", ["auto", "fp32"])
@pytest.mark.parametrize("file", ["coco_pt", "coco_onnx"])
def test_the_photographs(request, file, precision, photographs):
    detector = YOLOv8Detector()
    detector.load_model(request.getfixturevalue(file), device="cpu", precision=precision)
    for name, image in photographs.items():
        result = detector.detect(image)
        assert sorted(result.names) == EXPECTED[name]
        assert np.all(np.diff(result.scores) <= 0)
