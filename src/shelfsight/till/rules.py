"""What a sale is, whether it may be booked, and what it comes to. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING, NamedTuple

from shelfsight.catalog.text import plain
from shelfsight.errors import ProductNotFoundError, SaleConflictError, UsageError
from shelfsight.moments import is_sensible, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

SALE_ID_PATTERN = r"^[A-Za-z0-9_-]{8,64}$"
"""Ids of sales, which tills choose: a UUID, or any text of letters, digits, - and _."""

BATCH_MOST = 100
LINES_MOST = 500
LINES_A_MINUTE = BATCH_MOST * LINES_MOST
"""Of a channel: 50 tills scanning once a second sell 3,000; so the 100 sales of 30 lines that each has kept while the
network was away are booked in four minutes. No batch is larger.
"""
QUANTITY_MOST = Decimal(100_000)
QUANTITY_PLACES = 3
DEVICE_MOST = 128
MODEL_VERSION_MOST = 64
_PRICE_BELOW = Decimal(10) ** 10
_PRICE_PLACES = 4
_NAMED_MOST = 3
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_USUAL_PLACES = 2
_PLACES = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
"""Places of the currencies (ISO 4217) that have not two."""
_PLACES_OF = {code: places for places, codes in _PLACES.items() for code in codes.split()}


@dataclass(frozen=True, slots=True, kw_only=True)
class NewLine:
    """A line as a till says it.

    Attributes:
        unit_price: as charged; None = the catalogue's.
        currency: of `unit_price`; None = that of the product.
    """

    product_id: str
    quantity: Decimal
    unit_price: Decimal | None = None
    currency: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSale:
    """A sale as a till says it; `at` is by its own clock, which may be wrong by years."""

    id: str
    at: datetime
    lines: tuple[NewLine, ...]
    device: str | None = None
    model_version: str | None = None

    def __post_init__(self) -> None:
        """Refuse what can be no sale of anybody."""
        if not re.fullmatch(SALE_ID_PATTERN, self.id):
            raise UsageError(f"{self.id[:80]!r} is no id of a sale: use 8 to 64 letters, digits, '-' and '_'")
        if not is_sensible(self.at):
            raise UsageError(f"sale {self.id}: at is {self.at.isoformat()}, which no clock shows")
        for name, text in (("device", self.device), ("modelVersion", self.model_version)):
            if text is not None and _UNPRINTABLE.search(text):
                raise UsageError(f"sale {self.id}: {name} holds a control character: leave it out")
        if not 1 <= len(self.lines) <= LINES_MOST:
            raise UsageError(f"sale {self.id} has {len(self.lines)} lines: it must be 1 to {LINES_MOST}")
        for place, line in enumerate(self.lines, 1):
            try:
                _check_line(line)
            except UsageError as exc:
                raise UsageError(f"sale {self.id}, line {place}: {exc}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class SoldProduct:
    """What the catalogue says of a product that is sold; `is_active` False: it was deleted."""

    id: str
    name: str
    sku: str | None
    price: Decimal | None
    currency: str | None
    is_active: bool


class ListedProduct(NamedTuple):
    """What tills are told of a product, in the order of the columns."""

    id: str
    name: str
    sku: str | None
    barcodes: list[str]
    price: Decimal | None
    currency: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SaleLine:
    """A line as it is booked: the product as it was then. Without a price there is no currency and no amount."""

    product_id: str
    name: str
    sku: str | None
    quantity: Decimal
    unit_price: Decimal | None
    currency: str | None
    amount: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sale:
    """A sale as it is booked.

    Attributes:
        number: 1, 2, 3 … within a channel, in the order in which they became visible.
        at: when, by the till's clock.
        received_at: when it was booked.
    """

    number: int
    id: str
    at: datetime
    received_at: datetime
    lines: tuple[SaleLine, ...]
    device: str | None = None
    model_version: str | None = None

    @property
    def position(self) -> Position:
        """Where it is in a list."""
        return Position(self.received_at, self.number)


@dataclass(frozen=True, slots=True, kw_only=True)
class SoldInAll:
    """What was sold of a product in a period.

    Attributes:
        name: as the catalogue has it now.
        sales: how many it was in.
        amounts: what it came to, by currency.
    """

    product_id: str
    name: str
    sku: str | None
    quantity: Decimal
    sales: int
    amounts: dict[str, Decimal]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What was sold in a period; `products` by id."""

    sales: int
    amounts: dict[str, Decimal]
    products: tuple[SoldInAll, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """Which sales: received from `since` on, and before `until`; None is open. `device`: of that one only."""

    since: datetime | None = None
    until: datetime | None = None
    device: str | None = None


class Position(NamedTuple):
    """Where a sale is in a list of them."""

    received_at: datetime
    number: int


class Booked(NamedTuple):
    """What is kept of a sale to know it again."""

    fingerprint: str
    received_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What became of a sale that was sent; `recorded` False: it was booked before, at `received_at`."""

    id: str
    recorded: bool
    received_at: datetime


def period_of(since: datetime | None, until: datetime | None, device: str | None) -> Period:
    """Return a period; of moments that no clock shows, the nearest that one may show."""
    first, last = (None if at is None else nearest(at) for at in (since, until))
    return Period(since=first, until=last, device=device)


@contextmanager
def blamed(place: int) -> Iterator[None]:
    """Let what is wrong in the block name the sale in that place of a batch, for programs."""
    try:
        yield
    except UsageError as exc:
        exc.parts = exc.parts or ((f"body.sales.{place}", str(exc)),)
        raise


def fingerprint(sale: NewSale) -> str:
    """Return a hash of what a till says, whichever way it writes its numbers and its time zone."""
    said = {
        "at": sale.at.astimezone(UTC).isoformat(),
        "lines": [
            [
                line.product_id,
                plain(line.quantity),
                None if line.unit_price is None else plain(line.unit_price),
                line.currency,
            ]
            for line in sale.lines
        ],
        "device": sale.device,
        "modelVersion": sale.model_version,
    }
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def unbooked(batch: Sequence[NewSale], booked: Mapping[str, Booked]) -> list[tuple[int, NewSale]]:
    """Return the sales of a batch that are not booked yet, each once, with their places in it.

    Raises:
        SaleConflictError: an id is that of a sale with other contents, booked before or in the batch.
    """
    marks = {sale_id: one.fingerprint for sale_id, one in booked.items()}
    fresh: list[tuple[int, NewSale]] = []
    wrong: dict[int, str] = {}
    for place, sale in enumerate(batch):
        mark = fingerprint(sale)
        if sale.id not in marks:
            marks[sale.id] = mark
            fresh.append((place, sale))
        elif marks[sale.id] != mark:
            wrong[place] = sale.id
    if wrong:
        reason = "was booked already, with other contents: give each sale an id of its own"
        parts = tuple((f"body.sales.{place}.id", f"sale {sale_id} {reason}") for place, sale_id in wrong.items())
        named = _list_of(dict.fromkeys(wrong.values()))
        raise SaleConflictError(f"sale {named} {reason}; nothing of this batch was recorded", parts=parts)
    return fresh


def check_products(fresh: Iterable[tuple[int, NewSale]], products: Mapping[str, SoldProduct], channel: str) -> None:
    """Refuse sales of what the channel does not sell.

    Args:
        fresh: sales with their places in the batch.
        products: those of the channel, deleted ones too.

    Raises:
        ProductNotFoundError: it names every sale and product that is wrong.
    """
    parts: list[tuple[str, str]] = []
    for place, sale in fresh:
        for number, line in enumerate(sale.lines):
            found = products.get(line.product_id)
            if found is None or not found.is_active:
                what = f"is not in channel {channel}" if found is None else "was deleted"
                reason = f"sale {sale.id} names product {line.product_id!r}, which {what}"
                parts.append((f"body.sales.{place}.lines.{number}.productId", reason))
    if parts:
        named = _list_of(dict.fromkeys(reason for _, reason in parts), apart="; ")
        raise ProductNotFoundError(f"Product not found: {named}; nothing was recorded", parts=tuple(parts))


def booked_sale(said: NewSale, products: Mapping[str, SoldProduct], *, number: int, received_at: datetime) -> Sale:
    """Return a sale as it is booked.

    Raises:
        UsageError: a price has no currency.
    """
    lines = tuple(_booked_line(said, place, products[line.product_id]) for place, line in enumerate(said.lines))
    return Sale(
        number=number,
        id=said.id,
        at=said.at.astimezone(UTC),
        received_at=received_at,
        lines=lines,
        device=said.device,
        model_version=said.model_version,
    )


def amount_of(quantity: Decimal, unit_price: Decimal, currency: str) -> Decimal:
    """Return what a line comes to, rounded half up to the smallest unit of its currency: 0.347 of 2.99 is 1.04."""
    unit = Decimal(1).scaleb(-_PLACES_OF.get(currency, _USUAL_PLACES))
    return (quantity * unit_price).quantize(unit, ROUND_HALF_UP)


def totals(lines: Iterable[SaleLine]) -> dict[str, Decimal]:
    """Return what lines come to, by currency; those without a price come to nothing."""
    sums: dict[str, Decimal] = {}
    for line in lines:
        if line.currency is not None and line.amount is not None:
            sums[line.currency] = sums.get(line.currency, Decimal(0)) + line.amount
    return dict(sorted(sums.items()))


def _check_line(line: NewLine) -> None:
    if not 0 < line.quantity <= QUANTITY_MOST:
        raise UsageError(f"quantity is {line.quantity}: it must be above 0, and {QUANTITY_MOST} at most")
    if not _has_places(line.quantity, QUANTITY_PLACES):
        raise UsageError(f"quantity is {line.quantity}: it has at most {QUANTITY_PLACES} places")
    if line.unit_price is None:
        if line.currency is not None:
            raise UsageError(f"currency is {line.currency} of what? Name a unitPrice, or neither")
        return
    if not 0 <= line.unit_price < _PRICE_BELOW:
        raise UsageError(f"unitPrice is {line.unit_price}: it must be at least 0 and below {_PRICE_BELOW}")
    if not _has_places(line.unit_price, _PRICE_PLACES):
        raise UsageError(f"unitPrice is {line.unit_price}: it has at most {_PRICE_PLACES} places")


def _booked_line(said: NewSale, place: int, product: SoldProduct) -> SaleLine:
    line = said.lines[place]
    price, currency = product.price, product.currency
    if line.unit_price is not None:
        price, currency = line.unit_price, line.currency or product.currency
        if currency is None:
            raise UsageError(
                f"sale {said.id}, line {place + 1}: unitPrice is {price} of what? Product {product.id!r} has no "
                "currency: name one"
            )
    if price is None or currency is None:  # a currency alone, which a product may have, is none of a line
        price = currency = None
    amount = None if price is None or currency is None else amount_of(line.quantity, price, currency)
    return SaleLine(
        product_id=product.id,
        name=product.name,
        sku=product.sku,
        quantity=line.quantity,
        unit_price=price,
        currency=currency,
        amount=amount,
    )


def _has_places(number: Decimal, places: int) -> bool:
    """Return whether a number has at most so many places that are not zero."""
    return number == number.quantize(Decimal(1).scaleb(-places))


def _list_of(names: Iterable[str], apart: str = ", ") -> str:
    """Return the first of some names, and how many more there are."""
    first = list(names)
    more = len(first) - _NAMED_MOST
    return apart.join([*first[:_NAMED_MOST], *([f"and {more} more"] if more > 0 else [])])
