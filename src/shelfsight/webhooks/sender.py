"""Sends what is due, from any number of processes: each delivery is taken by one of them, for as long as it lives.

A sender takes a delivery in the database, sends it, and writes what came of it. Killed in between, the delivery is
due again after a minute and is sent a second time, under the same id: at least once, never not at all.
"""

from __future__ import annotations

import random
import secrets
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import Condition, Thread
from typing import TYPE_CHECKING

import structlog

from shelfsight.beside import beside, surviving
from shelfsight.catalog import reach
from shelfsight.database import clock
from shelfsight.errors import UnreachableError
from shelfsight.webhooks import store
from shelfsight.webhooks.rules import Attempt, DeliveryState, Verdict, attempts_left, headers_of, verdict
from shelfsight.webhooks.store import Hold, Room

if TYPE_CHECKING:
    from collections.abc import Iterator
    from threading import Event

    from shelfsight.catalog.reach import Reach
    from shelfsight.database.engine import Database
    from shelfsight.webhooks.store import Claimed

LOOKS_EVERY_S = 1.0
TAKEN_FOR = timedelta(minutes=1)
"""Longer than any attempt takes; after it, a delivery's sender counts as dead."""
AT_ONCE = 16
OF_EACH = 2
"""To one webhook at once, from one process, so that a slow one leaves room for the others."""
OF_CHANNEL = 4
"""Of one channel at once, as well, so that its slow ones, however many, leave room for those of other channels."""
_ENDS_WITHIN_S = 2.0
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of an attempt, and what becomes of the delivery."""

    attempt: Attempt
    verdict: Verdict


class Sender:
    """Sends deliveries in threads of its own, a few at once."""

    def __init__(self, database: Database, reach: Reach, *, taken_for: timedelta = TAKEN_FOR) -> None:
        """Send what `database` holds to wherever `reach` allows."""
        self._database = database
        self._reach = reach
        self._taken_for = taken_for
        self._running: Counter[str] = Counter()  # by webhook
        self._of_channels: Counter[str] = Counter()
        self._has_ended = False  # one of them, since anybody last waited for that
        self._changed = Condition()

    def look(self) -> int:
        """Begin to send what is due, as far as there is room; return how many that is.

        Raises:
            DatabaseError: the database does not answer.
        """
        with self._changed:
            room = Room(
                most=AT_ONCE - self._running.total(),
                of_webhook=OF_EACH,
                of_channel=OF_CHANNEL,
                taken_by_webhook=dict(self._running),
                taken_by_channel=dict(self._of_channels),
            )
        if room.most <= 0 or not self._is_any_due():
            return 0
        with self._database.write() as tx:
            claimed = store.claim(tx, self._hold(), room, clock.now(tx))
        for one in claimed:
            self._begin(one)
        return len(claimed)

    def send(self, delivery_id: int) -> Outcome | None:
        """Send one delivery that is due, now and here; return None where another sender has it.

        Raises:
            DatabaseError: the database does not answer.
        """
        with self._database.write() as tx:
            claimed = store.claim_one(tx, delivery_id, self._hold(), clock.now(tx))
        return None if claimed is None else self._deliver(claimed)

    def wait(self, seconds: float) -> bool:
        """Return when an attempt has ended since the last time, or after so many seconds.

        Returns: False, and at once, if none has, and none is going on.
        """
        with self._changed:
            is_busy = self._has_ended or bool(self._running.total())
            if is_busy and not self._has_ended:
                self._changed.wait(seconds)
            self._has_ended = False
            return is_busy

    def finish(self, within_s: float = _ENDS_WITHIN_S) -> None:
        """Return when no attempt is going on, or after so many seconds; others send again what is left then."""
        ends_at = time.monotonic() + within_s
        while (left_s := ends_at - time.monotonic()) > 0 and self.wait(left_s):
            pass

    def _hold(self) -> Hold:
        return Hold(claim=secrets.token_hex(8), lasts=self._taken_for)

    def _is_any_due(self) -> bool:
        with self._database.read() as tx:  # cheap, where taking the lock of SQLite each second would not be
            return store.is_any_due(tx, clock.now(tx))

    def _begin(self, claimed: Claimed) -> None:
        with self._changed:
            self._running[claimed.webhook] += 1
            self._of_channels[claimed.channel] += 1
        # No pool: its threads would keep the process from ending until the slowest server has answered.
        thread = Thread(target=self._run, args=(claimed,), name="send-webhook", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the system has no more: it is sent when the hold on it is over
            self._end(claimed)
            raise

    def _end(self, claimed: Claimed) -> None:
        with self._changed:
            self._running -= Counter([claimed.webhook])  # drops those at zero
            self._of_channels -= Counter([claimed.channel])
            self._has_ended = True
            self._changed.notify_all()

    def _run(self, claimed: Claimed) -> None:
        try:
            with surviving("webhook_attempt_not_noted", delivery=claimed.id):  # it is sent again
                _tell(claimed, self._deliver(claimed))
        finally:
            self._end(claimed)

    def _deliver(self, claimed: Claimed) -> Outcome:
        if claimed.is_disabled:
            found = Outcome(
                attempt=Attempt(), verdict=Verdict(state=DeliveryState.FAILED, error="the webhook was disabled")
            )
        else:
            attempt = self._attempt(claimed)
            chance = random.random()  # noqa: S311 (spreads attempts, guards nothing)
            left = attempts_left(claimed.event, claimed.number)
            found = Outcome(
                attempt=attempt, verdict=verdict(attempt, number=claimed.number, left=left, chance=chance)
            )
        with self._database.write() as tx:
            now = clock.now(tx)
            if found.verdict.disables:
                store.hold_webhook(tx, claimed.webhook)  # first, as whoever removes it does
            is_ours = store.note_attempt(tx, claimed, found.attempt, found.verdict, now)
            if found.verdict.disables and is_ours:
                store.disable(tx, claimed.webhook, found.verdict.error or "", now)
        return found

    def _attempt(self, claimed: Claimed) -> Attempt:
        body = claimed.body.encode()
        headers = headers_of(claimed.secret, claimed.message_id, body, datetime.now(UTC))
        try:
            answer = reach.post(claimed.url, body, headers, self._reach)
        except UnreachableError as exc:
            return Attempt(error=str(exc))
        return Attempt(status=answer.status, retry_after_s=answer.retry_after_s)


def _tell(claimed: Claimed, found: Outcome) -> None:
    facts = {"channel": claimed.channel, "webhook": claimed.webhook, "delivery": claimed.id}
    match found.verdict.state:
        case DeliveryState.DELIVERED:
            _log.debug("webhook_delivered", **facts)
        case DeliveryState.PENDING:
            _log.info("webhook_attempt_failed", **facts, attempt=claimed.number, reason=found.verdict.error)
        case DeliveryState.FAILED:
            _log.warning("webhook_not_delivered", **facts, reason=found.verdict.error)


@contextmanager
def sending(database: Database, reach: Reach, *, every_s: float = LOOKS_EVERY_S) -> Iterator[None]:
    """Send what is due while the block runs; what takes longer than a few seconds at its end is sent again later."""
    sender = Sender(database, reach)

    def run(stop: Event) -> None:
        while not stop.is_set():
            with surviving("webhooks_not_sent"):
                while sender.look() and not stop.is_set():
                    pass  # the next look passes over those who have as much as they may, however much waits for them
            if not sender.wait(every_s):  # the end of an attempt makes room for another
                stop.wait(every_s)

    try:
        with beside(run, name="send-webhooks"):
            yield
    finally:
        sender.finish()
