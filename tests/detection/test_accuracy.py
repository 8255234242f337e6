"""Real weights on real pictures: what detkit finds is what ultralytics finds."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from tiny_models import SHARED

from detkit.boxes import Agreement, agreement, match
from detkit.detection import DetectionSettings, YOLOv8Detector
from detkit.detection.environment import import_ultralytics
from detkit.samples import sample_model_path, scene

EXPECTED = {"bus": ["bus"] + ["person"] * 4, "zidane": ["person"] * 2 + ["tie"]}
CONFIDENCES = (0.05, 0.1, 0.25, 0.5, 0.7, 0.9)
MARGIN = 1e-3  # a score this near to the threshold may fall on either side


@pytest.fixture(scope="module")
def pictures(photographs) -> list[np.ndarray]:
    """The photographs, two of the samples, and 50 frames of the shared clips."""
    frames = [*photographs.values(), *(scene(seed)[0] for seed in (1, 2))]
    for name in ("bigbuckbunny-720p.mp4", "carphone.mp4"):
        capture = cv2.VideoCapture(str(SHARED / "videos" / name))
        total = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        wanted = set(np.linspace(0, total - 2, 25).astype(int).tolist())
        for index in range(total):
            ok, frame = capture.read()
            if ok and index in wanted:
                frames.append(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
        capture.release()
    assert len(frames) == 54
    return frames


@pytest.fixture(scope="module")
def truth(coco_pt, pictures) -> list[np.ndarray]:
    """What ultralytics' own predictor returns: rows of x1, y1, x2, y2, score, class."""
    import_ultralytics()
    from ultralytics import YOLO

    model = YOLO(coco_pt)
    rows = []
    for picture in pictures:
        bgr = np.ascontiguousarray(picture[..., ::-1])
        found = model.predict(bgr, conf=CONFIDENCES[0] - MARGIN, device="cpu", verbose=False)
        rows.append(found[0].boxes.data.numpy())
    return rows


def load(path, **options) -> YOLOv8Detector:
    detector = YOLOv8Detector()
    detector.load_model(path, device="cpu", **options)
    return detector


@pytest.mark.parametrize("precision", ["auto", "fp32"])
@pytest.mark.parametrize("file", ["coco_pt", "coco_onnx"])
def test_the_photographs(request, file, precision, photographs):
    detector = load(request.getfixturevalue(file), precision=precision)
    for name, image in photographs.items():
        result = detector.detect(image)
        assert sorted(result.names) == EXPECTED[name]
        assert np.all(np.diff(result.scores) <= 0)


@pytest.mark.parametrize(
    "file, runtime",
    [
        ("coco_pt", "ultralytics"),
        ("coco_pt", "openvino"),
        ("coco_onnx", "openvino"),
        ("coco_onnx", "onnxruntime"),
    ],
)
def test_float32_is_what_ultralytics_predicts(request, file, runtime, pictures, truth):
    pytest.importorskip(runtime)
    detector = load(request.getfixturevalue(file), runtime=runtime, precision="fp32")
    compared = 0
    for picture, rows in zip(pictures, truth, strict=True):
        for confidence in CONFIDENCES:
            asked = DetectionSettings(confidence_threshold=confidence)
            result = detector.detect(picture, settings=asked)
            expected = rows[rows[:, 4] >= confidence - MARGIN]
            pairs = match(
                result.boxes, result.classes, expected[:, :4], expected[:, 5].astype(int), 0.8
            )
            for i, j, _ in pairs:
                assert np.abs(result.boxes[i] - expected[j, :4]).max() < 0.5
                assert abs(result.scores[i] - expected[j, 4]) < 1e-3
            missed = set(range(len(expected))) - {j for _, j, _ in pairs}
            extra = set(range(len(result))) - {i for i, _, _ in pairs}
            assert all(expected[j, 4] < confidence + MARGIN for j in missed)
            assert all(result.scores[i] < confidence + MARGIN for i in extra)
            compared += len(pairs)
    assert compared > 50


def test_a_picture_as_narrow_as_a_line_has_a_result():
    noise = np.random.default_rng(0).integers(0, 256, (640, 20, 3), dtype=np.uint8)
    detector = load(sample_model_path(".onnx"), precision="auto")
    assert detector.batch_key(noise) == (640, 32)
    exact = load(sample_model_path(".onnx"), precision="fp32")
    assert detector.detect(noise) == exact.detect(noise)
    for height in range(64, 640, 32):  # more sizes than are compiled one by one
        detector.detect(np.full((height, 640, 3), 90, np.uint8))
    detector.detect(noise[::2])
    assert len(detector.detect(np.full((30_000, 40, 3), 90, np.uint8))) == 0


def test_bfloat16_agrees_with_float32(coco_pt, pictures):
    exact, fast = load(coco_pt, precision="fp32"), load(coco_pt, precision="auto")
    if "bf16" not in repr(fast):
        pytest.skip("this CPU has no native bfloat16")
    total = Agreement(0, 0, 0, 0.0)
    for picture in pictures:
        a, b = fast.detect(picture), exact.detect(picture)
        total = total.plus(agreement(a.boxes, a.classes, b.boxes, b.classes))
    assert total.f1 >= 0.96, total
