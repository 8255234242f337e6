"""How a detector is called in a file of results.

Knows no detector.
"""

from __future__ import annotations

from typing import Any


def label_of(detector: Any) -> str:
    """Its own `repr`; its type where that would only be an address in memory."""
    if type(detector).__repr__ is object.__repr__ or not hasattr(type(detector), "__mro__"):
        return type(detector).__name__
    if hasattr(detector, "__qualname__"):  # a function or method
        return str(detector.__qualname__)
    return repr(detector)
