"""Read where the training photos are: a folder with one sub-folder per product, or a CSV (`image,product`)."""

from __future__ import annotations

import csv
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shelfsight.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path

_NOT_PHOTOS = frozenset({"thumbs.db", "desktop.ini"})
_LONGEST_ID = 200
_NO_FILE = "the file does not exist"
_UNPRINTABLE = frozenset({"Cc", "Cs", "Co", "Cn"})
"""Unicode categories of control characters, of names that are no UTF-8, and of what nobody has defined."""
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Controls that turn the direction of the text around them, also that of a table or a log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Photo:
    """A file that is said to show a product."""

    path: Path
    product: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A file that is not used, and why."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What a source names, in the order of products and paths."""

    photos: tuple[Photo, ...]
    skipped: tuple[Skipped, ...]


def base_folder(source: Path) -> Path:
    """Return the folder that the names of a source's photos are relative to: the folder itself, or the CSV's."""
    return source if source.is_dir() else source.parent


def display_name(path: Path, source: Path) -> str:
    """Return the path as the shop knows it: relative to what it gave, with forward slashes, valid Unicode."""
    base = base_folder(source)
    name = path.relative_to(base).as_posix() if path.is_relative_to(base) else path.as_posix()
    return name.encode("utf-8", "replace").decode()


def photos_in(folder: Path) -> list[Path]:
    """Return the files in a folder, and in those below it, that may be photos.

    Raises:
        SourceError: there are none, or the folder cannot be read.
    """
    try:
        found = [path for path in sorted(folder.rglob("*")) if path.is_file() and not _ignored(path)]
    except OSError as exc:
        raise SourceError(f"cannot read {exc.filename or folder}: {exc.strerror}") from exc
    if not found:
        raise SourceError(f"{folder} has no photos in it: name photos, or a folder of them")
    return found


def read_source(source: Path) -> Listing:
    """Return the photos that a folder or a CSV file names; none of them is opened yet.

    Raises:
        SourceError: the source is missing, cannot be read, has no sub-folders, or is a CSV without the columns
            `image` and `product` or without a file that exists.
    """
    try:
        if source.is_dir():
            return _read_folder(source)
        if source.is_file():
            return _read_csv(source)
    except OSError as exc:
        raise SourceError(f"cannot read {exc.filename or source}: {exc.strerror}") from exc
    raise SourceError(f"{source} does not exist: name a folder with one sub-folder per product, or a CSV file")


def _read_folder(source: Path) -> Listing:
    photos: list[Photo] = []
    skipped: list[Skipped] = []
    entries = [entry for entry in sorted(source.iterdir()) if not _ignored(entry)]
    if not entries:
        raise SourceError(f"{source} is empty: make a sub-folder per product, and put its photos there")
    if not any(entry.is_dir() for entry in entries):
        raise SourceError(f"photos lie directly in {source}: put them into a sub-folder per product")
    for entry in entries:
        if not entry.is_dir():
            skipped.append(Skipped(path=entry, reason="not in a product's folder"))
            continue
        product = unicodedata.normalize("NFC", entry.name)
        problem = _id_problem(product)
        if problem:
            skipped.append(Skipped(path=entry, reason=problem))
            continue
        inside = [path for path in sorted(entry.rglob("*")) if not _ignored(path)]
        files = [path for path in inside if path.is_file()]
        linked = [path for path in inside if path.is_symlink() and not path.is_file()]
        skipped += [
            Skipped(path=path, reason="a link to a folder, or to nothing, is not followed") for path in linked
        ]
        if not files and not linked:
            skipped.append(Skipped(path=entry, reason="the product's folder is empty"))
        photos += [Photo(path=path, product=product) for path in files]
    return Listing(photos=tuple(photos), skipped=tuple(skipped))


def _read_csv(source: Path) -> Listing:
    photos: list[Photo] = []
    skipped: list[Skipped] = []
    try:
        with source.open(newline="", encoding="utf-8-sig") as file:
            header = file.readline()
            file.seek(0)
            delimiter = max(",;\t", key=header.count)  # spreadsheets write what their country uses
            rows = csv.DictReader(file, delimiter=delimiter, skipinitialspace=True)
            missing = {"image", "product"} - {name.strip().lower() for name in rows.fieldnames or ()}
            if missing:
                raise SourceError(f"{source} has no column {' and no column '.join(sorted(missing))}: add it")
            rows.fieldnames = [name.strip().lower() for name in rows.fieldnames or ()]
            for row in rows:
                image = (row["image"] or "").strip()
                product = unicodedata.normalize("NFC", (row["product"] or "").strip())
                path = source.parent / image
                problem = _row_problem(image, product, path)
                if problem:
                    skipped.append(Skipped(path=path, reason=f"line {rows.line_num}: {problem}"))
                else:
                    photos.append(Photo(path=path, product=product))
    except (UnicodeDecodeError, csv.Error) as exc:
        raise SourceError(f"{source} is not a CSV file in UTF-8 ({exc}): save it as CSV UTF-8") from exc
    if not photos and skipped and all(one.reason.endswith(_NO_FILE) for one in skipped):
        raise SourceError(f"none of the files that {source} names exists: paths are relative to the CSV")
    photos.sort(key=lambda photo: (photo.product, photo.path))
    return Listing(photos=tuple(photos), skipped=tuple(skipped))


def _row_problem(image: str, product: str, path: Path) -> str | None:
    if not image or not product:
        return "image or product is empty"
    try:
        exists = path.is_file()
    except (OSError, ValueError) as exc:
        return f"the file cannot be read ({exc})"
    return _id_problem(product) or (None if exists else _NO_FILE)


def _id_problem(product: str) -> str | None:
    if len(product) > _LONGEST_ID:
        return f"the product's id is longer than {_LONGEST_ID} characters"
    if any(unicodedata.category(letter) in _UNPRINTABLE or letter in _TURNING for letter in product):
        return "the product's id has characters that cannot be printed: rename it"
    return None


def _ignored(path: Path) -> bool:
    return path.name.startswith(".") or path.name.lower() in _NOT_PHOTOS
