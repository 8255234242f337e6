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


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_says_the_same_when_run_again(path: Path, tmp_path: Path) -> None:
    (tmp_path / "sanitize.cfg").write_text(SANITIZE)
    command = [sys.executable, "-m", "pytest", "--nbval", "-q", "-p", "no:cacheprovider"]
    command += ["--nbval-cell-timeout=120", f"--nbval-sanitize-with={tmp_path / 'sanitize.cfg'}"]
    # The kernel starts in the notebook's own folder and must find this checkout's detkit.
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    environment |= {"DETKIT_OFFLINE": "1"}
    environment.pop("MPLBACKEND", None)  # with another than the kernel's own, no figure is shown
    done = subprocess.run(
        [*command, str(path)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


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
