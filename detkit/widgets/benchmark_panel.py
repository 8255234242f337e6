"""`BenchmarkPanel`: turn the sliders, press Run, and see how fast this detector is here.

Measuring is `measuring`'s, judging `trials`', drawing `charts`'; this file joins them to controls
and runs them in the background. Knows ipywidgets and threads; never how a detector is called.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detkit.api.async_detector import AsyncDetector
from detkit.images import validate_image
from detkit.widgets.background_job import End, Job
from detkit.widgets.benchmark_controls import BenchmarkControls
from detkit.widgets.charts import chart_svg, table_html
from detkit.widgets.measuring import apply, measure
from detkit.widgets.panel import Panel
from detkit.widgets.trials import (
    Round,
    Trial,
    TrialRun,
    code_for,
    runs_dataframe,
    summarize_rounds,
    sweep,
    verdicts,
)
from detkit.widgets.variants import Variants

if TYPE_CHECKING:
    import pandas as pd

    from detkit.images import RGBImage

_JOIN_TIMEOUT_S = 5.0
_DRAW_INTERVAL_S = 0.2


class BenchmarkPanel(Panel):
    """Measures a detector with the settings of its sliders, in the background.

    Runs set the knobs of `detector` and put them back; Apply sets them for good. The panel is
    also an object: `run()`, `sweep()`, `wait()`, `stop()`, `apply()`, `runs`.

    Args:
        detector: An `AsyncDetector`, which stays open, or any detector, which is wrapped and
            shut down with the panel.
        images: uint8 RGB arrays of shape (H, W, 3); every round goes over all of them.
        seconds_per_run: How long a run measures, at least, in seconds.
        max_workers: Right end of the workers slider; by default twice the cores, at most 8.
        max_batch_size: Right end of the batch size slider.

    Raises:
        InvalidImageError: If an image is no RGB array.
        ValueError: If there are none.

    Example:
        >>> panel = BenchmarkPanel(sample_detector(), images)  # doctest: +SKIP
        >>> panel  # doctest: +SKIP
    """

    def __init__(
        self,
        detector: Any,
        images: Sequence[RGBImage],
        *,
        seconds_per_run: float = 1.0,
        max_workers: int | None = None,
        max_batch_size: int = 16,
    ) -> None:
        if not len(images):
            raise ValueError("there are no images to measure with")
        self._images = [validate_image(image) for image in images]
        super().__init__("Benchmark")
        self._owns_detector = not isinstance(detector, AsyncDetector)
        self.detector = AsyncDetector(detector) if self._owns_detector else detector
        self._seconds_per_run = seconds_per_run
        self._runs: list[TrialRun] = []
        self._job: Job | None = None
        self._variants = Variants(self.detector)
        self._drawn_at = float("-inf")
        self.parts = BenchmarkControls(
            self.detector,
            max_workers or min(8, 2 * (os.cpu_count() or 1)),
            max_batch_size,
            self._variants.runtimes,
            self._variants.can_reload,
        )
        for button, action in (
            (self.parts.run_button, self.run),
            (self.parts.stop_button, self.stop),
            (self.parts.sweep_button, self.sweep),
            (self.parts.apply_button, self.apply),
            (self.parts.export_button, self.export),
        ):
            self.on_click(button, action)
        self.fill(self.parts.layout())
        self.say(
            f"{len(self._images)} images, {self._size()}; each run measures for at least "
            f"{seconds_per_run:g} s."
        )

    def _size(self) -> str:
        sizes = {image.shape[:2] for image in self._images}
        return "of several sizes" if len(sizes) > 1 else "{1} × {0} pixels".format(*sizes.pop())

    # -- what the buttons do ---------------------------------------------------------------------

    @property
    def trial(self) -> Trial:
        """The settings of the sliders."""
        return Trial(
            self.parts.way.value,
            self.parts.workers.value,
            self.parts.batch_size.value,
            float(self.parts.delay.value),
            self.parts.runtime.value,
            self.parts.precision.value,
            self.parts.image_size.value,
            self.parts.num_threads.value,
        )

    @property
    def runs(self) -> pd.DataFrame:
        """Every run so far; see `runs_dataframe`."""
        return runs_dataframe(self._runs)

    @property
    def is_running(self) -> bool:
        """Whether a measurement is under way."""
        return self._job is not None and self._job.is_running

    def run(self) -> None:
        """Start measuring with the settings of the sliders; returns at once.

        Raises:
            RuntimeError: If a measurement is under way.
        """
        self._start([self.trial])

    def sweep(self) -> None:
        """Start measuring all settings up to those of the sliders; returns at once.

        Raises:
            RuntimeError: If a measurement is under way.
        """
        self._start(sweep(self.trial, self.parts.workers.value, self.parts.batch_size.value))

    def stop(self) -> None:
        """End the measurement; its unfinished run is left out."""
        if self._job is not None:
            self._job.cancel()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until the measurement has ended and shows; whether it has.

        Args:
            timeout_s: Longest wait, in seconds.
        """
        job = self._job
        return job is None or (job.wait(timeout_s) and self.screen.flush())

    def apply(self) -> None:
        """Give the settings of the sliders to the live detector; what it works on goes on.

        Raises:
            RuntimeError: While a measurement runs, which would put the old ones back.
            DetectorClosed: If the detector was shut down.
        """
        if self.is_running:
            raise RuntimeError("stop the measurement first: at its end it puts the settings back")
        apply(self.detector, self.trial)
        self.clear_error()
        loading = " How a model is loaded cannot be changed later: Export shows the code for it."
        self.say(
            f"The detector now has {self.detector.max_workers} workers, "
            f"batches of up to {self.detector.default_batch_size} and a delay of "
            f"{1e3 * self.detector.batch_timeout_s:g} ms.{loading if self.trial.loaded_as else ''}"
        )

    def export(self, path: str | os.PathLike[str] = "benchmark.csv") -> Path:
        """Write the table as CSV, and show code that repeats the best run.

        Raises:
            RuntimeError: If there is no run yet.
            OSError: If the file cannot be written.
        """
        if not self._runs:
            raise RuntimeError("there is no run to export yet")
        target = Path(path)
        self.runs.to_csv(target, index=False, float_format="%.4f")
        best = self._runs[verdicts(self._runs).index("best")]
        with self.screen.lock:
            self.parts.code.value = code_for(best.trial)
            self.parts.code.layout.display = "block"
        self.say(f"wrote {target}; the code above repeats the best run")
        return target

    # -- the measurement -------------------------------------------------------------------------

    def _start(self, trials: Sequence[Trial]) -> None:
        if self.is_running:
            raise RuntimeError("a measurement is under way: wait for it, or stop it")
        self.clear_error()
        self._job = Job(lambda: self._measure_all(trials), self._job_ended)
        with self.screen.lock:
            self.parts.show_running(f"0 of {len(trials)}")
        self._job.start()

    async def _measure_all(self, trials: Sequence[Trial]) -> None:
        for number, trial in enumerate(trials):
            share = number / len(trials)
            if trial.load_options:
                self._post_progress(number, len(trials), share, f"loading for {trial}")
            detector = await asyncio.to_thread(self._variants.take, trial)
            self._post_progress(number, len(trials), share, f"measuring {trial}")

            def heard(rounds: Sequence[Round], trial: Trial = trial, number: int = number) -> None:
                self._show_so_far(trial, rounds, number, len(trials))

            run = await measure(
                detector,
                self._images,
                trial,
                min_seconds=self._seconds_per_run,
                on_round=heard,
            )
            self._runs.append(run)
            self.screen.post("runs", self._show_runs)

    def _show_so_far(self, trial: Trial, rounds: Sequence[Round], number: int, total: int) -> None:
        """Chart and progress of a run that is still being measured, five times a second."""
        now = time.monotonic()
        if now - self._drawn_at < _DRAW_INTERVAL_S:
            return
        self._drawn_at = now
        so_far, runs = summarize_rounds(trial, rounds), tuple(self._runs)

        def draw() -> None:
            self.parts.chart.value = chart_svg(runs, so_far)

        self.screen.post("runs", draw)
        text = f"measuring {trial}: round {len(rounds)}, {so_far.images_per_s:.1f} images/s"
        count = len(rounds)
        self._post_progress(number, total, (number + count / (count + 1)) / total, text)

    def _post_progress(self, number: int, total: int, share: float, text: str) -> None:
        def change() -> None:
            if self.is_running:
                self.parts.progress.value = share
                self.parts.progress.description = f"{number} of {total}"
                self.say(text)

        self.screen.post("progress", change)

    def _show_runs(self) -> None:
        self.parts.show_runs(self._runs)

    def _job_ended(self, how: End, error: BaseException | None) -> None:
        def change() -> None:
            self._show_runs()
            self.parts.show_ended(how)
            if error is not None:
                self.show_error(error)
            self.say(self._conclusion() if how != "Failed" else "The measurement failed.")

        self.screen.post("ended", change)

    def _conclusion(self) -> str:
        if not self._runs:
            return "Stopped before the first run was done."
        said = verdicts(self._runs)
        best = self._runs[said.index("best")]
        text = f"Best of {len(said)}: {best.trial} with {best.images_per_s:.1f} images/s."
        equal = said.count("as good as the best")
        return f"{text} {equal} other{'s are' if equal > 1 else ' is'} as good." if equal else text

    def fallback_html(self) -> str:
        """Chart and table, for a saved notebook where widgets do not live."""
        return chart_svg(self._runs) + table_html(self._runs)

    def stop_work(self) -> None:
        """End the measurement, and the detector if it was made here."""
        self.stop()
        if self._job is not None:
            self._job.wait(_JOIN_TIMEOUT_S)
        self._variants.close()
        if self._owns_detector:
            self.detector.shutdown(wait=False, cancel_pending=True)
