"""`DetectorReport`: what a check found, for programs and for people. Knows no detector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Mode = Literal["shared", "replicated", "locked"]


@dataclass(frozen=True)
class DetectorReport:
    """What `check_detector` found. `None` means: could not be decided.

    Attributes:
        keeps_contract: Every call returned a `DetectionResult` and wrote to no input.
        is_deterministic: The same image gave the same result twice.
        is_ordered: `detect_batch` answers in input order.
        is_batch_invariant: A result does not depend on its neighbours in the batch.
        is_reentrant: Overlapping calls of one object all return.
        is_thread_safe: And return the right results.
        keeps_settings_apart: Overlapping calls with different settings each got their own.
        colour_order: "rgb" if it understands RGB better than BGR, "bgr" if the reverse,
            None if it makes no difference or nothing was found.
        can_replicate: `replicate()` gives a copy with the same results.
        mode: How `AsyncDetector` should run it: one object "shared" by all workers, one
            "replicated" per worker, or "locked", one call at a time.
        problems: One sentence for everything that is not as it should be.
    """

    keeps_contract: bool
    is_deterministic: bool
    is_ordered: bool | None
    is_batch_invariant: bool | None
    is_reentrant: bool | None
    is_thread_safe: bool | None
    keeps_settings_apart: bool | None
    colour_order: Literal["rgb", "bgr"] | None
    can_replicate: bool
    mode: Mode
    problems: tuple[str, ...]

    @property
    def is_ok(self) -> bool:
        """Whether nothing speaks against using it."""
        return not self.problems

    def __str__(self) -> str:
        said = {True: "yes", False: "no", None: "not decided"}
        lines = [
            f"keeps the contract    {said[self.keeps_contract]}",
            f"deterministic         {said[self.is_deterministic]}",
            f"ordered               {said[self.is_ordered]}",
            f"batch-invariant       {said[self.is_batch_invariant]}",
            f"re-entrant            {said[self.is_reentrant]}",
            f"thread-safe           {said[self.is_thread_safe]}",
            f"settings kept apart   {said[self.keeps_settings_apart]}",
            f"colour order          {self.colour_order or 'not decided'}",
            f"can be replicated     {said[self.can_replicate]}",
            f"mode that suits it    {self.mode}",
        ]
        return "\n".join([*lines, *(f"problem: {problem}" for problem in self.problems)])
