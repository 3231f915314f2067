"""What things are called in the shop's database, and how names are written in SQL. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from enum import StrEnum

from shelfsight.errors import UsageError

NAME_MOST = 63
"""Bytes of a name in PostgreSQL, which cuts longer ones."""


class Mode(StrEnum):
    """How the shop's database is changed."""

    TRANSACTIONAL = "transactional"
    """In one transaction, all or nothing; who writes to the tables waits until it ends."""
    ONLINE = "online"
    """In many short ones; nobody waits for long."""


class Kind(StrEnum):
    """What a table holds."""

    PAYMENT = "payments"
    PURCHASE = "purchases"
    ADJUSTMENT = "adjustments"


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What tables and columns are called, and the default channel by its code."""

    schema: str = "public"
    column: str = "channelId"
    purchases: str = "stock_purchase"
    payments: str = "purchase_payment"
    adjustments: str = "inventory_stock_adjustment"
    channels: str = "channel"
    ledger: str = "ledger_journal_entry"
    purchase_column: str = "purchaseId"
    code_column: str = "code"
    source_type_column: str = "sourceType"
    source_id_column: str = "sourceId"
    ledger_channel_column: str = "channelId"
    purchase_source: str = "Purchase"
    payment_source: str = "PurchasePayment"
    adjustment_source: str = "StockAdjustment"
    default_channel: str = "__default_channel__"

    def __post_init__(self) -> None:
        """Refuse what can be no name, and one table in two parts."""
        for each in fields(self):
            value, what = getattr(self, each.name), each.name.replace("_", " ")
            if not value or "\0" in value:
                raise UsageError(f"the name for {what} is empty or has a NUL in it: give another")
            is_text = each.name == "default_channel" or each.name.endswith("_source")
            if not is_text and len(value.encode()) > NAME_MOST:
                raise UsageError(f"the name for {what} has more than {NAME_MOST} bytes: PostgreSQL has none so long")
        tables = (self.purchases, self.payments, self.adjustments, self.channels, self.ledger)
        if len(set(tables)) < len(tables):
            raise UsageError(
                "one table is named for two things: purchases, payments, adjustments, channels and ledger"
            )

    def table(self, kind: Kind) -> str:
        """Return the name of a table that gets the column."""
        return str(getattr(self, kind.value))

    def source(self, kind: Kind) -> str:
        """Return what the ledger calls its rows."""
        return {
            Kind.PAYMENT: self.payment_source,
            Kind.PURCHASE: self.purchase_source,
            Kind.ADJUSTMENT: self.adjustment_source,
        }[kind]

    def required(self) -> dict[str, tuple[str, ...]]:
        """Return the columns that each table must have, by table."""
        return {
            self.payments: ("id", self.purchase_column),
            self.purchases: ("id",),
            self.adjustments: ("id",),
            self.channels: ("id", self.code_column),
            self.ledger: ("id", self.source_type_column, self.source_id_column, self.ledger_channel_column),
        }


USUAL = Names()
"""What they are called where nobody says otherwise."""

LOCK_ORDER = (Kind.PAYMENT, Kind.PURCHASE, Kind.ADJUSTMENT)
"""In which tables are locked: an insert of a payment locks it first, and then looks at its purchase."""

FILL_ORDER = (Kind.PURCHASE, Kind.PAYMENT, Kind.ADJUSTMENT)
"""In which rows get their channel: a payment may have its purchase's."""


def identifier(name: str) -> str:
    """Return a name as SQL writes it, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return a text as SQL writes it where `standard_conforming_strings` is on."""
    return "'" + text.replace("'", "''") + "'"


def dollar(body: str) -> str:
    """Return a text between dollar quotes that do not occur in it."""
    number = 0
    while f"$shelfsight{number}$" in body:
        number += 1
    return f"$shelfsight{number}${body}$shelfsight{number}$"


def named(prefix: str, table: str, suffix: str = "_channel") -> str:
    """Return the name of something that belongs to a table, such as `FK_stock_purchase_channel`."""
    name = f"{prefix}_{table}{suffix}"
    if len(name.encode()) <= NAME_MOST:
        return name
    mark = hashlib.sha256(table.encode()).hexdigest()[:8]
    room = NAME_MOST - len(f"{prefix}__{mark}{suffix}")
    return f"{prefix}_{table.encode()[:room].decode(errors='ignore')}_{mark}{suffix}"
