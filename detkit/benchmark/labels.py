"""How a detector is called in a file of results.

Knows no detector.
"""

from __future__ import annotations

from typing import Any


def label_of(detector: Any) -> str:
    """Its own `repr`; its type where that would only be an address in memory."""
    if hasattr(detector, "__qualname__"):  # a function or method
        return str(detector.__qualname__)
    text = repr(detector)
    return type(detector).__name__ if text == object.__repr__(detector) else text
