"""What the plugin of a Vendure server tells us, and asks of us."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shelfsight.access.rules import Asker
from shelfsight.catalog.store import channels
from shelfsight.database import clock
from shelfsight.errors import AuthenticationError, NotFoundError
from shelfsight.jobs import requests
from shelfsight.jobs import store as trainings
from shelfsight.vendure import mirror_store, store
from shelfsight.vendure.message_rules import is_genuine, requester, wanted_by
from shelfsight.vendure.rules import ACTOR

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Connection

    from shelfsight.database.engine import Database
    from shelfsight.jobs.trainings import Training
    from shelfsight.vendure.message_rules import Happening, Signed
    from shelfsight.vendure.rules import ConnectedChannel, Server

_NOBODYS_SECRET = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="  # noqa: S105 (of servers that are not there)


def sender(database: Database, server_id: str, signed: Signed, body: bytes) -> Server:
    """Return the server that sent a message.

    Raises:
        AuthenticationError: it is not known, or its signature is wrong or old; which of these, nobody is told.
    """
    with database.read() as tx:
        server, now = store.get_server(tx, server_id), clock.now(tx)
    secret = _NOBODYS_SECRET if server is None else server.secret
    if not is_genuine(signed, body, secret, now) or server is None:
        raise AuthenticationError(
            "the signature is wrong, or older than five minutes: compare the plugin's url and secret with those of "
            "`shelfsight vendure connect`, and the clocks of both servers"
        )
    return server


def note_happenings(database: Database, server: Server, message_id: str, happened: Collection[Happening]) -> bool:
    """Let what happened be looked at soon; return False, and do nothing, where the message came before."""
    with database.write(actor=ACTOR) as tx:
        now = clock.now(tx)
        if not store.note_message(tx, server.id, message_id, now):
            return False
        mine = store.of_server(tx, server.id)
        for theirs, wanted in wanted_by(happened, mine, own_user=server.user_id).items():
            if wanted.everything:
                store.scan_now(tx, [mine[theirs]], now)
                mirror_store.look_soon(tx, [mine[theirs]], now)
            else:
                store.want(tx, mine[theirs], sorted(wanted.products), now)
    return True


def ask_for_training(
    database: Database, server: Server, message_id: str, vendure_channel: str, by: Asker
) -> tuple[Training, bool]:
    """Ask for a training; return it, and whether the message was new: of one that came before, the latest training.

    Raises:
        NotFoundError: that channel is not connected.
    """
    with database.read() as tx:
        connected = _connected(tx, server, vendure_channel)
        is_new = not store.was_received(tx, server.id, message_id)
        latest = _latest(tx, connected.channel)
    if not is_new and latest is not None:
        return latest, False
    asked = requests.ask(database, connected.channel, by)
    with database.write(actor=ACTOR) as tx:  # afterwards: killed in between, it is asked for twice, not never
        store.note_message(tx, server.id, message_id, clock.now(tx))
    return asked, True


def latest_training(database: Database, server: Server, vendure_channel: str) -> tuple[Training | None, str | None]:
    """Return the latest training of a channel, and its stable version, None where there is none.

    Raises:
        NotFoundError: that channel is not connected.
    """
    with database.read() as tx:
        connected = _connected(tx, server, vendure_channel)
        version = channels.get(tx, connected.channel).settings.model_version
        return _latest(tx, connected.channel), version


def asker(name: str, address: str | None) -> Asker:
    """Return who asks, whom the server's plugin calls by that name."""
    return Asker(actor=requester(name), address=address)


def _latest(tx: Connection, channel: str) -> Training | None:
    found, _ = trainings.page(tx, channel, limit=1)
    return found[0] if found else None


def _connected(tx: Connection, server: Server, vendure_channel: str) -> ConnectedChannel:
    found = store.by_theirs(tx, server.id, vendure_channel)
    if found is None:
        raise NotFoundError(
            f"channel {vendure_channel[:80]} of this Vendure is not connected: run `shelfsight vendure connect`"
        )
    return found
