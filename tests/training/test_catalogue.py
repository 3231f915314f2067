"""Training from a channel's catalogue: the same as from files, and nothing is read that is known."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from shelfsight.bundle.backbone import load_backbone
from shelfsight.bundle.verify import verify_bundle
from shelfsight.catalog.images import image_path
from shelfsight.errors import StorageError, TooFewProductsError
from shelfsight.storage import open_storage
from shelfsight.training.catalogue import CatalogueSource
from shelfsight.training.embed import CHUNK, Embedder, Tools, embed_chunk, missing
from shelfsight.training.progress import Counting, Silent, Step
from shelfsight.training.stored import StoredEmbeddings
from shelfsight.training.train import TrainingOptions, learn, train
from tests.tiny import paint
from tests.training.catalogue import CHANNEL, Catalogue

if TYPE_CHECKING:
    from shelfsight.training.progress import Progress
    from shelfsight.training.report import Report

WEIGHTS = ("weights.bin", "model.json", "model.onnx", "model.int8.onnx")


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    found = Catalogue(storage=open_storage(tmp_path / "storage"))
    found.add_shop(tmp_path / "shop")
    return found


@pytest.fixture
def embedder(tiny_backbone_file: str) -> Embedder:
    return Embedder(load_backbone(tiny_backbone_file))


def tools_of(catalogue: Catalogue, embedder: Embedder, progress: Progress | None = None) -> Tools:
    embeddings = StoredEmbeddings(catalogue.storage, CHANNEL, embedder.id)
    return Tools(source=catalogue.source(), embedder=embedder, embeddings=embeddings, progress=progress or Silent())


def learned(catalogue: Catalogue, embedder: Embedder, out: Path) -> Report:
    return learn(tools_of(catalogue, embedder), TrainingOptions(channel=CHANNEL), out)


def test_a_catalogue_and_a_folder_with_the_same_photos_give_the_same_recogniser(
    catalogue: Catalogue, embedder: Embedder, tiny_backbone_file: str, tmp_path: Path
) -> None:
    report = learned(catalogue, embedder, tmp_path / "catalogue")
    options = TrainingOptions(channel=CHANNEL, backbone=tiny_backbone_file)
    other = train(tmp_path / "shop", tmp_path / "folder", cache_dir=tmp_path / "cache", options=options)
    verify_bundle(tmp_path / "catalogue")
    assert [(tmp_path / "catalogue" / name).read_bytes() for name in WEIGHTS] == [
        (tmp_path / "folder" / name).read_bytes() for name in WEIGHTS
    ]
    assert (report.held_out, report.notes) == (other.held_out, other.notes)
    assert {image.file for image in report.images} == {f"{product}/{sha}" for product, sha in catalogue.pairs}


def test_a_second_training_reads_only_what_is_new_and_what_it_shows(
    catalogue: Catalogue, embedder: Embedder, tmp_path: Path
) -> None:
    learned(catalogue, embedder, tmp_path / "one")
    assert set(catalogue.read) == {sha256 for _, sha256 in catalogue.pairs}
    new = catalogue.add("product-1", paint(tmp_path / "new.jpg", 80, seed=77).read_bytes())
    catalogue.read.clear()
    report = learned(catalogue, embedder, tmp_path / "two")
    shown = {name.rpartition("/")[2] for pair in report.confusions for name in pair.images}
    assert catalogue.read.count(new) == 1 + (new in shown)
    assert len(set(catalogue.read) - shown - {new}) <= len(report.confusions)  # an example of what it was taken for


def test_confused_products_are_shown_with_their_pictures(
    catalogue: Catalogue, embedder: Embedder, tmp_path: Path
) -> None:
    for product in ("twin-1", "twin-2"):
        for number in range(5):
            path = paint(tmp_path / f"{product}-{number}.jpg", 200, seed=hash_of(product) + number)
            catalogue.add(product, path.read_bytes())
    report = learned(catalogue, embedder, tmp_path / "out")
    assert report.confusions
    assert b"data:image/jpeg;base64," in (tmp_path / "out" / "report.html").read_bytes()


def hash_of(word: str) -> int:
    return sum(map(ord, word)) * 100


def test_what_is_missing_damaged_or_given_twice_is_listed_with_its_reason(
    catalogue: Catalogue, embedder: Embedder, tmp_path: Path
) -> None:
    gone, damaged, cut = (
        catalogue.add("product-0", paint(tmp_path / f"{n}.jpg", 5, seed=500 + n).read_bytes()) for n in range(3)
    )
    both = catalogue.add("product-0", paint(tmp_path / "both.png", 9, seed=7).read_bytes())
    catalogue.add("product-2", (tmp_path / "both.png").read_bytes())
    text = catalogue.add("product-1", b"no picture")
    catalogue.storage.delete([image_path(CHANNEL, gone)])
    catalogue.storage.put(image_path(CHANNEL, damaged), b"something else")
    catalogue.storage.put(image_path(CHANNEL, cut), (tmp_path / "2.jpg").read_bytes()[:500])
    report = learned(catalogue, embedder, tmp_path / "out")
    assert {item.file: item.reason for item in report.skipped} == {
        f"product-0/{gone}": "its file is missing in the storage: add the picture again",
        f"product-0/{damaged}": "its file is damaged in the storage: add the picture again",
        f"product-0/{cut}": "its file is damaged in the storage: add the picture again",
        f"product-0/{both}": "the same picture is given for product-0 and product-2",
        f"product-2/{both}": "the same picture is given for product-0 and product-2",
        f"product-1/{text}": "not a picture in a known format (JPEG, PNG, WebP, AVIF, GIF, BMP or TIFF)",
    }
    assert report.image_count == 15


def test_a_storage_that_does_not_answer_is_no_reason_to_skip_a_picture(
    catalogue: Catalogue, embedder: Embedder, tmp_path: Path
) -> None:
    def silent(sha256: str) -> bytes:
        raise StorageError(f"cannot read {sha256}: it does not answer")

    tools = Tools(
        source=CatalogueSource(CHANNEL, catalogue.pairs, silent),
        embedder=embedder,
        embeddings=StoredEmbeddings(catalogue.storage, CHANNEL, embedder.id),
        progress=Silent(),
    )
    with pytest.raises(StorageError, match="does not answer"):
        learn(tools, TrainingOptions(channel=CHANNEL), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("products", "advice"), [(0, "Add two products with photos."), (1, "Add a second product with photos.")]
)
def test_a_channel_with_fewer_than_two_products_is_told_what_to_do(
    embedder: Embedder, tmp_path: Path, products: int, advice: str
) -> None:
    catalogue = Catalogue(storage=open_storage(tmp_path / "storage"))
    catalogue.add_shop(tmp_path / "shop", products=products) if products else None
    with pytest.raises(TooFewProductsError, match=f"channel T_1: .*{re.escape(advice)}$"):
        learned(catalogue, embedder, tmp_path / "out")


def test_the_steps_one_by_one_do_what_a_training_does(
    catalogue: Catalogue, embedder: Embedder, tmp_path: Path
) -> None:
    views = ("whole", "flip", "crop-1", "crop-2", "crop-3", "crop-4")
    images = catalogue.source().find(Silent()).images
    assert len(missing(images, views, tools_of(catalogue, embedder).embeddings)) == 15
    assert embed_chunk(images[:10], views, tools_of(catalogue, embedder)) == {}
    left = missing(images, views, tools_of(catalogue, embedder).embeddings)
    assert left == list(images[10:])
    embed_chunk(left, views, tools_of(catalogue, embedder))
    catalogue.read.clear()
    report = learned(catalogue, embedder, tmp_path / "out")
    shown = {name.rpartition("/")[2] for pair in report.confusions for name in pair.images}
    assert len(set(catalogue.read) - shown) <= len(report.confusions)
    assert len(images) < CHUNK


def test_progress_says_how_much_is_done_of_how_much(catalogue: Catalogue, embedder: Embedder, tmp_path: Path) -> None:
    steps: list[Step] = []
    learn(tools_of(catalogue, embedder, Counting(steps.append)), TrainingOptions(channel=CHANNEL), tmp_path / "out")
    assert [step.stage for step in steps if step.done == 0] == [
        "Looking at photos",
        "Learning products",
        "Writing the bundle",
    ]
    assert Step(stage="Looking at photos", done=15, total=15) in steps
