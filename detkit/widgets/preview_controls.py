"""The controls of `VideoPreview`: buttons, sliders and the line of numbers, and how they lie.

Every control calls one method of the preview. Knows ipywidgets; never a thread or a picture.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING, Any

import ipywidgets

from detkit.errors import ItemFailure, MissingPackageError
from detkit.results import DetectionResult
from detkit.widgets.overlay import Overlay

if TYPE_CHECKING:
    from detkit.widgets.playing import Shown, State
    from detkit.widgets.video_preview import VideoPreview

# An option whose value is None would leave its box empty.
_SPEEDS: tuple[tuple[str, float], ...] = (
    ("0.25×", 0.25),
    ("0.5×", 0.5),
    ("1×", 1.0),
    ("2×", 2.0),
    ("4×", 4.0),
    ("as fast as possible", math.inf),
)
_FLOOR = 0.05


class PreviewControls:
    """Makes the widgets of one preview and keeps them in step with it."""

    def __init__(
        self, preview: VideoPreview, num_frames: int | None, confidence_threshold: float
    ) -> None:
        self._preview = preview
        self._is_showing = False  # the kernel moves a control, not a person
        button = ipywidgets.Button
        narrow = ipywidgets.Layout(width="90px")
        self.play = button(description="Play", icon="play", tooltip="Play or pause", layout=narrow)
        self.step = button(
            description="Step", icon="step-forward", tooltip="Show the next frame", layout=narrow
        )
        self.save = button(
            description="Snapshot",
            icon="camera",
            tooltip="Save this frame with its boxes as a picture file",
            layout=ipywidgets.Layout(width="110px"),
        )
        self.record = button(
            description="Record",
            icon="circle",
            tooltip="Write what is played to a video file, until pressed again",
            layout=ipywidgets.Layout(width="110px"),
        )
        self.position = ipywidgets.IntSlider(
            description="Frame",
            max=max(0, (num_frames or 1) - 1),
            disabled=num_frames is None,
            continuous_update=False,
            tooltip="Go to a frame",
            layout=ipywidgets.Layout(flex="1 1 300px", min_width="260px", width="auto"),
        )
        self.speed = ipywidgets.Dropdown(
            description="Speed",
            options=_SPEEDS,
            value=1.0,
            tooltip="Times the speed of the video",
            layout=ipywidgets.Layout(width="240px"),
        )
        self._make_sliders(confidence_threshold)
        self.hud = ipywidgets.HTML()
        self._bind()

    def _make_sliders(self, confidence_threshold: float) -> None:
        wide = ipywidgets.Layout(width="300px")
        named = {"description_width": "84px"}
        self.confidence = ipywidgets.FloatSlider(
            description="Confidence",
            value=confidence_threshold,
            min=_FLOOR,
            max=1.0,
            step=0.01,
            tooltip="Show boxes of at least this score; redrawn without detecting again",
            layout=wide,
            style=named,
        )
        detector = self._preview.detector
        self.workers = ipywidgets.IntSlider(
            description="Workers",
            value=detector.max_workers,
            min=1,
            max=max(8, os.cpu_count() or 1, detector.max_workers),
            continuous_update=False,
            tooltip="Worker threads of the running detector",
            layout=wide,
            style=named,
        )
        self.labels = _switch("Labels", "Write class and score beside each box", is_on=True)
        self.tracks = _switch("Tracks", "Give every object a number and a colour of its own")
        self.trails = _switch("Trails", "Draw where every object came from")
        self.classes = ipywidgets.SelectMultiple(
            description="Classes",
            rows=6,
            tooltip="Show these classes; none chosen means all",
            layout=ipywidgets.Layout(width="250px"),
            style=named,
        )
        self._learn(getattr(detector.detector, "class_names", None))

    def _bind(self) -> None:
        preview = self._preview
        preview.on_click(self.play, self._toggle)
        preview.on_click(self.step, preview.step)
        preview.on_click(self.save, preview.snapshot)
        preview.on_click(self.record, preview.recording.toggle)
        preview.on_change(self.position, self._seek)
        preview.on_change(self.speed, self._set_speed)
        for control in (self.confidence, self.labels, self.classes):
            preview.on_change(control, lambda _: preview.redraw())
        preview.on_change(self.tracks, lambda _: self._set_tracking(self.tracks))
        preview.on_change(self.trails, lambda _: self._set_tracking(self.trails))
        preview.on_change(self.workers, self._set_workers)

    def layout(self, picture: Any) -> tuple[Any, ...]:
        """Picture above, then transport, then what changes the drawing."""
        wrap = ipywidgets.Layout(flex_flow="row wrap", align_items="center")
        transport = (self.play, self.step, self.position, self.speed, self.save, self.record)
        sliders = ipywidgets.VBox((self.confidence, self.workers))
        switches = ipywidgets.VBox((self.labels, self.tracks, self.trails))
        return (
            picture,
            self.hud,
            ipywidgets.HBox(transport, layout=wrap),
            ipywidgets.HBox((sliders, self.classes, switches), layout=wrap),
        )

    # -- control to model ------------------------------------------------------------------------

    def _toggle(self) -> None:
        if self._preview.player.is_playing:
            self._preview.pause()
        else:
            self._preview.play()

    def _seek(self, frame_index: int) -> None:
        if not self._is_showing:
            self._preview.seek(frame_index)

    def _set_workers(self, value: int) -> None:
        if not self._is_showing:
            self._preview.detector.max_workers = value

    def _set_speed(self, speed: float) -> None:
        if not self._is_showing:
            self._preview.set_speed(None if speed == math.inf else speed)

    def _set_tracking(self, switch: ipywidgets.Checkbox) -> None:
        preview = self._preview
        try:
            preview.player.set_tracking(self.tracks.value or self.trails.value)
        except MissingPackageError:
            switch.value = False
            raise
        if switch.value and not preview.player.is_playing:
            preview.say("objects are followed from the next frame on")
        preview.redraw()

    def overlay(self) -> Overlay:
        """What the switches ask to be drawn."""
        return Overlay(self.labels.value, self.tracks.value, self.trails.value)

    def chosen_classes(self) -> tuple[int, ...] | None:
        """Ids of the classes to show; `None` for all."""
        return tuple(self.classes.value) or None

    # -- model to view ---------------------------------------------------------------------------

    def show_state(self, state: State) -> None:
        """Name the play button after what it will do."""
        moving = state == "playing" or (state == "seeking" and self._preview.player.is_playing)
        self.play.description, self.play.icon = ("Pause", "pause") if moving else ("Play", "play")
        if state == "ended":
            self._preview.say("the end of the video")
        elif state == "seeking":
            self._preview.say("seeking …")
        else:
            self._preview.say("")

    def show_recording(self, is_on: bool) -> None:
        """Name the record button after what it will do."""
        description, icon = ("Stop", "stop") if is_on else ("Record", "circle")
        self.record.description, self.record.icon = description, icon

    def learn_classes(self, outcome: DetectionResult | ItemFailure) -> None:
        """Offer the classes that a result knows by name, the first time one does."""
        if not self.classes.options and isinstance(outcome, DetectionResult):
            self._learn(outcome.metadata.get("class_names"))

    def _learn(self, names: object) -> None:
        if isinstance(names, Mapping):
            self.classes.options = [(str(name), int(key)) for key, name in sorted(names.items())]

    def show_numbers(self, shown: Shown, caption: str, numbers: dict[str, float]) -> None:
        """Write the line below the picture, and move the position slider along."""
        facts = {}
        if numbers["detection_rate"] > 0:  # at rest there is no rate
            facts["detected"] = f"{numbers['detection_rate']:.1f}/s"
            facts["shown"] = f"{numbers['display_rate']:.1f}/s"
            facts["frame age"] = f"{numbers['frame_age_ms']:.0f} ms"
        facts |= {
            "not shown": f"{numbers['num_not_shown']:.0f}",
            "dropped by the source": f"{numbers['num_skipped']:.0f}",
        }
        if not math.isnan(numbers["round_trip_ms"]):
            facts["to the browser and back"] = f"{numbers['round_trip_ms']:.0f} ms"
        text = " · ".join(f"{escape(k)} <b>{escape(v)}</b>" for k, v in facts.items())
        self.hud.value = f'<div class="detkit-note detkit-hud">{escape(caption)} · {text}</div>'
        index, num_workers = shown.frame.frame_index, self._preview.detector.max_workers
        with self._showing():
            if not self.position.disabled:
                self.position.max = max(self.position.max, index)
                self.position.value = index
            self.workers.max = max(self.workers.max, num_workers)
            self.workers.value = num_workers

    def show_speed(self, speed: float | None) -> None:
        """Choose the speed that was set; one that the list lacks is added to it."""
        value = math.inf if speed is None else speed
        with self._showing():
            if value not in (known for _, known in self.speed.options):
                self.speed.options = (*_SPEEDS, (f"{value:g}×", value))
            self.speed.value = value

    @contextmanager
    def _showing(self) -> Iterator[None]:
        """What changes meanwhile is no order."""
        self._is_showing = True
        try:
            yield
        finally:
            self._is_showing = False


def _switch(description: str, tooltip: str, *, is_on: bool = False) -> ipywidgets.Checkbox:
    return ipywidgets.Checkbox(
        description=description,
        value=is_on,
        indent=False,
        tooltip=tooltip,
        layout=ipywidgets.Layout(width="90px"),
    )
