"""Whole jobs: one record per input, one pair per frame, whatever goes wrong in between."""

from __future__ import annotations

import asyncio
import csv
import itertools
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from detkit import AsyncDetector, DetectionResult
from detkit.errors import (
    ImageDecodeError,
    InvalidImageError,
    ItemFailure,
    SourceError,
    UnsupportedSettingError,
    VideoOpenError,
    VideoWriteError,
)
from detkit.pipeline import (
    ImageRecord,
    annotate_video,
    detect_images,
    detect_to_folder,
    detect_video,
    find_files,
    sort_inputs,
)
from detkit.pipeline.outputs import OutputNames
from detkit.testing import FakeDetector, numbered_image, result_number
from detkit.video import Frame, VideoSink, VideoSource


@pytest.fixture
def detector() -> Iterator[AsyncDetector]:
    with AsyncDetector(FakeDetector(), max_workers=2, default_batch_size=4) as made:
        yield made


def save(path: Path, number: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", numbered_image(number)[..., ::-1])[1].tobytes())
    return path


def make_clip(path: Path, num_frames: int = 20) -> Path:
    with VideoSink(path, 25) as sink:
        for index in range(num_frames):
            sink.write(np.full((48, 64, 3), index * 4, np.uint8))
    return path


def number(record: ImageRecord) -> int:
    assert record.result is not None
    return result_number(record.result)


async def collect(run: object) -> list[object]:
    return [item async for item in run]  # type: ignore[attr-defined]


def both_ways(make: object) -> tuple[list[object], list[object]]:
    """The same run with `for` and with `async for`."""
    return list(make()), asyncio.run(collect(make()))  # type: ignore[operator]


# -- names ------------------------------------------------------------------------------------


def test_a_folder_is_searched_in_order(tmp_path: Path) -> None:
    for name in ("b.png", "a.JPG", "z/c.png", "z/y/d.webp", ".hidden.png", ".git/e.png", "n.txt"):
        save(tmp_path / name, 1)
    found = [p.relative_to(tmp_path).as_posix() for p in find_files(tmp_path)]
    assert found == ["a.JPG", "b.png", "z/c.png", "z/y/d.webp"]
    assert [p.name for p in find_files(tmp_path, exclude=tmp_path / "z")] == ["a.JPG", "b.png"]
    assert [p.name for p in find_files(tmp_path / "*.png")] == ["b.png"]
    assert [p.name for p in find_files(f"{tmp_path}/**/*.png")] == ["b.png", "c.png"]


def test_what_stands_for_nothing_is_told(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="folder holds no file"):
        list(find_files(tmp_path))
    with pytest.raises(SourceError, match="pattern matches no file"):
        list(find_files(tmp_path / "*.png"))
    assert [p.name for p in find_files(tmp_path / "none.png")] == ["none.png"]


def test_a_file_with_a_pattern_in_its_name_is_a_file(tmp_path: Path) -> None:
    save(tmp_path / "a[1].png", 1)
    assert [p.name for p in find_files(tmp_path / "a[1].png")] == ["a[1].png"]


def test_a_folder_that_cannot_be_read_is_not_taken_for_an_empty_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, detector: AsyncDetector
) -> None:
    save(tmp_path / "a.png", 1)
    save(tmp_path / "locked" / "b.png", 2)
    scandir = os.scandir

    def refuse(path: str) -> object:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    good, bad = detect_images(detector, tmp_path)
    assert number(good) == 1
    assert bad.failure is not None
    assert bad.source == str(tmp_path / "locked")
    (alone,) = detect_images(detector, tmp_path / "locked")
    assert alone.failure is not None
    assert "no file of a known kind" not in str(alone.failure.exception)


def test_a_link_in_a_circle_ends(tmp_path: Path) -> None:
    save(tmp_path / "a.png", 1)
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "loop2").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "up").symlink_to(tmp_path, target_is_directory=True)
    save(tmp_path / "sub" / "[b]" / "b.png", 1)
    assert len(list(find_files(tmp_path))) == 2
    for pattern in ("**/*.png", "**/**/*.png", "**/*", "**"):
        found = [p.name for p in find_files(f"{tmp_path}/{pattern}")]
        assert found == ["a.png", "b.png"], pattern
    # A link that is named is followed.
    assert [p.name for p in find_files(f"{tmp_path}/sub/up/*/[[]b]/**")] == ["b.png"]


def test_a_pattern_may_begin_where_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path / "x" / "a.png", 1)
    monkeypatch.chdir(tmp_path)
    for pattern in ("**/*.png", "./**/*.png", "x/**", "x/*.png"):
        assert list(find_files(pattern)) == [Path("x/a.png")]


@pytest.mark.parametrize(
    "source",
    ["../../etc/passwd", "/etc/passwd", "..", "a/../..", "C:\\x\\y.jpg", "con.jpg", "NUL", "\0",
     "é" * 400, "a" * 400, "-rf", "x/.jpg", "", " . ", "a\nb.png", "<b>.png", "....//x"],
)  # fmt: skip
def test_an_output_never_leaves_its_folder(tmp_path: Path, source: str) -> None:
    path = OutputNames(tmp_path).take(source, ".jpg")
    assert path.resolve().parent == tmp_path.resolve()
    assert path.suffix == ".jpg"
    assert len(path.name) <= 100
    assert path.stem.lower() not in {"con", "nul", "", ".", ".."}
    path.write_bytes(b"")


def test_outputs_never_share_a_name(tmp_path: Path) -> None:
    names = OutputNames(tmp_path)
    sources = ["a/x.png", "b/x.png", "b/x.png", "X.png", "c/b-x.png", "x.jpeg", "x.png", "x-2.png"]
    taken = [names.take(source, ".jpg").name.lower() for source in sources]
    assert len(set(taken)) == len(sources)
    assert taken[:3] == ["x.jpg", "b-x.jpg", "x-2.jpg"]


# -- images -----------------------------------------------------------------------------------


def test_one_record_per_input_in_order(tmp_path: Path, detector: AsyncDetector) -> None:
    save(tmp_path / "one.png", 1)
    (tmp_path / "two.png").write_bytes(b"not an image")
    save(tmp_path / "three.png", 3)
    for index in range(20):
        save(tmp_path / "more" / f"{index:02}.png", 100 + index)
    sources = [
        numbered_image(9),
        tmp_path / "one.png",
        tmp_path / "two.png",
        tmp_path / "none.png",
        str(tmp_path / "three.png"),
        tmp_path / "more",
        tmp_path / "*.bmp",
        np.zeros((4, 4), np.uint8),
        numbered_image(10),
    ]
    for records in both_ways(lambda: detect_images(detector, sources)):
        assert [r.index for r in records] == list(range(28))
        assert [number(r) for r in records if r.failure is None] == [
            9, 1, 3, *range(100, 120), 10]  # fmt: skip
        failures = {r.index: r.failure for r in records if r.failure is not None}
        assert {i: (f.stage, type(f.exception)) for i, f in failures.items()} == {
            2: ("decode", ImageDecodeError),
            3: ("decode", ImageDecodeError),
            25: ("decode", SourceError),
            26: ("validate", InvalidImageError),
        }
        assert all(f.index == i and f.source == records[i].source for i, f in failures.items())
        assert records[0].source == "image 0"
        assert records[26].source == "image 26"
        assert records[1].result.metadata["source"] == str(tmp_path / "one.png")
        assert records[1].image is None
        assert "one.png" in repr(records[1])


def test_a_failing_detector_costs_only_its_image(tmp_path: Path) -> None:
    images = [numbered_image(n) for n in range(30)]
    with AsyncDetector(FakeDetector(fail_on={7, 8, 21})) as detector:
        records = list(detect_images(detector, images))
    assert [r.index for r in records if r.failure is not None] == [7, 8, 21]
    assert [number(r) for r in records if r.failure is None] == [
        n for n in range(30) if n not in (7, 8, 21)
    ]


def test_images_are_kept_when_asked(detector: AsyncDetector) -> None:
    image = numbered_image(5)
    (record,) = detect_images(detector, image, keep_images=True)
    assert np.array_equal(record.image, image)


def test_settings_belong_to_the_call(detector: AsyncDetector) -> None:
    (record,) = detect_images(detector, numbered_image(5), confidence_threshold=0.75)
    assert record.result.scores[0] == np.float32(0.75)


def test_an_endless_source_is_read_lazily_and_left_at_once(detector: AsyncDetector) -> None:
    taken = itertools.count()

    def endless() -> Iterator[object]:
        while True:
            yield numbered_image(next(taken))

    run = iter(detect_images(detector, endless(), max_in_flight=4))
    assert [number(next(run)) for _ in range(10)] == list(range(10))
    run.close()
    assert next(taken) < 40


def test_nothing_in_nothing_out(detector: AsyncDetector) -> None:
    assert both_ways(lambda: detect_images(detector, [])) == ([], [])


# -- videos -----------------------------------------------------------------------------------


def test_every_frame_in_order_with_its_result(tmp_path: Path, detector: AsyncDetector) -> None:
    path = make_clip(tmp_path / "clip.mp4")
    for pairs in both_ways(lambda: detect_video(detector, path)):
        assert [frame.frame_index for frame, _ in pairs] == list(range(20))
        for frame, result in pairs:
            assert isinstance(result, DetectionResult)
            red, green, blue = (int(v) for v in frame.image[0, 0])
            assert result_number(result) == red << 16 | green << 8 | blue
            assert result.metadata["frame_index"] == frame.frame_index
            assert result.metadata["pts_seconds"] == frame.pts_seconds
            assert result.metadata["source"] == str(path)


def test_stride_and_other_sources(tmp_path: Path, detector: AsyncDetector) -> None:
    video = VideoSource(make_clip(tmp_path / "clip.mp4"))
    pairs = list(detect_video(detector, video, stride=7))
    assert [frame.frame_index for frame, _ in pairs] == [0, 7, 14]
    assert video.status == "complete"
    frames = [Frame(numbered_image(n), "mine", n, None) for n in range(5)]
    assert [result_number(r) for _, r in detect_video(detector, frames)] == list(range(5))
    with pytest.raises(ValueError, match="stride"):
        detect_video(detector, frames, stride=0)
    with pytest.raises(VideoOpenError):
        detect_video(detector, tmp_path / "none.mp4")


def test_leaving_early_ends_the_decoder(tmp_path: Path, detector: AsyncDetector) -> None:
    path = make_clip(tmp_path / "clip.mp4", 60)

    async def leave() -> VideoSource:
        run = detect_video(detector, path)
        pairs = aiter(run)
        async for frame, _ in pairs:
            if frame.frame_index == 3:
                break
        await pairs.aclose()
        return run.source

    assert asyncio.run(leave()).status == "interrupted"
    run = detect_video(detector, path)
    for _ in run:
        break
    del run
    names = [t.name for t in threading.enumerate() if t.name == "detkit-read-ahead"]
    assert names == []


def test_a_failing_frame_ends_the_run_or_is_yielded(detector: AsyncDetector) -> None:
    frames = [Frame(numbered_image(n), "mine", n, n / 10) for n in range(9)]
    with AsyncDetector(FakeDetector(fail_on={4})) as failing:
        with pytest.raises(ValueError, match="told to fail"):
            list(detect_video(failing, frames))
        outcomes = [o for _, o in detect_video(failing, frames, on_error="yield")]
    assert [i for i, o in enumerate(outcomes) if isinstance(o, ItemFailure)] == [4]
    assert outcomes[4].source == "mine"


def test_an_error_of_the_source_comes_after_its_frames(detector: AsyncDetector) -> None:
    def frames() -> Iterator[Frame]:
        for n in range(5):
            yield Frame(numbered_image(n), "mine", n, None)
        raise OSError("cable pulled")

    seen = []
    with pytest.raises(OSError, match="cable pulled"):
        for frame, _ in detect_video(detector, frames()):
            seen.append(frame.frame_index)
    assert seen == list(range(5))


def test_a_slow_consumer_slows_the_decoder(detector: AsyncDetector) -> None:
    produced = itertools.count()

    def endless() -> Iterator[Frame]:
        while True:
            n = next(produced)
            yield Frame(numbered_image(n), "mine", n, None)

    run = iter(detect_video(detector, endless(), max_in_flight=3))
    for _ in range(5):
        next(run)
    run.close()
    # Five taken, three in the engine's window, four ahead, one in the reader's hand, and the
    # images that the window took in beside each result.
    assert next(produced) <= 5 + 3 + 4 + 1 + 5


def test_annotate_video(tmp_path: Path, detector: AsyncDetector) -> None:
    source = make_clip(tmp_path / "clip.mp4")
    seen: list[int] = []
    summary = asyncio.run(
        annotate_video(
            detector,
            source,
            tmp_path / "out.mp4",
            on_frame=lambda frame, outcome: seen.append(frame.frame_index),
        )
    )
    assert seen == list(range(20))
    assert (summary.num_frames, summary.num_detections, summary.status) == (20, 20, "complete")
    assert summary.frames_per_second > 0
    before, after = VideoSource(source), VideoSource(summary.output)
    assert after.fps == before.fps
    assert [f.pts_seconds for f in after] == [f.pts_seconds for f in before]


def test_annotate_video_with_failing_frames_and_sizes(tmp_path: Path) -> None:
    def frames() -> Iterator[Frame]:
        for n in range(6):
            yield Frame(numbered_image(n, (40, 60) if n < 3 else (20, 30)), "mine", n, n / 10)

    with AsyncDetector(FakeDetector(fail_on={1, 4})) as detector:
        summary = asyncio.run(annotate_video(detector, frames(), tmp_path / "a.mp4", fps=10))
    assert (summary.num_frames, summary.num_failed) == (6, 2)
    assert {f.image.shape for f in VideoSource(tmp_path / "a.mp4")} == {(40, 60, 3)}


def test_an_error_while_drawing_is_the_one_that_is_raised(
    tmp_path: Path, detector: AsyncDetector
) -> None:
    def draw(image: object, result: object) -> object:
        raise ZeroDivisionError("in draw")

    source = make_clip(tmp_path / "clip.mp4")
    with pytest.raises(ZeroDivisionError, match="in draw"):
        asyncio.run(annotate_video(detector, source, tmp_path / "o.mp4", draw=draw))  # type: ignore[arg-type]
    assert not (tmp_path / "o.mp4").exists()


def test_a_source_without_frames_gives_no_video(tmp_path: Path, detector: AsyncDetector) -> None:
    with pytest.raises(VideoWriteError, match="no frame"):
        asyncio.run(annotate_video(detector, [], tmp_path / "o.mp4"))


def test_cancelling_keeps_what_was_written(tmp_path: Path, detector: AsyncDetector) -> None:
    source = make_clip(tmp_path / "clip.mp4", 60)

    async def cancelled() -> None:
        task = asyncio.ensure_future(
            annotate_video(
                detector,
                source,
                tmp_path / "o.mp4",
                on_frame=lambda frame, _: frame.frame_index == 30 and task.cancel(),
            )
        )
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled())
    assert not (tmp_path / "o.mp4").exists()
    assert sum(1 for _ in VideoSource(tmp_path / "o.mp4.partial")) >= 29


# -- folders ----------------------------------------------------------------------------------


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_detect_to_folder(tmp_path: Path, detector: AsyncDetector) -> None:
    inputs_dir, out = tmp_path / "in", tmp_path / "in" / "out"
    save(inputs_dir / "a.png", 1)
    save(inputs_dir / "sub" / "a.png", 2)
    (inputs_dir / "bad.jpg").write_bytes(b"no")
    make_clip(inputs_dir / "clip.mp4")
    (inputs_dir / "bad.mp4").write_bytes(b"no")
    save(out / "old.png", 3)
    inputs = sort_inputs([str(inputs_dir), "nothing*.png"], out)
    assert (len(inputs.images), len(inputs.videos), len(inputs.missing)) == (3, 2, 1)
    progress: list[tuple[str, int]] = []
    report = asyncio.run(
        detect_to_folder(
            detector,
            inputs,
            out,
            facts={"detector": "fake"},
            on_progress=lambda source, num: progress.append((source, num)),
        )
    )
    assert report.is_complete
    assert report.num_pictures == 22
    assert sum(num for _, num in progress) == 23
    assert {Path(o.source).name for o in report.failed} == {"bad.jpg", "bad.mp4", "nothing*.png"}
    images = {row["source"]: row for row in rows(out / "images.csv")}
    assert len(images) == 6
    assert images[str(inputs_dir / "clip.mp4")]["num_frames"] == "20"
    outputs = [row["output"] for row in images.values() if row["output"]]
    assert sorted(outputs) == ["annotated/a.png", "annotated/clip.mp4", "annotated/sub-a.png"]
    assert all((out / output).is_file() for output in outputs)
    assert len(rows(out / "detections.csv")) == 22
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert summary["detector"] == "fake"
    assert summary["status"] == "complete"
    assert summary["failed"] == 3
    assert not list(out.rglob("*partial*"))


def test_no_name_of_a_file_costs_the_tables(
    tmp_path: Path, detector: AsyncDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = ["=1+1.png", "a\nb.png", "caf\udce9.png"]
    save(tmp_path / names[0], 1)
    for name in names[1:]:
        try:
            (tmp_path / name).write_bytes((tmp_path / names[0]).read_bytes())
        except OSError:
            pytest.skip("this file system takes UTF-8 names only")
    (tmp_path / "bad\udce9.png").write_bytes(b"no")
    out = tmp_path / "out"
    report = asyncio.run(detect_to_folder(detector, sort_inputs(["."], out), out))
    assert report.is_complete
    assert [o.status for o in report.outcomes] == ["ok", "ok", "failed", "ok"]
    shown = ["'=1+1.png", "a\nb.png", r"bad\udce9.png", r"caf\udce9.png"]
    assert [row["source"] for row in rows(out / "images.csv")] == shown
    assert [row["source"] for row in rows(out / "detections.csv")] == [*shown[:2], shown[3]]
    (failure,) = json.loads((out / "summary.json").read_text(encoding="utf-8"))["failures"]
    assert failure["source"] == "bad\udce9.png"


def test_detect_to_folder_cancelled(tmp_path: Path, detector: AsyncDetector) -> None:
    for index in range(30):
        save(tmp_path / "in" / f"{index:02}.png", index)
    inputs = sort_inputs([str(tmp_path / "in")], tmp_path / "out")

    async def cancelled() -> None:
        def stop(source: str, num: int) -> None:
            if source.endswith("10.png"):
                task.cancel()

        task = asyncio.ensure_future(
            detect_to_folder(detector, inputs, tmp_path / "out", on_progress=stop)
        )
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled())
    done = len(rows(tmp_path / "out" / "images.csv"))
    assert 11 <= done < 30
    assert len(rows(tmp_path / "out" / "detections.csv")) == done
    summary = json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))
    assert summary["status"] == "interrupted"


# -- scaled decoding --------------------------------------------------------------------------


class Bright(FakeDetector):
    """Finds the box round everything bright, and looks at images of 60 rows or columns only."""

    seen: list[tuple[int, ...]]

    def __init__(self) -> None:
        super().__init__()
        self.seen = []

    def replicate(self) -> None:
        return None

    def scaled_hw(self, image_hw: tuple[int, int]) -> tuple[int, int]:
        scale = 60 / max(image_hw)
        return round(image_hw[0] * scale), round(image_hw[1] * scale)

    def detect(self, image: np.ndarray, **_: object) -> DetectionResult:
        self.seen.append(image.shape[:2])
        y, x = np.nonzero(image[..., 0] > 125)
        facts = {"image_hw": image.shape[:2]}
        return DetectionResult([[x.min(), y.min(), x.max() + 1, y.max() + 1]], [1], [0], facts)

    def detect_batch(self, images: list[np.ndarray], **_: object) -> list[DetectionResult]:
        return [self.detect(image) for image in images]


def save_photo(path: Path) -> np.ndarray:
    image = np.full((360, 480, 3), 30, np.uint8)
    image[40:120, 160:400] = 220
    cv2.imwrite(str(path), image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
    return image


def test_a_file_is_decoded_no_finer_than_it_is_looked_at(tmp_path: Path) -> None:
    image = save_photo(tmp_path / "a.jpg")
    save_photo(tmp_path / "b.png")
    (tmp_path / "broken.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:-99])
    sources = [tmp_path / "a.jpg", tmp_path / "b.png", image, tmp_path / "broken.jpg"]
    base = Bright()
    with AsyncDetector(base) as detector:
        for records in both_ways(lambda: detect_images(detector, sources)):
            assert base.seen == [(45, 60), (360, 480), (360, 480)] * 2
            assert [r.failure is None for r in records] == [True, True, True, False]
            for record in records[:3]:
                assert record.result.boxes.tolist() == [[160, 40, 400, 120]]
                assert record.result.metadata["image_hw"] == (360, 480)
            assert records[0].result.metadata["source"] == str(tmp_path / "a.jpg")


@pytest.mark.parametrize("options", [{"decode": "exact"}, {"keep_images": True}])
def test_exact_decoding_when_asked_or_when_the_image_is_kept(
    tmp_path: Path, options: dict[str, object]
) -> None:
    save_photo(tmp_path / "a.jpg")
    base = Bright()
    with AsyncDetector(base) as detector:
        (record,) = detect_images(detector, tmp_path / "a.jpg", **options)
    assert base.seen == [(360, 480)]
    assert record.result.metadata["image_hw"] == (360, 480)
    if record.image is not None:
        assert record.image.shape == (360, 480, 3)


def test_a_detector_that_is_not_wrapped_is_told_how(tmp_path: Path) -> None:
    bare: Any = FakeDetector()
    for detect in (detect_images, detect_video):
        with pytest.raises(TypeError, match=r"got FakeDetector: write AsyncDetector\(detector\)"):
            detect(bare, tmp_path)


@pytest.mark.parametrize("answer", [None, "nonsense", (1, 2, 3)])
def test_a_detector_that_does_not_say_what_it_needs_gets_all(
    tmp_path: Path, answer: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_photo(tmp_path / "a.jpg")
    monkeypatch.setattr(Bright, "scaled_hw", lambda self, image_hw: answer)
    base = Bright()
    with AsyncDetector(base) as detector:
        (record,) = detect_images(detector, tmp_path / "a.jpg")
    assert base.seen == [(360, 480)]
    assert record.failure is None


def test_there_are_two_ways_to_decode(detector: AsyncDetector) -> None:
    with pytest.raises(UnsupportedSettingError, match="'auto' or 'exact', got 'fast'"):
        detect_images(detector, [], decode="fast")
