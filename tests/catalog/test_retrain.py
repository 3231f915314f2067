"""When a channel is trained by itself, over days of changes that were made up."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from shelfsight.catalog.retrain import NOTHING, Due, after_changes, after_settings, at_night, is_trained, next_night
from shelfsight.catalog.rules import ChangeKind, ChannelSettings, RetrainTrigger

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
SETTINGS = ChannelSettings(model_retrain_debounce_seconds=60)
NIGHT = datetime(2026, 5, 5, 2, tzinfo=UTC)


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


def changed(due: Due, *kinds: ChangeKind, at: datetime = NOON, settings: ChannelSettings = SETTINGS) -> Due:
    return after_changes(due, kinds, settings, at, UTC)


def test_a_change_is_trained_after_the_quiet_time() -> None:
    assert changed(NOTHING, ChangeKind.IMAGE_ADDED) == Due(
        changed_since=NOON, quiet_since=NOON, train_at=NOON + seconds(60)
    )


def test_every_further_change_waits_anew_but_not_for_ever() -> None:
    due = NOTHING
    for second in range(0, 3000, 30):
        due = changed(due, ChangeKind.PRODUCT_ADDED, at=NOON + seconds(second))
        assert due.train_at == min(NOON + seconds(second + 60), NOON + seconds(600))


@pytest.mark.parametrize("kind", [ChangeKind.PRODUCT_CHANGED, ChangeKind.SETTINGS_CHANGED])
def test_names_prices_and_settings_make_no_other_model(kind: ChangeKind) -> None:
    assert changed(NOTHING, kind) == NOTHING


@pytest.mark.parametrize(
    ("kind", "trigger"),
    [
        (ChangeKind.PRODUCT_ADDED, RetrainTrigger.PRODUCT_ADDED),
        (ChangeKind.PRODUCT_RESTORED, RetrainTrigger.PRODUCT_ADDED),
        (ChangeKind.PRODUCT_DELETED, RetrainTrigger.PRODUCT_DELETED),
        (ChangeKind.IMAGE_ADDED, RetrainTrigger.IMAGE_CHANGED),
        (ChangeKind.IMAGE_REMOVED, RetrainTrigger.IMAGE_CHANGED),
    ],
)
def test_a_trigger_that_is_off_leaves_its_changes_to_the_night(kind: ChangeKind, trigger: RetrainTrigger) -> None:
    without = replace(SETTINGS, model_retrain_triggers=frozenset(RetrainTrigger) - {trigger})
    assert changed(NOTHING, kind, settings=without) == Due(changed_since=NOON, train_at=NIGHT)
    alone = replace(SETTINGS, model_retrain_triggers=frozenset({trigger}))
    assert changed(NOTHING, kind, settings=alone).train_at == NOON + seconds(60)
    neither = replace(SETTINGS, model_retrain_triggers=frozenset())
    assert changed(NOTHING, kind, settings=neither) == Due(changed_since=NOON)


def test_a_change_whose_trigger_is_on_does_not_wait_for_the_night_of_an_earlier_one() -> None:
    settings = replace(
        SETTINGS, model_retrain_triggers=frozenset({RetrainTrigger.SCHEDULE, RetrainTrigger.PRODUCT_ADDED})
    )
    due = changed(NOTHING, ChangeKind.IMAGE_ADDED, settings=settings)
    later = NOON + timedelta(hours=3)
    due = changed(due, ChangeKind.PRODUCT_ADDED, at=later, settings=settings)
    assert due == Due(changed_since=NOON, quiet_since=later, train_at=later + seconds(60))
    due = changed(due, ChangeKind.PRODUCT_ADDED, at=later + seconds(30), settings=settings)
    assert due.train_at == later + seconds(90)


def test_a_change_whose_trigger_is_off_does_not_put_off_a_training_that_is_due() -> None:
    settings = replace(SETTINGS, model_retrain_triggers=frozenset({RetrainTrigger.PRODUCT_ADDED}))
    due = changed(NOTHING, ChangeKind.PRODUCT_ADDED, settings=settings)
    assert changed(due, ChangeKind.IMAGE_ADDED, at=NOON + seconds(30), settings=settings) == due


def test_switched_off_nothing_begins_and_switched_on_the_night_catches_up() -> None:
    off = replace(SETTINGS, model_auto_retrain_enabled=False)
    due = changed(NOTHING, ChangeKind.IMAGE_ADDED, settings=off)
    assert due == Due(changed_since=NOON)
    on = after_settings(due, SETTINGS, NOON, UTC)
    assert on == Due(changed_since=NOON, train_at=NIGHT)
    assert after_settings(on, off, NOON, UTC) == due
    soon = changed(NOTHING, ChangeKind.IMAGE_ADDED)
    assert after_settings(soon, replace(SETTINGS, time_zone="Asia/Tokyo"), NOON, ZoneInfo("Asia/Tokyo")) == soon


def test_a_channel_in_which_nothing_changed_has_no_nights() -> None:
    assert at_night(NOTHING, SETTINGS, NOON, UTC) == NOTHING
    assert after_settings(NOTHING, SETTINGS, NOON, UTC) == NOTHING


@pytest.mark.parametrize(
    ("zone", "now", "night"),
    [
        ("Europe/Zurich", "2026-05-04T12:00+00:00", "2026-05-05T00:00+00:00"),
        ("Europe/Zurich", "2026-05-04T23:59+00:00", "2026-05-05T00:00+00:00"),
        ("Europe/Zurich", "2026-05-05T00:00+00:00", "2026-05-06T00:00+00:00"),
        ("Europe/Zurich", "2026-03-28T12:00+00:00", "2026-03-29T01:00+00:00"),  # 02:00 is left out that night
        ("Europe/Zurich", "2026-10-24T12:00+00:00", "2026-10-25T00:00+00:00"),  # and comes twice in this one
        ("Asia/Kolkata", "2026-05-04T12:00+00:00", "2026-05-04T20:30+00:00"),
        ("America/Los_Angeles", "2026-05-04T12:00+00:00", "2026-05-05T09:00+00:00"),
    ],
)
def test_the_night_is_that_of_the_channels_time_zone(zone: str, now: str, night: str) -> None:
    assert next_night(datetime.fromisoformat(now), ZoneInfo(zone)) == datetime.fromisoformat(night)


@given(
    st.integers(0, 500_000_000).map(lambda second: NOON + seconds(second)),
    st.sampled_from(["UTC", "Europe/Zurich", "America/St_Johns", "Australia/Lord_Howe", "Pacific/Apia"]),
)
def test_a_night_is_always_ahead_and_never_more_than_a_day_and_an_hour(now: datetime, zone: str) -> None:
    night = next_night(now, ZoneInfo(zone))
    assert now < night <= now + timedelta(hours=25)


KINDS = st.sampled_from([*ChangeKind, *[ChangeKind.PRODUCT_ADDED, ChangeKind.IMAGE_ADDED] * 3])


@hypothesis_settings(max_examples=500)
@given(
    st.lists(st.tuples(st.integers(0, 400), KINDS), max_size=30),
    st.sets(st.sampled_from(RetrainTrigger)),
    st.integers(1, 300),
)
def test_whatever_happens_no_change_is_lost_and_none_waits_too_long(
    history: list[tuple[int, ChangeKind]], triggers: set[RetrainTrigger], debounce: int
) -> None:
    """Play a day: a training begins as soon as it is due, and sees every change before it."""
    chosen = ChannelSettings(model_retrain_debounce_seconds=debounce, model_retrain_triggers=frozenset(triggers))
    now, last, due, untrained, hurried = NOON, NOON, NOTHING, 0, None
    for wait, kind in history:
        now += seconds(wait)
        if due.train_at is not None and due.train_at <= now:
            due, untrained, hurried = NOTHING, 0, None
        due = changed(due, kind, at=now, settings=chosen)
        untrained += is_trained(kind)
        if is_trained(kind) and after_changes(NOTHING, [kind], chosen, now, UTC).quiet_since:
            hurried, last = hurried or now, now
        assert (due.changed_since is None) == (untrained == 0)
        assert due.quiet_since == hurried
        if hurried is not None:
            assert due.train_at is not None
            assert due.train_at == min(last + seconds(debounce), hurried + seconds(10 * debounce))
    if untrained and RetrainTrigger.SCHEDULE in triggers:
        assert due.train_at is not None
