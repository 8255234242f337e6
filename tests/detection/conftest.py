"""Models and pictures for the tests of detectors; each is made once per session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_models import SHARED, build_network, export, save_checkpoint

from detkit.detection.environment import import_ultralytics

COCO = SHARED / "models" / "yolov8n-coco.pt"


@pytest.fixture(scope="session", autouse=True)
def private_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep caches and settings of the libraries away from the user's own."""
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("private")
        patch.setenv("DETKIT_CACHE_DIR", str(root / "cache"))
        patch.setenv("YOLO_CONFIG_DIR", str(root / "yolo"))
        patch.setenv("DETKIT_OFFLINE", "1")
        yield


@pytest.fixture(scope="session")
def tiny_pt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint(build_network(), tmp_path_factory.mktemp("models") / "tiny.pt")


@pytest.fixture(scope="session")
def tiny_onnx(tiny_pt: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("onnx")
    return export(tiny_pt, folder, format="onnx", dynamic=True, imgsz=128)


@pytest.fixture(scope="session")
def tiny_onnx_fixed(tiny_pt: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("onnx_fixed")
    return export(tiny_pt, folder, format="onnx", imgsz=(96, 128))


@pytest.fixture(scope="session")
def tiny_openvino(tiny_pt: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("openvino")
    return export(tiny_pt, folder, format="openvino", dynamic=True, imgsz=128)


@pytest.fixture(scope="session")
def coco_pt() -> Path:
    if not COCO.is_file():
        pytest.skip(f"needs the COCO checkpoint at {COCO.relative_to(SHARED.parent)}")
    return COCO


@pytest.fixture(scope="session")
def coco_onnx(coco_pt: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(coco_pt, tmp_path_factory.mktemp("coco"), format="onnx", dynamic=True)


@pytest.fixture(scope="session")
def photographs() -> dict[str, np.ndarray]:
    """bus.jpg and zidane.jpg, RGB, as they ship with ultralytics."""
    import_ultralytics()
    from ultralytics.utils import ASSETS

    return {
        name: cv2.cvtColor(cv2.imread(str(ASSETS / f"{name}.jpg")), cv2.COLOR_BGR2RGB)
        for name in ("bus", "zidane")
    }


@pytest.fixture
def noise() -> np.ndarray:
    image = np.random.default_rng(7).integers(0, 256, (90, 160, 3), dtype=np.uint8)
    image.flags.writeable = False
    return image
