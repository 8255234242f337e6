"""The two real videos, where they are at hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

REAL_VIDEOS = Path(__file__).parents[3] / "shared" / "videos"


@pytest.fixture(scope="session")
def real_video() -> Callable[[str], Path]:
    def find(name: str) -> Path:
        path = REAL_VIDEOS / name
        if not path.is_file():
            pytest.skip(f"needs the real video {name} in ../shared/videos beside the repository")
        return path

    return find
