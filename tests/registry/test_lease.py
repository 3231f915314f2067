"""Leases: one holder at a time, kept while somebody slow is waited for."""

from __future__ import annotations

from datetime import timedelta
from threading import Event
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import update

from shelfsight.database import clock
from shelfsight.database.tables import leases
from shelfsight.errors import PublishConflictError
from shelfsight.registry.lease import end, held, is_held, kept

if TYPE_CHECKING:
    from shelfsight.database.engine import Database


def expire(database: Database) -> None:
    """Let a minute go by."""
    with database.write() as tx:
        tx.execute(update(leases).values(expires_at=clock.now(tx) - timedelta(seconds=1)))


def test_a_lease_that_is_kept_does_not_expire_while_its_holder_waits(database: Database) -> None:
    with kept(database, "publish:T_1", every_s=0.01):
        expire(database)
        while not is_held(database, "publish:T_1"):
            Event().wait(0.01)
        with pytest.raises(PublishConflictError, match="is running"), held(database, "publish:T_1"):
            pass
    assert not is_held(database, "publish:T_1")


def test_a_lease_that_was_ended_is_free_and_its_holder_writes_no_more(database: Database) -> None:
    with kept(database, "publish:T_1", every_s=0.01) as first:
        with database.write() as tx:
            end(tx, "publish:T_1")
        assert not is_held(database, "publish:T_1")
        with held(database, "publish:T_1") as second:
            with pytest.raises(PublishConflictError, match="another has taken over"):
                first.renew()
            second.renew()
