"""How a worker takes one batch through a detector: bad images isolated, memory respected.

Knows no queue, no future and no thread: the engine says through `BatchGuard` which images are
still wanted when a call begins, and hears what memory allowed.
"""

from __future__ import annotations

import time
import traceback
from asyncio import CancelledError
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar

from detkit.api.batcher import BatchKey, Waiting
from detkit.api.replica import Replica, read_only
from detkit.detection.abstract import DEFAULT_SETTINGS, DetectionSettings
from detkit.errors import (
    DetectorContractError,
    OutOfMemoryError,
    Stage,
    WorkerDiedError,
    describe,
)
from detkit.images import RGBImage
from detkit.results import DetectionResult

# Told the names of the windows that one batch passes through. Tests set it to stop a worker in
# a window; otherwise it costs one comparison.
window_hook: Callable[[str], None] | None = None


def enter_window(name: str) -> None:
    """Announce that the current worker is about to enter the window called `name`."""
    if window_hook is not None:
        window_hook(name)


@dataclass(frozen=True, slots=True)
class Failed:
    """The outcome of an image that has no result."""

    stage: Stage
    exception: BaseException


Outcome: TypeAlias = DetectionResult | Failed


class ImageItem(Waiting):
    """What this file must know of one image on its way through a worker."""

    __slots__ = ("image",)

    image: RGBImage | None


I = TypeVar("I", bound=ImageItem)  # noqa: E741  an item


class Done(NamedTuple):
    """One image that went through the detector, what came of it, and in what company."""

    item: Any
    outcome: Outcome
    inference_ms: float
    batch_size: int


class BatchGuard(Protocol[I]):
    """What the engine contributes to the running of one batch."""

    def begin(self, items: Sequence[I]) -> list[tuple[I, RGBImage]]:
        """Called right before the detector: which of these are still wanted, and their images."""

    def finish(self) -> None:
        """Called right after the detector returned or raised."""

    def out_of_memory(self, key: BatchKey, limit: int) -> None:
        """A batch did not fit; `limit` is the size to try from now on."""


def run_isolated(replica: Replica, items: Sequence[I], guard: BatchGuard[I]) -> list[Done]:
    """Detect in the images of one batch; a failing image costs no other its result.

    A failed call is repeated on both halves until the failing image is alone: at most
    `1 + 2 p ceil(log2 n)` calls for `p` failing among `n` images. When memory runs out, the
    size is halved for all that follows. A replica that dies takes the rest of its batch along.

    Returns:
        One entry for every image that was still wanted when its turn came. `inference_ms` is
        the time of the call divided by the number of images in it.
    """
    done: list[Done] = []
    todo = [list(items)]
    limit = len(items)
    while todo:
        chunk = todo.pop()
        if len(chunk) > limit:
            todo.extend(chunk[i : i + limit] for i in range(0, len(chunk), limit)[::-1])
            continue
        wanted = guard.begin(chunk)
        if not wanted:
            continue
        chunk = [item for item, _ in wanted]
        size = len(chunk)
        settings = chunk[0].key.settings or DEFAULT_SETTINGS
        started = time.perf_counter()
        results, error = _call(replica, [image for _, image in wanted], settings)
        del wanted
        elapsed_ms = (time.perf_counter() - started) * 1000 / size
        guard.finish()
        if error is None:
            done += [Done(i, r, elapsed_ms, size) for i, r in zip(chunk, results, strict=True)]
        elif isinstance(error, WorkerDiedError):
            lost = [*chunk, *(item for rest in todo for item in rest)]
            done += [Done(item, Failed("detect", _copy(error)), elapsed_ms, size) for item in lost]
            break
        elif size == 1:
            done.append(Done(chunk[0], Failed("detect", error), elapsed_ms, size))
        elif isinstance(error, OutOfMemoryError):
            limit = size // 2
            guard.out_of_memory(chunk[0].key, limit)
            todo.append(chunk)
        else:
            middle = (size + 1) // 2
            todo += [chunk[middle:], chunk[:middle]]
    return done


def _call(
    replica: Replica, images: list[RGBImage], settings: DetectionSettings
) -> tuple[list[DetectionResult], BaseException | None]:
    """One call of the detector. Whatever it raises comes back as an error that is safe to keep."""
    try:
        return replica.detect([read_only(image) for image in images], settings), None
    except CancelledError as error:
        # Handed on as it is, it would look as if the caller had been cancelled.
        return [], _caused(DetectorContractError, "the detector raised CancelledError", error)
    except StopIteration as error:
        # A future refuses to hold one.
        return [], _caused(DetectorContractError, "the detector raised StopIteration", error)
    except Exception as error:  # noqa: BLE001  a stranger's detector may raise anything
        if is_out_of_memory(error):
            return [], _caused(OutOfMemoryError, f"out of memory: {describe(error)}", error)
        return [], _released(error)
    except BaseException as error:  # noqa: BLE001  SystemExit must not end the worker thread
        message = f"the detector raised {describe(error)}; its worker was replaced"
        return [], _caused(WorkerDiedError, message, error)
    finally:
        # A kept traceback leads back to this frame.
        del images


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, whichever library raised it."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if not isinstance(error, RuntimeError):
        return False
    text = describe(error, limit=2000).lower()
    # torch on CUDA, torch on the CPU, OpenVINO and ONNX Runtime, in this order.
    signs = ("out of memory", "can't allocate memory", "bad_alloc", "failed to allocate memory")
    return any(sign in text for sign in signs)


E = TypeVar("E", bound=BaseException)


def _released(error: E) -> E:
    """Let go of what the traceback holds: images and tensors must not live as long as it."""
    if error.__traceback__ is not None:
        error.__traceback__ = error.__traceback__.tb_next  # this file's own frame
    chain: list[BaseException] = [error]
    for link in chain:  # grows meanwhile: an error keeps those that it was raised from
        if link.__traceback__ is not None:
            traceback.clear_frames(link.__traceback__)
        for earlier in (link.__cause__, link.__context__):
            if earlier is not None and all(earlier is not known for known in chain):
                chain.append(earlier)
    return error


def _caused(kind: type[E], message: str, cause: BaseException) -> E:
    error = kind(message)
    error.__cause__ = _released(cause)
    return error


def _copy(error: WorkerDiedError) -> WorkerDiedError:
    copy = WorkerDiedError(*error.args)
    copy.__cause__ = error.__cause__
    return copy


def replica_died(done: Sequence[Done]) -> bool:
    """Whether the replica that these went through must not be used again."""
    return any(
        isinstance(d.outcome, Failed) and isinstance(d.outcome.exception, WorkerDiedError)
        for d in done
    )
