"""`detkit video`: what its options do, and that Ctrl-C keeps what was done, in a real process."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from detkit import cli
from detkit.cli import models
from detkit.results import DetectionResult
from detkit.testing import FakeDetector
from detkit.video import VideoSink, VideoSource

runner = CliRunner()


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    with VideoSink(path, 25) as sink:
        for index in range(10):
            sink.write(np.full((96, 128, 3), index * 8, np.uint8))
    return path


@pytest.fixture(autouse=True)
def fake_model(monkeypatch: pytest.MonkeyPatch) -> None:
    def still(images: list[np.ndarray]) -> list[DetectionResult]:
        return [DetectionResult([[20, 20, 60, 50]], [0.9], [0]) for _ in images]

    monkeypatch.setattr(
        models, "load", lambda model, device, say=None: FakeDetector(behaviour=still)
    )


def run(*arguments: object) -> str:
    done = runner.invoke(cli.app, ["video", *map(str, arguments)])
    assert done.exit_code == 0, done.output
    return done.output


def test_track_numbers_the_objects(clip: Path, tmp_path: Path) -> None:
    table = tmp_path / "boxes.csv"
    run(clip, "--out", tmp_path / "out.mp4", "--track", "--table", table)
    with table.open(newline="") as file:
        assert [row["tracker_id"] for row in csv.DictReader(file)] == ["", *["1"] * 9]
    assert len(list(VideoSource(tmp_path / "out.mp4"))) == 10


def test_a_folder_of_pictures_and_tables_for_other_tools(clip: Path, tmp_path: Path) -> None:
    run(clip, "--out", tmp_path / "clip", "--table", tmp_path / "t.json", "--stride", 5)
    names = ["frame_000000.jpg", "frame_000005.jpg", "frames.csv"]
    assert sorted(path.name for path in (tmp_path / "clip").iterdir()) == names
    images = json.loads((tmp_path / "t.json").read_text())["images"]
    assert [image["file_name"] for image in images] == [f"clip/{name}" for name in names[:2]]
    run(clip, "--out", tmp_path / "o.mp4", "--table", tmp_path / "t.txt", "--track")
    assert (tmp_path / "t.txt").read_text().splitlines()[9].startswith("10,1,21.00,21.00,40.00")


def test_the_newest_frame_wins_when_asked(clip: Path, tmp_path: Path) -> None:
    output = run(clip, "--out", tmp_path / "o.mp4", "--policy", "latest", "--max-age", 60)
    count = int(output.split(" frames,")[0].split()[-1])
    assert count == len(list(VideoSource(tmp_path / "o.mp4"))) >= 1


def test_options_that_make_no_sense_are_refused(clip: Path, tmp_path: Path) -> None:
    done = runner.invoke(cli.app, ["video", str(clip), "--policy", "some"])
    assert done.exit_code == 2
    out = str(tmp_path / "folder")
    done = runner.invoke(cli.app, ["video", str(clip), "--out", out, "--audio"])
    assert done.exit_code == 1
    assert "sound can only be kept" in done.output


INTERRUPTED = """
import sys
import numpy as np
from detkit import cli
from detkit.cli import models
from detkit.testing import FakeDetector, numbered_result

seen = 0

def slow_at_the_end(images):
    global seen
    seen += len(images)
    if seen > 120:
        print("ready", flush=True)
        sys.stdin.readline()  # the interrupt comes now
    return [numbered_result(1) for _ in images]

models.load = lambda model, device, say=None: FakeDetector(behaviour=slow_at_the_end)
sys.argv[1:] = ["video", *sys.argv[1:]]
cli.main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGINT for one process")
def test_ctrl_c_keeps_what_is_done(tmp_path: Path) -> None:
    clip, out, table = tmp_path / "clip.mp4", tmp_path / "out.mp4", tmp_path / "boxes.csv"
    with VideoSink(clip, 25) as sink:
        for index in range(200):
            sink.write(np.full((48, 64, 3), index, np.uint8))
    command = [sys.executable, "-c", INTERRUPTED, str(clip), "--out", str(out)]
    with subprocess.Popen(
        [*command, "--table", str(table)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        while "ready" not in (line := process.stdout.readline()):
            assert line, "the process ended before the interrupt"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate("go on\n", timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert "out.mp4.partial and " in errors
    assert not out.exists()
    assert not table.exists()
    with (tmp_path / "boxes.csv.partial").open(newline="") as file:
        num_rows = sum(1 for _ in csv.DictReader(file))
    num_frames = sum(1 for _ in VideoSource(tmp_path / "out.mp4.partial"))
    assert 60 <= num_frames <= 200
    assert abs(num_frames - num_rows) <= 2
