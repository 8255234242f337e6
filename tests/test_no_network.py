"""Nothing needs a network, and nothing misses it: all of it runs where there is none.

Python's audit hooks, which `conftest.py` sets, do not see what compiled code does; a namespace
without any network does.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# A namespace of its own has no route, not even to itself: its loopback device is down.
ALONE = ["unshare", "--map-root-user", "--net"]


def has_namespaces() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*ALONE, "true"], capture_output=True, check=False).returncode == 0


needs_namespaces = pytest.mark.skipif(
    not has_namespaces(), reason="needs Linux that lets a user have namespaces: unshare -rn true"
)

PROGRAM = """
import detkit, detkit.notebook, detkit.widgets
from detkit import AsyncDetector, YOLOv8Detector
from detkit.samples import sample_images, sample_model_path

picture = sample_images(1)[0]
found = {}
for suffix, runtime in ((".onnx", "openvino"), (".onnx", "onnxruntime"), (".pt", "ultralytics")):
    model = YOLOv8Detector()
    model.load_model(sample_model_path(suffix), runtime=runtime)
    with AsyncDetector(model) as detector:
        found[runtime] = len(detector.detect_batch([picture] * 4)[-1])
assert len(set(found.values())) == 1 and min(found.values()) > 0, found
"""


def alone(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [*ALONE, sys.executable, "-c", code]
    environment = {**os.environ, "DETKIT_CACHE_DIR": str(folder)}
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=280, check=False
    )


@needs_namespaces
@pytest.mark.watchdog(300)
def test_t39_every_runtime_works_without_any_network(tmp_path: Path) -> None:
    done = alone(PROGRAM, tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]


@needs_namespaces
def test_t39_there_really_is_none(tmp_path: Path) -> None:
    done = alone("import socket; socket.create_connection(('127.0.0.1', 9), 1)", tmp_path)
    assert "unreachable" in done.stderr
