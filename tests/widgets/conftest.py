"""Every panel test has a fake browser, and leaves no thread behind; some have a real one."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import comm
import nbformat
import pytest
from widgets.fake_front import FakeComm, Front
from widgets.jupyter_page import ROOT, Lab, NotebookPage, open_browser


@pytest.fixture
def front(monkeypatch: pytest.MonkeyPatch) -> Iterator[Front]:
    front = Front()
    kind = type("FakeCommOfTest", (FakeComm,), {"front": front})
    monkeypatch.setattr(comm, "create_comm", lambda **arguments: kind(**arguments))
    yield front


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    """A test closes its panels, and their threads end with them."""
    yield
    ours = ("detkit-screen", "detkit-player", "detkit-job", "detkit-record_0")
    left = [t for t in threading.enumerate() if t.name in ours]
    for thread in left:
        thread.join(5)
    assert not [t for t in left if t.is_alive()]


@pytest.fixture(scope="session")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots go: the folder that `DETKIT_SCREENSHOTS` names, or the run's own."""
    named = os.environ.get("DETKIT_SCREENSHOTS")
    folder = Path(named) if named else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One server for all browser tests, over a copy of the data."""
    lab = Lab(tmp_path_factory.mktemp("lab"))
    try:
        files = lab.folder / "files"
        (files / "notebooks").mkdir()
        shutil.copytree(ROOT / "data" / "images", files / "data" / "images")
        shutil.copy(ROOT / "data" / "belt.mp4", files / "data")
        lab.wait_until_up()
        yield lab
    finally:
        lab.close()


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    with open_browser() as browser:
        yield browser


@pytest.fixture
def notebook(
    lab: Lab, browser: Any, shots: Path, request: pytest.FixtureRequest
) -> Iterator[NotebookPage]:
    """A stored notebook in the browser; the parameter is its name and code of further cells."""
    name, cells = request.param
    copy = lab.folder / "files" / "notebooks" / f"{name}.ipynb"
    if cells is None:
        shutil.copy(ROOT / "notebooks" / f"{name}.ipynb", copy)
    else:
        with_cells(ROOT / "notebooks" / f"{name}.ipynb", copy, cells)
    page = NotebookPage(browser, lab, f"notebooks/{name}.ipynb", shots)
    yield page
    page.page.screenshot(path=shots / f"{name}-at-the-end.png")
    page.close()


def with_cells(source: Path, target: Path, cells: list[str]) -> None:
    """Copy a notebook without its outputs and with more cells."""
    notebook = nbformat.read(source, as_version=4)
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    notebook.cells += [nbformat.v4.new_code_cell(code) for code in cells]
    nbformat.write(notebook, target)
