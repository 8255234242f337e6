"""Checkpoints on a CPU: converted once, the boxes of torch, and never an error of the cache."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from test_hostile_weights import Bomb
from tiny_models import build_network, save_checkpoint

from detkit.detection import YOLOv8Detector
from detkit.detection.environment import import_openvino
from detkit.detection.model_cache import ModelCache
from detkit.errors import ModelLoadError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def empty_cache(tmp_path, monkeypatch) -> ModelCache:
    monkeypatch.setenv("DETKIT_CACHE_DIR", str(tmp_path / "cache"))
    return ModelCache()


def load(path, **options) -> YOLOv8Detector:
    detector = YOLOv8Detector()
    detector.load_model(path, **{"precision": "fp32", "confidence_threshold": 0.3, **options})
    return detector


def library(detector: YOLOv8Detector) -> str:
    return repr(detector).rpartition(", ")[2].split()[0]


def start(code: str, **env: str) -> subprocess.Popen[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**clean, "PYTHONPATH": str(ROOT), **env},
    )


def ends_well(process: subprocess.Popen[str], told: str = "") -> str:
    out, err = process.communicate(told, timeout=110)
    assert process.returncode == 0, err
    return out


@pytest.mark.parametrize("hw", [(96, 128), (32, 128), (128, 128), (200, 40)])
def test_it_finds_what_torch_finds(tiny_pt, hw):
    image = np.random.default_rng(5).integers(0, 256, (*hw, 3), dtype=np.uint8)
    converted, torch = load(tiny_pt), load(tiny_pt, runtime="ultralytics")
    assert (library(converted), library(torch)) == ("openvino", "ultralytics")
    mine, theirs = converted.detect(image), torch.detect(image)
    assert len(mine) == len(theirs) > 0
    assert np.array_equal(mine.classes, theirs.classes)
    assert np.abs(mine.boxes - theirs.boxes).max() < 0.01
    assert np.abs(mine.scores - theirs.scores).max() < 1e-4
    assert converted.class_names == torch.class_names
    assert converted.batch_key(image) == torch.batch_key(image)


def test_once_converted_it_needs_no_torch(tiny_pt, empty_cache, noise):
    expected = load(tiny_pt).detect(noise)
    code = f"""
import sys, numpy as np
seen = []
watched = ("socket.", "subprocess.", "os.fork", "os.exec", "os.posix_spawn")
sys.addaudithook(lambda e, a: seen.append(e) if e.startswith(watched) else None)
from detkit import AsyncDetector, YOLOv8Detector
detector = YOLOv8Detector()
detector.load_model({str(tiny_pt)!r}, precision="fp32", confidence_threshold=0.3)
image = np.random.default_rng(7).integers(0, 256, (90, 160, 3), dtype=np.uint8)
print(detector.detect(image).boxes.tolist())
with AsyncDetector(detector, max_workers=2) as engine:
    assert len(engine.detect_batch([image] * 4)) == 4
assert not {{"torch", "ultralytics"}} & set(sys.modules)
assert not seen, seen
"""
    assert ends_well(start(code)).strip() == str(expected.boxes.tolist())


def test_two_processes_may_convert_at_once(tiny_pt, empty_cache, tmp_path):
    code = f"""
import sys, numpy as np
from detkit.detection.runtimes import converted, ultralytics
original = ultralytics.load_network
def load_network(options):
    print("converting", flush=True)
    sys.stdin.readline()  # until both are here
    return original(options)
ultralytics.load_network = load_network
from detkit import YOLOv8Detector
detector = YOLOv8Detector()
detector.load_model({str(tiny_pt)!r}, precision="fp32", confidence_threshold=0.3)
print(repr(detector))
image = np.random.default_rng(7).integers(0, 256, (90, 160, 3), dtype=np.uint8)
print(detector.detect(image).boxes.tolist())
"""
    processes = [start(code), start(code)]
    for process in processes:
        assert process.stdout.readline() == "converting\n"
    assert empty_cache.entries() == []
    outputs = [ends_well(process, "go\n") for process in processes]
    assert outputs[0] == outputs[1]
    assert "openvino" in outputs[0]
    assert len(empty_cache.entries()) == 1
    assert len(list(empty_cache.folder.iterdir())) == 1


def test_threads_convert_once(tiny_pt, empty_cache):
    from concurrent.futures import ThreadPoolExecutor

    told: list[str] = []
    with ThreadPoolExecutor(4) as pool:
        loads = [pool.submit(load, tiny_pt, on_progress=told.append) for _ in range(4)]
        assert {library(each.result()) for each in loads} == {"openvino"}
    assert told == ["converting tiny.pt for OpenVINO, once"]


@pytest.mark.parametrize("name", ["model.bin", "model.xml", "metadata.yaml", "entry.json"])
def test_an_entry_cut_in_half_is_made_again_without_a_word(
    tiny_pt, empty_cache, noise, caplog, name
):
    expected = load(tiny_pt).detect(noise)
    (entry,) = empty_cache.entries()
    path = entry.path / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with caplog.at_level(logging.WARNING, "detkit"):
        assert load(tiny_pt).detect(noise) == expected
    assert caplog.records == []
    assert empty_cache.find(entry.path.name) == entry.path


def test_a_name_is_not_part_of_the_key_and_stays_the_users(tiny_pt, empty_cache, tmp_path):
    load(tiny_pt)
    copy = Path(shutil.copy(tiny_pt, tmp_path / "mine.pt"))
    told: list[str] = []
    assert load(copy, on_progress=told.append, image_size=64).model_name == "mine"
    assert told == []
    assert len(empty_cache.entries()) == 1


@pytest.mark.parametrize("version", ["openvino", "torch", "ultralytics"])
def test_another_version_of_a_library_converts_again(tiny_pt, empty_cache, monkeypatch, version):
    from detkit.detection.runtimes import converted

    load(tiny_pt)
    real = converted.metadata.version
    changed = lambda name: "0" if name == version else real(name)  # noqa: E731
    monkeypatch.setattr(converted.metadata, "version", changed)
    load(tiny_pt)
    assert len(empty_cache.entries()) == 2


def test_names_survive_the_cache(empty_cache, tmp_path):
    network = build_network()
    names = {0: "caf\u00e9 \U0001f600", 1: "a: b\n- \x1b[2J\x85", 2: "no"}
    network.names = names
    path = save_checkpoint(network, tmp_path / "names.pt")
    for _ in range(2):
        assert load(path).class_names == names


def test_the_opt_out_leaves_the_cache_alone(tiny_pt, empty_cache, noise):
    detector = load(tiny_pt, runtime="ultralytics")
    assert library(detector) == "ultralytics"
    assert empty_cache.entries() == []


@pytest.fixture
def no_cache_folder(tmp_path, monkeypatch):
    """A cache folder that nothing can be written to, not even by root."""
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("DETKIT_CACHE_DIR", str(tmp_path / "file"))


@pytest.mark.usefixtures("no_cache_folder")
def test_a_read_only_cache_is_a_warning(tiny_pt, noise, caplog):
    with caplog.at_level(logging.WARNING, "detkit"):
        detector = load(tiny_pt)
    assert library(detector) == "openvino"
    (record,) = caplog.records
    assert "cannot be kept" in record.getMessage()
    assert "DETKIT_CACHE_DIR" in record.getMessage()
    again = detector.replicate()
    assert again.detect(noise) == detector.detect(noise)
    assert again.detect(noise[:40]) == detector.detect(noise[:40])  # compiled only now


def test_an_entry_in_a_read_only_cache_is_used(tiny_pt, empty_cache, monkeypatch, caplog):
    load(tiny_pt)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("read-only file system")

    monkeypatch.setattr("os.utime", refuse)
    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    told: list[str] = []
    assert library(load(tiny_pt, on_progress=told.append)) == "openvino"
    assert told == []
    assert caplog.records == []


@pytest.mark.usefixtures("no_cache_folder")
def test_without_any_folder_torch_runs_it(tiny_pt, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "file"))
    assert library(load(tiny_pt)) == "ultralytics"
    assert "without a folder to write to" in caplog.text
    with pytest.raises(ModelLoadError, match="without a folder to write to"):
        load(tiny_pt, runtime="openvino")


def test_a_network_that_openvino_cannot_read_runs_with_torch(
    tiny_pt, empty_cache, monkeypatch, caplog
):
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("no such operation")

    monkeypatch.setattr(import_openvino(), "convert_model", refuse)
    assert library(load(tiny_pt)) == "ultralytics"
    assert "no such operation" in caplog.text
    with pytest.raises(ModelLoadError, match="no such operation"):
        load(tiny_pt, runtime="openvino")
    assert list(empty_cache.folder.iterdir()) == []


def test_trust_is_not_inherited_from_the_cache(empty_cache, tmp_path):
    import torch

    network = build_network()
    network.extra = Bomb(tmp_path / "canary")
    path = tmp_path / "trusted.pt"
    torch.save({"model": network}, path)
    load(path, trust_weights=True)
    (tmp_path / "canary").rmdir()
    with pytest.raises(ModelLoadError, match="trust_weights"):
        load(path)
    load(path, trust_weights=True)
    assert not (tmp_path / "canary").exists()  # the converted network holds no code


def test_an_error_of_the_listener_is_the_users(tiny_pt, empty_cache):
    def listener(text: str) -> None:
        raise KeyError(text)

    with pytest.raises(KeyError):
        load(tiny_pt, on_progress=listener)
    assert empty_cache.entries() == []
