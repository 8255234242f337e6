"""Panels in a real browser without a mouse, and what only a mouse does: pictures are clicked."""

from __future__ import annotations

import pytest
from widgets.jupyter_page import NotebookPage
from widgets.needs_browser import needs_browser

pytestmark = [*needs_browser, pytest.mark.watchdog(150)]

PANELS = """from detkit import AsyncDetector
from detkit.samples import sample_detector, scene
from detkit.widgets import BenchmarkPanel, ResultBrowser

model, images = sample_detector(), [scene(seed)[0] for seed in range(9)]
benchmark = BenchmarkPanel(AsyncDetector(model), images)
results = ResultBrowser(images, [model.detect(image) for image in images], page_size=8)
display(benchmark, results)"""

CELLS = "() => window.jupyterapp.shell.currentWidget.content.widgets.length"
COMMAND_MODE = "() => { window.jupyterapp.shell.currentWidget.content.mode = 'command'; }"
HAS_FOCUS = "text => document.activeElement.textContent.trim() === text"
# Wider than the page leaves room for, and to be scrolled.
FITS = """() => {
    const region = document.querySelector('.detkit-panel [aria-label=Runs]');
    const panel = region.closest('.detkit-panel');
    const isInside = region.getBoundingClientRect().right <= panel.getBoundingClientRect().right;
    return isInside && region.scrollWidth > region.clientWidth;
}"""
IN_SIGHT = """() => {
    const image = document.querySelector('.detkit-large img');
    const { top, bottom } = image?.getBoundingClientRect() ?? { top: -1 };
    return top >= 0 && bottom <= innerHeight;
}"""


@pytest.mark.parametrize("notebook", [("05_interactive_benchmark", [PANELS])], indirect=True)
def test_keys_reach_the_controls_and_nothing_else(notebook: NotebookPage) -> None:
    notebook.run_last(1)
    panel = notebook.panel("Benchmark")
    panel.get_by_role("slider", name="Workers").wait_for()
    notebook.page.evaluate(COMMAND_MODE)
    num_cells = notebook.page.evaluate(CELLS)
    way = panel.get_by_label("Way of calling")
    for key in ("ArrowDown", "x", "d", "d"):  # all of them commands of JupyterLab
        way.press(key)
    assert notebook.page.evaluate(CELLS) == num_cells
    assert way.input_value() == "concurrent awaits"

    notebook.page.keyboard.press("Tab")
    notebook.page.keyboard.press("Home")
    workers = panel.get_by_role("slider", name="Workers")
    assert workers.get_attribute("aria-valuetext") == "1"
    notebook.page.keyboard.press("Tab")
    assert notebook.page.evaluate("document.activeElement.ariaLabel") == "Workers, as a number"

    # A button that is disabled hands the keyboard on to one that can be pressed.
    panel.get_by_role("button", name="Run").press("Enter")
    notebook.wait_until(HAS_FOCUS, "Stop")
    panel.get_by_text("★ best").wait_for()
    notebook.wait_until(HAS_FOCUS, "Run")
    assert "concurrent awaits, 1 worker" in panel.inner_text()

    notebook.page.set_viewport_size({"width": 700, "height": 1500})
    table = panel.get_by_role("region", name="Runs")
    notebook.wait_until(FITS)
    verdict = table.get_by_role("columnheader", name="Verdict")
    verdict.scroll_into_view_if_needed()
    assert table.evaluate("region => region.scrollLeft") > 0
    assert notebook.problems == []


@pytest.mark.parametrize("notebook", [("05_interactive_benchmark", [PANELS])], indirect=True)
def test_a_click_on_a_picture_enlarges_it_in_sight(notebook: NotebookPage) -> None:
    notebook.run_last(1)
    panel = notebook.panel("Results")
    panel.get_by_role("group", name="image 7").wait_for()
    notebook.page.set_viewport_size({"width": 1400, "height": 900})
    last = panel.get_by_role("img", name="image 7")
    last.click()
    notebook.wait_until(IN_SIGHT)
    large = panel.locator(".detkit-large img")
    assert (large.get_attribute("alt") or "").startswith("image 7: ")
    large.click()
    large.wait_for(state="detached")
    panel.get_by_role("button", name="Enlarge image 0").press("Enter")
    notebook.wait_until(IN_SIGHT)
    assert notebook.problems == []
