"""The page's section on video files says what the result files say, old ones too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.video_report import video_section

FILES: dict[str, Any] = {
    "belt": {
        "file_to_file": {
            "frames_per_s": {"supervision_video": 50.0, "detkit_auto": 100.0},
            "detkit_over": {"supervision_video": 2.0},
            "targets": {"supervision_video": 1.3},
        }
    }
}
WRITTEN = {"codec": "mpeg4", "pixels": "yuv420p", "container": ".mp4", "kb_per_frame": 31.1}


def test_nothing_measured_is_no_section(tmp_path: Path) -> None:
    assert video_section(tmp_path) == ""


def test_ratios_stand_beside_what_was_asked_for(tmp_path: Path) -> None:
    (tmp_path / "video_benchmark.json").write_text(json.dumps({"files": FILES}))
    page = video_section(tmp_path)
    assert "### From a file to an annotated file, belt" in page
    assert "| supervision, process_video | 50.0 | 2.00x | 1.3x |" in page
    assert "writes" not in page.split("###")[1]


def test_files_bounds_and_drawing_are_told_where_they_are_known(tmp_path: Path) -> None:
    said = FILES["belt"]["file_to_file"] | {
        "written": {"supervision_video": WRITTEN},
        "bounds": {"raw_core_ms": 10.0, "decode_core_ms": 1.25, "highest_share_of_raw": 0.889},
    }
    (tmp_path / "video_benchmark.json").write_text(
        json.dumps({"files": {"belt": {"file_to_results": said}}})
    )
    drawing = {
        "boxes": {
            "5": {
                "ms_per_frame": {"detkit": 1.0, "supervision": 2.0},
                "detkit_over_supervision": 2.0,
            }
        },
        "import": {"detkit": {"seconds": 0.2, "mib": 13}},
    }
    (tmp_path / "drawing_benchmark.json").write_text(json.dumps(drawing))
    page = video_section(tmp_path)
    assert "| 50.0 | 2.00x | 1.3x | mpeg4 in .mp4, 31.1 kB |" in page
    assert "at most 0.89x of inference alone" in page
    assert "| 5 | 1.00 | 2.00 | 2.00x |" in page
    assert "detkit 0.2 s and 13 MiB" in page
