"""Every benchmark of this folder, one after the other: `python -m benchmarks.everything`.

    python -m benchmarks.everything [--quick | --tiny] [--from NAME | --only NAME,NAME] [--list]

Each step is a process of its own that writes its file to `results/`; `report` is the last and
makes tables and pictures of them all. One that fails is told at the end and costs the others
nothing. `--list` tells the names, what each runs and how long it takes: 40 minutes in all, with
`--quick` 15. Leave the machine alone meanwhile. `--tiny` only shows that everything runs; its
numbers go to a temporary folder.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measurement import RESULTS_VARIABLE

ROOT = Path(__file__).resolve().parent.parent
COCO = ROOT.parent / "shared" / "models" / "yolov8n-coco.pt"
CLIP = ROOT.parent / "shared" / "videos" / "bigbuckbunny-720p.mp4"
_NOTEBOOKS = ("05_interactive_benchmark.ipynb", "06_benchmark_report.ipynb")
# No step may hold up the rest: as many times its usual duration, and at least so long.
_PATIENCE, _PATIENCE_S = 3.0, 300.0


@dataclass(frozen=True)
class Step:
    """One process of the plan.

    Attributes:
        name: For `--from` and `--only`.
        command: Arguments of Python.
        seconds: How long it takes on two cores, about; with `--quick` and `--tiny` less.
        quick: Further arguments for a first look.
        tiny: Further arguments that only show that it runs.
    """

    name: str
    command: tuple[str, ...]
    seconds: float
    quick: tuple[str, ...] = ()
    tiny: tuple[str, ...] = ()

    def arguments(self, size: str) -> list[str]:
        """What Python is called with; of an option given twice the last counts."""
        further = {"quick": self.quick, "tiny": self.tiny}.get(size, ())
        return [*self.command, *further]


def plan(model: Path | None, video: Path | None = None) -> list[Step]:
    """Everything in order; the steps that need a checkpoint only with one.

    The runtimes are given frames of `video`, or rendered scenes where there is none.
    """
    few = ("--images", "16", "--rounds", "3")
    least = ("--images", "4", "--rounds", "1")
    async_way = ("benchmarks/async_benchmark.py",)
    comparison = ("-m", "benchmarks", "--images", "32", "--rounds", "12")
    steps = [
        Step(
            "engine", ("benchmarks/engine_benchmark.py",), 100, ("--rounds", "3"), ("--rounds", "1")
        ),
        Step("async", async_way, 60, few, least),
    ]
    if model is not None:
        of_model = ("--model", str(model))
        frames = () if video is None else ("--video", str(video))
        runtime = ("benchmarks/runtime_benchmark.py", str(model), *frames)
        steps += [
            Step("async-model", (*async_way, *of_model), 80, few, least),
            Step("runtime", runtime, 120, few, least),
            Step("runtime-int8", (*runtime, "--precision", "int8"), 150, few, least),
        ]
    steps += [
        Step(
            "files", ("benchmarks/files_benchmark.py",), 110, ("--rounds", "3"), ("--rounds", "1")
        ),
        Step("table", ("-m", "benchmarks.table_benchmark"), 30),
        Step("drawing", ("benchmarks/drawing_benchmark.py",), 30),
        Step(
            "scenarios",
            ("benchmarks/scenarios_benchmark.py", "--seconds", "25"),
            150,
            ("--seconds", "10"),
            ("--seconds", "1"),
        ),
        Step(
            "tuner",
            ("benchmarks/tuner_benchmark.py",),
            180,
            ("--seconds", "10", "--rounds", "1"),
            ("--seconds", "2", "--rounds", "1"),
        ),
        Step(
            "video",
            ("benchmarks/video_benchmark.py", "--rounds", "5", "--live-minutes", "1"),
            300,
            ("--rounds", "3", "--live-minutes", "0.2", "--frames", "5000"),
            ("--rounds", "1", "--live-minutes", "0.05", "--frames", "500"),
        ),
        Step(
            "panel",
            ("benchmarks/panel_benchmark.py", "--rounds", "5", "--soak-minutes", "2"),
            270,
            ("--rounds", "3", "--seconds", "3", "--soak-minutes", "0.5"),
            ("--rounds", "1", "--seconds", "1", "--soak-minutes", "0"),
        ),
        Step(
            "comparison",
            (*comparison, "--seconds", "420"),
            450,
            ("--images", "8", "--rounds", "8", "--seconds", "240"),
            ("--images", "2", "--rounds", "1", "--seconds", "120"),
        ),
        Step(
            "repeatability",
            ("-m", "benchmarks.repeatability"),
            240,
            ("--pairs", "8"),
            ("--pairs", "1", "--rounds", "8", "--images", "1"),
        ),
        Step("notebooks", _nbconvert(), 60),
        Step("report", ("-m", "benchmarks.report"), 15, tiny=("--check",)),
    ]
    return steps


def chosen(steps: Sequence[Step], first: str | None, only: str | None) -> list[Step]:
    """The part of a plan that is asked for.

    Raises:
        ValueError: If there is no step of that name.
    """
    names = [step.name for step in steps]
    wanted = only.split(",") if only is not None else names
    for name in [*wanted, *([first] if first is not None else [])]:
        if name not in names:
            raise ValueError(f"there is no step {name!r}; the steps are {', '.join(names)}")
    start = names.index(first) if first is not None else 0
    return [step for step in steps[start:] if step.name in wanted]


def run(steps: Sequence[Step], size: str) -> list[tuple[Step, int, float]]:
    """Every step with its exit code and its seconds; 124 for one that did not end."""
    told = []
    begun = time.monotonic()
    environment = dict(os.environ)
    if size == "tiny":
        environment[RESULTS_VARIABLE] = tempfile.mkdtemp(prefix="detkit-benchmark-")
    for number, step in enumerate(steps, 1):
        arguments = step.arguments(size)
        passed = time.monotonic() - begun
        print(f"\n== {number}/{len(steps)} {step.name}, {_clock(passed)} passed", flush=True)
        print(f"   python {' '.join(arguments)}", flush=True)
        started = time.monotonic()
        patience_s = max(_PATIENCE_S, _PATIENCE * step.seconds)
        try:
            command = [sys.executable, *arguments]
            code = subprocess.run(
                command, cwd=ROOT, env=environment, timeout=patience_s, check=False
            ).returncode
        except subprocess.TimeoutExpired:
            print(f"   ended: more than {patience_s:.0f} s", flush=True)
            code = 124
        told.append((step, code, time.monotonic() - started))
    return told


def main(arguments: Sequence[str] | None = None) -> int:
    """Run everything; 1 if something failed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.everything",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    sizes = parser.add_mutually_exclusive_group()
    sizes.add_argument("--quick", dest="size", action="store_const", const="quick")
    sizes.add_argument("--tiny", dest="size", action="store_const", const="tiny")
    parser.add_argument("--model", type=Path, help="a YOLOv8 checkpoint; default: COCO, if there")
    parser.add_argument("--from", dest="first", metavar="NAME", help="go on with this step")
    parser.add_argument("--only", metavar="NAME,NAME", help="these steps alone")
    parser.add_argument("--list", action="store_true", help="tell the steps and run none")
    given = parser.parse_args(arguments)
    model = given.model or (COCO if COCO.is_file() else None)
    video = CLIP if CLIP.is_file() else None
    if model is not None and not model.is_file():
        parser.error(f"there is no file {model}")
    try:
        steps = chosen(plan(model and model.resolve(), video), given.first, given.only)
    except ValueError as error:
        parser.error(str(error))
    if given.list:
        for step in steps:
            print(f"{step.name:14} {step.seconds:5.0f} s  {' '.join(step.arguments(given.size))}")
        print(f"{'':14} {sum(step.seconds for step in steps):5.0f} s")
        return 0
    told = run(steps, given.size)
    print()
    for step, code, seconds in told:
        print(f"{'ok' if code == 0 else f'failed ({code})':12} {seconds:6.0f} s  {step.name}")
    print(f"{'':12} {sum(seconds for *_, seconds in told):6.0f} s")
    return int(any(code for _, code, _ in told))


def _nbconvert() -> tuple[str, ...]:
    """Run the notebooks that show results, as CONTRIBUTING.md has it."""
    convert = ("-m", "nbconvert", "--to", "notebook", "--execute", "--inplace")
    convert += ("--ExecutePreprocessor.store_widget_state=False",)
    return (*convert, *(f"notebooks/{name}" for name in _NOTEBOOKS))


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02}"


if __name__ == "__main__":
    sys.exit(main())
