"""The same detector on Ray: one row per image, bad ones told, on a real local Ray where there is
one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import pytest

from detkit import AsyncDetector
from detkit.errors import ItemFailure, MissingPackageError
from detkit.notebook import images_dataframe, to_dataframe
from detkit.ray_data import (
    DetectorNotSentError,
    RayMissingError,
    dataset_records,
    detect_dataset,
    detect_files,
)
from detkit.testing import FakeDetector, numbered_image

needs_ray = pytest.mark.skipif(
    find_spec("ray") is None, reason="needs ray: pip install 'detkit[ray]'"
)


def write(folder: Path, count: int) -> list[str]:
    paths = [folder / f"{number:05}.png" for number in range(count)]
    for number, path in enumerate(paths):
        image = numbered_image(number)[..., ::-1]
        path.write_bytes(cv2.imencode(".png", image)[1].tobytes())
    return [str(path) for path in paths]


def make_detector() -> FakeDetector:
    return FakeDetector(fail_on={2})


def test_bad_files_and_bad_images_cost_no_other_its_result(tmp_path: Path) -> None:
    paths = write(tmp_path, 4)
    Path(paths[1]).write_bytes(b"no image")
    with AsyncDetector(make_detector()) as engine:
        outcomes = detect_files(engine, paths)
    stages = [o.stage if isinstance(o, ItemFailure) else "" for o in outcomes]
    assert stages == ["", "decode", "detect", ""]


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(RayMissingError, match=r"detkit\[ray\]") as caught:
        detect_dataset(["a.png"], make_detector)
    assert isinstance(caught.value, MissingPackageError)


@pytest.mark.parametrize("options", [{"num_actors": 0}, {"batch_size": 0}, {"max_workers": 0}])
def test_impossible_numbers_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        detect_dataset(["a.png"], make_detector, **options)


def test_rows_become_records_and_tables_in_the_order_of_the_paths() -> None:
    found = {
        "status": "ok",
        "image_hw": [4, 8],
        "boxes": [[0, 0, 4, 2], [1, 1, 2, 2]],
        "scores": [0.5, 0.25],
        "classes": [1, 0],
        "class_names": ["bolt", "nut"],
    }
    bad = {"index": 1, "path": "b.png", "status": "failed", "stage": "decode", "error": "E: torn"}
    records = dataset_records([bad, {"index": 0, "path": "c.png", **found}])
    assert [record.source for record in records] == ["c.png", "b.png"]
    boxes, files = to_dataframe(records), images_dataframe(records)
    assert boxes["class_name"].tolist() == ["bolt", "nut"]
    assert boxes["x_max_norm"].tolist() == [0.5, 0.25]
    assert boxes["source"].tolist() == ["c.png", "c.png"]
    assert files["status"].tolist() == ["ok", "failed"]
    assert files["stage"].tolist()[1] == "decode" and "E: torn" in files["error"].tolist()[1]


@needs_ray
def test_what_cannot_be_sent_is_told_before_anything_starts() -> None:
    lock = threading.Lock()
    with pytest.raises(DetectorNotSentError, match=r"cannot pickle.*lambda: load"):
        detect_dataset(["a.png"], lambda: lock)
    with pytest.raises(DetectorNotSentError, match="must be a function, got a FakeDetector"):
        detect_dataset(["a.png"], FakeDetector())  # type: ignore[arg-type]


# A process kills itself on the images of `fatal`, each once; others are poison. One Ray serves all
# questions, and what it says is asked in the tests below.
PROGRAM = """
import json, os, signal, sys
from pathlib import Path
import psutil
from detkit import YOLOv8Detector
from detkit.ray_data import dataset_records, detect_dataset
from detkit.samples import sample_model_path
from detkit.testing import FakeDetector, image_number, numbered_result

given = json.loads(sys.argv[1])
marks = Path(given["marks"])

def mortal():
    def behaviour(images):
        numbers = [image_number(image) for image in images]
        for number in set(numbers) & set(given["fatal"]):
            if not (marks / str(number)).exists():
                (marks / str(number)).touch()
                os.kill(os.getpid(), signal.SIGKILL)
        if poison := set(numbers) & set(given["poison"]):
            raise ValueError(f"poison {sorted(poison)}")
        return [numbered_result(number) for number in numbers]
    return FakeDetector(behaviour=behaviour)

records = dataset_records(detect_dataset(given["paths"], mortal, num_actors=2, batch_size=8))
answer = {
    "sources": [record.source for record in records],
    "numbers": [None if r.result is None else int(r.result.boxes[0, 2]) for r in records],
    "errors": {r.index: str(r.failure.exception) for r in records if r.failure},
    "kills": len(list(marks.iterdir())),
    "usage_stats": os.environ["RAY_USAGE_STATS_ENABLED"],
}
family = {process.pid for process in psutil.Process().children(recursive=True)} | {os.getpid()}
answer["listening"] = sorted(
    {c.laddr.ip for c in psutil.net_connections("inet") if c.status == "LISTEN" and c.pid in family}
)

def load(path):
    detector = YOLOv8Detector()
    detector.load_model(path, runtime="onnxruntime")
    return detector

model, picture = str(sample_model_path(".onnx")), given["picture"]
record, = dataset_records(detect_dataset([picture], lambda: load(model)))
answer["parts"] = [record.result.boxes.tolist(), record.result.names]
result = load(model).detect(__import__("detkit").decode_image(picture))
answer["here"] = result.boxes.tolist()

try:
    detect_dataset([picture], lambda: load("no/such/model.onnx")).take_all()
except Exception as error:
    answer["refusal"] = str(error)
Path("answer.json").write_text(json.dumps(answer))
"""


@pytest.fixture(scope="module")
def job(
    tmp_path_factory: pytest.TempPathFactory, repetitions: Callable[[int, int], int]
) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("ray")
    (folder / "marks").mkdir()
    num_rows, num_kills = repetitions(200, 2000), repetitions(2, 10)
    paths = write(folder, num_rows)
    Path(paths[50]).write_bytes(b"no image")
    picture = sorted((Path(__file__).parents[1] / "data" / "images").glob("*.jpg"))[0]
    given = {
        "paths": paths,
        "marks": str(folder / "marks"),
        "fatal": list(range(5, num_rows, num_rows // num_kills)),
        "poison": list(range(7, num_rows, 100)),
        "picture": str(picture),
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(given)],
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
        cwd=folder,
        env={**os.environ, "DETKIT_CACHE_DIR": str(folder / "cache")},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    answer: dict[str, Any] = json.loads((folder / "answer.json").read_text())
    return {**given, **answer, "said": done.stdout + done.stderr}


@needs_ray
@pytest.mark.watchdog(540)
def test_t37_processes_that_are_killed_cost_no_row(job: dict[str, Any]) -> None:
    assert job["kills"] == len(job["fatal"])
    assert job["sources"] == job["paths"]  # each once, in order
    bad = {50, *job["poison"]}
    expected = [None if n in bad else n for n in range(len(job["paths"]))]
    assert job["numbers"] == expected
    assert {int(index) for index in job["errors"]} == bad
    assert all(f"poison [{n}]" in job["errors"][str(n)] for n in job["poison"])


@needs_ray
@pytest.mark.watchdog(540)
def test_a_ray_that_detkit_starts_tells_nobody_and_listens_to_nobody_outside(
    job: dict[str, Any],
) -> None:
    assert job["usage_stats"] == "0"
    assert {address.removeprefix("::ffff:") for address in job["listening"]} == {"127.0.0.1"}


@needs_ray
@pytest.mark.watchdog(540)
def test_a_real_detector_from_a_lambda_finds_the_same(job: dict[str, Any]) -> None:
    boxes, names = job["parts"]
    assert len(boxes) == len(names) > 0
    assert boxes == job["here"]


@needs_ray
@pytest.mark.watchdog(540)
def test_a_detector_that_cannot_be_made_ends_the_job_and_says_why(job: dict[str, Any]) -> None:
    assert "ModelNotFoundError: no model file at 'no/such/model.onnx'" in job["refusal"]
    assert job["said"].count("ModelNotFoundError") <= 2  # told, not shouted
