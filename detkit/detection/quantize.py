"""From a float network to one that computes in int8, with NNCF: what stays float, and in silence.

Owns the recipes and the knowledge of where a detection head is accurate or not. Knows OpenVINO
networks and their inputs; never image files, results or what is good enough.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partialmethod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from detkit.detection.environment import import_nncf, import_openvino
from detkit.detection.runtimes.openvino import the_core


@dataclass(frozen=True, slots=True)
class Recipe:
    """One way to quantize a network.

    Attributes:
        num_last: How many convolutions at the end of each branch of the head keep their precision.
            Whatever comes after them, such as the decoding of boxes, always does.
        num_first: How many convolutions at the beginning keep theirs: what is lost of the pixels
            is lost for all that follows.
        kept: What that means, in words.
    """

    num_last: int
    num_first: int
    kept: str


# The fastest first. Measured with YOLOv8n at 384 x 640, as F1 at IoU 0.5 beside float32 over 805
# boxes of film and photographs (bfloat16: 0.975), and as speed of the network beside bfloat16.
# The two: 0.931 each. With the branches of the head and seven first convolutions in float, 0.939.
# Speed: 3.4, and with the head in float less, where the processor has AVX-512 without AMX. Where it
# has AMX, whose bfloat16 is as fast as int8, 0.97 and 0.95: the report says that it is not faster.
# NNCF's "performance" has symmetric activations and wastes half of their 8 bits on SiLU, which is
# hardly ever negative: 0.899, at a speed of 3.4 and of 1.09 with AMX; with seven convolutions in
# float 0.920, at 2.9 and 1.06. HSwish fitted in place of SiLU gave 0.83 to 0.93.
RECIPES = (
    Recipe(1, 2, "the first two convolutions and the last of each branch of the head"),
    Recipe(3, 2, "the first two convolutions and the head"),
)

# NNCF keeps its settings in modules: one at a time.
_quantizing = threading.Lock()


def read_network(path: Path) -> Any:
    """Read an `.onnx` or `.xml` file with its activations fused, as NNCF wants it.

    Read plainly, the activation of an ONNX file is two operations, NNCF puts a rounding between
    them, and OpenVINO cannot fuse them with the convolution any more: half the speed is lost.

    Raises:
        RuntimeError: If OpenVINO cannot read it.
    """
    if path.suffix.lower() == ".onnx":
        return import_openvino().convert_model(path)
    return the_core().read_model(path)


def quantize(network: Any, batches: Sequence[npt.NDArray[np.uint8]], recipe: Recipe) -> Any:
    """A copy of a network that computes in int8, calibrated on its own inputs. Sends nothing.

    Args:
        network: From `read_network`; stays as it is.
        batches: `(1, h, w, 3)` uint8 RGB, letterboxed.
        recipe: One of `RECIPES`.

    Raises:
        ImportError: If NNCF is not installed.
        Exception: Whatever NNCF raises for a network that it cannot quantize.
    """
    nncf = import_nncf()
    with _quantizing, _in_silence():
        return nncf.quantize(
            network.clone(),
            nncf.Dataset(batches, _as_input),
            # Activations use all 8 bits, though SiLU is hardly ever negative.
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(batches),
            # The accurate correction instead of the fast one: 0.01 to 0.02 of F1 for some seconds.
            fast_bias_correction=False,
            # Names of the arithmetic on shapes match nothing that NNCF sees.
            ignored_scope=nncf.IgnoredScope(
                names=[
                    *first_convolutions(network, recipe.num_first),
                    *head_operations(network, recipe.num_last),
                ],
                validate=False,
            ),
        )


def first_convolutions(network: Any, num_convolutions: int) -> list[str]:
    """Names of the convolutions that see the image first."""
    layers = [node.get_friendly_name() for node in network.get_ordered_ops() if _is_layer(node)]
    return layers[:num_convolutions]


def head_operations(network: Any, num_convolutions: int) -> list[str]:
    """Names of the operations between the output and what feeds the last convolutions.

    Found by walking from the output, because names depend on who exported the network.

    Args:
        network: An OpenVINO network with one output.
        num_convolutions: How many convolutions to pass on each way before stopping.
    """
    fewest: dict[str, int] = {}
    ways = [(network.output(0).get_node().input_value(0).get_node(), 0)]
    while ways:
        node, passed = ways.pop()
        # The grid of anchors takes nothing but the shape of what is before the head.
        if node.get_type_name() in ("Constant", "Parameter", "ShapeOf"):
            continue
        passed += _is_layer(node)
        name = node.get_friendly_name()
        if passed > num_convolutions or fewest.get(name, passed + 1) <= passed:
            continue
        fewest[name] = passed
        ways += [(value.get_node(), passed) for value in node.input_values()]
    return sorted(fewest)


def _is_layer(node: Any) -> bool:
    """A convolution that was trained; the one with one channel takes the mean of distances."""
    if node.get_type_name() not in ("Convolution", "GroupConvolution"):
        return False
    channels = node.output(0).partial_shape[1]
    return bool(channels.is_dynamic or channels.get_length() > 1)


def _as_input(batch: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    pixels = np.ascontiguousarray(batch.transpose(0, 3, 1, 2), dtype=np.float32)
    pixels /= np.float32(255)
    return pixels


@contextlib.contextmanager
def _in_silence() -> Iterator[None]:
    """Keep NNCF's log and progress bars off the screen."""
    from nncf.common.logging.track_progress import track

    logger = logging.getLogger("nncf")
    level, usual = logger.level, track.__init__
    logger.setLevel(logging.ERROR)
    track.__init__ = partialmethod(usual, disable=True)
    try:
        yield
    finally:
        track.__init__ = usual
        logger.setLevel(level)
