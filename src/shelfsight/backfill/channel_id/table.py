"""A table of the shop in SQL: what to ask the catalogue about it, and which channel its rows get. Pure."""

from __future__ import annotations

from functools import cached_property

from shelfsight.backfill.channel_id.rules import LOCK_ORDER, Kind, Names, identifier, literal, named

BOOKED = "shelfsight_channel_id_booked"
"""The table in which a trigger notes what is booked while the migration runs, and after it."""

COMMENT = "added by shelfsight backfill channel-id"


class Table:
    """One of the three tables, in SQL."""

    def __init__(self, names: Names, kind: Kind) -> None:
        """Take the table of `kind`."""
        self.names, self.kind, self.name = names, kind, names.table(kind)
        self.at = f"{identifier(names.schema)}.{identifier(self.name)}"
        self.column = identifier(names.column)
        self.oid = f"to_regclass({literal(self.at)})"
        self.map = f"shelfsight_map_of_{kind.value}"

    @cached_property
    def has_column(self) -> str:
        """Whether the column is there."""
        return f"EXISTS ({self._attribute})"

    @cached_property
    def not_null(self) -> str:
        """Whether no row can be without a channel, and none is."""
        return (
            f"(EXISTS ({self._attribute} AND attnotnull) AND NOT EXISTS (SELECT FROM pg_constraint WHERE "
            f"conrelid = {self.oid} AND contype = 'n' AND NOT convalidated AND conkey = ARRAY[{self._number}]))"
        )

    @cached_property
    def has_check(self) -> str:
        """Whether the constraint is there that stands for NOT NULL, validated or not."""
        return f"EXISTS ({self._checks})"

    @cached_property
    def has_valid_check(self) -> str:
        """Whether it is there, and every row keeps it."""
        return f"EXISTS ({self._checks} AND convalidated)"

    @cached_property
    def has_key(self) -> str:
        """Whether there is a foreign key, validated or not."""
        return f"EXISTS ({self.keys})"

    @cached_property
    def has_valid_key(self) -> str:
        """Whether there is a foreign key, and every row keeps it."""
        return f"EXISTS ({self.keys} AND convalidated)"

    @cached_property
    def has_valid_index(self) -> str:
        """Whether there is an index of the whole column that is used."""
        return (
            f"EXISTS (SELECT FROM pg_index WHERE indrelid = {self.oid} AND indisvalid AND indisready "
            f"AND indpred IS NULL AND indkey[0] = {self._number})"
        )

    @cached_property
    def has_trigger(self) -> str:
        """Whether rows of code that does not know the column get a channel."""
        return (
            f"EXISTS (SELECT FROM pg_trigger WHERE tgrelid = {self.oid} AND tgname = {literal(self.trigger)} "
            "AND NOT tgisinternal)"
        )

    @cached_property
    def is_ours(self) -> str:
        """Whether this migration added the column."""
        return f"coalesce(col_description({self.oid}, ({self._number})::int) = {literal(COMMENT)}, false)"

    @cached_property
    def is_complete(self) -> str:
        """Whether column, NOT NULL, foreign key and index are there, and valid."""
        return f"({self.not_null} AND {self.has_valid_key} AND {self.has_valid_index})"

    @property
    def trigger(self) -> str:
        """The name of the trigger, and of its function."""
        return named("shelfsight_fill", self.name)

    @property
    def check(self) -> str:
        """The name of the constraint that stands for NOT NULL until that is there."""
        return named("CK", self.name, "_channel_there")

    @property
    def key(self) -> str:
        """The name of the foreign key."""
        return named("FK", self.name)

    @property
    def index(self) -> str:
        """The name of the index."""
        return named("IDX", self.name)

    def value(self, row: str) -> str:
        """Return the channel of a row: the ledger's, its purchase's, or the default one."""
        found = [f"(SELECT m.channel FROM pg_temp.{self.map} m WHERE m.id = {row}.id)", *self._of_purchase(row)]
        return f"coalesce({', '.join(found)}, {default_channel(self.names)})"

    def given(self, row: str) -> str:
        """Return the channel of a new row, of which the ledger knows nothing yet.

        A payment whose purchase has no channel yet gets none: its turn comes after the purchase's.
        """
        default = default_channel(self.names)
        if self.kind is not Kind.PAYMENT:
            return default
        purchases = Table(self.names, Kind.PURCHASE)
        purchase = f"p.id = {row}.{identifier(self.names.purchase_column)}"
        return (
            f"CASE WHEN EXISTS (SELECT FROM {purchases.at} p WHERE {purchase}) "
            f"THEN (SELECT p.{self.column} FROM {purchases.at} p WHERE {purchase}) ELSE {default} END"
        )

    def entries(self, condition: str) -> str:
        """Return a query of what the ledger says of rows: `id`, `channel` by the first entry, `has_more` of them."""
        names = self.names
        return (
            "SELECT DISTINCT ON (t.id) t.id, c.id AS channel, "
            f"coalesce(lead(t.id) OVER (ORDER BY t.id, e.id) = t.id, false) AS has_more FROM {self.at} t "
            f"JOIN {ledger_at(names)} e ON e.{identifier(names.source_id_column)}::text = t.id::text "
            f"AND e.{identifier(names.source_type_column)} = {literal(names.source(self.kind))} "
            f"JOIN {channels_at(names)} c ON c.id = e.{identifier(names.ledger_channel_column)} "
            f"WHERE {condition} ORDER BY t.id, e.id"
        )

    def fill_map(self) -> list[str]:
        """Return statements that put down what the ledger says of the rows without a channel."""
        return [
            f"DROP TABLE IF EXISTS pg_temp.{self.map}",
            f"CREATE TEMPORARY TABLE {self.map} AS {self.entries(f't.{self.column} IS NULL')}",
            f"ALTER TABLE pg_temp.{self.map} ADD PRIMARY KEY (id)",
            f"ANALYZE pg_temp.{self.map}",
        ]

    def booked(self) -> str:
        """Return a query of what the ledger says of rows that were booked late: `id`, as text, and `channel`."""
        names = self.names
        query = (
            f"SELECT DISTINCT ON (b.id) b.id, c.id AS channel FROM {booked_at(names)} b "
            f"JOIN {ledger_at(names)} e ON e.{identifier(names.source_id_column)}::text = b.id "
            f"AND e.{identifier(names.source_type_column)} = {literal(names.source(self.kind))} "
            f"JOIN {channels_at(names)} c ON c.id = e.{identifier(names.ledger_channel_column)} "
            f"WHERE b.kind = {literal(self.kind.value)} ORDER BY b.id, e.id"
        )
        if self.kind is not Kind.PAYMENT:
            return query
        purchases, purchase = Table(names, Kind.PURCHASE), f"t.{identifier(names.purchase_column)}"
        return (
            f"WITH own AS ({query}) SELECT id, channel FROM own UNION ALL SELECT t.id::text, p.{self.column} "
            f"FROM {booked_at(names)} b JOIN {self.at} t ON {purchase}::text = b.id JOIN {purchases.at} p "
            f"ON p.id = {purchase} WHERE b.kind = {literal(Kind.PURCHASE.value)} "
            f"AND NOT EXISTS (SELECT FROM {ledger_at(names)} e WHERE e.{identifier(names.source_id_column)}::text = "
            f"t.id::text AND e.{identifier(names.source_type_column)} = {literal(names.source(self.kind))})"
        )

    def conflicts(self) -> str:
        """Return a query of rows in the map that the ledger has in two channels: `id`, as text, in their order."""
        names = self.names
        return (
            f"SELECT m.id::text FROM pg_temp.{self.map} m WHERE m.has_more AND EXISTS "
            f"(SELECT FROM {ledger_at(self.names)} e WHERE e.{identifier(names.source_id_column)}::text = m.id::text "
            f"AND e.{identifier(names.source_type_column)} = {literal(names.source(self.kind))} "
            f"AND e.{identifier(names.ledger_channel_column)} <> m.channel) ORDER BY m.id"
        )

    def strangers(self) -> str:
        """Return a query of how many entries name a channel that is not there."""
        channel = f"e.{identifier(self.names.ledger_channel_column)}"
        return (
            f"SELECT count(*) FROM {ledger_at(self.names)} e WHERE e.{identifier(self.names.source_type_column)} = "
            f"{literal(self.names.source(self.kind))} "
            f"AND NOT EXISTS (SELECT FROM {channels_at(self.names)} c WHERE c.id = {channel})"
        )

    def update(self, condition: str = "") -> str:
        """Return the statement that gives rows without a channel one."""
        where = f" AND {condition}" if condition else ""
        return f"UPDATE {self.at} t SET {self.column} = {self.value('t')} WHERE t.{self.column} IS NULL{where}"

    def _of_purchase(self, row: str) -> list[str]:
        if self.kind is not Kind.PAYMENT:
            return []
        purchases = Table(self.names, Kind.PURCHASE)
        purchase = f"{row}.{identifier(self.names.purchase_column)}"
        return [f"(SELECT p.{self.column} FROM {purchases.at} p WHERE p.id = {purchase})"]

    @property
    def _attribute(self) -> str:
        name = literal(self.names.column)
        return f"SELECT FROM pg_attribute WHERE attrelid = {self.oid} AND attname = {name} AND NOT attisdropped"

    @property
    def _number(self) -> str:
        return f"({self._attribute.replace('SELECT FROM', 'SELECT attnum FROM', 1)})"

    @property
    def _checks(self) -> str:
        return f"SELECT FROM pg_constraint WHERE conrelid = {self.oid} AND conname = {literal(self.check)}"

    @property
    def keys(self) -> str:
        """A query of the foreign keys from the column to the channels."""
        return (
            f"SELECT FROM pg_constraint WHERE contype = 'f' AND conrelid = {self.oid} "
            f"AND confrelid = to_regclass({literal(channels_at(self.names))}) AND conkey = ARRAY[{self._number}]"
        )


def tables(names: Names) -> list[Table]:
    """Return the tables in the order in which they are locked."""
    return [Table(names, kind) for kind in LOCK_ORDER]


def channels_at(names: Names) -> str:
    """Return the table of channels."""
    return f"{identifier(names.schema)}.{identifier(names.channels)}"


def ledger_at(names: Names) -> str:
    """Return the table of the ledger's entries."""
    return f"{identifier(names.schema)}.{identifier(names.ledger)}"


def booked_at(names: Names) -> str:
    """Return the table of what was booked."""
    return f"{identifier(names.schema)}.{BOOKED}"


def default_channel(names: Names) -> str:
    """Return an expression of the default channel's id."""
    code = f"d.{identifier(names.code_column)} = {literal(names.default_channel)}"
    return f"(SELECT d.id FROM {channels_at(names)} d WHERE {code} ORDER BY d.id LIMIT 1)"
