"""What detkit changes in a network before OpenVINO compiles it changes no answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from detkit.detection.environment import import_openvino
from detkit.detection.model_facts import ModelFacts
from detkit.detection.postprocess import as_anchors
from detkit.detection.runtimes import openvino_network
from detkit.detection.runtimes.contract import LoadOptions
from detkit.detection.runtimes.openvino import model_file, the_core
from detkit.detection.runtimes.selection import open_runtime

ov = import_openvino()
from openvino import opset13 as ops  # noqa: E402  without its telemetry, which is arranged above

FACTS = ModelFacts({0: "bolt", 1: "nut", 2: "washer"}, 32, (128, 128))


def opened(path, kind) -> Any:
    return open_runtime(LoadOptions(path, kind, precision="fp32"), "openvino")


@pytest.mark.parametrize(
    "file, kind",
    [
        ("tiny_pt", "checkpoint"),
        ("tiny_onnx", "onnx"),
        ("tiny_onnx_fixed", "onnx"),
        ("tiny_openvino", "openvino"),
    ],
)
def test_the_head_of_every_export_is_known(request, file, kind):
    batch = np.random.default_rng(3).integers(0, 256, (1, 96, 128, 3), dtype=np.uint8)
    raw = opened(request.getfixturevalue(file), kind).infer(batch)
    assert isinstance(raw, list), "the head was left in the network"
    (levels,) = raw
    assert [level.stride for level in levels] == [8, 16, 32]
    assert [level.logits.shape for level in levels] == [(3, 12, 16), (3, 6, 8), (3, 3, 4)]
    assert [level.distances.shape[0] for level in levels] == [64, 64, 64]


def changed(network: Any, kind: str, wrap) -> Any:
    """The network with the first operation of this kind in its decoding followed by another."""
    for node in reversed(network.get_ordered_ops()):
        if node.get_type_name() == kind:
            readers = list(node.output(0).get_target_inputs())
            wrapped = wrap(node.output(0))
            for reader in readers:
                reader.replace_source_output(wrapped.output(0))
            break
    network.validate_nodes_and_infer_types()
    return network


@pytest.mark.parametrize(
    "kind, wrap",
    [
        ("Sigmoid", lambda o: ops.multiply(o, np.float32(0.9))),
        ("Softmax", lambda o: ops.multiply(o, np.float32(1.01))),
        ("Sigmoid", ops.sqrt),
    ],
)
def test_a_head_that_means_something_else_stays_as_it_is(tiny_openvino, kind, wrap):
    """It looks like any other; what it computes tells."""
    network = changed(the_core().read_model(model_file(tiny_openvino)), kind, wrap)
    plain = network.clone()
    prepared = openvino_network.prepare(network, FACTS)
    assert len(prepared.outputs) == 1
    prepared.reshape([1, 96, 128, 3])
    plain.reshape([1, 3, 96, 128])
    batch = np.random.default_rng(5).integers(0, 256, (1, 96, 128, 3), dtype=np.uint8)
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    found = the_core().compile_model(prepared, "CPU", exact)(batch)[0]
    pixels = batch.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
    expected = the_core().compile_model(plain, "CPU", exact)(pixels)[0]
    assert np.allclose(found, expected, rtol=1e-5, atol=1e-3)


def test_another_number_of_classes_than_the_head_has_is_no_head(tiny_openvino):
    network = the_core().read_model(model_file(tiny_openvino))
    facts = ModelFacts({0: "bolt"}, 32, (128, 128))
    assert len(openvino_network.prepare(network, facts).outputs) == 1


@pytest.mark.parametrize(
    "taps, before, after", [(3, 1, 1), (3, 0, 1), (6, 2, 2), (2, 0, 0), (5, 2, 2)]
)
def test_a_convolution_on_pairs_of_columns_gives_the_same_sum(taps, before, after):
    rng = np.random.default_rng(taps)
    weights = rng.normal(0, 1, (4, 3, 3, taps)).astype(np.float32)
    found = []
    batch = rng.integers(0, 256, (1, 20, 36, 3), dtype=np.uint8)
    for has_even_width in (True, False):
        given = ops.parameter([1, 3, -1, -1], ov.Type.f32)
        convolution = ops.convolution(
            given, ops.constant(weights), [1, 2], [1, before], [1, after], [1, 1]
        )
        assert openvino_network._halves_width(convolution)
        network = openvino_network._with_uint8_input(
            ov.Model([ops.result(convolution)], [given]), has_even_width=has_even_width
        )
        exact = {"INFERENCE_PRECISION_HINT": "f32"}
        found.append(the_core().compile_model(network, "CPU", exact)(batch)[0])
    assert found[0].shape == (1, 4, 20, 18)
    assert np.allclose(*found, atol=1e-4)


@pytest.mark.parametrize("step, before, after", [(1, 1, 1), (2, 0, 0), (2, 3, 3)])
def test_other_convolutions_are_not_read_in_pairs(step, before, after):
    given = ops.parameter([1, 3, -1, -1], ov.Type.f32)
    weights = ops.constant(np.zeros((4, 3, 3, 3), np.float32))
    convolution = ops.convolution(given, weights, [1, step], [1, before], [1, after], [1, 1])
    assert not openvino_network._halves_width(convolution)


def test_levels_are_views_of_the_outputs():
    outputs = [np.zeros((1, 3, 4, 8), np.float32), np.zeros((1, 64, 4, 8), np.float32)]
    (level,) = openvino_network.read_levels(outputs, 32)
    assert level.stride == 8
    assert np.shares_memory(level.logits, outputs[0])
    assert as_anchors((level,)).shape == (7, 32)
