"""Where a network that OpenVINO can read says what it is: its files and what stands beside them.

Owns the names of the files. Knows no inference library.
"""

from __future__ import annotations

from pathlib import Path

from detkit.detection.model_facts import MAX_TEXT_LENGTH, ModelFacts, parse_metadata
from detkit.detection.onnx_file import read_onnx_metadata
from detkit.errors import ModelLoadError, describe


def model_file(path: Path) -> Path:
    """The one network of a folder, or the file itself."""
    if not path.is_dir():
        return path
    found = sorted(path.glob("*.xml"))
    if len(found) != 1:
        raise ModelLoadError(
            f"{path.name} holds {len(found)} OpenVINO models (*.xml); give the path of one"
        )
    return found[0]


def read_metadata(path: Path) -> dict[str, object]:
    """What a network says of itself: inside an `.onnx` file, beside an `.xml` file."""
    if path.suffix.lower() == ".onnx":
        return parse_metadata(read_onnx_metadata(path))
    if not path.with_suffix(".bin").is_file():
        raise ModelLoadError(f"{path.name} needs its weights {path.stem}.bin beside it")
    beside = path.parent / "metadata.yaml"
    if not beside.is_file():
        return {}
    if beside.stat().st_size > MAX_TEXT_LENGTH:
        raise ModelLoadError(f"{beside.name} is larger than {MAX_TEXT_LENGTH} bytes")
    # PyYAML comes with ultralytics. The safe loader builds plain values only.
    import yaml  # type: ignore[import-untyped]

    try:
        loaded = yaml.safe_load(beside.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ModelLoadError(f"{beside.name} cannot be read: {describe(error)}") from error
    return dict(loaded) if isinstance(loaded, dict) else {}


def write_metadata(facts: ModelFacts, folder: Path, **more: str) -> None:
    """Write what a network says of itself beside it, where `open_runtime` looks for it."""
    import yaml

    said = {
        "task": "detect",
        "names": dict(facts.class_names),
        "stride": facts.stride,
        "imgsz": list(facts.size_hw),
        "end2end": facts.layout == "rows",
        **more,
    }
    (folder / "metadata.yaml").write_text(yaml.safe_dump(said), encoding="utf-8")
