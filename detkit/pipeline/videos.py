"""`detect_video`: the frames of one source through a detector, in order.

Owns how a call is turned into a run: the source, the policy and how much may be under way. How a
run goes is `VideoRun`'s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from detkit.api.arguments import at_least_one, wrapped
from detkit.api.unfinished import MAX_KEPT
from detkit.pipeline.needed_size import needed_size
from detkit.pipeline.opening import VideoInput, open_source
from detkit.pipeline.tracking import TrackSettings, make_tracks
from detkit.pipeline.video_run import Limits, VideoRun
from detkit.video.frames import FrameSource
from detkit.video.read_ahead import Keep

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from detkit.api.async_detector import AsyncDetector, SettingsOptions

# What the frames between decoder and result may take together, unless the user sets a number.
_IN_FLIGHT_BYTES = 128 * 1024 * 1024
_BYTES_PER_PIXEL = 4.5  # as it was decoded, and as RGB
# Results of a live source that stay for who stops it: a minute of 16 frames/s, 2 MB. Ten times as
# many, as of a file, would fill up for ten minutes and look like a leak.
_MAX_KEPT_LIVE = 1_000


def detect_video(
    detector: AsyncDetector,
    source: VideoInput,
    *,
    policy: Keep | None = None,
    max_age_s: float | None = None,
    stride: int = 1,
    max_frames: int | None = None,
    max_seconds: float | None = None,
    max_in_flight: int | None = None,
    track: bool | TrackSettings = False,
    on_error: Literal["raise", "yield"] = "raise",
    progress: bool = False,
    **settings: Unpack[SettingsOptions],
) -> VideoRun:
    """Detect in the frames of a video file, stream, camera, folder, stack or iterator.

    Iterate what is returned with `async for`, or with `for` where blocking is fine. Frames are
    read ahead on a thread; pairs come in frame order; at most `max_in_flight` frames are between
    reader and consumer, so a slow consumer slows a file's reader down and memory stays flat.
    Each result's metadata also holds `source`, `frame_index` and `pts_seconds`. Leaving the loop
    releases what was opened here, and a live source in any case. A run that is stopped leaves its
    latest results in `detector.last_run`, 10,000 of a file and 1,000 of a live source.

    Args:
        detector: Stays open; one that is shared is fine.
        source: Whatever `open_source` takes: a path, an address, the number of a camera, a folder
            or pattern of pictures, a stack or list of arrays, a generator, plain or asynchronous.
        policy: "every" loses no frame; "latest" detects in the newest frame there is and drops
            what it overtook. By default "latest" for cameras and addresses, which do not wait,
            and "every" for everything else.
        max_age_s: Drop frames that were read longer ago than this when their turn comes.
        stride: Detect in every `stride`-th frame only; the others are decoded and left out.
        max_frames: End after so many frames were detected in.
        max_seconds: End after so much of the source's time; a live source ends by then even where
            no frame comes.
        max_in_flight: Most frames between decoder and result; by default twice what the detector
            takes at once, within 128 MB, or with "latest" one for each worker.
        track: Give every object a number that it keeps from frame to frame, in the metadata as
            `tracker_ids` and in tables as `tracker_id`; see `Tracks.follow`. Every source has
            numbers of its own.
        on_error: "raise" ends the run at the first frame that the detector fails on; "yield" puts
            an `ItemFailure` in the place of its result and goes on.
        progress: Whether to show a bar: frames per second, failures, and the time left where the
            source says how many frames it has.
        **settings: `confidence_threshold` and so on, as for `detect_async`.

    Raises:
        VideoOpenError: At once, if a file is no video; while iterating, if a stream or camera
            cannot be opened.
        SourceError: If the source is nothing that can be read.
        StreamLostError: While iterating, if a live source broke off and stays away.
        ValueError: If `stride` is no whole number from 1 or `policy` is unknown.
        UnsupportedSettingError: If `max_frames` is no whole number above 0 or `max_seconds` is
            not above 0; while iterating, if `max_seconds` is given and the frames have no times.
        MissingPackageError: If `track` is asked for and the extra `track` is not installed.

    Example:
        >>> async def count(detector):  # doctest: +SKIP
        ...     async for frame, result in detect_video(detector, "clip.mp4"):
        ...         print(frame.pts_seconds, len(result))
    """
    wrapped(detector)
    stride = at_least_one(stride, "stride")
    if policy not in (None, *get_args(Keep)):
        raise ValueError(f'policy must be "every" or "latest", got {policy!r}')
    limits = Limits(max_frames, max_seconds)
    opened = open_source(source)
    keep = policy or ("latest" if opened.is_live else "every")
    if max_in_flight is None:
        latest = keep == "latest"
        max_in_flight = detector.max_workers if latest else _default_in_flight(detector, opened)
    options = {
        "max_in_flight": max_in_flight,
        "max_kept": _MAX_KEPT_LIVE if opened.is_live else MAX_KEPT,
        "on_error": on_error,
        **settings,
    }
    run = VideoRun(
        detector,
        opened,
        options,
        policy=keep,
        max_age_s=max_age_s,
        stride=stride,
        limits=limits,
        tracks=make_tracks(track, opened),
        progress=progress,
        needed_hw=needed_size(detector.detector),
    )
    run.closes_source = opened.is_live or opened is not source
    return run


def _default_in_flight(detector: AsyncDetector, source: FrameSource) -> int:
    wanted = 2 * max(detector.max_workers, detector.default_batch_size)
    if source.width is None or source.height is None:
        return wanted
    fitting = int(_IN_FLIGHT_BYTES / (source.width * source.height * _BYTES_PER_PIXEL))
    return max(detector.max_workers + 1, min(wanted, fitting))
