"""Files made to do harm, or just broken: a typed error each, and never a trace of their code."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_models import build_network, save_checkpoint

from detkit.detection import YOLOv8Detector
from detkit.detection.environment import import_ultralytics
from detkit.detection.runtimes import tensorrt
from detkit.errors import ModelLoadError


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        return Path.mkdir, (self.canary,)


def refused(path: Path, **options: Any) -> str:
    with pytest.raises(ModelLoadError) as caught:
        YOLOv8Detector().load_model(path, **options)
    assert len(str(caught.value)) < 600
    return str(caught.value)


@pytest.fixture
def canary(tmp_path):
    return tmp_path / "canary"


@pytest.mark.parametrize("place", ["alone", "model", "attribute", "names"])
def test_code_in_a_checkpoint_does_not_run(tmp_path, canary, place):
    import torch

    network = build_network()
    content: Any = {"model": network}
    if place == "alone":
        content = Bomb(canary)
    elif place == "model":
        content["model"] = Bomb(canary)
    elif place == "attribute":
        network.extra = Bomb(canary)
    else:
        network.names = {0: Bomb(canary)}
    path = tmp_path / "bomb.pt"
    torch.save(content, path)
    assert "trust_weights" in refused(path)
    assert not canary.exists()


def test_a_bare_pickle_does_not_run(tmp_path, canary):
    path = tmp_path / "bomb.pt"
    path.write_bytes(pickle.dumps(Bomb(canary)))
    refused(path)
    assert not canary.exists()


def test_trusted_code_does_run(tmp_path, canary, noise):
    import torch

    network = build_network()
    network.extra = Bomb(canary)
    path = tmp_path / "trusted.pt"
    torch.save({"model": network}, path)
    detector = YOLOv8Detector()
    detector.load_model(path, trust_weights=True)
    assert canary.is_dir()
    assert detector.detect(noise).metadata["num_detections"] >= 0


def test_a_module_that_is_not_installed_is_not_installed(tmp_path, monkeypatch):
    import torch

    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: pytest.fail("a subprocess"))
    module = type(sys)("not_on_this_machine")
    kind = type("Thing", (), {"__module__": "not_on_this_machine"})
    module.Thing = kind
    sys.modules["not_on_this_machine"] = module
    path = tmp_path / "missing.pt"
    torch.save({"model": kind()}, path)
    del sys.modules["not_on_this_machine"]
    refused(path)
    refused(path, trust_weights=True)


def test_an_activation_that_is_code_is_not_evaluated(tmp_path, canary):
    network = build_network()
    network.yaml["activation"] = f"__import__('pathlib').Path({str(canary)!r}).mkdir()"
    path = save_checkpoint(network, tmp_path / "activation.pt")
    detector = YOLOv8Detector()
    detector.load_model(path)
    detector.replicate()
    assert not canary.exists()


def test_an_old_torch_without_safe_loading_is_refused(tiny_pt, monkeypatch, tmp_path):
    monkeypatch.setenv("DETKIT_CACHE_DIR", str(tmp_path))  # where nothing was converted before
    monkeypatch.setattr(import_ultralytics()._SafeLoad, "SUPPORTED", False)
    assert "trust_weights=True" in refused(tiny_pt)
    detector = YOLOv8Detector()
    detector.load_model(tiny_pt, trust_weights=True)
    assert detector.is_loaded


@pytest.mark.parametrize("share", [0.01, 0.5, 0.95])
@pytest.mark.parametrize("name", ["tiny_pt", "tiny_onnx"])
def test_truncated(request, tmp_path, name, share):
    whole = request.getfixturevalue(name)
    path = tmp_path / whole.name
    path.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * share)])
    refused(path)


@pytest.mark.parametrize("suffix", [".pt", ".onnx", ".xml", ".torchscript", ".engine"])
@pytest.mark.parametrize("content", [b"", b"x", b"\0" * 4096, b"text\n" * 400, b"PK\x03\x04" * 99])
def test_no_models(tmp_path, suffix, content):
    path = tmp_path / f"m{suffix}"
    path.write_bytes(content)
    path.with_suffix(".bin").write_bytes(b"")
    assert "trust_weights" not in refused(path, trust_weights=suffix in (".torchscript", ".engine"))


def test_a_picture_named_as_weights_is_not_said_to_hold_code(tmp_path):
    path = tmp_path / "photo.pt"
    path.write_bytes(b"\xff\xd8\xff\xe0" + bytes(5000))
    assert "photo.pt is damaged or no checkpoint" in (message := refused(path))
    assert "trust_weights" not in message


def test_random_bytes(tmp_path):
    rng = np.random.default_rng(5)
    for suffix in (".pt", ".onnx", ".xml"):
        path = tmp_path / f"m{suffix}"
        path.write_bytes(rng.bytes(5000))
        refused(path)


def test_flipped_bytes_are_an_error_or_a_model(tiny_onnx, tmp_path, noise):
    whole = bytearray(tiny_onnx.read_bytes())
    rng = np.random.default_rng(11)
    path = tmp_path / "m.onnx"
    for _ in range(12):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole), 3):
            damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        detector = YOLOv8Detector()
        try:
            detector.load_model(path)
        except ModelLoadError:
            assert not detector.is_loaded
            continue
        try:
            found = detector.detect(noise)
        except ValueError:  # NaN, typed
            continue
        assert np.isfinite(found.boxes).all()
        assert ((found.scores >= 0) & (found.scores <= 1)).all()


def test_renamed_formats(tmp_path, tiny_pt, tiny_onnx):
    for source, suffix in ((tiny_pt, ".onnx"), (tiny_onnx, ".pt")):
        path = tmp_path / f"renamed{suffix}"
        path.write_bytes(source.read_bytes())
        refused(path)


def test_a_torchscript_program_writes_nothing_unless_it_is_trusted(tmp_path, canary):
    import torch

    class Program(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.path = str(canary)

        def forward(self, x):
            torch.ops.aten.save(x, self.path)
            return torch.zeros(1, 84, 8400)

    path = tmp_path / "program.torchscript"
    torch.jit.script(Program()).save(path)
    assert "trust_weights" in refused(path)
    assert not canary.exists()
    YOLOv8Detector().load_model(path, trust_weights=True)
    assert canary.exists()


def test_an_engine_is_not_even_opened_unless_it_is_trusted(tmp_path, monkeypatch):
    text = json.dumps({"task": "detect", "names": {"0": "a"}, "imgsz": [640, 640]}).encode()
    path = tmp_path / "m.engine"
    path.write_bytes(len(text).to_bytes(4, "little") + text + b"engine")
    monkeypatch.setattr(tensorrt, "choose_device", lambda device: device)
    opened: list[Path] = []
    monkeypatch.setattr(tensorrt, "_open_backend", lambda path, device: opened.append(path))
    message = refused(path, device="cuda")
    assert "m.engine is a TensorRT engine, a program that runs when it is loaded" in message
    assert "trust_weights=True; or load the .pt or .onnx file it was made from" in message
    assert opened == []
    with pytest.raises(AttributeError):  # what stands in for the library is no engine
        YOLOv8Detector().load_model(path, device="cuda", trust_weights=True)
    assert opened == [path]


def test_torchscript_with_the_wrong_suffix(tmp_path):
    import torch

    path = tmp_path / "script.pt"
    torch.jit.trace(torch.nn.ReLU(), torch.zeros(1)).save(path)
    assert "TorchScript" in refused(path)


@pytest.mark.parametrize(
    "task, head",
    [
        ("segment", [[[3, 4, 6], 1, "Segment", ["nc", 8, 16]]]),
        ("pose", [[[3, 4, 6], 1, "Pose", ["nc", [5, 2]]]]),
        ("classify", [[-1, 1, "Classify", ["nc"]]]),
    ],
)
def test_other_tasks_are_named(tmp_path, task, head):
    network = build_network(task, head=head, kpt_shape=[5, 2])
    path = save_checkpoint(network, tmp_path / "other.pt")
    assert task in refused(path)
    del network.task
    assert task in refused(save_checkpoint(network, tmp_path / "silent.pt"))


@pytest.mark.parametrize("content", [{}, {"model": None}, {"model": {"a": 1}}, [1], {"ema": 3}])
def test_checkpoints_without_a_network(tmp_path, content):
    import torch

    path = tmp_path / "odd.pt"
    torch.save(content, path)
    refused(path)


def test_a_plain_module_is_no_detector(tmp_path):
    import torch

    path = tmp_path / "plain.pt"
    torch.save({"model": torch.nn.Linear(2, 2)}, path)
    refused(path)


def test_a_million_class_names(tmp_path):
    network = build_network()
    network.names = dict.fromkeys(range(1_000_000), "a")
    assert "class names" in refused(save_checkpoint(network, tmp_path / "names.pt"))


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x, x]\nb: &b [*a, *a]\nnames: *b",
        "names: !!python/object/apply:os.system ['true']",
        "names: [unclosed",
        "names: {0: " + "x" * 300 + "}",
        "\x00",
        "x" * 1_100_000,
        "task: segment",
    ],
)
def test_metadata_of_an_openvino_folder(tiny_openvino, tmp_path, text):
    import shutil

    folder = tmp_path / "m_openvino_model"
    shutil.copytree(tiny_openvino, folder)
    (folder / "metadata.yaml").write_text(text)
    refused(folder)


def test_an_openvino_folder_with_parts_missing(tiny_openvino, tmp_path):
    import shutil

    folder = tmp_path / "m_openvino_model"
    shutil.copytree(tiny_openvino, folder)
    (folder / "metadata.yaml").unlink()
    detector = YOLOv8Detector()
    detector.load_model(folder)
    assert detector.class_names == {0: "class 0", 1: "class 1", 2: "class 2"}
    detector.close()
    next(folder.glob("*.bin")).unlink()
    assert "beside it" in refused(folder)
    next(folder.glob("*.xml")).unlink()
    refused(folder)
