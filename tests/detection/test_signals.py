"""A signal, as from a notebook's Stop button, while models come and go, breaks nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from detkit.detection.model_cache import ModelCache

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


STOPPED_LOAD = """
import signal, threading
from detkit import YOLOv8Detector
from detkit.samples import sample_model_path

def stop(text):
    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

detector = YOLOv8Detector()
try:
    detector.load_model(sample_model_path(".pt"), on_progress=stop)
except KeyboardInterrupt:
    print(detector)
"""


def test_a_process_that_ends_after_a_stopped_load_leaves_nothing_half_done(tmp_path: Path) -> None:
    # Whether the conversion can end depends on what it still has to import: not after the exit.
    done = subprocess.run(
        [sys.executable, "-c", STOPPED_LOAD],
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "DETKIT_CACHE_DIR": str(tmp_path)},
    )
    assert (done.returncode, done.stdout) == (0, "YOLOv8Detector(not loaded)\n"), done.stderr
    cache = ModelCache(tmp_path / "converted")
    whole = {entry.path for entry in cache.entries() if cache.find(entry.path.name)}
    assert set(cache.folder.iterdir()) == whole
