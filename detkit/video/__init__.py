"""Frames in and out: video files as iterators of `Frame`, and H.264 files from pictures.

Knows nothing of detectors; `detkit.pipeline` joins the two.
"""

from detkit.video.frames import Frame
from detkit.video.ledger import FrameLedger, LedgerEntry
from detkit.video.picture_folder import PictureFolder
from detkit.video.read_ahead import ReadAhead
from detkit.video.sinks import VideoSink
from detkit.video.sources import VIDEO_SUFFIXES, VideoSource
from detkit.video.tables import CsvSink, JsonLinesSink, ParquetSink, TableSink, open_table

__all__ = [
    "VIDEO_SUFFIXES",
    "CsvSink",
    "Frame",
    "FrameLedger",
    "JsonLinesSink",
    "LedgerEntry",
    "ParquetSink",
    "PictureFolder",
    "ReadAhead",
    "TableSink",
    "VideoSink",
    "VideoSource",
    "open_table",
]
