"""The comparison: contestants opened one by one, verified, and then measured in turns.

Knows no contestant by name.
"""

from __future__ import annotations

import contextlib
import math
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np

from benchmarks.contestants import contestants_of, load, missing_packages
from benchmarks.contestants.contract import Found, Setup
from benchmarks.processes import ContestantError, RemoteContestant
from detkit.benchmark import BenchmarkRun, Offline
from detkit.benchmark.runner import Turns, take_turns
from detkit.boxes import Agreement, agreement
from detkit.detection.threads import usable_cores
from detkit.samples import clip, sample_model_path, scene

# Every contestant must agree with the first: boxes of the same class that overlap by 0.9, F1 of
# 0.95 over all images. Half precision moves a score of 0.25 across the threshold now and then.
MIN_IOU, MIN_F1 = 0.9, 0.95
_FIRST_SEED = 95_000

Say = Callable[[str], None]


@dataclass(frozen=True)
class Size:
    """How much is measured.

    Attributes:
        num_images: Images or frames in a round.
        turns: Rounds of each scenario. No warm-up: giving its outputs has warmed everybody up.
        seconds: For everything together, the opening of contestants included.
    """

    num_images: int
    turns: Turns
    seconds: float = math.inf


# Eight rounds are the fewest that a verdict needs. A little is left of 5 and 40 minutes for the
# round that is under way when time is up, and for the rendering of the images.
QUICK = Size(8, Turns(rounds=8, warm_up=0), seconds=270.0)
FULL = Size(64, Turns(rounds=20, warm_up=0), seconds=2280.0)


def shares(scenarios: Sequence[str], seconds: float) -> dict[str, float]:
    """What each scenario may take of the time, by the number of its contestants."""
    sizes = {scenario: len(contestants_of(scenario)) for scenario in scenarios}
    return {name: seconds * size / sum(sizes.values()) for name, size in sizes.items()}


@contextlib.contextmanager
def prepared(num_images: int, checkpoint: Path | None = None) -> Iterator[Setup]:
    """Write images and a clip of sample scenes, and find the weights in both formats.

    Args:
        num_images: How many.
        checkpoint: Weights to use in place of the sample model; exported to ONNX here.
    """
    with TemporaryDirectory(prefix="detkit-benchmark-") as name:
        root = Path(name)
        (root / "images").mkdir()
        for number in range(num_images):
            image, _ = scene(_FIRST_SEED + number)
            path = root / "images" / f"{number:05}.jpg"
            cv2.imwrite(str(path), image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
        _write_clip(root / "clip.mp4", num_images)
        weights, onnx = sample_model_path(".pt"), sample_model_path(".onnx")
        if checkpoint is not None:
            weights = Path(shutil.copy(checkpoint, root))
            onnx = export_onnx(weights)
        yield Setup(weights, onnx, root / "images", root / "clip.mp4", usable_cores(), root)


def compare_contestants(
    scenario: str, setup: Setup, size: Size, say: Say, seconds: float = math.inf
) -> BenchmarkRun:
    """Measure everybody who can take part in a scenario.

    Args:
        scenario: "arrays", "folder" or "video".
        setup: From `prepared`.
        size: How much.
        say: Told what happens, a line at a time.
        seconds: For this scenario, the opening of contestants included.

    Returns:
        One entry per contestant, by title. Who is missing or disagrees has an `error`.
    """
    notes: list[str] = []
    started = time.monotonic()
    with contextlib.ExitStack() as stack:
        present: dict[str, RemoteContestant] = {}
        truth: list[Found] | None = None
        for name in contestants_of(scenario):
            title = load(name).TITLE
            absent = missing_packages(name)
            if absent:
                notes.append(f"{title} passed over: {', '.join(absent)} is not installed")
                continue
            try:
                own = replace(setup, scratch=setup.scratch / f"{scenario}-{name}")
                own.scratch.mkdir(exist_ok=True)
                remote = stack.enter_context(RemoteContestant(name, scenario, own))
                outputs = remote.outputs()
            except ContestantError as error:
                notes.append(f"{title} passed over: {error}")
                continue
            truth = outputs if truth is None else truth
            score = agreement_of(outputs, truth)
            if score is None or score.f1 < MIN_F1:
                said = "another number of images" if score is None else f"F1 {score.f1:.3f}"
                notes.append(f"{title} not timed: it disagrees with the first ({said})")
                continue
            say(f"{scenario}: {title} is ready, F1 {score.f1:.3f} beside the first")
            present[title] = remote
        for note in notes:
            say(f"{scenario}: {note}")
        if not present:
            raise ContestantError(f"nobody can take part in {scenario}: {'; '.join(notes)}")
        players = {title: remote.play for title, remote in present.items()}
        common = {"scenario": scenario, "model": setup.checkpoint.stem}
        facts = {title: {**common, "file": r.name} for title, r in present.items()}
        left = seconds - (time.monotonic() - started)
        turns = replace(size.turns, max_seconds=max(1.0, left)) if left < math.inf else size.turns
        run = take_turns(players, Offline(), size.num_images, turns, facts=facts)
    return replace(run, notes=(*run.notes, *notes))


def agreement_of(outputs: list[Found], truth: list[Found]) -> Agreement | None:
    """How well two contestants' boxes agree; None if they are not of the same images."""
    if len(outputs) != len(truth):
        return None
    total = Agreement(0, 0, 0, 0.0)
    for mine, theirs in zip(outputs, truth, strict=True):
        here = agreement(mine.boxes, mine.classes, theirs.boxes, theirs.classes, MIN_IOU)
        total = total.plus(here)
    return total


def _write_clip(path: Path, num_frames: int) -> None:
    writer = None
    for frame, _ in clip(_FIRST_SEED, num_frames):
        if writer is None:
            code = cv2.VideoWriter.fourcc(*"mp4v")
            writer = cv2.VideoWriter(str(path), code, 30.0, (frame.shape[1], frame.shape[0]))
        writer.write(np.ascontiguousarray(frame[..., ::-1]))
    if writer is not None:
        writer.release()


def export_onnx(weights: Path) -> Path:
    """The same network as an ONNX file beside its checkpoint."""
    from detkit.detection.environment import quiet_environment

    quiet_environment()
    from ultralytics import YOLO  # type: ignore[attr-defined]

    return Path(YOLO(str(weights)).export(format="onnx", dynamic=True, verbose=False))
