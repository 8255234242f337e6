"""The README is true: its commands are two, its links lead somewhere, its Python blocks run."""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from types import CodeType
from typing import Any

import cv2
import pytest

from detkit.samples import clip, sample_images, sample_model_path
from detkit.video import VideoSink

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def test_there_are_exactly_two_commands() -> None:
    assert [block.strip() for block in blocks("bash")] == [
        "pip install -e . && detkit demo",
        'pip install -e ".[test]" && pytest',
    ]


def test_links_lead_to_files_that_exist() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).is_file(), target


def prepare(folder: Path) -> None:
    """The files that the README speaks of, under the names it uses."""
    shutil.copy(sample_model_path(".pt"), folder / "yolov8n.pt")
    images = sample_images(3)
    (folder / "photos").mkdir()
    for number, image in enumerate(images):
        cv2.imwrite(str(folder / "photos" / f"{number}.jpg"), image[:, :, ::-1])
    (folder / "photos" / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    shutil.copy(folder / "photos" / "0.jpg", folder / "photo.jpg")
    with VideoSink(folder / "video.mp4", fps=25) as sink:
        for frame, *_ in clip(0, 6):
            sink.write(frame)


async def in_a_cell(code: CodeType, namespace: dict[str, Any]) -> None:
    """In a notebook an event loop is running already."""
    exec(code, namespace)


@pytest.mark.watchdog(300)
def test_every_python_block_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DETKIT_OFFLINE", "1")
    monkeypatch.setenv("DETKIT_CACHE_DIR", str(tmp_path / "cache"))
    prepare(tmp_path)
    namespace: dict[str, Any] = {"__name__": "readme"}
    code = blocks("python")
    assert any('load_model("yolov8n.pt", device="cpu")' in block for block in code)
    for number, block in enumerate(code):
        if "ray_data" in block and find_spec("ray") is None:
            continue  # the extra `test` has it
        asyncio.run(in_a_cell(compile(block, f"README block {number}", "exec"), namespace))
    if ray := sys.modules.get("ray"):
        ray.shutdown()
        assert namespace["boxes"]["source"].nunique() == 3
    assert len(namespace["result"]) > 0
    assert namespace["files"]["status"].tolist() == ["ok", "ok", "ok", "failed"]
    assert len(namespace["counts"]) == 6
    assert (tmp_path / "grid.png").stat().st_size > 1000
