"""Sales as CSV, which a spreadsheet opens as it is and takes no orders from."""

from __future__ import annotations

import csv
import io
from datetime import UTC
from typing import TYPE_CHECKING

from shelfsight.catalog.text import plain, price_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from shelfsight.till.rules import Sale

COLUMNS = (
    "number",
    "sale_id",
    "received_at",
    "at",
    "device",
    "model_version",
    "line",
    "product_id",
    "name",
    "sku",
    "quantity",
    "unit_price",
    "amount",
    "currency",
)
_BYTE_ORDER_MARK = "\ufeff"  # without it Excel takes UTF-8 for something older
_ORDERS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # the last four: full width
_SALES_A_CHUNK = 100


def guarded(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula: one that would be begins with an apostrophe."""
    return f"'{text}" if text.startswith(_ORDERS) else text


def csv_chunks(sales: Iterable[Sale]) -> Iterator[bytes]:
    """Yield a CSV file (RFC 4180, UTF-8) of sales, one row for each of their lines."""
    buffer = io.StringIO()
    buffer.write(_BYTE_ORDER_MARK)
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for count, sale in enumerate(sales, 1):
        writer.writerows(_rows(sale))
        if count % _SALES_A_CHUNK == 0:
            yield _taken(buffer)
    yield _taken(buffer)


def _rows(sale: Sale) -> Iterator[tuple[str, ...]]:
    device, version = guarded(sale.device or ""), guarded(sale.model_version or "")
    for place, line in enumerate(sale.lines, 1):
        yield (
            str(sale.number),
            guarded(sale.id),
            _moment(sale.received_at),
            _moment(sale.at),
            device,
            version,
            str(place),
            guarded(line.product_id),
            guarded(line.name),
            guarded(line.sku or ""),
            plain(line.quantity),
            "" if line.unit_price is None else price_text(line.unit_price),
            "" if line.amount is None else price_text(line.amount),
            line.currency or "",
        )


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _taken(buffer: io.StringIO) -> bytes:
    text = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return text.encode("utf-8")
