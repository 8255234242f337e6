"""T36: a job in shards that is killed again and again ends with every image, once.

detkit has no jobs of its own: a job is `detect_images` and `write_parquet` in a loop that leaves
out the shards that are there. What makes that safe is that a file appears under its name when it
is whole, the one with the images last, and says which model and settings it is from.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[2]
SHARD = 256
SEED = 20260101
REFUSED = 3

JOB = """
import os, signal, sys
from pathlib import Path
from detkit import AsyncDetector, detect_images
from detkit.notebook import read_parquet_facts, write_parquet
from detkit.testing import FakeDetector, image_number, numbered_image, numbered_result

folder, total, shard, model, window, countdown = sys.argv[1:]
total, shard, countdown = int(total), int(shard), int(countdown)

def pass_window(name):
    global countdown
    if name == window:
        countdown -= 1
        if countdown == 0:
            os.kill(os.getpid(), signal.SIGKILL)

rename = os.replace
def watched_rename(*paths):
    pass_window("before a rename")
    rename(*paths)
    pass_window("after a rename")
os.replace = watched_rename

seen = os.open(Path(folder, "seen.txt"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
def behave(images):
    numbers = [image_number(image) for image in images]
    os.write(seen, "".join(f"{os.getpid()} {n}\\n" for n in numbers).encode())
    for number in numbers:
        pass_window("in the detector")
    if any(number % 100 == 50 for number in numbers):
        raise ValueError("told to fail")
    return [numbered_result(number) for number in numbers]

facts = {"model_hash": model}
with AsyncDetector(FakeDetector(behaviour=behave), max_workers=2) as detector:
    for first in range(0, total, shard):
        path = Path(folder, f"{first:06}.parquet")
        images = path.with_suffix(".images.parquet")
        if images.exists():
            if read_parquet_facts(images)["model_hash"] != model:
                sys.exit(3)
            continue
        numbers = range(first, min(first + shard, total))
        records = list(detect_images(detector, (numbered_image(n) for n in numbers)))
        names = [str(number) for number in numbers]
        write_parquet(records, path, names, settings={"confidence_threshold": 0.4}, facts=facts)
"""

# The window in which the job is killed, and how often at most it is passed before.
WINDOWS = {"in the detector": 700, "before a rename": 5, "after a rename": 5}


def run(folder: Path, total: int, model: str, window: str = "", countdown: int = 0) -> int:
    arguments = (folder, total, SHARD, model, window, countdown)
    done = subprocess.run(
        [sys.executable, "-c", JOB, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode in (0, REFUSED, -signal.SIGKILL), done.stderr
    return done.returncode


def finished(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.parquet"))  # what is not whole has another ending


@pytest.mark.watchdog(600)
def test_t36_a_job_that_is_killed_again_and_again_loses_and_doubles_nothing(
    tmp_path: Path, repetitions: Callable[[int, int], int]
) -> None:
    total, num_kills = repetitions(1_500, 10_000), repetitions(5, 50)
    chance = random.Random(SEED)
    killed: Counter[str] = Counter()
    for kill in range(num_kills):
        window = list(WINDOWS)[kill % len(WINDOWS)]
        # Early enough that the whole job cannot be over before the last of the kills.
        most = max(1, min(WINDOWS[window], WINDOWS[window] * total // (700 * num_kills)))
        code = run(tmp_path, total, "a", window, chance.randint(1, most))
        killed[window] += code == -signal.SIGKILL
        for path in finished(tmp_path):
            pd.read_parquet(path)  # whole, whenever it was
    assert run(tmp_path, total, "a") == 0
    assert sum(killed.values()) == num_kills, f"seed {SEED}: {killed}"

    images = pd.concat(pd.read_parquet(p) for p in finished(tmp_path) if ".images" in p.name)
    boxes = pd.concat(pd.read_parquet(p) for p in finished(tmp_path) if ".images" not in p.name)
    assert sorted(images.source.astype(int)) == list(range(total)), "each once"
    failed = sorted(images.source[images.status == "failed"].astype(int))
    assert failed == list(range(50, total, 100)), "a bad image is a row that says so"
    good = [n for n in range(total) if n % 100 != 50]
    assert sorted(boxes.x_max.astype(int)) == good

    seen = {tuple(line.split()) for line in (tmp_path / "seen.txt").read_text().splitlines()}
    again = len(seen) - len({number for _, number in seen})
    print(f"{num_kills} kills: {dict(killed)}, {total} images, {again} of them again")
    assert 0 < again <= num_kills * SHARD, "no more than one shard for each kill"

    assert run(tmp_path, total, "b") == REFUSED, "its files say that they are another model's"
