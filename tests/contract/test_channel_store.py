"""Channels and their settings, on either database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import delete, insert, select

from shelfsight.access.store import channel_of_key
from shelfsight.catalog.rules import (
    ChangeKind,
    ChannelSettings,
    ChannelValues,
    ReleasePolicy,
    RetrainTrigger,
    TrainingStatus,
    Visibility,
)
from shelfsight.catalog.store import channels, images, products
from shelfsight.database import tables
from shelfsight.errors import ConflictError, NotFoundError, StaleWriteError, UsageError
from tests.contract.catalog import APPLE, MARIA, NOW, history, image, sha256

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from shelfsight.database.engine import Database


def test_a_new_channel_has_the_defaults_and_a_token_of_its_own(database: Database) -> None:
    with database.write() as connection:
        made = channels.create(connection, "T_1", {"name": "Tante Emma"}, MARIA)
    with database.read() as connection:
        channel = channels.get(connection, "T_1")
        assert channel_of_key(connection, channel.token) == "T_1"
        assert channel_of_key(connection, "ck_unknown") is None
        assert channel.token != channels.get(connection, "default").token
    assert channel == made
    assert (channel.name, channel.created_at, channel.revision) == ("Tante Emma", NOW, 0)
    assert channel.settings == ChannelSettings()
    assert channel.settings.model_retrain_triggers == set(RetrainTrigger)
    assert channel.token not in repr(channel)


def test_a_channel_made_by_sql_has_the_same_defaults(database: Database) -> None:
    with database.write() as connection:
        connection.execute(insert(tables.channels).values(id="by_hand", token="ck_by_hand"))
    with database.read() as connection:
        assert channels.get(connection, "by_hand").settings == ChannelSettings()


@pytest.mark.parametrize("channel_id", ["", "a/b", "..", "é", "a b", "x" * 65, "blobs", "Blobs", "-x", "a\n"])
def test_what_cannot_name_a_folder_names_no_channel(database: Database, channel_id: str) -> None:
    with pytest.raises(UsageError), database.write() as connection:
        channels.create(connection, channel_id, {}, MARIA)


def test_a_channel_is_made_once(database: Database) -> None:
    with pytest.raises(ConflictError, match="there already"), database.write() as connection:
        channels.create(connection, "default", {}, MARIA)


def test_settings_come_back_as_they_were_saved_and_are_in_the_history(database: Database) -> None:
    with database.write() as connection:
        changed = channels.change(
            connection,
            "default",
            {
                "name": "Laden",
                "model_base_url": "https://cdn.example/models",
                "model_auto_retrain_enabled": False,
                "model_retrain_triggers": frozenset({RetrainTrigger.SCHEDULE}),
                "model_retrain_debounce_seconds": 5,
                "time_zone": "Europe/Berlin",
                "visibility": Visibility.PRIVATE,
                "release_policy": ReleasePolicy.STAGED,
                "accuracy_threshold": 0.85,
                "learn_from_corrections": True,
            },
            stamp=MARIA,
        )
    with database.read() as connection:
        assert channels.get(connection, "default") == changed
    assert changed.settings_revision == changed.revision == 1
    assert [(entry.revision, entry.kind, entry.actor, entry.at) for entry in history(database)] == [
        (1, ChangeKind.SETTINGS_CHANGED, "maria", NOW)
    ]


def test_settings_that_are_so_already_make_no_entry(database: Database) -> None:
    with database.write() as connection:
        channels.change(connection, "default", {"time_zone": "UTC"}, stamp=MARIA)
    assert history(database) == []


def test_second_writer_of_settings_with_old_revision_is_refused(database: Database) -> None:
    with database.write() as connection:
        channels.change(connection, "default", {"name": "First"}, stamp=MARIA, expected=0)
    with pytest.raises(StaleWriteError, match="at revision 1, not 0"), database.write() as connection:
        channels.change(connection, "default", {"name": "Second"}, stamp=MARIA, expected=0)


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "../../etc/passwd", "/etc/localtime", "Europe", "a\0b", "é"])
def test_a_time_zone_that_does_not_exist_is_refused(database: Database, zone: str) -> None:
    with pytest.raises(UsageError, match="time zone"), database.write() as connection:
        channels.change(connection, "default", {"time_zone": zone}, stamp=MARIA)


def test_a_new_token_replaces_the_old_one(database: Database) -> None:
    with database.write() as connection:
        old = channels.get(connection, "default").token
        new = channels.rotate_token(connection, "default", MARIA).token
    with database.read() as connection:
        assert channel_of_key(connection, old) is None
        assert channel_of_key(connection, new) == "default"


def test_a_trainings_progress_is_no_change_of_the_settings(database: Database) -> None:
    with database.write() as connection:
        channels.set_training(connection, "default", TrainingStatus.READY, last_trained=NOW)
        channels.set_training(connection, "default", TrainingStatus.QUEUED)
        channel = channels.get(connection, "default")
    assert channel.settings.model_training_status is TrainingStatus.QUEUED
    assert channel.settings.model_last_trained == NOW
    assert (channel.revision, channel.settings_revision) == (0, 0)


def test_channels_are_listed_page_by_page(database: Database) -> None:
    with database.write() as connection:
        for name in ("a", "b", "c"):
            channels.create(connection, name, {}, MARIA)
    with database.read() as connection:
        first = channels.page(connection, after=None, limit=3)
        second = channels.page(connection, after=first[-1].id, limit=3)
    assert sorted(channel.id for channel in first + second) == ["a", "b", "c", "default"]


def test_a_deleted_channel_leaves_nothing_but_its_audit(database: Database) -> None:
    with database.write(actor="maria") as connection:
        for channel_id in ("gone", "stays"):
            channels.create(connection, channel_id, {}, MARIA)
            products.add(connection, channel_id, "p", APPLE, MARIA)
            images.add(connection, channel_id, "p", [image("p", 1)], MARIA)
            version = {"channel_id": channel_id, "version": "v1.0.0"}
            connection.execute(insert(tables.version_blobs).values(**version, sha256=sha256(9)))
            stable = {**version, "file_path": "models/x.ort", "status": "active", "is_stable": True}
            connection.execute(insert(tables.model_metadata).values(stable))
            candidate = {"version": "v1.0.1", "status": "testing", "is_stable": False, "rollout_percentage": 10}
            connection.execute(insert(tables.model_metadata).values({**stable, **candidate}))  # triggers: a rollout
            uploaded = {"bucket": "b", "path": "x", "id": "1", "sha256": "0", "size_bytes": 1, "media_type": "a/b"}
            times = {"created_at": MARIA.at, "updated_at": MARIA.at}
            connection.execute(insert(tables.objects).values(channel_id=channel_id, **uploaded, **times))
            counted = {"hour": MARIA.at, "file": "x", "version": "", "actor": "nobody", "count": 1, "size_bytes": 1}
            connection.execute(insert(tables.downloads).values(channel_id=channel_id, **counted))
            _sell_and_tell(connection, channel_id)
            _connect_to_vendure(connection, channel_id)
            seen = {"id": "event-0001", "received_at": NOW, "at": NOW, "kind": "cache_hit"}
            connection.execute(insert(tables.events).values(channel_id=channel_id, **seen))
            connection.execute(insert(tables.trainings).values(channel_id=channel_id))
            connection.execute(insert(tables.training_log).values(channel_id=channel_id, training_id=1, line="begun"))
            connection.execute(insert(tables.leases).values(name=f"publish:{channel_id}"))
            connection.execute(insert(tables.tokens).values(id=channel_id, secret_sha256="0", channel_id=channel_id))
    with database.write(actor="maria") as connection:
        for token_id, scopes in {"only": ["channel:gone:read"], "more": ["channel:gone:write", "admin"]}.items():
            token = {"id": token_id, "secret_sha256": "0", "scopes": scopes}
            connection.execute(insert(tables.tokens).values(token))
        channels.delete(connection, "gone")
        left = {row.id: row.scopes for row in connection.execute(select(tables.tokens))}
        assert left == {"stays": [], "more": ["admin"]}
        connection.execute(delete(tables.tokens).where(tables.tokens.c.id == "more"))
    of_channel = [
        table
        for metadata in (tables.metadata, tables.public)
        for table in metadata.sorted_tables
        if "channel_id" in table.c and table.name != "audit"
    ]
    with database.read() as connection:
        for table in of_channel:
            assert set(connection.scalars(select(table.c.channel_id))) == {"stays"}, table.name
        tokens = {row.name: row.token for row in connection.execute(select(tables.leases))}
        assert tokens == {"publish:gone": 1, "publish:stays": 0}  # a publish that sleeps is refused, also later
        assert "gone" in set(connection.scalars(select(tables.audit.c.channel_id)))
        with pytest.raises(NotFoundError):
            channels.get(connection, "gone")


def _sell_and_tell(connection: Connection, channel_id: str) -> None:
    """Write a sale, and what a webhook is to be told of it."""
    sold = {"id": "sale-0001", "at": NOW, "received_at": NOW, "fingerprint": "", "actor": ""}
    connection.execute(insert(tables.sales).values(channel_id=channel_id, number=1, **sold))
    line = {"sale_number": 1, "line": 1, "product_id": "p", "name": "Apple", "quantity": 1}
    connection.execute(insert(tables.sale_lines).values(channel_id=channel_id, **line))
    webhook = {"id": channel_id, "url": "", "events": [], "secret": "", "created_at": NOW, "created_by": ""}
    connection.execute(insert(tables.webhooks).values(channel_id=channel_id, **webhook))
    told = {"message_id": "", "event": "", "body": "", "created_at": NOW, "next_at": NOW}
    row = {"channel_id": channel_id, "webhook_id": channel_id, **told}
    connection.execute(insert(tables.webhook_deliveries).values(row))


def _connect_to_vendure(connection: Connection, channel_id: str) -> None:
    """Write a connection with a Vendure server, and one row of all that comes of it."""
    made = {"created_at": NOW, "created_by": ""}
    server = {"id": channel_id, "api_url": channel_id, "api_key": "", "secret": "", "user_id": "1"}
    connection.execute(insert(tables.vendure_servers).values(**server, **made))
    theirs = {"server_id": channel_id, "vendure_channel_id": "2", "token": "", "sells": "products"}
    options = {"deploys": False, "records_orders": False, "scan_at": NOW}
    connection.execute(insert(tables.vendure_channels).values(channel_id=channel_id, **theirs, **options, **made))
    product = {"product_id": "p", "vendure_product_id": "7", "pictures": []}
    connection.execute(insert(tables.vendure_products).values(channel_id=channel_id, **product))
    connection.execute(insert(tables.vendure_assets).values(channel_id=channel_id, asset_id="1", reason="no"))
    wanted = {"vendure_product_id": "7", "since": NOW}
    connection.execute(insert(tables.vendure_wanted).values(channel_id=channel_id, **wanted))
    connection.execute(insert(tables.vendure_orders).values(channel_id=channel_id, sale_id="s", next_at=NOW))


def test_the_default_channel_cannot_be_deleted(database: Database) -> None:
    with pytest.raises(ConflictError, match="cannot be deleted"), database.write() as connection:
        channels.delete(connection, "default")


def test_a_wrong_row_written_in_sql_hides_no_channels(database: Database) -> None:
    with database.write() as connection:
        values = {"model_retrain_debounce_seconds": -5, "model_retrain_triggers": ["full-moon", "schedule"]}
        row = {"id": "wrong", "token": "ck", "time_zone": "Mars/Olympus", "model_base_url": "?", **values}
        connection.execute(insert(tables.channels).values(row))
    with database.read() as connection:
        assert [channel.id for channel in channels.page(connection, limit=10)] == ["default", "wrong"]
        triggers = channels.get(connection, "wrong").settings.model_retrain_triggers
    assert triggers == {RetrainTrigger.SCHEDULE}
    with database.write() as connection:
        right = ChannelValues(model_retrain_debounce_seconds=60, model_base_url=None)
        assert channels.change(connection, "wrong", right, stamp=MARIA).settings.model_base_url is None
