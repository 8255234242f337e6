"""What the numbers of `video_benchmark.py` must be read beside: floors, bounds and files written.

Knows PyAV and files; no contestant and no clock but the processor's.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class WrittenVideo:
    """The file that a contestant left.

    Attributes:
        codec: As FFmpeg names it.
        pixels: Likewise; colour at half the size is "yuv420p".
        container: Ending of the file.
        kb_per_frame: Size by frames, in 1000 bytes.
        is_for_browsers: Whether every browser plays it: H.264 with 4:2:0 colour in an MP4.
    """

    codec: str
    pixels: str
    container: str
    kb_per_frame: float
    is_for_browsers: bool

    def as_json(self) -> dict[str, Any]:
        """What the result file keeps."""
        return asdict(self)


def written_video(folder: Path) -> WrittenVideo | None:
    """What is in the only video below `folder`, if there is one."""
    import av

    files = [p for p in folder.rglob("*") if p.suffix in (".mp4", ".avi", ".mkv")]
    if len(files) != 1:
        return None
    (path,) = files
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        codec, pixels = stream.codec_context.name, str(stream.codec_context.pix_fmt)
        num_frames = sum(1 for packet in container.demux(stream) if packet.size)
    plays = codec == "h264" and pixels == "yuv420p" and path.suffix == ".mp4"
    kb_per_frame = round(path.stat().st_size / num_frames / 1000, 1)
    return WrittenVideo(codec, pixels, path.suffix, kb_per_frame, plays)


def decode_core_ms(video: Path, rounds: int = 5) -> float:
    """What one frame costs to decode on one thread and nothing else: the floor of any reader."""
    import av

    def once() -> float:
        started = time.process_time()
        with av.open(str(video)) as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            num_frames = sum(1 for _ in container.decode(stream))
        return (time.process_time() - started) * 1e3 / num_frames

    once()
    return statistics.median(once() for _ in range(rounds))


def bounds(video: Path, cores: int, raw_per_second: float) -> dict[str, float]:
    """How near to inference alone a reader of a file can come when no core is ever idle.

    Inference on prepared pixels keeps all cores busy; whoever also decodes does both on the same
    cores, however well the two overlap. Printed too.
    """
    raw_ms, decode_ms = 1e3 * cores / raw_per_second, decode_core_ms(video)
    highest = raw_ms / (raw_ms + decode_ms)
    print(
        f"  inference alone takes {raw_ms:.2f} core-ms a frame, decoding alone {decode_ms:.2f}: "
        f"both together reach at most {highest:.2f} of inference alone"
    )
    return {
        "raw_core_ms": round(raw_ms, 3),
        "decode_core_ms": round(decode_ms, 3),
        "highest_share_of_raw": round(highest, 3),
    }
