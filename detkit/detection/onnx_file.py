"""A short look into an ONNX file before any library opens it.

Reads the metadata and judges where weights outside the file would come from. ONNX files are
protocol buffers; only the message tree is walked, tensors are skipped unread. Field numbers
are those of onnx/onnx.proto. Knows nothing of runtimes.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TypeAlias

from detkit.detection.model_facts import MAX_TEXT_LENGTH
from detkit.errors import ModelLoadError

# Sub-messages that can lead to a tensor: {message: {field: message}}.
_TREE = {
    "Model": {7: "Graph", 14: "Property", 20: "Training", 25: "Function"},
    "Training": {1: "Graph", 2: "Graph"},
    "Function": {7: "Node", 11: "Attribute"},
    "Graph": {1: "Node", 5: "Tensor", 15: "SparseTensor"},
    "Node": {5: "Attribute"},
    "Attribute": {
        5: "Tensor",
        6: "Graph",
        10: "Tensor",
        11: "Graph",
        22: "SparseTensor",
        23: "SparseTensor",
    },
    "SparseTensor": {1: "Tensor", 2: "Tensor"},
    "Tensor": {13: "External"},
}
Span: TypeAlias = tuple[int, int]
"""Where a message begins and ends in the file."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
# A YOLO graph has some 20,000 fields and nests 4 deep; beyond these it is an attack.
_MAX_FIELDS = 2_000_000
_MAX_DEPTH = 24
_MAX_PROPERTIES = 1000


@dataclass
class _Findings:
    has_graph: bool = False
    metadata: dict[str, str] = field(default_factory=dict)
    locations: set[str] = field(default_factory=set)
    num_fields: int = 0


def read_onnx_metadata(path: Path) -> dict[str, str]:
    """Check that a file is a complete ONNX model that reads nothing from elsewhere.

    Args:
        path: An existing file.

    Returns:
        The model's metadata, as text.

    Raises:
        ModelLoadError: If it is empty, truncated, no ONNX model, or names external data
            anywhere but in a regular file of the same folder.
    """
    if path.stat().st_size == 0:
        raise ModelLoadError(f"{path.name} is empty")
    found = _Findings()
    try:
        with (
            path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
        ):
            _walk(data, (0, len(data)), "Model", found, 0)
    except _MalformedError as error:
        raise ModelLoadError(
            f"{path.name} is no complete ONNX model ({error}): it may be truncated, damaged or "
            "of another format"
        ) from None
    if not found.has_graph:
        raise ModelLoadError(f"{path.name} is no ONNX model: it holds no graph")
    for location in found.locations:
        _require_beside(path, location)
    return found.metadata


class _MalformedError(ValueError):
    """The bytes are no protocol buffer message."""


def _walk(data: mmap.mmap, span: Span, message: str, found: _Findings, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise _MalformedError("messages nested too deep")
    children = _TREE[message]
    for number, wire_type, part in _fields(data, span, found):
        child = children.get(number)
        if child is None or wire_type != _BYTES:
            continue
        if child == "Property":
            _keep_metadata(data, part, found)
        elif child == "External":
            key, value = _entry(data, part, found)
            if key == "location":
                found.locations.add(value)
        else:
            found.has_graph |= message == "Model" and child == "Graph"
            _walk(data, part, child, found, depth + 1)


def _keep_metadata(data: mmap.mmap, span: Span, found: _Findings) -> None:
    length = span[1] - span[0]
    if length > MAX_TEXT_LENGTH or len(found.metadata) >= _MAX_PROPERTIES:
        raise _MalformedError(f"metadata of {length} bytes")
    key, value = _entry(data, span, found)
    found.metadata[key] = value


def _entry(data: mmap.mmap, span: Span, found: _Findings) -> tuple[str, str]:
    """A StringStringEntryProto: field 1 is the key, field 2 the value."""
    texts = {1: "", 2: ""}
    for number, wire_type, (start, end) in _fields(data, span, found):
        if wire_type == _BYTES and number in texts:
            if end - start > MAX_TEXT_LENGTH:
                raise _MalformedError(f"text of {end - start} bytes")
            texts[number] = data[start:end].decode("utf-8", errors="replace")
    return texts[1], texts[2]


def _fields(data: mmap.mmap, span: Span, found: _Findings) -> Iterator[tuple[int, int, Span]]:
    """The fields of one message: number, wire type, and where the bytes of a long one lie."""
    position, end = span
    while position < end:
        found.num_fields += 1
        if found.num_fields > _MAX_FIELDS:
            raise _MalformedError("too many fields")
        key, position = _varint(data, position, end)
        number, wire_type = key >> 3, key & 7
        if number == 0:
            raise _MalformedError("a field with number 0")
        length = 0
        if wire_type == _VARINT:
            _, position = _varint(data, position, end)
        elif wire_type == _BYTES:
            length, position = _varint(data, position, end)
        elif wire_type in (_FIXED64, _FIXED32):
            length = 8 if wire_type == _FIXED64 else 4
        else:
            raise _MalformedError(f"wire type {wire_type}")
        if length > end - position:
            raise _MalformedError(f"a field of {length} bytes where {end - position} are left")
        yield number, wire_type, (position, position + length)
        position += length


def _varint(data: mmap.mmap, position: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while position < end and shift < 70:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise _MalformedError("a number that does not end")


def _require_beside(path: Path, location: str) -> None:
    """Allow weights in a regular file of the model's own folder, and nowhere else."""
    names = {PurePosixPath(location).name, PureWindowsPath(location).name}
    if names != {location} or location in ("", ".", "..") or "\0" in location:
        raise ModelLoadError(
            f"{path.name} wants to read weights from {location[:80]!r}, outside its own folder: "
            "refused. Save the model with its weights inside"
        )
    file = path.parent / location
    if not file.is_file():
        raise ModelLoadError(f"{path.name} needs the file {location[:80]!r} beside it")
    if file.resolve().parent != path.resolve().parent:
        raise ModelLoadError(
            f"{path.name} reads weights from {location[:80]!r}, which is a link to another "
            "folder: refused"
        )
