"""A run over a folder that was killed goes on where it ended: nothing lost, nothing twice."""

from __future__ import annotations

import asyncio
import csv
import json
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from detkit import AsyncDetector
from detkit.errors import UnsupportedSettingError
from detkit.images import RGBImage
from detkit.pipeline import FolderReport, detect_to_folder, sort_inputs
from detkit.pipeline.journal import NAME, done_before, identity
from detkit.testing import FakeDetector, image_number, numbered_image, numbered_result
from detkit.video import VideoSink

NUM_IMAGES = 12
SCRIPT = """
import asyncio, os, signal, sys
from detkit import AsyncDetector
from detkit.pipeline import detect_to_folder, sort_inputs
from detkit.testing import FakeDetector

left = int(sys.argv[3])
def tell(source, num_pictures):
    global left
    left -= num_pictures
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

async def main():
    async with AsyncDetector(FakeDetector()) as detector:
        inputs = sort_inputs([sys.argv[1]], sys.argv[2])
        await detect_to_folder(detector, inputs, sys.argv[2], on_progress=tell, resume=True)
asyncio.run(main())
"""


def save(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = numbered_image(number, (48, 64))
    path.write_bytes(cv2.imencode(".png", image[..., ::-1])[1].tobytes())


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for number in range(NUM_IMAGES):
        save(tmp_path / "in" / f"{number:02}.png", number)
    return tmp_path / "in"


def run(photos: Path, out: Path, seen: list[int], **options: Any) -> FolderReport:
    def behave(images: list[RGBImage]) -> list[Any]:
        seen.extend(map(image_number, images))
        return [numbered_result(image_number(image)) for image in images]

    async def job() -> FolderReport:
        async with AsyncDetector(FakeDetector(behaviour=behave)) as detector:
            inputs = sort_inputs([str(photos)], out)
            return await detect_to_folder(detector, inputs, out, **options)

    return asyncio.run(job())


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_run_that_is_killed_loses_and_doubles_nothing(tmp_path: Path, photos: Path) -> None:
    out = tmp_path / "out"
    for after in (3, 4):
        command = [sys.executable, "-c", SCRIPT, str(photos), str(out), str(after)]
        assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    before = done_before(out)
    assert 5 <= len(before) <= 7  # the copy of the last may not have been there yet
    seen: list[int] = []
    report = run(photos, out, seen, resume=True)
    assert report.num_pictures == NUM_IMAGES
    assert len(seen) == NUM_IMAGES - report.num_before
    names = [str(photos / f"{number:02}.png") for number in range(NUM_IMAGES)]
    assert sorted(row["source"] for row in rows(out / "images.csv")) == names
    found = rows(out / "detections.csv")
    run(photos, tmp_path / "whole", [])
    whole = rows(tmp_path / "whole" / "detections.csv")
    assert sorted(found, key=lambda row: row["source"]) == whole
    assert len(list((out / "annotated").iterdir())) == NUM_IMAGES
    assert json.loads((out / "summary.json").read_text())["done_before"] == report.num_before


def test_what_is_new_changed_failed_or_lost_is_done_again(tmp_path: Path, photos: Path) -> None:
    out = tmp_path / "out"
    (photos / "bad.png").write_bytes(b"no picture")
    assert len(run(photos, out, []).failed) == 1
    save(photos / "00.png", 100)
    save(photos / "bad.png", 101)
    save(photos / "new.png", 102)
    (photos / "01.png").unlink()
    (out / "annotated" / "02.png").unlink()
    seen: list[int] = []
    report = run(photos, out, seen, resume=True)
    assert sorted(seen) == [2, 100, 101, 102]
    assert report.failed == []
    assert Counter(row["source"] for row in rows(out / "images.csv")) == Counter(
        str(path) for path in photos.iterdir()
    )
    again: list[int] = []
    assert run(photos, out, again, resume=True).num_before == NUM_IMAGES + 1
    assert again == []


def test_half_a_line_and_strange_lines_are_nothing(tmp_path: Path, photos: Path) -> None:
    out = tmp_path / "out"
    run(photos, out, [])
    journal = out / NAME
    lines = journal.read_bytes().splitlines(keepends=True)
    strange = [b'{"done": {}}\n', b"[1]\n", b"\xff\n", b'{"done": 3}\n']
    journal.write_bytes(b"".join([*lines[:5], *strange, *lines[5:7], lines[7][:20]]))
    seen: list[int] = []
    report = run(photos, out, seen, resume=True)
    assert report.num_pictures == NUM_IMAGES
    assert 2 <= report.num_before <= 3
    assert len(seen) == NUM_IMAGES - report.num_before
    assert len(rows(out / "detections.csv")) == len(rows(out / "images.csv")) == NUM_IMAGES


def test_another_question_is_not_answered_from_it(tmp_path: Path, photos: Path) -> None:
    out = tmp_path / "out"
    run(photos, out, [], facts={"model_sha256": "a"})
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    asked: list[dict[str, Any]] = [
        {"facts": {"model_sha256": "b"}},
        {"facts": {"model_sha256": "a"}, "settings": {"confidence_threshold": 0.9}},
        {"facts": {"model_sha256": "a"}, "max_frames": 3},
    ]
    for options in asked:
        with pytest.raises(UnsupportedSettingError, match="asked for something else"):
            run(photos, out, [], resume=True, **options)
    assert {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()} == before
    assert run(photos, out, [], resume=True, facts={"model_sha256": "a"}).num_before == NUM_IMAGES
    seen: list[int] = []
    run(photos, out, seen)
    assert len(seen) == NUM_IMAGES, "who does not ask to go on starts anew"


def test_a_film_that_was_finished_is_not_looked_at_again(tmp_path: Path) -> None:
    for name in ("a", "b"):
        with VideoSink(tmp_path / "in" / f"{name}.mp4") as sink:
            for _ in range(5):
                sink.write(np.zeros((48, 64, 3), np.uint8))
    out = tmp_path / "out"
    run(tmp_path / "in", out, [])
    (out / "annotated" / "b.mp4").unlink()
    found = rows(out / "detections.csv")
    seen: list[int] = []
    report = run(tmp_path / "in", out, seen, resume=True)
    assert (len(seen), report.num_before, report.num_pictures) == (5, 5, 10)
    assert rows(out / "detections.csv") == found


def test_a_detector_is_told_from_another_of_its_name(tmp_path: Path) -> None:
    class Loaded(FakeDetector):
        model_path: Path | None = None

        def __repr__(self) -> str:
            return "Loaded(best)"

    detector = Loaded()
    assert identity(detector) == {"detector": "Loaded(best)"}
    assert identity(FakeDetector()) == {"detector": "FakeDetector"}
    path, folder = tmp_path / "best.onnx", tmp_path / "best_openvino_model"
    folder.mkdir()
    (folder / "best.xml").write_bytes(b"the same")
    seen = []
    for content in (b"0", b"1"):
        path.write_bytes(content)
        (folder / "best.bin").write_bytes(content)
        for detector.model_path in (path, folder):
            seen.append(identity(detector)["model_sha256"])
    assert len(set(seen)) == 4
