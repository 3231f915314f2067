"""The types of columns, and which schema a table lies in."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlalchemy import JSON, BigInteger, DateTime, Integer, MetaData, Numeric, String, TypeDecorator
from sqlalchemy.dialects.postgresql import JSONB

if TYPE_CHECKING:
    from sqlalchemy import Dialect
    from sqlalchemy.types import TypeEngine

SCHEMA = "shelfsight"

metadata = MetaData(schema=SCHEMA)
"""Of our own tables."""

public = MetaData()
"""Of those that are for people and other programs."""

Json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
Serial = BigInteger().with_variant(Integer(), "sqlite")
"""A number that SQLite can count up by itself."""


class UtcTime(TypeDecorator[datetime]):
    """An instant, always with UTC as its zone; ISO 8601 text on SQLite, so that it sorts."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the type of the database's own."""
        return dialect.type_descriptor(String(32) if dialect.name == "sqlite" else DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Return what goes into the database."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value} has no time zone")
        utc = value.astimezone(UTC)
        return utc.strftime("%Y-%m-%dT%H:%M:%S.%fZ") if dialect.name == "sqlite" else utc

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:  # noqa: ARG002 (SQLAlchemy's)
        """Return what comes out of it."""
        if isinstance(value, str):
            value = datetime.fromisoformat(value)
        return value if value is None else value.astimezone(UTC)


class Money(TypeDecorator[Decimal]):
    """A decimal amount, exact; text on SQLite, whose numbers are floats."""

    impl = Numeric(14, 4)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the type of the database's own."""
        return dialect.type_descriptor(String(20) if dialect.name == "sqlite" else Numeric(14, 4))

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Any:
        """Return what goes into the database."""
        return str(value) if value is not None and dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:  # noqa: ARG002 (SQLAlchemy's)
        """Return what comes out of it, without zeros at the end: 1.50, 2, 0.125."""
        if value is None:
            return None
        amount = Decimal(value).normalize()
        exponent = amount.as_tuple().exponent
        return amount.quantize(Decimal("0.01")) if isinstance(exponent, int) and exponent > -2 else amount


class Exact(Money):
    """A decimal number of that many digits and places, exact; text on SQLite."""

    cache_ok = True

    def __init__(self, digits: int, places: int) -> None:
        """Keep numbers with `places` behind the point."""
        super().__init__()
        self.digits, self.places = digits, places

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the type of the database's own."""
        is_text = dialect.name == "sqlite"
        return dialect.type_descriptor(String(self.digits + 2) if is_text else Numeric(self.digits, self.places))
