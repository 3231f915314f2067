"""When it is time to tell Vendure how a channel is, or to look at what it says there."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import insert, update

from shelfsight.database import clock
from shelfsight.database.tables import channels
from shelfsight.vendure import mirror_store, store
from shelfsight.vendure.mirror_store import LOOK_AFTER
from shelfsight.vendure.rules import Server
from tests.vendure.connected import connected

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from sqlalchemy import Connection

    from shelfsight.database.engine import Database

SERVER = Server(id="ours", api_url="http://127.0.0.1:1", secret="whsec_AA==", user_id="1", api_key="key")
LATER = timedelta(minutes=10)


@pytest.fixture
def tx(database: Database) -> Iterator[Connection]:
    """A transaction, and two channels of which Vendure was told now, on both kinds of database."""
    with database.write() as tx:
        now = clock.now(tx)
        store.put_server(tx, SERVER, at=now, by="maria")
        for theirs in ("2", "3"):
            tx.execute(insert(channels).values(id=f"T_{theirs}", token=f"ck_{theirs}"))
            store.put_channel(tx, connected(SERVER, theirs, now))
            told(tx, f"T_{theirs}", again_at=now + LATER)
        yield tx


def told(tx: Connection, channel: str, *, again_at: datetime) -> None:
    mirror_store.note_told(tx, channel, mirror_store.get(tx, channel), again_at=again_at)


def change(tx: Connection, channel: str) -> None:
    tx.execute(update(channels).where(channels.c.id == channel).values(model_training_status="training"))


def test_what_was_told_is_looked_at_again_when_it_is_time(tx: Connection) -> None:
    now = clock.now(tx)
    assert mirror_store.due_channels(tx, now) == []
    assert mirror_store.due_channels(tx, now + LATER) == ["T_2", "T_3"]


def test_what_has_changed_here_is_told_at_once_and_before_others_are_looked_at(tx: Connection) -> None:
    now = clock.now(tx)
    change(tx, "T_3")
    assert mirror_store.due_channels(tx, now) == ["T_3"]
    assert mirror_store.due_channels(tx, now + LATER) == ["T_3", "T_2"]


def test_after_a_failure_it_waits_whatever_changes_and_comes_last(tx: Connection) -> None:
    now = clock.now(tx)
    mirror_store.note_failed(tx, "T_2", "it hangs", attempts=1, again_at=now + timedelta(seconds=30))
    change(tx, "T_2")
    assert mirror_store.due_channels(tx, now) == []
    assert mirror_store.due_channels(tx, now + timedelta(seconds=30)) == ["T_2"]
    assert mirror_store.due_channels(tx, now + LATER) == ["T_3", "T_2"]


def test_a_channel_that_somebody_changes_there_is_looked_at_soon_but_not_at_once(tx: Connection) -> None:
    now = clock.now(tx)
    mirror_store.look_soon(tx, ["T_3"], now)
    assert mirror_store.due_channels(tx, now + LOOK_AFTER / 2) == []
    assert mirror_store.due_channels(tx, now + LOOK_AFTER) == ["T_3"]


def test_changes_one_after_another_put_a_look_off_no_further(tx: Connection) -> None:
    now = clock.now(tx)
    for second in range(5):
        mirror_store.look_soon(tx, ["T_3"], now + timedelta(seconds=second))
    assert mirror_store.due_channels(tx, now + LOOK_AFTER) == ["T_3"]


def test_a_change_there_while_it_is_looked_at_is_looked_at_too(tx: Connection) -> None:
    now = clock.now(tx)
    told(tx, "T_3", again_at=now)
    looking = mirror_store.get(tx, "T_3")
    mirror_store.look_soon(tx, ["T_3"], now)
    mirror_store.note_told(tx, "T_3", looking, again_at=now + LATER)
    assert mirror_store.due_channels(tx, now) == []
    assert mirror_store.due_channels(tx, now + LOOK_AFTER) == ["T_3"]
