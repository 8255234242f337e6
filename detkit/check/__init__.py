"""Trying a detector out before it is trusted: `check_detector` and the report it gives.

Calls the detector directly, as the engine's workers would. Knows no engine.
"""

from __future__ import annotations

from detkit.check.detector import check_detector, test_cards
from detkit.check.report import DetectorReport

__all__ = ["DetectorReport", "check_detector", "test_cards"]
