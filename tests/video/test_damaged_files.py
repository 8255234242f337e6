"""Forty damaged files: an exact count, the right verdict, one typed error, and never a hang."""

from __future__ import annotations

import pytest
from damaged_files import Damaged, damaged_files

from detkit import AsyncDetector
from detkit.errors import VideoOpenError
from detkit.pipeline import detect_video
from detkit.testing import FakeDetector
from detkit.video import VideoSource

NUM_FILES = 40


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Damaged]:
    return list(damaged_files(tmp_path_factory.mktemp("damaged")))


def test_there_are_forty(files: list[Damaged]) -> None:
    assert len(files) == NUM_FILES
    assert len({file.path for file in files}) == NUM_FILES


@pytest.mark.parametrize("number", range(NUM_FILES))
def test_every_count_is_exact_and_every_verdict_true(files: list[Damaged], number: int) -> None:
    file = files[number]
    try:
        video = VideoSource(file.path)
    except VideoOpenError as error:
        assert file.may_refuse or not file.statuses, f"{file.name}: {error}"
        assert file.path.name in str(error)
        return
    count = sum(1 for _ in video)
    assert file.statuses, f"{file.name} was opened, with {count} frames"
    assert video.num_frames == count
    assert file.at_least <= count <= file.at_most, file.name
    assert video.status in file.statuses, file.name


def test_the_ledger_of_a_run_says_the_same(files: list[Damaged]) -> None:
    with AsyncDetector(FakeDetector()) as detector:
        for file in files:
            if not file.statuses or file.may_refuse:
                continue
            run = detect_video(detector, file.path)
            count = sum(1 for _ in run)
            assert run.ledger.captured == run.ledger.detected == count, file.name
            assert file.at_least <= count <= file.at_most, file.name
            assert run.ledger.status in file.statuses, file.name
            assert run.ledger.summary()["damaged"] == run.source.num_damaged
