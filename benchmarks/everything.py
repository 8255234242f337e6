"""Every benchmark of this folder, one after the other: `python -m benchmarks.everything`.

    python -m benchmarks.everything [--quick] [--model ../shared/models/yolov8n-coco.pt]
        [--video ../shared/videos/bigbuckbunny-720p.mp4]

Runs each `*_benchmark.py`, the comparison, with `--model` those that take one once more with it,
and then `benchmarks.report`. One that fails is told at the end and costs the others nothing. About
an hour and a half, with `--quick` half an hour; leave the machine alone meanwhile.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
# What those that are slow by default are given for a first look.
_QUICKLY = {
    "async_benchmark": ["--images", "16", "--rounds", "3"],
    "engine_benchmark": ["--rounds", "3"],
    "scenarios_benchmark": ["--seconds", "10"],
    "tuner_benchmark": ["--seconds", "10", "--rounds", "1"],
}
# Compares with ultralytics' own exports of a checkpoint; run in the best precision and in int8.
_NEEDS_MODEL = "runtime_benchmark"
# No benchmark may hold up the rest for ever.
_PATIENCE_S = 3600.0


def commands(model: Path | None, video: Path | None, *, quick: bool) -> list[list[str]]:
    """What to run, as arguments of Python."""
    scripts = sorted(p for p in HERE.glob("*_benchmark.py") if p.stem != _NEEDS_MODEL)
    size = [] if quick else ["--full"]
    made = [[str(p), *(_QUICKLY.get(p.stem, []) if quick else [])] for p in scripts]
    made.append(["-m", "benchmarks", *size])
    if model is not None:
        given = ["--model", str(model.resolve())]
        quickly = _QUICKLY["async_benchmark"] if quick else []
        made.append([str(HERE / "async_benchmark.py"), *quickly, *given])
        made.append(["-m", "benchmarks", *size, *given])
        runtimes = [str(HERE / f"{_NEEDS_MODEL}.py"), str(model.resolve())]
        runtimes += [] if video is None else ["--video", str(video.resolve())]
        rounds = ["--rounds", "3"] if quick else []
        made += [[*runtimes, *rounds], [*runtimes, *rounds, "--precision", "int8"]]
    return [*made, ["-m", "benchmarks.report"]]


def main() -> int:
    """Run everything; 1 if something failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.everything", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a first look")
    parser.add_argument("--model", type=Path, help="a .pt file to use beside the embedded model")
    parser.add_argument("--video", type=Path, help="a clip whose frames the runtimes are given")
    given = parser.parse_args()
    if given.model is not None and not given.model.is_file():
        parser.error(f"there is no file {given.model}")
    told = []
    for arguments in commands(given.model, given.video, quick=given.quick):
        name = " ".join([Path(arguments[0]).name, *arguments[1:]])
        print(f"\n== {name}", flush=True)
        started = time.monotonic()
        try:
            command = [sys.executable, *arguments]
            code = subprocess.run(
                command, cwd=HERE.parent, timeout=_PATIENCE_S, check=False
            ).returncode
        except subprocess.TimeoutExpired:
            code = 124
        told.append((name, code, time.monotonic() - started))
    print()
    for name, code, seconds in told:
        print(f"{'ok' if code == 0 else f'failed ({code})':12} {seconds:6.0f} s  {name}")
    return int(any(code for _, code, _ in told))


if __name__ == "__main__":
    sys.exit(main())
