"""Networks that load but are no YOLO detector: what they take or give is told, by every library."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from detkit.detection import YOLOv8Detector
from detkit.detection.environment import import_openvino
from detkit.errors import ModelLoadError

ov = import_openvino()
from openvino import opset13 as ops  # noqa: E402  without its telemetry, which is arranged above

# Shapes of inputs and outputs, and what the error names.
WRONG = {
    "anchors before classes": ([(1, 3, 64, 64)], [(1, 84, 7)], r"\(1, 84, 7\)"),
    "one row of scores": ([(1, 3, 64, 64)], [(1, 1000)], r"\(1, 1000\)"),
    "a map": ([(1, 3, 64, 64)], [(1, 7, 8, 8)], r"\(1, 7, 8, 8\)"),
    "masks beside the boxes": ([(1, 3, 64, 64)], [(1, 39, 84), (1, 32, 16, 16)], "outputs"),
    "boxes and scores apart": ([(1, 3, 64, 64)], [(1, 84, 4), (1, 84, 3)], "outputs"),
    "no class": ([(1, 3, 64, 64)], [(1, 4, 84)], r"\(1, 4, 84\)"),
    "two images": ([(1, 3, 64, 64), (1, 3, 64, 64)], [(1, 7, 84)], "one input"),
    "grey images": ([(1, 1, 64, 64)], [(1, 7, 84)], "1 channels"),
    "colours last": ([(1, 64, 64, 3)], [(1, 7, 84)], "64 channels"),
    "a batch of four": ([(4, 3, 64, 64)], [(4, 7, 84)], "batches of exactly 4"),
    "a list of numbers": ([(1, 10)], [(1, 7, 84)], "one input"),
}


def save_openvino(inputs: list[tuple[int, ...]], outputs: list[tuple[int, ...]], to: Path) -> Path:
    given = [ops.parameter(shape, ov.Type.f32) for shape in inputs]
    one = ops.reduce_mean(given[0], np.arange(len(inputs[0])), keep_dims=False)
    results = [ops.result(ops.add(one, np.zeros(shape, np.float32))) for shape in outputs]
    ov.save_model(ov.Model(results, given), to / "model.xml", compress_to_fp16=False)
    return to / "model.xml"


def save_onnx(inputs: list[tuple[int, ...]], outputs: list[tuple[int, ...]], to: Path) -> Path:
    onnx = pytest.importorskip("onnx", reason="it writes the file; detkit[test] holds it")
    helper = onnx.helper
    real = onnx.TensorProto.FLOAT
    nodes = [helper.make_node("ReduceMean", ["in0"], ["one"], keepdims=0)]
    zeros = []
    for i, shape in enumerate(outputs):
        values = np.zeros(shape, np.float32)
        zeros.append(onnx.numpy_helper.from_array(values, f"zero{i}"))
        nodes.append(helper.make_node("Add", ["one", f"zero{i}"], [f"out{i}"]))
    graph = helper.make_graph(
        nodes,
        "wrong",
        [helper.make_tensor_value_info(f"in{i}", real, s) for i, s in enumerate(inputs)],
        [helper.make_tensor_value_info(f"out{i}", real, s) for i, s in enumerate(outputs)],
        zeros,
    )
    opset = [helper.make_opsetid("", 13)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), to / "model.onnx")
    return to / "model.onnx"


@pytest.mark.parametrize("case", WRONG)
@pytest.mark.parametrize(
    "save, runtime",
    [(save_openvino, "openvino"), (save_onnx, "openvino"), (save_onnx, "onnxruntime")],
)
def test_a_wrong_layout_is_told_and_nothing_is_detected(
    tmp_path, case: str, save: Callable[..., Path], runtime: str
):
    pytest.importorskip(runtime)
    inputs, outputs, named = WRONG[case]
    detector = YOLOv8Detector()
    with pytest.raises(ModelLoadError, match=named):
        detector.load_model(save(inputs, outputs, tmp_path), runtime=runtime)
    assert not detector.is_loaded


def test_names_that_do_not_fit_the_output_are_told(tmp_path):
    path = save_openvino([(1, 3, 64, 64)], [(1, 7, 84)], tmp_path)
    (tmp_path / "metadata.yaml").write_text("task: detect\nnames: {0: a, 1: b}\n")
    with pytest.raises(ModelLoadError, match="names 2 classes"):
        YOLOv8Detector().load_model(path)


def test_the_right_layout_without_a_head_that_is_known_is_a_detector(tmp_path):
    """So it is the layout that the others are refused for."""
    detector = YOLOv8Detector()
    detector.load_model(save_openvino([(1, 3, 64, 64)], [(1, 7, 84)], tmp_path))
    result = detector.detect(np.zeros((30, 40, 3), np.uint8))
    assert len(result) == 0
    assert detector.class_names == {0: "class 0", 1: "class 1", 2: "class 2"}
