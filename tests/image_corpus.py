"""Image files made in memory: good ones with their pixels, bad ones, and bombs."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import textwrap
import zlib

import cv2
import numpy as np
from PIL import Image, ImageOps

HEIGHT, WIDTH = 24, 40
ORIENTATION = 0x0112


def gradient() -> np.ndarray:
    """A picture without symmetry, smooth enough for JPEG."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    return np.stack([x * 6, y * 10, (x + y) * 4], axis=2).clip(0, 255).astype(np.uint8)


RGB = gradient()


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def picture(mode: str = "RGB") -> Image.Image:
    return Image.fromarray(RGB).convert(mode)


def exif_with(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


def upright(orientation: int) -> np.ndarray:
    """The reference for a rotated camera: Pillow's own implementation."""
    image = picture()
    image.getexif()[ORIENTATION] = orientation
    return np.asarray(ImageOps.exif_transpose(image))


def as_rgb(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB"))


def animation() -> list[Image.Image]:
    return [picture(), Image.new("RGB", (WIDTH, HEIGHT), "red")]


def grey16() -> np.ndarray:
    return (RGB[:, :, 0].astype(np.uint16) << 8) | 0x55


def deep_colour() -> bytes:
    return cv2.imencode(".png", RGB[:, :, ::-1].astype(np.uint16) * 257)[1].tobytes()


def pages(kind: str, **options: object) -> bytes:
    return encoded(picture(), kind, save_all=True, append_images=animation()[1:], **options)


def translucent() -> Image.Image:
    image = picture("RGBA")
    image.putalpha(Image.fromarray(RGB[:, :, 1]))
    return image


def over_white(image: Image.Image) -> np.ndarray:
    white = Image.new("RGBA", image.size, "white")
    return np.asarray(Image.alpha_composite(white, image.convert("RGBA")).convert("RGB"))


def tiff_16bit_white_is_zero() -> bytes:
    pixels = grey16().astype("<u2").tobytes()
    entries = {256: WIDTH, 257: HEIGHT, 258: 16, 259: 1, 262: 0, 277: 1, 278: HEIGHT}
    entries |= {273: 8, 279: len(pixels)}
    directory = struct.pack("<H", len(entries))
    for tag, value in sorted(entries.items()):
        directory += struct.pack("<HHII", tag, 4, 1, value)
    return b"II*\0" + struct.pack("<I", 8 + len(pixels)) + pixels + directory + b"\0" * 4


Good = tuple[bytes, np.ndarray, int]  # file, expected pixels, tolerance


def good_files() -> dict[str, Good]:
    """Files that must decode, with what must come out."""
    lossless: dict[str, Good] = {
        f"{kind} {mode}": (encoded(picture(mode), kind), as_rgb(picture(mode)), 0)
        for kind, modes in {
            "png": ["RGB", "L", "P", "1"],
            "bmp": ["RGB", "L", "P", "1"],
            "tiff": ["RGB", "L", "P", "1", "CMYK"],
            "gif": ["L", "P", "1"],
        }.items()
        for mode in modes
    }
    jpeg = {
        f"jpeg {mode}": (encoded(picture(mode), "jpeg", quality=98), as_rgb(picture(mode)), 12)
        for mode in ["RGB", "L", "CMYK"]
    }
    jpeg |= {
        f"jpeg {name}": (encoded(picture(), "jpeg", quality=98, **options), RGB, 16)
        for name, options in {
            "progressive": {"progressive": True},
            "optimised": {"optimize": True},
            "4:4:4": {"subsampling": 0},
            "restart markers": {"restart_marker_blocks": 1},
            "icc": {"icc_profile": b"\0" * 600},
            "comment": {"comment": b"\xff\xd9 not the end"},
            "thumbnail-like exif": {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0" + b"\xff\xd9" * 9},
            "broken exif": {"exif": b"Exif\0\0" + b"\xff" * 40},
        }.items()
    }
    jpeg["jpeg trailer"] = (encoded(picture(), "jpeg", quality=98) + b"trailer" * 99, RGB, 16)
    turned: dict[str, Good] = {}
    for turn in range(1, 9):
        exif = exif_with(turn)
        turned[f"jpeg exif {turn}"] = (
            encoded(picture(), "jpeg", quality=98, exif=exif),
            upright(turn),
            16,
        )
        turned[f"png exif {turn}"] = (encoded(picture(), "png", exif=exif), upright(turn), 0)
        turned[f"tiff exif {turn}"] = (encoded(picture(), "tiff", exif=exif), upright(turn), 0)
        turned[f"webp exif {turn}"] = (
            encoded(picture(), "webp", lossless=True, exif=exif),
            upright(turn),
            0,
        )
    deep = Image.fromarray(grey16())
    shown = np.repeat(RGB[:, :, :1], 3, axis=2)
    palette = picture("P")
    gif = palette.copy()
    first = as_rgb(animation()[0])
    other: dict[str, Good] = {
        "png 16-bit grey": (encoded(deep, "png"), shown, 0),
        "tiff 16-bit grey": (encoded(deep, "tiff"), shown, 0),
        "tiff 16-bit white is zero": (tiff_16bit_white_is_zero(), 255 - shown, 0),
        "png 16-bit rgb": (deep_colour(), RGB, 0),
        "png alpha": (encoded(translucent(), "png"), over_white(translucent()), 1),
        "tiff alpha": (encoded(translucent(), "tiff"), over_white(translucent()), 1),
        "webp alpha": (
            encoded(translucent(), "webp", lossless=True, exact=True),
            over_white(translucent()),
            1,
        ),
        "png grey alpha": (
            encoded(translucent().convert("LA"), "png"),
            over_white(translucent().convert("LA").convert("RGBA")),
            1,
        ),
        "png opaque alpha": (encoded(picture("RGBA"), "png"), RGB, 0),
        "png transparent palette": (
            encoded(palette, "png", transparency=palette.getpixel((0, 0))),
            over_white(_with_transparency(palette)),
            0,
        ),
        "gif transparent": (
            encoded(gif, "gif", transparency=gif.getpixel((0, 0))),
            over_white(_with_transparency(gif)),
            0,
        ),
        "png colour key": (encoded(picture(), "png", transparency=(0, 0, 0)), _keyed(), 0),
        "png interlaced": (_interlaced_png(), RGB, 0),
        "apng": (pages("png"), first, 0),
        "webp animated": (
            pages("webp", lossless=True),
            first,
            0,
        ),
        "gif animated": (
            encoded(picture("P"), "gif", save_all=True, append_images=[picture("P").rotate(180)]),
            as_rgb(picture("P")),
            0,
        ),
        "tiff pages": (pages("tiff"), first, 0),
        "webp lossless": (encoded(picture(), "webp", lossless=True), RGB, 0),
        "webp lossy": (encoded(picture(), "webp", quality=95), RGB, 24),
        "mpo": (pages("mpo", quality=98), RGB, 16),
        "one pixel": (encoded(picture().crop((0, 0, 1, 1)), "png"), RGB[:1, :1], 0),
    }
    for compression in ["tiff_lzw", "tiff_deflate", "packbits"]:
        data = encoded(picture(), "tiff", compression=compression)
        other[compression] = (data, RGB, 0)
    return lossless | jpeg | turned | other


def _with_transparency(image: Image.Image) -> Image.Image:
    copy = image.copy()
    copy.info["transparency"] = image.getpixel((0, 0))
    return copy.convert("RGBA")


def _keyed() -> np.ndarray:
    expected = RGB.copy()
    expected[(RGB == 0).all(axis=2)] = 255
    return expected


def png_chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png_of(size_wh: tuple[int, int], data: bytes, interlace: int = 0, extra: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", *size_wh, 8, 2, 0, 0, interlace)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + extra
        + png_chunk(b"IDAT", zlib.compress(data, 9))
        + png_chunk(b"IEND", b"")
    )


def _interlaced_png() -> bytes:
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4)]
    passes += [(0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    rows = b""
    for x, y, step_x, step_y in passes:
        for row in RGB[y::step_y, x::step_x]:
            rows += b"\0" + row.tobytes()
    return png_of((WIDTH, HEIGHT), rows, interlace=1)


GOOD = good_files()


def half(name: str) -> bytes:
    data = GOOD[name][0]
    return data[: len(data) // 2]


def bad_contents() -> dict[str, bytes]:
    jpeg = encoded(Image.effect_noise((200, 200), 80).convert("RGB"), "jpeg")
    png = GOOD["png RGB"][0]
    return {
        "empty": b"",
        "one byte": b"\xff",
        "text": b"not an image, sorry\n" * 40,
        "html": b"<!doctype html><script>alert(1)</script>",
        "nul bytes": bytes(5000),
        "magic only jpeg": b"\xff\xd8\xff",
        "magic only png": b"\x89PNG\r\n\x1a\n",
        "magic only gif": b"GIF89a",
        "magic only bmp": b"BM",
        "magic only tiff": b"II*\0",
        "magic only webp": b"RIFF\0\0\0\0WEBP",
        "half jpeg": jpeg[: len(jpeg) // 2],
        "jpeg without its last 100 bytes": jpeg[:-100],
        "jpeg without its end marker": jpeg[:-2],
        "jpeg with a tail of zeros": jpeg[: len(jpeg) // 2] + bytes(len(jpeg) // 2),
        "half progressive": half("jpeg progressive"),
        "half png": half("png RGB"),
        "half interlaced png": half("png interlaced"),
        "half apng": half("apng")[:200],
        "half gif": half("gif P")[: -len(half("gif P")) // 3],
        "half bmp": half("bmp RGB"),
        "half tiff": half("tiff RGB"),
        "half lzw tiff": half("tiff_lzw"),
        "half webp": half("webp lossless"),
        "half lossy webp": half("webp lossy"),
        "png with a flipped byte": png[:60] + bytes([png[60] ^ 0xFF]) + png[61:],
        "png without pixels": png_of((8, 8), b""),
        "png of size 0": png_of((0, 8), b""),
        "png cut in its header": png[:20],
        "heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(500),
        "avif": b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf" + bytes(500),
        "pdf": b"%PDF-1.7\n" + bytes(100),
        "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "psd": b"8BPS\0\x01" + bytes(100),
        "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        "fits": b"SIMPLE  =                    T".ljust(2880),
        "tiff of floats": encoded(Image.new("F", (8, 8)), "tiff"),
        "tiff of 32-bit integers": encoded(Image.new("I", (8, 8)), "tiff"),
        "zip": b"PK\x03\x04" + bytes(100),
        "pickle": b"\x80\x04\x95" + bytes(50),
    }


BAD = bad_contents()


def jpeg_of(size_wh: tuple[int, int]) -> bytes:
    data = bytearray(encoded(Image.new("RGB", (16, 16)), "jpeg"))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", size_wh[1], size_wh[0])
    return bytes(data)


def gif_of(screen_wh: tuple[int, int], frame_wh: tuple[int, int]) -> bytes:
    screen = b"GIF89a" + struct.pack("<HHBBB", *screen_wh, 0x80, 0, 0) + bytes(6)
    frame = b"," + struct.pack("<HHHHB", 0, 0, *frame_wh, 0)
    return screen + frame + b"\x02\x02\x44\x01\x00;"


def tiff_of(size_wh: tuple[int, int], tile_wh: tuple[int, int] | None = None) -> bytes:
    entries = {256: size_wh[0], 257: size_wh[1], 258: 8, 259: 1, 262: 1, 277: 1}
    if tile_wh is None:
        entries |= {273: 8, 278: size_wh[1], 279: 8}
    else:
        entries |= {259: 8, 322: tile_wh[0], 323: tile_wh[1], 324: 8, 325: 8}
    directory = struct.pack("<H", len(entries))
    for tag, value in sorted(entries.items()):
        directory += struct.pack("<HHII", tag, 4, 1, value)
    return b"II*\0" + struct.pack("<I", 16) + bytes(8) + directory + bytes(4)


def webp_of(size_wh: tuple[int, int], kind: bytes) -> bytes:
    width, height = (value - 1 for value in size_wh)
    if kind == b"VP8X":
        body = bytes(4) + width.to_bytes(3, "little") + height.to_bytes(3, "little")
    elif kind == b"VP8L":
        body = b"\x2f" + (width | height << 14).to_bytes(4, "little") + bytes(40)
    else:
        body = b"\x30\x01\x00\x9d\x01\x2a" + struct.pack("<HH", width + 1, height + 1) + bytes(40)
    chunk = kind + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def jpeg_of_scans(size_wh: tuple[int, int], num_scans: int) -> bytes:
    """A black progressive JPEG; a scan says in a hundred bytes that all its blocks stay so."""
    num_blocks = (size_wh[0] // 8) * (size_wh[1] // 8)
    frame = struct.pack(">BHHB", 8, *size_wh[::-1], 1) + b"\1\x11\0"
    tables = jpeg_segment(0xDB, b"\0" + b"\1" * 64) + jpeg_segment(0xC2, frame)
    for kind, symbol in ((0x00, 0x00), (0x10, 0xE0)):  # one code each: no change; end of a band
        tables += jpeg_segment(0xC4, bytes([kind, 1, *[0] * 15, symbol]))
    first = jpeg_segment(0xDA, b"\1\1\0\0\0\0") + bytes(num_blocks // 8 + 1)
    bits = ("0" + "1" * 14) * (num_blocks // 32767 + 1)  # 32767 blocks at once
    bits += "1" * (-len(bits) % 8)
    run = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
    scan = jpeg_segment(0xDA, b"\1\1\0\1\x3f\0") + run
    return b"\xff\xd8" + tables + first + scan * num_scans + b"\xff\xd9"


def jpeg_segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def bombs() -> dict[str, bytes]:
    rows = zlib.compressobj(9)
    zeros = b"".join(rows.compress(bytes(36001)) for _ in range(12000)) + rows.flush()
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 12000, 12000, 8, 2, 0, 0, 0))
    png = b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", zeros) + png_chunk(b"IEND", b"")
    text = png_chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(200_000_000), 9))
    profile = png_chunk(b"iCCP", b"k\0\0" + zlib.compress(bytes(200_000_000), 9))
    frames = png_chunk(b"acTL", struct.pack(">II", 1000, 0))
    bmp = b"BM" + struct.pack("<IHHI", 54, 0, 0, 54)
    bmp += struct.pack("<IiiHHIIiiII", 40, 60000, 60000, 1, 24, 0, 0, 0, 0, 0, 0)
    return {
        "png": png,
        "png text": png_of((8, 8), bytes(10), extra=text),
        "png profile": png_of((40000, 40000), bytes(10), extra=profile),
        "apng": png_of((30000, 30000), bytes(10), extra=frames),
        "gif": gif_of((65535, 65535), (65535, 65535)),
        "gif frame beyond its screen": gif_of((1, 1), (65535, 65535)),
        "tiff": tiff_of((100_000, 100_000)),
        "tiff tile": tiff_of((16, 16), (65536, 65536)),
        "webp": webp_of((16384, 16384), b"VP8X"),
        "webp lossless": webp_of((16383, 16383), b"VP8L"),
        "webp lossy": webp_of((16383, 16383), b"VP8 "),
        "jpeg": jpeg_of((65535, 65535)),
        "jpeg scans": jpeg_of_scans((8000, 8000), 1000),
        "bmp": bmp,
        "fits": b"SIMPLE  =                    T".ljust(80) + b"NAXIS1  = 900000".ljust(2800),
    }


def run_python(code: str, *arguments: str) -> str:
    command = [sys.executable, "-c", textwrap.dedent(code), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
