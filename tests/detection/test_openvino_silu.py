"""SiLU without exponential and division is SiLU, and is nowhere that asks for exact numbers."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from detkit.detection.environment import import_openvino
from detkit.detection.quantize import read_network
from detkit.detection.runtimes import openvino, openvino_silu
from detkit.detection.runtimes.contract import LoadOptions
from detkit.detection.runtimes.openvino_silu import replace_silu
from detkit.detection.threads import ThreadLayout, ThreadPlan

ov = import_openvino()
from openvino import opset13 as ops  # noqa: E402  without its telemetry, which is arranged above


@pytest.fixture(autouse=True)
def every_size_is_worth_it(monkeypatch):
    monkeypatch.setattr(openvino_silu, "_FEWEST", 1)


def silu(values: np.ndarray) -> np.ndarray:
    return values / (1 + np.exp(-values.astype(np.float64)))


def kinds(network: Any) -> Counter[str]:
    return Counter(node.get_type_name() for node in network.get_ops())


def evaluated(network: Any, values: np.ndarray) -> np.ndarray:
    result = ov.Tensor(ov.Type.f32, values.shape)
    assert network.evaluate([result], [ov.Tensor(values)])
    return result.data


def as_swish(given: Any) -> Any:
    return ops.swish(given)


def as_product(given: Any) -> Any:
    return ops.multiply(given, ops.sigmoid(given))


def as_product_turned(given: Any) -> Any:
    return ops.multiply(ops.sigmoid(given), given)


@pytest.mark.parametrize("written", [as_swish, as_product, as_product_turned])
def test_it_differs_by_less_than_bfloat16_can_tell(written):
    values = np.linspace(-60, 60, 240_001, dtype=np.float32)
    given = ops.parameter(values.shape, ov.Type.f32)
    network = ov.Model([written(given)], [given])
    replace_silu(network)
    assert not {"Swish", "Sigmoid", "Exp", "Divide"} & set(kinds(network))
    found = evaluated(network, values)
    errors = np.abs(found - silu(values))
    assert errors.max() <= 0.0005
    assert abs(found[values == 0][0]) < 1e-6
    assert np.sqrt(np.mean(errors[np.abs(values) < 6] ** 2)) <= 0.0002
    far = np.abs(values) > 12.5
    assert np.array_equal(found[far], np.maximum(values[far], 0))


def test_what_is_no_silu_stays():
    given, gate = (ops.parameter([1, 4, 2, 2], ov.Type.f32) for _ in range(2))
    half = ops.parameter([1, 4, 2, 2], ov.Type.f16)
    with_beta = ops.swish(given, ops.constant(np.float32(2)))
    gated = ops.multiply(given, ops.sigmoid(gate))
    network = ov.Model(
        [with_beta, gated, ops.swish(half, ops.constant(np.float16(1)))],
        [given, gate, half],
        "no SiLU",
    )
    before = kinds(network)
    replace_silu(network)
    assert kinds(network) == before


def test_what_is_too_small_to_be_worth_a_loop_stays(monkeypatch):
    monkeypatch.setattr(openvino_silu, "_FEWEST", 100)
    given = [ops.parameter(shape, ov.Type.f32) for shape in ([1, 4, 5, 5], [1, 3, 5, 5])]
    network = ov.Model([ops.swish(one) for one in given], given, "two sizes")
    replace_silu(network)
    assert (kinds(network)["Abs"], kinds(network)["Swish"]) == (1, 1)


@pytest.mark.parametrize("model", ["tiny_onnx", "tiny_openvino"])
def test_every_silu_of_an_export_is_found(request, model):
    path = request.getfixturevalue(model)
    path = next(path.glob("*.xml")) if path.is_dir() else path
    converted = kinds(read_network(path))
    network = openvino.the_core().read_model(path)
    replace_silu(network)
    assert kinds(network)["Abs"] == 0  # of an unknown size
    network.reshape([1, 3, 96, 128])
    replace_silu(network)
    assert kinds(network)["Abs"] == converted["Swish"] > 10
    assert kinds(network)["Swish"] == 0
    assert kinds(network)["Sigmoid"] == 1  # of the scores


def test_it_is_there_where_sizes_are_known_and_float32_is_not_asked_for(tiny_onnx, monkeypatch):
    changed: list[tuple[int, ...]] = []
    real = replace_silu

    def watched(network: Any) -> None:
        changed.append(tuple(network.input(0).shape))
        real(network)

    monkeypatch.setattr(openvino, "replace_silu", watched)
    exact = openvino.open_runtime(LoadOptions(tiny_onnx, "onnx", precision="fp32"))
    assert changed == []
    networks = openvino._Networks(
        openvino.the_core(), exact._networks._model, "bf16", ThreadPlan(1), is_exact=False
    )
    before = kinds(networks._model)
    layout = ThreadLayout(1, 1)
    networks._compile((64, 96), layout)
    assert changed == [(1, 64, 96, 3)]
    networks._compile(None, layout)
    assert changed == [(1, 64, 96, 3)]
    assert kinds(networks._model) == before  # as every further size starts from it


def test_detections_stay_the_same(tiny_onnx):
    """Beside SiLU as OpenVINO computes it: nothing of all that a head says moves by 0.01."""
    batch = np.random.default_rng(3).integers(0, 256, (1, 96, 128, 3), dtype=np.uint8)
    exact = openvino.open_runtime(LoadOptions(tiny_onnx, "onnx", precision="fp32"))
    quick = openvino.OpenVinoRuntime(
        openvino._Networks(
            openvino.the_core(), exact._networks._model, "f32", ThreadPlan(1), is_exact=False
        ),
        exact.facts,
        "fp32",
        exact.source,
    )
    for level, other in zip(exact.infer(batch)[0], quick.infer(batch)[0], strict=True):
        assert level.logits.std() > 0.01
        np.testing.assert_allclose(other.logits, level.logits, atol=0.01)
        np.testing.assert_allclose(other.distances, level.distances, atol=0.01)
