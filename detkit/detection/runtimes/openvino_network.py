"""A detection network as it is compiled: bytes in, and out what its head says of each anchor.

Owns the two changes that detkit makes to a network before OpenVINO compiles it. Both leave every
result as it is. Knows graphs; never a device, a thread or an image.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from detkit.detection.model_facts import ModelFacts
from detkit.detection.postprocess import Level, as_anchors

_NHWC_TO_NCHW = (0, 3, 1, 2)


def prepare(model: Any, facts: ModelFacts) -> Any:
    """The same network, taking `(1, h, w, 3)` uint8.

    It gives what the file's network gives, as float32, or where its head is known two outputs for
    each grid of anchors, the finest grid first: the `logits` and `distances` of a `Level`, with a
    batch before them.
    """
    network = _without_decoding(model, facts) if facts.layout == "anchors" else model
    step = facts.size_hw[1] if facts.is_fixed else facts.stride
    return _with_uint8_input(network, has_even_width=step % 2 == 0)


def read_levels(outputs: list[npt.NDArray[np.float32]], height: int) -> tuple[Level, ...]:
    """The outputs of a network from `prepare` for one image, by grid.

    Args:
        outputs: `(1, channels, h, w)` each; not copied.
        height: Of the network's input.
    """
    pairs = zip(outputs[::2], outputs[1::2], strict=True)
    return tuple(
        Level(height // logits.shape[2], logits[0], distances[0]) for logits, distances in pairs
    )


# -- the end --------------------------------------------------------------------------------------


def _without_decoding(model: Any, facts: ModelFacts) -> Any:
    """The network with its outputs before the decoding of boxes and scores, if that is safe.

    A head turns the scores of all classes and the sides of all boxes of thousands of anchors into
    numbers, of which a few dozen matter. For YOLOv8n at 384x640 in bfloat16 that is 5 % of the
    work. `decode_levels` does it for those that matter. Whether this head means what that
    computes is not concluded from names or shapes: both are tried on random numbers.
    """
    import openvino
    from openvino import opset13 as ops

    ends = _last_convolutions(model)
    logits = [end for end in ends if _channels(end) == len(facts.class_names)]
    distances = [end for end in ends if _channels(end) != len(facts.class_names)]
    if not logits or len(logits) != len(distances):
        return model
    given, (decoded,) = model.get_parameters(), model.get_results()
    both = openvino.Model([*(ops.result(end) for end in logits + distances), decoded], given)
    side = 2 * facts.stride
    order = _proven_order(both, facts.size_hw if facts.is_fixed else (side, side))
    return openvino.Model([both.get_results()[i] for i in order], given) if order else model


def _last_convolutions(model: Any) -> list[Any]:
    """Outputs of the trained convolutions, bias included, that nothing trained comes after."""
    found: dict[str, Any] = {}
    seen: set[str] = set()
    ways = [model.get_results()[0].input_value(0)]
    while ways:
        output = ways.pop()
        node = output.get_node()
        name = node.get_name()
        # The grid of anchors takes nothing but the shape of what is before the head.
        if name in seen or node.get_type_name() in ("Constant", "Parameter", "ShapeOf"):
            continue
        seen.add(name)
        if _is_trained(node) or (
            node.get_type_name() == "Add" and _is_trained(node.input_value(0).get_node())
        ):
            found[name] = output
            continue
        ways += node.input_values()
    return list(found.values())


def _is_trained(node: Any) -> bool:
    """Whether it is a convolution other than the one that takes the mean of distances."""
    return node.get_type_name() == "Convolution" and _channels(node.output(0)) != 1


def _channels(output: Any) -> int:
    shape = output.get_partial_shape()
    return 0 if shape[1].is_dynamic else int(shape[1].get_length())


def _proven_order(both: Any, hw: tuple[int, int]) -> list[int]:
    """Which of its first outputs make up which level, two by two; empty where detkit cannot tell.

    Args:
        both: A network with the logits of every level as outputs, then the distances of every
            level, then what it makes of them.
        hw: A size to try it at.
    """
    import openvino
    from openvino import opset13 as ops
    from openvino.passes import ConstantFolding, Manager

    probe = both.clone()
    probe.reshape([1, 3, *hw])
    folding = Manager()
    folding.register_pass(ConstantFolding())
    folding.run_passes(probe)  # from here on the anchors depend on no pixel
    *ends, decoded = probe.get_results()
    ends = [end.input_value(0) for end in ends]
    if any(end.get_element_type() != openvino.Type.f32 for end in ends):
        return []
    num_levels = len(ends) // 2
    by_area = [
        sorted(range(start, start + num_levels), key=lambda i: -np.prod(ends[i].get_shape()[2:]))
        for start in (0, num_levels)
    ]
    order = [i for pair in zip(*by_area, strict=True) for i in pair]
    rng = np.random.default_rng(0)
    values = [rng.normal(0, 3, tuple(end.get_shape())).astype(np.float32) for end in ends]
    stand_ins = [ops.parameter(end.get_shape(), end.get_element_type()) for end in ends]
    for end, stand_in in zip(ends, stand_ins, strict=True):
        for reader in list(end.get_target_inputs()):
            reader.replace_source_output(stand_in.output(0))
    raw = openvino.Tensor(openvino.Type.f32, decoded.get_output_shape(0))
    try:
        _evaluable(probe)
        head = openvino.Model([decoded], stand_ins)
        head.evaluate([raw], [openvino.Tensor(value) for value in values])
        found = as_anchors(read_levels([values[i] for i in order], hw[0]))
    except (RuntimeError, ValueError):  # more goes into it than these convolutions give
        return []
    is_same = found.shape == raw.data.shape[1:] and np.allclose(found, raw.data[0], atol=1e-3)
    return order if is_same else []


def _evaluable(network: Any) -> None:
    """Write the one convolution of a decoding as a sum: it cannot be evaluated uncompiled.

    Raises:
        ValueError: If it is more than that.
    """
    from openvino import opset13 as ops

    for node in network.get_ordered_ops():
        if node.get_type_name() == "Convolution" and not _is_trained(node):
            values, weights = node.input_values()
            if list(weights.get_shape()[2:]) != [1, 1]:
                raise ValueError("a mean takes one place at a time")
            axis = ops.constant(np.array([1], dtype=np.int64))
            mean = ops.reduce_sum(ops.multiply(values, weights), axis, keep_dims=True)
            for reader in list(node.output(0).get_target_inputs()):
                reader.replace_source_output(mean.output(0))


# -- the beginning --------------------------------------------------------------------------------


def _with_uint8_input(model: Any, *, has_even_width: bool) -> Any:
    """The same network, taking `(1, h, w, 3)` uint8, and giving float32.

    OpenVINO's own `PrePostProcessor` turns the channels of the bytes, and then those of the numbers
    back, because convolutions hold them last anyway. A multiplication between the two conversions
    keeps them next to the convolution, where they cancel out. By a power of two it is exact.
    """
    import openvino
    from openvino import opset13 as ops

    given = model.get_parameters()[0]
    batch, channels, height, width = given.partial_shape
    pixels = ops.parameter([batch, height, width, channels], openvino.Type.u8, name="pixels")
    kind = given.element_type.to_string()
    order = ops.constant(np.array(_NHWC_TO_NCHW, dtype=np.int64))
    small = ops.multiply(ops.convert(pixels, kind), ops.constant(1 / 256, given.element_type))
    turned = ops.transpose(small, order)
    white = ops.constant(255 / 256, given.element_type)
    for reader in list(given.output(0).get_target_inputs()):
        node = reader.get_node()
        if has_even_width and _halves_width(node):
            _take_pairs(node, pixels, kind)
        elif node.get_type_name() == "Convolution":  # linear, and pads with zeros
            reader.replace_source_output(turned.output(0))
            weights = node.input(1)
            scaled = ops.divide(weights.get_source_output(), white)
            weights.replace_source_output(scaled.output(0))
        else:
            reader.replace_source_output(ops.divide(turned, white).output(0))
    outputs = [result.input_value(0) for result in model.get_results()]
    return openvino.Model([ops.result(ops.convert(output, "f32")) for output in outputs], [pixels])


def _halves_width(node: Any) -> bool:
    """Whether it is a convolution that moves on by two columns and gives half as many."""
    if node.get_type_name() != "Convolution":
        return False
    said = node.get_attributes()
    taps = node.input_value(1).get_partial_shape()[3].get_length()
    padding = said["pads_begin"][1] + said["pads_end"][1]
    return (
        said["auto_pad"] == "explicit"
        and list(said["dilations"]) == [1, 1]
        and said["strides"][1] == 2
        and 0 <= padding - taps + 2 <= 1
    )


def _take_pairs(convolution: Any, pixels: Any, kind: str) -> None:
    """Let a convolution with a step of two columns read pairs of columns with a step of one.

    Two neighbours in a row are six channels of one place, without moving a byte, and the kernel
    gets zeros for the columns that its pairs have too many. It is the same sum; three channels
    fill the multiplier of a processor badly. With YOLOv8n that is 2 % of the work.
    """
    from openvino import opset13 as ops

    def numbers(*values: int) -> Any:
        return ops.constant(np.array(values, dtype=np.int64))

    said = convolution.get_attributes()
    (top, left), bottom = said["pads_begin"], said["pads_end"][0]
    weights = convolution.input_value(1)
    num_out, num_in, rows, taps = (n.get_length() for n in weights.get_partial_shape())
    before = left % 2  # the first tap may fall on the second column of a pair
    after = (before + taps) % 2
    num_pairs = (before + taps + after) // 2
    whole = ops.divide(weights, ops.constant(255.0, weights.get_element_type()))
    zero = ops.constant(0.0, weights.get_element_type())
    padded = ops.pad(whole, numbers(0, 0, 0, before), numbers(0, 0, 0, after), "constant", zero)
    split = ops.reshape(padded, numbers(num_out, num_in, rows, num_pairs, 2), False)
    turned = ops.transpose(split, numbers(0, 4, 1, 2, 3))
    kernel = ops.reshape(turned, numbers(num_out, 2 * num_in, rows, num_pairs), False)
    pairs = ops.convert(ops.reshape(pixels, numbers(0, 0, -1, 2 * num_in), True), kind)
    first = (left + before) // 2
    same = ops.convolution(
        ops.transpose(pairs, numbers(*_NHWC_TO_NCHW)),
        kernel,
        [said["strides"][0], 1],
        [top, first],
        [bottom, num_pairs - 1 - first],
        [1, 1],
    )
    for reader in list(convolution.output(0).get_target_inputs()):
        reader.replace_source_output(same.output(0))
