"""What every inference library has to give, and what is special about each."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_models import build_network, export, save_checkpoint

from detkit.detection import YOLOv8Detector
from detkit.detection.postprocess import as_anchors
from detkit.detection.runtimes import openvino as openvino_runtime
from detkit.detection.runtimes import openvino_network
from detkit.detection.runtimes.contract import LoadOptions
from detkit.detection.runtimes.selection import choose_runtime, open_runtime
from detkit.errors import ModelLoadError


@pytest.fixture(scope="session")
def tiny_torchscript(tiny_pt, tmp_path_factory):
    return export(tiny_pt, tmp_path_factory.mktemp("ts"), format="torchscript", imgsz=(96, 128))


def options(path, kind, **changes) -> LoadOptions:
    return LoadOptions(path, kind, **{"precision": "fp32", **changes})


def whole(raw) -> np.ndarray:
    """All numbers of a batch, in memory of their own; decoded where the library leaves that."""
    return np.stack([as_anchors(image) if isinstance(image, tuple) else image for image in raw])


CASES = [
    ("tiny_pt", "checkpoint", "ultralytics"),
    ("tiny_onnx", "onnx", "openvino"),
    ("tiny_onnx", "onnx", "onnxruntime"),
    ("tiny_onnx_fixed", "onnx", "openvino"),
    ("tiny_onnx_fixed", "onnx", "onnxruntime"),
    ("tiny_openvino", "openvino", "openvino"),
    ("tiny_torchscript", "torchscript", "ultralytics"),
]


@pytest.mark.parametrize("file, kind, library", CASES)
def test_every_library_gives_the_same_numbers(request, tiny_pt, file, kind, library):
    pytest.importorskip(library)
    batch = np.random.default_rng(2).integers(0, 256, (1, 96, 128, 3), dtype=np.uint8)
    expected = open_runtime(options(tiny_pt, "checkpoint"), "ultralytics").infer(batch)
    trusted = {"trust_weights": kind == "torchscript"}
    runtime = open_runtime(options(request.getfixturevalue(file), kind, **trusted), library)
    raw = whole(runtime.infer(batch))
    assert raw.dtype == np.float32
    assert raw.shape == expected.shape == (1, 7, 252)
    assert np.abs(raw - expected).max() < 1e-3
    assert runtime.library == library
    replica = runtime.replicate()
    assert np.array_equal(whole(replica.infer(batch)), raw)
    assert replica.facts == runtime.facts
    assert runtime.facts.class_names == {0: "bolt", 1: "nut", 2: "<b>washer</b>"}
    runtime.close()
    assert np.array_equal(whole(replica.infer(batch)), raw)


@pytest.mark.parametrize("file", ["tiny_onnx", "tiny_onnx_fixed", "tiny_openvino"])
@pytest.mark.parametrize("has_even_width", [True, False])
def test_pixels_compiled_in_are_those_of_openvinos_own_steps(request, file, has_even_width):
    core = openvino_runtime.the_core()
    import openvino
    from openvino.preprocess import PrePostProcessor

    path = openvino_runtime.model_file(request.getfixturevalue(file))
    steps = PrePostProcessor(core.read_model(path))
    image = steps.input()
    image.tensor().set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
    image.model().set_layout(openvino.Layout("NCHW"))
    image.preprocess().convert_element_type(openvino.Type.f32).scale(255.0)
    batch = np.random.default_rng(5).integers(0, 256, (1, 96, 128, 3), dtype=np.uint8)
    found = []
    for model in (
        steps.build(),
        openvino_network._with_uint8_input(core.read_model(path), has_even_width=has_even_width),
    ):
        if not model.input(0).partial_shape.is_static:
            model.reshape([1, 96, 128, 3])
        compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        found.append(compiled(batch)[0].copy())
    expected, raw = found
    assert raw.dtype == np.float32
    # Boxes are in pixels up to 128; 1/255 in the weights rounds once more, at the last bit.
    assert np.allclose(raw, expected, rtol=1e-5, atol=1e-3)


def test_the_preferred_library_by_file_and_device():
    path = Path("m")
    assert choose_runtime(LoadOptions(path, "onnx"), "auto") == "openvino"
    assert choose_runtime(LoadOptions(path, "onnx", device="cuda"), "auto") == "onnxruntime"
    assert choose_runtime(LoadOptions(path, "onnx"), "onnxruntime") == "onnxruntime"
    with pytest.raises(ModelLoadError, match="cannot load"):
        choose_runtime(LoadOptions(path, "openvino"), "onnxruntime")


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_onnx_never_imports_torch(tiny_onnx, runtime):
    pytest.importorskip(runtime)
    code = f"""
import sys, numpy as np
seen = []
watched = ("socket.", "subprocess.", "os.fork")
sys.addaudithook(lambda e, a: seen.append(e) if e.startswith(watched) else None)
from detkit.detection import YOLOv8Detector
detector = YOLOv8Detector()
detector.load_model({str(tiny_onnx)!r}, runtime={runtime!r})
detector.replicate().detect(np.zeros((40, 40, 3), np.uint8))
import os
assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"
assert not {{"torch", "ultralytics"}} & set(sys.modules)
assert not seen, seen
"""
    root = str(Path(__file__).resolve().parents[2])
    env = {"PYTHONPATH": root, "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""


def test_a_missing_library_is_named(tiny_onnx, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ModelLoadError, match="needs onnxruntime"):
        open_runtime(options(tiny_onnx, "onnx"), "onnxruntime")


@pytest.mark.parametrize("library", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("device", ["cuda:77", "mps"])
def test_devices_that_are_not_there(tiny_onnx, library, device):
    pytest.importorskip(library)
    with pytest.raises(ModelLoadError, match="available"):
        open_runtime(options(tiny_onnx, "onnx", device=device), library)


def test_an_engine_without_its_gpu_is_a_clear_error(tmp_path):
    text = json.dumps({"task": "detect", "names": {"0": "a"}, "imgsz": [640, 640]}).encode()
    path = tmp_path / "m.engine"
    path.write_bytes(len(text).to_bytes(4, "little") + text + b"engine")
    with pytest.raises(ModelLoadError, match="NVIDIA GPU"):
        YOLOv8Detector().load_model(path, trust_weights=True)
    text = text.replace(b'"detect"', b'"segment"')
    path.write_bytes(len(text).to_bytes(4, "little") + text)
    with pytest.raises(ModelLoadError, match="segment"):
        YOLOv8Detector().load_model(path, trust_weights=True)


def test_torchscript_keeps_to_the_size_it_was_made_with(tiny_torchscript, noise):
    detector = YOLOv8Detector()
    detector.load_model(tiny_torchscript, trust_weights=True)
    assert detector.batch_key(noise) == detector.batch_key(noise[:5]) == (96, 128)
    with pytest.raises(ModelLoadError, match="96x128"):
        detector.load_model(tiny_torchscript, trust_weights=True, image_size=64)


def test_more_sizes_than_are_compiled_give_the_same_results(tiny_onnx, monkeypatch):
    sides = [(32 * i, 128) for i in range(1, 5)]
    images = [np.full((1, *hw, 3), 90, np.uint8) for hw in sides]
    runtime = open_runtime(options(tiny_onnx, "onnx"), "openvino")
    each = [whole(runtime.infer(image)) for image in images]
    monkeypatch.setattr(openvino_runtime, "MAX_COMPILED_SIZES", 1)
    shared = open_runtime(options(tiny_onnx, "onnx"), "openvino")
    for _ in range(2):
        for image, expected in zip(images, each, strict=True):
            assert np.abs(whole(shared.infer(image)) - expected).max() < 1e-3
    assert {hw for hw, _ in shared._requests} == {(128, 128), None}


def test_a_head_with_its_own_suppression(tmp_path, noise):
    """A one-to-one head gives rows of finished boxes. (Exports fall back to anchors.)"""
    network = build_network(end2end=True)
    network.model[-1].end2end = True
    path = save_checkpoint(network, tmp_path / "rows.pt")
    detector = YOLOv8Detector()
    detector.load_model(path, confidence_threshold=0.3)
    assert detector._loaded.runtime.facts.layout == "rows"
    result = detector.detect(noise)
    assert len(result) > 0
    assert detector.replicate().detect(noise) == result
