"""Checkpoints (`.pt`) through OpenVINO on a CPU: converted once, then read from a cache.

The first load of a checkpoint takes torch and ultralytics and some seconds, and leaves the
network in the user's cache folder; from then on neither is imported. OpenVINO's own converter
reads the torch module, so no further package is needed. The rule for `.pt` files holds during the
conversion: nothing from the file is run unless `trust_weights` says so.
"""

from __future__ import annotations

import logging
import tempfile
import threading
import warnings
from dataclasses import replace
from functools import partial
from importlib import metadata
from pathlib import Path

from detkit.detection.environment import import_openvino
from detkit.detection.model_cache import ModelCache, key_of
from detkit.detection.openvino_file import write_metadata
from detkit.detection.runtimes import openvino
from detkit.detection.runtimes.contract import LoadOptions, NotConvertibleError, Runtime
from detkit.errors import ModelLoadError, describe

# Part of every key: raise it when the same file and libraries give another conversion.
_FORMAT = "1"
_MODEL = "model.xml"
# A head with its own suppression returns this many rows; tracing makes it a constant that no
# smaller number of anchors can satisfy.
_MOST_ROWS = 300
_logger = logging.getLogger("detkit.detection")
# The tracer of torch patches classes while it works.
_converting = threading.Lock()


def open_runtime(options: LoadOptions) -> Runtime:
    """Load a checkpoint through OpenVINO.

    Raises:
        NotConvertibleError: If the network or this installation does not allow it; torch may
            still run it.
        ModelLoadError: If the checkpoint is damaged, would run code, is no detection model, or
            asks for a device or precision that is not there.
        ImportError: If it has to be converted and torch or ultralytics is not installed.
    """
    cache = ModelCache()
    try:
        key = key_of(options.path, _facts(options))
    except OSError as error:
        raise ModelLoadError(f"{options.path.name} cannot be read: {error.strerror}") from error
    if options.precision == "int8":
        raise openvino.lacks_int8(options.path)  # the name in the cache would tell nothing
    with _converting:
        entry = cache.find(key)
        if entry is not None:
            try:
                return _open(entry, options)
            except ModelLoadError:
                if cache.find(key) is not None:
                    raise
                # Another process cleared the cache in this very moment.
        return _convert_and_open(cache, key, options)


def _facts(options: LoadOptions) -> dict[str, str]:
    versions = {name: _version(name) for name in ("openvino", "torch", "ultralytics")}
    return {**versions, "format": _FORMAT, "trust_weights": str(options.trust_weights)}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "none"


def _open(folder: Path, options: LoadOptions) -> Runtime:
    runtime = openvino.open_runtime(replace(options, path=folder / _MODEL, format="openvino"))
    facts = runtime.facts
    # The narrowest rectangle at the three strides of a head.
    fewest = 21 * min(facts.size_hw) // facts.stride
    if facts.layout == "rows" and fewest < _MOST_ROWS:
        runtime.close()
        raise NotConvertibleError(
            f"{options.path.name} does its own suppression, which OpenVINO cannot do at "
            f"{facts.size_hw[0]}x{facts.size_hw[1]} pixels"
        )
    return runtime


def _convert_and_open(cache: ModelCache, key: str, options: LoadOptions) -> Runtime:
    name = options.path.name
    options.tell(f"converting {name} for OpenVINO, once")
    build = partial(_convert, options)
    try:
        return _open(cache.store(key, name, build), options)
    except OSError as error:
        _logger.warning(
            "the converted %s cannot be kept in %s (%s): it will be converted at every load; "
            "DETKIT_CACHE_DIR chooses another folder",
            name,
            cache.folder,
            describe(error),
        )
    try:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
            build(Path(scratch))
            # What is read stays mapped into memory when the folder goes.
            return _open(Path(scratch), options)
    except OSError as error:
        raise NotConvertibleError(
            f"{name} cannot be converted without a folder to write to: {describe(error)}"
        ) from error


def _convert(options: LoadOptions, folder: Path) -> None:
    """Write the network of a checkpoint into `folder` as OpenVINO reads it."""
    from detkit.detection.runtimes.ultralytics import load_network

    network, facts = load_network(replace(options, image_size=None))
    import torch

    ov = import_openvino()
    # Anchors follow the size of the input instead of being those of the example.
    network.model[-1].dynamic = True
    example = torch.zeros(1, 3, *facts.size_hw)
    try:
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")  # tracing is deprecated in torch, and what it takes
            model = ov.convert_model(network, example_input=example, input=[-1, 3, -1, -1])
        # Not in half precision: float32 results are to be those of the checkpoint.
        ov.save_model(model, folder / _MODEL, compress_to_fp16=False)
    except OSError:
        raise
    except Exception as error:
        raise NotConvertibleError(
            f"{options.path.name} cannot be converted for OpenVINO: {describe(error, 120)}"
        ) from error
    write_metadata(facts, folder)
