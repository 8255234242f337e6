from __future__ import annotations

import pytest

from detkit.detection.onnx_file import read_onnx_metadata
from detkit.errors import ModelLoadError


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def message(number: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return varint(number << 3 | 2) + varint(len(body)) + body


def entry(number: int, key: str, value: str) -> bytes:
    return message(number, message(1, key.encode()), message(2, value.encode()))


def external(location: str, nested: bool = False) -> bytes:
    tensor = entry(13, "location", location), entry(13, "offset", "0")
    if not nested:
        return message(7, message(5, *tensor))
    # graph > node > attribute > graph > node > attribute > tensor
    inner = message(1, message(5, message(5, *tensor)))
    return message(7, message(1, message(5, message(6, inner))))


def write(path, *parts: bytes):
    path.write_bytes(b"\x08\x07" + b"".join(parts))
    return path


def test_metadata_of_a_real_export(tiny_onnx):
    metadata = read_onnx_metadata(tiny_onnx)
    assert metadata["task"] == "detect"
    assert "washer" in metadata["names"]


def test_metadata_is_text_even_where_it_is_no_utf8(tmp_path):
    path = write(
        tmp_path / "m.onnx", message(7), message(14, message(1, b"k"), message(2, b"\xff"))
    )
    assert read_onnx_metadata(path) == {"k": "\ufffd"}


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize(
    "location",
    ["../secret.bin", "/etc/passwd", "a/b.bin", "..", ".", "", "C:\\x.bin", "..\\x", "x\0y"],
)
def test_external_data_elsewhere_is_refused(tmp_path, location, nested):
    path = write(tmp_path / "m.onnx", external(location, nested))
    with pytest.raises(ModelLoadError):
        read_onnx_metadata(path)


def test_external_data_beside_the_model_is_fine(tmp_path):
    (tmp_path / "m.bin").write_bytes(b"w")
    path = write(tmp_path / "m.onnx", external("m.bin"))
    assert read_onnx_metadata(path) == {}
    (tmp_path / "m.bin").unlink()
    with pytest.raises(ModelLoadError, match="beside it"):
        read_onnx_metadata(path)


def test_external_data_through_a_link_is_refused(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(b"s")
    (folder / "m.bin").symlink_to(tmp_path / "secret.bin")
    with pytest.raises(ModelLoadError, match="link"):
        read_onnx_metadata(write(folder / "m.onnx", external("m.bin")))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 100,
        b"not an onnx file at all",
        b"\x89PNG\r\n\x1a\n" + bytes(range(256)),
        varint(7 << 3 | 2) + varint(2**31) + b"x",  # claims two gigabytes
        varint(7 << 3 | 2) + b"\xff" * 20,  # a length that does not end
        b"\x08\x07",  # no graph
        message(7, b"\x0b"),  # wire type 3
    ],
)
def test_what_is_no_model_is_refused(tmp_path, content):
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelLoadError):
        read_onnx_metadata(path)


def test_a_truncated_export_is_refused(tiny_onnx, tmp_path):
    whole = tiny_onnx.read_bytes()
    for share in (0.1, 0.5, 0.9, 0.999):
        path = tmp_path / "cut.onnx"
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(ModelLoadError):
            read_onnx_metadata(path)


def test_bottomless_nesting_is_refused(tmp_path):
    inner = b""
    for _ in range(40):
        inner = message(1, message(5, message(6, inner)))
    with pytest.raises(ModelLoadError, match="deep"):
        read_onnx_metadata(write(tmp_path / "m.onnx", message(7, inner)))


def test_absurd_metadata_is_refused(tmp_path):
    with pytest.raises(ModelLoadError, match="metadata"):
        read_onnx_metadata(write(tmp_path / "m.onnx", message(7), entry(14, "names", "x" * 10**6)))
    with pytest.raises(ModelLoadError, match="metadata"):
        many = [entry(14, str(i), "b") for i in range(2000)]
        read_onnx_metadata(write(tmp_path / "n.onnx", message(7), *many))


def test_too_many_fields_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("detkit.detection.onnx_file._MAX_FIELDS", 100)
    with pytest.raises(ModelLoadError, match="fields"):
        read_onnx_metadata(write(tmp_path / "m.onnx", b"\x10\x01" * 200))
