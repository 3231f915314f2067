"""Checkpoints in two small tables of PostgreSQL or SQLite, which are made when the first one is claimed."""

from __future__ import annotations

import json
from contextlib import contextmanager
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    and_,
    delete,
    func,
    insert,
    inspect,
    or_,
    select,
    update,
)
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

from shelfsight.backfill.checkpoints import Claim, never_run, taken_over
from shelfsight.backfill.rules import Record, Refused, checkpoint_of, document_of
from shelfsight.database import clock
from shelfsight.database.engine import WRITES, first_line, open_database
from shelfsight.errors import DatabaseError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, Row

    from shelfsight.backfill.checkpoints import Written

_TABLES_LOCK = 0x5E1F_BF11  # a number that nobody else is likely to lock

_metadata = MetaData()

_checkpoints = Table(
    "shelfsight_backfill_checkpoints",
    _metadata,
    Column("name", Text, primary_key=True),
    Column("document", Text, nullable=False),
    Column("token", BigInteger, nullable=False),
    Column("holder", Text),
    Column("expires_at", DateTime(timezone=True)),
    Column("paused_by", Text),
)

_refused = Table(
    "shelfsight_backfill_refused",
    _metadata,
    Column("name", Text, nullable=False),
    Column("phase", Integer, nullable=False),
    Column("key", Text, nullable=False),
    Column("reason", Text, nullable=False),
    PrimaryKeyConstraint("name", "phase", "key"),
)


class SqlCheckpoints:
    """A store in a database of its own or of others."""

    def __init__(self, url: str) -> None:
        """Keep checkpoints in the database at `url`: `sqlite:///…` or `postgresql://…`.

        Raises:
            UsageError: `url` is neither, or its file cannot be made.
        """
        self._database = open_database(url)
        self._has_tables = False

    @property
    def place(self) -> str:
        """Where it is, without a password."""
        url = self._database.engine.url
        if not self._database.is_postgresql:
            return str(url.database)
        return f"PostgreSQL {url.database} at {url.host or 'this machine'}"

    def read(self, name: str) -> Record | None:
        """Return what is kept under a name."""
        with self._begun() as tx:
            if not self._is_made(tx):
                return None
            found = tx.execute(select(_checkpoints).where(_checkpoints.c.name == name)).one_or_none()
            return None if found is None else _record(found, clock.now(tx))

    def claim(self, name: str, holder: str, *, lasts_s: float, instead_of: str | None = None) -> Claim | None:
        """Return a claim on a name, None while another holds it."""
        with self._begun() as tx:
            if not self._is_made(tx):
                self._make_tables(tx)
            now = clock.now(tx)
            _add(tx, name)
            c = _checkpoints.c
            is_free = or_(c.holder.is_(None), c.expires_at <= now, c.holder == (instead_of or ""))
            token = tx.execute(
                update(_checkpoints)
                .where(and_(c.name == name, is_free))
                .values(token=c.token + 1, holder=holder, expires_at=now + timedelta(seconds=lasts_s))
                .returning(c.token)
            ).scalar_one_or_none()
        return None if token is None else Claim(name=name, holder=holder, token=token, lasts_s=lasts_s)

    def save(self, claim: Claim, written: Written) -> str | None:
        """Keep a checkpoint; return who has asked for a pause."""
        document = json.dumps(document_of(written.checkpoint), ensure_ascii=False)
        with self._begun() as tx:
            paused_by = _write(tx, claim, document=document)
            for one in (*written.refused, *written.accepted):
                tx.execute(delete(_refused).where(_is(claim.name, one)))
            rows = {(one.phase, one.key): one.reason for one in written.refused}
            if rows:
                tx.execute(
                    insert(_refused),
                    [
                        {"name": claim.name, "phase": phase, "key": key, "reason": reason}
                        for (phase, key), reason in rows.items()
                    ],
                )
        return paused_by

    def renew(self, claim: Claim) -> str | None:
        """Hold the claim for another while; return who has asked for a pause."""
        with self._begun() as tx:
            return _write(tx, claim)

    def give_back(self, claim: Claim) -> None:
        """End the claim."""
        with self._begun() as tx:
            tx.execute(update(_checkpoints).where(_held_by(claim)).values(holder=None, expires_at=None))

    def pause(self, name: str, by: str | None) -> None:
        """Ask whoever works on it to wait, or to go on."""
        paused = update(_checkpoints).where(_checkpoints.c.name == name).values(paused_by=by)
        with self._begun() as tx:
            known = self._is_made(tx) and tx.execute(paused).rowcount
        if not known:
            raise never_run(name, self.place)

    def refused(self, name: str) -> list[Refused]:
        """Return what could not be done."""
        query = select(_refused).where(_refused.c.name == name).order_by(_refused.c.phase, _refused.c.key)
        with self._begun() as tx:
            found = tx.execute(query) if self._is_made(tx) else ()
            return [Refused(key=row.key, phase=row.phase, reason=row.reason) for row in found]

    def close(self) -> None:
        """Close its connections."""
        self._database.close()

    @contextmanager
    def _begun(self) -> Iterator[Connection]:
        """Yield a connection in a transaction that may write."""
        try:
            with (
                self._database.engine.connect() as connection,
                connection.execution_options(**{WRITES: True}).begin(),
            ):
                yield connection
        except SQLAlchemyError as exc:
            said = first_line(exc) if isinstance(exc, DBAPIError) else exc
            raise DatabaseError(f"the checkpoint cannot be kept in {self.place}: {said}") from exc

    def _is_made(self, tx: Connection) -> bool:
        self._has_tables = self._has_tables or inspect(tx).has_table(_refused.name)
        return self._has_tables

    def _make_tables(self, tx: Connection) -> None:
        """Make the tables; PostgreSQL would let two try at once, and fail one."""
        if self._database.is_postgresql:
            tx.execute(select(func.pg_advisory_xact_lock(_TABLES_LOCK)))
        _metadata.create_all(tx)


def _add(tx: Connection, name: str) -> None:
    """Let there be a row under a name; who comes second waits for the first."""
    document = json.dumps({"_id": name})
    try:
        with tx.begin_nested():
            tx.execute(insert(_checkpoints).values(name=name, document=document, token=0))
    except IntegrityError:
        return


def _write(tx: Connection, claim: Claim, **values: Any) -> str | None:
    expires_at = clock.now(tx) + timedelta(seconds=claim.lasts_s)
    found = tx.execute(
        update(_checkpoints)
        .where(_held_by(claim))
        .values(expires_at=expires_at, **values)
        .returning(_checkpoints.c.paused_by)
    ).one_or_none()
    if found is None:
        raise taken_over(claim.name)
    paused_by: str | None = found.paused_by
    return paused_by


def _held_by(claim: Claim) -> ColumnElement[bool]:
    return and_(_checkpoints.c.name == claim.name, _checkpoints.c.token == claim.token)


def _is(name: str, refused: Refused) -> ColumnElement[bool]:
    return and_(_refused.c.name == name, _refused.c.phase == refused.phase, _refused.c.key == refused.key)


def _record(row: Row[Any], now: datetime) -> Record:
    expires_at = row.expires_at
    if expires_at is not None and expires_at.tzinfo is None:  # SQLite
        expires_at = expires_at.replace(tzinfo=UTC)
    return Record(
        checkpoint=checkpoint_of(json.loads(row.document)),
        token=row.token,
        holder=row.holder,
        is_held=row.holder is not None and expires_at is not None and expires_at > now,
        expires_at=expires_at,
        paused_by=row.paused_by,
    )
