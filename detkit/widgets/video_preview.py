"""`VideoPreview`: a video in a notebook with its boxes, controls, and numbers that can be trusted.

Back-pressure: a picture goes to the browser only when fewer than two are under way unconfirmed
(`frame_channel`); frames that come meanwhile are detected, counted as not shown, and replaced by
newer ones. So the detection rate never depends on the browser, and the connection never floods.

Joins player (what is detected), screen (who draws) and frame view (what the browser has). Knows
ipywidgets; how frames are read or detected is not its business.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from detkit.api.async_detector import AsyncDetector
from detkit.errors import ItemFailure, describe
from detkit.pipeline.opening import VideoInput, open_source
from detkit.results import DetectionResult
from detkit.widgets.frame_channel import FrameChannel, RateMeter
from detkit.widgets.frame_view import FrameView
from detkit.widgets.panel import Panel
from detkit.widgets.pictures import JpegBudget, placeholder, shrunk
from detkit.widgets.player import Player
from detkit.widgets.playing import Shown, State
from detkit.widgets.preview_controls import PreviewControls
from detkit.widgets.recording import Recording
from detkit.widgets.stills import caption_of, poster_html, save_still

# The lowest score that is asked of the detector: the slider goes down to it without inference.
FLOOR = 0.05
_HUD_INTERVAL_S = 0.25
# How long a display waits for the first frame, so that a saved notebook has a poster.
_POSTER_PATIENCE_S = 5.0


class VideoPreview(Panel):
    """Plays a video through a detector and shows it with its boxes.

    It opens on the first frame, paused. Threshold, classes and labels are redrawn at once from
    what was already found; the number of workers changes the running detector.

    Args:
        source: Whatever `open_source` takes: a video file, an address, the number of a camera, a
            folder or pattern of pictures, an array, an iterable of frames.
        detector: An `AsyncDetector`, which stays open, or any detector, which is wrapped and
            shut down with the panel.
        max_width_px: Wider pictures are shrunk for the browser, not for the detector; further
            where the page has less room.
        confidence_threshold: Where the slider stands at first.
        clock: Seconds, steady.

    Attributes:
        player: Play, pause, step and seek from code.
        parts: The widgets, by name: `parts.confidence.value = 0.5`.
        recording: Start and stop writing what is played to a file.

    Raises:
        VideoOpenError: If the source is no video.
        SourceError: If it is nothing that can be read.

    Example:
        >>> preview = VideoPreview("belt.mp4", sample_detector())  # doctest: +SKIP
        >>> preview  # doctest: +SKIP
    """

    def __init__(
        self,
        source: VideoInput,
        detector: Any,
        *,
        max_width_px: int = 960,
        confidence_threshold: float = 0.25,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        video = open_source(source)
        name = Path(video.source_id).name or "frames"
        super().__init__(f"Video preview: {name}")
        self._clock = clock
        self.recording = Recording(self, video.fps)
        self._owns_detector = not isinstance(detector, AsyncDetector)
        self.detector = AsyncDetector(detector) if self._owns_detector else detector
        self._budget = JpegBudget()
        self._detected, self._displayed = RateMeter(), RateMeter()
        self._latest: Shown | None = None
        self._on_page: Shown | None = None
        self._must_redraw = False
        self._age_s = float("nan")  # of the picture on the page, when it was sent
        self._width_px = max_width_px  # of the picture on the page
        self._hud_at = float("-inf")
        self.num_detected = self.num_displayed = self.num_not_shown = 0
        size_wh = (video.width or 1280, video.height or 720)
        grey = placeholder(size_wh, _room(max_width_px))
        self.view = FrameView(FrameChannel(), clock, self._page_answered, max_width_px, grey)
        self.parts = PreviewControls(self, video.expected_frames, confidence_threshold)
        self.fill(self.parts.layout(self.view.image))
        self.player = Player(
            video,
            self.detector,
            on_frame=self._frame_came,
            on_state=self._state_changed,
            on_error=self._player_failed,
            confidence_threshold=FLOOR,
            clock=clock,
        )
        self.player.step()

    # -- what the controls call, on any thread, with the screen's lock held ---------------------

    def play(self) -> None:
        """Play on from here, or from the start at the end."""
        self.clear_error()
        self._detected.clear()
        self._displayed.clear()
        self.player.play()

    def pause(self) -> None:
        """Stand still."""
        self.player.pause()

    def step(self) -> None:
        """Show the next frame."""
        self.clear_error()
        self.player.step()

    def seek(self, frame_index: int) -> None:
        """Go to a frame, counted from 0."""
        self.clear_error()
        self.player.seek(frame_index)

    def set_speed(self, speed: float | None) -> None:
        """Times the source's own speed; `None` is as fast as the detector can."""
        self.view.channel.is_sparing = speed is None
        self.player.set_speed(speed)
        with self.screen.lock:
            self.parts.show_speed(speed)

    def redraw(self) -> None:
        """Draw the frame on the page again, with the settings of now; nothing is inferred."""
        self._must_redraw = True
        self._post_picture()

    def snapshot(self, path: str | os.PathLike[str] | None = None) -> Path:
        """Save the frame on the page, in its full size and with its boxes.

        Args:
            path: Ends in .png or .jpg; by default `snapshot_000017.png` in the working folder.

        Raises:
            RuntimeError: If there is no frame yet.
            OSError: If it cannot be written.
        """
        shown = self.shown
        if shown is None:
            raise RuntimeError("there is no frame to save yet")
        target = save_still(shown, self.visible(shown), self.parts.overlay(), path)
        self.say(f"saved {target}")
        return target

    @property
    def shown(self) -> Shown | None:
        """The frame on the page."""
        return self._on_page or self._latest

    def visible(self, shown: Shown) -> DetectionResult | None:
        """What of a frame's result passes the sliders; `None` if there is no result."""
        return None if isinstance(shown.outcome, ItemFailure) else self.chosen(shown.outcome)

    def chosen(self, result: DetectionResult) -> DetectionResult:
        """What of a result passes the sliders."""
        return result.filter(
            confidence_threshold=self.parts.confidence.value,
            classes=self.parts.chosen_classes(),
        )

    # -- from the player's thread ----------------------------------------------------------------

    def _frame_came(self, shown: Shown) -> None:
        now = self._clock()
        self.num_detected += 1
        self._detected.tick(now)
        self.recording.take(shown)
        replaced, self._latest = self._latest, shown
        if replaced is not None and replaced is not self._on_page:
            self.num_not_shown += 1
        if self._has_use_for(now):
            self._post_picture()

    def _has_use_for(self, now: float) -> bool:
        """Whether a new frame changes what somebody sees; waking the screen costs the detector."""
        if self.view.is_hidden:
            return False
        is_playing = self.player.state == "playing"
        is_due = now - self._hud_at >= _HUD_INTERVAL_S
        return not is_playing or is_due or self.view.channel.may_send(now, is_playing=True)

    def _state_changed(self, state: State) -> None:
        self.screen.post("state", lambda: self.parts.show_state(state))
        if state == "ended":
            self.screen.post("recording", self.recording.stop)
        self._hud_at = float("-inf")
        self._post_picture()

    def _player_failed(self, error: BaseException) -> None:
        self.screen.post("error", lambda: self.show_error(error))

    def _page_answered(self) -> None:
        self.screen.adopt_context()
        self._must_redraw |= self.view.width_px != self._width_px
        self._post_picture()

    def _post_picture(self) -> None:
        self.screen.post("picture", self._present)

    # -- on the screen ---------------------------------------------------------------------------

    def _present(self) -> None:
        shown, now = self._latest, self._clock()
        if shown is None:
            return
        is_playing = self.player.state == "playing"
        is_new = shown is not self._on_page
        if (is_new or self._must_redraw) and not self.view.is_hidden:
            waits_for_rate = is_playing and not self._must_redraw
            if self.view.channel.may_send(now, is_playing=waits_for_rate):
                self._send(shown, is_new)
        if not is_playing or now - self._hud_at >= _HUD_INTERVAL_S:
            self._hud_at = now
            self.parts.show_numbers(shown, caption_of(shown, self.visible(shown)), self.numbers())

    def _send(self, shown: Shown, is_new: bool) -> None:
        self._must_redraw = False
        self._on_page = shown
        result = self.visible(shown)
        self.parts.learn_classes(shown.outcome)
        self._width_px = self.view.width_px
        picture = shrunk(shown.frame.image, _room(self._width_px))
        jpeg = self._budget.encode(picture, result, self.parts.overlay())
        self.view.show(jpeg, caption_of(shown, result))
        if isinstance(shown.outcome, ItemFailure):
            self.show_error(f"frame {shown.frame.frame_index}: {describe(shown.outcome.exception)}")
        if is_new:
            now = self._clock()
            self.num_displayed += 1
            self._displayed.tick(now)
            self._age_s = now - shown.fresh_at

    def numbers(self) -> dict[str, float]:
        """Rates per second, counts, and the age of the picture when it was sent, in ms."""
        now = self._clock()
        trip = self.view.channel.round_trip_s
        return {
            "detection_rate": self._detected.rate(now),
            "display_rate": self._displayed.rate(now),
            "num_detected": self.num_detected,
            "num_not_shown": self.num_not_shown,
            "num_skipped": self.player.num_skipped,
            "frame_age_ms": 1e3 * self._age_s,
            "round_trip_ms": float("nan") if trip is None else 1e3 * trip,
        }

    # -- the notebook and the end ----------------------------------------------------------------

    def fallback_html(self) -> str:
        """The poster: the picture shown now, for a saved notebook where widgets do not live."""
        jpeg, caption = bytes(self.view.image.value), str(self.view.image.caption)
        if self._on_page is None:
            return super().fallback_html()
        return poster_html(jpeg, caption)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        if not self.is_closed:
            self.wait_for_frame()
        return super()._repr_mimebundle_(include, exclude)

    def wait_for_frame(self, timeout_s: float = _POSTER_PATIENCE_S) -> bool:
        """Wait until the first frame is on the page, or an error; whether it is a frame."""
        if self.player.wait_for_rest(timeout_s):
            self.screen.flush(timeout_s)
        return self._on_page is not None

    def stop_work(self) -> None:
        """End playing, and the detector if it was made here."""
        self.player.close()
        self.recording.stop()
        self.view.close()
        if self._owns_detector:
            self.detector.shutdown(wait=False, cancel_pending=True)


def _room(width_px: int) -> tuple[int, int]:
    """Most pixels of a picture, which may be higher than wide."""
    return width_px, 4 * width_px
