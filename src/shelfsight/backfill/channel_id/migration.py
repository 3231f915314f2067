"""Takes the steps, in one transaction or online, and says how things stand.

How far it is, is what the database looks like: each step is taken only if it is not done. So a run that was killed is
simply started again, and a finished one has nothing to do.
"""

from __future__ import annotations

import random
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from shelfsight.backfill.channel_id import inspection
from shelfsight.backfill.channel_id.rules import FILL_ORDER, Mode, literal
from shelfsight.backfill.channel_id.script import do, not_ours
from shelfsight.backfill.channel_id.statements import (
    BRIEF_MS,
    LOCKS_AGAIN_S,
    How,
    Step,
    add_column,
    add_triggers,
    constrain_at_once,
    constrain_online,
    drop_book,
    drop_column,
    drop_notes,
    drop_trigger,
    lock_all,
    settle,
    turn,
)
from shelfsight.backfill.channel_id.store import LockBusyError
from shelfsight.backfill.channel_id.table import Table, booked_at, tables
from shelfsight.backfill.report import Report
from shelfsight.backfill.rules import Checkpoint, Pace, Strain, Value
from shelfsight.backfill.stop import EndAskedError
from shelfsight.beside import beside
from shelfsight.errors import ConflictError, DatabaseError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from threading import Event

    from shelfsight.backfill.channel_id.rules import Names
    from shelfsight.backfill.channel_id.store import Shop
    from shelfsight.backfill.patience import Watch
    from shelfsight.backfill.stop import Stop

NAME = "channel-id"
PACE = Pace(size=1000, page_time_s=0.01)
"""So long a page keeps a writer from one of its rows. Each waits for its own log to be written, or others would."""

_LOCK_MS = {How.BRIEF: BRIEF_MS, How.SCAN: 5000, How.INDEX: 0}
_LONGEST_WAIT_S = 0.5
_TOLD_EVERY_S = 10.0
_TURN_WITHIN_S = 30.0
_FILLS = (
    "triggers give new rows of old code a channel, and note what is booked; when the new code is in use, "
    "take them away with --stop-filling"
)


class Migration:
    """The migration of one shop's database."""

    def __init__(self, names: Names, shop: Shop, *, stop: Stop, watch: Watch, patience_s: float = 600.0) -> None:
        """Migrate `shop`; nothing is asked of it yet.

        Args:
            patience_s: so long a lock is tried for.
        """
        self._names = names
        self._shop = shop
        self._stop = stop
        self._watch = watch
        self._patience_s = patience_s
        self._values: dict[str, Value] = {}
        self._warnings: list[str] = []

    def run(self, mode: Mode, *, fill: bool | None = None, pace: Pace = PACE) -> Report:
        """Do what is left, and return how it ended.

        Args:
            fill: let triggers give new rows of code that does not know the column a channel, until told otherwise;
                None = online yes, in a transaction no, and as it is where all is complete.
            pace: of pages online.

        Raises:
            ConflictError: another run is at work, or something there contradicts it.
            DatabaseError: the server does not answer, or a lock did not come in time.
            NotFoundError, PartnerError: as `inspection.check`; nothing was changed.
        """
        inspection.check(self._shop, self._names)

        def work() -> None:
            if mode is Mode.TRANSACTIONAL:
                self._at_once(fill=bool(fill))
                if fill is False:  # an online run that was broken off may have begun it
                    self._settle(fill=False)
            else:
                self._online(pace, fill=fill is not False)

        return self._reported(work, is_done=self._is_complete(fill=fill))

    def stop_filling(self) -> Report:
        """Take the triggers away, after a last look at what they did; raises as `run`."""
        inspection.check(self._shop, self._names)
        return self._reported(lambda: self._settle(fill=False), is_done=self._is_without_triggers())

    def undo(self) -> Report:
        """Take away the columns with what belongs to them, and whatever else this migration has made.

        Raises:
            ConflictError: a column was there before; nothing is taken away.
            DatabaseError, NotFoundError, PartnerError: as `run`.
        """

        def work() -> None:
            for table in tables(self._names):
                if self._shop.value(f"{table.has_column} AND NOT {table.is_ours}"):
                    raise ConflictError(not_ours(table))
            drops = map(drop_column, tables(self._names))
            self._take_all([drop_book(self._names), *drops, drop_notes(self._names)])

        inspection.check_tables(self._shop, self._names)
        return self._reported(work, is_done=False, verifies=False)

    def _reported(self, work: Callable[[], None], *, is_done: bool, verifies: bool = True) -> Report:
        """Do the work in our turn, and return what came of it."""
        began, started_at = time.monotonic(), datetime.now(UTC)
        is_finished = True
        try:
            self._take_turn()
            with self._cancelled_when_asked():
                if not is_done:
                    work()
                findings = inspection.survey(self._shop, self._names) if verifies else None
                if verifies and not self._is_without_triggers():
                    self._warnings.append(_FILLS)
        except (EndAskedError, DatabaseError):
            if not self._stop.is_asked:
                raise
            is_finished, findings = False, None
        is_finished = is_finished and (findings is None or findings.is_clean)
        checkpoint = Checkpoint(
            name="backfill_channel_id",
            values=self._values,
            started_at=started_at,
            finished_at=datetime.now(UTC) if is_finished else None,
            worked_s=time.monotonic() - began,
        )
        return Report(
            backfill=NAME,
            checkpoint=checkpoint,
            findings=findings,
            warnings=self._warnings,
            stopped_by=self._stop.signal if not is_finished else None,
            did_nothing=is_done and is_finished,
        )

    def _is_complete(self, *, fill: bool | None) -> bool:
        if not self._shop.value(" AND ".join(table.is_complete for table in tables(self._names))):
            return False
        if fill is None:
            return True
        if not fill:
            return self._is_without_triggers()
        return bool(self._shop.value(" AND ".join(step.done for step in add_triggers(self._names))))

    def _is_without_triggers(self) -> bool:
        steps = [*map(drop_trigger, tables(self._names)), drop_book(self._names), drop_notes(self._names)]
        return bool(self._shop.value(" AND ".join(step.done for step in steps)))

    def _at_once(self, *, fill: bool) -> None:
        ends_at, longest_s = time.monotonic() + self._patience_s, _LONGEST_WAIT_S
        while True:
            try:
                self._attempt(fill=fill)
            except LockBusyError:
                if time.monotonic() > ends_at:
                    raise
                self._watch.tell("somebody holds one of the tables: trying again")
                # Everybody waits behind each attempt: while somebody reads for hours, there are few.
                longest_s = min(longest_s * 2, LOCKS_AGAIN_S)
                self._stop.sleep(random.uniform(longest_s / 2, longest_s))  # noqa: S311 (spreads, guards nothing)
            else:
                return

    def _attempt(self, *, fill: bool) -> None:
        try:
            with self._shop.transaction():
                self._shop.run(do(lock_all(self._names).code), lock_timeout_ms=0)
                self._in_transaction(fill=fill)
        except Exception:  # all of it is undone, and so it must not be counted
            self._values.clear()
            self._warnings.clear()
            raise

    def _in_transaction(self, *, fill: bool) -> None:
        names = self._names
        first = [*map(add_column, tables(names)), *(add_triggers(self._names) if fill else ())]
        steps = [step for table in tables(names) for step in constrain_at_once(table)]
        self._watch.begin("steps", total=len(first) + len(steps) + len(FILL_ORDER), done=0)
        for step in first:
            self._take_locked(step)
        for table in (Table(names, kind) for kind in FILL_ORDER):
            self._look_up(table)
            self._count(table, self._shop.run(table.update()))
            self._watch.advance(1)
        for step in steps:
            self._take_locked(step)

    def _take_locked(self, step: Step) -> None:
        self._stop.check()
        if not self._shop.value(step.done):
            self._shop.run(do(step.body), lock_timeout_ms=0)
        self._watch.advance(1)

    def _online(self, pace: Pace, *, fill: bool) -> None:
        names = self._names
        self._take_all([*map(add_column, tables(names)), *add_triggers(self._names)])
        for table in (Table(names, kind) for kind in FILL_ORDER):
            self._pages(table, pace)
        for table in tables(names):
            check, *steps = constrain_online(table)
            self._take(check)
            self._pages(table, pace)  # again: what was being written while the others were done
            self._take_all(steps)
        self._settle(fill=fill)

    def _settle(self, *, fill: bool) -> None:
        if not self._shop.value(f"to_regclass({literal(booked_at(self._names))}) IS NOT NULL"):
            return
        for part in settle(self._names, fill=fill):
            if isinstance(part, Step):
                self._take(part)
            else:
                self._shop.run(part, lock_timeout_ms=_LOCK_MS[How.SCAN])

    def _look_up(self, table: Table) -> None:
        """Put down what the ledger says of the rows without a channel."""
        for statement in table.fill_map():
            self._stop.check()
            self._shop.run(statement, lock_timeout_ms=0)
        name, known = f"{table.name}_from_ledger", self._shop.value(f"(SELECT count(*) FROM pg_temp.{table.map})")
        self._values[name] = int(self._values.get(name) or 0) + known
        self._warnings += inspection.conflict_warnings(self._shop, table)

    def _pages(self, table: Table, pace: Pace) -> None:
        column = f"SELECT t.id::text FROM {table.at} t WHERE"
        total = self._shop.value(f"(SELECT count(*) FROM {table.at} t WHERE t.{table.column} IS NULL)")
        if not total:
            return
        self._look_up(table)
        self._watch.begin(table.name, total=total, done=0)
        low = self._first(f"{column} t.{table.column} IS NULL ORDER BY t.id LIMIT 1")
        while low is not None:
            self._stop.check()
            behind = f"t.id >= {literal(low)}"
            high = self._first(f"{column} {behind} ORDER BY t.id OFFSET {pace.size} LIMIT 1")
            page = table.update(behind if high is None else f"{behind} AND t.id < {literal(high)}")
            began = time.monotonic()
            rows = self._patiently(partial(self._shop.run, page, lock_timeout_ms=_LOCK_MS[How.BRIEF]), table.name)
            pace = pace.after(time.monotonic() - began, Strain.NONE)
            self._count(table, rows)
            self._watch.advance(rows)
            low = high

    def _first(self, query: str) -> str | None:
        found = self._shop.rows(query)
        return found[0][0] if found else None

    def _count(self, table: Table, rows: int) -> None:
        name = f"{table.name}_filled"
        self._values[name] = int(self._values.get(name) or 0) + rows

    def _take_all(self, steps: Sequence[Step]) -> None:
        self._watch.begin("steps", total=len(steps), done=0)
        for step in steps:
            self._take(step)
            self._watch.advance(1)

    def _take(self, step: Step) -> None:
        """Take a step until it is done."""
        body = step.body if step.how is How.INDEX else do(step.code)
        while not self._shop.value(step.done):
            self._patiently(partial(self._shop.run, body, lock_timeout_ms=_LOCK_MS[step.how]), step.title)

    def _patiently(self, action: Callable[[], int], title: str) -> int:
        """Return what the action does, once it gets its locks."""
        began = told = time.monotonic()
        while True:
            self._stop.check()
            try:
                return action()
            except LockBusyError as exc:
                now = time.monotonic()
                if now - began > self._patience_s:
                    raise DatabaseError(
                        f"no lock for the {title} in {self._patience_s:g} s: end long transactions, and start again"
                    ) from exc
                if now - told > _TOLD_EVERY_S:
                    self._watch.tell(f"{title}: waiting for a moment without long transactions")
                    told = now
            self._stop.sleep(random.uniform(0.02, _LONGEST_WAIT_S))  # noqa: S311 (spreads attempts, guards nothing)

    def _take_turn(self) -> None:
        ends_at = time.monotonic() + _TURN_WITHIN_S
        while not self._shop.value(turn(self._names)):
            if time.monotonic() > ends_at:
                raise ConflictError("another run of channel-id is at work: wait until it has ended")
            self._stop.sleep(0.5)  # the server lets go of a killed one's a moment later

    @contextmanager
    def _cancelled_when_asked(self) -> Iterator[None]:
        """End the statement at hand when somebody asks for the end: an index may take hours."""

        def watch(is_over: Event) -> None:
            while not is_over.wait(0.1):
                if self._stop.is_asked:
                    self._shop.cancel()  # again in a second: it may have come between two statements
                    is_over.wait(1)

        with beside(watch, name="channel-id-stop"):
            yield
