"""One phase of a run: the next pages are read while one is on its way to the other side.

Pages are sent in their order by one thread. A page's checkpoint is saved when the other side has acknowledged it, and
with it every page before.
"""

from __future__ import annotations

import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shelfsight.backfill.rules import Strain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Future

    from shelfsight.backfill.journal import Journal
    from shelfsight.backfill.patience import Patience, Watch
    from shelfsight.backfill.rules import Pace, Value
    from shelfsight.backfill.stop import Stop
    from shelfsight.backfill.work import Done, Page, Phase

_AHEAD = 3
"""So many pages are on their way at once, where nobody wants sleep between them."""
_LOOKS_EVERY_S = 1.0
_HEARS_EVERY_S = 0.5
_PAUSE_LOOKS_EVERY_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Crew:
    """Who takes part in every phase."""

    journal: Journal
    patience: Patience
    stop: Stop
    watch: Watch
    pressure: Callable[[], str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sent:
    done: Done
    took_s: float
    strain: Strain


@dataclass(frozen=True, slots=True, kw_only=True)
class _Flying:
    page: Page
    sent: Future[_Sent]
    read_s: float


class Pipeline:
    """Does one phase, from where the checkpoint is."""

    def __init__(self, phase: Phase, crew: Crew, pace: Pace) -> None:
        """Begin at that pace."""
        self._phase = phase
        self._crew = crew
        self._pace = pace
        self._ahead: Mapping[str, Value] = crew.journal.checkpoint.values
        self._flying: deque[_Flying] = deque()
        self._is_over = False
        self._waits_seen = crew.patience.waits
        self._looked_at = 0.0
        self._suffers = False

    def run(self) -> None:
        """Return when the phase is over, or somebody asked for the end and all that was begun is saved.

        Raises:
            EndAskedError: somebody asked for the end while a page had to wait; it is not saved.
            ConflictError, UnavailableError: as the phase and the journal say.
        """
        values = self._crew.journal.checkpoint.values
        total = self._crew.patience(self._phase.total)
        self._crew.watch.begin(self._phase.title, total=total, done=self._phase.done(values))
        with ThreadPoolExecutor(1, thread_name_prefix="backfill-send") as sender:
            try:
                while self._one(sender):
                    pass
            finally:
                sender.shutdown(cancel_futures=True)

    @property
    def pace(self) -> Pace:
        """The pace that it has come to."""
        return self._pace

    def _one(self, sender: ThreadPoolExecutor) -> bool:
        """Read as far ahead as is wanted, and save the oldest page; return whether anything is left to do."""
        most = 1 if self._pace.pause_s else _AHEAD
        while len(self._flying) < most and self._may_read():
            self._read(sender)
        if self._flying:
            self._land(self._flying.popleft())
        elif self._is_over or self._crew.stop.is_asked:
            return False
        else:
            self._wait_while_paused()
        return True

    def _may_read(self) -> bool:
        return not (self._is_over or self._crew.stop.is_asked or self._crew.journal.lease.paused_by)

    def _read(self, sender: ThreadPoolExecutor) -> None:
        def read() -> Page | None:
            self._crew.journal.lease.check()
            return self._phase.read(self._ahead, self._pace.size, self._crew.journal.note)

        began = time.monotonic()
        page = self._crew.patience(read)
        if page is None:
            self._is_over = True
            return
        self._ahead = {**self._ahead, **page.position}
        sent = sender.submit(self._send, page)
        self._flying.append(_Flying(page=page, sent=sent, read_s=time.monotonic() - began))

    def _send(self, page: Page) -> _Sent:
        def send() -> Done:
            self._crew.journal.lease.check()  # a runner that slept too long must not write over another's work
            return self._phase.send(page)

        began = time.monotonic()
        done = self._crew.patience(send)
        return _Sent(done=done, took_s=time.monotonic() - began, strain=self._strain(done))

    def _land(self, flown: _Flying) -> None:
        while not wait([flown.sent], _HEARS_EVERY_S).done:
            pass  # Python hears no signal that comes just as it begins to wait, until it has waited
        sent, page = flown.sent.result(), flown.page
        done = sent.done
        counts = {name: page.counts.get(name, 0) + done.counts.get(name, 0) for name in {*page.counts, *done.counts}}
        self._crew.journal.save(position=page.position, counts=counts, refused=(*page.refused, *done.refused))
        self._crew.watch.advance(page.rows)
        self._pace = self._pace.after(flown.read_s + sent.took_s, sent.strain)
        if self._pace.pause_s and not self._crew.stop.is_asked and not self._is_over:
            self._crew.stop.sleep(self._pace.pause_s)

    def _strain(self, done: Done) -> Strain:
        """Return whether others suffer; looks once a second, and only if the pace would change.

        This is the thread that sends, so the other one may just be changing rows that somebody waits for.
        """
        if self._pace.page_time_s is None:
            return Strain.NONE
        waits, self._waits_seen = self._crew.patience.waits - self._waits_seen, self._crew.patience.waits
        now = time.monotonic()
        if waits or done.waits:
            return Strain.NEW
        if now - self._looked_at < _LOOKS_EVERY_S:
            return Strain.SAME if self._suffers else Strain.NONE
        self._looked_at, who = now, self._crew.pressure()
        self._suffers = who is not None
        if who is not None:
            self._crew.watch.tell(f"{who}: smaller pages, and more rest between them")
        return Strain.NEW if self._suffers else Strain.NONE

    def _wait_while_paused(self) -> None:
        lease = self._crew.journal.lease
        self._crew.watch.tell(f"paused by {lease.paused_by}; `shelfsight backfill resume` lets it go on")
        while lease.paused_by:
            self._crew.stop.sleep(_PAUSE_LOOKS_EVERY_S)
            self._crew.patience(lease.renew)
        self._crew.watch.tell("going on")
