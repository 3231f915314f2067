"""The quality report's page: what it says, and that nothing a shop calls its products or files can break it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from shelfsight.catalog.picture import read_picture
from shelfsight.training.report import (
    ConfusedPair,
    HeldOutQuality,
    ProductQuality,
    ReliabilityBin,
    Report,
    SkippedFile,
    ThresholdQuality,
    TrainingImage,
)
from shelfsight.training.report_page import (
    bands,
    counted,
    half_of_mistakes,
    known_parts,
    percent,
    reliability_marks,
    render_report,
    skipped_by_reason,
    unknown_parts,
    weakest,
)
from tests.tiny import paint

if TYPE_CHECKING:
    from pathlib import Path

HELD_OUT = HeldOutQuality(
    basis="scenes",
    images=40,
    answers=40,
    accuracy=0.925,
    accuracy_interval=(0.8014, 0.9742),
    top3=0.975,
    accuracy_at_80_coverage=1.0,
    calibration_error=0.031,
    reliability=(
        ReliabilityBin(confidence=0.5, accuracy=0.5, count=10),
        ReliabilityBin(confidence=0.96, accuracy=1.0, count=30),
    ),
)
THRESHOLD = ThresholdQuality(value=0.71, answered=0.8, accuracy_when_answered=0.95, unknown_refused=0.62)
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "{{ report }}{% raw %}",
    "</style><b>",
    "\u202eÄpfel & Süßes نعناع",
)


def product(name: str, right: int = 9, held_out: int = 10, images: int = 10) -> ProductQuality:
    return ProductQuality(product=name, images=images, held_out=held_out, right=right, too_few_images=images < 3)


def make_report(*products: ProductQuality, **changes: Any) -> Report:
    products = products or (product("apple"), product("pear", 8), product("plum", 10))
    images = [TrainingImage(file=f"{p.product}/0.jpg", product=p.product, sha256="0" * 64) for p in products]
    values: dict[str, Any] = {
        "channel_id": "T_1",
        "version": "1.4.2",
        "trained_at": datetime(2026, 3, 9, 2, 0, tzinfo=UTC),
        "training_duration": 1.25,
        "backbone": "mobilenet_v2_224",
        "head": "lda",
        "settings": {"head": "lda", "shrinkage": 0.2, "views": 6, "projected": False, "seed": 7},
        "product_count": len(products),
        "image_count": sum(p.images for p in products),
        "held_out": HELD_OUT,
        "threshold": THRESHOLD,
        "products": products,
        "confusions": (),
        "skipped": (),
        "notes": (),
        "images": images,
    }
    return Report(**values | changes)


INLINE = ("a", "b", "bdi", "strong", "time")


class Page(HTMLParser):
    """A page as a browser would see it: tags with their attributes, and its words."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words = ""
        self._in_style = False
        self.feed(data.decode())
        self.words = " ".join(self.words.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: " ".join((value or "").split()) for name, value in attrs}))
        self.words += "" if tag in INLINE else " "
        self._in_style = tag == "style"

    def handle_endtag(self, tag: str) -> None:
        self.words += "" if tag in INLINE else " "
        self._in_style = self._in_style and tag != "style"

    def handle_data(self, data: str) -> None:
        self.words += "" if self._in_style else data

    def values(self, name: str) -> list[str]:
        return [attributes[name] for _, attributes in self.tags if name in attributes]


def render_page(report: Report, folder: Path) -> bytes:
    return render_report(report, lambda file: read_picture(folder / file))


def render(report: Report, folder: Path) -> Page:
    return Page(render_page(report, folder))


def test_the_first_screen_says_how_good_it_is_and_on_what_it_was_measured(tmp_path: Path) -> None:
    words = render(make_report(), tmp_path).words
    first_screen = words[: words.index("At the till")]

    assert "Channel T_1, version 1.4.2" in first_screen
    assert "3 products · 30 photos · trained 9 March 2026, 02:00 UTC" in first_screen
    assert "92.5 % of held-out photos recognised right" in first_screen
    assert "between 80.1 % and 97.4 % (95 % confidence interval)" in first_screen
    assert "held out together with all others of the same scene" in first_screen
    assert "right product among the first three offered 97.5 %" in first_screen
    assert "right on the 80 % of photos it is surest of 100 %" in first_screen


def test_the_threshold_is_explained_by_what_it_does(tmp_path: Path) -> None:
    words = render(make_report(), tmp_path).words
    assert "Below a confidence of 0.71, the threshold, the till asks instead of guessing." in words
    assert "answers 80.0 % of photos, of which 95.0 % right, and refuses 62.0 % of unknown products." in words


def test_altered_copies_are_called_optimistic(tmp_path: Path) -> None:
    page = render(make_report(held_out=HELD_OUT.model_copy(update={"basis": "views"})), tmp_path)
    assert "of held-out altered copies recognised right" in page.words
    assert "Optimistic." in page.words
    assert "expect less at the till" in page.words


def test_where_nothing_was_held_out_no_quality_is_claimed(tmp_path: Path) -> None:
    report = make_report(
        product("a", 0, 0, 1),
        product("b", 0, 0, 1),
        held_out=None,
        threshold=ThresholdQuality(value=0.5),
        notes=("No picture could be held out: add photos.",),
    )
    words = render(report, tmp_path).words
    assert "not measured" in words
    assert "this is a starting value" in words
    assert "No picture could be held out: add photos." in words
    assert "95 %" not in words
    assert "Nothing needs fixing" not in words
    assert "calibration" not in words


def test_two_products_are_said_to_be_too_few_to_try_an_unknown_one(tmp_path: Path) -> None:
    threshold = THRESHOLD.model_copy(update={"unknown_refused": None})
    words = render(make_report(product("a"), product("b"), threshold=threshold), tmp_path).words
    assert "Not measured: it takes three products" in words
    assert "unknown products" not in words


def test_a_threshold_above_every_answer_is_shown_as_asking_always(tmp_path: Path) -> None:
    threshold = ThresholdQuality(value=0.99, answered=0.0, unknown_refused=1.0)
    page = render(make_report(threshold=threshold), tmp_path)
    assert "It answers 0 % of photos, and refuses 100 % of unknown products." in page.words
    assert "Shown a product it knows: right 0 %, the till asks 100 %, wrong 0 %" in page.values("aria-label")


def test_a_good_result_says_that_nothing_needs_fixing_and_a_doubtful_one_does_not(tmp_path: Path) -> None:
    good = HELD_OUT.model_copy(update={"accuracy": 0.98, "accuracy_interval": (0.93, 0.99)})
    unsure = HELD_OUT.model_copy(
        update={"accuracy": 1.0, "accuracy_interval": (0.61, 1.0), "images": 6, "answers": 6}
    )
    weak = HELD_OUT.model_copy(update={"accuracy": 0.85, "accuracy_interval": (0.8, 0.9)})

    assert "Nothing needs fixing" in render(make_report(held_out=good), tmp_path).words
    assert "Add photos: measured on no more than 6 photos" in render(make_report(held_out=unsure), tmp_path).words
    words = render(make_report(held_out=weak), tmp_path).words
    assert "Nothing needs fixing" not in words
    assert "Start with pear: it is mistaken most often. More photos of it" in words


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_like_markup_stays_text_wherever_it_is_shown(tmp_path: Path, name: str) -> None:
    pair = ConfusedPair(product=name, taken_for="pear", count=7, images=(f"{name}/1.jpg",))
    page = render(
        make_report(
            product(name, 1),
            product("pear", 0),
            confusions=(pair, pair.model_copy(update={"product": "pear", "taken_for": name})),
            skipped=(SkippedFile(file=f"{name}.jpg", reason=f"the same as {name}"),),
            notes=(f"About {name}.",),
        ),
        tmp_path,
    )
    plain = render(make_report(product("apple", 1), product("pear", 0)), tmp_path)

    assert page.words.count(name) >= 6
    assert {tag for tag, _ in page.tags} - {"details", "summary"} <= {tag for tag, _ in plain.tags} | {"small"}
    assert not [attribute for _, names in page.tags for attribute in names if attribute.startswith("on")]


def test_the_page_needs_nothing_from_outside_and_runs_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    paint(folder / "apple" / "0.jpg", 10, 0)
    pair = ConfusedPair(product="pear", taken_for="apple", count=2, images=("apple/0.jpg",))
    data = render_page(make_report(confusions=(pair,)), folder)
    page = Page(data)

    assert all(value.startswith(("data:image/", "#")) for value in page.values("src") + page.values("href"))
    assert page.values("src")
    assert not {"script", "iframe", "object", "embed"} & {tag for tag, _ in page.tags}
    assert b"url(" not in data
    assert b"@import" not in data
    assert any(value.startswith("default-src 'none'") for value in page.values("content"))


def test_every_link_and_label_on_the_page_finds_what_it_names(tmp_path: Path) -> None:
    pair = ConfusedPair(product="pear", taken_for="apple", count=2, images=())
    page = render(
        make_report(confusions=(pair,), skipped=(SkippedFile(file="a.txt", reason="no picture"),)), tmp_path
    )
    ids = page.values("id")
    named = [value[1:] for value in page.values("href") if value.startswith("#")]
    assert len(ids) == len(set(ids))
    assert len(named) >= 5
    assert set(named) | set(" ".join(page.values("aria-labelledby")).split()) <= set(ids)
    assert all(attributes.get("alt") for tag, attributes in page.tags if tag == "img")
    assert {attributes.get("scope") for tag, attributes in page.tags if tag == "th"} == {"col", "row"}


def test_confused_pairs_are_shown_with_square_pictures_of_both(tmp_path: Path) -> None:
    paint(tmp_path / "pear" / "1.jpg", 80, 1, size=(400, 90))
    paint(tmp_path / "apple" / "0.jpg", 10, 2)
    pairs = (
        ConfusedPair(product="pear", taken_for="apple", count=3, images=("pear/1.jpg", "pear/gone.jpg")),
        ConfusedPair(product="apple", taken_for="pear", count=2, images=()),
    )
    page = render(make_report(confusions=pairs), tmp_path)
    shown = [attributes for tag, attributes in page.tags if tag == "img"]

    assert [image["title"] for image in shown] == ["pear/1.jpg", "apple/0.jpg"]
    assert all(image["width"] == image["height"] for image in shown)
    assert "3 of 10 photos mistaken" in page.words
    assert "taken for apple the other way round: 2" in page.words
    assert "Held-out photo of pear, cannot be shown" in page.values("aria-label")


def test_an_example_is_a_photo_that_was_not_itself_mistaken(tmp_path: Path) -> None:
    for name in ("apple/bad.jpg", "apple/good.jpg", "apple/worse.jpg"):
        paint(tmp_path / name, 10, 1)
    images = tuple(
        TrainingImage(file=file, product=file.split("/", maxsplit=1)[0], sha256="0" * 64)
        for file in ("apple/bad.jpg", "apple/good.jpg", "apple/worse.jpg", "pear/0.jpg")
    )
    pairs = (
        ConfusedPair(product="pear", taken_for="apple", count=3, images=()),
        ConfusedPair(product="apple", taken_for="pear", count=2, images=("apple/bad.jpg", "apple/worse.jpg")),
    )
    page = render(make_report(confusions=pairs, images=images), tmp_path)
    assert page.values("title")[0] == "apple/good.jpg"


def test_a_picture_as_thin_as_a_thread_is_shown_without_harm(tmp_path: Path) -> None:
    (tmp_path / "pear").mkdir()
    Image.new("L", (70_000, 16)).save(tmp_path / "pear" / "1.png")
    pair = ConfusedPair(product="pear", taken_for="apple", count=2, images=("pear/1.png",))
    assert len(render(make_report(confusions=(pair,)), tmp_path).values("src")) == 1


def test_five_thousand_products_make_a_page_of_less_than_a_megabyte(tmp_path: Path) -> None:
    products = [product(f"{4_000_000_000_000 + n}-some-brand-and-kind", n % 3, 2, n % 7 + 1) for n in range(5000)]
    data = render_page(make_report(*products), tmp_path)
    page = Page(data)

    assert len(data) < 1_000_000
    assert "4,975 more products" in page.words
    assert len(re.findall(rb'<th scope="row">', data)) == 5000 + len(HELD_OUT.reliability)
    in_sight = data[: data.index(b"4,975\xc2\xa0more products")]
    assert in_sight.count(b'<th scope="row">') == 25


def test_a_product_with_too_few_photos_is_flagged(tmp_path: Path) -> None:
    words = render(make_report(product("few", 1, 2, 2), product("many", 9, 10, 10)), tmp_path).words
    assert "few 1 of 2 too few 2" in words
    assert words.count("too few") == 1


def test_skipped_files_are_grouped_by_reason_and_a_long_list_is_cut(tmp_path: Path) -> None:
    skipped = (
        *(SkippedFile(file=f"{n}.jpg", reason=f"line {n}: the file does not exist") for n in range(250)),
        SkippedFile(file="a.jpg", reason="too small (4 x 4 pixels): nothing could be seen on it"),
        SkippedFile(file="b.jpg", reason="too small (9 x 4 pixels): nothing could be seen on it"),
        SkippedFile(file="c.jpg", reason="the same as d.jpg"),
    )
    assert [(reason, len(files)) for reason, files in skipped_by_reason(skipped)] == [
        ("the file does not exist", 250),
        ("too small: nothing could be seen on it", 2),
        ("the same bytes as another photo of the product", 1),
    ]
    words = render(make_report(skipped=skipped), tmp_path).words
    assert "Look at 253 files that were not used, most often because: the file does not exist." in words
    assert "and 50 more files: see report.json" in words
    assert "a.jpg too small (4 x 4 pixels): nothing could be seen on it" in words


def test_a_file_name_that_is_no_unicode_does_not_stop_the_page(tmp_path: Path) -> None:
    skipped = (SkippedFile(file="caf\udce9.jpg", reason="the file cannot be read"),)
    assert "caf\\udce9.jpg" in render(make_report(skipped=skipped), tmp_path).words


def test_the_weakest_product_comes_first_and_those_not_measured_last() -> None:
    order = weakest(
        [product("new", 0, 0), product("good", 10), product("bad once", 0, 1), product("bad", 0, 9), product("b", 5)]
    )
    assert [p.product for p in order] == ["bad", "bad once", "b", "good", "new"]


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=30))
def test_half_of_all_mistakes_are_on_the_products_named_and_on_no_fewer(numbers: list[tuple[int, int]]) -> None:
    products = [product(str(n), right, right + wrong) for n, (right, wrong) in enumerate(numbers)]
    found = half_of_mistakes(products)
    wrong = [p.held_out - p.right for p in found]
    total = sum(p.held_out - p.right for p in products)
    assert 2 * sum(wrong) >= total
    assert not wrong or 2 * sum(wrong[:-1]) < total


def test_every_product_is_in_one_band() -> None:
    shares = ((10, 10), (9, 10), (8, 10), (5, 10), (4, 10), (0, 10), (0, 0))
    parts = bands([product(str(n), *share) for n, share in enumerate(shares)])
    assert [(part.kind, part.value) for part in parts] == [
        ("all", "1"),
        ("most", "2"),
        ("some", "1"),
        ("few", "2"),
        ("none", "1"),
    ]
    assert sum(part.share for part in parts) == pytest.approx(1)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_what_happens_at_the_till_adds_up_to_everything(answered: float, right: float, refused: float) -> None:
    threshold = ThresholdQuality(value=0.5, answered=answered, accuracy_when_answered=right, unknown_refused=refused)
    for parts in (known_parts(threshold), unknown_parts(threshold)):
        assert sum(part.share for part in parts) == pytest.approx(1)
        assert all(part.share >= 0 for part in parts)


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(1, 9999), st.floats(0, 1)), max_size=15))
def test_marks_stay_within_the_plot_and_their_interval_around_them(bins: list[tuple[float, int, float]]) -> None:
    given_bins = [
        ReliabilityBin(confidence=sure, accuracy=round(count * right) / count, count=count)
        for sure, count, right in bins
    ]
    for mark in reliability_marks(given_bins):
        assert 0 <= mark.x <= 300
        assert 0 <= mark.high <= mark.y + 0.1
        assert mark.y - 0.1 <= mark.low <= 300
        assert 0 < mark.bar <= 64
        assert 3 <= mark.radius <= 8


def test_an_honest_bin_lies_on_the_diagonal() -> None:
    (mark,) = reliability_marks([ReliabilityBin(confidence=0.25, accuracy=0.25, count=4)])
    assert (mark.x, mark.y) == (75, 225)


@pytest.mark.parametrize(
    ("share", "text"),
    [(1.0, "100 %"), (0.9999, ">99.9 %"), (0.865, "86.5 %"), (0.00001, "<0.1 %"), (0.0, "0 %")],
)
def test_only_all_is_a_hundred_percent_and_only_none_is_zero(share: float, text: str) -> None:
    assert percent(share) == text.replace(" ", "\N{NO-BREAK SPACE}")


def test_a_number_agrees_with_its_noun() -> None:
    numbers = (counted(1, "photo"), counted(2936, "photo"), counted(2, "altered copy", "altered copies"))
    assert [text.replace("\N{NO-BREAK SPACE}", " ") for text in numbers] == [
        "1 photo",
        "2,936 photos",
        "2 altered copies",
    ]


def test_settings_are_named_so_that_the_training_can_be_repeated(tmp_path: Path) -> None:
    words = render(make_report(), tmp_path).words
    assert "Channel T_1 Version 1.4.2 Trained 9 March 2026, 02:00 UTC" in words
    assert "Backbone mobilenet_v2_224 Head lda Threshold 0.71" in words
    assert "Shrinkage 0.2 Views per photo 6 Projected no Seed 7" in words
