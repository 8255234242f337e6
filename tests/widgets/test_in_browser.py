"""The panels of notebooks 04 and 05 in a real browser, with a real server and a real kernel.

Skipped only where there is no Chromium, and never in CI. Screenshots of every panel go to the
folder that `DETKIT_SCREENSHOTS` names, or to the test's own.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import nbformat
import pytest
from widgets.jupyter_page import ROOT, Lab, NotebookPage, find_browser, open_browser

MISSING = [
    *([] if find_browser() else ["a Chromium"]),
    *(name for name in ("jupyterlab", "playwright") if find_spec(name) is None),
]

pytestmark = [
    pytest.mark.skipif(
        bool(MISSING) and os.environ.get("CI") != "true",
        reason=f"there is no {' and no '.join(MISSING)} on this machine",
    ),
    pytest.mark.watchdog(150),
]

FAILING = """from detkit import AsyncDetector
from detkit.testing import FakeDetector
from detkit.widgets import BenchmarkPanel as Panel

def burn(images):
    raise RuntimeError("the <b>lens</b> is cracked")

failing = Panel(AsyncDetector(FakeDetector(behaviour=burn)), images)
failing.widget.add_class("failing")
failing"""
BUSY = "import time; time.sleep(0 if 'once' not in globals() else 3); once = True"


def with_cell(source: Path, target: Path, code: str) -> None:
    """Copy a notebook without its outputs and with one more cell."""
    notebook = nbformat.read(source, as_version=4)
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    notebook.cells.append(nbformat.v4.new_code_cell(code))
    nbformat.write(notebook, target)


@pytest.fixture(scope="module")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    named = os.environ.get("DETKIT_SCREENSHOTS")
    folder = Path(named) if named else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab(tmp_path_factory.mktemp("lab"))
    try:
        files = lab.folder / "files"
        (files / "notebooks").mkdir()
        (files / "data").mkdir()
        shutil.copy(ROOT / "data" / "belt.mp4", files / "data")
        saved = ROOT / "notebooks" / "04_video_preview.ipynb"
        shutil.copy(saved, files / "notebooks" / "saved.ipynb")
        with_cell(saved, files / "notebooks" / "preview.ipynb", BUSY)
        benchmark = ROOT / "notebooks" / "05_interactive_benchmark.ipynb"
        with_cell(benchmark, files / "notebooks" / "benchmark.ipynb", FAILING)
        lab.wait_until_up()
        yield lab
    finally:
        lab.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with open_browser() as browser:
        yield browser


@pytest.fixture
def notebook(
    lab: Lab, browser: Any, shots: Path, request: pytest.FixtureRequest
) -> Iterator[NotebookPage]:
    name, theme = request.param
    lab.use_theme(theme)
    page = NotebookPage(browser, lab, f"notebooks/{name}.ipynb")
    yield page
    page.page.screenshot(path=shots / f"{name}-at-the-end.png")
    page.close()


def number(text: str, name: str) -> float:
    """The number that follows, or stands before, a word of the line below the picture."""
    found = re.search(rf"{name} ([\d.]+)", text)
    assert found, text
    return float(found[1])


def frame_of(panel: Any) -> int:
    return int(number(panel.locator(".detkit-hud").inner_text(), "frame"))


CHANGED = """([title, frame]) => {
    const panel = [...document.querySelectorAll('.detkit-panel')]
        .find(p => p.innerText.startsWith(title));
    const line = panel.querySelector('.detkit-hud').innerText;
    return Number(line.match(/frame (\\d+)/)[1]) !== frame;
}"""
SAYS = """([title, text]) => [...document.querySelectorAll('.detkit-panel')]
    .some(p => p.innerText.startsWith(title) && p.innerText.includes(text))"""


@pytest.mark.parametrize("notebook", [("saved", "JupyterLab Light")], indirect=True)
def test_a_saved_notebook_shows_its_poster(notebook: NotebookPage, shots: Path) -> None:
    image = notebook.page.locator(".jp-OutputArea img").first
    image.wait_for()
    assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") == 720
    notebook.page.screenshot(path=shots / "preview-saved-light.png")


@pytest.mark.parametrize("notebook", [("preview", "JupyterLab Dark")], indirect=True)
def test_playing_seeking_and_turning_the_threshold(notebook: NotebookPage, shots: Path) -> None:
    notebook.run_all()
    panel = notebook.panel("Video preview")
    image = panel.locator("img").first
    panel.locator(".detkit-hud").wait_for()
    notebook.page.screenshot(path=shots / "preview-idle-dark.png")

    before, source = frame_of(panel), image.get_attribute("src")
    panel.get_by_role("button", name="Play").click()
    notebook.wait_until(CHANGED, ["Video preview", before])
    notebook.wait_until(SAYS, ["Video preview", "browser"])
    assert image.get_attribute("src") != source
    panel.get_by_role("button", name="Pause").wait_for()

    # A busy cell does not stop it.
    notebook.page.locator(".jp-CodeCell .cm-content").last.click()
    notebook.start_command("notebook:run-cell")
    notebook.page.wait_for_selector('.jp-Notebook-ExecutionIndicator[data-status="busy"]')
    for _ in range(3):
        notebook.wait_until(CHANGED, ["Video preview", frame_of(panel)])
    status = notebook.page.locator(".jp-Notebook-ExecutionIndicator").get_attribute("data-status")
    assert status == "busy"
    line = panel.locator(".detkit-hud").inner_text()
    assert number(line, "shown") > 0 and number(line, "detected") > 0
    panel.scroll_into_view_if_needed()
    notebook.page.screenshot(path=shots / "preview-playing-dark.png")

    panel.get_by_role("button", name="Pause").click()
    panel.get_by_role("button", name="Play").wait_for()
    threshold = panel.locator(".widget-slider").filter(has_text="Confidence").get_by_role("slider")
    threshold.press("End")
    notebook.wait_until(SAYS, ["Video preview", ", 0 objects"])
    threshold.press("Home")
    panel.locator(".detkit-hud").filter(has_not_text=", 0 objects").wait_for()

    position = panel.locator(".widget-slider").filter(has_text="Frame").get_by_role("slider")
    position.press("Home")
    notebook.wait_until(SAYS, ["Video preview", "frame 0 at 0.00 s"])
    assert panel.locator(".detkit-error").count() == 0

    browser = notebook.panel("Results")
    browser.scroll_into_view_if_needed()
    assert browser.locator("img").count() == 6
    browser.get_by_role("button", name="Select all shown").click()
    notebook.wait_until(SAYS, ["Results", "6 selected"])
    browser.locator("button[title^='Enlarge']").nth(1).click()
    browser.get_by_role("button", name="Close").wait_for()
    assert browser.locator("img").count() == 7
    notebook.page.screenshot(path=shots / "browser-dark.png")
    assert notebook.problems == []


@pytest.mark.parametrize("notebook", [("benchmark", "JupyterLab Light")], indirect=True)
def test_running_sweeping_stopping_and_applying(notebook: NotebookPage, shots: Path) -> None:
    notebook.run_all()
    panel = notebook.panel("Benchmark")
    rows = panel.locator("table.detkit-runs tr")
    assert rows.count() == 1 + 7
    assert panel.locator(".detkit-bar").count() == 7
    workers = panel.locator(".widget-slider").filter(has_text="Workers").get_by_role("slider")
    workers.press("Home")
    panel.get_by_role("button", name="Run").click()
    panel.locator("table.detkit-runs tr").nth(8).wait_for()
    assert panel.locator(".detkit-bar").count() == 8
    assert "★ best" in panel.locator("table.detkit-runs").inner_text()
    panel.locator("text=Done").wait_for()
    notebook.page.screenshot(path=shots / "benchmark-done-light.png")

    workers.press("End")
    panel.get_by_role("button", name="Sweep").click()
    panel.locator("text=measuring").wait_for()
    assert panel.get_by_role("button", name="Run").is_disabled()
    notebook.page.screenshot(path=shots / "benchmark-running-light.png")
    panel.get_by_role("button", name="Stop").click()
    panel.locator("text=Stopped").wait_for()
    panel.get_by_role("button", name="Apply").click()
    panel.locator("text=The detector now has 4 workers").wait_for()

    failing = notebook.page.locator(".failing")
    failing.scroll_into_view_if_needed()
    failing.get_by_role("button", name="Run").click()
    error = failing.locator(".detkit-error")
    error.wait_for()
    assert "the <b>lens</b> is cracked" in error.inner_text()
    notebook.page.screenshot(path=shots / "benchmark-failed-light.png")
    assert notebook.problems == []
