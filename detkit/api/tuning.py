"""Where `AsyncDetector.tune` finds whoever measures.

The engine must not know the benchmarks, which are on a floor above it and measure it. So it owns
this empty place, and the door of the package, which is above both, fills it: whoever imports
anything of detkit has come through that door.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from detkit.errors import DetkitError

# Called with the detector and the images; the rest are keywords. Returns a report.
Tuner = Callable[..., Any]

_tuner: Tuner | None = None


def register_tuner(tuner: Tuner) -> None:
    """From now on `AsyncDetector.tune` calls this."""
    global _tuner
    _tuner = tuner


def registered_tuner() -> Tuner:
    """What was registered last.

    Raises:
        DetkitError: If nothing was.
    """
    if _tuner is None:
        raise DetkitError("nobody has registered a tuner: import detkit")
    return _tuner
