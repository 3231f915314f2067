"""Training from photos to bundle: what comes out, what is refused, and that nothing good is ever lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from shelfsight.bundle.recogniser import Runtime
from shelfsight.bundle.verify import load_bundle, verify_bundle
from shelfsight.errors import OutputError, SourceError, TooFewProductsError, UsageError
from shelfsight.training.evaluate import evaluate
from shelfsight.training.rules import HeadKind
from shelfsight.training.train import TrainingOptions, train
from shelfsight.training.trained_on import training_photos
from shelfsight.training.views import make_view
from tests.conftest import CORNER_SHOP
from tests.tiny import paint, paint_shop

WEIGHTS = ("weights.bin", "model.json", "model.onnx", "model.int8.onnx", "model.shards.json")
"""All but model.ort: onnxruntime writes the same weights and nodes into it, its index of kernels in any order."""


@pytest.fixture
def options(tiny_backbone_file: str) -> TrainingOptions:
    return TrainingOptions(backbone=tiny_backbone_file)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return paint_shop(tmp_path / "shop")


def weights(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in WEIGHTS}


def test_the_same_photos_and_seed_give_the_same_weights_byte_for_byte(tmp_path: Path) -> None:
    train(CORNER_SHOP, tmp_path / "cold", cache_dir=tmp_path / "cache")
    train(CORNER_SHOP, tmp_path / "warm", cache_dir=tmp_path / "cache")
    train(CORNER_SHOP, tmp_path / "anew", cache_dir=tmp_path / "other")
    assert weights(tmp_path / "cold") == weights(tmp_path / "warm") == weights(tmp_path / "anew")
    picture = np.random.default_rng(0).integers(0, 256, (1, 224, 224, 3), dtype=np.uint8)
    cold, warm = (load_bundle(tmp_path / name, Runtime.ORT) for name in ("cold", "warm"))
    assert np.array_equal(cold.probabilities(picture), warm.probabilities(picture))


def test_the_example_shop_is_recognised_and_the_report_says_how_well(demo_bundle: Path) -> None:
    report = json.loads((demo_bundle / "report.json").read_bytes())
    assert report["productCount"] == 12
    assert report["imageCount"] == len(report["images"]) == 120
    assert report["heldOut"]["basis"] == "scenes"
    assert report["heldOut"]["accuracy"] > 0.9
    low, high = report["heldOut"]["accuracyInterval"]
    assert low < report["heldOut"]["accuracy"] < high
    assert {product["images"] for product in report["products"]} == {10}
    assert sum(b["count"] for b in report["heldOut"]["reliability"]) == report["heldOut"]["images"]
    wrong = report["heldOut"]["images"] - sum(product["right"] for product in report["products"])
    assert sum(pair["count"] for pair in report["confusions"]) == wrong


def test_a_second_run_embeds_only_what_is_new(shop: Path, tmp_path: Path, options: TrainingOptions) -> None:
    calls = []

    def counted(*args: Any) -> Image.Image:
        calls.append(args)
        return make_view(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shelfsight.training.embed.make_view", counted)
        train(shop, tmp_path / "out", cache_dir=tmp_path / "cache", options=options)
        first = len(calls)
        paint(shop / "product-0" / "new.jpg", 0, seed=99)
        train(shop, tmp_path / "out", cache_dir=tmp_path / "cache", options=options)
    assert first == 15 * 6
    assert len(calls) - first == 6


@pytest.mark.parametrize("kind", list(HeadKind))
def test_every_head_can_be_asked_for(shop: Path, tmp_path: Path, tiny_backbone_file: str, kind: HeadKind) -> None:
    report = train(
        shop,
        tmp_path / "out",
        cache_dir=tmp_path / "cache",
        options=TrainingOptions(backbone=tiny_backbone_file, head=kind),
    )
    assert report.head == kind.value
    assert evaluate(load_bundle(tmp_path / "out"), shop).accuracy > 0.6


def test_a_bundle_says_which_photos_it_was_trained_on_and_one_without_a_report_says_nothing(
    shop: Path, tmp_path: Path, options: TrainingOptions
) -> None:
    out = tmp_path / "out"
    report = train(shop, out, cache_dir=tmp_path / "cache", options=options)
    photos = training_photos(out)
    assert evaluate(load_bundle(out), shop, training_photos=photos).trained_on == report.image_count
    (out / "report.json").write_text("{}")
    assert training_photos(out) is None
    (out / "report.json").unlink()
    assert training_photos(out) is None
    assert evaluate(load_bundle(out), shop).trained_on is None


def test_one_studio_picture_each_takes_the_nearest_mean(tmp_path: Path, options: TrainingOptions) -> None:
    for number in range(4):
        studio = Image.new("RGB", (120, 120), "white")
        with Image.open(paint(tmp_path / f"{number}.jpg", 60 * number, seed=number)) as photo:
            studio.paste(photo.resize((60, 60)), (30, 30))
        (tmp_path / "shop" / f"p{number}").mkdir(parents=True)
        studio.save(tmp_path / "shop" / f"p{number}" / "studio.png")
    report = train(tmp_path / "shop", tmp_path / "out", cache_dir=tmp_path / "cache", options=options)
    assert report.head == "mean"
    assert report.held_out is not None
    assert report.held_out.basis == "views"
    assert any("expect less at the till" in note for note in report.notes)
    assert all(product.too_few_images for product in report.products)


def test_one_photo_each_takes_ridge(tmp_path: Path, options: TrainingOptions) -> None:
    shop = paint_shop(tmp_path / "shop", photos=1)
    report = train(shop, tmp_path / "out", cache_dir=tmp_path / "cache", options=options)
    assert report.head == "ridge"


def test_two_products_are_enough_and_the_report_says_what_they_cannot_do(
    tmp_path: Path, options: TrainingOptions
) -> None:
    shop = paint_shop(tmp_path / "shop", products=2)
    report = train(shop, tmp_path / "out", cache_dir=tmp_path / "cache", options=options)
    assert report.threshold.unknown_refused is None
    assert any("With two products" in note for note in report.notes)


def test_names_in_any_script_are_kept(tmp_path: Path, options: TrainingOptions) -> None:
    for number, name in enumerate(["Käse & Brot", "牛奶", "молоко 3,2 %"]):
        for photo in range(3):
            paint(tmp_path / "shop" / name / f"{photo}.jpg", 80 * number, seed=10 * number + photo)
    train(tmp_path / "shop", tmp_path / "out", cache_dir=tmp_path / "cache", options=options)
    assert load_bundle(tmp_path / "out").labels == ("Käse & Brot", "молоко 3,2 %", "牛奶")


def test_bad_files_are_listed_with_the_reason_and_cost_nothing(
    shop: Path, tmp_path: Path, options: TrainingOptions
) -> None:
    clean = train(shop, tmp_path / "clean", cache_dir=tmp_path / "cache", options=options)
    good = (shop / "product-1" / "0.jpg").read_bytes()
    (shop / "product-1" / "cut.jpg").write_bytes(good[: len(good) // 2])
    (shop / "product-1" / "empty.jpg").write_bytes(b"")
    (shop / "product-1" / "notes.txt").write_text("not a photo")
    Path(os.fsdecode(os.fsencode(shop) + b"/product-1/caf\xe9.txt")).write_text("a name from an old Windows")
    (shop / "product-1" / "copy.jpg").write_bytes(good)
    (shop / "product-0" / "both.png").write_bytes(paint(tmp_path / "x.png", 9, seed=7).read_bytes())
    (shop / "product-2" / "both.png").write_bytes((tmp_path / "x.png").read_bytes())
    report = train(shop, tmp_path / "out", cache_dir=tmp_path / "cache", options=options)
    reasons = {item.file: item.reason for item in report.skipped}
    assert reasons["product-1/empty.jpg"] == "the file is empty"
    assert "not a picture" in reasons["product-1/notes.txt"]
    assert "damaged or cut off" in reasons["product-1/cut.jpg"]
    assert reasons["product-1/copy.jpg"] == "the same as 0.jpg"
    assert reasons["product-0/both.png"] == "the same picture is given for product-0 and product-2"
    assert reasons["product-2/both.png"] == reasons["product-0/both.png"]
    assert "not a picture" in reasons["product-1/caf?.txt"]
    assert len(reasons) == 7
    assert report.image_count == clean.image_count
    assert weights(tmp_path / "out") == weights(tmp_path / "clean")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda shop: paint(shop / "only" / "1.jpg", 0, seed=1), "only 'only' has one"),
        (lambda shop: (shop / "empty").mkdir(), r"none has one.* Add photos that can be used\."),
    ],
)
def test_fewer_than_two_products_are_refused_and_nothing_is_written(
    tmp_path: Path, options: TrainingOptions, make: object, said: str
) -> None:
    (tmp_path / "shop").mkdir()
    make(tmp_path / "shop")  # type: ignore[operator]
    with pytest.raises(TooFewProductsError, match=said):
        train(tmp_path / "shop", tmp_path / "out", cache_dir=tmp_path / "cache", options=options)
    assert not (tmp_path / "out").exists()


def test_files_that_are_no_pictures_do_not_change_how_the_others_are_learned(
    tmp_path: Path, options: TrainingOptions
) -> None:
    shop = paint_shop(tmp_path / "shop", photos=1)
    clean = train(shop, tmp_path / "clean", cache_dir=tmp_path / "cache", options=options)
    for product in shop.iterdir():
        for number in range(9):
            (product / f"{number}.heic").write_bytes(bytes(4) + b"ftypheic" + bytes([number]) * 40)
    report = train(shop, tmp_path / "out", cache_dir=tmp_path / "cache", options=options)
    assert (report.head, report.settings) == (clean.head, clean.settings)
    assert weights(tmp_path / "out") == weights(tmp_path / "clean")


def test_a_refusal_says_why_the_photos_cannot_be_used(tmp_path: Path, options: TrainingOptions) -> None:
    for product in ("milk", "bread"):
        (tmp_path / "shop" / product).mkdir(parents=True)
        (tmp_path / "shop" / product / "1.heic").write_bytes(bytes(4) + b"ftypheic" + product.encode() * 9)
    with pytest.raises(TooFewProductsError, match="2 skipped, most often because: HEIC/HEIF is not supported"):
        train(tmp_path / "shop", tmp_path / "out", cache_dir=tmp_path / "cache", options=options)


def test_views_of_one_photo_do_not_make_it_more_certain(tmp_path: Path, options: TrainingOptions) -> None:
    shop = paint_shop(tmp_path / "shop", products=4, photos=1)
    held_out = train(shop, tmp_path / "out", cache_dir=tmp_path / "cache", options=options).held_out
    assert held_out is not None
    assert (held_out.images, held_out.answers) == (4, 4 * 18)
    low, high = held_out.accuracy_interval
    assert high - low > 0.3


def test_a_product_whose_only_photo_is_broken_does_not_count(tmp_path: Path, options: TrainingOptions) -> None:
    shop = paint_shop(tmp_path / "shop", products=1)
    (shop / "broken").mkdir()
    (shop / "broken" / "1.jpg").write_bytes(b"no picture")
    with pytest.raises(TooFewProductsError, match="only 'product-0' has one"):
        train(shop, tmp_path / "out", cache_dir=tmp_path / "cache", options=options)


def test_a_refused_training_keeps_the_older_bundle(shop: Path, tmp_path: Path, options: TrainingOptions) -> None:
    train(shop, tmp_path / "out", cache_dir=tmp_path / "cache", options=options)
    before = weights(tmp_path / "out")
    with pytest.raises(SourceError):
        train(tmp_path / "nowhere", tmp_path / "out", cache_dir=tmp_path / "cache", options=options)
    assert weights(tmp_path / "out") == before


def test_a_folder_with_something_else_in_it_is_never_overwritten(
    shop: Path, tmp_path: Path, options: TrainingOptions
) -> None:
    with pytest.raises(OutputError, match="'product-0', which is no part of a bundle"):
        train(paint_shop(tmp_path / "other"), shop, cache_dir=tmp_path / "cache", options=options)
    train(shop, tmp_path / "out", cache_dir=tmp_path / "cache", options=options)
    (tmp_path / "out" / "my notes.txt").write_text("precious")
    with pytest.raises(OutputError, match=r"my notes\.txt"):
        train(shop, tmp_path / "out", cache_dir=tmp_path / "cache", options=options)
    assert (tmp_path / "out" / "my notes.txt").read_text() == "precious"
    assert len(list(shop.rglob("*.jpg"))) == 15


@pytest.mark.parametrize("inside", [".", "bundle", "product-0/bundle"])
def test_a_bundle_among_the_photos_is_refused(
    shop: Path, tmp_path: Path, options: TrainingOptions, inside: str
) -> None:
    with pytest.raises(UsageError, match="name a folder outside"):
        train(shop, shop / inside, cache_dir=tmp_path / "cache", options=options)


def test_a_link_to_the_place_is_followed(shop: Path, tmp_path: Path, options: TrainingOptions) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for _ in range(2):
        train(shop, tmp_path / "link", cache_dir=tmp_path / "cache", options=options)
    assert (tmp_path / "link").is_symlink()
    verify_bundle(tmp_path / "real")


def test_a_place_that_cannot_be_written_is_said(shop: Path, tmp_path: Path, options: TrainingOptions) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot write"):
        train(shop, tmp_path / "file" / "out", cache_dir=tmp_path / "cache", options=options)


def test_a_cache_that_cannot_be_used_is_a_note_and_no_failure(
    shop: Path, tmp_path: Path, options: TrainingOptions
) -> None:
    (tmp_path / "file").write_text("in the way")
    report = train(shop, tmp_path / "out", cache_dir=tmp_path / "file", options=options)
    assert any("training goes on without it" in note for note in report.notes)


@pytest.mark.parametrize(
    "wrong",
    [
        {"channel": "../up"},
        {"channel": ""},
        {"version": "1.0"},
        {"version": "v1.0.0"},
        {"version": "1.1٤.2"},
        {"version": "1.0.0-.."},
        {"version": "1.0.0-01"},
    ],
)
def test_ids_that_no_path_could_hold_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="use"):
        TrainingOptions(**wrong)  # type: ignore[arg-type]


def test_a_head_of_thousands_of_products_is_projected_and_small(tmp_path: Path, tiny_backbone_file: str) -> None:
    from shelfsight.training import rules

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rules, "PROJECTED_FROM", 3)
        shop = paint_shop(tmp_path / "shop")
        options = TrainingOptions(backbone=tiny_backbone_file)
        train(shop, tmp_path / "out", cache_dir=tmp_path / "cache", options=options)
    manifest = verify_bundle(tmp_path / "out")
    assert [blob.part for blob in manifest.blobs] == ["backbone", "projection", "head"]
    assert evaluate(load_bundle(tmp_path / "out"), shop).accuracy > 0.6


def start(source: Path, out: Path, cache: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "shelfsight", "train", str(source), "--out", str(out)],
        env={**os.environ, "SHELFSIGHT_CACHE_DIR": str(cache)},
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_embeddings(cache: Path, process: subprocess.Popen[str]) -> None:
    """Wait until the first batch is in the cache, so that the signal comes half way."""
    wal = cache / "embeddings-1.sqlite-wal"
    while process.poll() is None and not (wal.exists() and wal.stat().st_size > 500_000):
        time.sleep(0.02)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_stopped_half_way_there_is_no_half_bundle_and_the_cache_is_good(
    tmp_path: Path, demo_bundle: Path, how: signal.Signals
) -> None:
    out, cache = tmp_path / "place" / "out", tmp_path / "cache"
    process = start(CORNER_SHOP, out, cache)
    wait_for_embeddings(cache, process)
    process.send_signal(how)
    _, said = process.communicate()
    wanted = {signal.SIGKILL: -signal.SIGKILL, signal.SIGTERM: 143, signal.SIGINT: 130}[how]
    assert process.returncode == wanted, said
    assert "Traceback" not in said
    assert not out.exists()
    report = train(CORNER_SHOP, out, cache_dir=cache)
    assert report.notes == ()
    assert weights(out) == weights(demo_bundle)


def test_killed_while_the_bundle_is_written_the_older_one_is_whole(tmp_path: Path, demo_bundle: Path) -> None:
    out, cache = tmp_path / "out", tmp_path / "cache"
    shutil.copytree(demo_bundle, out)
    for _ in range(3):
        process = start(CORNER_SHOP, out, cache)
        while process.poll() is None and not list(tmp_path.glob(".out.staging-*")):
            time.sleep(0.002)
        process.kill()
        process.communicate()
        verify_bundle(out)
    train(CORNER_SHOP, out, cache_dir=cache)
    verify_bundle(out)


def test_two_trainings_into_one_place_leave_one_whole_bundle(tmp_path: Path) -> None:
    out, cache = tmp_path / "out", tmp_path / "cache"
    both = [start(CORNER_SHOP, out, cache) for _ in range(2)]
    codes = [(process.communicate()[1], process.returncode) for process in both]
    assert min(code for _, code in codes) == 0, codes
    verify_bundle(out)
