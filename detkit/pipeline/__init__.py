"""Whole jobs: files in, results out, with one detector in between.

Joins the engine, which knows nothing of files, with images and videos, which know nothing of
detectors.
"""

from detkit.pipeline.annotated import VideoSummary, annotate_video
from detkit.pipeline.image_feed import ImageRecord
from detkit.pipeline.images import ImageRun, detect_images
from detkit.pipeline.inputs import IMAGE_SUFFIXES, find_files
from detkit.pipeline.jobs import FolderReport, InputOutcome, Inputs, detect_to_folder, sort_inputs
from detkit.pipeline.videos import VideoRun, detect_video

__all__ = [
    "IMAGE_SUFFIXES",
    "FolderReport",
    "ImageRecord",
    "ImageRun",
    "InputOutcome",
    "Inputs",
    "VideoRun",
    "VideoSummary",
    "annotate_video",
    "detect_images",
    "detect_to_folder",
    "detect_video",
    "find_files",
    "sort_inputs",
]
