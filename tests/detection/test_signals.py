"""A signal after models came and went, as from a notebook's Stop button, ends no process."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import faulthandler, gc, signal, threading
faulthandler.enable()
from detkit.detection.yolov8 import YOLOv8Detector
from detkit.samples import sample_model_path

for _ in range(3):
    first, second = YOLOv8Detector(), YOLOv8Detector()
    first.load_model(sample_model_path())
    second.load_model(sample_model_path())
    first.close()
    del first
    gc.collect()
    second.close()
    del second
    gc.collect()
try:
    for _ in range(20):
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
"""


def test_interrupting_after_models_came_and_went() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted\n", "")
