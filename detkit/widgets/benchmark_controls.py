"""The controls of `BenchmarkPanel`: sliders, buttons, progress, chart and table, and how they lie.

Knows ipywidgets; what a button does is bound by the panel.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, get_args

import ipywidgets

from detkit.detection.runtimes.contract import Precision
from detkit.widgets.charts import chart_svg, table_html
from detkit.widgets.trials import WAYS

if TYPE_CHECKING:
    from detkit.api.async_detector import AsyncDetector
    from detkit.widgets.background_job import End
    from detkit.widgets.trials import TrialRun

# Multiples of every common stride.
_IMAGE_SIZES = (320, 416, 512, 640, 960, 1280)


class BenchmarkControls:
    """Makes the widgets of one panel; the sliders start where the detector's knobs stand."""

    def __init__(
        self,
        detector: AsyncDetector,
        max_workers: int,
        max_batch_size: int,
        runtimes: Sequence[str],
        can_reload: bool,
    ) -> None:
        self._make_sliders(detector, max_workers, max_batch_size)
        self._make_loading(runtimes, can_reload)
        self._make_buttons()
        self.progress = ipywidgets.FloatProgress(
            min=0.0,
            max=1.0,
            description="Idle",
            tooltip="Progress of the measurement",
            layout=ipywidgets.Layout(width="99%"),
        )
        self.chart = ipywidgets.HTML(chart_svg(()))
        self.table = ipywidgets.HTML()
        self.code = ipywidgets.Textarea(
            rows=12,
            tooltip="Code that repeats the best run",
            layout=ipywidgets.Layout(width="99%", display="none"),
        )

    def _make_sliders(self, detector: AsyncDetector, max_workers: int, max_batch_size: int) -> None:
        look = _look()
        self.way = ipywidgets.Dropdown(
            description="Way of calling",
            tooltip="How images are handed in",
            options=WAYS,
            value="batch",
            **look,
        )
        self.workers = ipywidgets.IntSlider(
            description="Workers",
            tooltip="Worker threads",
            min=1,
            max=max(max_workers, detector.max_workers),
            value=detector.max_workers,
            **look,
        )
        self.batch_size = ipywidgets.IntSlider(
            description="Batch size",
            tooltip="Most images in one call of the model",
            min=1,
            max=max(max_batch_size, detector.default_batch_size),
            value=detector.default_batch_size,
            **look,
        )
        self.delay = ipywidgets.FloatSlider(
            description="Delay, ms",
            tooltip="Micro-batch delay: how long a lone image waits for company, in milliseconds",
            min=0.0,
            max=max(50.0, 1e3 * detector.batch_timeout_s),
            step=1.0,
            readout_format=".0f",
            value=1e3 * detector.batch_timeout_s,
            **look,
        )

    def _make_loading(self, runtimes: Sequence[str], can_reload: bool) -> None:
        look = _look()
        as_loaded = [("as loaded", "")]
        precisions = [name for name in get_args(Precision) if name != "auto"]
        self.runtime = ipywidgets.Dropdown(
            description="Runtime",
            options=as_loaded + [(name, name) for name in runtimes],
            tooltip="Library that runs the network",
            **look,
        )
        self.precision = ipywidgets.Dropdown(
            description="Precision",
            options=as_loaded + [(name, name) for name in precisions],
            tooltip="Number format of the arithmetic",
            **look,
        )
        self.image_size = ipywidgets.Dropdown(
            description="Image size",
            options=[("as loaded", 0), *((f"{size} pixels", size) for size in _IMAGE_SIZES)],
            tooltip="Longest side that images are scaled to",
            **look,
        )
        cores = os.cpu_count() or 1
        self.num_threads = ipywidgets.SelectionSlider(
            description="Threads per worker",
            options=[("as loaded", 0), *((f"{n}", n) for n in range(1, cores + 1))],
            tooltip="Most CPU threads of one worker",
            **look,
        )
        self._loading = ipywidgets.HBox(
            (
                ipywidgets.VBox((self.runtime, self.precision)),
                ipywidgets.VBox((self.image_size, self.num_threads)),
            ),
            layout=ipywidgets.Layout(
                flex_flow="row wrap", display="flex" if can_reload else "none"
            ),
        )

    def _make_buttons(self) -> None:
        self.run_button = _button("Run", "play", "Measure with these settings")
        self.run_button.button_style = "primary"
        self.stop_button = _button("Stop", "stop", "End the measurement")
        self.stop_button.disabled = True
        self.sweep_button = _button(
            "Sweep", "th", "Measure all workers and batch sizes up to the sliders"
        )
        self.apply_button = _button(
            "Apply", "check", "Give these settings to the detector, also while it works"
        )
        self.export_button = _button(
            "Export", "download", "Write the table as CSV and show code that repeats the best run"
        )
        self.export_button.disabled = True

    def layout(self) -> tuple[Any, ...]:
        """Sliders, buttons, progress, chart, table, code."""
        wrap = ipywidgets.Layout(flex_flow="row wrap")
        left = ipywidgets.VBox((self.way, self.workers))
        right = ipywidgets.VBox((self.batch_size, self.delay))
        start = (self.run_button, self.stop_button, self.sweep_button)
        buttons = (*start, self.apply_button, self.export_button)
        return (
            ipywidgets.HBox((left, right), layout=wrap),
            self._loading,
            ipywidgets.HBox(buttons, layout=wrap),
            self.progress,
            self.chart,
            self.table,
            self.code,
        )

    def show_running(self, text: str) -> None:
        """A measurement has begun."""
        self._allow(start=False)
        self.progress.bar_style, self.progress.description = "info", text
        self.progress.value = 0.0

    def show_ended(self, how: End) -> None:
        """It has ended."""
        self._allow(start=True)
        self.progress.description = how
        styles = {"Done": "success", "Stopped": "warning", "Failed": "danger"}
        self.progress.bar_style = styles[how]
        if how != "Stopped":
            self.progress.value = 1.0

    def show_runs(self, runs: Sequence[TrialRun]) -> None:
        """Chart and table of what was measured; without any there is nothing to export."""
        self.chart.value, self.table.value = chart_svg(runs), table_html(runs)
        self.export_button.disabled = not runs

    def _allow(self, *, start: bool) -> None:
        for button in (self.run_button, self.sweep_button, self.apply_button):
            button.disabled = not start
        self.stop_button.disabled = start


def _look() -> dict[str, Any]:
    return {
        "layout": ipywidgets.Layout(width="370px"),
        "style": {"description_width": "130px"},
    }


def _button(text: str, icon: str, tooltip: str) -> Any:
    layout = ipywidgets.Layout(width="100px")
    return ipywidgets.Button(description=text, icon=icon, tooltip=tooltip, layout=layout)
