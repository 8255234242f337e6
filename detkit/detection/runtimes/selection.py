"""Which inference library loads which file. The only list of them.

Imports a library's file only when that library is chosen.
"""

from __future__ import annotations

from importlib import import_module

from detkit.detection.model_files import ModelFormat
from detkit.detection.runtimes.contract import LoadOptions, Runtime, RuntimeName
from detkit.errors import ModelLoadError

# The libraries that can load a format, the preferred one first.
_LIBRARIES: dict[ModelFormat, tuple[RuntimeName, ...]] = {
    "checkpoint": ("ultralytics",),
    "onnx": ("openvino",),
    "openvino": ("openvino",),
}
_NAMES = ("auto", "ultralytics", "openvino", "onnxruntime")


def choose_runtime(options: LoadOptions, runtime: RuntimeName) -> RuntimeName:
    """The library that will load this file.

    Raises:
        ModelLoadError: If the library asked for cannot read such a file, or there is no such
            library.
    """
    if runtime not in _NAMES:
        raise ModelLoadError(f"runtime must be one of {', '.join(_NAMES)}, got {runtime!r}")
    able = _LIBRARIES.get(options.format, ())
    if not able:
        raise ModelLoadError(
            f"{options.path.name}: files of the kind {options.format!r} cannot be loaded yet; "
            "give the .pt or .onnx file"
        )
    if runtime == "auto":
        return able[0]
    if runtime not in able:
        raise ModelLoadError(
            f"runtime {runtime!r} cannot load {options.path.name}; "
            f"it can be loaded by {' or '.join(able)}"
        )
    return runtime


def open_runtime(options: LoadOptions, runtime: RuntimeName) -> Runtime:
    """Load the network with the library that `choose_runtime` names.

    Raises:
        ModelLoadError: If the library is not installed or the file cannot be loaded.
    """
    name = choose_runtime(options, runtime)
    try:
        module = import_module(f"detkit.detection.runtimes.{name}")
        opened: Runtime = module.open_runtime(options)
    except ImportError as error:
        raise ModelLoadError(
            f"{options.path.name} needs {name}, which cannot be imported here: {error}"
        ) from error
    return opened
