from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from widgets.fake_front import Front

from detkit import AsyncDetector, DetectionResult, ItemFailure, PartialBatchError
from detkit.testing import FakeDetector, numbered_image
from detkit.widgets import ResultBrowser
from detkit.widgets.catalogue import ORDERS, SHOWS, Catalogue, Query

NAMES = {0: "nut", 1: "<b>bolt</b>"}


def result(*boxes: tuple[float, int]) -> DetectionResult:
    corners = [[5 + 9 * i, 5, 13 + 9 * i, 30] for i in range(len(boxes))]
    metadata = {"class_names": NAMES}
    scores, classes = [s for s, _ in boxes], [c for _, c in boxes]
    if not boxes:
        return DetectionResult.empty(metadata)
    return DetectionResult(corners, scores, classes, metadata)


OUTCOMES = [
    result((0.9, 0), (0.3, 1)),
    result(),
    ItemFailure(2, "decode", ValueError("<i>torn</i>"), "torn.jpg"),
    result((0.5, 1)),
    result((0.8, 0), (0.7, 0), (0.6, 1)),
]
IMAGES = [np.full((60, 80, 3), 40 * n, np.uint8) for n in range(5)]


def made(**options: object) -> ResultBrowser:
    browser = ResultBrowser(IMAGES, OUTCOMES, **options)  # type: ignore[arg-type]
    browser.screen.flush()
    return browser


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (Query(), [0, 1, 2, 3, 4]),
        (Query(show="failed"), [2]),
        (Query(show="with objects"), [0, 3, 4]),
        (Query(show="without objects"), [1]),
        (Query(order="most objects"), [4, 0, 3, 1, 2]),
        (Query(order="fewest objects"), [1, 3, 0, 4, 2]),
        (Query(order="most confident"), [0, 4, 3, 1, 2]),
        (Query(order="least confident"), [3, 4, 0, 1, 2]),
        (Query(order="class"), [3, 0, 4, 1, 2]),
        (Query(order="class", class_name="nut"), [0, 4, 1, 3, 2]),
        (Query(order="failed first"), [2, 0, 1, 3, 4]),
        (Query(show="with objects", class_name="<b>bolt</b>"), [0, 3, 4]),
        (Query(show="with objects", class_name="nut"), [0, 4]),
        (Query(show="with objects", confidence_threshold=0.75), [0, 4]),
        (Query(min_count=2), [0, 4]),
        (Query(show="with objects", class_name="gear"), []),
    ],
)
def test_filters_and_orders(query: Query, expected: list[int]) -> None:
    assert Catalogue(OUTCOMES).select(query).tolist() == expected


def test_a_hundred_thousand_images_are_sorted_at_once() -> None:
    catalogue = Catalogue([OUTCOMES[4]] * 100_000)
    started = time.perf_counter()
    chosen = catalogue.select(Query(order="most confident", confidence_threshold=0.65))
    assert len(chosen) == 100_000
    assert time.perf_counter() - started < 1.0


def test_pages(front: Front) -> None:
    with made(page_size=2) as browser:
        assert browser.num_pages == 3
        assert [card.index for card in browser.cards] == [0, 1]
        assert browser.parts.previous.disabled
        front.click(browser.parts.next)
        front.click(browser.parts.next)
        browser.screen.flush()
        assert [card.index for card in browser.cards] == [4, None]
        assert browser.cards[1].box.layout.display == "none"
        assert browser.parts.next.disabled
        assert browser.parts.page.value == 3 and "of 3" in browser.parts.where.value


def test_going_to_a_page(front: Front) -> None:
    with made(page_size=1) as browser:
        front.set(browser.parts.page, value=4)
        browser.screen.flush()
        assert browser.page == 3 and browser.cards[0].index == 3
        front.click(browser.parts.previous)
        browser.screen.flush()
        assert browser.parts.page.value == 3
        front.set(browser.parts.show, index=SHOWS.index("failed"))
        browser.screen.flush()
        assert browser.parts.page.value == browser.parts.page.max == 1
        assert browser.cards[0].index == 2


def test_only_the_page_shown_is_read(front: Front) -> None:
    class Lazy(list):  # type: ignore[type-arg]
        read: list[int] = []  # noqa: RUF012

        def __getitem__(self, index):  # type: ignore[no-untyped-def]
            self.read.append(index)
            return super().__getitem__(index)

    images = Lazy(IMAGES)
    with ResultBrowser(images, OUTCOMES, page_size=2) as browser:
        browser.screen.flush()
        assert set(images.read) == {0, 1}


def test_the_threshold_is_applied_live(front: Front) -> None:
    with made() as browser:
        assert "image 0: 2 objects" in browser.cards[0].picture.value
        front.set(browser.parts.confidence, value=0.5)
        browser.screen.flush()
        assert "image 0: 1 object" in browser.cards[0].picture.value


def test_filters_from_the_page(front: Front) -> None:
    with made() as browser:
        front.set(browser.parts.show, index=SHOWS.index("failed"))
        browser.screen.flush()
        assert browser.shown == [2]
        html = browser.cards[0].picture.value
        assert "torn" in html and "<i>" not in html
        front.set(browser.parts.show, index=0)
        front.set(browser.parts.order, index=ORDERS.index("most objects"))
        front.set(browser.parts.count, value=1)
        assert browser.shown == [4, 0, 3]


def test_enlarging(front: Front) -> None:
    with made() as browser:
        front.click(browser.cards[4].enlarge)
        browser.screen.flush()
        assert browser.enlarged == 4
        assert "image 4: 3 objects" in browser.parts.large.value
        front.click(browser.parts.shrink)
        browser.screen.flush()
        assert browser.parts.large.value == ""


def test_a_name_cannot_turn_what_stands_beside_it(front: Front) -> None:
    with made(sources=["\u202egpj.<b>exe</b>\x1b\n", *"bcde"]) as browser:
        assert "> gpj.&lt;b&gt;exe&lt;/b&gt;  : 2 objects<" in browser.cards[0].picture.value


def test_selection_is_a_table(front: Front) -> None:
    with made() as browser:
        assert browser.selection.empty
        front.set(browser.cards[4].chosen, value=True)
        front.set(browser.cards[2].chosen, value=True)
        front.set(browser.cards[4].mark, index=1)
        browser.screen.flush()
        table = browser.selection
        assert table["image_index"].tolist() == [2, 4]
        assert table["status"].tolist() == ["failed", "ok"]
        assert table["num_detections"].isna().tolist() == [True, False]
        assert table["mark"].tolist() == ["", "accept"]
        assert "2 selected" in browser.status_text
        front.click(browser.parts.select_all)
        assert len(browser.selection) == 5
        front.click(browser.parts.select_none)
        assert browser.selection.empty


def test_code_and_clicks_agree(front: Front) -> None:
    with made() as browser:
        browser.select(1)
        browser.mark(1, "reject")
        browser.screen.flush()
        assert browser.cards[1].chosen.value is True
        assert browser.cards[1].mark.value == "reject"
        front.set(browser.cards[1].chosen, value=False)
        assert browser.selection.empty


def test_choosing_a_class_and_all_again(front: Front) -> None:
    with made() as browser:
        assert browser.parts.class_name.label == "all classes"
        front.set(browser.parts.class_name, index=2)
        browser.screen.flush()
        assert "image 4: 2 objects" in browser.cards[4].picture.value
        front.set(browser.parts.class_name, index=0)
        browser.screen.flush()
        assert "image 4: 3 objects" in browser.cards[4].picture.value


def test_marks_are_saved_as_csv(
    front: Front, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with made() as browser:
        front.click(browser.parts.save)
        assert "nothing is marked" in browser.error_text
        front.set(browser.cards[0].mark, index=1)
        front.set(browser.cards[3].mark, index=2)
        front.set(browser.cards[4].mark, index=2)
        front.set(browser.cards[4].mark, index=0)
        front.click(browser.parts.save)
        saved = pd.read_csv(tmp_path / "marks.csv")
        assert saved["image_index"].tolist() == [0, 3]
        assert saved["mark"].tolist() == ["accept", "reject"]
        assert browser.error_text == ""


def test_accepted_images_are_saved_as_coco(
    front: Front, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with made() as browser:
        for index, mark in ((0, 1), (1, 1), (2, 1), (3, 2)):
            front.set(browser.cards[index].mark, index=mark)
        front.set(browser.parts.confidence, value=0.5)
        front.click(browser.parts.save_coco)
        assert browser.error_text == ""
        saved = json.loads((tmp_path / "marks.json").read_text())
        assert [image["id"] for image in saved["images"]] == [0, 1]  # a failed one has no boxes
        assert saved["images"][0] == {
            "id": 0,
            "file_name": "image 0",
            "width": 80,
            "height": 60,
        }
        (annotation,) = saved["annotations"]
        assert annotation["bbox"] == [5, 5, 8, 25] and annotation["area"] == 200
        assert (annotation["image_id"], annotation["category_id"]) == (0, 0)
        assert saved["categories"] == [{"id": 0, "name": "nut"}]
        assert saved["info"]["rejected"] == ["image 3"]
        with pytest.raises(ValueError, match=r"\.csv or \.json"):
            browser.save_marks(tmp_path / "marks.txt")


def test_a_picture_is_read_once_while_its_page_is_shown(front: Front) -> None:
    class Counting(list):  # type: ignore[type-arg]
        read: list[int] = []  # noqa: RUF012

        def __getitem__(self, index):  # type: ignore[no-untyped-def]
            self.read.append(index)
            return super().__getitem__(index)

    images = Counting(IMAGES)
    names = ["a", "b", "c", "d", "e"]
    with ResultBrowser(images, OUTCOMES, names, page_size=2) as browser:
        browser.screen.flush()
        for threshold in (0.1, 0.2, 0.3):
            front.set(browser.parts.confidence, value=threshold)
            browser.screen.flush()
        assert images.read == [0, 1]
        for _ in range(2):
            front.click(browser.parts.next)
            browser.screen.flush()
        assert images.read == [0, 1, 2, 3, 4] and len(browser._images._read) <= 3


def test_an_unreadable_file_costs_only_its_own_card(front: Front, tmp_path: Path) -> None:
    images = [*IMAGES[:4], tmp_path / "missing.jpg"]
    with ResultBrowser(images, OUTCOMES) as browser:
        browser.screen.flush()
        assert "ImageDecodeError" in browser.cards[4].picture.value
        assert "<img" in browser.cards[0].picture.value


def test_results_of_every_kind(front: Front) -> None:
    images = [numbered_image(n, (20, 20)) for n in range(4)]
    with AsyncDetector(FakeDetector(fail_on={2})) as detector:
        with pytest.raises(PartialBatchError) as caught:
            detector.detect_batch(images)
        with ResultBrowser(images, caught.value) as browser:
            front.set(browser.parts.show, index=SHOWS.index("failed"))
            assert browser.shown == [2]
    with pytest.raises(TypeError, match="got str"):
        ResultBrowser(images, ["a"])
    with pytest.raises(ValueError, match="1 results were given for 4 images"):
        ResultBrowser(images, [OUTCOMES[0]])


def test_the_saved_output_holds_the_page(front: Front) -> None:
    with ResultBrowser(IMAGES, OUTCOMES) as browser:
        html = browser._repr_mimebundle_()["text/html"]
        assert html.count("<img") == 5
        assert "&lt;i&gt;torn" in html
