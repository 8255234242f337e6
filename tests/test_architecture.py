"""The house: who may import whom, held against every import statement in detkit."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "detkit"

# A unit is a file or folder right below the package. It may import units of floors below it,
# and of a unit beside it what that shows at its own door.
FLOORS = (
    {
        "errors",
        "addresses",
        "results",
        "images",
        "image_files",
        "jpeg_markers",
        "scaled_decode",
        "boxes",
        "drawing",
        "labels",
        "progress",
        "result_arrays",
        "stored_text",
        "threads",
    },
    {"detection"},
    {"api", "video"},
    {"pipeline", "benchmark", "ray_data", "testing", "check", "samples"},
    {"notebook", "widgets"},
    {"__init__", "__main__", "cli", "demo", "doctor", "terminal"},
)
# These two know nothing of each other at all.
BLIND = {"api", "video"}
# Libraries that only some units may import.
CONFINED = {
    "pandas": {"notebook", "widgets"},
    "matplotlib": {"notebook", "widgets"},
    "ipywidgets": {"notebook", "widgets"},
    "anywidget": {"widgets"},
    "IPython": {"notebook", "widgets", "progress"},
    "tqdm": {"progress"},
    "torch": {"detection", "doctor"},
    "ultralytics": {"detection", "notebook"},  # a result of theirs is made from one of ours
    "openvino": {"detection"},
    "onnxruntime": {"detection"},
    "trackers": {"pipeline"},
    "supervision": {"pipeline", "notebook"},
}
BANNED_NAMES = {"utils", "util", "helpers", "helper", "common", "core", "misc", "manager"}


class Import(NamedTuple):
    """One import statement: who, where, whom."""

    importer: str
    line: int
    target: str
    is_deferred: bool = False


def module_names(package: Path) -> dict[str, Path]:
    """Every module by its dotted name."""
    names: dict[str, Path] = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


def imports_of(name: str, path: Path, modules: dict[str, Path]) -> Iterator[Import]:
    """Every import of one module: statements, also inside functions, and names as text.

    A text that is the dotted name of a module is what `import_module` is given; the package's own
    name is that of its logger.
    """
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    tree = ast.parse(path.read_text())
    for_types = {
        id(inner)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test)
        for statement in block.body
        for inner in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([base] if base else [])])
            # What is imported from a package may be a module of it.
            inner = [f"{base}.{alias.name}" for alias in node.names]
            targets = [name if name in modules else base for name in inner]
        elif (
            isinstance(node, ast.Constant) and node.value in modules and node.value != PACKAGE.name
        ):
            targets = [node.value]
        else:
            continue
        for target in dict.fromkeys(targets):
            # What is imported later, or never, closes no circle.
            is_deferred = id(node) in for_types or isinstance(node, ast.Constant)
            yield Import(name, node.lineno, target, is_deferred)


def unit_of(module: str) -> str:
    """The file or folder right below the package that a module belongs to."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def floor_of(unit: str) -> int:
    return next((floor for floor, units in enumerate(FLOORS) if unit in units), -1)


def complaint(imported: Import, package: str) -> str | None:
    """What is wrong with one import; None if nothing is."""
    importer, target = unit_of(imported.importer), imported.target
    library = target.split(".")[0]
    if library != package:
        allowed = CONFINED.get(library, {importer})
        return None if importer in allowed else f"only {sorted(allowed)} may import {library}"
    other = unit_of(target)
    if other == importer:
        return None
    if {importer, other} == BLIND:
        return f"{importer} and {other} know nothing of each other"
    difference = floor_of(importer) - floor_of(other)
    if difference < 0:
        return f"{importer} must not know {other}, which is on a floor above it"
    if difference == 0 and target.count(".") > 1:
        return f"{importer} must not import the insides of {other}, which is beside it"
    return None


def violations(package: Path) -> list[str]:
    """Everything in a package that is not as the house wants it."""
    modules = module_names(package)
    found: list[str] = []
    graph: dict[str, set[str]] = {}
    for name, path in modules.items():
        if floor_of(unit_of(name)) < 0:
            found.append(f"{name}: is on no floor; say in {Path(__file__).name} where it belongs")
        if BANNED_NAMES & set(name.split(".")):
            found.append(f"{name}: its name says nothing")
        if not ast.get_docstring(ast.parse(path.read_text())):
            found.append(f"{name}: does not say what it owns")
        for imported in imports_of(name, path, modules):
            problem = complaint(imported, package.name)
            if problem is not None:
                found.append(f"{name}:{imported.line}: {problem}")
            if imported.target in modules and not imported.is_deferred:
                graph.setdefault(name, set()).add(imported.target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        found.append(f"a cycle: {' -> '.join(error.args[1])}")
    return found


def test_the_house_is_in_order() -> None:
    assert len(module_names(PACKAGE)) > 50
    assert violations(PACKAGE) == []


CLEAN = {
    "detkit/__init__.py": '"""The door."""\nfrom detkit.api import thing\n',
    "detkit/errors.py": '"""Errors."""\n',
    "detkit/detection/__init__.py": '"""Detection."""\nfrom ..errors import E\n',
    "detkit/api/__init__.py": '"""The engine."""\nfrom detkit.api.thing import x\n',
    "detkit/api/thing.py": '"""A thing."""\nfrom detkit.detection import y\n',
    "detkit/video/__init__.py": '"""Frames."""\n',
    "detkit/video/inside.py": '"""Inside."""\n',
    "detkit/samples/__init__.py": '"""Samples."""\n',
    "detkit/samples/scene.py": '"""Scenes."""\n',
    "detkit/pipeline/__init__.py": '"""Joins."""\nfrom detkit.samples import scene_of\n',
}
BREAKS = {
    "upward": ("detkit/errors.py", "from detkit.api import x", "floor above"),
    "upward in a function": ("detkit/errors.py", "def f():\n    import detkit.api", "floor above"),
    "upward, as text": (
        "detkit/api/thing.py",
        'def f():\n    __import__("importlib").import_module("detkit.samples.scene")',
        "floor above",
    ),
    "upward, relative": ("detkit/api/thing.py", "from ..samples import x", "floor above"),
    "for types only": (
        "detkit/errors.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from detkit.api import x",
        "floor above",
    ),
    "the door from inside": ("detkit/api/thing.py", "import detkit", "floor above"),
    "blind": ("detkit/api/thing.py", "from detkit import video", "nothing of each other"),
    "insides": ("detkit/pipeline/__init__.py", "import detkit.samples.scene", "insides"),
    "insides by name": (
        "detkit/pipeline/__init__.py",
        "from detkit.samples import scene",
        "insides",
    ),
    "confined": ("detkit/api/thing.py", "def f():\n    import torch.nn", "may import torch"),
    "cycle": ("detkit/video/inside.py", "from detkit import video", "a cycle"),
    "name": ("detkit/api/utils.py", "", "says nothing"),
    "no floor": ("detkit/attic.py", "", "on no floor"),
}


def build(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root / "detkit"


def test_a_house_in_order_is_not_complained_of(tmp_path: Path) -> None:
    assert violations(build(tmp_path, CLEAN)) == []


@pytest.mark.parametrize("name", BREAKS)
def test_whatever_is_out_of_order_is_found(name: str, tmp_path: Path) -> None:
    place, text, expected = BREAKS[name]
    files = {**CLEAN, place: CLEAN.get(place, '"""New."""\n') + text + "\n"}
    if name == "cycle":
        files["detkit/video/__init__.py"] += "from detkit.video import inside\n"
    problems = violations(build(tmp_path, files))
    assert any(expected in problem for problem in problems), problems


def test_the_engine_reaches_the_tuner_through_the_place_that_the_door_fills() -> None:
    code = (
        "import sys\nfrom detkit.api import AsyncDetector\nfrom detkit.testing import *\n"
        "assert not [m for m in sys.modules if m.startswith('detkit.benchmark')]\n"
        "with AsyncDetector(FakeDetector()) as detector:\n"
        "    print(detector.tune([numbered_image(1)], seconds=0.05, use_cache=False).best)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "worker" in done.stdout


def test_a_file_that_does_not_say_what_it_owns_is_found(tmp_path: Path) -> None:
    files = {**CLEAN, "detkit/errors.py": "x = 1\n"}
    assert violations(build(tmp_path, files)) == ["detkit.errors: does not say what it owns"]
