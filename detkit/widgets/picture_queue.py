"""`PictureQueue`: detects in pictures in the background, one after the other, with one model.

Owns the model, which it loads when the first picture needs it, and the thread that reads and
detects. A picture that fails gets its failure as outcome; a model that fails ends the queue with
an error for the person. Knows pictures and detectors; never a widget.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from detkit.api.async_detector import AsyncDetector
from detkit.errors import DetectorClosed, ItemFailure, ModelLoadError
from detkit.image_files import decode_image
from detkit.widgets.background_job import End, Job
from detkit.widgets.detected_pictures import DetectedPicture
from detkit.widgets.inbox import Upload
from detkit.widgets.pictures import shrunk

SAMPLE_MODEL = "sample model"
GIVEN_MODEL = "given"
# The lowest score that is asked of the detector: the slider goes down to it without inference.
FLOOR = 0.05
_SMALL_WH = (800, 1000)
_JOIN_TIMEOUT_S = 5.0


class PictureQueue:
    """Works while there are pictures; idle otherwise.

    Args:
        given: A detector of the caller's, or `None`.
        model: "given", "sample model", a path or an official name.
        max_pixels: Of one picture.
        on_progress: Called on the working thread when something changed.
        on_failure: Called likewise with what ended the work.
    """

    def __init__(
        self,
        given: Any,
        model: str,
        max_pixels: int,
        on_progress: Callable[[], None],
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self._given, self._model, self._max_pixels = given, model, max_pixels
        self._on_progress, self._on_failure = on_progress, on_failure
        self._lock = threading.Lock()
        self._waiting: deque[DetectedPicture] = deque()
        self._detector: AsyncDetector | None = None
        self._loaded = ""
        self._job: Job | None = None
        self._is_busy = self._is_closed = False
        self.activity = ""

    @property
    def is_busy(self) -> bool:
        """Whether pictures are being worked on."""
        return self._is_busy

    def put(self, pictures: Iterable[DetectedPicture]) -> None:
        """Add pictures; returns at once."""
        with self._lock:
            self._waiting.extend(pictures)
            self._start_locked()

    def use_model(self, model: str, pictures: Iterable[DetectedPicture]) -> None:
        """Go on with another model, from the beginning with these pictures."""
        with self._lock:
            self._model = model
            self._waiting = deque(pictures)
            self._start_locked()

    def stop(self) -> None:
        """Forget the pictures that wait. The one that is being worked on is finished."""
        with self._lock:
            self._waiting.clear()

    def wait(self, timeout_s: float | None) -> bool:
        """Wait until there is nothing left to do; whether that came."""
        while (job := self._job) is not None:
            if not job.wait(timeout_s):
                return False
            if job is self._job:
                break
        return True

    def close(self) -> None:
        """End the work and let go of a model that was loaded here. Idempotent."""
        with self._lock:
            self._is_closed = True
            self._waiting.clear()
            job = self._job
        if job is not None:
            job.cancel()
            job.wait(_JOIN_TIMEOUT_S)
        self._let_go()

    def _start_locked(self) -> None:
        if self._waiting and not self._is_busy and not self._is_closed:
            self._is_busy = True
            self._job = Job(self._work, self._ended)
            self._job.start()

    def _let_go(self) -> None:
        detector, self._detector, self._loaded = self._detector, None, ""
        if detector is not None and detector is not self._given:
            detector.shutdown(wait=False, cancel_pending=True)

    # -- on the working thread -------------------------------------------------------------------

    async def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    return
                picture, model = self._waiting.popleft(), self._model
            detector = await self._detector_for(model)
            self._tell("detecting")
            outcome = await self._outcome(detector, picture)
            with self._lock:
                if model == self._model:
                    picture.outcome = outcome
            self._tell("detecting")

    def _tell(self, activity: str) -> None:
        self.activity = activity
        self._on_progress()

    async def _detector_for(self, model: str) -> AsyncDetector:
        if self._detector is None or self._loaded != model:
            self._let_go()
            self._tell("loading the model")
            made = await asyncio.to_thread(self._load, model)
            self._detector, self._loaded = made, model
        return self._detector

    def _load(self, model: str) -> AsyncDetector:
        detector = self._given
        if model == SAMPLE_MODEL:
            from detkit.samples import sample_detector

            detector = sample_detector()
        elif model != GIVEN_MODEL:
            from detkit.detection.yolov8 import YOLOv8Detector

            detector = YOLOv8Detector()
            detector.load_model(model)
        if self._is_closed:
            raise ModelLoadError("the panel was closed meanwhile")
        if isinstance(detector, AsyncDetector):
            return detector
        return AsyncDetector(detector, max_workers=1)

    async def _outcome(self, detector: AsyncDetector, picture: DetectedPicture) -> Any:
        upload: Upload = picture.upload
        try:
            pixels = await asyncio.to_thread(decode_image, upload.data, max_pixels=self._max_pixels)
        except Exception as error:  # noqa: BLE001  one bad file must not cost the others
            return ItemFailure(0, "decode", error, upload.name)
        picture.small = shrunk(pixels, _SMALL_WH)
        try:
            return await detector.detect_async(pixels, confidence_threshold=FLOOR)
        except DetectorClosed:
            raise
        except Exception as error:  # noqa: BLE001  the same
            return ItemFailure(0, "detect", error, upload.name)

    def _ended(self, _: End, error: BaseException | None) -> None:
        with self._lock:
            if error is not None:
                self._waiting.clear()
            self._is_busy, self.activity = False, ""
            self._start_locked()  # a picture may have come after the last look at the queue
        if error is not None:
            self._on_failure(error)
        self._on_progress()
