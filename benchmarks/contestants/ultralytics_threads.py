"""ultralytics in threads with one model each: its documentation's thread-safe form."""

from __future__ import annotations

import queue
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks.contestants.contract import (
    Found,
    Setup,
    Work,
    of_ultralytics,
    open_yolo,
    options,
)

TITLE = "ultralytics, a model per thread"
PACKAGES = ("ultralytics",)


def arrays(setup: Setup) -> Work:
    """Images in memory, shared out among as many threads as cores."""
    images = setup.bgr_arrays()
    models: queue.SimpleQueue[Any] = queue.SimpleQueue()
    for _ in range(setup.cores):
        models.put(open_yolo(setup.checkpoint, images[0]))
    pool = ThreadPoolExecutor(setup.cores)

    def detect(image: Any) -> Found:
        model = models.get()
        try:
            return of_ultralytics(model.predict(image, **options())[0])
        finally:
            models.put(model)

    return lambda: list(pool.map(detect, images))


WAYS = {"arrays": arrays}
