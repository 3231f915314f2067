"""What is known of the table: what it is like, and how much there is. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shelfsight.backfill.inventory_fields.keys import KeyType

TABLE = "public.products"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What the backfill needs to know of the table.

    Attributes:
        seconds: an expression of `created_at` in whole seconds since 1970, 0 where it is missing; NULL where it is
            no time at all, such as infinity.
        strides: in so many steps neighbouring rows are set. The space that the first frees in a page of the table is
            there for the second, which then touches no index: a quarter of the growth.
        default: of `deleted_at`.
    """

    key: KeyType
    seconds: str
    strides: int
    default: str | None
    is_indexed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """How much there is, counted, and what makes it slower."""

    rows: int
    unset: int
    table_bytes: int
    index_bytes: int
    triggers: tuple[str, ...]
    oldest_transaction_s: float
