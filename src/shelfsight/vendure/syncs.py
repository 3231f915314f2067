"""The work of following Vendure: what events name at once, everything every ten minutes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from shelfsight.database import clock
from shelfsight.errors import BusyError
from shelfsight.leases.lease import is_held
from shelfsight.vendure import store
from shelfsight.vendure.rounds import Work
from shelfsight.vendure.rules import sync_lease
from shelfsight.vendure.sync import Order, sync

if TYPE_CHECKING:
    from shelfsight.catalog.images import Stores
    from shelfsight.vendure.sync import SyncResult

_log = structlog.get_logger()


def syncs(stores: Stores) -> Work:
    """Return the work of syncing every channel that is connected."""
    return Work(
        name="vendure_sync", database=stores.database, find=store.due, do=lambda channel: sync_due(stores, channel)
    )


def sync_due(stores: Stores, channel: str) -> None:
    """Sync what is due of a channel, unless another process is at it.

    Raises:
        As of `sync`, which has written it.
    """
    with stores.database.read() as tx:
        connected = store.find(tx, channel)
        is_scan = connected is not None and connected.state.scan_at <= clock.now(tx)
    if connected is None or is_held(stores.database, sync_lease(channel)):
        return
    try:
        result = sync(stores, channel, Order(named=not is_scan))
    except BusyError as exc:
        _log.debug("vendure_sync_left_to_another", channel=channel, reason=str(exc))
    else:
        _tell(channel, result)


def _tell(channel: str, result: SyncResult) -> None:
    counts = {name: getattr(result, name) for name in ("added", "changed", "restored", "deleted", "pictures")}
    if any(counts.values()):
        _log.info("vendure_synced", channel=channel, **counts)
    for one in (*result.refused, *result.put_off):
        about = {"product": one.product_id, "asset": one.asset, "reason": one.reason}
        _log.warning("vendure_not_taken", channel=channel, **about)
