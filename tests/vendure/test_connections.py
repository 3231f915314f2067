"""Connections with a real Vendure: checked before they are made, and nothing secret is ever shown again."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import insert, select

from shelfsight.access import audit
from shelfsight.catalog.store import channels
from shelfsight.database.tables import channels as channel_rows
from shelfsight.database.tables import vendure_messages, vendure_servers
from shelfsight.errors import ConflictError, NotFoundError, UnavailableError, UsageError, VendureAccessError
from shelfsight.partners.vendure.credentials import ApiKey, Login
from shelfsight.vendure import store
from shelfsight.vendure.connections import Wish, client_of, connect, disconnect
from shelfsight.vendure.rules import Sells
from tests.vendure.followed import BY
from tests.vendure.server import SUPERADMIN, TO_CONNECT

if TYPE_CHECKING:
    from shelfsight.database.engine import Database
    from tests.vendure.server import ShopChannel, VendureServer


@pytest.fixture(scope="module")
def theirs(vendure: VendureServer) -> ShopChannel:
    """A channel there."""
    return vendure.channel("connected")


@pytest.fixture
def wish(vendure: VendureServer, theirs: ShopChannel, database: Database) -> Wish:
    """To connect T_1 with it, on both kinds of database."""
    with database.write() as tx:
        tx.execute(insert(channel_rows), [{"id": name, "token": f"ck_{name}"} for name in ("T_1", "T_2")])
    return Wish(channel="T_1", api_url=vendure.url, credentials=SUPERADMIN, vendure_channel=theirs.id)


def test_a_connection_gives_what_the_plugin_needs_this_once(
    database: Database, wish: Wish, vendure: VendureServer, theirs: ShopChannel
) -> None:
    ours = vendure.administrator(TO_CONNECT, [theirs.id])
    made = connect(database, replace(wish, credentials=ours, sells=Sells.VARIANTS), by=BY)
    assert made.secret is not None
    assert len(base64.b64decode(made.secret.removeprefix("whsec_"))) == 32
    with database.read() as tx:
        found = store.get(tx, "T_1")
        entry = audit.list_entries(tx, channel="T_1", limit=1)[0]
    assert (found.vendure_channel, found.token, found.sells) == (theirs.id, theirs.token, Sells.VARIANTS)
    assert (found.server.api_url, made.user) == (vendure.api, ours.username)
    shown = repr((made, found, entry))
    for secret in (made.secret, ours.password, theirs.token):
        assert secret not in shown
    assert (entry.action, entry.actor, entry.details["sells"]) == ("vendure_connected", "maria", "variants")


def test_connecting_again_leaves_what_is_not_named_as_it_is(database: Database, wish: Wish) -> None:
    first = connect(database, replace(wish, sells=Sells.VARIANTS, deploys=True, records_orders=True), by=BY).connected
    assert (first.sells, first.deploys, first.records_orders) == (Sells.VARIANTS, True, True)
    again = connect(database, wish, by=BY).connected
    assert (again.sells, again.deploys, again.records_orders) == (Sells.VARIANTS, True, True)
    less = connect(database, replace(wish, deploys=False), by=BY).connected
    assert (less.sells, less.deploys, less.records_orders) == (Sells.VARIANTS, False, True)


def test_options_and_credentials_are_changed_by_connecting_again(
    database: Database, wish: Wish, vendure: VendureServer, theirs: ShopChannel
) -> None:
    first = connect(database, wish, by=BY)
    ours = vendure.administrator(TO_CONNECT, [theirs.id])
    second = connect(database, replace(wish, credentials=ours, sells=Sells.VARIANTS), by=BY)
    assert second.secret is None
    assert second.connected.server.id == first.connected.server.id
    with database.read() as tx:
        found = store.get(tx, "T_1")
        assert len(tx.execute(select(vendure_servers)).all()) == 1
    assert (found.server.username, found.server.secret) == (ours.username, first.secret)
    assert (found.sells, found.server.user_id != "1") == (Sells.VARIANTS, True)
    with client_of(found.server) as client:
        assert client.query("{ me { identifier } }")["me"]["identifier"] == ours.username
    third = connect(database, replace(wish, new_secret=True), by=BY)
    assert third.secret not in {None, first.secret}


def test_an_api_key_works_in_its_own_channel(
    database: Database, wish: Wish, vendure: VendureServer, theirs: ShopChannel
) -> None:
    key = vendure.api_key(["ReadProduct"], theirs)
    made = connect(database, replace(wish, credentials=ApiKey(key), key_token=theirs.token), by=BY)
    assert made.connected.vendure_channel == theirs.id
    assert key not in repr(made)
    assert made.connected.server.user_id == ""
    blind = ApiKey(vendure.api_key(["ReadOrder"], theirs))
    with pytest.raises(VendureAccessError, match="ReadProduct"):
        connect(database, replace(wish, credentials=blind, key_token=theirs.token), by=BY)


def test_what_cannot_work_is_refused_and_changes_nothing(
    database: Database, wish: Wish, vendure: VendureServer, theirs: ShopChannel
) -> None:
    blind = vendure.administrator(["ReadOrder"], [theirs.id])
    reader = vendure.administrator(TO_CONNECT, [theirs.id])
    wrong = [
        (replace(wish, channel="T_9"), NotFoundError, "channel 'T_9' is not there"),
        (replace(wish, vendure_channel="no-such"), NotFoundError, "no channel 'no-such'"),
        (replace(wish, api_url="shop.example"), UsageError, "must be one such as"),
        (replace(wish, api_url="http://127.0.0.1:1"), UnavailableError, "cannot be reached"),
        (replace(wish, credentials=Login("superadmin", "x")), VendureAccessError, "check name and password"),
        (
            replace(wish, credentials=blind),
            VendureAccessError,
            "the permissions ReadProduct or ReadCatalog, ReadChannel",
        ),
        (replace(wish, credentials=reader, deploys=True), VendureAccessError, "CreateAsset"),
        (replace(wish, credentials=reader, records_orders=True), VendureAccessError, "CreateOrder, DeleteOrder"),
    ]
    for one, error, sentence in wrong:
        with pytest.raises(error, match=sentence):
            connect(database, one, by=BY)
    with database.read() as tx:
        assert store.connected(tx) == []
        assert tx.execute(select(vendure_servers)).all() == []


TO_DEPLOY = ("CreateAsset", "ReadAsset", "DeleteAsset", "UpdateCatalog")
TO_ORDER = ("CreateOrder", "DeleteOrder", "ReadOrder", "UpdateOrder")


@pytest.mark.parametrize("deploys", [False, True])
@pytest.mark.parametrize("orders", [False, True])
def test_a_permission_that_will_be_needed_is_missed_when_a_channel_is_connected_and_no_other(
    database: Database, wish: Wish, vendure: VendureServer, theirs: ShopChannel, deploys: bool, orders: bool
) -> None:
    needed = [*TO_CONNECT, *(TO_DEPLOY if deploys else ()), *(TO_ORDER if orders else ())]
    wanted = replace(wish, deploys=deploys, records_orders=orders)
    for missing in (needed[-1], "UpdateChannel"):
        login = vendure.administrator([one for one in needed if one != missing], [theirs.id])
        sentence = rf"channel {theirs.id}: give our role there \(role-\w+\) the permission {missing}$"
        with pytest.raises(VendureAccessError, match=sentence):
            connect(database, replace(wanted, credentials=login), by=BY)
    connect(database, replace(wanted, credentials=vendure.administrator(needed, [theirs.id])), by=BY)


def test_what_is_permitted_elsewhere_does_not_count(
    database: Database, wish: Wish, vendure: VendureServer, theirs: ShopChannel
) -> None:
    other = vendure.channel()
    login = vendure.administrator(["ReadProduct", "ReadChannel"], [theirs.id])
    admin = vendure.ask(
        "{ administrators(options: {sort: {id: DESC}, take: 1}) { items { id user { roles { id } } } } }"
    )
    (who,) = admin["items"]
    roles = [one["id"] for one in who["user"]["roles"]] + [vendure.role(TO_CONNECT, [other.id])]
    give = "mutation($input: UpdateAdministratorInput!) { updateAdministrator(input: $input) { id } }"
    vendure.ask(give, input={"id": who["id"], "roleIds": roles})
    with pytest.raises(VendureAccessError, match=r"\(role-\w+\) the permission UpdateChannel$"):
        connect(database, replace(wish, credentials=login), by=BY)


def test_a_channel_has_one_partner(database: Database, wish: Wish, vendure: VendureServer) -> None:
    connect(database, replace(wish, deploys=True, records_orders=True), by=BY)
    with pytest.raises(ConflictError, match="shelfsight vendure disconnect T_1` first"):
        connect(database, replace(wish, vendure_channel=vendure.channel().id), by=BY)
    with pytest.raises(ConflictError, match="shelfsight vendure disconnect T_1` first"):
        connect(database, replace(wish, channel="T_2"), by=BY)


def test_credentials_that_would_lock_us_out_of_another_channel_are_refused(
    database: Database, wish: Wish, vendure: VendureServer, theirs: ShopChannel
) -> None:
    connect(database, wish, by=BY)
    other = vendure.channel()
    one_role = vendure.administrator(TO_CONNECT, [other.id])
    key = ApiKey(vendure.api_key(["ReadProduct"], other))
    second = replace(wish, channel="T_2", vendure_channel=other.id)
    for alone in (replace(second, credentials=one_role), replace(second, credentials=key, key_token=other.token)):
        with pytest.raises(ConflictError, match="is not let into the channels of T_1"):
            connect(database, alone, by=BY)
    both = vendure.administrator(TO_CONNECT, [theirs.id, other.id])
    connect(database, replace(second, credentials=both), by=BY)
    with database.read() as tx:
        assert store.get(tx, "T_1").server.username == both.username


def test_a_server_goes_with_its_last_channel(database: Database, wish: Wish, vendure: VendureServer) -> None:
    made = connect(database, wish, by=BY)
    server = made.connected.server.id
    connect(database, replace(wish, channel="T_2", vendure_channel=vendure.channel().id), by=BY)
    with database.write() as tx:
        store.note_message(tx, server, "msg_1", made.connected.created_at)
    disconnect(database, "T_1", by=BY)
    with database.read() as tx:
        assert store.get_server(tx, server) is not None
    disconnect(database, "T_2", by=BY)
    with database.read() as tx:
        assert store.get_server(tx, server) is None
        assert tx.execute(select(vendure_messages)).all() == []
    with pytest.raises(NotFoundError, match="channel 'T_1' is not connected with Vendure"):
        disconnect(database, "T_1", by=BY)


def test_a_channel_that_is_deleted_is_connected_no_more(database: Database, wish: Wish) -> None:
    connect(database, wish, by=BY)
    with database.write(actor="maria") as tx:
        channels.delete(tx, "T_1")
        assert store.connected(tx) == []
        assert tx.execute(select(vendure_servers)).all() == []  # nor do its credentials stay
