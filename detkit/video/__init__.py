"""Frames in and out: video files as iterators of `Frame`, and H.264 files from pictures.

Knows nothing of detectors; `detkit.pipeline` joins the two.
"""

from detkit.video.annotation_files import CocoSink, MotSink
from detkit.video.frames import Frame
from detkit.video.ledger import FrameLedger, LedgerEntry
from detkit.video.picture_folder import PictureFolder
from detkit.video.read_ahead import ReadAhead
from detkit.video.sinks import VideoSink
from detkit.video.sources import VIDEO_SUFFIXES, VideoSource
from detkit.video.table_sink import TableSink
from detkit.video.tables import CsvSink, JsonLinesSink, ParquetSink, open_table

__all__ = [
    "VIDEO_SUFFIXES",
    "CocoSink",
    "CsvSink",
    "Frame",
    "FrameLedger",
    "JsonLinesSink",
    "LedgerEntry",
    "MotSink",
    "ParquetSink",
    "PictureFolder",
    "ReadAhead",
    "TableSink",
    "VideoSink",
    "VideoSource",
    "open_table",
]
