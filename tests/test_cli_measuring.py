"""`detkit bench` and `detkit tune`: tables, JSON, exit codes and one line per error."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import cv2
import pytest
from typer.testing import CliRunner

from detkit import cli
from detkit.cli import measuring, models
from detkit.testing import FakeDetector, numbered_image

runner = CliRunner()


@pytest.fixture(autouse=True)
def fake_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeDetector:
    fake = FakeDetector()
    monkeypatch.setattr(models, "load", lambda model, device: fake)
    monkeypatch.setenv("DETKIT_CACHE_DIR", str(tmp_path / "cache"))
    return fake


@pytest.fixture
def photos(tmp_path: Path) -> str:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(3):
        image = numbered_image(number)[..., ::-1]
        (folder / f"{number}.png").write_bytes(cv2.imencode(".png", image)[1].tobytes())
    return str(folder)


BENCH = ["bench", "--rounds", "2", "--workers", "2"]
TUNE = ["tune", "--seconds", "0.3"]


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--scenario", "single_stream"],
        ["--scenario", "multi_stream", "--streams", "2"],
        ["--scenario", "server", "--rate", "500"],
        ["--scenario", "video", "--rate", "500"],
    ],
)
def test_bench_prints_a_table(photos: str, options: list[str]) -> None:
    done = runner.invoke(cli.app, [*BENCH, photos, *options])
    assert done.exit_code == 0, done.output
    name = options[1] if options else "offline"
    assert f"{name}: 3 images a round, 2 rounds" in done.output
    assert "AsyncDetector" in done.output and "undecided" in done.output
    assert "decode" in done.output


def test_bench_writes_json_and_nothing_else(photos: str) -> None:
    done = runner.invoke(cli.app, [*BENCH, photos, "--json"])
    assert done.exit_code == 0, done.output
    run = json.loads(done.stdout)
    assert run["schema_version"] == 1 and run["num_images"] == 3
    assert [entry["name"] for entry in run["entries"]] == ["loop", "AsyncDetector"]


def test_tune_prints_the_setting_as_code(photos: str) -> None:
    done = runner.invoke(cli.app, [*TUNE, photos])
    assert done.exit_code == 0, done.output
    assert "chosen" in done.output and "AsyncDetector(detector, " in done.output


def test_tune_writes_json_and_nothing_else(photos: str) -> None:
    done = runner.invoke(cli.app, [*TUNE, photos, "--json", "--no-cache", "--goal", "fps>=1"])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["goal"] == "fps>=1" and report["points"] and report["advice"]


@pytest.mark.parametrize("command", [BENCH, TUNE])
def test_without_images_scenes_are_rendered(
    command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "_NUM_RENDERED", 2)
    done = runner.invoke(cli.app, command)
    assert done.exit_code == 0, done.output
    assert "2 rendered scenes" in done.output


def test_what_is_no_image_is_left_out_and_told(photos: str) -> None:
    (Path(photos) / "[red]bad\x1b[2J.png").write_bytes(b"no image")
    done = runner.invoke(cli.app, [*BENCH, photos])
    assert done.exit_code == 0, done.output
    assert "left out: " in done.output and "3 images a round" in done.output
    assert "\x1b[2J" not in done.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([*BENCH, "none.png"], "there are no images"),
        ([*BENCH, "FOLDER"], "holds no file"),
        ([*BENCH, "PHOTOS", "--rate", "3"], "no meaning in the scenario 'offline'"),
        ([*BENCH, "PHOTOS", "--scenario", "video", "--rate", "-1"], "fps must be a positive"),
        ([*TUNE, "PHOTOS", "--goal", "speed"], "goal must be"),
        (["tune", "PHOTOS", "--seconds", "0"], "seconds must be positive"),
    ],
)
def test_errors_are_one_line(
    arguments: list[str], message: str, photos: str, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    named = {"PHOTOS": photos, "FOLDER": str(tmp_path / "empty")}
    done = runner.invoke(cli.app, [named.get(a, a) for a in arguments])
    assert done.exit_code == 1, done.output
    assert message in done.output
    assert "Traceback" not in done.output


def test_a_model_that_always_fails_is_exit_1(photos: str, fake_model: FakeDetector) -> None:
    fake_model.fail_on = {0, 1, 2}
    done = runner.invoke(cli.app, [*BENCH, photos])
    assert done.exit_code == 1
    assert "every image failed" in done.output
    done = runner.invoke(cli.app, [*TUNE, photos])
    assert done.exit_code == 1
    assert "every image failed with every setting" in done.output


@pytest.mark.parametrize("command", [BENCH, TUNE])
def test_a_full_disk_is_one_line(
    command: list[str], photos: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(measuring.typer, "echo", full)
    done = runner.invoke(cli.app, [*command, photos, "--json"])
    assert done.exit_code == 1, done.output
    assert "cannot be written: No space left on device" in done.output
    assert "Traceback" not in done.output
