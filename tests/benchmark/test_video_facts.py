"""What the video benchmark says beside its ratios: files that were written, floors and bounds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.video_facts import bounds, written_video
from detkit.video import VideoSink


def write(path: Path, num_frames: int = 10) -> None:
    with VideoSink(path) as sink:
        for level in range(num_frames):
            sink.write(np.full((48, 64, 3), 20 * level, np.uint8))


def test_what_a_contestant_wrote(tmp_path: Path) -> None:
    assert written_video(tmp_path) is None
    write(tmp_path / "deeper" / "out.mp4")
    found = written_video(tmp_path)
    assert found is not None
    assert (found.codec, found.pixels, found.container) == ("h264", "yuv420p", ".mp4")
    assert found.is_for_browsers
    size = (tmp_path / "deeper" / "out.mp4").stat().st_size
    assert found.kb_per_frame == pytest.approx(size / 10_000, abs=0.05)
    write(tmp_path / "another.mp4")
    assert written_video(tmp_path) is None  # which of them is meant?


def test_who_decodes_too_is_behind_inference_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "clip.mp4")
    found = bounds(tmp_path / "clip.mp4", cores=2, raw_per_second=200.0)
    assert found["raw_core_ms"] == 10.0
    assert found["decode_core_ms"] > 0
    share = 10 / (10 + found["decode_core_ms"])
    assert found["highest_share_of_raw"] == pytest.approx(share, abs=1e-3)
    assert f"at most {share:.2f}" in capsys.readouterr().out
