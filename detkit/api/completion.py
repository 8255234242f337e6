"""What the engine adds to a result before it hands it out: where it ran, how long, in what company.

What the detector said of itself stays. Knows results and their metadata; no queue and no thread.
"""

from __future__ import annotations

from detkit.api.replica import Facts
from detkit.api.workers import Done, Failed, Outcome
from detkit.errors import DetectorContractError, describe
from detkit.results import DetectionResult


def completed(done: Done, worker: int, facts: Facts) -> Outcome:
    """An outcome with what the engine knows; what the detector said of itself stays."""
    item, outcome, inference_ms, batch_size = done
    if not isinstance(outcome, DetectionResult):
        return outcome
    try:
        if isinstance(facts, Exception):
            raise facts
        said = {
            "inference_ms": inference_ms,
            **facts,
            **outcome.metadata,
            "image_hw": item.image_hw,
            "queue_ms": item.queue_ms,
            "worker": worker,
            "batch_size": batch_size,
        }
        for key in outcome.metadata:
            if not isinstance(key, str):
                raise TypeError(f"keys of metadata must be text, got {key!r}")
        return outcome.completed(said, item.image)
    except Exception as error:  # noqa: BLE001  names and metadata come from a stranger
        text = f"what the detector says of its results cannot be used: {describe(error)}"
        return Failed("detect", DetectorContractError(text))
