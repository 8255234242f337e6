"""The two real videos, where they are at hand, and what is printed behind Python's back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from stream_server import SECRET

REAL_VIDEOS = Path(__file__).parents[3] / "shared" / "videos"


@pytest.fixture(scope="session")
def real_video() -> Callable[[str], Path]:
    def find(name: str) -> Path:
        path = REAL_VIDEOS / name
        if not path.is_file():
            pytest.skip(f"needs the real video {name} in ../shared/videos beside the repository")
        return path

    return find


@pytest.fixture
def nothing_secret_is_printed(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    yield
    printed = capfd.readouterr()
    assert SECRET not in printed.out + printed.err
    assert printed.err == ""
