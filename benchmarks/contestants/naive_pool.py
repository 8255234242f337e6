"""One shared model in a `ThreadPoolExecutor` behind `run_in_executor`: asyncio by hand.

Right only because all calls have the same settings: a shared model mixes different ones up.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks.contestants.contract import (
    Found,
    Setup,
    Work,
    of_ultralytics,
    open_yolo,
    options,
    run_in_loop,
)

TITLE = "ThreadPoolExecutor, one shared model"
PACKAGES = ("ultralytics",)


def arrays(setup: Setup) -> Work:
    """Images in memory, four threads."""
    images = setup.bgr_arrays()
    model = open_yolo(setup.checkpoint, images[0])
    pool = ThreadPoolExecutor(4)

    def detect(image: Any) -> Found:
        return of_ultralytics(model.predict(image, **options())[0])

    async def all_of_them() -> list[Found]:
        loop = asyncio.get_running_loop()
        calls = (loop.run_in_executor(pool, detect, image) for image in images)
        return list(await asyncio.gather(*calls))

    return lambda: run_in_loop(all_of_them)


WAYS = {"arrays": arrays}
