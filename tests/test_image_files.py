"""`decode_image`: right pixels or one typed error, whatever the file holds."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from image_corpus import BAD, GOOD, HEIGHT, RGB, WIDTH, bombs, jpeg_of_scans, run_python
from PIL import Image, ImageFile

from detkit.errors import DetkitError, ImageDecodeError
from detkit.image_files import decode_image


@pytest.mark.parametrize("name", GOOD)
def test_good_file_decodes_to_its_pixels(name: str, tmp_path: Path) -> None:
    data, expected, tolerance = GOOD[name]
    path = tmp_path / "picture.dat"  # the content decides, not the suffix
    path.write_bytes(data)
    for source in (path, str(path), data):
        image = decode_image(source)
        assert image.dtype == np.uint8
        assert image.shape == expected.shape
        assert image.flags.c_contiguous
        assert image.flags.writeable
        assert np.abs(image.astype(int) - expected).max() <= tolerance


@pytest.mark.parametrize("name", BAD)
def test_bad_content_is_one_typed_error_that_names_the_file(name: str, tmp_path: Path) -> None:
    path = tmp_path / "broken.jpg"
    path.write_bytes(BAD[name])
    with pytest.raises(ImageDecodeError, match=r"broken\.jpg") as caught:
        decode_image(path)
    assert len(str(caught.value)) < 400
    with pytest.raises(ImageDecodeError, match=f"image data of {len(BAD[name])} bytes"):
        decode_image(BAD[name])


def test_the_corpus_is_as_large_as_promised() -> None:
    assert len(GOOD) + len(BAD) >= 80


def _fifo(folder: Path) -> Path:
    os.mkfifo(folder / "pipe.jpg")
    return folder / "pipe.jpg"


def _loop(folder: Path) -> Path:
    (folder / "loop.jpg").symlink_to(folder / "loop.jpg")
    return folder / "loop.jpg"


def _huge(folder: Path) -> Path:
    with (folder / "huge.jpg").open("wb") as file:
        file.write(b"\xff\xd8\xff")
        file.truncate(5 << 30)  # sparse: takes no room
    return folder / "huge.jpg"


ODD_PLACES: dict[str, Callable[[Path], object]] = {
    "missing": lambda folder: folder / "missing.jpg",
    "directory": lambda folder: folder,
    "below a file": lambda folder: Path(__file__) / "x.jpg",
    "symlink loop": _loop,
    "sparse file of 5 GB": _huge,
    "long name": lambda folder: folder / ("x" * 300),
    "long path": lambda folder: folder / "/".join(["y" * 200] * 30),
    "nul in the name": lambda folder: str(folder / "a\0b.jpg"),
    "lone surrogate": lambda folder: str(folder / "\ud800.jpg"),
    "empty name": lambda folder: "",
    "url": lambda folder: "https://example.org/cat.jpg",
    "number": lambda folder: 3,
    "none": lambda folder: None,
    "array": lambda folder: RGB,
}
if hasattr(os, "mkfifo"):
    ODD_PLACES["fifo"] = _fifo
    ODD_PLACES["device"] = lambda folder: "/dev/zero"


@pytest.mark.parametrize("name", ODD_PLACES)
def test_odd_places_are_typed_errors(name: str, tmp_path: Path) -> None:
    with pytest.raises(ImageDecodeError) as caught:
        decode_image(ODD_PLACES[name](tmp_path))  # type: ignore[arg-type]
    assert len(str(caught.value)) < 400


def test_a_file_without_permission_is_a_typed_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: object, flags: int) -> int:
        raise PermissionError(13, "Permission denied", path)

    # Replaced rather than chmod-ed: the superuser may read everything.
    monkeypatch.setattr("os.open", refuse)
    with pytest.raises(ImageDecodeError, match=r"secret\.jpg.*Permission denied"):
        decode_image(tmp_path / "secret.jpg")


@pytest.mark.parametrize("name", ["tür 写真 🐟.jpg", "with space.jpg", "a'b\"c.jpg", "-rf.jpg"])
def test_unusual_names_are_fine(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(GOOD["png RGB"][0])
    np.testing.assert_array_equal(decode_image(tmp_path / name), RGB)


def test_a_symlink_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real.png").write_bytes(GOOD["png RGB"][0])
    (tmp_path / "link.png").symlink_to(tmp_path / "real.png")
    np.testing.assert_array_equal(decode_image(tmp_path / "link.png"), RGB)


@pytest.mark.parametrize(
    "source", ["https://user:hunter2@host/a.jpg?token=hunter2", Path("rtsp://u:hunter2@host/x")]
)
def test_a_password_in_a_url_is_not_repeated(source: str | Path) -> None:
    with pytest.raises(ImageDecodeError) as caught:
        decode_image(source)
    error: BaseException | None = caught.value
    while error is not None:
        assert "hunter2" not in repr(error)
        error = error.__cause__


def test_newlines_in_a_name_do_not_reach_the_message() -> None:
    with pytest.raises(ImageDecodeError) as caught:
        decode_image("a\nb.jpg")
    assert "\n" not in str(caught.value)


@pytest.fixture
def lenient_pillow() -> Iterator[None]:
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    yield
    ImageFile.LOAD_TRUNCATED_IMAGES = False


@pytest.mark.usefixtures("lenient_pillow")
def test_half_a_jpeg_is_an_error_even_where_pillow_was_told_to_accept_it() -> None:
    with pytest.raises(ImageDecodeError, match="no end"):
        decode_image(BAD["half jpeg"])


def test_pillow_open_is_never_called(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*args: object, **kwargs: object) -> None:
        raise AssertionError("PIL.Image.open was called")

    monkeypatch.setattr(Image, "open", forbidden)
    decode_image(GOOD["jpeg RGB"][0])
    with pytest.raises(DetkitError):
        decode_image(BAD["heic"])


def test_nothing_is_run_or_installed_beside_ultralytics(tmp_path: Path) -> None:
    (tmp_path / "x.heic").write_bytes(BAD["heic"])
    code = """
        import subprocess, sys
        def forbidden(*args, **kwargs):
            raise SystemExit("a process was started")
        from ultralytics.utils import patches
        subprocess.Popen = subprocess.run = subprocess.check_output = forbidden
        from detkit.image_files import decode_image
        from detkit.errors import ImageDecodeError
        try:
            decode_image(sys.argv[1])
        except ImageDecodeError as error:
            print("refused:", error)
    """
    done = run_python(code, str(tmp_path / "x.heic"))
    assert done.startswith("refused: ")


def test_decompression_bombs_are_refused_at_once_and_without_memory(tmp_path: Path) -> None:
    for name, data in bombs().items():
        (tmp_path / f"{name}.bin").write_bytes(data)
    code = """
        import sys, time
        from pathlib import Path
        import cv2
        from detkit.errors import ImageDecodeError
        from detkit.image_files import decode_image

        def peak_kb():
            lines = Path("/proc/self/status").read_text().splitlines()
            return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])

        for path in sorted(Path(sys.argv[1]).iterdir()):
            before, start = peak_kb(), time.perf_counter()
            try:
                decode_image(path)
                outcome = "decoded"
            except ImageDecodeError:
                outcome = "refused"
            print(path.stem, outcome, time.perf_counter() - start, peak_kb() - before, sep="|")
    """
    if not Path("/proc/self/status").exists():
        pytest.skip("peak memory is read from /proc")
    lines = run_python(code, str(tmp_path)).splitlines()
    assert len(lines) == len(bombs()) >= 12
    for line in lines:
        name, outcome, seconds, extra_kb = line.split("|")
        assert outcome == "refused", name
        assert float(seconds) <= 0.2, line
        assert int(extra_kb) <= 64 * 1024, line


def test_a_large_transparent_picture_takes_little_more_than_its_own_pixels(tmp_path: Path) -> None:
    if not Path("/proc/self/status").exists():
        pytest.skip("peak memory is read from /proc")
    picture = Image.new("LA", (6000, 5000), (200, 128))
    picture.paste((0, 0), (0, 4000, 6000, 5000))
    picture.save(tmp_path / "a.png", compress_level=1)
    code = """
        import sys
        from pathlib import Path
        from detkit.image_files import decode_image

        def peak_kb():
            lines = Path("/proc/self/status").read_text().splitlines()
            return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])

        before = peak_kb()
        pixels = decode_image(sys.argv[1])
        print(peak_kb() - before, pixels[3999, 0], pixels[4000, -1])
    """
    extra_kb, *colours = run_python(code, str(tmp_path / "a.png")).replace("]", "").split("[")
    assert [c.split() for c in colours] == [["227"] * 3, ["255"] * 3]
    # Pillow takes 4 bytes for each pixel and the result 3; all at once it was some 20 more.
    assert int(extra_kb) < 30_000 * 11


def test_a_jpeg_of_some_hundred_scans_is_fine() -> None:
    assert decode_image(jpeg_of_scans((16, 8), 499)).shape == (8, 16, 3)
    with pytest.raises(ImageDecodeError, match="more than 500 scans"):
        decode_image(jpeg_of_scans((16, 8), 500))


def test_max_pixels_is_the_callers_choice() -> None:
    data = GOOD["png RGB"][0]
    assert decode_image(data, max_pixels=WIDTH * HEIGHT).shape == RGB.shape
    with pytest.raises(ImageDecodeError, match="40 x 24 pixels are more than max_pixels=959"):
        decode_image(data, max_pixels=WIDTH * HEIGHT - 1)


@pytest.mark.parametrize(
    "name", ["jpeg RGB", "png RGB", "gif P", "tiff_lzw", "webp lossy", "bmp P"]
)
def test_t32_mutations_never_raise_anything_else(
    name: str, repetitions: Callable[[int, int], int]
) -> None:
    data = GOOD[name][0]
    random = np.random.default_rng(7)
    for _ in range(repetitions(150, 3400)):
        broken = bytearray(data)
        for at in random.integers(0, len(data), random.integers(1, 6)):
            broken[at] = random.integers(0, 256)
        try:
            image = decode_image(bytes(broken[: random.integers(1, len(data) + 1)]))
        except ImageDecodeError:
            continue
        assert image.ndim == 3
        assert image.dtype == np.uint8
