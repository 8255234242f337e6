"""The same detector on Ray: one row per image, bad ones told, on a real local Ray where there is
one."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import cv2
import pytest

from detkit import AsyncDetector
from detkit.ray_data import RayMissingError, detect_dataset, detect_files
from detkit.testing import FakeDetector, numbered_image


def write(folder: Path, count: int) -> list[str]:
    paths = [folder / f"{number}.png" for number in range(count)]
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
    assert [isinstance(o, BaseException) for o in outcomes] == [False, True, True, False]


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(RayMissingError, match=r"detkit\[ray\]"):
        detect_dataset(["a.png"], make_detector)


@pytest.mark.parametrize("options", [{"num_actors": 0}, {"batch_size": 0}, {"max_workers": 0}])
def test_impossible_numbers_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        detect_dataset(["a.png"], make_detector, **options)


@pytest.mark.watchdog(240)
@pytest.mark.skipif(find_spec("ray") is None, reason="needs ray: pip install 'detkit[ray]'")
def test_on_a_real_local_ray(tmp_path: Path) -> None:
    paths = write(tmp_path, 6)
    Path(paths[4]).write_bytes(b"no image")
    program = f"""
import ray
from detkit.ray_data import detect_dataset
from detkit.testing import FakeDetector
paths = {paths!r}
found = detect_dataset(paths, lambda: FakeDetector(fail_on={{2}}), batch_size=3)
rows = sorted(found.take_all(), key=lambda row: row["path"])
assert [row["path"] for row in rows] == paths
assert [row["status"] for row in rows] == ["ok", "ok", "failed", "ok", "failed", "ok"], rows
assert [int(row["boxes"][0][2]) for row in rows if row["status"] == "ok"] == [0, 1, 3, 5]
assert "told to fail" in rows[2]["error"] and rows[4]["error"]
ray.shutdown()
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
