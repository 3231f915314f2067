"""Products and photos by command: one by one, by CSV, and a folder of photos at once."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from shelfsight.catalog.images import Added, Upload
from shelfsight.catalog.store import changes
from shelfsight.cli import image_sources
from shelfsight.database.engine import open_database
from shelfsight.settings import service_settings
from tests.cli.command import done, run_here
from tests.conftest import ROOT
from tests.tiny import paint, paint_shop

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

EXAMPLE = ROOT / "examples" / "corner-shop.csv"
HEADER = "id,name,sku,barcodes,price,currency\n"


def _products(*options: str) -> dict[str, dict[str, object]]:
    return {one["id"]: one for one in json.loads(done("products", "list", "default", "--json", *options))}


def _changes() -> int:
    """Return how many changes the channel has seen."""
    database = open_database(service_settings().database_url)
    with database.read() as connection:
        found = changes.changes_since(connection, "default", 0, 10_000)
    database.close()
    assert {change.actor for change in found} <= {"cli:anna"}
    return len(found)


def _csv(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "products.csv"
    path.write_text(text, encoding="utf-8")
    return path


def _hashes(product: str) -> list[str]:
    return [image["sha256"] for image in json.loads(done("images", "list", "default", product, "--json"))]


def test_a_product_is_added_changed_found_removed_and_restored(data: Path) -> None:
    codes = ("--sku", "K-1", "--barcode", "4001", "--barcode", "4002", "--price", "1.50", "--currency", "EUR")
    assert done("products", "add", "default", "--name", "Käse", "--id", "kaese", *codes) == "kaese\n"
    new = done("products", "add", "default", "--name", "Brot").strip()
    assert set(_products()) == {"kaese", new}
    assert set(_products("--search", "KASE")) == set(_products("--search", "4002")) == {"kaese"}
    changed = json.loads(
        done("products", "set", "default", "kaese", "--price", "2", "--sku", "", "--barcode", "4003", "--json")
    )
    assert changed == _products()["kaese"]
    assert (changed["name"], changed["sku"], changed["barcodes"]) == ("Käse", None, ["4003"])
    assert (changed["price"], changed["currency"]) == ("2.00", "EUR")
    done("products", "set", "default", "kaese", "--price", "", "--currency", "", "--barcode", "", "--name", "Gouda")
    assert done("products", "list", "default", "--search", "gouda").splitlines()[1] == "kaese\tGouda\t\t\t\t"
    assert done("products", "remove", "default", "kaese", new) == f"Removed kaese\nRemoved {new}\n"
    assert _products() == {}
    assert set(_products("--deleted")) == {"kaese", new}
    assert done("products", "restore", "default", "kaese") == "Restored kaese\n"
    assert set(_products()) == {"kaese"}


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["add", "none", "--name", "x"], 1, "channel 'none' is not there"),
        (["add", "default", "--name", "x", "--id", "there"], 3, "is there already"),
        (["add", "default", "--name", "x", "--id", "a/b"], 2, "reads like a path"),
        (["add", "default", "--name", "x", "--price", "1"], 2, "Name a currency"),
        (["add", "default", "--name", "x", "--price", "cheap", "--currency", "EUR"], 2, "price is 'cheap'"),
        (["set", "default", "none", "--name", "x"], 1, "product 'none' is not in channel"),
        (["remove", "default", "there", "none"], 1, "product 'none' is not in channel"),
        (["restore", "default", "none"], 1, "product 'none' is not in channel"),
        (["list", "none"], 1, "channel 'none' is not there"),
        (["export", "none"], 1, "channel 'none' is not there"),
        (["import", "none", str(EXAMPLE)], 1, "channel 'none' is not there"),
        (["import", "default", "/nowhere.csv"], 1, "/nowhere.csv cannot be read"),
    ],
)
def test_what_cannot_be_done_with_a_product_is_said(data: Path, arguments: list[str], code: int, said: str) -> None:
    done("products", "add", "default", "--name", "There", "--id", "there")
    refused = run_here("products", *arguments)
    assert refused.returncode == code
    assert said in refused.stderr


def test_the_same_file_imported_twice_changes_nothing(data: Path) -> None:
    assert done("products", "import", "default", EXAMPLE).startswith("Added 12, changed 0, restored 0, unchanged 0,")
    before = _changes()
    assert done("products", "import", "default", EXAMPLE).startswith("Added 0, changed 0, restored 0, unchanged 12,")
    assert _changes() == before == 12


def test_what_was_exported_is_imported_as_the_same(data: Path, tmp_path: Path) -> None:
    done("products", "import", "default", EXAMPLE)
    odd = ("--name", 'Käse, "alt"', "--barcode", "4001", "--barcode", "40 02", "--sku", "a;b")
    done("products", "add", "default", "--id", "ця груша", *odd)
    exported = done("products", "export", "default")
    assert exported.startswith(HEADER)
    done("channels", "add", "other")
    assert done("products", "import", "other", _csv(tmp_path, exported)).startswith("Added 13,")
    assert done("products", "export", "other") == exported


def test_bad_rows_are_listed_with_line_and_reason_and_the_good_ones_kept(data: Path, tmp_path: Path) -> None:
    rows = [
        "a,Apple,,4001|4002,1.50,EUR",
        "b,Birne,,,cheap,EUR",
        ",No id,,,,",
        "a,Apple again,,,,",
        "c,Cheese,,,2,",
        ",,,,,",
        '"d","two\nlines",,,,',
        "e,Egg,,,,,extra",
        "f,Fig,,4003|4003,,",
        "g,Gouda,,,3,EUR",
    ]
    said = done("products", "import", "default", _csv(tmp_path, HEADER + "\n".join(rows)))
    assert said.splitlines() == [
        "refused line 3: price is 'cheap': write it as 1.50",
        "refused line 4: '' cannot be the id of a product: it must have 1 to 128 characters",
        "refused line 5: product 'a' is in line 2 already",
        "refused line 6: price is 2 of what? Name a currency, such as EUR",
        "refused line 9: name has a control character or half a character: leave it out",
        "refused line 10: it has more cells than there are columns",
        "refused line 11: barcodes are 4003, 4003: name each once",
        "Added 2, changed 0, restored 0, unchanged 0, refused 7",
    ]
    assert {product: one["barcodes"] for product, one in _products().items()} == {"a": ["4001", "4002"], "g": []}


def test_a_file_without_a_good_row_exits_with_1(data: Path, tmp_path: Path) -> None:
    refused = run_here("products", "import", "default", _csv(tmp_path, "id,price\na,1\n"))
    assert refused.returncode == 1
    assert refused.stdout.endswith("refused 1\n")
    assert done("products", "import", "default", _csv(tmp_path, HEADER)).startswith("Added 0,")


def test_what_a_file_has_no_column_for_stays_and_deleted_products_come_back(data: Path, tmp_path: Path) -> None:
    done("products", "import", "default", EXAMPLE)
    done("products", "remove", "default", "lemon")
    prices = "\ufeffPrice;ID\n0,35;banana\n0,99;lemon\n1,234;pineapple\n"
    said = done("products", "import", "default", _csv(tmp_path, prices))
    assert said == (
        "refused line 4: price is '1,234': write it as 1.50\nAdded 0, changed 1, restored 1, unchanged 0, refused 1\n"
    )
    found = _products()
    assert (found["banana"]["name"], found["banana"]["price"], found["banana"]["currency"]) == (
        "Bananas",
        "0.35",
        "EUR",
    )
    assert (found["lemon"]["sku"], found["lemon"]["price"]) == ("FRU-003", "0.99")
    assert found["pineapple"]["price"] == "2.49"


def test_a_large_file_is_imported_in_parts(data: Path, tmp_path: Path) -> None:
    rows = "".join(f"p{number},Product {number},,,,\n" for number in range(1201))
    assert done("products", "import", "default", _csv(tmp_path, HEADER + rows)).startswith("Added 1201,")
    assert len(_products()) == 1201
    assert done("products", "list", "default").count("\n") == 1202


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"name,price\nx,1\n", "needs the column id"),
        (b"id,name,name\nx,a,b\n", "each column once"),
        (b"", "needs the column id"),
        (b"id,name\n\xff\xfe,x\n", "is not a CSV file in UTF-8"),
    ],
)
def test_a_file_that_is_no_list_of_products_is_refused(data: Path, tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "products.csv"
    path.write_bytes(content)
    refused = run_here("products", "import", "default", path)
    assert refused.returncode == 1
    assert said in refused.stderr


def test_photos_are_added_once_listed_and_removed_by_the_beginning_of_their_hash(data: Path, tmp_path: Path) -> None:
    done("products", "add", "default", "--name", "Apple", "--id", "apple")
    photos = [paint(tmp_path / f"{seed}.jpg", hue=3, seed=seed) for seed in range(10)]
    (tmp_path / "broken.jpg").write_bytes(b"x")
    said = done("images", "add", "default", "apple", *photos, tmp_path / "broken.jpg", tmp_path / "none.jpg")
    assert said.splitlines()[0].startswith(f"refused {tmp_path}/broken.jpg: not a picture")
    assert said.splitlines()[1] == f"refused {tmp_path}/none.jpg: the file cannot be read (No such file or directory)"
    assert said.splitlines()[2] == "Added 10, already there 0, refused 2"
    assert done("images", "add", "default", "apple", photos[0]) == "Added 0, already there 1, refused 0\n"
    hashes = sorted(hashlib.sha256(photo.read_bytes()).hexdigest() for photo in photos)
    assert _hashes("apple") == hashes
    assert f"{hashes[0]}\timage/jpeg\t" in done("images", "list", "default", "apple")
    assert done("images", "remove", "default", "apple", hashes[0][:8], hashes[1]) == (
        f"Removed {hashes[0]}\nRemoved {hashes[1]}\n"
    )
    assert _hashes("apple") == hashes[2:]


def test_a_photo_that_two_products_have_is_pointed_out(data: Path, tmp_path: Path) -> None:
    photo = paint(tmp_path / "1.jpg", hue=3, seed=1)
    for product in ("apple", "pear"):
        said = done("images", "add", "default", product, photo, "--create")
    assert said == f"! {photo} is also a photo of apple\nAdded 1, already there 0, refused 0\n"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["add", "default"], 2, "name a product and its pictures"),
        (["add", "default", "apple"], 2, "name a product and its pictures"),
        (["add", "default", "apple", "x.jpg", "--folder", "photos"], 2, "name a product and its pictures"),
        (["add", "default", "none", "x.jpg"], 1, "product 'none' is not in channel"),
        (["add", "none", "apple", "x.jpg", "--create"], 1, "channel 'none' is not there"),
        (["add", "none", "--folder", str(ROOT / "examples" / "corner-shop")], 1, "channel 'none' is not there"),
        (["add", "default", "--folder", "/nowhere"], 1, "/nowhere does not exist"),
        (["add", "default", "gone", "x.jpg"], 3, "is deleted: restore it first"),
        (["list", "default", "none"], 1, "product 'none' is not in channel"),
        (["remove", "default", "apple", "1234"], 2, "'1234' is too short"),
        (["remove", "default", "apple", "12345678"], 1, "has no image 12345678"),
    ],
)
def test_what_cannot_be_done_with_photos_is_said(data: Path, arguments: list[str], code: int, said: str) -> None:
    for product in ("apple", "gone"):
        done("products", "add", "default", "--name", product, "--id", product)
    done("products", "remove", "default", "gone")
    refused = run_here("images", *arguments)
    assert (refused.returncode, refused.stdout) == (code, "")
    assert said in refused.stderr


def test_photos_that_cannot_be_used_exit_with_1_and_our_own_network_is_not_fetched_from(data: Path) -> None:
    refused = run_here("images", "add", "default", "apple", "http://127.0.0.1/x.jpg", "--create")
    assert refused.returncode == 1
    assert refused.stdout == (
        "refused http://127.0.0.1/x.jpg: its server is not on the public internet\n"
        "Added 0, already there 0, refused 1\n"
    )


def test_photos_are_fetched_from_the_web_some_at_a_time(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def fetch_each(urls: Sequence[str], add: Callable[[Upload], Added]) -> list[Added]:
        calls.append(len(urls))
        photos = (paint(tmp_path / url[-6:], hue=3, seed=int(url[-6:-4])) for url in urls)
        return [add(Upload(name=url, data=photo.read_bytes())) for url, photo in zip(urls, photos, strict=True)]

    monkeypatch.setattr(image_sources, "fetch_each", fetch_each)
    urls = [f"https://shop.example/{number:02d}.jpg" for number in range(25)]
    assert done("images", "add", "default", "apple", *urls, "--create").startswith("Added 25,")
    assert calls == [20, 5]


def test_photos_of_many_products_that_are_not_there_are_one_line(data: Path, tmp_path: Path) -> None:
    refused = run_here("images", "add", "default", "--folder", paint_shop(tmp_path / "shop", products=7, photos=1))
    assert refused.returncode == 1
    named = "product-0, product-1, product-2, product-3, product-4, …"
    assert refused.stdout.splitlines() == [
        f"refused 7 photos of 7 products that are not in the channel ({named}): --create adds them",
        "Added 0, already there 0, refused 7",
    ]


def test_a_folder_of_photos_goes_to_the_products_that_are_there_or_makes_them(data: Path, tmp_path: Path) -> None:
    shop = paint_shop(tmp_path / "shop", products=3, photos=2)
    (shop / "product-0" / "broken.jpg").write_bytes(b"x")
    (shop / "readme.txt").write_text("x")
    for product in ("product-0", "product-1"):
        done("products", "add", "default", "--name", "There", "--id", product)
    done("products", "remove", "default", "product-1")
    said = done("images", "add", "default", "--folder", shop)
    assert said.splitlines() == [
        "refused readme.txt: not in a product's folder",
        "refused product-0/broken.jpg: not a picture in a known format (JPEG, PNG, WebP, AVIF, GIF, BMP or TIFF)",
        "refused 2 photos of product-1: product 'product-1' of default is deleted: restore it first",
        "refused 2 photos of product product-2, which is not in the channel: --create adds it",
        "Added 2, already there 0, refused 6",
    ]
    assert "Added 2, already there 2," in done("images", "add", "default", "--folder", shop, "--create")
    assert len(_hashes("product-2")) == 2
    assert _products()["product-2"]["name"] == "product-2"
    assert _products()["product-0"]["name"] == "There"
