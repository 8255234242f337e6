"""Whole jobs: files in, results out, with one detector in between.

Joins the engine, which knows nothing of files, with images and videos, which know nothing of
detectors.
"""

from detkit.pipeline.annotated import VideoSummary, annotate_video
from detkit.pipeline.folder_report import FolderReport, InputOutcome
from detkit.pipeline.image_feed import ImageRecord
from detkit.pipeline.images import ImageRun, detect_images
from detkit.pipeline.inputs import IMAGE_SUFFIXES, Inputs, find_files, sort_inputs
from detkit.pipeline.jobs import detect_to_folder
from detkit.pipeline.opening import VideoInput, open_source
from detkit.pipeline.several import NamedOutcome, VideosRun, detect_videos
from detkit.pipeline.tracking import Tracks, TrackSettings
from detkit.pipeline.video_run import VideoRun
from detkit.pipeline.videos import detect_video

__all__ = [
    "IMAGE_SUFFIXES",
    "FolderReport",
    "ImageRecord",
    "ImageRun",
    "InputOutcome",
    "Inputs",
    "NamedOutcome",
    "TrackSettings",
    "Tracks",
    "VideoInput",
    "VideoRun",
    "VideoSummary",
    "VideosRun",
    "annotate_video",
    "detect_images",
    "detect_to_folder",
    "detect_video",
    "detect_videos",
    "find_files",
    "open_source",
    "sort_inputs",
]
