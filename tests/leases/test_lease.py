"""Leases: one holder at a time, kept while somebody slow is waited for."""

from __future__ import annotations

from datetime import timedelta
from threading import Event
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import update

from shelfsight.database import clock
from shelfsight.database.tables import leases
from shelfsight.errors import BusyError
from shelfsight.leases.lease import end, held, is_held, kept
from shelfsight.leases.rules import Exclusive

if TYPE_CHECKING:
    from shelfsight.database.engine import Database


WORK = Exclusive("publish:T_1", "a publish of T_1")


def expire(database: Database) -> None:
    """Let a minute go by."""
    with database.write() as tx:
        tx.execute(update(leases).values(expires_at=clock.now(tx) - timedelta(seconds=1)))


def test_a_lease_that_is_kept_does_not_expire_while_its_holder_waits(database: Database) -> None:
    with kept(database, WORK, every_s=0.01):
        expire(database)
        while not is_held(database, WORK):
            Event().wait(0.01)
        with pytest.raises(BusyError, match="a publish of T_1 is running"), held(database, WORK):
            pass
    assert not is_held(database, WORK)


def test_a_lease_that_was_ended_is_free_and_its_holder_writes_no_more(database: Database) -> None:
    with kept(database, WORK, every_s=0.01) as first:
        with database.write() as tx:
            end(tx, WORK)
        assert not is_held(database, WORK)
        with held(database, WORK) as second:
            with pytest.raises(BusyError, match="another has taken over"):
                first.renew()
            second.renew()
