"""Notebooks run from top to bottom, say the same as when they were saved, and carry no clutter."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MAX_BYTES = 2_000_000

# What differs between two runs without meaning anything.
SANITIZE = r"""
[addresses]
regex: 0x[0-9a-f]{6,}
replace: 0xADDRESS

[thumbnails]
regex: base64,[A-Za-z0-9+/=]+
replace: base64,THUMBNAIL
"""


# These answer on a real photograph or video as well, where weights are at hand.
WITH_REAL_DATA = {"01", "02", "03", "07", "08"}


def run_again(path: Path, scratch: Path) -> subprocess.CompletedProcess[str]:
    """Run a notebook and compare what it says with what was saved."""
    (scratch / "sanitize.cfg").write_text(SANITIZE)
    command = [sys.executable, "-m", "pytest", "--nbval", "-q", "-p", "no:cacheprovider"]
    command += ["--nbval-cell-timeout=120", f"--nbval-sanitize-with={scratch / 'sanitize.cfg'}"]
    # The kernel starts in the notebook's own folder and must find this checkout's detkit.
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    environment |= {"DETKIT_OFFLINE": "1"}
    environment.pop("MPLBACKEND", None)  # with another than the kernel's own, no figure is shown
    return subprocess.run(
        [*command, str(path)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_says_the_same_when_run_again(path: Path, tmp_path: Path) -> None:
    done = run_again(path, tmp_path)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


@pytest.mark.parametrize(
    ("first_line", "is_found"), [("", True), ("# NBVAL_IGNORE_OUTPUT\n", False)]
)
def test_one_number_that_is_another_is_found_unless_its_cell_is_marked(
    first_line: str, is_found: bool, tmp_path: Path
) -> None:
    """Else running them again would prove nothing."""
    notebook = nbformat.read(ROOT / "notebooks" / "01_quickstart.ipynb", as_version=4)
    table = "import pandas\npandas.DataFrame({'boxes': [3]})"
    saved = {"text/plain": "   boxes\n0      4"}
    output = nbformat.v4.new_output("execute_result", saved, execution_count=1)
    notebook.cells = [
        nbformat.v4.new_code_cell(first_line + table, execution_count=1, outputs=[output])
    ]
    nbformat.write(notebook, tmp_path / "changed.ipynb")
    done = run_again(tmp_path / "changed.ipynb", tmp_path)
    assert ("1 failed" if is_found else "1 passed") in done.stdout, done.stdout


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_depends_on_weights_at_hand_is_not_compared_and_keeps_no_frame(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    real = [cell for cell in notebook.cells if "find_real_data()" in cell.source]
    assert len(real) == (path.stem[:2] in WITH_REAL_DATA)
    for cell in real:
        assert cell.source.startswith("# NBVAL_IGNORE_OUTPUT\n")
        assert "print(at_hand)\nif at_hand.weights" in cell.source, (
            "it says so where there are none"
        )
        if "at_hand.videos" in cell.source:
            kinds = {kind for output in cell.outputs for kind in output.get("data", {})}
            assert not any(kind.startswith(("image/", "video/")) for kind in kinds)
    assert sum("at_hand" in cell.source for cell in notebook.cells) == len(real)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_whole_small_and_tells_nothing_of_its_machine(path: Path) -> None:
    assert path.stat().st_size < MAX_BYTES
    notebook = nbformat.read(path, as_version=4)
    assert notebook.metadata["kernelspec"]["name"] == "python3"
    assert notebook.cells[0].cell_type == "markdown"
    assert notebook.cells[0].source.startswith("# ")
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.execution_count is not None, cell.source
            assert not any(o.output_type == "error" for o in cell.outputs), cell.source
            longest = max(
                map(len, re.findall(r"^(?:async )?def .*?(?=^\S|\Z)", cell.source, re.S | re.M)),
                default=0,
            )
            assert longest < 600, cell.source
    text = re.sub(
        r'"image/(?:png|jpeg)": "[^"]*"|base64,[^"]*', "", path.read_text(encoding="utf-8")
    )
    assert not re.search(r"/(?:home|root|opt|tmp|work|Users)/", text)


def test_there_are_the_notebooks_that_the_readme_names() -> None:
    named = re.findall(r"notebooks/(\w+\.ipynb)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert sorted(named) == [path.name for path in NOTEBOOKS][: len(named)]
