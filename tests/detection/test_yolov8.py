from __future__ import annotations

import pickle
import threading

import cv2
import numpy as np
import pytest

from detkit.detection import DetectionSettings, YOLOv8Detector
from detkit.errors import (
    DetectorNotLoadedError,
    InvalidImageError,
    ModelLoadError,
    ModelNotFoundError,
    UnsupportedSettingError,
)

FORMATS = ["tiny_pt", "tiny_onnx", "tiny_onnx_fixed", "tiny_openvino"]


def load(path, **options) -> YOLOv8Detector:
    detector = YOLOv8Detector()
    detector.load_model(path, **{"confidence_threshold": 0.3, "precision": "fp32", **options})
    return detector


@pytest.fixture(scope="module", params=[*FORMATS, "tiny_pt with torch"])
def detector(request) -> YOLOv8Detector:
    name, _, library = request.param.partition(" with ")
    runtime = "ultralytics" if library else "auto"
    return load(request.getfixturevalue(name), runtime=runtime)


def test_it_says_what_it_is(detector):
    assert detector.is_loaded
    assert detector.class_names == {0: "bolt", 1: "nut", 2: "<b>washer</b>"}
    assert detector.model_name == "tiny"
    assert "3 classes" in repr(detector)
    assert "fp32 on cpu" in repr(detector)
    assert not detector.thread_safe


def test_it_finds_the_same_in_every_copy(detector, noise):
    alone = detector.detect(noise)
    assert len(alone) > 0
    replica = detector.replicate()
    reloaded = pickle.loads(pickle.dumps(detector))
    assert replica is not detector
    assert replica.detect(noise) == alone
    assert reloaded.detect(noise) == alone
    assert repr(replica) == repr(detector) == repr(reloaded)
    replica.close()
    assert detector.detect(noise) == alone


def test_neighbours_and_batch_size_change_nothing(detector, noise):
    other = np.ascontiguousarray(noise.transpose(1, 0, 2))
    alone = detector.detect(noise)
    for images in ([noise] * 3, [other, noise], [noise, other, noise[:40], noise]):
        results = detector.detect_batch(images)
        for image, result in zip(images, results, strict=True):
            assert result == detector.detect(image)
            if image is noise:
                assert result == alone


def test_settings_belong_to_the_call(detector, noise):
    sure = detector.detect(noise, settings=DetectionSettings(confidence_threshold=0.4))
    usual = detector.detect(noise)
    few = detector.detect(noise, settings=DetectionSettings(max_detections=2))
    nuts = detector.detect(noise, settings=DetectionSettings(classes=(1,)))
    assert len(usual) > len(sure) > len(few) == 2
    assert set(nuts.classes.tolist()) == {1}
    assert detector.detect(noise) == usual


def test_four_threads_on_one_detector_each_get_their_own_answer(detector, noise):
    images = [noise, noise[:45], noise[:, :80], noise[::2, ::2]]
    images = [np.ascontiguousarray(image) for image in images]
    expected = [detector.detect(image) for image in images]
    start = threading.Barrier(len(images))
    wrong: list[int] = []

    def work(index: int) -> None:
        start.wait()
        wrong.extend(index for _ in range(10) if detector.detect(images[index]) != expected[index])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(images))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_boxes_lie_in_the_image_and_the_image_stays_as_it_is(detector, noise):
    before = noise.copy()
    result = detector.detect(noise, settings=DetectionSettings(confidence_threshold=0.01))
    assert result.boxes[:, 2].max() <= noise.shape[1]
    assert result.boxes[:, 3].max() <= noise.shape[0]
    assert np.array_equal(noise, before)
    assert result.metadata["image_hw"] == noise.shape[:2]


@pytest.mark.parametrize("hw", [(1, 1), (1, 500), (500, 1), (3, 4000), (128, 128)])
def test_every_size_works(detector, hw):
    image = np.random.default_rng(1).integers(0, 256, (*hw, 3), dtype=np.uint8)
    assert detector.detect(image).metadata["image_hw"] == hw


def test_batch_key_is_the_rectangle_of_the_input(detector, noise):
    fixed = detector._loaded.runtime.facts.is_fixed
    assert detector.batch_key(noise) == (96, 128)
    assert detector.batch_key(noise[:10]) == ((96, 128) if fixed else (32, 128))


@pytest.mark.parametrize(
    "bad",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), "bus.jpg", None],
)
def test_what_is_no_image_is_refused(detector, bad):
    with pytest.raises(InvalidImageError):
        detector.detect(bad)


def test_all_formats_agree(request, noise):
    results = [load(request.getfixturevalue(name)).detect(noise) for name in FORMATS if name]
    for result in results[1:]:
        assert np.array_equal(result.classes, results[0].classes)
        assert np.abs(result.boxes - results[0].boxes).max() < 0.01
        assert np.abs(result.scores - results[0].scores).max() < 1e-4


def test_rgb_goes_in(tiny_pt, noise):
    detector = load(tiny_pt)
    assert detector.detect(noise) != detector.detect(cv2.cvtColor(noise, cv2.COLOR_RGB2BGR))


def test_before_loading_and_after_closing(tiny_onnx, noise):
    detector = YOLOv8Detector()
    assert repr(detector) == "YOLOv8Detector(not loaded)"
    assert detector.class_names == {}
    assert detector.model_name == ""
    assert not pickle.loads(pickle.dumps(detector)).is_loaded
    for _ in range(2):
        assert not detector.is_loaded
        for call in (
            lambda: detector.detect(noise),
            lambda: detector.detect_batch([noise]),
            lambda: detector.batch_key(noise),
            detector.replicate,
        ):
            with pytest.raises(DetectorNotLoadedError):
                call()
        detector.load_model(tiny_onnx)
        assert detector.is_loaded
        detector.close()
        detector.close()


def test_a_failed_load_leaves_the_old_model(tiny_onnx, noise, tmp_path):
    detector = load(tiny_onnx)
    before = detector.detect(noise)
    with pytest.raises(ModelNotFoundError):
        detector.load_model(tmp_path / "missing.onnx")
    assert detector.detect(noise) == before


@pytest.mark.parametrize("name", ["tiny_pt", "tiny_onnx"])
@pytest.mark.parametrize(
    "options",
    [
        {"device": "gpu"},
        {"device": "cuda:99"},
        {"precision": "int3"},
        {"runtime": "tensorflow"},
        {"num_threads": 0},
        {"image_size": 0},
        {"image_size": "640"},
    ],
)
def test_options_that_cannot_be(request, name, options):
    with pytest.raises(ModelLoadError):
        load(request.getfixturevalue(name), **options)


@pytest.mark.parametrize("wrong", [{"confidence_threshold": 2}, {"max_detections": 0}])
def test_thresholds_out_of_range(tiny_onnx, wrong):
    with pytest.raises(UnsupportedSettingError):
        load(tiny_onnx, **wrong)


def test_a_library_that_cannot_read_the_file(tiny_pt, tiny_onnx):
    with pytest.raises(ModelLoadError, match="openvino"):
        load(tiny_onnx, runtime="ultralytics")


@pytest.mark.parametrize("name", ["tiny_pt", "tiny_onnx"])
def test_image_size(request, name, noise):
    detector = load(request.getfixturevalue(name), image_size=(64, 96), num_threads=1)
    assert detector.batch_key(noise) == (64, 96)
    assert detector.detect(noise).metadata["num_detections"] >= 0


def test_a_fixed_network_takes_its_own_size_only(tiny_onnx_fixed):
    with pytest.raises(ModelLoadError, match="96x128"):
        load(tiny_onnx_fixed, image_size=64)
    assert load(tiny_onnx_fixed, image_size=(96, 128)).is_loaded


def test_a_bare_official_name_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelNotFoundError, match=r"yolov8n\.pt"):
        YOLOv8Detector().load_model("yolov8n.pt", device="cpu")


def test_what_load_model_left_open_can_be_loaded_in_other_ways(tiny_onnx, noise):
    detector = load(tiny_onnx)
    choices = detector.load_choices((1,))
    assert {c["runtime"] for c in choices} == {"openvino", "onnxruntime"}
    assert {"runtime": "openvino", "precision": "fp32", "num_threads": 1} in choices
    mine = {"runtime": "openvino", "precision": detector.replicate()._loaded.runtime.precision}
    assert mine not in choices, "that is how it is loaded"
    truth = load(tiny_onnx, precision="fp32").detect(noise)
    for choice in choices:
        other = detector.reload(**choice)
        assert choice["runtime"] in repr(other)
        if choice["precision"] == "fp32":
            assert len(other.detect(noise)) == len(truth)
        # Having chosen does not narrow what may be chosen next time.
        assert len(other.load_choices((1,))) == len(choices)


def test_what_was_asked_for_by_name_stays(tiny_onnx):
    detector = load(tiny_onnx, runtime="openvino", precision="fp32", confidence_threshold=0.6)
    assert detector.load_choices((1,)) == [
        {"runtime": "openvino", "precision": "fp32", "num_threads": 1}
    ]
    assert detector.reload(num_threads=1).load_choices((1, 2)) == detector.load_choices((1, 2))
    assert load(tiny_onnx, runtime="openvino", precision="fp32", num_threads=1).load_choices() == []
    assert detector.reload(num_threads=1)._loaded.defaults.confidence_threshold == 0.6
    with pytest.raises(ModelLoadError):
        detector.reload(precision="int3")
    for call in (YOLOv8Detector().reload, YOLOv8Detector().load_choices):
        with pytest.raises(DetectorNotLoadedError):
            call()


def test_it_can_be_loaded_again_in_another_way(tiny_onnx, noise):
    detector = load(tiny_onnx)
    smaller = detector.reload(image_size=64)
    assert smaller.batch_key(noise) != detector.batch_key(noise)
    assert detector.reload().detect(noise) == detector.detect(noise)
    assert detector.runtimes == ("openvino", "onnxruntime")
    with pytest.raises(TypeError, match="colour"):
        detector.reload(colour="red")
    with pytest.raises(DetectorNotLoadedError):
        YOLOv8Detector().reload()
