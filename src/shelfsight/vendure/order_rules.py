"""Which order a sale of a till becomes. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING

from shelfsight.errors import OrderRefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shelfsight.till.rules import Sale, SaleLine


class OrderState(StrEnum):
    """What became of a sale on its way to Vendure."""

    PENDING = "pending"
    PLACED = "placed"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """What Vendure says of a variant of a product."""

    id: str
    sku: str
    is_enabled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedLine:
    """A line that an order is to have."""

    variant_id: str
    name: str
    quantity: int


def wanted_lines(sale: Sale, variants: Mapping[str, Sequence[Variant]]) -> tuple[WantedLine, ...]:
    """Return the lines of a sale's order, each variant once.

    Args:
        variants: what each product of the sale can be in Vendure; a product that is not there has none.

    Raises:
        OrderRefusedError: a product is not sold there, is several variants, or its quantity is no whole number.
    """
    wanted: dict[str, WantedLine] = {}
    for line in sale.lines:
        variant = _variant(line, variants.get(line.product_id, ()))
        before = wanted[variant.id].quantity if variant.id in wanted else 0
        wanted[variant.id] = WantedLine(variant_id=variant.id, name=line.name, quantity=before + _pieces(line))
    return tuple(wanted.values())


def difference(sale: Sale, total: Decimal, currency: str) -> str | None:
    """Return what to note where an order comes to another amount than its sale, None where it does not.

    Args:
        total: of the order, with taxes.
    """
    if any(line.amount is None or line.currency != currency for line in sale.lines):
        return f"Not every product had a price in {currency} at the till; the order has Vendure's prices."
    sold = sum((line.amount for line in sale.lines if line.amount is not None), Decimal(0))
    if sold == total:
        return None
    return f"Sold for {sold:f} {currency} at the till; at Vendure's prices it is {total:f} {currency}."


def _variant(line: SaleLine, variants: Sequence[Variant]) -> Variant:
    enabled = [variant for variant in variants if variant.is_enabled]
    if len(enabled) == 1:
        return enabled[0]
    if enabled:
        raise OrderRefusedError(
            f"{line.name} ({line.product_id}) is {len(enabled)} variants in Vendure, and it is not known which: "
            "connect the channel with --sells variants"
        )
    raise OrderRefusedError(f"{line.name} ({line.product_id}) is not sold in Vendure's channel")


def _pieces(line: SaleLine) -> int:
    if line.quantity != line.quantity.to_integral_value():
        raise OrderRefusedError(
            f"{line.name} was sold {line.quantity.normalize():f} times, and Vendure counts whole pieces only"
        )
    return int(line.quantity)
