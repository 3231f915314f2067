"""Products as CSV: read with a reason for every row that cannot be used, written so that it can be read again."""

from __future__ import annotations

import csv
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import TYPE_CHECKING, Any, TextIO

from shelfsight.catalog.rules import ChangeKind, Product, ProductDetails, ProductValues, check_product_id
from shelfsight.catalog.store import changes, products
from shelfsight.errors import NotFoundError, SourceError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from shelfsight.cli.output import Bars
    from shelfsight.cli.service import Service

COLUMNS = ("id", "name", "sku", "barcodes", "price", "currency")
BARCODES_APART = "|"
_AT_ONCE = 500
_DECIMAL_COMMA = re.compile(r",(\d\d?)$")
_WORDS = {
    ChangeKind.PRODUCT_ADDED: "added",
    ChangeKind.PRODUCT_CHANGED: "changed",
    ChangeKind.PRODUCT_RESTORED: "restored",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductRow:
    """What a line of a file says of a product; of what the file has no column for, nothing."""

    line: int
    product_id: str
    values: ProductValues


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedRow:
    """A line that cannot be used, and why."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductRows:
    """The lines of a file; no product is in two rows."""

    rows: tuple[ProductRow, ...]
    refused: tuple[RefusedRow, ...]


@dataclass(slots=True, kw_only=True)
class Imported:
    """What became of rows: how many were added, changed, restored or unchanged; and those that cannot be used."""

    counts: Counter[str]
    refused: list[RefusedRow]


def read_rows(path: Path) -> ProductRows:
    """Return what a CSV file says: comma, semicolon or tab, UTF-8, its columns in any order.

    Raises:
        SourceError: it cannot be read, is no CSV, or has no column `id`.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return _read(file, path)
    except OSError as exc:
        raise SourceError(f"{path} cannot be read ({exc.strerror}): name a CSV file") from exc
    except (UnicodeDecodeError, csv.Error) as exc:
        raise SourceError(f"{path} is not a CSV file in UTF-8 ({exc}): save it as CSV UTF-8") from exc


def write_rows(found: Iterable[Product], out: TextIO) -> None:
    """Write products as CSV."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for product in found:
        price = "" if product.price is None else f"{product.price:f}"
        barcodes = BARCODES_APART.join(product.barcodes)
        writer.writerow((product.id, product.name, product.sku or "", barcodes, price, product.currency or ""))


def import_rows(service: Service, channel: str, found: ProductRows, bars: Bars) -> Imported:
    """Let the products of a channel be as the rows say; return what became of them.

    Some hundred at a time are all written or none: whoever is stopped starts again, and nothing is done twice.

    Raises:
        NotFoundError: there is no such channel.
    """
    imported = Imported(counts=Counter(), refused=list(found.refused))
    for first in range(0, len(found.rows), _AT_ONCE):
        rows = found.rows[first : first + _AT_ONCE]
        with service.database.write(actor=service.caller.actor) as tx:
            changes.lock(tx, channel)
            batch, refused = _batch(rows, partial(products.get, tx, channel))
            written = products.put(tx, channel, batch, service.stamp())
        imported.refused += refused
        imported.counts.update(_WORDS[kind] if kind else "unchanged" for _, kind in written.values())
        bars.advance(len(rows))
    imported.refused.sort(key=lambda row: row.line)
    return imported


def parse_price(text: str) -> Decimal | None:
    """Return a price, None of an empty text; 1,50 is 1.50, and 1,234 is refused: it may be either.

    Raises:
        UsageError: it is no number.
    """
    if not text.strip():
        return None
    try:
        return Decimal(_DECIMAL_COMMA.sub(r".\1", text.strip()))
    except InvalidOperation:
        raise UsageError(f"price is {text[:40]!r}: write it as 1.50") from None


def _read(file: TextIO, path: Path) -> ProductRows:
    header = file.readline()
    file.seek(0)
    delimiter = max(",;\t", key=header.count)  # spreadsheets write what their country uses
    reader = csv.DictReader(file, delimiter=delimiter, restval="")
    names = [name.strip().lower() for name in reader.fieldnames or ()]
    reader.fieldnames = names
    if "id" not in names or any(names.count(column) > 1 for column in COLUMNS):
        raise SourceError(f"{path} needs the column id, and each column once; it has {', '.join(names)[:200]}")
    rows: dict[str, ProductRow] = {}
    refused: list[RefusedRow] = []
    for cells in reader:
        if not any(cells.values()):
            continue  # spreadsheets write such lines at the end
        try:
            row = _parse(cells, reader.line_num)
            if row.product_id in rows:
                raise UsageError(f"product {row.product_id!r} is in line {rows[row.product_id].line} already")  # noqa: TRY301
        except UsageError as exc:
            refused.append(RefusedRow(line=reader.line_num, reason=str(exc)))
        else:
            rows[row.product_id] = row
    return ProductRows(rows=tuple(rows.values()), refused=tuple(refused))


def _batch(
    rows: Iterable[ProductRow], look_up: Callable[[str], Product]
) -> tuple[dict[str, ProductDetails], list[RefusedRow]]:
    """Return what products shall be, and the rows that would make them impossible."""
    batch: dict[str, ProductDetails] = {}
    refused: list[RefusedRow] = []
    for row in rows:
        try:
            batch[row.product_id] = ProductDetails(**{"name": "", **_said(row, look_up)})
        except UsageError as exc:
            refused.append(RefusedRow(line=row.line, reason=str(exc)))
    return batch, refused


def _said(row: ProductRow, look_up: Callable[[str], Product]) -> dict[str, Any]:
    """Return what a row says, and of what it does not say what is there."""
    if len(row.values) == len(ProductValues.__annotations__):
        return {**row.values}
    try:
        return {**look_up(row.product_id).values(), **row.values}
    except NotFoundError:
        return {**row.values}


def _parse(row: dict[Any, Any], line: int) -> ProductRow:
    """Return what a line says of a product.

    Raises:
        UsageError: something of it cannot be.
    """
    if any(row.get(None, ())):
        raise UsageError("it has more cells than there are columns")
    cells = {name: unicodedata.normalize("NFC", row[name].strip()) for name in COLUMNS if name in row}
    product_id = cells["id"]
    check_product_id(product_id)
    values: ProductValues = {}
    if "name" in cells:
        values["name"] = cells["name"]
    if "sku" in cells:
        values["sku"] = cells["sku"] or None
    if "barcodes" in cells:
        barcodes = (barcode.strip() for barcode in cells["barcodes"].split(BARCODES_APART))
        values["barcodes"] = tuple(filter(None, barcodes))
    if "price" in cells:
        values["price"] = parse_price(cells["price"])
    if "currency" in cells:
        values["currency"] = cells["currency"] or None
    return ProductRow(line=line, product_id=product_id, values=values)
