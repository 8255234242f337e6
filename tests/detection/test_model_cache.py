"""The cache of converted models: whole or not there, whatever happens to it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from detkit.detection import environment
from detkit.detection.model_cache import ModelCache, key_of


@pytest.fixture
def cache(tmp_path) -> ModelCache:
    return ModelCache(tmp_path / "cache")


def writes(content: bytes):
    def build(folder: Path) -> None:
        (folder / "model.bin").write_bytes(content)
        (folder / "model.xml").write_text("<net/>")

    return build


def test_what_was_stored_is_found(cache):
    assert cache.find("a") is None
    path = cache.store("a", "m.pt", writes(b"12345"))
    assert cache.find("a") == path
    assert (path / "model.bin").read_bytes() == b"12345"
    (entry,) = cache.entries()
    assert (entry.path, entry.source) == (path, "m.pt")
    assert entry.num_bytes > 11
    assert [p.name for p in cache.folder.iterdir()] == ["a"]


def test_it_lies_in_the_folder_of_the_user(monkeypatch, tmp_path):
    monkeypatch.setenv("DETKIT_CACHE_DIR", str(tmp_path / "mine"))
    ModelCache().store("a", "m.pt", writes(b"1"))
    assert (environment.cache_folder() / "converted" / "a" / "model.bin").is_file()
    assert environment.cache_folder() == tmp_path / "mine"


def test_the_key_follows_content_and_facts_and_no_name(tmp_path):
    for name, content in [("a.pt", b"1"), ("b.pt", b"1"), ("c.pt", b"2")]:
        (tmp_path / name).write_bytes(content)
    key = key_of(tmp_path / "a.pt", {"openvino": "1", "torch": "2"})
    assert key == key_of(tmp_path / "b.pt", {"torch": "2", "openvino": "1"})
    assert key != key_of(tmp_path / "c.pt", {"openvino": "1", "torch": "2"})
    assert key != key_of(tmp_path / "a.pt", {"openvino": "1", "torch": "3"})


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("harm", [cut, flip, Path.unlink, lambda p: p.write_bytes(b"")])
@pytest.mark.parametrize("name", ["model.bin", "model.xml", "entry.json"])
def test_a_damaged_entry_is_not_found_and_is_replaced(cache, name, harm):
    path = cache.store("a", "m.pt", writes(b"12345"))
    harm(path / name)
    assert cache.find("a") is None
    assert len(cache.entries()) == 1
    assert cache.store("a", "m.pt", writes(b"12345")) == path
    assert cache.find("a") == path
    assert (path / "model.bin").read_bytes() == b"12345"


@pytest.mark.parametrize("record", ["[]", "3", '{"files": 3}', '{"files": {"model.bin": 3}}', "{"])
def test_a_record_of_another_kind_is_damage(cache, record):
    path = cache.store("a", "m.pt", writes(b"12345"))
    (path / "entry.json").write_text(record)
    assert cache.find("a") is None


def test_a_file_too_many_is_damage(cache):
    path = cache.store("a", "m.pt", writes(b"12345"))
    (path / "other.xml").write_text("<net/>")
    assert cache.find("a") is None


def test_who_comes_second_keeps_what_is_there(cache):
    def build(folder: Path) -> None:
        cache.store("a", "m.pt", writes(b"first"))  # another process, in the meantime
        writes(b"second")(folder)

    path = cache.store("a", "m.pt", build)
    assert (path / "model.bin").read_bytes() == b"first"
    assert [p.name for p in cache.folder.iterdir()] == ["a"]


def test_a_failing_build_leaves_nothing(cache):
    def build(folder: Path) -> None:
        writes(b"half")(folder)
        raise KeyError("no")

    with pytest.raises(KeyError):
        cache.store("a", "m.pt", build)
    assert list(cache.folder.iterdir()) == []


def used_at(path: Path, seconds: float) -> None:
    os.utime(path / "entry.json", (seconds, seconds))


def test_the_least_recently_used_go_first(cache):
    for i, key in enumerate("abc"):
        used_at(cache.store(key, f"{key}.pt", writes(b"x" * 1000)), 1000.0 + i)
    assert cache.find("a") is not None  # it was the oldest, and is the newest now
    cache.max_bytes = 3 * 1400
    cache.store("d", "d.pt", writes(b"x" * 1000))
    assert {entry.source for entry in cache.entries()} == {"a.pt", "c.pt", "d.pt"}


def test_an_entry_larger_than_the_cache_is_kept_alone(cache):
    cache.store("a", "a.pt", writes(b"1"))
    cache.max_bytes = 10
    path = cache.store("b", "b.pt", writes(b"x" * 1000))
    assert cache.find("b") == path
    assert len(cache.entries()) == 1


def test_clearing(cache):
    assert cache.clear() == []
    cache.store("a", "a.pt", writes(b"1"))
    assert [entry.source for entry in cache.clear()] == ["a.pt"]
    assert cache.entries() == []
    assert cache.find("a") is None


def test_what_a_killed_process_left_goes_after_a_day(cache):
    for name, age_s in (("old", 2 * 86400), ("new", 60)):
        folder = cache.folder / f".unfinished-{name}"
        folder.mkdir(parents=True)
        when = folder.stat().st_mtime - age_s
        os.utime(folder, (when, when))
    cache.store("a", "a.pt", writes(b"1"))
    assert sorted(p.name for p in cache.folder.iterdir()) == [".unfinished-new", "a"]
    assert len(cache.entries()) == 1


def test_a_folder_that_cannot_be_written_to_is_an_os_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    cache = ModelCache(tmp_path / "file" / "cache")
    with pytest.raises(OSError, match="file"):
        cache.store("a", "a.pt", writes(b"1"))
    assert cache.find("a") is None
    assert cache.entries() == []


def test_an_entry_that_vanishes_between_two_looks(cache, monkeypatch):
    path = cache.store("a", "a.pt", writes(b"1"))
    shutil.rmtree(path)
    assert cache.find("a") is None
    assert cache.entries() == []
