"""The class names of the sample scenes, in the order of their ids."""

from __future__ import annotations

CLASS_NAMES: tuple[str, ...] = ("bolt", "nut", "washer", "gear", "spring", "bearing")
