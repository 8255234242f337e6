from __future__ import annotations

import numpy as np
import pytest

from detkit.detection.abstract import DetectionSettings
from detkit.detection.loaded_model import LoadedModel, Thresholds
from detkit.detection.model_facts import ModelFacts
from detkit.detection.runtimes.contract import Runtime
from detkit.errors import (
    DetectorContractError,
    InvalidResultError,
    UnsupportedSettingError,
)

NAMES = {0: "bright", 1: "dark"}


class Brightness(Runtime):
    """Answers with one anchor per image: its brightest row, scored by its mean."""

    device, precision, library = "cpu", "fp32", "fake"

    def __init__(self, layout="anchors", max_batch_size=None, fixed=False) -> None:
        self.facts = ModelFacts(NAMES, 32, (64, 64), fixed, max_batch_size, layout)
        self.batches: list[tuple[int, ...]] = []
        self.output = np.empty((64, 6, 1), np.float32)

    def infer(self, batch):
        self.batches.append(batch.shape)
        for i, image in enumerate(batch):
            score = float(image.mean()) / 255
            self.output[i, :, 0] = [32, 16, 20, 10, score, 1 - score]
        raw = self.output[: len(batch)]  # the very same memory each time
        if self.facts.layout == "rows":
            return np.array([[[22, 11, 42, 21, r[4, 0], 0]] for r in raw], np.float32)
        return raw

    def replicate(self):
        return Brightness()


def image(level: int, hw=(32, 64)) -> np.ndarray:
    return np.full((*hw, 3), level, np.uint8)


def model(**options) -> LoadedModel:
    return LoadedModel(Brightness(**options), "fake", Thresholds())


def test_results_own_their_memory_and_say_where_they_come_from():
    loaded = model()
    first = loaded.detect([image(200)], None)[0]
    before = first.boxes.copy(), first.scores.copy()
    loaded.detect([image(10)], None)
    assert np.array_equal(first.boxes, before[0])
    assert np.array_equal(first.scores, before[1])
    assert first.boxes.tolist() == [[22, 11, 42, 21]]
    facts = dict(first.metadata)
    assert all(facts.pop(f"{s}_ms") > 0 for s in ("preprocess", "inference", "postprocess"))
    assert facts == {
        "num_detections": 1,
        "image_hw": (32, 64),
        "class_names": NAMES,
        "model": "fake",
    }


def test_a_list_of_shapes_goes_through_in_groups_and_comes_back_in_order():
    loaded = model()
    images = [image(200), image(255, (64, 32)), image(180), image(150, (64, 32))]
    results = loaded.detect(images, None)
    assert sorted(loaded.runtime.batches) == [(2, 32, 64, 3), (2, 64, 32, 3)]
    assert [r.metadata["image_hw"] for r in results] == [(32, 64), (64, 32), (32, 64), (64, 32)]
    levels = [200, 255, 180, 150]
    assert [round(float(r.scores[0]) * 255) for r in results] == levels


@pytest.mark.parametrize("most, sizes", [(1, [1, 1, 1]), (2, [2, 1]), (None, [3])])
def test_batches_are_no_larger_than_the_network_takes(most, sizes):
    loaded = model(max_batch_size=most)
    loaded.detect([image(200)] * 3, None)
    assert [shape[0] for shape in loaded.runtime.batches] == sizes


def test_neighbours_do_not_change_a_result():
    loaded = model()
    alone = loaded.detect([image(200)], None)[0]
    for neighbours in ([image(9)], [image(9, (64, 64))], [image(9)] * 5):
        assert loaded.detect([image(200), *neighbours], None)[0] == alone
        assert loaded.detect([*neighbours, image(200)], None)[-1] == alone


def test_settings_hold_for_one_call():
    loaded = model()
    ask = DetectionSettings(confidence_threshold=0.9)
    assert len(loaded.detect([image(200)], ask)[0]) == 0
    assert len(loaded.detect([image(200)], None)[0]) == 1
    assert len(loaded.detect([image(200)], DetectionSettings(classes=(1,)))[0]) == 0


def test_no_images_no_results():
    assert model().detect([], None) == []


def test_rows_need_no_suppression_and_honour_no_overlap():
    loaded = model(layout="rows")
    result = loaded.detect([image(200)], DetectionSettings(max_detections=1))[0]
    assert result.boxes.tolist() == [[22, 11, 42, 21]]
    with pytest.raises(UnsupportedSettingError):
        loaded.detect([image(200)], DetectionSettings(iou_threshold=0.5))


def test_nan_is_an_error_and_never_an_empty_result():
    loaded = model()
    loaded.runtime.infer = lambda batch: np.full((len(batch), 6, 1), np.nan, np.float32)
    with pytest.raises(InvalidResultError):
        loaded.detect([image(200)], None)


def test_a_missing_output_is_an_error():
    loaded = model()
    loaded.runtime.infer = lambda batch: np.zeros((1, 6, 1), np.float32)
    with pytest.raises(DetectorContractError, match="1 outputs for 2 images"):
        loaded.detect([image(200)] * 2, None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"confidence_threshold": 1.5},
        {"iou_threshold": float("nan")},
        {"max_detections": 0},
    ],
)
def test_defaults_are_checked_like_settings(wrong):
    with pytest.raises(UnsupportedSettingError):
        Thresholds(**wrong)
