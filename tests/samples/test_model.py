"""The shipped weights: small, clean, loadable, and good at what they were trained for."""

from __future__ import annotations

import re
import zipfile

import numpy as np
import pytest

from detkit.boxes import agreement
from detkit.errors import ModelNotFoundError
from detkit.results import DetectionResult
from detkit.samples import CLASS_NAMES, sample_detector, sample_model_path, scene

PATHS = re.compile(rb"/(?:home|root|tmp|opt|work|Users|mnt)/")


def test_weights_are_shipped_and_small() -> None:
    sizes = [sample_model_path(suffix).stat().st_size for suffix in (".onnx", ".pt")]
    assert sum(sizes) <= 8_000_000


def test_unknown_suffix_says_what_there_is() -> None:
    with pytest.raises(ModelNotFoundError, match="onnx"):
        sample_model_path(".engine")  # type: ignore[arg-type]


def test_onnx_names_no_path_of_the_machine_it_was_made_on() -> None:
    assert not PATHS.search(sample_model_path(".onnx").read_bytes())


def test_pt_names_no_path_of_the_machine_it_was_made_on() -> None:
    with zipfile.ZipFile(sample_model_path(".pt")) as archive:
        pickles = [archive.read(name) for name in archive.namelist() if name.endswith(".pkl")]
    assert pickles
    assert not any(PATHS.search(content) for content in pickles)


Pairs = list[tuple[DetectionResult, DetectionResult]]


@pytest.fixture(scope="module")
def pairs() -> Pairs:
    """Found and true boxes of scenes that neither training nor measuring used."""
    detector = sample_detector()
    scenes = [scene(seed) for seed in (4_000_000, 4_000_001, 4_000_002)]
    return [(detector.detect(image), truth) for image, truth in scenes]


def test_it_finds_the_parts(pairs: Pairs) -> None:
    counted = [agreement(f.boxes, f.classes, t.boxes, t.classes) for f, t in pairs]
    found = sum(c.true_positives for c in counted)
    assert found / sum(len(t) for _, t in pairs) > 0.85


def test_it_knows_its_class_names(pairs: Pairs) -> None:
    names = pairs[0][0].metadata["class_names"]
    assert tuple(names[i] for i in range(len(CLASS_NAMES))) == CLASS_NAMES


def test_it_finds_nothing_on_a_grey_picture() -> None:
    grey = np.full((720, 1280, 3), 90, dtype=np.uint8)
    result = sample_detector().detect(grey)
    assert (result.scores < 0.5).all()
