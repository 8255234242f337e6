"""The tables of `video_benchmark.py` and `drawing_benchmark.py` for `RESULTS.md`.

Knows their result files; measures nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.contestants import load
from detkit.benchmark.tables import Table

HEAD = """## Video files

1280×720 H.264, contestants in turns as above; "as it comes" is all of detkit, and inference alone
is on pixels that were decoded and scaled before the clock started. Contestants write what they
write by themselves; only H.264 in an MP4 plays in every browser.
"""
SCENARIOS = {"file_to_results": "to results", "file_to_file": "to an annotated file"}


def video_section(folder: Path) -> str:
    """Everything about video files and drawing; empty where nothing was measured."""
    parts = [*_files(_read(folder / "video_benchmark.json").get("files", {}))]
    drawing = _read(folder / "drawing_benchmark.json")
    if drawing:
        parts.append(_drawing(drawing))
    return "\n".join([HEAD, *parts]) if parts else ""


def _files(found: dict[str, Any]) -> Iterator[str]:
    for kit, scenarios in found.items():
        for scenario, what in SCENARIOS.items():
            if scenario in scenarios:
                yield _one(f"From a file {what}, {kit}", scenarios[scenario])


def _one(title: str, said: dict[str, Any]) -> str:
    ratios, targets = said["detkit_over"], said["targets"]
    written = said.get("written", {})
    rows = tuple(
        (
            load(name).TITLE,
            f"{per_s:.1f}",
            f"{ratios[name]:.2f}x" if name in ratios else "",
            f"{targets[name]}x" if name in targets else "",
            "{codec} in {container}, {kb_per_frame} kB".format(**written[name])
            if name in written
            else "",
        )
        for name, per_s in said["frames_per_s"].items()
    )
    header = ("contestant", "frames/s", "detkit over it", "asked for", "writes, per frame")
    if not written:
        header, rows = header[:-1], tuple(row[:-1] for row in rows)
    lines = [f"### {title}\n", Table(title, header, rows).to_markdown() + "\n"]
    bounds = said.get("bounds")
    if bounds:
        lines.append(
            f"Inference alone takes {bounds['raw_core_ms']:.2f} core-ms a frame and decoding "
            f"alone {bounds['decode_core_ms']:.2f}: whoever does both on the same cores reaches at "
            f"most {bounds['highest_share_of_raw']:.2f}x of inference alone.\n"
        )
    return "\n".join(lines)


def _drawing(said: dict[str, Any]) -> str:
    rows = tuple(
        (
            number,
            *(f"{ms:.2f}" for ms in found["ms_per_frame"].values()),
            f"{found['detkit_over_supervision']:.2f}x",
        )
        for number, found in said["boxes"].items()
    )
    title = "Boxes and labels into a frame"
    header = ("boxes", "detkit, ms", "supervision, ms", "detkit over it")
    costs = ", ".join(
        f"{name} {cost['seconds']} s and {cost['mib']} MiB" for name, cost in said["import"].items()
    )
    table = Table(title, header, rows).to_markdown()
    return f"### {title}\n\n{table}\n\nImport, beside numpy and OpenCV: {costs}.\n"


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    said: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return said
