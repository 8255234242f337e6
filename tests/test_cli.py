"""The `detkit` command: exit codes, one line per error, and the files it leaves."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from detkit import __version__, cli, demo, doctor
from detkit.cli import models
from detkit.detection.model_cache import ModelCache
from detkit.detection.network_detector import NetworkDetector
from detkit.detection.runtimes.contract import RuntimeName
from detkit.errors import ModelNotFoundError
from detkit.images import RGBImage
from detkit.results import DetectionResult
from detkit.testing import FakeDetector, numbered_image
from detkit.video import VideoSink, VideoSource

runner = CliRunner()


@pytest.fixture
def fake_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "load", lambda model, device, say: FakeDetector())


def save(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", numbered_image(number)[..., ::-1])[1].tobytes())


def test_importing_it_stays_light() -> None:
    heavy = "torch ultralytics openvino onnxruntime pandas matplotlib ipywidgets av rich.console"
    code = f"import sys, detkit.cli\nprint([m for m in {heavy!r}.split() if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_version_and_module() -> None:
    command = [sys.executable, "-m", "detkit", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == __version__


@pytest.mark.usefixtures("fake_model")
def test_detect_all_good(tmp_path: Path) -> None:
    save(tmp_path / "in" / "a.png", 3)
    out = tmp_path / "out"
    done = runner.invoke(cli.app, ["detect", str(tmp_path / "in"), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "1 images and frames" in done.output
    with (out / "detections.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["class_name"] == "number"
    assert row["confidence"] == "0.2500"
    assert json.loads((out / "summary.json").read_text())["status"] == "complete"
    assert (out / "annotated" / "a.png").is_file()


@pytest.mark.usefixtures("fake_model")
def test_detect_some_bad_does_the_rest_and_exits_1(tmp_path: Path) -> None:
    save(tmp_path / "a.png", 3)
    (tmp_path / "[red]bad\x1b[2J.png").write_bytes(b"no image")
    sources = [str(tmp_path), "none.mp4"]
    done = runner.invoke(cli.app, ["detect", *sources, "--out", str(tmp_path / "out")])
    assert done.exit_code == 1
    assert "2 of 3 inputs failed" in done.output
    assert "none.mp4" in done.output
    assert "\x1b[2J" not in done.output
    assert "Traceback" not in done.output
    assert (tmp_path / "out" / "annotated" / "a.png").is_file()


@pytest.mark.usefixtures("fake_model")
def test_many_failures_do_not_flood_the_terminal(tmp_path: Path) -> None:
    for number in range(30):
        (tmp_path / f"{number:02}.png").write_bytes(b"no image")
    done = runner.invoke(cli.app, ["detect", str(tmp_path), "--out", str(tmp_path / "out")])
    assert "30 of 30 inputs failed" in done.output
    assert "Nothing was found" not in done.output
    assert done.output.count("ImageDecodeError") == 20
    assert done.output.count("19.png") == 1
    assert "and 10 more, all in images.csv" in done.output
    assert len((tmp_path / "out" / "images.csv").read_text().splitlines()) == 31


def test_nothing_to_do_is_one_line(tmp_path: Path) -> None:
    done = runner.invoke(cli.app, ["detect", str(tmp_path), "--out", str(tmp_path / "out")])
    assert done.exit_code == 1
    assert "holds no file of a known kind" in done.output
    assert not (tmp_path / "out").exists()


def test_a_model_that_is_not_there_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path / "a.png", 3)
    monkeypatch.chdir(tmp_path)

    def load_model(self: object, *arguments: object, **options: object) -> None:
        raise ModelNotFoundError("yolov8n.pt is not here")

    monkeypatch.setattr("detkit.detection.YOLOv8Detector.load_model", load_model)
    done = runner.invoke(cli.app, ["detect", "a.png"])
    assert done.exit_code == 1
    assert "yolov8n.pt is not here" in done.output
    assert "--model sample" in done.output
    assert "Traceback" not in done.output


@pytest.mark.usefixtures("fake_model")
def test_a_run_is_resumed(tmp_path: Path) -> None:
    save(tmp_path / "in" / "a.png", 3)
    command = ["detect", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--resume"]
    assert "1 images and frames" in runner.invoke(cli.app, command).output
    save(tmp_path / "in" / "b.png", 4)
    done = runner.invoke(cli.app, command)
    assert done.exit_code == 0
    assert "1 images and frames" in done.output
    assert "1 more were done before" in done.output
    done = runner.invoke(cli.app, [*command, "--confidence", "0.5"])
    assert done.exit_code == 1
    assert "asked for something else (confidence_threshold: 0.25, now 0.5)" in done.output


@pytest.mark.usefixtures("fake_model")
def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    save(tmp_path / "a.png", 3)
    (tmp_path / "file").write_text("")
    out = str(tmp_path / "file" / "out")
    done = runner.invoke(cli.app, ["detect", str(tmp_path / "a.png"), "--out", out])
    assert done.exit_code == 1
    assert "cannot be written" in done.output


def test_a_name_that_stands_for_nothing_is_told_before_a_model_is_loaded(tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = runner.invoke(cli.app, ["detect", "fotos", "--model", "nope.pt", "--out", str(out)])
    assert done.exit_code == 1
    assert done.output == "detkit: fotos: there is no such file or folder\n"
    assert not out.exists()


def test_confidence_is_checked() -> None:
    assert runner.invoke(cli.app, ["detect", "a.png", "--confidence", "2"]).exit_code == 2


@pytest.mark.parametrize(("verdict", "code"), [("ok", 0), ("off", 0), ("broken", 1)])
def test_doctor(monkeypatch: pytest.MonkeyPatch, verdict: doctor.Verdict, code: int) -> None:
    findings = [doctor.Finding("package", "thing", verdict, "[bold]detail")]
    monkeypatch.setattr(doctor, "examine", lambda: findings)
    done = runner.invoke(cli.app, ["doctor"])
    assert done.exit_code == code
    assert "[bold]detail" in done.output


def test_what_the_doctor_looks_at(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> str:
        raise RuntimeError("no driver")

    monkeypatch.setattr(doctor, "_torch_devices", broken)
    monkeypatch.setattr(doctor, "_canary", lambda library: "all found")
    monkeypatch.setattr(doctor, "_openvino_devices", lambda: "CPU")
    findings = {f.name: f for f in doctor.examine() if f.topic != "boxes"}
    assert findings["detkit"].detail == __version__
    assert findings["numpy"].verdict == "ok"
    assert findings["torch"].verdict in ("ok", "broken")
    assert findings["openvino"].detail
    assert "DETKIT_OFFLINE" in findings
    assert [f.detail for f in doctor.examine() if f.verdict == "broken"] == [
        "RuntimeError: no driver"
    ]


@pytest.mark.parametrize("library", ["openvino", "onnxruntime", "ultralytics"])
def test_a_library_is_held_against_known_boxes(library: RuntimeName) -> None:
    pytest.importorskip(library)
    said = doctor._canary(library)
    assert said.startswith(library)
    assert " of 36 known objects, " in said


@pytest.mark.parametrize("fault", ["nothing", "shifted", "other classes", "one half"])
def test_a_library_that_gives_wrong_boxes_is_told(
    monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    right = NetworkDetector.detect

    def wrong(self: NetworkDetector, image: RGBImage) -> DetectionResult:
        found = right(self, image)
        if fault == "nothing":
            return DetectionResult.empty()
        kept = slice(len(found) // 2 if fault == "one half" else None)
        boxes = found.boxes[kept] + (6 if fault == "shifted" else 0)
        classes = found.classes[kept] + (fault == "other classes")
        return DetectionResult(boxes, found.scores[kept], classes)

    monkeypatch.setattr(NetworkDetector, "detect", wrong)
    monkeypatch.setattr(doctor, "find_spec", lambda name: name == "openvino" or None)
    monkeypatch.setattr(doctor, "_torch_devices", lambda: "cpu")
    (found,) = (f for f in doctor.examine() if f.topic == "boxes")
    assert (found.name, found.verdict) == ("openvino", "broken")
    assert "This library gives wrong boxes here: install it anew" in found.detail
    assert found.detail.endswith("load_model(..., runtime=...)")


def test_two_runtimes_of_openmp_are_told() -> None:
    gnu, other = "/a/torch/lib/libgomp.so.1", "/b/libgomp-a34b3233.so.1.0.0"
    intel, llvm = "/c/libiomp5.so", "/d/sklearn/.libs/libomp-1f.so.5"
    no_runtime = ["[heap]", "/e/libarrow_compute.so.2600", "0", "/f/libgompertz.so"]
    judge = doctor._judge_openmp
    assert (judge(no_runtime).verdict, judge(no_runtime).detail) == ("ok", "none is loaded")
    assert judge([gnu, gnu, *no_runtime]).detail == gnu
    assert judge([gnu, other]).verdict == "ok"
    assert judge([gnu, other]).detail.startswith("2, whose threads add up")
    assert judge([gnu, intel]).verdict == "ok"
    both = judge([gnu, intel, llvm])
    assert both.verdict == "broken"
    assert "OMP: Error #15" in both.detail
    assert intel in both.detail
    assert llvm in both.detail


def test_the_cache_is_shown_and_cleared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DETKIT_CACHE_DIR", str(tmp_path))
    ModelCache().store("key", "[red]my.pt", lambda folder: (folder / "a").write_bytes(b"1" * 10**6))
    (tmp_path / "weights").mkdir()
    monkeypatch.setattr(doctor, "_torch_devices", lambda: "cpu")
    monkeypatch.setattr(doctor, "_openvino_devices", lambda: "CPU")
    monkeypatch.setattr(doctor, "_canary", lambda library: "all found")
    findings = {f.name: f.detail for f in doctor.examine() if f.topic == "cache"}
    assert findings["folder"] == str(tmp_path)
    assert findings["content"] == "1 converted model, 1.0 of 2000 MB"
    assert findings["[red]my.pt"] == "1.0 MB"

    for expected in ("removed 1 converted model, 1.0 MB", "removed 0 converted models"):
        done = runner.invoke(cli.app, ["doctor", "--clear-cache"])
        assert done.exit_code == 0
        assert expected in done.output
    assert ModelCache().entries() == []
    assert (tmp_path / "weights").is_dir()


@pytest.mark.watchdog(240)
def test_demo_leaves_four_files_and_tells_the_truth(tmp_path: Path) -> None:
    import asyncio

    said: list[str] = []
    report = asyncio.run(
        demo.run_demo(tmp_path / "d", num_images=4, num_concurrent=6, num_frames=8, say=said.append)
    )
    names = sorted(path.name for path in (tmp_path / "d").iterdir())
    assert names == ["annotated.mp4", "detections.csv", "grid.png", "summary.json"]
    assert report.all_ways_agree
    assert sum(report.truth.values()) > 0
    assert [way.num_images for way in report.ways] == [6, 6, 6, 8, 8]
    summary = json.loads((tmp_path / "d" / "summary.json").read_text())
    assert summary["passed"] is report.is_good
    assert summary["f1_images"] == pytest.approx(report.images_score.f1, abs=1e-4)
    grid = cv2.imread(str(tmp_path / "d" / "grid.png"))
    assert min(grid.shape[:2]) > 100
    assert np.ptp(grid) > 100
    assert said


def make_clip(path: Path) -> None:
    with VideoSink(path, 25) as sink:
        for index in range(10):
            sink.write(np.full((48, 64, 3), index * 8, np.uint8))


@pytest.mark.usefixtures("fake_model")
def test_video(tmp_path: Path) -> None:
    make_clip(tmp_path / "clip.mp4")
    out, table = tmp_path / "out.mp4", tmp_path / "boxes.csv"
    arguments = ["video", str(tmp_path / "clip.mp4"), "--out", str(out), "--table", str(table)]
    done = runner.invoke(cli.app, [*arguments, "--stride", "2"])
    assert done.exit_code == 0, done.output
    assert "5 frames, 5 detections" in done.output
    assert [f.pts_seconds for f in VideoSource(out)] == pytest.approx([0, 0.08, 0.16, 0.24, 0.32])
    with table.open(newline="") as file:
        assert [row["frame_index"] for row in csv.DictReader(file)] == ["0", "2", "4", "6", "8"]


@pytest.mark.usefixtures("fake_model")
def test_video_errors_are_one_line(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    make_clip(clip)
    for arguments, message in (
        ([str(tmp_path / "none.mp4")], "No such file"),
        ([str(clip), "--out", str(clip)], "is the video itself"),
        ([str(clip), "--out", str(tmp_path / "o.avi")], "must end in"),
        ([str(clip), "--out", str(tmp_path / "o.mp4"), "--table", "t.xls"], "must end in"),
    ):
        done = runner.invoke(cli.app, ["video", *arguments])
        assert done.exit_code == 1, done.output
        assert message in done.output
        assert "Traceback" not in done.output
    assert len(list(VideoSource(clip))) == 10
