"""A channel, a server that hears of it, and a sender between them, on both kinds of database."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import insert, select, update

from shelfsight.access.rules import Asker
from shelfsight.database.engine import open_database
from shelfsight.database.tables import channels, webhook_deliveries
from shelfsight.webhooks import outbox, store, subscriptions
from shelfsight.webhooks.rules import DeliveryState, Event
from shelfsight.webhooks.sender import Sender
from tests.webhooks.receiver import Receiver, receiving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shelfsight.catalog.reach import Reach
    from shelfsight.database.engine import Database
    from shelfsight.webhooks.rules import Delivery
    from shelfsight.webhooks.subscriptions import AddedWebhook

BY = Asker(actor="maria", address="192.0.2.7")
HERE = (ip_network("127.0.0.0/8"),)


@dataclass(frozen=True)
class Post:
    """Channel T_1 of a database, and a receiver."""

    database: Database
    receiver: Receiver
    opened: list[Database] = field(default_factory=list)

    @property
    def reach(self) -> Reach:
        """To the public internet, and to this machine."""
        return subscriptions.reach_of(HERE)

    def add(self, path: str = "/hook", channel: str = "T_1") -> AddedWebhook:
        """Add a webhook to the receiver."""
        url, events = self.receiver.url(path), [Event.SALE_RECORDED]
        return subscriptions.add(self.database, channel, url, events, reach=self.reach, by=BY)

    def emit(self, *documents: dict[str, Any], channel: str = "T_1") -> None:
        """Let something happen."""
        with self.database.write() as tx:
            outbox.emit(tx, channel, Event.SALE_RECORDED, documents or [{"n": 1}], at=datetime.now(UTC))

    def sender(self) -> Sender:
        """Return a sender with connections of its own."""
        self.opened.append(open_database(self.database.engine.url.render_as_string(hide_password=False)))
        return Sender(self.opened[-1], self.reach)

    def send(self, sender: Sender | None = None) -> int:
        """Send what is due, all of it; return how many attempts that was."""
        sender, count = sender or Sender(self.database, self.reach), 0
        while (begun := sender.look()) or sender.wait(20):
            count += begun
        return count

    def deliveries(self, webhook: str) -> list[Delivery]:
        """Return what was sent to a webhook, or is to be, the newest first."""
        with self.database.read() as tx:
            return store.page(tx, webhook, state=None, before=None, limit=1000)

    def is_waiting(self, webhook: str) -> bool:
        """Return whether anything is still to be sent to a webhook."""
        return any(delivery.state is DeliveryState.PENDING for delivery in self.deliveries(webhook))

    def bodies(self) -> list[str]:
        """Return every body that is written to be sent."""
        with self.database.read() as tx:
            return list(tx.scalars(select(webhook_deliveries.c.body)))

    def let_time_pass(self, **since: float) -> None:
        """Let so much time have gone by for whatever is to be sent."""
        ago = timedelta(**since or {"days": 1})
        with self.database.write() as tx:
            for row in tx.execute(select(webhook_deliveries)).all():
                earlier = {
                    name: value and value - ago for name in ("next_at", "ended_at") for value in [getattr(row, name)]
                }
                tx.execute(update(webhook_deliveries).where(webhook_deliveries.c.id == row.id).values(earlier))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A server that hears of what happens."""
    with receiving() as found:
        yield found


@pytest.fixture
def post(database: Database, receiver: Receiver) -> Iterator[Post]:
    """Channels T_1 and T_2, and a receiver."""
    with database.write() as tx:
        tx.execute(insert(channels), [{"id": name, "token": f"ck_{name}"} for name in ("T_1", "T_2")])
    made = Post(database, receiver)
    yield made
    for one in made.opened:
        one.close()
