"""Where the photos are: folders and CSV files as shops really have them."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest

from shelfsight.errors import SourceError
from shelfsight.training.source import read_source


def put(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def products(source: Path) -> list[tuple[str, str]]:
    return [(photo.product, photo.path.name) for photo in read_source(source).photos]


def test_a_folder_has_one_sub_folder_per_product(tmp_path: Path) -> None:
    put(tmp_path, "milk/2.jpg", "milk/1.jpg", "bread/deeper/3.jpg")
    assert products(tmp_path) == [("bread", "3.jpg"), ("milk", "1.jpg"), ("milk", "2.jpg")]


def test_what_systems_leave_in_folders_is_not_looked_at(tmp_path: Path) -> None:
    put(tmp_path, "milk/1.jpg", "milk/.DS_Store", "milk/Thumbs.db", ".git/x", "milk/._1.jpg")
    assert products(tmp_path) == [("milk", "1.jpg")]
    assert read_source(tmp_path).skipped == ()


def test_files_beside_the_products_and_empty_products_are_listed(tmp_path: Path) -> None:
    put(tmp_path, "milk/1.jpg", "stray.jpg")
    (tmp_path / "cheese").mkdir()
    skipped = {item.path.name: item.reason for item in read_source(tmp_path).skipped}
    assert skipped == {"stray.jpg": "not in a product's folder", "cheese": "the product's folder is empty"}


def test_a_name_is_the_same_however_its_accents_are_written(tmp_path: Path) -> None:
    for form in ("NFC", "NFD"):
        put(tmp_path / form, unicodedata.normalize(form, "crème brûlée/1.jpg"), "牛奶/2.jpg")
    assert products(tmp_path / "NFC") == products(tmp_path / "NFD") == [("crème brûlée", "1.jpg"), ("牛奶", "2.jpg")]


def test_a_folder_whose_name_is_no_text_is_listed(tmp_path: Path) -> None:
    put(tmp_path, "milk/1.jpg")
    strange = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")
    Path(strange).mkdir()
    (Path(strange) / "1.jpg").write_bytes(b"x")
    assert products(tmp_path) == [("milk", "1.jpg")]
    assert [item.reason for item in read_source(tmp_path).skipped] == [
        "the product's id has characters that cannot be printed: rename it"
    ]


def test_names_with_joiners_and_no_break_spaces_are_names(tmp_path: Path) -> None:
    names = ["Lait 3\u00a0%", "می\u200cخواهم", "👩\u200d🌾 eggs"]
    put(tmp_path, *(f"{name}/1.jpg" for name in names))
    assert sorted(product for product, _ in products(tmp_path)) == sorted(names)


@pytest.mark.parametrize("name", ["two\nlines", "turned\u202egpj", "bell\x07"])
def test_names_that_would_spoil_a_table_or_a_log_are_listed(tmp_path: Path, name: str) -> None:
    put(tmp_path, f"{name}/1.jpg", "milk/1.jpg")
    assert products(tmp_path) == [("milk", "1.jpg")]
    assert "cannot be printed" in read_source(tmp_path).skipped[0].reason


def test_links_to_folders_inside_a_product_are_listed_and_not_followed(tmp_path: Path) -> None:
    put(tmp_path, "shop/milk/1.jpg", "else/2.jpg")
    (tmp_path / "shop" / "milk" / "more").symlink_to(tmp_path / "else")
    (tmp_path / "shop" / "milk" / "loop").symlink_to(tmp_path / "shop")
    assert products(tmp_path / "shop") == [("milk", "1.jpg")]
    assert [item.path.name for item in read_source(tmp_path / "shop").skipped] == ["loop", "more"]


def test_one_impossible_path_costs_one_row(tmp_path: Path) -> None:
    put(tmp_path, "1.jpg")
    csv = tmp_path / "list.csv"
    csv.write_text(f"image,product\n{'x' * 300}.jpg,milk\n1.jpg,milk\n")
    assert products(csv) == [("milk", "1.jpg")]
    assert "cannot be read" in read_source(csv).skipped[0].reason


def test_a_csv_names_images_relative_to_itself_or_absolutely(tmp_path: Path) -> None:
    put(tmp_path, "photos/1.jpg", "else/2.jpg")
    csv = tmp_path / "list.csv"
    csv.write_text(f"image,product\nphotos/1.jpg,milk\n{tmp_path}/else/2.jpg,bread\n")
    assert products(csv) == [("bread", "2.jpg"), ("milk", "1.jpg")]


def test_a_csv_from_a_spreadsheet_is_read(tmp_path: Path) -> None:
    put(tmp_path, "1.jpg")
    csv = tmp_path / "list.csv"
    csv.write_bytes(b'\xef\xbb\xbf"Product" , "Image","note"\r\n"Milch, 3,5 %",1.jpg,x\r\n')
    assert products(csv) == [("Milch, 3,5 %", "1.jpg")]


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_a_csv_may_use_the_delimiter_of_its_country(tmp_path: Path, delimiter: str) -> None:
    put(tmp_path, "1.jpg")
    csv = tmp_path / "list.csv"
    csv.write_text(f"image{delimiter}product\n1.jpg{delimiter}Milch, 3,5 %\n")
    assert products(csv) == [("Milch, 3,5 %", "1.jpg")]


def test_a_folder_that_is_empty_or_has_photos_but_no_sub_folder_is_refused_with_what_to_do(tmp_path: Path) -> None:
    put(tmp_path / "empty", ".hidden")
    with pytest.raises(SourceError, match=r"empty is empty: make a sub-folder per product"):
        read_source(tmp_path / "empty")
    put(tmp_path / "flat", "1.jpg")
    with pytest.raises(SourceError, match=r"photos lie directly in .*flat: put them into a sub-folder per product"):
        read_source(tmp_path / "flat")


def test_a_csv_of_which_no_file_exists_says_where_they_are_looked_for(tmp_path: Path) -> None:
    csv = tmp_path / "list.csv"
    csv.write_text("image,product\nphotos/1.jpg,milk\nphotos/2.jpg,milk\n")
    with pytest.raises(SourceError, match=r"none of the files that .*list\.csv names exists: paths are relative to"):
        read_source(csv)


def test_lines_of_a_csv_that_cannot_be_used_are_listed_with_their_number(tmp_path: Path) -> None:
    put(tmp_path, "1.jpg")
    csv = tmp_path / "list.csv"
    csv.write_text(f"image,product\n1.jpg,milk\nnone.jpg,milk\n1.jpg,\n1.jpg,{'x' * 201}\nonly\n")
    reasons = [item.reason for item in read_source(csv).skipped]
    assert reasons == [
        "line 3: the file does not exist",
        "line 4: image or product is empty",
        "line 5: the product's id is longer than 200 characters",
        "line 6: image or product is empty",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no column image and no column product"),
        (b"path,product\n", "no column image"),
        (b"image,product\n\xff\xfe\x00", "not a CSV file in UTF-8"),
    ],
)
def test_a_file_that_is_no_such_csv_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    csv = tmp_path / "list.csv"
    csv.write_bytes(content)
    with pytest.raises(SourceError, match=message):
        read_source(csv)


def test_a_source_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name in ("nowhere", "loop"):
        with pytest.raises(SourceError, match=f"{name} does not exist"):
            read_source(tmp_path / name)
