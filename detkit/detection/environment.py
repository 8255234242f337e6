"""What the process around us may do: network, installs, telemetry, cache folder.

The one place that sets environment variables and repairs what an inference library changed
in the process. Everybody who imports ultralytics, OpenVINO or ONNX Runtime does it through this
file.
Knows nothing of models, images or results.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from detkit.threads import call_apart

# Read by the libraries when they are imported, so they are set before. A value that the
# user has set stays.
_QUIET = {
    "YOLO_OFFLINE": "true",  # no analytics, no look-up of public DNS names at import
    "YOLO_AUTOINSTALL": "false",  # no `pip install` in the middle of a detection
    "ORT_DISABLE_TELEMETRY": "1",
    "OPENVINO_TELEMETRY": "0",  # a name of ours: see `import_openvino`
    "DO_NOT_TRACK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}
_TRUE = frozenset({"1", "true", "yes", "on"})
_lock = threading.Lock()


def quiet_environment() -> None:
    """Set the switches that keep inference libraries off the network, where they are unset."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)


def is_offline() -> bool:
    """Whether `DETKIT_OFFLINE` forbids every use of the network."""
    return os.environ.get("DETKIT_OFFLINE", "").strip().lower() in _TRUE


def cache_folder() -> Path:
    """Where detkit keeps downloads and converted models; it may not exist yet.

    `DETKIT_CACHE_DIR` if set, else `detkit` in the user's cache folder of the platform.
    """
    chosen = os.environ.get("DETKIT_CACHE_DIR", "").strip()
    if chosen:
        return Path(chosen).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "detkit"
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local")
        return Path(base) / "detkit" / "Cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "detkit"


def import_ultralytics() -> ModuleType:
    """Import ultralytics with its side effects held down, or repaired if it was there first.

    Returns:
        The module `ultralytics.nn.tasks`.

    Raises:
        ImportError: If ultralytics or torch is not installed.
    """
    return call_apart(_import_ultralytics)


def _import_ultralytics() -> ModuleType:
    quiet_environment()
    with _lock, _side_effects_undone():
        from ultralytics.nn import tasks

        _repair()
    module: ModuleType = tasks
    return module


def import_openvino() -> ModuleType:
    """Import OpenVINO without its telemetry, unless `OPENVINO_TELEMETRY=1` asks for it.

    Its import and every conversion tell an analytics service, from a forked process, and no
    environment variable of its own forbids it (read in 2026.4.1: only `CI=true` or a file in the
    user's home does). It does without where the package that sends is not installed, so that
    package is kept out of its sight.

    Returns:
        The module `openvino`.

    Raises:
        ImportError: If OpenVINO is not installed.
    """
    quiet_environment()
    with _lock:
        if os.environ["OPENVINO_TELEMETRY"].strip().lower() in _TRUE:
            return import_module("openvino")
        with _kept_out_of_sight("openvino_telemetry"):
            module = import_module("openvino")
            _silence_converter()
    return module


def import_nncf() -> ModuleType:
    """Import NNCF without its telemetry, under the same condition as OpenVINO's.

    Returns:
        The module `nncf`.

    Raises:
        ImportError: If NNCF is not installed.
    """
    return call_apart(_import_nncf)


def _import_nncf() -> ModuleType:
    import_openvino()
    with _lock:
        if os.environ["OPENVINO_TELEMETRY"].strip().lower() in _TRUE:
            return import_module("nncf")
        with _kept_out_of_sight("openvino_telemetry"):
            module = import_module("nncf")
        # It may have been imported before us; all that it tells goes through this name.
        sender: Any = import_module("nncf.telemetry.decorator")
        sender.telemetry = import_module("nncf.telemetry.wrapper").NNCFTelemetryStub()
    return module


@contextlib.contextmanager
def _kept_out_of_sight(package: str) -> Iterator[None]:
    """Let imports of a package fail, as if it were not installed."""
    before = sys.modules.get(package)
    sys.modules[package] = None  # type: ignore[assignment]  # how Python says "not there"
    try:
        yield
    finally:
        del sys.modules[package]
        if before is not None:
            sys.modules[package] = before


def _silence_converter() -> None:
    """Give OpenVINO, if it was imported before us, its own stand-in for the package."""
    place = "openvino.tools.ovc"
    for name in ("telemetry_utils", "convert_impl"):
        module: Any = sys.modules.get(f"{place}.{name}")
        if module is not None and module.tm.__name__ == "openvino_telemetry":
            module.tm = import_module(f"{place}.telemetry_stub")


@contextlib.contextmanager
def _side_effects_undone() -> Iterator[None]:
    """Undo what the first import of ultralytics would change in a notebook.

    It sets numpy's print format, switches off OpenCV's threads, and writes "Creating new
    Ultralytics Settings" to standard output.
    """
    if "ultralytics.utils" in sys.modules:
        yield
        return
    import cv2
    import numpy as np

    logger = logging.getLogger("ultralytics")
    was_disabled, logger.disabled = logger.disabled, True
    num_threads = cv2.getNumThreads()
    print_options: dict[str, Any] = dict(np.get_printoptions())
    print_options.pop("override_repr", None)  # some versions of numpy report it, none set it
    try:
        yield
    finally:
        logger.disabled = was_disabled
        cv2.setNumThreads(num_threads)
        np.set_printoptions(**print_options)


def _repair() -> None:
    """Undo what ultralytics, perhaps imported long before us, decided for the process.

    Its flags are constants copied from module to module at import, so every copy is set. The
    settings file on disk stays as the user left it.
    """
    if os.environ["YOLO_AUTOINSTALL"].strip().lower() not in _TRUE:
        _set_everywhere("AUTOINSTALL", False)
    if os.environ["YOLO_OFFLINE"].strip().lower() in _TRUE:
        _set_everywhere("ONLINE", False)
        utils = sys.modules["ultralytics.utils"]
        # `dict.__setitem__`: the class's own would rewrite the user's settings file.
        dict.__setitem__(utils.SETTINGS, "sync", False)
        events = getattr(sys.modules.get("ultralytics.utils.events"), "events", None)
        if events is not None:
            events.enabled = False
    _restore_pillow()


def _set_everywhere(name: str, value: bool) -> None:
    for module_name, module in list(sys.modules.items()):
        if module_name.startswith("ultralytics") and isinstance(vars(module).get(name), bool):
            setattr(module, name, value)


def _restore_pillow() -> None:
    # ultralytics puts its own `PIL.Image.open` in place, which runs pip on a broken image.
    patches: Any = sys.modules.get("ultralytics.utils.patches")
    image: Any = sys.modules.get("PIL.Image")
    original = getattr(patches, "_image_open", None)
    if image is not None and original is not None and image.open is patches.image_open:
        image.open = original
