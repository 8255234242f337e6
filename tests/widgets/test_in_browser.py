"""The panels of the notebooks in a real browser, with a real server and a real kernel.

How each panel looks in each of its states is `test_panel_states`' business. A screenshot of the end
of every test goes to the folder that `DETKIT_SCREENSHOTS` names, or to the run's own.
"""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from widgets.jupyter_page import ROOT, NotebookPage
from widgets.needs_browser import needs_browser

pytestmark = [*needs_browser, pytest.mark.watchdog(150)]

BURN = """from detkit import AsyncDetector
from detkit.testing import FakeDetector

def burn(images):
    raise RuntimeError("the <b>lens</b> is cracked")

broken = AsyncDetector(FakeDetector(behaviour=burn))
"""
FAILING_PREVIEW = (
    BURN
    + """failing = VideoPreview("../data/belt.mp4", broken, max_width_px=400)
failing.widget.add_class("failing")
failing"""
)
FAILING_RESULTS = """from detkit import ItemFailure
torn = ItemFailure(1, "decode", ValueError("the <b>file</b> is torn"), "torn.jpg")
half = ResultBrowser([images[0], "torn.jpg"], [results[0], torn], page_size=2)
half.widget.add_class("failing")
half"""
FAILING_BENCHMARK = (
    BURN
    + """failing = BenchmarkPanel(broken, images)
failing.widget.add_class("failing")
failing"""
)
BUSY = "import time; time.sleep(0 if 'once' not in globals() else 6); once = True"

# Ends when a person has pressed "Select none" in a panel that this very cell has made.
FIRST_SHOWN = """import threading
from detkit import AsyncDetector
from detkit.samples import sample_detector, scene
from detkit.widgets import BenchmarkPanel, DetectPanel, ResultBrowser, VideoPreview

model, images = sample_detector(), [scene(seed)[0] for seed in range(3)]
results = [model.detect(image) for image in images]
detector = AsyncDetector(model, max_workers=2)
browser = ResultBrowser(images, results, page_size=2)
pressed = threading.Event()
browser.parts.select_none.on_click(lambda _: pressed.set())
display(
    VideoPreview("../data/belt.mp4", detector, max_width_px=400),
    browser,
    BenchmarkPanel(detector, images, seconds_per_run=0.2),
    DetectPanel(detector),
)
assert pressed.wait(60)
"""

SAYS = """([title, text]) => [...document.querySelectorAll('.detkit-panel')]
    .some(p => p.innerText.startsWith(title) && p.innerText.includes(text))"""
ALTS = """title => [...document.querySelectorAll('.detkit-panel')]
    .filter(p => p.innerText.startsWith(title)).map(p => p.querySelector('canvas').ariaLabel)"""
AGREE = """title => {
    const alts = [...document.querySelectorAll('.detkit-panel')]
        .filter(p => p.innerText.startsWith(title) && !p.classList.contains('failing'))
        .map(p => p.querySelector('canvas').ariaLabel);
    return alts.length === 2 && alts[0] === alts[1];
}"""
OTHER_PICTURE = """([title, alt]) => [...document.querySelectorAll('.detkit-panel')]
    .find(p => p.innerText.startsWith(title)).querySelector('canvas').ariaLabel !== alt"""


def slider(panel: Any, label: str) -> Any:
    return panel.get_by_role("slider", name=label)


@pytest.mark.parametrize("notebook", [("04_video_preview", None)], indirect=True)
def test_a_saved_notebook_shows_its_poster(notebook: NotebookPage) -> None:
    image = notebook.page.locator(".jp-OutputArea img").first
    image.wait_for()
    assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") == 720
    notebook.take_pictures("preview-saved")


@pytest.mark.parametrize(
    "notebook",
    [("04_video_preview", ["preview", FAILING_PREVIEW, FAILING_RESULTS, BUSY])],
    indirect=True,
)
def test_playing_seeking_and_turning_the_threshold(notebook: NotebookPage) -> None:
    notebook.run_all()
    title = "Video preview"
    panel = notebook.panel(title)
    panel.locator(".detkit-hud").wait_for()
    notebook.check_names_and_colours()

    panel.get_by_role("button", name="Play").click()
    notebook.wait_until(SAYS, [title, "browser"])
    panel.get_by_role("button", name="Pause").wait_for()

    # A busy cell stops neither the pictures nor the controls.
    notebook.page.locator(".jp-CodeCell .cm-content").last.click()
    notebook.start_command("notebook:run-cell")
    notebook.page.wait_for_selector('.jp-Notebook-ExecutionIndicator[data-status="busy"]')
    panel.scroll_into_view_if_needed()
    for _ in range(8):
        notebook.wait_until(OTHER_PICTURE, [title, notebook.page.evaluate(ALTS, title)[0]])
    threshold = slider(panel, "Confidence")
    threshold.press("End")
    notebook.wait_until(SAYS, [title, ", 0 objects"])
    threshold.press("Home")
    slider(panel, "Frame").press("Home")
    slider(panel, "Workers").press("Home")
    assert notebook.status() == "busy"
    line = panel.locator(".detkit-hud").inner_text()
    assert float(re.search(r"shown ([\d.]+)", line)[1]) > 0  # type: ignore[index]

    panel.get_by_role("button", name="Pause").click()
    panel.get_by_role("button", name="Play").wait_for()
    slider(panel, "Frame").press("Home")
    notebook.wait_until(SAYS, [title, "frame 0 at 0.00 s"])
    panel.get_by_role("button", name="Step").click()
    notebook.wait_until(SAYS, [title, "frame 1 at 0.04 s"])
    assert "0 objects" not in panel.locator(".detkit-hud").inner_text()
    notebook.wait_until(AGREE, f"{title}: belt")
    slider(panel, "Frame").press("End")
    notebook.wait_until(SAYS, [title, "frame 249"])
    panel.get_by_role("button", name="Play").click()
    notebook.wait_until(SAYS, [title, "the end of the video"])
    assert panel.locator(".detkit-error").count() == 0
    error = notebook.page.locator(".failing .detkit-error").first
    assert "the <b>lens</b> is cracked" in error.inner_text()

    browser = notebook.panel("Results")
    browser.scroll_into_view_if_needed()
    assert browser.locator("img").count() == 6
    browser.get_by_role("button", name="Select all shown").click()
    notebook.wait_until(SAYS, ["Results", "6 selected"])
    browser.locator("button[title^='Enlarge']").nth(1).click()
    browser.get_by_role("button", name="Close").wait_for()
    assert browser.locator("img").count() == 7
    slider(browser, "Confidence").press("End")
    notebook.wait_until(SAYS, ["Results", ": 0 objects"])
    slider(browser, "Confidence").press("Home")
    assert notebook.problems == []


@pytest.mark.parametrize("notebook", [("04_video_preview", [FIRST_SHOWN])], indirect=True)
def test_panels_that_a_busy_cell_has_made_answer(notebook: NotebookPage) -> None:
    notebook.start_last()
    preview = notebook.panel("Video preview")
    slider(preview, "Confidence").press("End")
    notebook.wait_until(SAYS, ["Video preview", "frame 0 at 0.00 s, 0 objects"])
    slider(preview, "Frame").press("End")
    notebook.wait_until(SAYS, ["Video preview", "frame 249"])

    browser = notebook.panel("Results")
    browser.get_by_role("button", name="Next page").click()
    browser.get_by_text("image 2: ").wait_for()
    assert browser.get_by_label("Page", exact=True).input_value() == "2"

    benchmark = notebook.panel("Benchmark")
    slider(benchmark, "Workers").press("Home")
    benchmark.get_by_role("button", name="Run").click()
    benchmark.get_by_text("★ best").wait_for()
    assert "batch, 1 worker" in benchmark.inner_text()

    notebook.panel("Detect").locator("input[type=file]").set_input_files(
        ROOT / "data" / "images" / "scene_00.jpg"
    )
    notebook.wait_until(SAYS, ["Detect", "1 of 1 pictures done"])

    assert notebook.status() == "busy"
    browser.get_by_role("button", name="Select none").click()
    notebook.wait_until_idle()
    notebook.check_cells()
    assert notebook.problems == []


@pytest.mark.parametrize(
    "notebook", [("05_interactive_benchmark", [FAILING_BENCHMARK])], indirect=True
)
def test_running_sweeping_stopping_and_applying(notebook: NotebookPage) -> None:
    notebook.run_all()
    panel = notebook.panel("Benchmark")
    rows = panel.locator("table.detkit-runs tr")
    num_rows = rows.count()
    assert num_rows > 4 and panel.locator(".detkit-bar").count() == num_rows - 1
    notebook.check_names_and_colours()
    slider(panel, "Workers").press("Home")
    panel.get_by_label("Image size").select_option("320 pixels")
    panel.get_by_role("button", name="Run").click()
    panel.locator(".detkit-running").first.wait_for()
    rows.nth(num_rows).wait_for()
    panel.locator("text=Done").wait_for()
    assert panel.locator(".detkit-bar").count() == num_rows
    assert "320 px" in rows.nth(num_rows).inner_text()
    assert "★ best" in panel.locator("table.detkit-runs").inner_text()

    panel.get_by_label("Image size").select_option("as loaded")
    slider(panel, "Workers").press("End")
    panel.get_by_role("button", name="Sweep").click()
    panel.locator("text=measuring").wait_for()
    assert panel.get_by_role("button", name="Run").is_disabled()
    panel.get_by_role("button", name="Stop").click()
    panel.locator("text=Stopped").wait_for()
    panel.get_by_role("button", name="Apply").click()
    panel.locator("text=The detector now has 4 workers").wait_for()
    panel.get_by_role("button", name="Export").click()
    panel.locator("text=the code above repeats the best run").wait_for()
    assert "await measure" in panel.locator("textarea").input_value()

    failing = notebook.page.locator(".failing")
    failing.scroll_into_view_if_needed()
    failing.get_by_role("button", name="Run").click()
    error = failing.locator(".detkit-error")
    error.wait_for()
    assert "the <b>lens</b> is cracked" in error.inner_text()
    assert notebook.problems == []


DROP = """async ([name, text]) => {
    const data = new DataTransfer();
    data.items.add(new File([text], name));
    const zone = document.querySelector('.detkit-drop');
    zone.dispatchEvent(new DragEvent('drop', { dataTransfer: data, bubbles: true }));
}"""


@pytest.mark.parametrize("notebook", [("09_detect_panel", [])], indirect=True)
def test_dropping_pictures_and_taking_them_home(notebook: NotebookPage, tmp_path: Path) -> None:
    notebook.command("notebook:move-cursor-down")
    notebook.command("notebook:run-cell-and-select-next")
    title = "Detect objects"
    panel = notebook.panel(title)
    panel.locator(".detkit-drop").wait_for()
    pictures = sorted((ROOT / "data" / "images").glob("*.jpg"))[:2]
    panel.locator("input[type=file]").set_input_files(pictures)
    notebook.wait_until(SAYS, [title, "2 of 2 pictures done"])
    notebook.page.evaluate(DROP, ["<b>torn</b>.jpg", "no picture"])
    notebook.wait_until(SAYS, [title, "3 of 3 pictures done"])
    assert panel.locator("img").count() == 2
    card = panel.locator(".detkit-note").filter(has_text="<b>torn</b>.jpg").first
    assert "no JPEG, PNG" in card.locator(".detkit-error").inner_text()
    notebook.check_names_and_colours()

    confidence = slider(panel, "Confidence")
    confidence.press("End")
    notebook.wait_until(SAYS, [title, "· 0 objects"])
    confidence.press("Home")
    panel.locator("table.detkit-found tr").nth(5).wait_for()
    with notebook.page.expect_download() as download:
        panel.get_by_role("button", name="Download table").click()
    download.value.save_as(tmp_path / "objects.csv")
    table = pd.read_csv(tmp_path / "objects.csv")
    assert len(table) > 5 and set(table["file"]) == {p.name for p in pictures} | {"<b>torn</b>.jpg"}
    with notebook.page.expect_download() as download:
        panel.get_by_role("button", name="Download pictures").click()
    with zipfile.ZipFile(io.BytesIO(Path(download.value.path()).read_bytes())) as archive:
        assert archive.namelist() == [p.name for p in pictures] and archive.testzip() is None

    panel.get_by_label("Model", exact=True).select_option("Another model file …")
    path = panel.get_by_label("Model file")
    path.fill("nowhere/model.onnx")
    path.press("Enter")
    panel.locator(".detkit-error").filter(has_text="ModelNotFoundError").wait_for()
    panel.get_by_role("button", name="Clear").click()
    notebook.wait_until(SAYS, [title, "No pictures yet"])
    assert notebook.problems == []
