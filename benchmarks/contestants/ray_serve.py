"""Ray Serve with its dynamic batching: a deployment of ultralytics called through its handle.

One replica, as the others have one process; its calls of up to eight images are what its
documentation recommends for models. Serving over HTTP would be slower.
"""

from __future__ import annotations

import logging
import os
from typing import Any

from benchmarks.contestants.contract import (
    Found,
    Setup,
    Work,
    of_ultralytics,
    open_yolo,
    options,
)

TITLE = "Ray Serve, batching"
# `ray[serve]`: ray alone has no starlette and cannot serve.
PACKAGES = ("ray", "starlette", "ultralytics", "psutil")
HELPERS = True


def arrays(setup: Setup) -> Work:
    """Images in memory, all handed in at once."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_DISABLE_IMPORT_WARNING", "1")
    import ray
    from ray import serve

    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    images = setup.bgr_arrays()
    checkpoint, first = setup.checkpoint, images[0]

    class Yolo:
        def __init__(self) -> None:
            self.model = open_yolo(checkpoint, first)

        @serve.batch(max_batch_size=8, batch_wait_timeout_s=0.01)
        async def __call__(self, batch: list[Any]) -> list[Found]:
            return [of_ultralytics(result) for result in self.model.predict(batch, **options())]

    _start(ray, setup.cores)
    deployed = serve.deployment(Yolo, ray_actor_options={"num_cpus": 1}, max_ongoing_requests=64)
    handle = serve.run(deployed.bind(), name="detkit-benchmark", route_prefix=None)

    def work() -> list[Found]:
        answers = [handle.remote(image) for image in images]
        return [answer.result() for answer in answers]

    return work


def _start(ray: Any, cores: int) -> None:
    """A node of this machine; once more if it was not up within Ray's fixed 30 s."""
    for attempts_left in (1, 0):
        try:
            ray.init(num_cpus=cores, include_dashboard=False, log_to_driver=False, logging_level=50)
            return
        except Exception:
            ray.shutdown()
            if not attempts_left:
                raise


WAYS = {"arrays": arrays}
