"""Sales as JSON, what a period came to, and the product list of tills."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

from pydantic import AwareDatetime, Field

from shelfsight.api.documents import ApiDocument
from shelfsight.catalog.documents import Currency, ProductId
from shelfsight.catalog.text import plain, price_text
from shelfsight.till.rules import (
    BATCH_MOST,
    DEVICE_MOST,
    LINES_MOST,
    MODEL_VERSION_MOST,
    QUANTITY_MOST,
    SALE_ID_PATTERN,
    NewLine,
    NewSale,
    Period,
    Receipt,
    Sale,
    SaleLine,
    SoldInAll,
    Summary,
    totals,
)

_DIGITS_MOST = 30
SaleId = Annotated[str, Field(pattern=SALE_ID_PATTERN, description="The till's own, such as a UUID")]
Quantity = Annotated[
    Decimal, Field(gt=0, le=QUANTITY_MOST, max_digits=_DIGITS_MOST, description="At most 3 places: 2, 0.347")
]
UnitPrice = Annotated[
    Decimal, Field(ge=0, max_digits=_DIGITS_MOST, description="As charged, at most 4 places; exact as text: 1.50")
]


class NewLineDocument(ApiDocument):
    """A line of a sale."""

    product_id: ProductId
    quantity: Quantity
    unit_price: UnitPrice | None = Field(default=None, description="By default the catalogue's when it is received")
    currency: Currency | None = Field(default=None, description="Of unitPrice; by default that of the product")


class NewSaleDocument(ApiDocument):
    """A sale."""

    id: SaleId
    at: AwareDatetime = Field(description="When, by the till's clock; taken as it is, however wrong")
    lines: Annotated[list[NewLineDocument], Field(min_length=1, max_length=LINES_MOST)]
    device: Annotated[str, Field(min_length=1, max_length=DEVICE_MOST)] | None = None
    model_version: Annotated[str, Field(min_length=1, max_length=MODEL_VERSION_MOST)] | None = None

    def sale(self) -> NewSale:
        """Return it as the rules have it."""
        lines = tuple(
            NewLine(
                product_id=line.product_id,
                quantity=line.quantity,
                unit_price=line.unit_price,
                currency=line.currency,
            )
            for line in self.lines
        )
        return NewSale(id=self.id, at=self.at, lines=lines, device=self.device, model_version=self.model_version)


class NewSalesDocument(ApiDocument):
    """Sales to be booked: all of them, or none."""

    sales: Annotated[list[NewSaleDocument], Field(min_length=1, max_length=BATCH_MOST)]


class ReceiptDocument(ApiDocument):
    """What became of a sale."""

    id: str
    recorded: bool = Field(description="false: it was booked before, with the very same contents")
    received_at: datetime = Field(description="When it was booked, by the server's clock")

    @classmethod
    def of(cls, receipt: Receipt) -> "ReceiptDocument":
        """Return the document of a receipt."""
        return cls(id=receipt.id, recorded=receipt.recorded, received_at=receipt.received_at)


class ReceiptsDocument(ApiDocument):
    """What became of the sales, in their order."""

    sales: list[ReceiptDocument]


class AmountDocument(ApiDocument):
    """An amount of money."""

    currency: str
    amount: str = Field(description="Decimal, such as 12.50")


class SaleLineDocument(ApiDocument):
    """A line of a sale, with the product as it was when the sale was booked."""

    product_id: str
    name: str
    sku: str | None
    quantity: str = Field(description="Decimal, such as 2 or 0.347")
    unit_price: str | None
    currency: str | None
    amount: str | None = Field(description="Quantity by price, rounded half up to the currency's smallest unit")

    @classmethod
    def of(cls, line: SaleLine) -> "SaleLineDocument":
        """Return the document of a line."""
        return cls(
            product_id=line.product_id,
            name=line.name,
            sku=line.sku,
            quantity=plain(line.quantity),
            unit_price=None if line.unit_price is None else price_text(line.unit_price),
            currency=line.currency,
            amount=None if line.amount is None else price_text(line.amount),
        )


class SaleDocument(ApiDocument):
    """A sale that was booked."""

    id: str
    number: int = Field(description="1, 2, 3 … within the channel, without gaps, in the order of booking")
    at: datetime = Field(description="When, by the till's clock")
    received_at: datetime = Field(description="When it was booked, by the server's")
    device: str | None
    model_version: str | None
    lines: list[SaleLineDocument]
    totals: list[AmountDocument] = Field(description="One for each currency; lines without a price are in none")

    @classmethod
    def of(cls, sale: Sale) -> "SaleDocument":
        """Return the document of a sale."""
        return cls(
            id=sale.id,
            number=sale.number,
            at=sale.at,
            received_at=sale.received_at,
            device=sale.device,
            model_version=sale.model_version,
            lines=[SaleLineDocument.of(line) for line in sale.lines],
            totals=_amounts(totals(sale.lines)),
        )


class RecordedSaleDocument(ApiDocument):
    """What a webhook is told of a sale."""

    channel_id: str
    sale: SaleDocument

    @classmethod
    def of(cls, sale: Sale, channel_id: str) -> "RecordedSaleDocument":
        """Return the document of a sale of a channel."""
        return cls(channel_id=channel_id, sale=SaleDocument.of(sale))

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return self.model_dump(mode="json", by_alias=True)


class SoldDocument(ApiDocument):
    """What was sold of a product."""

    product_id: str
    name: str = Field(description="As the catalogue has it now")
    sku: str | None
    quantity: str
    sales: int = Field(description="How many it was in")
    amounts: list[AmountDocument]

    @classmethod
    def of(cls, sold: SoldInAll) -> "SoldDocument":
        """Return the document of what was sold."""
        return cls(
            product_id=sold.product_id,
            name=sold.name,
            sku=sold.sku,
            quantity=plain(sold.quantity),
            sales=sold.sales,
            amounts=_amounts(sold.amounts),
        )


class SummaryDocument(ApiDocument):
    """What was sold in a period, by product id."""

    since: datetime | None = Field(alias="from", description="Received then or later; null: from the first on")
    until: datetime = Field(alias="to", description="And before that")
    sales: int
    totals: list[AmountDocument]
    products: list[SoldDocument]

    @classmethod
    def of(cls, summary: Summary, period: Period) -> "SummaryDocument":
        """Return the document of a summary of a period that has ended."""
        if period.until is None:
            raise TypeError(period)
        return cls(
            since=period.since,
            until=period.until,
            sales=summary.sales,
            totals=_amounts(summary.amounts),
            products=[SoldDocument.of(one) for one in summary.products],
        )


class TillProductDocument(ApiDocument):
    """What a till is told of a product; what it has none of is left out."""

    id: str
    name: str
    sku: str | None = None
    barcodes: list[str] = Field(default_factory=list)
    price: str | None = Field(default=None, description="Decimal, such as 1.50")
    currency: str | None = None


class TillProductsDocument(ApiDocument):
    """The active products of a channel; with `since` only those that changed, beside the ids of those that went."""

    revision: str = Field(description="To be sent as `since` the next time")
    name: str = Field(description="Of the channel, for people")
    since: str | None = Field(default=None, description="What this adds to; null: the list is whole")
    products: list[TillProductDocument]
    removed: list[str] = Field(default_factory=list, description="Products that are sold no more")


def _amounts(amounts: Mapping[str, Decimal]) -> list[AmountDocument]:
    return [AmountDocument(currency=currency, amount=price_text(amounts[currency])) for currency in sorted(amounts)]
