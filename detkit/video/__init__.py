"""Frames in and out: files, streams, cameras and pictures as `Frame`s, and files from pictures.

Knows nothing of detectors; `detkit.pipeline` joins the two.
"""

from detkit.video.annotation_files import CocoSink, MotSink
from detkit.video.cameras import CameraSource
from detkit.video.frames import Frame, FrameSource, SourceEvent
from detkit.video.ledger import FrameLedger, LedgerEntry
from detkit.video.live import LiveSource, Reconnect
from detkit.video.picture_folder import PictureFolder
from detkit.video.pictures import PictureSource
from detkit.video.read_ahead import ReadAhead
from detkit.video.sinks import VideoSink
from detkit.video.sources import VIDEO_SUFFIXES, VideoSource
from detkit.video.streams import StreamSource
from detkit.video.table_sink import TableSink
from detkit.video.tables import CsvSink, JsonLinesSink, ParquetSink, open_table

__all__ = [
    "VIDEO_SUFFIXES",
    "CameraSource",
    "CocoSink",
    "CsvSink",
    "Frame",
    "FrameLedger",
    "FrameSource",
    "JsonLinesSink",
    "LedgerEntry",
    "LiveSource",
    "MotSink",
    "ParquetSink",
    "PictureFolder",
    "PictureSource",
    "ReadAhead",
    "Reconnect",
    "SourceEvent",
    "StreamSource",
    "TableSink",
    "VideoSink",
    "VideoSource",
    "open_table",
]
