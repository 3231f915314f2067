"""The runner, with a small backfill over a list: what it promises every backfill."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from shelfsight.backfill.checkpoints import Claim, Written
from shelfsight.backfill.checkpoints.sql import SqlCheckpoints
from shelfsight.backfill.report import record_facts
from shelfsight.backfill.rules import Checkpoint, Pace, Refused, document_name
from shelfsight.backfill.runner import Runner, Terms
from shelfsight.backfill.stop import Stop
from shelfsight.backfill.work import Done, Findings, Page, Plan
from shelfsight.errors import ConflictError, UnavailableError
from tests.backfill.inventory.shop import Watched

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from shelfsight.backfill.report import Report
    from shelfsight.backfill.rules import Value
    from shelfsight.backfill.work import Note, Phase

NAME = document_name("toy")


@dataclass
class Toy:
    """Copies the numbers of a list into a set, of another thread's making; number 13 is refused while it may be."""

    numbers: Sequence[int]
    name: str = "toy"
    copied: list[int] = field(default_factory=list)
    sent: list[list[int]] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    before_read: Callable[[], None] = lambda: None
    before_send: Callable[[], None] = lambda: None
    refuses: frozenset[int] = frozenset()
    who_suffers: list[str] = field(default_factory=list)

    title = "numbers"

    def check(self) -> None: ...

    def plan(self, pace: Pace) -> Plan:
        return Plan(facts=[("Size", str(pace.size))])

    def survey(self, refused: Sequence[Refused]) -> Findings:
        but = {int(one.key) for one in refused}
        missing = set(self.numbers) - set(self.copied) - but
        return Findings(counts={"numbers": len(self.numbers)}, open={"numbers not copied": len(missing)})

    def prepare(self) -> None: ...

    def phases(self) -> Sequence[Phase]:
        return (self,)

    def mend(self, refused: Sequence[Refused]) -> Phase:  # noqa: ARG002
        missing = sorted(set(self.numbers) - set(self.copied))
        return _Mending(self, missing)

    def retry(self, refused: Sequence[Refused]) -> Done:
        numbers = [int(one.key) for one in refused]
        return self.send(Page(rows=0, position={}, load=numbers))

    def pressure(self) -> str | None:
        return self.who_suffers.pop() if self.who_suffers else None

    def warnings(self) -> Sequence[str]:
        return ()

    def total(self) -> int:
        return len(self.numbers)

    def done(self, values: Mapping[str, Value]) -> int:
        return int(values.get("copied") or 0)

    def read(self, values: Mapping[str, Value], size: int, note: Note) -> Page | None:  # noqa: ARG002
        self.before_read()
        after = int(values.get("last") or 0)
        load = [number for number in self.numbers if number > after][:size]
        self.sizes.append(size)
        return Page(rows=len(load), position={"last": load[-1]}, load=load) if load else None

    def send(self, page: Page) -> Done:
        self.before_send()
        self.sent.append(list(page.load))
        taken = [number for number in page.load if number not in self.refuses]
        self.copied += taken
        refused = [Refused(key=str(one), phase=1, reason="unlucky") for one in page.load if one in self.refuses]
        return Done(counts={"copied": len(taken)}, refused=refused)


class _Mending:
    title = "mending"

    def __init__(self, toy: Toy, missing: list[int]) -> None:
        self._toy, self._missing = toy, missing

    def total(self) -> int:
        return len(self._missing)

    def done(self, values: Mapping[str, Value]) -> int:  # noqa: ARG002
        return 0

    def read(self, values: Mapping[str, Value], size: int, note: Note) -> Page | None:  # noqa: ARG002
        load, self._missing = self._missing[:size], self._missing[size:]
        return Page(rows=len(load), position={}, load=load) if load else None

    def send(self, page: Page) -> Done:
        return self._toy.send(page)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlCheckpoints]:
    opened = SqlCheckpoints(f"sqlite:///{tmp_path / 'checkpoints.db'}")
    yield opened
    opened.close()


def run(
    toy: Toy,
    store: SqlCheckpoints,
    *,
    stop: Stop | None = None,
    watch: Watched | None = None,
    pace: Pace | None = None,
    patience_s: float = 30,
    lasts_s: float = 30,
    **how: bool,
) -> Report:
    terms = Terms(pace=pace or Pace(size=3), patience_s=patience_s, lasts_s=lasts_s)
    return Runner(toy, store, terms=terms, stop=stop or Stop(), watch=watch or Watched()).run(**how)


def saved(store: SqlCheckpoints) -> Checkpoint:
    record = store.read(NAME)
    assert record is not None
    return record.checkpoint


def test_it_goes_to_the_end_in_pages_and_is_finished(store: SqlCheckpoints) -> None:
    toy, watch = Toy(range(1, 11)), Watched()
    report = run(toy, store, watch=watch)
    assert toy.sent == [[1, 2, 3], [4, 5, 6], [7, 8, 9], [10]]
    assert (report.outcome, report.exit_code) == ("finished", 0)
    assert dict(saved(store).values) == {"last": 10, "copied": 10}
    assert (watch.phases, watch.rows) == ([("numbers", 10, 0)], 10)


def test_a_finished_one_does_nothing_until_it_is_reset(store: SqlCheckpoints) -> None:
    run(Toy(range(1, 11)), store)
    again = Toy(range(1, 11))
    report = run(again, store)
    assert (again.sent, report.did_nothing, report.exit_code) == ([], True, 0)
    report = run(again, store, reset=True)
    assert (again.copied, report.checkpoint.count("copied")) == (list(range(1, 11)), 10)


def test_the_second_signal_does_not_wait_for_a_page_on_its_way() -> None:
    code = """if True:
        import threading, concurrent.futures
        from shelfsight.backfill.stop import Stop
        stop = Stop()
        def send():
            print("sending", flush=True)
            stop._asked.wait()
            print("asked", flush=True)
            threading.Event().wait()
        with stop.by_signals(), concurrent.futures.ThreadPoolExecutor(1) as sender:
            sender.submit(send).result()"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "sending\n"
            give_up_at = time.monotonic() + 30
            while process.poll() is None and time.monotonic() < give_up_at:  # of two at once, Python sees one
                process.send_signal(signal.SIGTERM)
                time.sleep(0.05)
            assert (process.poll(), process.stdout.read()) == (143, "asked\n")
        finally:
            process.kill()


def test_a_checkpoint_of_something_else_is_left_alone_until_it_is_reset(store: SqlCheckpoints) -> None:
    claim = store.claim(NAME, "script:1", lasts_s=0)
    assert claim is not None
    store.save(claim, Written(checkpoint=Checkpoint(name=NAME, values={"phase": "supabase", "last_id": 7})))
    store.give_back(claim)
    toy = Toy(range(1, 11))
    with pytest.raises(ConflictError, match="written by something else: start over with --reset"):
        run(toy, store)
    assert toy.sent == []
    record = store.read(NAME)
    assert record is not None
    assert record_facts("toy", record, ())[0] == ("State", "written by something else: --reset starts over")
    assert run(toy, store, reset=True).outcome == "finished"
    assert toy.copied == list(range(1, 11))


def test_the_next_page_is_read_while_one_is_on_its_way(store: SqlCheckpoints) -> None:
    toy = Toy(range(1, 11))
    second_is_read, reads = threading.Event(), iter(range(100))

    def read() -> None:
        if next(reads) == 1:
            second_is_read.set()

    def send() -> None:
        assert second_is_read.wait(10)

    toy.before_read, toy.before_send = read, send
    assert run(toy, store).outcome == "finished"


def test_no_checkpoint_is_ahead_of_what_was_acknowledged(store: SqlCheckpoints) -> None:
    toy = Toy(range(1, 31))
    ahead: list[tuple[int, int]] = []

    def send() -> None:
        ahead.append((saved(store).count("last"), max(toy.copied, default=0)))

    toy.before_send = send
    run(toy, store)
    assert all(last <= acknowledged for last, acknowledged in ahead)
    assert len(ahead) == 10


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_finishes_the_page_and_says_so(store: SqlCheckpoints, signum: signal.Signals) -> None:
    toy, stop = Toy(range(1, 31)), Stop()
    toy.before_send = lambda: signal.raise_signal(signum) if len(toy.sent) == 1 else None
    with stop.by_signals():
        report = run(toy, store, stop=stop)
    assert (report.outcome, report.exit_code) == ("stopped", 128 + signum)
    assert saved(store).count("last") == max(toy.copied) == saved(store).count("copied")
    assert len(toy.copied) < 30
    record = store.read(NAME)
    assert record is not None
    assert not record.is_held
    later = Toy(toy.numbers)  # on another machine
    run(later, store)
    assert later.sent[0][0] == max(toy.copied) + 1


def test_the_sleep_between_pages_ends_with_a_signal(store: SqlCheckpoints) -> None:
    toy, stop = Toy(range(1, 31)), Stop()
    timer = threading.Timer(0.2, stop.ask)
    timer.start()
    report = run(toy, store, stop=stop, pace=Pace(size=3, sleep_s=3600))
    assert (report.outcome, toy.sent) == ("stopped", [[1, 2, 3]])
    assert report.checkpoint.count("copied") == 3


def test_what_does_not_answer_is_tried_again_and_counted_once(store: SqlCheckpoints) -> None:
    toy, watch = Toy(range(1, 11)), Watched()
    failures = iter([True, False, True, False])

    def fail() -> None:
        if next(failures, False):
            raise UnavailableError("not ready")

    toy.before_send = toy.before_read = fail
    report = run(toy, store, watch=watch)
    assert (report.outcome, report.checkpoint.count("copied")) == ("finished", 10)
    assert [text for text in watch.told if "not ready; trying again" in text]


def test_patience_has_an_end_and_the_next_run_goes_on(store: SqlCheckpoints) -> None:
    toy = Toy(range(1, 11))

    def fail() -> None:
        if len(toy.sent) >= 2:
            raise UnavailableError("not ready")

    toy.before_send = fail
    with pytest.raises(UnavailableError, match="not ready"):
        run(toy, store, patience_s=0)
    assert saved(store).count("last") == 6
    toy.before_send = lambda: None
    run(toy, store)
    assert toy.copied == list(range(1, 11))


def test_what_is_refused_is_kept_aside_and_tried_again_alone(store: SqlCheckpoints) -> None:
    toy = Toy(range(1, 21), refuses=frozenset({13, 14}))
    report = run(toy, store)
    assert [one.key for one in report.refused] == ["13", "14"]
    assert (report.outcome, report.exit_code, report.checkpoint.count("copied")) == ("finished", 1, 18)
    toy.refuses, toy.sent = frozenset({14}), []
    report = run(toy, store, retry=True)
    assert toy.sent == [[13, 14]]
    assert ([one.key for one in report.refused], report.checkpoint.count("copied")) == (["14"], 19)
    toy.refuses = frozenset()
    assert run(toy, store, retry=True).exit_code == 0
    assert sorted(toy.copied) == list(range(1, 21))


def test_what_the_verification_finds_is_mended(store: SqlCheckpoints) -> None:
    toy = Toy(range(1, 11))
    toy.before_send = lambda: toy.copied.clear() if len(toy.sent) == 2 else None  # somebody undid it
    report = run(toy, store)
    assert report.outcome == "finished"
    assert set(toy.copied) == set(range(1, 11))
    assert saved(store).phase == 2


def test_what_cannot_be_mended_is_a_failure_and_not_finished(store: SqlCheckpoints) -> None:
    toy = Toy(range(1, 11))
    toy.before_send = toy.copied.clear
    report = run(toy, store)
    assert (report.outcome, report.exit_code) == ("failed", 1)
    assert report.findings is not None
    assert report.findings.open["numbers not copied"] > 0
    assert not saved(store).is_finished


def test_two_at_once_cannot_be(store: SqlCheckpoints) -> None:
    toy, started, over = Toy(range(1, 11)), threading.Event(), threading.Event()

    def wait() -> None:
        started.set()
        over.wait(30)

    toy.before_send = wait
    first = threading.Thread(target=run, args=(toy, store), kwargs={"lasts_s": 1.0})
    first.start()
    assert started.wait(10)
    other, watch = Toy(range(1, 11)), Watched()
    with pytest.raises(ConflictError, match="toy is being worked on by process"):
        run(other, store, watch=watch)
    assert other.sent == []
    assert any("taking over unless it shows a sign of life" in text for text in watch.told)
    over.set()
    first.join()
    assert saved(store).is_finished


def test_one_that_shows_no_sign_of_life_is_taken_over_and_cannot_move_the_checkpoint_back(
    store: SqlCheckpoints,
) -> None:
    dead = store.claim(NAME, "elsewhere/1/2:3", lasts_s=0.5)
    assert dead is not None
    store.save(dead, Written(checkpoint=Checkpoint(name=NAME, values={"last": 6, "copied": 6})))
    toy = Toy(range(1, 11), copied=list(range(1, 7)))
    assert run(toy, store).outcome == "finished"
    assert toy.sent == [[7, 8, 9], [10]]
    with pytest.raises(ConflictError, match="another runner has taken over"):
        store.save(dead, Written(checkpoint=Checkpoint(name=NAME, values={"last": 3})))
    assert saved(store).count("last") == 10


def test_who_was_taken_over_sends_nothing_more(store: SqlCheckpoints) -> None:
    toy = Toy(range(1, 31))

    def read() -> None:
        if len(toy.sent) == 2:
            other = store.claim(NAME, "other:1", lasts_s=60, instead_of=record_holder(store))
            assert other is not None
            time.sleep(0.6)  # a sign of life comes meanwhile, and is refused

    toy.before_read = read
    with pytest.raises(ConflictError, match="another runner has taken over"):
        run(toy, store, pace=Pace(size=3, sleep_s=0.001), lasts_s=1.0)
    assert len(toy.sent) == 2


class Away(SqlCheckpoints):
    """A store that does not answer for a while."""

    until = 0.0

    def save(self, claim: Claim, written: Written) -> str | None:
        self._answer()
        return super().save(claim, written)

    def renew(self, claim: Claim) -> str | None:
        self._answer()
        return super().renew(claim)

    def _answer(self) -> None:
        if time.monotonic() < self.until:
            raise UnavailableError("the store is away")


def test_a_store_that_is_away_for_longer_than_the_claim_lasts_is_waited_for(tmp_path: Path) -> None:
    store, toy = Away(f"sqlite:///{tmp_path / 'away.db'}"), Toy(range(1, 31))

    def read() -> None:
        if len(toy.sent) == 1 and not store.until:
            store.until = time.monotonic() + 1.0

    toy.before_read = read
    assert run(toy, store, lasts_s=0.3).outcome == "finished"
    assert toy.copied == list(range(1, 31))
    assert time.monotonic() > store.until > 0
    store.close()


def record_holder(store: SqlCheckpoints) -> str | None:
    record = store.read(NAME)
    return None if record is None else record.holder


def test_a_pause_waits_between_pages_and_goes_on(store: SqlCheckpoints) -> None:
    toy, watch = Toy(range(1, 31)), Watched()
    toy.before_send = lambda: store.pause(NAME, "cli:anna") if len(toy.sent) == 1 else None
    runner = threading.Thread(target=run, args=(toy, store), kwargs={"watch": watch})
    runner.start()
    while not any("paused by cli:anna" in text for text in watch.told):
        time.sleep(0.01)
    assert saved(store).count("copied") == len(toy.copied) < 30  # all that was begun is saved
    toy.before_send = lambda: None
    store.pause(NAME, None)
    runner.join(30)
    assert toy.copied == list(range(1, 31))


def test_a_pause_ends_with_a_signal(store: SqlCheckpoints) -> None:
    toy, stop, watch = Toy(range(1, 31)), Stop(), Watched()
    run(Toy([1]), store)
    store.pause(NAME, "cli:anna")
    threading.Timer(0.3, stop.ask).start()
    report = run(toy, store, stop=stop, watch=watch, reset=True)
    assert (report.outcome, toy.sent) == ("stopped", [])


def test_the_page_size_grows_towards_the_wanted_time_and_shrinks_when_somebody_suffers(store: SqlCheckpoints) -> None:
    quick = Toy(range(1, 2001))
    run(quick, store, pace=Pace(size=100, page_time_s=60))
    assert quick.sizes == sorted(quick.sizes)
    assert quick.sizes[-1] > 200
    suffering, watch = Toy(range(1, 2001), who_suffers=["a replica is behind"]), Watched()
    run(suffering, store, pace=Pace(size=400, page_time_s=60), reset=True, watch=watch)
    assert min(suffering.sizes) < 400
    assert any("a replica is behind" in text for text in watch.told)


def test_without_adaptive_the_page_size_is_what_the_operator_said(store: SqlCheckpoints) -> None:
    toy = Toy(range(1, 2001), who_suffers=["a replica is behind"])
    run(toy, store, pace=Pace(size=100))
    assert set(toy.sizes) == {100}


def test_time_worked_is_that_of_all_runs_together(store: SqlCheckpoints) -> None:
    toy, stop = Toy(range(1, 11)), Stop()

    def take_time_and_end() -> None:
        time.sleep(0.05)
        stop.ask()

    toy.before_send = take_time_and_end
    first = run(toy, store, stop=stop)
    toy.before_send = lambda: None
    second = run(toy, store)
    assert 0.05 <= first.checkpoint.worked_s < second.checkpoint.worked_s
    assert second.checkpoint.started_at == first.checkpoint.started_at
