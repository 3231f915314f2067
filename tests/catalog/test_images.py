"""Pictures come in whole or not at all, are kept once, and their files are there as long as anybody has them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from PIL import Image as Pillow

from shelfsight.catalog.images import (
    MAX_IMAGE_BYTES,
    Added,
    Outcome,
    Upload,
    add_images,
    image_path,
    read_image,
    unreferenced_images,
)
from shelfsight.catalog.rules import ProductDetails, Stamp
from shelfsight.catalog.store import images, products
from shelfsight.catalog.store.changes import changes_since
from shelfsight.errors import ConflictError, NotFoundError, StorageError
from shelfsight.storage import open_storage
from tests.catalog.test_picture import encoded

if TYPE_CHECKING:
    from pathlib import Path

    from shelfsight.database.engine import Database
    from shelfsight.storage import Storage

MARIA = Stamp(actor="maria", at=datetime.now(UTC))
RED = encoded(Pillow.new("RGB", (40, 30), "red"), "JPEG")
BLUE = encoded(Pillow.new("RGB", (40, 30), "blue"), "PNG")
BAD = {
    "empty": (b"", "empty"),
    "text": (b"just some text that is no picture", "not a picture"),
    "heic": (b"\x00\x00\x00\x18ftypheic" + bytes(40), "HEIC"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture"),
    "small": (encoded(Pillow.new("RGB", (8, 300)), "PNG"), "too small"),
    "cut off": (BLUE[: len(BLUE) // 2], "damaged or cut off"),
    "bomb": (encoded(Pillow.new("1", (8000, 8000)), "PNG"), "too large"),
    "huge": (RED + bytes(MAX_IMAGE_BYTES), "larger than 50 MiB"),
}


@dataclass(frozen=True)
class Shop:
    """A database and a storage, with the products p and q."""

    database: Database
    storage: Storage

    def add(self, product_id: str, *data: bytes) -> list[Added]:
        uploads = [Upload(name=f"{number}.jpg", data=each) for number, each in enumerate(data)]
        return add_images(self, "default", product_id, uploads, MARIA)

    def remove(self, product_id: str, data: bytes) -> None:
        with self.database.write() as connection:
            images.remove(connection, "default", product_id, sha256(data), MARIA)

    def files(self) -> list[str]:
        return sorted(file.path for file in self.storage.list("images"))

    def unreferenced(self, before: datetime) -> list[str]:
        return [path for some in unreferenced_images(self, "default", before=before) for path in some]


@pytest.fixture
def shop(database: Database, tmp_path: Path) -> Shop:
    with database.write() as connection:
        products.put(connection, "default", {one: ProductDetails(name=one) for one in ("p", "q")}, MARIA)
    return Shop(database, open_storage(tmp_path / "assets"))


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def path_of(data: bytes) -> str:
    return image_path("default", sha256(data))


def test_a_picture_comes_back_as_it_was_sent(shop: Shop) -> None:
    assert shop.add("p", RED) == [Added(name="0.jpg", outcome=Outcome.ADDED, sha256=sha256(RED))]
    assert read_image(shop.storage, "default", sha256(RED)) == RED
    with shop.database.read() as connection:
        image = images.get(connection, "default", "p", sha256(RED))
    assert (image.media_type, image.size_bytes) == ("image/jpeg", len(RED))
    assert (image.width, image.height) == (40, 30)


def test_the_size_is_that_of_the_upright_picture(shop: Shop) -> None:
    exif = Pillow.Exif()
    exif[0x0112] = 6
    turned = encoded(Pillow.new("RGB", (40, 30), "red"), "JPEG", exif=exif)
    shop.add("p", turned)
    with shop.database.read() as connection:
        image = images.get(connection, "default", "p", sha256(turned))
    assert (image.width, image.height) == (30, 40)


@pytest.mark.parametrize(
    ("kind", "media_type"),
    [
        ("JPEG", "image/jpeg"),
        ("MPO", "image/jpeg"),
        ("PNG", "image/png"),
        ("WEBP", "image/webp"),
        ("GIF", "image/gif"),
        ("BMP", "image/bmp"),
        ("TIFF", "image/tiff"),
        ("AVIF", "image/avif"),
    ],
)
def test_the_media_type_is_that_of_the_bytes(shop: Shop, kind: str, media_type: str) -> None:
    options = {"save_all": True, "append_images": [Pillow.new("RGB", (40, 30))]} if kind == "MPO" else {}
    data = encoded(Pillow.new("RGB", (40, 30), "red"), kind, **options)
    (added,) = add_images(shop, "default", "p", [Upload(name="it.svg", data=data)], MARIA)
    with shop.database.read() as connection:
        assert images.get(connection, "default", "p", added.sha256 or "").media_type == media_type


def test_bad_pictures_are_refused_with_the_reason_and_the_good_ones_beside_them_kept(shop: Shop) -> None:
    results = shop.add("p", RED, *(data for data, _ in BAD.values()), BLUE)
    assert [one.outcome for one in results] == [Outcome.ADDED, *[Outcome.REFUSED] * len(BAD), Outcome.ADDED]
    for one, (_, reason) in zip(results[1:-1], BAD.values(), strict=True):
        assert reason in (one.reason or "")
        assert one.sha256 is None
    assert shop.files() == sorted([path_of(RED), path_of(BLUE)])


def test_the_same_picture_is_added_once_and_stored_once(shop: Shop) -> None:
    first = shop.add("p", RED, RED)
    stored_at = shop.storage.head(path_of(RED)).modified_at
    second = shop.add("p", RED)
    assert [one.outcome for one in first + second] == [Outcome.ADDED, Outcome.ALREADY_THERE, Outcome.ALREADY_THERE]
    assert shop.files() == [path_of(RED)]
    assert shop.storage.head(path_of(RED)).modified_at == stored_at
    with shop.database.read() as connection:
        kinds = [entry.kind for entry in changes_since(connection, "default", 2, 100)]
    assert kinds == ["image-added"]


def test_the_same_picture_under_two_products_is_told(shop: Shop) -> None:
    shop.add("p", RED)
    assert shop.add("q", RED, BLUE) == [
        Added(name="0.jpg", outcome=Outcome.ADDED, sha256=sha256(RED), also_under=("p",)),
        Added(name="1.jpg", outcome=Outcome.ADDED, sha256=sha256(BLUE)),
    ]
    with shop.database.write() as connection:
        products.delete(connection, "default", "q", stamp=MARIA)
    assert shop.add("p", BLUE)[0].also_under == ()


def test_nothing_is_stored_for_a_product_that_is_deleted_or_not_there(shop: Shop) -> None:
    with shop.database.write() as connection:
        products.delete(connection, "default", "q", stamp=MARIA)
    with pytest.raises(ConflictError, match="restore it first"):
        shop.add("q", RED)
    with pytest.raises(NotFoundError):
        shop.add("never", RED)
    assert shop.files() == []


def test_no_row_is_without_its_file_when_the_storage_fails(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: str, data: bytes, *, create: bool = False) -> None:
        raise StorageError("the disk is full")

    monkeypatch.setattr(shop.storage, "put", fail)
    with pytest.raises(StorageError):
        shop.add("p", RED)
    with shop.database.read() as connection:
        assert images.count(connection, "default") == 0


def test_a_file_that_was_lost_is_there_again_once_its_picture_is_sent_again(shop: Shop) -> None:
    shop.add("p", RED)
    shop.storage.delete([path_of(RED)])
    assert shop.add("q", RED)[0].outcome is Outcome.ADDED
    assert read_image(shop.storage, "default", sha256(RED)) == RED


def test_only_old_files_that_no_product_has_are_for_the_clean_up(shop: Shop) -> None:
    shop.add("p", RED, BLUE)
    shop.add("q", RED)
    later = datetime.now(UTC) + timedelta(days=1)
    assert shop.unreferenced(later) == []
    shop.remove("p", RED)
    assert shop.unreferenced(later) == []
    shop.remove("q", RED)
    assert shop.unreferenced(later) == [path_of(RED)]
    assert shop.unreferenced(datetime.now(UTC) - timedelta(days=1)) == []
    assert shop.files() == sorted([path_of(RED), path_of(BLUE)])


def test_the_pictures_of_a_deleted_product_are_kept_for_its_return(shop: Shop) -> None:
    shop.add("p", RED)
    with shop.database.write() as connection:
        products.delete(connection, "default", "p", stamp=MARIA)
    assert shop.unreferenced(datetime.now(UTC) + timedelta(days=1)) == []
