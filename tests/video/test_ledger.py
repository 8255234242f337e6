"""`FrameLedger`: every frame ends once, and the sums agree."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from video_clips import write_video

from detkit import AsyncDetector
from detkit.pipeline import detect_video
from detkit.testing import FakeDetector, Gates, numbered_image, result_number
from detkit.video import Frame, FrameLedger, SourceEvent


def balanced(ledger: FrameLedger) -> bool:
    dropped = sum(ledger.dropped.values())
    return ledger.captured == ledger.detected + ledger.failed + dropped


def test_every_fate_is_counted_and_timed() -> None:
    ledger = FrameLedger("cam", expected_frames=5)
    tickets = [ledger.capture(i, i / 10, 100.0 + i) for i in range(5)]
    assert ledger.take(tickets[0], 100.5) == pytest.approx(0.5)
    ledger.settle(tickets[0], 101.5)
    ledger.take(tickets[1], 102.0)
    ledger.settle(tickets[1], 102.25, failed=True)
    ledger.drop(tickets[2], "newer")
    ledger.drop(tickets[3], "age")
    ledger.finish("truncated")
    assert (ledger.captured, ledger.detected, ledger.failed) == (5, 1, 1)
    assert ledger.dropped == {"newer": 1, "age": 1, "left": 1}
    assert balanced(ledger)
    rows = {row["frame_index"]: row for row in ledger.rows()}
    assert rows[0]["fate"] == "detected"
    assert (rows[0]["age_s"], rows[0]["latency_s"]) == pytest.approx((0.5, 1.5))
    assert rows[1]["fate"] == "failed"
    assert rows[4]["reason"] == "left"
    assert "truncated, 5 captured, 1 detected, 1 failed" in repr(ledger)


def test_a_whole_file(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", 20)
    with AsyncDetector(FakeDetector()) as detector:
        run = detect_video(detector, path, stride=3)
        assert len(list(run)) == 7
    assert run.ledger.status == "complete"
    assert run.ledger.expected_frames == 20
    assert (run.ledger.captured, run.ledger.detected) == (20, 7)
    assert run.ledger.dropped == {"stride": 13}
    assert balanced(run.ledger)


def test_leaving_early_is_an_interruption(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", 60)

    async def leave() -> FrameLedger:
        async with AsyncDetector(FakeDetector()) as detector:
            run = detect_video(detector, path, max_in_flight=2)
            pairs = aiter(run)
            async for frame, _ in pairs:
                if frame.frame_index == 5:
                    break
            await pairs.aclose()
        return run.ledger

    ledger = asyncio.run(leave())
    assert ledger.status == "interrupted"
    assert ledger.detected == 6
    assert balanced(ledger)


def test_latest_detects_the_newest_frame_and_counts_the_rest() -> None:
    gates = Gates()
    all_read = threading.Event()

    def camera() -> Iterator[Frame]:
        for n in range(50):
            yield Frame(numbered_image(n), "cam", n, n / 60)
            if n == 0:
                # The detector has the first frame and is slow; the camera does not wait.
                gates.at("in_detector").wait_for_arrivals(1)
        all_read.set()

    fake = FakeDetector(gates=gates)
    with AsyncDetector(fake, max_workers=1) as detector:
        gates.at("in_detector").close()
        opener = threading.Thread(target=lambda: (all_read.wait(10), gates.open_all()))
        opener.start()
        run = detect_video(detector, camera(), policy="latest")
        numbers = [result_number(result) for _, result in run]
        opener.join()
    assert numbers[0] == 0
    assert numbers[-1] == 49
    assert numbers == sorted(numbers)
    assert len(numbers) <= 4
    assert run.ledger.dropped["newer"] == 50 - len(numbers)
    assert run.ledger.source_id == "cam"
    assert balanced(run.ledger)


def test_frames_that_are_too_old_are_dropped() -> None:
    frames = [Frame(numbered_image(n), "cam", 0, None) for n in range(6)]
    with AsyncDetector(FakeDetector()) as detector:
        run = detect_video(detector, frames, max_age_s=-1.0)
        assert list(run) == []
        assert run.ledger.dropped == {"age": 6}
        assert len(list(detect_video(detector, frames, max_age_s=60))) == 6


def test_a_summary_and_events_without_a_source() -> None:
    ledger = FrameLedger("cam")
    for number in range(100):
        ticket = ledger.capture(number, None, float(number))
        ledger.take(ticket, number + number / 100)
        ledger.settle(ticket, number + 2 * number / 100)
    ledger.note(SourceEvent("lost", 100, "cable pulled"))
    ledger.note(SourceEvent("reconnected", 100, gap_s=2.5))
    ledger.note(SourceEvent("reconnected", 100, gap_s=0.5))
    ledger.drop(ledger.capture(100, None, 100.0), "newer")
    ledger.finish("interrupted")
    summary = ledger.summary()
    assert summary["status"] == "interrupted"
    assert (summary["captured"], summary["detected"], summary["failed"]) == (101, 100, 0)
    assert (summary["dropped_newer"], summary["dropped_age"]) == (1, 0)
    assert (summary["reconnects"], summary["gap_s"]) == (2, 3.0)
    assert summary["age_median_s"] == pytest.approx(0.49)
    assert summary["age_p95_s"] == pytest.approx(0.94)
    assert summary["latency_p95_s"] == pytest.approx(1.88)
    assert [event.kind for event in ledger.events] == ["lost", "reconnected", "reconnected"]
    assert "2 reconnects" in repr(ledger)


def test_an_empty_summary() -> None:
    summary = FrameLedger("cam", expected_frames=3).summary()
    assert summary["age_p95_s"] is None
    assert summary["expected"] == 3


def test_old_entries_are_forgotten_and_counts_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("detkit.video.ledger._MAX_ENTRIES", 3)
    ledger = FrameLedger("cam")
    for number in range(8):
        ticket = ledger.capture(number, None if number % 2 else number / 10, float(number))
        ledger.take(ticket, number + 0.25)
        ledger.settle(ticket, number + 0.5)
        rows = list(ledger.rows())
        assert [row["frame_index"] for row in rows] == list(range(max(0, number - 2), number + 1))
        assert rows[-1]["pts_seconds"] == (None if number % 2 else number / 10)
        assert (rows[-1]["age_s"], rows[-1]["latency_s"], rows[-1]["reason"]) == (0.25, 0.5, None)
    assert ledger.detected == 8
