"""When a channel is to be trained by itself: soon after a change, when it has been quiet, or at night. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, timedelta
from datetime import time as time_of_day
from typing import TYPE_CHECKING

from shelfsight.catalog.rules import ChangeKind, RetrainTrigger

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime, tzinfo

    from shelfsight.catalog.rules import ChannelSettings

LONGEST_WAIT = 10
"""So many quiet times after the first change a training begins, however busy the day."""

NIGHTLY = time_of_day(2)
"""In the channel's own time zone."""

_TRIGGERS = {
    ChangeKind.PRODUCT_ADDED: RetrainTrigger.PRODUCT_ADDED,
    ChangeKind.PRODUCT_RESTORED: RetrainTrigger.PRODUCT_ADDED,
    ChangeKind.PRODUCT_DELETED: RetrainTrigger.PRODUCT_DELETED,
    ChangeKind.IMAGE_ADDED: RetrainTrigger.IMAGE_CHANGED,
    ChangeKind.IMAGE_REMOVED: RetrainTrigger.IMAGE_CHANGED,
}
"""What a model is made of; names and prices are in none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """What a channel waits for.

    Attributes:
        changed_since: when the first change came that no training has seen; None = every change is trained.
        quiet_since: when the first change came that the quiet time is waited for; None = it waits for the night.
        train_at: when a training is to begin by itself; None = never, as things are.
    """

    changed_since: datetime | None = None
    quiet_since: datetime | None = None
    train_at: datetime | None = None


NOTHING = Due()
"""Every change is trained."""


def is_trained(kind: ChangeKind) -> bool:
    """Return whether a change of this kind makes another model."""
    return kind in _TRIGGERS


def after_changes(
    due: Due, kinds: Iterable[ChangeKind], settings: ChannelSettings, now: datetime, zone: tzinfo
) -> Due:
    """Return what a channel waits for after changes at `now`.

    A change whose trigger is on is trained after the quiet time, counted from the last change, but no later than ten
    of them after the first. One whose trigger is off waits for the night, if there are nights.
    """
    trained = [kind for kind in kinds if is_trained(kind)]
    if not trained:
        return due
    since = due.changed_since or now
    if settings.model_auto_retrain_enabled and any(
        _TRIGGERS[kind] in settings.model_retrain_triggers for kind in trained
    ):
        quiet, first = timedelta(seconds=settings.model_retrain_debounce_seconds), due.quiet_since or now
        latest = first + LONGEST_WAIT * quiet
        return Due(changed_since=since, quiet_since=first, train_at=min(now + quiet, latest))
    if due.train_at is None:
        return at_night(replace(due, changed_since=since), settings, now, zone)
    return replace(due, changed_since=since)


def at_night(due: Due, settings: ChannelSettings, now: datetime, zone: tzinfo) -> Due:
    """Return what a channel waits for when what is not trained waits for the next night."""
    on = settings.model_auto_retrain_enabled and RetrainTrigger.SCHEDULE in settings.model_retrain_triggers
    if due.changed_since is None or not on:
        return replace(due, quiet_since=None, train_at=None)
    return replace(due, quiet_since=None, train_at=next_night(now, zone))


def after_settings(due: Due, settings: ChannelSettings, now: datetime, zone: tzinfo) -> Due:
    """Return what a channel waits for when its settings have become these.

    Switched off, nothing begins by itself; switched on, what has changed meanwhile is trained in the coming night.
    A training that is due already stays due.
    """
    if not settings.model_auto_retrain_enabled:
        return replace(due, quiet_since=None, train_at=None)
    if due.quiet_since is not None:
        return due
    return at_night(due, settings, now, zone)


def next_night(now: datetime, zone: tzinfo) -> datetime:
    """Return the next 02:00 in `zone`, in UTC; where clocks are put forward past it, what they then show."""
    local = now.astimezone(zone)
    tonight = local.replace(hour=NIGHTLY.hour, minute=0, second=0, microsecond=0, fold=0)
    if tonight.astimezone(UTC) <= now:
        tonight = (tonight.replace(tzinfo=None) + timedelta(days=1)).replace(tzinfo=zone)
    return tonight.astimezone(UTC)
