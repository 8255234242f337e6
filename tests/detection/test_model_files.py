from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

from detkit.detection import model_files
from detkit.detection.environment import cache_folder, import_ultralytics
from detkit.detection.model_files import OFFICIAL_NAMES, find_model
from detkit.errors import ModelLoadError, ModelNotFoundError


@pytest.fixture
def empty_folder(tmp_path, monkeypatch):
    """A working folder and a cache folder with nothing in them, and no word against networks."""
    monkeypatch.setenv("DETKIT_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("DETKIT_OFFLINE", raising=False)
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def no_network(monkeypatch):
    """Every attempt to reach a host is recorded and fails at once, as without a network."""
    tried: list[object] = []

    def refuse(*args, **kwargs):
        tried.append(args)
        raise OSError("no network")

    monkeypatch.setattr("socket.create_connection", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)
    monkeypatch.setattr("urllib.request.getproxies", dict)
    return tried


def test_the_official_names_are_all_published():
    import_ultralytics()
    from ultralytics.utils.downloads import GITHUB_ASSETS_NAMES

    assert OFFICIAL_NAMES <= GITHUB_ASSETS_NAMES
    assert {"yolov8n.pt", "yolo11x.pt"} <= OFFICIAL_NAMES


def test_offline_no_host_is_looked_up(empty_folder, no_network, monkeypatch):
    monkeypatch.setenv("DETKIT_OFFLINE", "1")
    with pytest.raises(ModelNotFoundError, match=r"yolov8n\.pt.*DETKIT_OFFLINE.*weights"):
        find_model("yolov8n.pt")
    assert not no_network


def test_without_a_network_the_error_names_the_file_and_the_ways(empty_folder, no_network):
    with pytest.raises(FileNotFoundError, match=r"yolov8n\.pt is not here.*put the file into"):
        find_model("yolov8n.pt")
    assert len(no_network) == 1
    assert not list(empty_folder.iterdir())


@pytest.mark.parametrize(
    "name",
    [
        "yolov8q.pt",
        "yolov8n",
        "YOLOv8n.pt",
        "./yolov8n.pt",
        "models/yolov8n.pt",
        "yolov8n-seg.pt",
        " yolov8n.pt",
        "yolov8n.pt'",
        "best.pt",
        "https://example.org/yolov8n.pt",
    ],
)
def test_nothing_but_an_official_name_is_ever_downloaded(empty_folder, no_network, name):
    with pytest.raises(ModelNotFoundError):
        find_model(name)
    assert not no_network


def test_a_path_to_an_official_name_hints_at_the_bare_name(empty_folder):
    with pytest.raises(ModelNotFoundError, match=r"bare name 'yolov8n\.pt'"):
        find_model("models/yolov8n.pt")


def test_a_misspelt_official_name_is_guessed(empty_folder):
    with pytest.raises(ModelNotFoundError, match=r"Perhaps the official model 'yolov8n\.pt'"):
        find_model("yolov8nn.pt")
    with pytest.raises(ModelNotFoundError) as caught:
        find_model("parts.pt")
    assert "Perhaps" not in str(caught.value)


def test_an_address_is_not_repeated(empty_folder):
    with pytest.raises(ModelNotFoundError) as caught:
        find_model("https://user:secret@example.org/m.pt")
    assert "secret" not in str(caught.value)


@pytest.fixture
def downloads(empty_folder, monkeypatch):
    """ultralytics' downloader, replaced by one that writes what the test wants."""
    import_ultralytics()
    from ultralytics.utils import downloads

    calls: list[str] = []

    def safe_download(url, file, dir, **options):  # noqa: A002  its name in ultralytics
        calls.append(url)
        with zipfile.ZipFile(Path(dir) / file, "w") as archive:
            archive.writestr("data", "weights")

    monkeypatch.setattr(model_files, "_require_host", lambda: None)
    monkeypatch.setattr(downloads, "safe_download", safe_download)
    return calls


def test_a_bare_official_name_is_downloaded_once_into_the_cache(downloads, empty_folder):
    path, kind = find_model("yolov8n.pt")
    assert path == cache_folder() / "weights" / "yolov8n.pt"
    assert kind == "checkpoint"
    assert find_model("yolov8n.pt") == (path, kind)
    assert len(downloads) == 1
    assert downloads[0].startswith("https://github.com/ultralytics/assets/releases/download/v")
    assert downloads[0].endswith("/yolov8n.pt")
    assert [p.name for p in path.parent.iterdir()] == ["yolov8n.pt"]
    assert not list(empty_folder.iterdir())


def test_a_download_of_something_else_leaves_nothing(downloads, monkeypatch):
    from ultralytics.utils import downloads as module

    def safe_download(url, file, dir, **options):  # noqa: A002
        (Path(dir) / file).write_text("<html>log in to the hotel network</html>")

    monkeypatch.setattr(module, "safe_download", safe_download)
    with pytest.raises(ModelNotFoundError, match="could not be downloaded"):
        find_model("yolov8n.pt")
    assert not list((cache_folder() / "weights").iterdir())


def test_a_file_in_the_working_folder_comes_first(empty_folder, no_network):
    (empty_folder / "yolov8n.pt").write_bytes(b"x")
    assert find_model("yolov8n.pt") == (empty_folder / "yolov8n.pt", "checkpoint")
    assert find_model(Path("yolov8n.pt"))[0].is_absolute()


def test_formats(empty_folder):
    for name, kind in [
        ("a.onnx", "onnx"),
        ("a.ONNX", "onnx"),
        ("a.torchscript", "torchscript"),
        ("a.engine", "engine"),
        ("a.xml", "openvino"),
    ]:
        (empty_folder / name).write_bytes(b"x")
        assert find_model(name)[1] == kind
    assert find_model(empty_folder)[1] == "openvino"


@pytest.mark.parametrize("name", ["a.txt", "a", "a.pth", "empty.pt"])
def test_files_that_cannot_be_models(empty_folder, name):
    (empty_folder / name).write_bytes(b"" if name == "empty.pt" else b"x")
    with pytest.raises(ModelLoadError):
        find_model(name)


def test_folders_pipes_and_impossible_names(empty_folder):
    (empty_folder / "folder.pt").mkdir()
    os.mkfifo(empty_folder / "pipe.pt")
    for name in ("folder.pt", "pipe.pt", "", " ", "a\0.pt", "x" * 5000 + ".pt", b"a.pt", 5):
        with pytest.raises((ModelLoadError, TypeError)):
            find_model(name)
