from __future__ import annotations

import pytest

from detkit.detection.model_facts import (
    MAX_CLASSES,
    MAX_NAME_LENGTH,
    MAX_TEXT_LENGTH,
    class_names_from,
    judge_output,
    parse_metadata,
    require_detection,
    size_from,
    stride_from,
)
from detkit.errors import ModelLoadError


def test_metadata_is_parsed_as_literals_and_never_evaluated(tmp_path):
    canary = tmp_path / "canary"
    text = {
        "names": "{0: 'person', 1: 'tie'}",
        "stride": "32",
        "imgsz": f"[open({str(canary)!r}, 'w'), 640]",
        "task": "detect",
        "description": "left out",
    }
    facts = parse_metadata(text)
    assert facts["names"] == {0: "person", 1: "tie"}
    assert facts["stride"] == 32
    assert facts["task"] == "detect"
    assert isinstance(facts["imgsz"], str)
    assert "description" not in facts
    assert not canary.exists()


@pytest.mark.parametrize("value", ["(" * 5000, "9" * 5000, "[" * 200 + "]" * 200, "1+1j", "'" * 9])
def test_strange_literals_stay_text_or_become_values(value):
    assert list(parse_metadata({"names": value})) == ["names"]


def test_absurd_metadata_is_refused():
    with pytest.raises(ModelLoadError, match="metadata"):
        parse_metadata({"names": "x" * (MAX_TEXT_LENGTH + 1)})


@pytest.mark.parametrize("task", ["segment", "pose", "classify", "obb"])
def test_another_task_is_refused_by_name(task):
    with pytest.raises(ModelLoadError, match=task):
        require_detection({"task": task})


def test_detection_passes_and_other_heads_and_channels_do_not():
    require_detection({"task": "detect", "channels": 3})
    require_detection({})
    with pytest.raises(ModelLoadError, match="RT-DETR"):
        require_detection({"task": "detect", "head": "RTDETRDecoder"})
    with pytest.raises(ModelLoadError, match="channels"):
        require_detection({"channels": 1})


def test_class_names_from_all_that_is_used_in_the_wild():
    assert class_names_from({0: "a", 1: "b"}) == {0: "a", 1: "b"}
    assert class_names_from(["a", "b"]) == {0: "a", 1: "b"}
    assert class_names_from({"0": "a"}, 2) == {0: "a", 1: "class 1"}
    assert class_names_from(None, 2) == {0: "class 0", 1: "class 1"}
    assert class_names_from({0: 3}) == {0: "3"}


@pytest.mark.parametrize(
    "names, num",
    [
        ("person", 1),
        ({-1: "a"}, 1),
        ({True: "a"}, 1),
        ({"x": "a"}, 1),
        ({0: ["a"]}, 1),
        ({5: "a"}, 2),
        ({0: "a" * (MAX_NAME_LENGTH + 1)}, 1),
        (dict.fromkeys(range(MAX_CLASSES + 1), "a"), None),
        (None, MAX_CLASSES + 1),
        (None, 0),
    ],
)
def test_malformed_class_names_are_refused(names, num):
    with pytest.raises(ModelLoadError):
        class_names_from(names, num)


def test_a_name_that_no_file_can_hold_is_spelt_out():
    names = parse_metadata({"names": r"{0: 'a\ud800'}"})["names"]
    assert class_names_from(names) == {0: r"a\ud800"}


def test_stride_and_size():
    assert stride_from(None) == 32
    assert stride_from([8, 16, 64]) == 64
    assert stride_from(16) == 32
    assert size_from(None, 32) == (640, 640)
    assert size_from(500, 32) == (512, 512)
    assert size_from((384, 640), 32) == (384, 640)
    assert size_from([320], 32) == (320, 320)
    for bad in (0, -1, "640", (1, 2, 3), 10**9, (640, "x")):
        with pytest.raises(ModelLoadError):
            size_from(bad, 32)
    for bad in ("x", 0, 1e9, []):
        with pytest.raises(ModelLoadError):
            stride_from(bad)


def test_output_shapes():
    names = {i: str(i) for i in range(80)}
    assert judge_output([(1, 84, 8400)], names)[0] == "anchors"
    assert len(judge_output([(1, 84, 8400)], None)[1]) == 80
    assert judge_output([(1, 300, 6)], names)[0] == "rows"
    assert judge_output([(1, 300, 6)], names, end_to_end=True)[0] == "rows"
    assert judge_output([(1, 6, 8400)], {0: "a", 1: "b"})[0] == "anchors"


@pytest.mark.parametrize(
    "shapes",
    [
        [(1, 25200, 85)],  # YOLOv5 of old: anchors first
        [(1, 116, 8400), (1, 32, 160, 160)],  # segmentation
        [(1, 116, 8400)],
        [(1, 1000)],  # classification
        [(4, 84, 8400)],
        [(1, 3, 8400)],
        [],
    ],
)
def test_output_that_is_not_ours_is_refused_with_what_was_found(shapes):
    with pytest.raises(ModelLoadError, match="shape"):
        judge_output(shapes, {i: str(i) for i in range(80)})
