"""`detkit video` and `detkit detect` on what is no video file: streams, cameras, folders, oddities.

The live sources are servers on loopback; Ctrl-C is tried in a real process.
"""

from __future__ import annotations

import csv
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from detkit import cli
from detkit.cli import models
from detkit.results import DetectionResult
from detkit.testing import FakeDetector
from detkit.video import VideoSink, VideoSource

sys.path.insert(0, str(Path(__file__).parents[1] / "video"))

from stream_server import (
    HTTP_OK,
    SECRET,
    USER,
    Server,
    Visit,
    free_port,
    multipart_jpeg,
    transport_stream,
)

runner = CliRunner()


@pytest.fixture(autouse=True)
def fake_model(monkeypatch: pytest.MonkeyPatch) -> None:
    def still(images: list[np.ndarray]) -> list[DetectionResult]:
        return [DetectionResult([[20, 20, 60, 40]], [0.9], [0]) for _ in images]

    monkeypatch.setattr(
        models, "load", lambda model, device, say=None: FakeDetector(behaviour=still)
    )


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_clip(tmp_path / "clip.mp4")


def write_clip(path: Path, num: int = 10) -> Path:
    with VideoSink(path, 25) as sink:
        for index in range(num):
            sink.write(np.full((48, 64, 3), index * 8, np.uint8))
    return path


def write_pictures(folder: Path, *sizes_hw: tuple[int, int]) -> Path:
    folder.mkdir()
    for number, size_hw in enumerate(sizes_hw):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((*size_hw, 3), 90, np.uint8))
    return folder


def run(*arguments: object) -> Result:
    done = runner.invoke(cli.app, list(map(str, arguments)))
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    assert SECRET not in done.output
    return done


def num_frames(path: Path) -> int:
    return sum(1 for _ in VideoSource(path))


def test_a_stream_that_drops_goes_on_and_its_gap_is_told(tmp_path: Path) -> None:
    ts, out = transport_stream(tmp_path), tmp_path / "out.mp4"

    def drops(visit: Visit) -> None:
        visit.request()
        visit.send(HTTP_OK + ts)

    with Server(drops) as server:
        address = server.address(user=USER)
        done = run("video", address, "--out", out, "--policy", "every", "--max-frames", 70)
    assert done.exit_code == 0, done.output
    assert "70 frames, 70 detections" in done.output
    assert "connected again 2 times" in done.output
    assert num_frames(out) == 70
    times = [frame.pts_seconds or 0.0 for frame in VideoSource(out)]
    assert times == sorted(set(times))
    # Each time it waits 0.25 s before it connects again.
    missing = re.search(r"times, ([0-9.]+) s missing", done.output)
    assert missing is not None
    assert float(missing.group(1)) >= 0.4


def test_pictures_of_a_camera_over_http_end_after_so_many_seconds(tmp_path: Path) -> None:
    picture = cv2.imencode(".jpg", np.full((48, 64, 3), 90, np.uint8))[1].tobytes()

    def stalls(visit: Visit) -> None:
        visit.request()
        for part in multipart_jpeg([picture] * 40):
            visit.send(part)
        visit.stall()

    out, table = tmp_path / "out.mp4", tmp_path / "boxes.csv"
    with Server(stalls) as server:
        options = ("--seconds", 1.0, "--policy", "every", "--table", table)
        done = run("video", server.address(user=USER), "--out", out, *options)
    assert done.exit_code == 0, done.output
    assert num_frames(out) > 0
    with table.open(newline="") as file:
        assert len(list(csv.DictReader(file))) == num_frames(out)


def test_a_folder_and_a_pattern_of_pictures(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "a b%41 ü", (48, 64), (48, 64), (96, 80))
    for number, source in enumerate((folder, folder / "*.png", f"{folder}/")):
        out = tmp_path / f"{number}.mp4"
        assert run("video", source, "--out", out).exit_code == 0
        assert num_frames(out) == 3
    done = run("video", folder, "--out", tmp_path / "s.mp4", "--seconds", 1)
    assert done.exit_code == 1
    assert "no times" in done.output


@pytest.mark.skipif(Path("/dev/video9").exists(), reason="this machine has a tenth camera")
def test_a_camera_that_is_not_there(tmp_path: Path) -> None:
    done = run("video", "9", "--out", tmp_path / "out.mp4")
    assert done.exit_code == 1
    assert "detkit: camera 9" in done.output
    assert list(tmp_path.iterdir()) == []


def test_sources_that_cannot_be_are_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("no picture")
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "text.mp4").write_text("no video")
    wrong = {
        "nothing.mp4": "No such file",
        "empty": "holds no file of a known kind",
        "texts": "holds no file of a known kind",
        "*.jpg": "matches no file",
        "pipe.mp4": "not a regular file",
        "text.mp4": "not a readable video",
        "a" * 5000: "File name too long",
    }
    for name, message in wrong.items():
        done = run("video", tmp_path / name, "--out", tmp_path / "out.mp4")
        assert (done.exit_code, message in done.output) == (1, True), (name, done.output)
        assert len(done.output.strip().splitlines()) <= 2
    addresses = {
        f"ftp://{USER}@host/a": "known are rtsp",
        f"rtsp://{USER}@127.0.0.1:{free_port()}/a": "Connection refused",
        "-": "No such file",
    }
    for address, message in addresses.items():
        done = run("video", "--out", tmp_path / "out.mp4", "--", address)
        assert (done.exit_code, message in done.output) == (1, True), (address, done.output)
    assert not (tmp_path / "out.mp4").exists()


def test_odd_names_and_one_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("-x.mp4", "a b.mp4", "ü%d.mp4", "0", "[a].mp4", "a:b.mp4"):
        write_clip(tmp_path / "one.mp4", 1).rename(tmp_path / name)
        done = run("video", "--out", "out.mp4", "--", name)
        assert done.exit_code == 0, (name, done.output)
        assert num_frames(tmp_path / "out.mp4") == 1


def test_the_video_itself_is_never_written_over(clip: Path, tmp_path: Path) -> None:
    before = clip.read_bytes()
    (tmp_path / "link.mp4").symlink_to(clip)
    for out in (clip, tmp_path / "link.mp4", tmp_path / "sub" / ".." / "clip.mp4"):
        (tmp_path / "sub").mkdir(exist_ok=True)
        done = run("video", clip, "--out", out)
        assert (done.exit_code, "the video itself" in done.output) == (1, True), done.output
    assert clip.read_bytes() == before


def test_places_that_cannot_be_written(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    wrong = {
        "file/out.mp4": "cannot be written",
        "out.gif": "must end in",
        "out.mp4/": None,
        "/proc/out.mp4": "cannot be written",
        "/dev/full/out.mp4": "cannot be written",
    }
    for name, message in wrong.items():
        done = run("video", clip, "--out", tmp_path / name)
        if message is not None:
            assert (done.exit_code, message in done.output) == (1, True), (name, done.output)
    assert run("video", clip, "--out", tmp_path / "new" / "er" / "out.mp4").exit_code == 0
    assert num_frames(tmp_path / "new" / "er" / "out.mp4") == 10


def test_limits(clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    for options, num in (
        (("--max-frames", 3), 3),
        (("--max-frames", 3, "--stride", 2), 3),
        (("--seconds", 0.2), 5),
        (("--seconds", 100, "--max-frames", 100), 10),
    ):
        done = run("video", clip, "--out", out, *options)
        assert (done.exit_code, num_frames(out)) == (0, num), done.output
    for options in (("--max-frames", 0), ("--seconds", 0), ("--seconds", "nan")):
        assert run("video", clip, "--out", out, *options).exit_code in (1, 2)


def test_detect_takes_streams_and_numbers_objects(clip: Path, tmp_path: Path) -> None:
    ts, out = transport_stream(tmp_path), tmp_path / "out"

    def sends(visit: Visit) -> None:
        visit.request()
        visit.send(HTTP_OK + ts)

    with Server(sends) as server:
        address = server.address(user=USER)
        done = run("detect", clip, address, "--out", out, "--track", "--max-frames", 8)
    assert done.exit_code == 0, done.output
    with (out / "detections.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    ids = [
        {r["tracker_id"] for r in rows if ("://" in r["source"]) is live} for live in (False, True)
    ]
    # The newest frame wins in a stream, so that one object may get a second number there.
    assert ids[0] == {"", "1"} and "1" in ids[1]
    with (out / "images.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["num_frames"], second["num_frames"]) == ("8", "8")
    assert (first["status"], second["status"]) == ("ok", "ok")
    assert second["source"].startswith("http://***@127.0.0.1")
    assert num_frames(out / first["output"]) == num_frames(out / second["output"]) == 8
    everything = b"".join(path.read_bytes() for path in out.rglob("*") if path.is_file())
    assert SECRET.encode() not in everything


LIVE = """
import sys
from detkit import cli
from detkit.cli import models
from detkit.testing import FakeDetector, numbered_result

seen = 0

def counts(images):
    global seen
    seen += len(images)
    if seen >= 40:
        print("ready", flush=True)
    return [numbered_result(1) for _ in images]

models.load = lambda model, device, say=None: FakeDetector(behaviour=counts)
sys.argv[1:] = ["video", *sys.argv[1:]]
cli.main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGINT for one process")
def test_ctrl_c_finishes_a_live_video(tmp_path: Path) -> None:
    ts, out, table = transport_stream(tmp_path), tmp_path / "out.mp4", tmp_path / "boxes.csv"

    def endless(visit: Visit) -> None:
        visit.request()
        visit.send(HTTP_OK)
        while True:
            visit.send(ts)

    with Server(endless) as server:
        address = server.address(user=USER)
        command = [sys.executable, "-c", LIVE, address, "--out", str(out), "--table", str(table)]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            while "ready" not in (line := process.stdout.readline()):
                assert line, "the process ended before the interrupt"
            process.send_signal(signal.SIGINT)
            output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    assert SECRET not in output + errors
    with table.open(newline="") as file:
        assert sum(1 for _ in csv.DictReader(file)) == num_frames(out) >= 30
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".csv", ".mp4", ".ts"]
