"""The last step of a video file: packets copied, unchanged, into the file that gets its name.

Owns that the index comes first, and the audio of another file. Knows PyAV; never a picture.
"""

from __future__ import annotations

import heapq
import io
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from detkit.errors import VideoWriteError

FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}


def check_audio(path: Path, target: Path) -> None:
    """Find out before the work begins whether the audio of `path` can be put into `target`.

    A file without audio is fine: there is nothing to copy.

    Raises:
        VideoWriteError: If `path` cannot be read, or the container of `target` cannot hold it.
    """
    import av

    try:
        with av.open(str(path.absolute())) as reader:
            for audio in reader.streams.audio[:1]:
                name = audio.codec_context.name
                with av.open(io.BytesIO(), "w", format=FORMATS[target.suffix.lower()]) as trial:
                    trial.add_stream_from_template(audio)
                    trial.start_encoding()
    except OSError as error:
        raise VideoWriteError(f"{target}: the sound of {path} cannot be read ({error})") from error
    except ValueError as error:
        raise VideoWriteError(
            f"{target}: {target.suffix} holds no sound of the kind {name}; write a .mkv file, or "
            "leave the sound out"
        ) from error


def copy_finished(
    written: Path, target: Path, form: str, audio: tuple[Path, Fraction, Fraction] | None
) -> int:
    """Copy the encoded packets into a file whose index comes before its data.

    Args:
        written: The file that was encoded.
        target: The file to make.
        form: Its format, one of `FORMATS`.
        audio: A file whose audio goes along, the time in it at which the first frame is shown,
            counted from its own first frame, and for how long, in seconds.

    Returns:
        How many frames were copied; fewer than were encoded where the disk was full.
    """
    import av

    faststart = {} if form == "matroska" else {"movflags": "faststart"}
    with (
        av.open(str(written.absolute())) as reader,
        av.open(
            str(target.absolute()),
            "w",
            format=form,
            options={"flush_packets": "1", **faststart},
        ) as out,
    ):
        video = reader.streams.video[0]
        tracks = [_moved(reader, video, out.add_stream_from_template(video))]
        if audio is None:
            num_copied = _mux(out, tracks)
        else:
            with av.open(str(audio[0].absolute())) as speaker:
                for track in speaker.streams.audio[:1]:
                    offset_s = _first_frame_s(speaker) + audio[1]
                    new = out.add_stream_from_template(track)
                    tracks.append(_moved(speaker, track, new, offset_s, audio[2]))
                num_copied = _mux(out, tracks)
    return num_copied


def _mux(out: Any, tracks: list[Iterator[tuple[Fraction, Any]]]) -> int:
    """Write the packets of all tracks in the order of their times; how many were video."""
    num_video = 0
    for _, packet in heapq.merge(*tracks, key=lambda timed: timed[0]):
        num_video += packet.stream.type == "video"
        out.mux(packet)
    return num_video


def _moved(
    reader: Any,
    stream: Any,
    new: Any,
    offset_s: Fraction = Fraction(0),
    length_s: Fraction | None = None,
) -> Iterator[tuple[Fraction, Any]]:
    """The packets of a stream, for another one, `offset_s` earlier; each with its time."""
    shift = round(offset_s / stream.time_base)
    for packet in _with_dts(reader.demux(stream)):
        packet.dts, packet.pts = packet.dts - shift, packet.pts - shift
        time_s = packet.dts * stream.time_base
        if length_s is not None and not 0 <= time_s < length_s:
            continue
        packet.stream = new
        yield time_s, packet


def _with_dts(packets: Iterator[Any]) -> Iterator[Any]:
    """The packets that hold something, each with a decoding time, which Matroska does not store."""
    waiting: list[Any] = []
    for packet in packets:
        if not packet.size:  # The empty packet that ends a stream.
            continue
        if packet.dts is None:
            waiting.append(packet)
            continue
        for back, early in enumerate(reversed(waiting), start=1):
            early.dts = packet.dts - back
        yield from waiting
        waiting.clear()
        yield packet
    for packet in waiting:  # So short a film that no packet has one.
        packet.dts = packet.pts
        yield packet


def _first_frame_s(container: Any) -> Fraction:
    for stream in container.streams.video[:1]:
        return Fraction((stream.start_time or 0) * stream.time_base)
    return Fraction(0)
