"""From what the user wrote to a file on disk: suffixes, missing files, official names.

Only this file downloads, and only one of a closed list of names that its user asked for by
name. Knows nothing of images or results; ultralytics is imported for the download alone.
"""

from __future__ import annotations

import contextlib
import difflib
import inspect
import logging
import os
import socket
import tempfile
import urllib.request
import zipfile
from os import PathLike
from pathlib import Path
from typing import Literal

from detkit.detection.environment import cache_folder, import_ultralytics, is_offline
from detkit.errors import ModelLoadError, ModelNotFoundError

ModelFormat = Literal["checkpoint", "onnx", "openvino", "torchscript", "engine"]

_SUFFIXES: dict[str, ModelFormat] = {
    ".pt": "checkpoint",
    ".onnx": "onnx",
    ".xml": "openvino",
    ".torchscript": "torchscript",
    ".engine": "engine",
}

# Detection models among the names that ultralytics publishes (`GITHUB_ASSETS_NAMES`). The
# list is ours, so that a mistyped name is recognised without importing anything.
OFFICIAL_NAMES = frozenset(
    [f"yolov8{size}{suffix}.pt" for size in "nsmlx" for suffix in ("", "-oiv7")]
    + [f"yolo{version}{size}.pt" for version in ("11", "12", "26") for size in "nsmlx"]
    + [f"yolov9{size}.pt" for size in "tsmce"]
    + [f"yolov10{size}.pt" for size in "nsmblx"]
    + [f"yolov5{size}{resolution}u.pt" for size in "nsmlx" for resolution in ("", "6")]
    + [f"yolov3{variant}u.pt" for variant in ("", "-spp", "-tiny")]
)
_HOST = "github.com"
_CONNECT_TIMEOUT_S = 5.0
_logger = logging.getLogger("detkit.detection")


def find_model(model_path: str | PathLike[str]) -> tuple[Path, ModelFormat]:
    """The file or folder that a model name stands for, and its format.

    A bare official name such as "yolov8n.pt" that is not in the working folder is looked up
    in, and if need be downloaded to, `cache_folder() / "weights"`.

    Returns:
        An absolute path that exists, and the format that its name says.

    Raises:
        ModelNotFoundError: If there is nothing, with the ways to provide it.
        ModelLoadError: If what is there cannot be a model.
    """
    text = os.fspath(model_path)
    if not isinstance(text, str) or not text.strip() or "\0" in text:
        raise ModelLoadError(f"the model path must be text that names a file, got {model_path!r}")
    path = Path(text).expanduser()
    try:
        exists = path.exists()
    except OSError as error:
        raise ModelLoadError(f"{path.name[:80]!r} cannot be read: {error.strerror}") from error
    if not exists:
        if text not in OFFICIAL_NAMES:
            raise ModelNotFoundError(_advice(text))
        path = _fetch(text)
    path = path.absolute()
    return path, _format_of(path)


def _format_of(path: Path) -> ModelFormat:
    if path.is_dir():
        if any(path.glob("*.xml")):
            return "openvino"
        raise ModelLoadError(
            f"{path.name} is a folder without an OpenVINO model (*.xml); give the file itself"
        )
    if not path.is_file():
        raise ModelLoadError(f"{path.name} is no regular file")
    found = _SUFFIXES.get(path.suffix.lower())
    if found is None:
        raise ModelLoadError(
            f"{path.name}: the suffix {path.suffix!r} is no model format that detkit reads. "
            "Give a .pt, .onnx, .torchscript or .engine file or an OpenVINO folder"
        )
    if path.stat().st_size == 0:
        raise ModelLoadError(f"{path.name} is empty")
    return found


def _advice(text: str) -> str:
    if "://" in text:
        # Whatever stands in an address, a password perhaps, is not repeated.
        return "detkit loads no models from addresses; download the file and give its path"
    name = Path(text).name
    advice = f"no model file at {text!r} (looked in {Path.cwd()})"
    if name in OFFICIAL_NAMES:
        return f"{advice}. To download the official model, give its bare name {name!r}"
    if name.removesuffix(".pt").partition("-")[2] in ("seg", "pose", "cls", "obb"):
        return f"{advice}; and by its name it would be no detection model"
    similar = difflib.get_close_matches(name, OFFICIAL_NAMES, n=1, cutoff=0.85)
    if text == name and similar:
        return f"{advice}. Perhaps the official model {similar[0]!r} is meant"
    return advice


def _fetch(name: str) -> Path:
    """The official model `name` from the cache folder, downloaded first if it is not there."""
    target = cache_folder() / "weights" / name
    if target.is_file():
        return target
    ways = (
        f"put the file into the working folder or into {target.parent}, give its path, or call "
        "load_model where there is a network"
    )
    if is_offline():
        raise ModelNotFoundError(
            f"{name} is not here, and DETKIT_OFFLINE forbids to download it: {ways}"
        )
    try:
        _require_host()
        _download(name, target)
    except (OSError, ValueError) as error:
        # `requests` errors are OSErrors too.
        raise ModelNotFoundError(
            f"{name} is not here and could not be downloaded ({type(error).__name__}): {ways}"
        ) from error
    return target


def _require_host() -> None:
    """Fail within seconds where there is no network, instead of minutes into a download."""
    if urllib.request.getproxies():
        return  # Only the proxy reaches the host; ultralytics' own time-outs hold.
    with socket.create_connection((_HOST, 443), timeout=_CONNECT_TIMEOUT_S):
        pass


def _download(name: str, target: Path) -> None:
    """Download to a neighbouring folder, check, and rename: `target` is whole or not there."""
    import_ultralytics()
    from ultralytics.utils import downloads

    if name not in downloads.GITHUB_ASSETS_NAMES:
        raise ValueError(f"{name} is not published for this version of ultralytics")
    release = inspect.signature(downloads.attempt_download_asset).parameters["release"].default
    url = f"https://{_HOST}/{downloads.GITHUB_ASSETS_REPO}/releases/download/{release}/{name}"
    target.parent.mkdir(parents=True, exist_ok=True)
    _logger.info("downloading %s to %s", name, target.parent)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".download-") as folder:
        # It checks the length against what the server announced.
        downloads.safe_download(
            url, file=name, dir=folder, unzip=False, retry=1, min_bytes=1e5, progress=False
        )
        part = Path(folder) / name
        if not zipfile.is_zipfile(part):
            raise ValueError(f"what was downloaded as {name} is no checkpoint")
        with contextlib.suppress(FileExistsError):  # another process was faster
            part.replace(target)
