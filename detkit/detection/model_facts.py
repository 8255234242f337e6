"""What a model file says about itself: class names, stride, input size, task.

All of it is text from a stranger: parsed as literals, never evaluated, and capped in size.
Knows nothing of runtimes or images.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from detkit.detection.preprocess import round_up
from detkit.errors import ModelLoadError
from detkit.stored_text import storable

Layout = Literal["anchors", "rows"]
"""Raw output: "anchors" is `(B, 4 + num_classes, A)`, "rows" is `(B, N, 6)` after suppression."""

DEFAULT_SIZE = 640
DEFAULT_STRIDE = 32

# Far above any real model (the largest public vocabularies have about 20,000 names), and low
# enough that a hostile file costs milliseconds.
MAX_TEXT_LENGTH = 1_000_000
MAX_CLASSES = 100_000
MAX_NAME_LENGTH = 200
MAX_SIDE = 8192

ANY = -1
"""A side, or a batch, that may have any length."""


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What has to be known about a detection network to feed it and to read its output.

    Attributes:
        class_names: Name of every class id the network can return.
        stride: Sides of the input are multiples of this.
        size_hw: Height and width that a scaled image must fit.
        is_fixed: Whether the input is exactly `size_hw`, always.
        max_batch_size: Most images that one pass takes; `None` for any number.
        layout: How the raw output is to be read.
    """

    class_names: Mapping[int, str]
    stride: int = DEFAULT_STRIDE
    size_hw: tuple[int, int] = (DEFAULT_SIZE, DEFAULT_SIZE)
    is_fixed: bool = False
    max_batch_size: int | None = None
    layout: Layout = "anchors"


def parse_metadata(text: Mapping[str, str]) -> dict[str, object]:
    """Metadata values as Python literals; what is no literal stays text.

    Args:
        text: As found in the file, for example `{"names": "{0: 'person'}", "task": "detect"}`.

    Raises:
        ModelLoadError: If a value is absurdly long.
    """
    return {key: _literal(key, value) for key, value in text.items() if key in _KEYS}


_KEYS = frozenset({"names", "stride", "imgsz", "task", "head", "end2end", "channels"})


def _literal(key: str, value: str) -> object:
    if len(value) > MAX_TEXT_LENGTH:
        raise ModelLoadError(
            f"the model's metadata {key!r} has {len(value)} characters, more than "
            f"{MAX_TEXT_LENGTH}: this is no ordinary detection model"
        )
    try:
        literal: object = ast.literal_eval(value)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return value
    return literal


def require_detection(metadata: Mapping[str, object]) -> None:
    """Refuse what is not an object detector.

    Raises:
        ModelLoadError: If the file says that its task is another one.
    """
    task = metadata.get("task", "detect")
    if task != "detect":
        raise ModelLoadError(
            f"this is a model for the task {str(task)[:40]!r}; detkit runs object detection "
            "('detect') only"
        )
    if metadata.get("head") == "RTDETRDecoder":
        raise ModelLoadError("this is an RT-DETR model; detkit runs YOLO detection models")
    channels = metadata.get("channels", 3)
    if channels != 3:
        raise ModelLoadError(f"this model takes {channels!r} channels; detkit's images have 3")


def class_names_from(value: object, num_classes: int | None = None) -> dict[int, str]:
    """Check a table of class names.

    Args:
        value: A mapping from id to name or a list of names; `None` when the file has none.
        num_classes: How many the network returns, when known. Ids without a name get
            "class 7", names beyond it are an error.

    Raises:
        ModelLoadError: If the table is malformed or absurdly large.
    """
    if isinstance(value, (list, tuple)):
        value = dict(enumerate(value))
    if value is None or value == {}:
        value = {}
    if not isinstance(value, Mapping):
        raise ModelLoadError(f"the model's class names are no table: {str(value)[:80]!r}")
    if len(value) > MAX_CLASSES:
        raise ModelLoadError(f"the model has {len(value)} class names, more than {MAX_CLASSES}")
    names = {_class_id(key): _class_name(name) for key, name in value.items()}
    if num_classes is None:
        num_classes = len(names)
    if not 1 <= num_classes <= MAX_CLASSES:
        raise ModelLoadError(f"the model has {num_classes} classes; 1 to {MAX_CLASSES} can be used")
    if names and max(names) >= num_classes:
        raise ModelLoadError(
            f"the model names class {max(names)}, but its output has {num_classes} classes"
        )
    return {i: names.get(i, f"class {i}") for i in range(num_classes)}


def _class_id(key: object) -> int:
    if isinstance(key, str) and key.isascii() and key.isdigit() and len(key) < 7:
        key = int(key)
    if not isinstance(key, int) or isinstance(key, bool) or key < 0:
        raise ModelLoadError(f"the model has a class id {str(key)[:40]!r}; ids are 0, 1, 2, …")
    return key


def _class_name(name: object) -> str:
    if not isinstance(name, (str, int, float)):
        raise ModelLoadError(f"the model has a class name of type {type(name).__name__}")
    text = storable(str(name))
    if len(text) > MAX_NAME_LENGTH:
        raise ModelLoadError(
            f"the model has a class name of {len(text)} characters, more than {MAX_NAME_LENGTH}"
        )
    return text


def stride_from(value: object) -> int:
    """The largest stride of the network; 32 where the file does not say."""
    if isinstance(value, (list, tuple)) and value:
        value = max(v for v in value if isinstance(v, (int, float)))
    if value is None:
        return DEFAULT_STRIDE
    if not isinstance(value, (int, float)) or not 1 <= value <= 256:
        raise ModelLoadError(f"the model's stride is {str(value)[:40]!r}; expected 1 to 256")
    return max(int(value), DEFAULT_STRIDE)


def size_from(value: object, stride: int) -> tuple[int, int]:
    """Height and width from an int or a pair, rounded up to the stride; 640 where unknown.

    Raises:
        ModelLoadError: If it is neither, or absurd.
    """
    if value is None:
        value = DEFAULT_SIZE
    pair = (value, value) if isinstance(value, int) else value
    if isinstance(pair, (list, tuple)) and len(pair) == 1:
        pair = (pair[0], pair[0])
    if (
        not isinstance(pair, (list, tuple))
        or len(pair) != 2
        or not all(isinstance(v, int) and 1 <= v <= MAX_SIDE for v in pair)
    ):
        raise ModelLoadError(
            f"the image size must be one number or (height, width), each 1 to {MAX_SIDE} pixels, "
            f"got {str(value)[:40]!r}"
        )
    return round_up(pair[0], stride), round_up(pair[1], stride)


def judge_input(
    shapes: list[tuple[int, ...]], metadata: Mapping[str, object], image_size: object = None
) -> tuple[int, tuple[int, int], bool]:
    """Tell what a network with a fixed or an open input shape wants to be fed.

    Args:
        shapes: Shapes of all inputs, `ANY` where a length is open.
        metadata: What the file says about itself.
        image_size: What the user asked for; `None` takes the model's own.

    Returns:
        Stride, height and width, and whether they are fixed.

    Raises:
        ModelLoadError: If it is not the input of a YOLO network, or takes another size only.
    """
    if len(shapes) != 1 or len(shapes[0]) != 4:
        raise ModelLoadError(
            "a YOLO network has one input of shape (batch, 3, height, width); "
            f"this one has {shapes[:8]}"
        )
    batch, channels, height, width = shapes[0]
    if channels not in (3, ANY):
        raise ModelLoadError(f"this network takes {channels} channels; detkit's images have 3")
    if batch not in (1, ANY):
        raise ModelLoadError(
            f"this network was exported for batches of exactly {batch}; export it with "
            "batch=1 or dynamic=True"
        )
    stride = stride_from(metadata.get("stride"))
    if ANY in (height, width):
        size = metadata.get("imgsz") if image_size is None else image_size
        return stride, size_from(size, stride), False
    if image_size is not None and size_from(image_size, 1) != (height, width):
        raise ModelLoadError(
            f"this network takes {height}x{width} pixels and nothing else, so "
            f"image_size={image_size!r} cannot be used; export it with dynamic=True"
        )
    return stride, (height, width), True


def judge_output(
    shapes: list[tuple[int, ...]], names: object, *, end_to_end: bool = False
) -> tuple[Layout, dict[int, str]]:
    """Tell from the shape of a network's output how to read it, and name its classes.

    Args:
        shapes: Shapes of all outputs for a batch of one image.
        names: Class names from the file, unchecked; `None` where it has none.
        end_to_end: Whether the file says that suppression is built in.

    Raises:
        ModelLoadError: If it is not the output of a YOLOv8 or YOLO11 detection network.
    """
    expected = (
        "a YOLOv8 or YOLO11 detection network has one output of shape "
        "(1, 4 + number of classes, anchors)"
    )
    if len(shapes) != 1 or len(shapes[0]) != 3 or shapes[0][0] != 1:
        raise ModelLoadError(f"{expected}; this model has outputs of shape {shapes[:8]}")
    _, rows, columns = shapes[0]
    table = class_names_from(names) if names else None
    if columns == 6 and (end_to_end or rows != 4 + len(table or ())):
        return "rows", table or class_names_from(None, 1)
    num_classes = len(table) if table else rows - 4
    if num_classes < 1 or rows != 4 + num_classes or rows > columns:
        known = f" and names {len(table)} classes" if table else ""
        raise ModelLoadError(f"{expected}; this model has an output of shape {shapes[0]}{known}")
    return "anchors", class_names_from(names, num_classes)
