"""`Journal`: what a run over many inputs has done, written down as it is done.

A run that was killed goes on from it. Owns the file, what in it still holds, and that another
question is not answered from it. Knows JSON and results; never a detector or a picture.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from detkit.detection.model_cache import sha256_of
from detkit.errors import UnsupportedSettingError
from detkit.pipeline.folder_report import InputOutcome
from detkit.results import DetectionResult
from detkit.video.table_sink import Place
from detkit.video.writing import replacing, write_errors

NAME = "journal.jsonl"
_ASKED = "asked"


class Done(NamedTuple):
    """One input that was done, with all that was found in it."""

    outcome: InputOutcome
    found: list[tuple[Place, DetectionResult]]


class Journal:
    """One line for what was asked, one for each image or frame, one when an input is done.

    Args:
        folder: Where the results go; the journal lies among them.
        asked: What decides what is found: the model, the settings.
        resume: Go on from what is there.

    Raises:
        UnsupportedSettingError: If the run to go on from was asked for something else.
        VideoWriteError: If it cannot be read; from its methods, if it cannot be written.
    """

    def __init__(self, folder: Path, asked: Mapping[str, Any], *, resume: bool) -> None:
        self._folder = folder
        self._path = folder / NAME
        self._asked = json.loads(json.dumps(asked, default=str))
        self._resume = resume
        self._file: TextIO | None = None
        first = next(_lines(self._path), None) if resume else None
        if first is not None and first.get(_ASKED) != self._asked:
            raise UnsupportedSettingError(
                f"{self._path}: {_difference(first.get(_ASKED), self._asked)}; give another "
                "folder, or start over without resuming"
            )

    def begin(self) -> Iterator[Done]:
        """What an earlier run has done and what still holds; all else is forgotten.

        An input still holds if it was read without an error, has not changed since, and its
        annotated copy is there. Exhaust it before anything is added.
        """
        with replacing(self._path) as partial, partial.open("w", encoding="ascii") as file:
            file.write(json.dumps({_ASKED: self._asked}) + "\n")
            for lines in self._inputs_before():
                done = self._still_holds(lines)
                if done is not None:
                    file.writelines(json.dumps(line) + "\n" for line in lines)
                    yield done
        with write_errors(self._path):
            self._file = self._path.open("a", encoding="ascii")

    def add(self, place: Place, result: DetectionResult) -> None:
        """What was found in an image or a frame."""
        tracks = result.metadata.get("tracker_ids")
        self._write(
            {
                **place._asdict(),
                "boxes": result.boxes.tolist(),
                "scores": result.scores.tolist(),
                "classes": result.classes.tolist(),
                "names": result.names,
                "tracks": None if tracks is None else [int(track) for track in tracks],
            }
        )

    def finish(self, outcome: InputOutcome) -> None:
        """An input is done; what was added since the last one belongs to it."""
        self._write({"done": asdict(outcome), "file": _state(outcome.source)})

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()

    def _write(self, line: Mapping[str, Any]) -> None:
        assert self._file is not None, "begin comes first"
        with write_errors(self._path):
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()  # a process that is killed loses what it has not handed over

    def _inputs_before(self) -> Iterator[list[dict[str, Any]]]:
        """The lines of each input that was done, the one that says so last."""
        group: list[dict[str, Any]] = []
        for line in _lines(self._path) if self._resume else ():
            if "done" in line or "boxes" in line:
                group.append(line)
            if "done" in line:
                yield group
                group = []

    def _still_holds(self, lines: list[dict[str, Any]]) -> Done | None:
        try:
            outcome = InputOutcome(**lines[-1]["done"])
            state = _state(outcome.source)
            if outcome.status != "ok" or state is None or state != lines[-1]["file"]:
                return None
            if not (self._folder / outcome.output).is_file():
                return None
            mine = [line for line in lines[:-1] if line["source"] == outcome.source]
            return Done(outcome, [_found(line) for line in mine])
        except (KeyError, TypeError, ValueError):  # somebody else has written in it
            return None


def identity(detector: object) -> dict[str, str]:
    """What tells a detector from another one: its name, and the content of its model file."""
    kind = type(detector)
    # Without a word of its own, its `repr` is an address in memory.
    name = kind.__qualname__ if kind.__repr__ is object.__repr__ else repr(detector)
    path = getattr(detector, "model_path", None)
    if not isinstance(path, Path):
        return {"detector": name}
    files = sorted(path.glob("*.*")) if path.is_dir() else [path]
    return {"detector": name, "model_sha256": " ".join(map(sha256_of, files))}


def done_before(folder: Path) -> frozenset[str]:
    """The inputs that a journal in this folder calls done, whether they still hold or not."""
    ends = (line["done"] for line in _lines(folder / NAME) if "done" in line)
    return frozenset(end["source"] for end in ends if end["status"] == "ok")


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The lines that are whole: whoever was killed may have left half of the last."""
    if not path.is_file():
        return
    with write_errors(path), path.open(encoding="ascii", errors="replace") as file:
        for text in file:
            try:
                line = json.loads(text)
            except ValueError:
                continue
            if isinstance(line, dict):
                yield line


def _found(line: dict[str, Any]) -> tuple[Place, DetectionResult]:
    facts: dict[str, Any] = {"class_names": dict(zip(line["classes"], line["names"], strict=True))}
    if line["tracks"] is not None:
        facts["tracker_ids"] = line["tracks"]
    place = Place(line["source"], line["frame_index"], line["pts_seconds"])
    return place, DetectionResult(line["boxes"], line["scores"], line["classes"], facts)


def _state(source: str) -> list[int] | None:
    """What changes when a file does."""
    try:
        info = os.stat(source)  # noqa: PTH116  any text, also an address
    except (OSError, ValueError):
        return None
    return [info.st_size, info.st_mtime_ns]


def _difference(before: Any, asked: Mapping[str, Any]) -> str:
    if not isinstance(before, dict):
        return "it is no journal of a run"
    changed = [name for name in asked if before.get(name) != asked[name]]
    return (
        "the earlier run was asked for something else ("
        + ", ".join(f"{name}: {before.get(name)!r}, now {asked[name]!r}" for name in changed)
        + ")"
    )
