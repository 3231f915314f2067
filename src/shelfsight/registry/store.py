"""The SQL of versions, trainings and blobs."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, delete, insert, or_, select, update

from shelfsight.catalog.rules import ReleasePolicy
from shelfsight.catalog.store.changes import lock
from shelfsight.database.clock import now
from shelfsight.database.tables import (
    channels,
    model_metadata,
    objects,
    releases,
    rollouts,
    trainings,
    version_blobs,
)
from shelfsight.errors import NotFoundError
from shelfsight.registry.rules import Share, Status, Version

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import datetime

    from sqlalchemy import Connection, RowMapping

_LEARNED = ("product_count", "image_count", "training_duration", "accuracy")


def release_policy(tx: Connection, channel: str) -> ReleasePolicy:
    """Return what a finished publish does in this channel.

    Raises:
        NotFoundError: there is no such channel.
    """
    found = tx.scalar(select(channels.c.release_policy).where(channels.c.id == channel))
    if found is None:
        raise NotFoundError(f"there is no channel {channel!r}: create it first, or check the id")
    return ReleasePolicy(found)


def channel_ids(tx: Connection) -> set[str]:
    """Return the ids of all channels."""
    return set(tx.scalars(select(channels.c.id)))


def sequences(tx: Connection) -> dict[str, int]:
    """Return how often the versions of each channel have changed; channels that never had any are left out."""
    rows = tx.execute(select(channels.c.id, channels.c.sequence).where(channels.c.sequence > 0))
    return {row.id: row.sequence for row in rows}


def versions(tx: Connection, channel: str) -> list[Version]:
    """Return every version of a channel, in the order in which they were published."""
    rows = tx.execute(
        select(model_metadata).where(model_metadata.c.channel_id == channel).order_by(model_metadata.c.id)
    )
    return [_version(row) for row in rows.mappings()]


def page(tx: Connection, channel: str, *, before: int | None, limit: int) -> tuple[list[Version], int | None]:
    """Return some versions of a channel, the last published first, and where the next page begins, if any does."""
    mine = model_metadata.c.channel_id == channel
    wanted = mine if before is None else and_(mine, model_metadata.c.id < before)
    query = select(model_metadata).where(wanted).order_by(model_metadata.c.id.desc()).limit(limit + 1)
    rows = tx.execute(query).mappings().all()
    following = rows[limit - 1]["id"] if len(rows) > limit else None
    return [_version(row) for row in rows[:limit]], following


def version(tx: Connection, channel: str, wanted: str) -> Version:
    """Return one version.

    Raises:
        NotFoundError: the channel has no such version.
    """
    rows = tx.execute(select(model_metadata).where(_is(channel, wanted))).mappings().first()
    if rows is None:
        raise NotFoundError(
            f"{channel} has no version {wanted}: `shelfsight versions list {channel}` shows what it has"
        )
    return _version(rows)


def insert_version(tx: Connection, published: Version) -> None:
    """Add a version; it is not stable yet."""
    columns = ("status", "rollout_percentage", "trained_at", "file_path", "file_size_bytes", "checksum_sha256",
               "architecture", "quantization", *_LEARNED)  # fmt: skip
    row = {column: getattr(published, column) for column in columns}
    label = {"channel_id": published.channel, "version": f"v{published.version}"}
    tx.execute(insert(model_metadata).values(**label, **row))


def note_result(tx: Connection, published: Version, *, training: int | None, requested_by: str) -> bool:
    """Write a version into the history of trainings; return False where its training was cancelled, or has one.

    Args:
        training: the one that it came from; None for a bundle made elsewhere, which gets an entry of its own.
    """
    row = {"version": f"v{published.version}", "trained_at": published.trained_at}
    row |= {column: getattr(published, column) for column in _LEARNED}
    if training is None:
        own = {"channel_id": published.channel, "status": "ready", "requested_by": requested_by}
        tx.execute(insert(trainings).values(**own, **row))
        return True
    runs = and_(trainings.c.id == training, trainings.c.status == "training")
    free = and_(runs, trainings.c.version.is_(None), trainings.c.cancelled_at.is_(None))
    return tx.execute(update(trainings).where(free).values(row)).rowcount == 1


def make_stable(tx: Connection, channel: str, wanted: str) -> None:
    """Make one version stable: it alone is active, what was stable is deprecated, and no rollout goes on.

    Raises:
        NotFoundError: the channel is gone.
    """
    lock(tx, channel)  # of two at once the second must see what the first has made stable
    others = and_(model_metadata.c.channel_id == channel, model_metadata.c.version != f"v{wanted}")
    was_active = and_(others, model_metadata.c.status == Status.ACTIVE)
    rolling = (model_metadata.c.rollout_percentage > 0, model_metadata.c.shadow_mode)
    is_rolling = and_(others, or_(*rolling, model_metadata.c.shadow_percentage > 0))
    replaced = {"is_stable": False, "status": Status.DEPRECATED, "deprecated_at": now(tx)}
    released = {"status": Status.ACTIVE, "rollout_percentage": 100, "is_stable": True}
    for which, changed in (
        (was_active, {**replaced, **_columns(Share())}),
        (is_rolling, _columns(Share())),
        (_is(channel, wanted), {**_columns(Share()), **released}),
    ):
        tx.execute(update(model_metadata).where(which).values(changed))


def give_share(
    tx: Connection, channel: str, wanted: str, share: Share, *, more: Mapping[str, Any] | None = None
) -> None:
    """Let a share of the devices have a version that is not stable; triggers begin its rollout, or end it at none.

    Args:
        more: other columns to change with it.
    """
    changed = {**_columns(share), **(more or {})}
    tx.execute(update(model_metadata).where(_is(channel, wanted)).values(changed))


def rolled_out(tx: Connection, channel: str) -> str | None:
    """Return the version that is being rolled out; the last to begin, where SQL began several."""
    running = and_(rollouts.c.channel_id == channel, rollouts.c.ended_at.is_(None))
    found = tx.scalar(select(rollouts.c.version).where(running).order_by(rollouts.c.id.desc()).limit(1))
    return None if found is None else str(found).removeprefix("v")


def note_rolled_back(tx: Connection, channel: str, *, but: str) -> None:
    """Note that every rollout that runs ends now because somebody rolled back to `but`; triggers write that it ends.

    Raises:
        NotFoundError: the channel is gone.
    """
    lock(tx, channel)
    running = and_(rollouts.c.channel_id == channel, rollouts.c.ended_at.is_(None), rollouts.c.version != f"v{but}")
    tx.execute(update(rollouts).where(running).values(outcome="rolled_back"))


def releases_of(tx: Connection, channel: str) -> list[str]:
    """Return every version that became stable, in that order; again after a roll-back."""
    history = select(releases.c.version).where(releases.c.channel_id == channel).order_by(releases.c.id)
    return [label.removeprefix("v") for label in tx.scalars(history)]


def note_training(tx: Connection, channel: str, trained_at: datetime) -> None:
    """Say in the channel's settings that it has a model trained then, unless another is being trained now."""
    mine = channels.c.id == channel
    tx.execute(update(channels).where(mine).values(model_last_trained=trained_at))
    still = and_(mine, channels.c.model_training_status.in_(("idle", "failed")))
    tx.execute(update(channels).where(still).values(model_training_status="ready"))


def note_place(tx: Connection, channel: str, base_url: str) -> None:
    """Say in the channel's settings where its stable version is served, unless somebody chose another place."""
    unset = and_(channels.c.id == channel, channels.c.model_base_url.is_(None))
    tx.execute(update(channels).where(unset).values(model_base_url=base_url))


def deprecate(tx: Connection, channel: str, wanted: str) -> None:
    """Mark a version as not to be used any more.

    Raises:
        NotFoundError: the channel is gone.
    """
    lock(tx, channel)
    changed = {"status": Status.DEPRECATED, "deprecated_at": now(tx), **_columns(Share())}
    tx.execute(update(model_metadata).where(_is(channel, wanted)).values(changed))


def delete_version(tx: Connection, channel: str, wanted: str) -> bool:
    """Delete a version that is not in use, and what it says of blobs; return whether there was one.

    Raises:
        NotFoundError: the channel is gone.
    """
    lock(tx, channel)  # before the row, as everybody here does: two who lock in another order wait for each other
    row = tx.execute(select(model_metadata).where(_is(channel, wanted)).with_for_update()).mappings().first()
    if row is None or _version(row).is_in_use:
        return False
    tx.execute(delete(model_metadata).where(_is(channel, wanted)))
    tx.execute(delete(version_blobs).where(*_blobs_of(channel, wanted)))
    return True


def stable(tx: Connection, channel: str) -> str | None:
    """Return the stable version of a channel."""
    row = and_(model_metadata.c.channel_id == channel, model_metadata.c.is_stable)
    found: str | None = tx.scalar(select(model_metadata.c.version).where(row))
    return None if found is None else found.removeprefix("v")


def claim_blobs(tx: Connection, channel: str, wanted: str, hashes: Iterable[str]) -> None:
    """Say that a version, which may not be published yet, uses these blobs."""
    tx.execute(delete(version_blobs).where(*_blobs_of(channel, wanted)))
    rows = [{"channel_id": channel, "version": f"v{wanted}", "sha256": sha256} for sha256 in sorted(set(hashes))]
    if rows:
        tx.execute(insert(version_blobs), rows)


def drop_claims(tx: Connection, channel: str) -> None:
    """Forget the blobs of versions that were never published; for who holds the channel's lease."""
    published = select(model_metadata.c.version).where(model_metadata.c.channel_id == channel)
    mine = version_blobs.c.channel_id == channel
    tx.execute(delete(version_blobs).where(mine, version_blobs.c.version.not_in(published)))


def is_blob_used(tx: Connection, sha256: str) -> bool:
    """Return whether a version uses a blob, also one that is just being published."""
    used = select(version_blobs.c.sha256).where(version_blobs.c.sha256 == sha256).limit(1)
    return tx.execute(used).first() is not None


def lock_uploads(tx: Connection, channel: str) -> None:
    """Let no object of a channel be written until the transaction ends; a channel that is gone has none."""
    with suppress(NotFoundError):
        lock(tx, channel)


def unused_objects(tx: Connection, channel: str, hashes: Collection[str]) -> set[str]:
    """Return which of these hashes no uploaded object of a channel has."""
    mine = and_(objects.c.channel_id == channel, objects.c.sha256.in_(list(hashes)))
    return set(hashes) - set(tx.scalars(select(objects.c.sha256).where(mine)))


def used_blobs(tx: Connection) -> set[str]:
    """Return the hashes of all blobs that a version uses, also one that is just being published."""
    return set(tx.scalars(select(version_blobs.c.sha256).distinct()))


def _columns(share: Share) -> dict[str, Any]:
    """Return a share as columns of `model_metadata`."""
    return {
        "rollout_percentage": share.rollout_percentage,
        "shadow_mode": share.shadow_percentage > 0,
        "shadow_percentage": share.shadow_percentage,
    }


def _is(channel: str, wanted: str) -> Any:
    return and_(model_metadata.c.channel_id == channel, model_metadata.c.version == f"v{wanted}")


def _blobs_of(channel: str, wanted: str) -> tuple[Any, Any]:
    return version_blobs.c.channel_id == channel, version_blobs.c.version == f"v{wanted}"


def _version(row: RowMapping) -> Version:
    same = {name: row[name] for name in Version.__dataclass_fields__ if name in row}
    own = {
        "channel": row["channel_id"],
        "version": row["version"].removeprefix("v"),
        "status": Status(row["status"]),
        "is_stable": bool(row["is_stable"]),
        "shadow_mode": bool(row["shadow_mode"]),
    }
    return Version(**{**same, **own})
