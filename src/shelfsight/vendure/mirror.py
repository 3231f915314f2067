"""Lets a channel's fields in Vendure follow the channel here: status, version, and files where models are deployed.

It compares, and writes what differs: nothing is lost by a worker that dies, and of many changes the last one counts.
From time to time, and soon after somebody has changed the channel there, it compares with what is really there.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from shelfsight.database import clock
from shelfsight.errors import BusyError, ShelfsightError
from shelfsight.leases.lease import kept
from shelfsight.partners.vendure.channels import model_fields, set_model_fields
from shelfsight.partners.vendure.records import VendureChannel
from shelfsight.registry.layout import version_folder
from shelfsight.vendure import mirror_store as store
from shelfsight.vendure import store as connections
from shelfsight.vendure.connections import client_of
from shelfsight.vendure.deploy import ModelFiles, deploy
from shelfsight.vendure.deploy_channel import find_channel
from shelfsight.vendure.deploy_files import weight_names
from shelfsight.vendure.rounds import Work
from shelfsight.vendure.rules import SCAN_EVERY, mirror_lease, reason_of, retry_after
from shelfsight.vendure.versions import clean_up

if TYPE_CHECKING:
    from shelfsight.catalog.images import Stores
    from shelfsight.leases.lease import Lease
    from shelfsight.partners.vendure.client import VendureClient
    from shelfsight.partners.vendure.records import ModelFields
    from shelfsight.storage import Storage
    from shelfsight.vendure.mirror_store import Mirrored
    from shelfsight.vendure.rules import ConnectedChannel

KEPT = 2
"""Versions that stay in Vendure: the active one, and one to go back to."""

_log = structlog.get_logger()


def mirror(stores: Stores) -> Work:
    """Return the work of telling Vendure how every connected channel is."""
    return Work(
        name="vendure_mirror",
        database=stores.database,
        find=store.due_channels,
        do=lambda channel: tell(stores, channel),
    )


def tell(stores: Stores, channel: str) -> None:
    """Tell Vendure how a channel is, unless another process is at it; write how that went.

    Raises:
        NotFoundError: the channel is not connected.
        DatabaseError: the database does not answer.
    """
    with suppress(BusyError), kept(stores.database, mirror_lease(channel)) as lease:
        with stores.database.read() as tx:  # not before: whoever held the lease may have told more
            mirrored = store.get(tx, channel)
        try:
            _tell(stores, channel, mirrored)
        except BusyError:
            raise
        except Exception as exc:  # noqa: BLE001 (else it would be tried again every second)
            _note_failed(channel, mirrored, exc, lease)
        else:
            with stores.database.write() as tx:
                lease.check(tx)
                store.note_told(tx, channel, mirrored, again_at=clock.now(tx) + SCAN_EVERY)


def _note_failed(channel: str, mirrored: Mirrored, error: Exception, lease: Lease) -> None:
    if isinstance(error, ShelfsightError):
        _log.warning("vendure_not_told", channel=channel, reason=str(error))
    else:
        _log.error("vendure_not_told", channel=channel, exc_info=error)
    attempts = mirrored.attempts + 1
    with lease.database.write() as tx:
        lease.check(tx)
        again_at = clock.now(tx) + retry_after(attempts)
        store.note_failed(tx, channel, reason_of(error), attempts=attempts, again_at=again_at)


def _tell(stores: Stores, channel: str, mirrored: Mirrored) -> None:
    with stores.database.read() as tx:
        connected = connections.get(tx, channel)
    is_new = mirrored.now.version != mirrored.told.version
    with client_of(connected.server) as client:
        if mirrored.now == mirrored.told:
            if _is_so_there(client, connected, mirrored):
                return
            _log.warning("vendure_fields_overwritten", channel=channel)
        there = find_channel(client, connected.vendure_channel, key_token=connected.token)
        before = model_fields(client, there)
        version = mirrored.now.version if connected.deploys and (is_new or not _is_whole(before)) else None
        if version is not None:
            _deploy(stores.storage, client, connected, there, version)
            before = model_fields(client, there)
        set_model_fields(client, there, _wanted(before, connected, mirrored), before=before)
        if version is not None:
            clean_up(client, there, keep=KEPT)


def _is_so_there(client: VendureClient, connected: ConnectedChannel, mirrored: Mirrored) -> bool:
    """Return whether the fields are as they are to be, by one query: who we are there would name all our channels."""
    channel = VendureChannel(id=connected.vendure_channel, code="", token=connected.token, permissions=None)
    fields = model_fields(client, channel)
    is_lost = connected.deploys and mirrored.now.version is not None and not _is_whole(fields)
    return not is_lost and fields == _wanted(fields, connected, mirrored)


def _deploy(
    storage: Storage, client: VendureClient, connected: ConnectedChannel, there: VendureChannel, version: str
) -> None:
    files = model_files(storage, connected.channel, version.removeprefix("v"))
    report = deploy(client, files, channel=there, version=version)
    _log.info("vendure_deployed", channel=connected.channel, version=version, outcome=report.outcome.value)


def model_files(storage: Storage, channel: str, version: str) -> ModelFiles:
    """Return the files of a published version that a browser loads.

    Raises:
        NotFoundError: it has no TensorFlow.js model, or is gone.
        BundleError: its `model.json` is damaged.
        StorageError: the storage does not answer.
    """
    folder = version_folder(channel, version)
    model = storage.get(f"{folder}/model.json")
    return ModelFiles(
        model=model,
        weights={name: storage.get(f"{folder}/{name}") for name in weight_names(model)},
        metadata=storage.get(f"{folder}/metadata.json"),
    )


def _is_whole(fields: ModelFields) -> bool:
    """Return whether fields say all that a deployment does; of which version, is for whoever deployed it."""
    said = (fields.base_url, fields.version, fields.last_trained)
    return all((*said, fields.model_id, fields.weights_id, fields.metadata_id))


def _wanted(before: ModelFields, connected: ConnectedChannel, mirrored: Mirrored) -> ModelFields:
    """Return what says how a channel is; where models are deployed, by whomever, the model's fields stay."""
    wanted = replace(before, status=mirrored.now.status)
    if connected.deploys or before.ids:
        return wanted
    at = mirrored.now.trained_at
    return replace(
        wanted,
        version=mirrored.now.version,
        last_trained=at and at.replace(microsecond=at.microsecond // 1000 * 1000),  # as Vendure keeps it
        base_url=mirrored.base_url and f"{mirrored.base_url.rstrip('/')}/model.json",
    )
