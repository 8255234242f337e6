"""Which inference library loads which file. The only list of them.

Imports a library's file only when that library is chosen.
"""

from __future__ import annotations

import ctypes
import logging
import sys
from importlib import import_module
from importlib.util import find_spec

from detkit.detection.model_files import ModelFormat
from detkit.detection.runtimes.contract import (
    LoadOptions,
    NotConvertibleError,
    Runtime,
    RuntimeName,
)
from detkit.errors import ModelLoadError

# For every format the libraries that load it, the preferred one first, each with the file of
# this folder that does it.
_LIBRARIES: dict[ModelFormat, dict[RuntimeName, str]] = {
    "checkpoint": {"openvino": "converted", "ultralytics": "ultralytics"},
    "onnx": {"openvino": "openvino", "onnxruntime": "onnxruntime"},
    "openvino": {"openvino": "openvino"},
    "torchscript": {"ultralytics": "torchscript"},
    "engine": {"ultralytics": "tensorrt"},
}
_logger = logging.getLogger("detkit.detection")
_NAMES = ("auto", "ultralytics", "openvino", "onnxruntime")


def runtimes_for(model_format: ModelFormat) -> tuple[RuntimeName, ...]:
    """The libraries that load such a file, the preferred one first."""
    return tuple(_LIBRARIES[model_format])


def choose_runtime(options: LoadOptions, runtime: RuntimeName) -> RuntimeName:
    """The library that will load this file.

    Raises:
        ModelLoadError: If the library asked for cannot read such a file, or there is no such
            library.
    """
    if runtime not in _NAMES:
        raise ModelLoadError(f"runtime must be one of {', '.join(_NAMES)}, got {runtime!r}")
    able = _LIBRARIES[options.format]
    if runtime != "auto":
        if runtime not in able:
            raise ModelLoadError(
                f"runtime {runtime!r} cannot load {options.path.name}; "
                f"it can be loaded by {' or '.join(able)}"
            )
        return runtime
    # OpenVINO runs on the CPU only.
    if options.format == "checkpoint" and _wants_gpu(options.device):
        return "ultralytics"
    if options.device.startswith("cuda") and "onnxruntime" in able:
        return "onnxruntime"
    return next(iter(able))


def _wants_gpu(device: str) -> bool:
    """Whether torch has to be asked for a device, which takes seconds; without importing it."""
    if device != "auto":
        return device != "cpu"
    if sys.platform == "darwin":
        return True
    try:  # the driver of NVIDIA, which is there with a GPU only
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


def installed_runtimes(file_format: ModelFormat) -> list[RuntimeName]:
    """The libraries here that load files of a format, the preferred one first."""
    return [name for name in _LIBRARIES[file_format] if find_spec(name) is not None]


def open_runtime(options: LoadOptions, runtime: RuntimeName) -> Runtime:
    """Load the network with the library that `choose_runtime` names.

    Raises:
        ModelLoadError: If the library is not installed or the file cannot be loaded.
    """
    name = choose_runtime(options, runtime)
    try:
        return _open(options, name)
    except NotConvertibleError as error:
        if runtime != "auto":
            raise
        _logger.warning("%s; it runs with torch, which is slower on a CPU", error)
        return _open(options, "ultralytics")


def _open(options: LoadOptions, name: RuntimeName) -> Runtime:
    file = _LIBRARIES[options.format][name]
    try:
        module = import_module(f"detkit.detection.runtimes.{file}")
        opened: Runtime = module.open_runtime(options)
    except ImportError as error:
        raise ModelLoadError(
            f"{options.path.name} needs {name}, which cannot be imported here: {error}"
        ) from error
    return opened
