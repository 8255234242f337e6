from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from detkit.detection import environment

HEAVY = ["torch", "ultralytics", "openvino", "onnxruntime", "pandas", "matplotlib"]
HEAVY += ["ipywidgets", "anywidget", "ray"]


def run(code: str, **env: str) -> str:
    import os

    clean = {k: v for k, v in os.environ.items() if not k.startswith(("YOLO_", "ORT_", "DETKIT"))}
    root = str(Path(__file__).resolve().parents[2])
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**clean, "PYTHONPATH": root, **env},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_detection_loads_nothing_heavy():
    code = f"import sys, detkit.detection\nprint([m for m in {HEAVY} if m in sys.modules])"
    assert run(code).strip() == "[]"


def test_an_import_of_ultralytics_by_us_leaves_the_process_as_it_was(tmp_path):
    code = """
import sys
seen = []
sys.addaudithook(lambda e, a: seen.append((e, a[:1])) if e.startswith("socket.") else None)
import cv2, numpy as np, PIL.Image
before = np.array2string(np.array([1.5, 2])), cv2.getNumThreads(), PIL.Image.open
from detkit.detection.environment import import_ultralytics
import_ultralytics()
after = np.array2string(np.array([1.5, 2])), cv2.getNumThreads(), PIL.Image.open
assert before == after, (before, after)
from ultralytics import utils
from ultralytics.utils import checks, events
assert not utils.ONLINE and not checks.ONLINE and not checks.AUTOINSTALL
assert not events.events.enabled
assert not seen, seen
"""
    # Not a word on standard output, although the settings file is new.
    assert run(code, YOLO_CONFIG_DIR=str(tmp_path)) == ""


def test_an_ultralytics_imported_first_is_repaired(tmp_path):
    code = """
import socket
socket.getaddrinfo = lambda *a, **k: []   # "online", without asking anybody
import PIL.Image
original = PIL.Image.open
import ultralytics.nn.tasks, ultralytics.utils.events
from ultralytics import utils
from ultralytics.utils import checks
assert utils.ONLINE and checks.ONLINE and checks.AUTOINSTALL and PIL.Image.open is not original
settings = utils.SETTINGS.file.read_text()
from detkit.detection.environment import import_ultralytics
import_ultralytics()
assert not utils.ONLINE and not checks.ONLINE
assert not utils.AUTOINSTALL and not checks.AUTOINSTALL
assert not utils.SETTINGS["sync"] and not ultralytics.utils.events.events.enabled
assert PIL.Image.open is original
assert utils.SETTINGS.file.read_text() == settings
"""
    run(code, YOLO_CONFIG_DIR=str(tmp_path))


@pytest.mark.parametrize("first", ["", "import openvino"])
def test_openvino_tells_nobody_that_it_was_imported_or_used(tmp_path, first):
    # Its telemetry begins with a file in the home folder and sends from a forked process.
    code = f"""
import shutil, sys
from pathlib import Path
{first}
shutil.rmtree(Path.home() / "intel", ignore_errors=True)
from detkit.detection.environment import import_openvino
openvino = import_openvino()
seen = []
sys.addaudithook(lambda e, a: seen.append(e) if e.startswith(("socket.", "os.fork")) else None)
import torch
openvino.convert_model(torch.nn.ReLU(), example_input=torch.zeros(1, 3, 8, 8))
if sys.modules.get("openvino_telemetry"):
    from openvino_telemetry.main import Telemetry
    sender = Telemetry().sender
    sender.executor.shutdown(wait=True)
assert not seen, seen
assert not (Path.home() / "intel").exists()
"""
    run(code, HOME=str(tmp_path), CI="")


def test_a_switch_that_the_user_set_stays(monkeypatch):
    monkeypatch.setenv("YOLO_AUTOINSTALL", "true")
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    environment.quiet_environment()
    import os

    assert os.environ["YOLO_AUTOINSTALL"] == "true"
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"


@pytest.mark.parametrize("value, offline", [("1", True), ("True", True), ("0", False), ("", False)])
def test_offline_switch(monkeypatch, value, offline):
    monkeypatch.setenv("DETKIT_OFFLINE", value)
    assert environment.is_offline() is offline


def test_cache_folder_can_be_chosen(monkeypatch, tmp_path):
    monkeypatch.setenv("DETKIT_CACHE_DIR", str(tmp_path))
    assert environment.cache_folder() == tmp_path
    monkeypatch.delenv("DETKIT_CACHE_DIR")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert environment.cache_folder() == tmp_path / "xdg" / "detkit"
