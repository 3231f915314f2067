"""Prepared configs of many channels: each as new as the database was a second ago, and never older than before."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import structlog

from shelfsight.delivery.memory import Flights, Memory
from shelfsight.errors import ShelfsightError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from datetime import datetime

    from shelfsight.delivery.config.looks import Looks
    from shelfsight.delivery.config.prepare import Prepared, Preparer
    from shelfsight.delivery.config.store import ChannelRow

FRESH_S = 1.0
"""How old what the database said may be: until a change by SQL shows. The question itself comes on top."""

CHECK_FILES_AFTER_S = 300.0
CHECK_BROKEN_AFTER_S = 5.0
PATIENCE_S = 0.5
"""How long a client waits for something newer than what is there."""

_PREPARED_AT_ONCE = 4
_MOST_SEQUENCES = 100_000
_MOST_TROUBLES = 1000
_OVER_AFTER_S = 60.0
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much is held: channels, and replies made for them (of about 4 KB each) altogether."""

    channels: int = 10_000
    replies: int = 32_000


@dataclass(slots=True, eq=False)
class Held:
    """A channel whose configs are prepared.

    Attributes:
        fresh_until: by the monotonic clock; until then it is sent without asking anybody.
        check_at: when to look at its files again.
        replies: what the server has made of it.
    """

    prepared: Prepared
    fresh_until: float
    check_at: float
    replies: dict[Hashable, Any] = field(default_factory=dict)

    @property
    def private(self) -> bool:
        """Whether only those may know of it who have a token for it."""
        return self.prepared.channel.private


class Keeper:
    """Holds the prepared configs of the channels that are asked for. One for each event loop.

    The database is asked about a channel once a second at most, and not at all about one that nobody asks for. When
    it, or the storage, does not answer, what is there goes on being sent until it expires. A sequence is never lower
    than it was before, whatever the database says: it may have been restored from a backup.
    """

    def __init__(
        self,
        *,
        looks: Looks,
        preparer: Preparer,
        clock: Callable[[], float],
        now: Callable[[], datetime],
        bounds: Bounds | None = None,
    ) -> None:
        """Hold what `preparer` prepares when `looks` sees a change; `now` is the time of day, `clock` monotonic."""
        self._looks = looks
        self._preparer = preparer
        self._clock = clock
        self._now = now
        self._bounds = bounds or Bounds()
        self._held: OrderedDict[str, Held] = OrderedDict()  # the channel not looked at for longest comes first
        self._refreshes: Flights[str, Held | None] = Flights()
        self._turns = asyncio.Semaphore(_PREPARED_AT_ONCE)
        self._sequences: Memory[tuple[str, str], int] = Memory(_MOST_SEQUENCES)
        self._troubles: Memory[str, float] = Memory(_MOST_TROUBLES)
        self._replies = 0

    def fresh(self, channel: str) -> Held | None:
        """Return a channel if it is held and was looked at within a second."""
        held = self._held.get(channel)
        return held if held is not None and self._clock() < held.fresh_until else None

    async def get(self, channel: str) -> Held | None:
        """Return a channel as it is now, or as it was last if that is not to be had; None where there is none.

        Raises:
            UnavailableError: it is not to be had, and nothing is held that has not expired.
        """
        held = self._held.get(channel)
        refreshing = self._refreshes.start(channel, lambda: self._refresh(channel))
        if held is None:
            return await asyncio.shield(refreshing)
        done, _ = await asyncio.wait({refreshing}, timeout=PATIENCE_S)
        if not done:  # nobody else need wait that long
            self._keep_for_now(held)
        found = refreshing.result() if done else held
        if found is not None and self._has_expired(found):
            raise UnavailableError(f"the config of {channel} has expired, and cannot be made anew: try again")
        return found

    def keep_reply(self, held: Held, key: Hashable, reply: object) -> None:
        """Hold what was made of a channel; those of channels that nobody asks for go when there are too many."""
        held.replies[key] = reply
        self._replies += 1
        if self._replies > self._bounds.replies:
            self._replies = sum(len(one.replies) for one in self._held.values())
            for one in self._held.values():
                if self._replies <= self._bounds.replies // 2:
                    return
                self._replies -= len(one.replies)
                one.replies.clear()

    async def _refresh(self, channel: str) -> Held | None:
        """Return a channel as it is now, else as it is held, for a moment more."""
        held = self._held.get(channel)
        try:
            return await self._look(channel, held)
        except Exception as exc:
            self._note(channel, exc)
            if held is None:
                raise
            held.check_at = max(held.check_at, self._clock() + CHECK_BROKEN_AFTER_S)
            self._keep_for_now(held)
            return held

    async def _look(self, channel: str, held: Held | None) -> Held | None:
        seen = await self._looks.look(channel)
        row = seen.channels.get(channel)
        if row is None:
            self._held.pop(channel, None)
            return None
        is_checked = held is None or self._clock() < held.check_at
        if held is not None and self._is_current(held, row):
            held.fresh_until = seen.asked_at + FRESH_S
            self._hold(channel, held)
            if is_checked:
                return held
        self._refuse_older(row)
        async with self._turns:
            prepared = await self._preparer.prepare(channel, now=self._now(), again=not is_checked)
        if prepared is None:
            self._held.pop(channel, None)
            return None
        return self._renewed(held, prepared, asked_at=seen.asked_at)

    def _keep_for_now(self, held: Held) -> None:
        """Send what is there for a second more, if it has not expired."""
        if not self._has_expired(held):
            held.fresh_until = self._clock() + FRESH_S

    def _has_expired(self, held: Held) -> bool:
        return held.prepared.validity.expires_at <= self._now()

    def _is_current(self, held: Held, row: ChannelRow) -> bool:
        return held.prepared.channel == row and self._now() < held.prepared.validity.sign_again_at

    def _renewed(self, before: Held | None, prepared: Prepared, *, asked_at: float) -> Held:
        """Return what is held of a channel from now on; what was made of it stays if it says the same as before."""
        row = prepared.channel
        self._refuse_older(row)
        self._sequences.put((row.id, row.created_at), row.sequence)
        check_at = self._clock() + (CHECK_FILES_AFTER_S if prepared.whole else CHECK_BROKEN_AFTER_S)
        found = Held(prepared, asked_at + FRESH_S, check_at)
        if before is not None and before.prepared.says_the_same(prepared):
            found.replies = before.replies
        self._hold(row.id, found)
        return found

    def _hold(self, channel: str, held: Held) -> None:
        self._held[channel] = held
        self._held.move_to_end(channel)
        if len(self._held) > self._bounds.channels:
            self._held.popitem(last=False)

    def _refuse_older(self, row: ChannelRow) -> None:
        """Return unless a later sequence of the same channel was prepared before.

        Raises:
            UnavailableError: it was.
        """
        highest = self._sequences.get((row.id, row.created_at))
        if highest is not None and row.sequence < highest:
            raise _OlderError(
                f"the database has sequence {row.sequence} of {row.id}, and devices have seen {highest}: "
                "raise channels.sequence above that, for they accept nothing older"
            )

    def _note(self, channel: str, error: Exception) -> None:
        """Log once, until it has been over for a minute, that nothing newer is to be had."""
        is_ours = isinstance(error, ShelfsightError)
        what = f"older {channel}" if isinstance(error, _OlderError) else type(error).__name__
        before, now = self._troubles.get(what), self._clock()
        self._troubles.put(what, now)
        if before is None or now - before > _OVER_AFTER_S:
            reason = str(error) if is_ours else type(error).__name__
            _log.warning("config_not_current", channel=channel, reason=reason, exc_info=None if is_ours else error)


class _OlderError(UnavailableError):
    """The database was restored from a backup, or somebody wrote a lower sequence."""
