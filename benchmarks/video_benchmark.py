"""Video from file to results and to an annotated file, live video, and 20,000 frames on end.

    python benchmarks/video_benchmark.py [--rounds 7] [--live-minutes 10] [--only SECTION]

Contestants run in processes of their own, are verified to find the same boxes in the same number
of frames, and take turns within each round. The embedded model runs on `data/belt.mp4`; where
they are at hand, YOLOv8n runs on a real video, 1280×720 H.264 both. Writes
`benchmarks/results/video_benchmark.json`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import itertools
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.contestants import VIDEO_SCENARIOS, contestants_of, load, missing_packages
from benchmarks.contestants.contract import Found, Setup
from benchmarks.measurement import Timing, interleave, print_table, update_results
from benchmarks.process_memory import bytes_in_use, num_descriptors, resident_bytes
from benchmarks.processes import ContestantError, RemoteContestant
from benchmarks.suite import MIN_F1, agreement_of, export_onnx
from benchmarks.video_facts import bounds, written_video
from detkit import AsyncDetector
from detkit.benchmark.machine import usable_cores
from detkit.pipeline import detect_video
from detkit.samples import sample_model_path
from detkit.testing import FakeDetector
from detkit.video import LiveSource, PictureSource, VideoSource

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
REAL_VIDEO = SHARED / "videos" / "bigbuckbunny-720p.mp4"
REAL_MODEL = SHARED / "models" / "yolov8n-coco.pt"
# What each ratio is held against: detkit over another, within one round.
TARGETS = {
    ("file_to_results", "raw_openvino"): 0.9,
    ("file_to_results", "raw_openvino_alone"): 0.9,
    ("file_to_results", "ultralytics_openvino"): 1.2,
    ("file_to_file", "ultralytics_openvino"): 1.5,
    ("file_to_file", "supervision_video"): 1.3,
}
OURS = "detkit_auto"
# Every run has threads of its own, and glibc may give each of them another of its arenas, which
# keeps the places of a few freed pictures for ever: +38 MB in three runs, and nothing from then on.
_WARM_RUNS = 5


# -- files ------------------------------------------------------------------------------------


def compare(scenario: str, setup: Setup, rounds: int) -> dict[str, Any]:
    """Verify and time everybody on one video."""
    with contextlib.ExitStack() as stack:
        present: dict[str, RemoteContestant] = {}
        truth: list[Found] | None = None
        notes = []
        for name in contestants_of(scenario):
            try:
                if missing_packages(name):
                    raise ContestantError(f"needs {', '.join(missing_packages(name))}")
                own = setup.scratch / f"{scenario}-{name}"
                own.mkdir(exist_ok=True)
                remote = RemoteContestant(name, scenario, replace(setup, scratch=own))
                stack.enter_context(remote)
                found = remote.outputs()
                truth = truth or found
                score = agreement_of(found, truth)
                f1 = 0.0 if score is None else score.f1
                if f1 < MIN_F1:
                    raise ContestantError(f"disagrees: {len(found)} frames, F1 {f1:.3f}")
            except ContestantError as error:
                notes.append(f"{name} is not timed: {error}")
                continue
            print(f"{scenario}: {name} is ready, {len(found)} frames, F1 {f1:.3f}", flush=True)
            present[name] = remote
        if OURS not in present:
            raise ContestantError(f"nothing to compare: {notes}")
        players = {name: lambda r=r: r.play(0).num_ok for name, r in present.items()}
        timings = interleave(players, rounds)
    written = {name: written_video(setup.scratch / f"{scenario}-{name}") for name in present}
    files = {name: file.as_json() for name, file in written.items() if file is not None}
    ratios = {
        name: round(timings[OURS].speedup_over(timing), 3)
        for name, timing in timings.items()
        if name != OURS
    }
    _print_files(scenario, setup.video.name, timings, ratios, files)
    raw = timings.get("raw_openvino")
    return {
        "frames_per_s": {name: round(timing.per_second, 2) for name, timing in timings.items()},
        "detkit_over": ratios,
        "targets": {other: t for (kind, other), t in TARGETS.items() if kind == scenario},
        "timings": {name: timing.as_json() for name, timing in timings.items()},
        "written": files,
        "bounds": {} if raw is None else bounds(setup.video, setup.cores, raw.per_second),
        "notes": notes,
    }


def _print_files(
    scenario: str,
    video: str,
    timings: dict[str, Timing],
    ratios: dict[str, float],
    files: dict[str, dict[str, Any]],
) -> None:
    rows = []
    for name, timing in timings.items():
        target = TARGETS.get((scenario, name))
        rows.append(
            (
                load(name).TITLE,
                f"{timing.per_second:.1f}",
                f"{ratios[name]:.2f}" if name in ratios else "",
                "" if target is None else f">= {target}",
                "{codec} in {container}, {kb_per_frame} kB".format(**files[name])
                if name in files
                else "",
            )
        )
    header = ("contestant", "frames/s", "detkit over it", "target", "writes, per frame")
    print_table(f"{scenario}, {video}", header, rows)


def files(rounds: int) -> dict[str, Any]:
    """Both scenarios on the embedded model and, where they are there, on real ones."""
    findings: dict[str, Any] = {}
    with TemporaryDirectory(prefix="detkit-video-") as name:
        scratch = Path(name)
        belt = ROOT / "data" / "belt.mp4"
        kits = [("belt", sample_model_path(".pt"), sample_model_path(".onnx"), belt)]
        if REAL_VIDEO.is_file() and REAL_MODEL.is_file():
            weights = Path(shutil.copy(REAL_MODEL, scratch / "yolov8n.pt"))
            weights.chmod(0o644)
            kits.append(("yolov8n", weights, export_onnx(weights), REAL_VIDEO))
        for kit, checkpoint, onnx, video in kits:
            own = scratch / kit
            own.mkdir()
            setup = Setup(checkpoint, onnx, own, video, usable_cores(), own)
            findings[kit] = {s: compare(s, setup, rounds) for s in VIDEO_SCENARIOS}
    return findings


# -- live -------------------------------------------------------------------------------------


class PacedCamera(LiveSource):
    """A camera that gives a 1280×720 picture every 1/60 s, whether anybody takes it or not."""

    def __init__(self, seconds: float, per_s: float = 60.0) -> None:
        super().__init__("camera", reconnect=None)
        self.seconds, self.per_s = seconds, per_s

    def connect(self) -> PacedConnection:
        """See `LiveSource`."""
        return PacedConnection(self)


class PacedConnection:
    """See `Connection`."""

    is_finite = True
    expected_frames: int | None = None
    num_damaged = 0
    end = ""

    def __init__(self, camera: PacedCamera) -> None:
        self.fps: Fraction | None = Fraction(camera.per_s)
        self._camera = camera
        self._base = np.random.default_rng(0).integers(0, 255, (720, 1280, 3), dtype=np.uint8)

    def pictures(self) -> Iterator[tuple[Any, float | None]]:
        """On an absolute schedule: a late picture does not delay the next."""
        started = time.perf_counter()
        for number in range(round(self._camera.seconds * self._camera.per_s)):
            due = started + number / self._camera.per_s
            time.sleep(max(0.0, due - time.perf_counter()))
            yield self._base.copy(), None

    def close(self) -> None:
        """Nothing is held."""


def live(minutes: float, detector_per_s: float = 20.0) -> dict[str, Any]:
    """60 frames/s into a detector that takes 20: how old is the frame that it looks at?"""
    samples: list[int] = []

    async def watch() -> dict[str, Any]:
        device = FakeDetector(delay_per_image_s=1 / detector_per_s)
        async with AsyncDetector(device, max_workers=1) as detector:
            run = detect_video(detector, PacedCamera(minutes * 60))
            started = time.perf_counter()
            async for frame, _ in run:
                if frame.frame_index % 60 < 3:
                    samples.append(resident_bytes())
            return {**run.ledger.summary(), "elapsed_s": time.perf_counter() - started}

    summary = asyncio.run(watch())
    limit_s = 2 / detector_per_s
    settled = samples[len(samples) // 10 :] or samples
    growth_mb = (settled[-1] - settled[0]) / 1e6
    rows = [
        ("age at detection, median", f"{1e3 * summary['age_median_s']:.1f} ms", ""),
        ("age at detection, p95", f"{1e3 * summary['age_p95_s']:.1f} ms", f"<= {1e3 * limit_s:g}"),
        ("captured, detected", f"{summary['captured']}, {summary['detected']}", ""),
        ("memory after the first tenth", f"{growth_mb:+.1f} MB", "flat"),
    ]
    print_table(f"live, {minutes:g} minutes", ("what", "measured", "target"), rows)
    return {**summary, "minutes": minutes, "age_limit_s": limit_s, "growth_mb": round(growth_mb, 2)}


# -- long -------------------------------------------------------------------------------------


def long(num_frames: int) -> dict[str, Any]:
    """Many frames of a file, over and over, through one detector: memory, threads, descriptors."""
    path = ROOT / "data" / "belt.mp4"

    def run(count: int) -> int:
        passes = (frame.image for _ in itertools.count() for frame in VideoSource(path))
        source = PictureSource(itertools.islice(passes, count), "belt over and over")
        with AsyncDetector(FakeDetector(), max_workers=2) as detector:
            return sum(1 for _ in detect_video(detector, source))

    for _ in range(_WARM_RUNS):
        run(min(1_000, num_frames))
    gc.collect()
    kept_before = resident_bytes()
    before = (bytes_in_use(), threading.active_count(), num_descriptors())
    started = time.perf_counter()
    count = run(num_frames)
    elapsed_s = time.perf_counter() - started
    gc.collect()
    kept_mb = (resident_bytes() - kept_before) / 1e6
    after = (bytes_in_use(), threading.active_count(), num_descriptors())
    growth_mb = (after[0] - before[0]) / 1e6
    rows = [
        ("memory growth", f"{growth_mb:+.1f} MB", "<= 20 MB"),
        ("with what the allocator keeps free", f"{kept_mb:+.1f} MB", ""),
        ("threads", f"{before[1]} -> {after[1]}", "the same"),
        ("descriptors", f"{before[2]} -> {after[2]}", "the same"),
        ("frames/s without a model", f"{count / elapsed_s:.0f}", ""),
    ]
    print_table(f"{count} frames on end", ("what", "measured", "target"), rows)
    return {
        "num_frames": count,
        "growth_mb": round(growth_mb, 2),
        "growth_with_free_mb": round(kept_mb, 2),
        "threads": [before[1], after[1]],
        "descriptors": [before[2], after[2]],
        "frames_per_s": round(count / elapsed_s, 1),
    }


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="rounds on files")
    parser.add_argument("--live-minutes", type=float, default=10.0)
    parser.add_argument("--frames", type=int, default=20_000, help="frames on end")
    parser.add_argument("--only", choices=("files", "live", "long"), help="one section")
    parser.add_argument("--no-write", action="store_true", help="print only")
    given = parser.parse_args(arguments)
    sections = {
        "files": lambda: files(given.rounds),
        "live": lambda: live(given.live_minutes),
        "long": lambda: long(given.frames),
    }
    chosen = [given.only] if given.only else list(sections)
    findings = {name: sections[name]() for name in chosen}
    if not given.no_write:
        print(f"\nwritten: {update_results('video_benchmark', findings)}")


if __name__ == "__main__":
    main()
