"""Every panel idle, running, finished and failed, in a real browser.

A gate in the detector holds a panel in its running state for as long as somebody looks. With
`DETKIT_SCREENSHOTS` each state is pictured in the light and the dark theme, and must still be the
same one afterwards.
"""

from __future__ import annotations

from typing import Any

import pytest
from widgets.jupyter_page import NotebookPage
from widgets.needs_browser import needs_browser

pytestmark = [*needs_browser, pytest.mark.watchdog(150)]

SETUP = """import threading
from pathlib import Path
from detkit import AsyncDetector, ItemFailure
from detkit.samples import sample_detector, scene
from detkit.testing import FakeDetector
from detkit.widgets import BenchmarkPanel, DetectPanel, ResultBrowser, VideoPreview

images = [scene(seed)[0] for seed in range(6)]
model = sample_detector()
names = model.class_names
results = [model.detect(image) for image in images]
open_gate = threading.Event()
num_free = 10**9

def gated(images):
    global num_free
    num_free -= len(images)
    if num_free < 0:
        assert open_gate.wait(100)
    return [model.detect(image) for image in images]

def broken(images):
    raise RuntimeError("the <b>lens</b> is cracked")

def close_gate_after(number):
    global num_free
    open_gate.clear()
    num_free = number

def free():
    global num_free
    num_free = 10**9
    open_gate.set()

def wrapped(behaviour):
    return AsyncDetector(FakeDetector(behaviour=behaviour), max_workers=1, default_batch_size=2)

paths = sorted(Path("../data/images").glob("*.jpg"))[:3]
"""
BENCHMARK = "benchmark = BenchmarkPanel(wrapped(gated), images, seconds_per_run=0.2)\nbenchmark"
PREVIEW = """preview = VideoPreview("../data/belt.mp4", AsyncDetector(model), max_width_px=720)
preview"""
RESULTS = "browser = ResultBrowser(images, results, page_size=6)\nbrowser"
DETECT = "detect = DetectPanel(wrapped(gated))\ndetect"
FAILING = (
    "failing = BenchmarkPanel(wrapped(broken), images)\nfailing",
    'VideoPreview("../data/belt.mp4", wrapped(broken), max_width_px=400)',
    'torn = ItemFailure(1, "decode", ValueError("the <b>file</b> is torn"), "torn.jpg")\n'
    'half = ResultBrowser([images[0], "torn.jpg"], [results[0], torn], page_size=2)\nhalf',
    "wrong = DetectPanel(wrapped(broken))\nwrong",
)


def states(notebook: NotebookPage, name: str, panel: Any) -> Any:
    """Asserts that a panel says something, pictures it, and asserts that it still does."""

    def check(state: str, *texts: str) -> None:
        for text in texts:
            panel.get_by_text(text).first.wait_for()
        notebook.take_pictures(f"{name}-{state}", panel)
        for text in texts:
            assert panel.get_by_text(text).first.is_visible(), (name, state, text)

    return check


@pytest.mark.parametrize(
    "notebook", [("05_interactive_benchmark", [SETUP, BENCHMARK, FAILING[0]])], indirect=True
)
def test_a_benchmark(notebook: NotebookPage) -> None:
    notebook.run_last(3)
    panel = notebook.page.locator(".detkit-panel").nth(0)
    check = states(notebook, "benchmark", panel)
    check("idle", "No run yet", "Idle")
    assert panel.get_by_role("button", name="Export").is_disabled()
    notebook.execute("benchmark.run(); benchmark.wait(20); close_gate_after(18)")
    panel.get_by_role("button", name="Run").click()
    check("running", "measuring batch, 1 worker, batch 2: round", "0 of 1")
    assert panel.locator(".detkit-running").count() == 1
    assert panel.get_by_role("button", name="Run").is_disabled()
    notebook.execute("free(); benchmark.wait(20); benchmark.parts.batch_size.value = 4")
    panel.get_by_role("button", name="Run").click()
    panel.locator("table.detkit-runs tr").nth(3).wait_for()
    check("finished", "Done", "★ best", "Best of 3")
    failing = notebook.page.locator(".detkit-panel").nth(1)
    failing.get_by_role("button", name="Run").click()
    check = states(notebook, "benchmark", failing)
    check("failed", "the <b>lens</b> is cracked", "The measurement failed", "Failed")
    notebook.check_names_and_colours()
    assert notebook.problems == []


@pytest.mark.parametrize(
    "notebook", [("04_video_preview", [SETUP, PREVIEW, FAILING[1]])], indirect=True
)
def test_a_preview(notebook: NotebookPage) -> None:
    notebook.run_last(3)
    panel = notebook.page.locator(".detkit-panel").nth(0)
    check = states(notebook, "preview", panel)
    panel.get_by_role("img", name="frame 0 at 0.00 s").wait_for()
    check("idle", "frame 0 at 0.00 s", "Play")
    notebook.execute("preview.set_speed(0.25)")
    panel.get_by_role("button", name="Play").click()
    check("running", "Pause", "browser")
    notebook.execute("preview.set_speed(1.0); preview.seek(240)")
    check("finished", "the end of the video", "frame 249", "Play")
    failing = states(notebook, "preview", notebook.page.locator(".detkit-panel").nth(1))
    failing("failed", "frame 0: RuntimeError: the <b>lens</b> is cracked", "failed")
    notebook.check_names_and_colours()
    assert notebook.problems == []


@pytest.mark.parametrize(
    "notebook", [("04_video_preview", [SETUP, RESULTS, FAILING[2]])], indirect=True
)
def test_results(notebook: NotebookPage) -> None:
    """A browser of results has no work of its own: running is in use."""
    notebook.run_last(3)
    panel = notebook.page.locator(".detkit-panel").nth(0)
    check = states(notebook, "results", panel)
    check("idle", "6 of 6 images", "0 selected", "image 5")
    panel.locator("button[title^='Enlarge']").nth(1).click()
    panel.get_by_role("button", name="accept").nth(0).click()
    panel.get_by_role("button", name="reject").nth(2).click()
    panel.get_by_role("checkbox").nth(1).check()
    check("running", "1 selected · 2 marked", "Close")
    panel.get_by_role("button", name="Close").click()
    panel.get_by_role("button", name="Save marks").click()
    check("finished", "wrote 2 marks to marks.csv")
    torn = notebook.page.locator(".detkit-panel").nth(1)
    torn.get_by_role("button", name="Save marks").click()
    states(notebook, "results", torn)("failed", "the <b>file</b> is torn", "nothing is marked yet")
    notebook.check_names_and_colours()
    assert notebook.problems == []


@pytest.mark.parametrize(
    "notebook", [("09_detect_panel", [SETUP, DETECT, FAILING[3]])], indirect=True
)
def test_detecting(notebook: NotebookPage) -> None:
    notebook.run_last(3)
    panel = notebook.page.locator(".detkit-panel").nth(0)
    check = states(notebook, "detect", panel)
    check("idle", "No pictures yet", "or drop them here")
    assert panel.get_by_role("button", name="Clear").is_disabled()
    notebook.execute("close_gate_after(1)\nfor path in paths: detect.add(path)")
    check("running", "1 of 3 pictures done", "waiting …")
    assert panel.get_by_role("button", name="Stop").is_enabled()
    notebook.execute("free(); detect.wait(20)")
    check("finished", "3 of 3 pictures done", "scene_00.jpg: ")
    failing = notebook.page.locator(".detkit-panel").nth(1)
    notebook.execute("wrong.add(paths[0]); wrong.wait(20)")
    failing.get_by_label("Model", exact=True).select_option("Another model file …")
    failing.get_by_label("Model file").fill("nowhere/model.onnx")
    failing.get_by_label("Model file").press("Enter")
    states(notebook, "detect", failing)("failed", "ModelNotFoundError")
    notebook.check_names_and_colours()
    assert notebook.problems == []
