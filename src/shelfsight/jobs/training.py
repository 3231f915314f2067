"""The training job: what a channel sells becomes a published version."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import structlog

from shelfsight.catalog.rules import ReleasePolicy
from shelfsight.catalog.store import images
from shelfsight.errors import (
    BusyError,
    JobCancelledError,
    JobFailedError,
    NotFoundError,
    TooFewProductsError,
)
from shelfsight.jobs import store
from shelfsight.jobs.job import Retries, is_unavailable
from shelfsight.jobs.outcome import TOO_FEW, outcome
from shelfsight.jobs.trainings import Training, TrainingState
from shelfsight.registry import latest, layout
from shelfsight.registry import store as versions
from shelfsight.registry.publish import Order as Publication
from shelfsight.registry.publish import Registry, next_number, publish
from shelfsight.rollout.rules import FIRST
from shelfsight.training.gate import GateVerdict, judge
from shelfsight.training.process import Order, Outcome, run_child, write_pairs
from shelfsight.workspace import workspace

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from shelfsight.jobs.job import Job
    from shelfsight.training.progress import Step

KIND = "train"
"""The kind of these jobs; the key is the channel, the payload the training's id."""

_TOLD_EVERY_S = 0.5
_CANCELLED_WITHIN_S = 0.5
_log = structlog.get_logger()


def _may_pass(error: Exception) -> bool:
    """Return whether a later try may work: what did not answer may, and whoever else publishes ends."""
    return is_unavailable(error) or isinstance(error, BusyError)


_RETRIES = Retries(may_pass=_may_pass)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trainer:
    """Does training jobs.

    Attributes:
        storage_url: of the registry's storage, for the child process, which opens it by itself.
        train: trains in a child process; a test may put something quicker in its place.
    """

    registry: Registry
    storage_url: str
    train: Callable[[Order, Callable[[Step], None], Callable[[], bool]], Outcome] = run_child

    def run(self, job: Job) -> None:
        """Do a job: begin, learn and publish, and say how it ended, whatever happens."""
        training_id = int(job.payload["training"])
        if not job.step("begin", lambda: self._begin(training_id)):
            return
        try:
            ended = job.step("train and publish", lambda: self._train(job, training_id), retries=_RETRIES)
        except JobCancelledError:
            job.step("end", lambda: self._end(training_id, TrainingState.CANCELLED), always=True)
            raise
        except JobFailedError as exc:
            reason = str(exc)
            job.step("end", lambda: self._end(training_id, TrainingState.FAILED, reason), always=True)
            raise
        state, error = TrainingState(ended["state"]), ended["error"]
        job.step("end", lambda: self._end(training_id, state, error), always=True)

    def _begin(self, training_id: int) -> bool:
        with self.registry.database.write() as tx:
            begins = store.begin(tx, training_id, _now())
            channel = store.get(tx, training_id).channel if begins else None
        if begins:
            _log.info("training_began", channel=channel, training=training_id)
        return begins

    def _end(self, training_id: int, state: TrainingState, error: str | None = None) -> None:
        with self.registry.database.write() as tx:
            store.end(tx, training_id, state, error=error, now=_now())
            ended = store.get(tx, training_id)
        tell = _log.warning if state is TrainingState.FAILED else _log.info
        facts = {"version": ended.version, "reason": error}
        tell("training_ended", channel=ended.channel, training=training_id, state=state.value, **facts)

    def _train(self, job: Job, training_id: int) -> dict[str, Any]:
        """Learn and publish; return the state to end in, and the sentence that goes with it."""
        with self.registry.database.read() as tx:
            training = store.get(tx, training_id)
        if training.version is None:  # else a worker died after it had published
            watch = _Watch(self.registry, job, training_id)
            with workspace("training") as work:
                try:
                    learned = self._learn(training, work, watch)
                except TooFewProductsError:
                    return _ended(TrainingState.IDLE, TOO_FEW)
                if learned is Outcome.CANCELLED:
                    return _ended(TrainingState.CANCELLED)
                try:
                    self._publish(training, work / "bundle", watch)
                except BusyError:
                    if not watch.is_cancelled():
                        raise
                    return _ended(TrainingState.CANCELLED)
        latest.point(self.registry.database, self.registry.storage, training.channel)
        self._note_outcome(training_id)
        return _ended(TrainingState.READY)

    def _learn(self, training: Training, work: Path, watch: _Watch) -> Outcome:
        with self.registry.database.read() as tx:
            pairs = list(images.of_active_products(tx, training.channel))
        if len({product for product, _ in pairs}) < 2:
            raise TooFewProductsError(TOO_FEW)
        write_pairs(work / "pairs.json", pairs)
        order = Order(
            channel=training.channel,
            version=next_number(self.registry, training.channel),
            storage_url=self.storage_url,
            pairs=work / "pairs.json",
            out=work / "bundle",
        )
        return self.train(order, watch.tell, watch.should_stop)

    def _publish(self, training: Training, bundle: Path, watch: _Watch) -> None:
        watch.stage("Publishing")
        verdict = self._judge(training, bundle)
        with self.registry.database.write() as tx:
            store.note_gate(tx, training.id, verdict.reason, _now())
        kept = None if verdict.agrees or training.forced else ReleasePolicy.STAGED
        forced = ReleasePolicy.IMMEDIATE if training.forced else None
        publish(
            self.registry,
            Publication(
                folder=bundle,
                channel=training.channel,
                release=forced or kept,
                share=FIRST.share if verdict.agrees else None,  # counts where the channel's policy is `staged`
                training=training.id,
                actor=training.requested_by,
            ),
        )

    def _note_outcome(self, training_id: int) -> None:
        """Write into the log which devices have the version now, or why none has."""
        with self.registry.database.write() as tx:
            training = store.get(tx, training_id)
            store.note(tx, training, outcome(tx, replace(training, status=TrainingState.READY)), _now())

    def _judge(self, training: Training, bundle: Path) -> GateVerdict:
        """Compare with the stable version, by the reports of both."""
        with self.registry.database.read() as tx:
            stable = versions.stable(tx, training.channel)
        return judge((bundle / "report.json").read_bytes(), self._report(training.channel, stable))

    def _report(self, channel: str, version: str | None) -> bytes | None:
        if version is None:
            return None
        try:
            return self.registry.storage.get(f"{layout.version_folder(channel, version)}/report.json")
        except NotFoundError:  # of a bundle made elsewhere
            return None


class _Watch:
    """Tells the database how far a training is, and hears from it whether to stop."""

    def __init__(self, registry: Registry, job: Job, training_id: int) -> None:
        self._database = registry.database
        self._job, self._training_id = job, training_id
        self._told_at = self._asked_at = 0.0
        self._stage = ""
        self._stopped = False

    def stage(self, name: str) -> None:
        """Say what is being done now, of unknown length."""
        self._note(name, 0, 0)

    def tell(self, step: Step) -> None:
        """Say how far it is; not more than twice a second."""
        if step.stage != self._stage or time.monotonic() - self._told_at >= _TOLD_EVERY_S:
            self._note(step.stage, step.done, step.total or 0)

    def should_stop(self) -> bool:
        """Return whether the training was cancelled, or has another worker by now."""
        if not self._stopped and time.monotonic() - self._asked_at >= _CANCELLED_WITHIN_S:
            self._asked_at = time.monotonic()
            self._stopped = self.is_cancelled()
        return self._stopped or self._job.should_stop()

    def is_cancelled(self) -> bool:
        """Return whether somebody asked for its end."""
        with self._database.read() as tx:
            return store.is_cancelled(tx, self._training_id)

    def _note(self, stage: str, done: int, total: int) -> None:
        self._stage, self._told_at = stage, time.monotonic()
        with self._database.write() as tx:
            store.note_progress(tx, self._training_id, stage=stage, done=done, total=total, now=_now())


def _ended(state: TrainingState, error: str | None = None) -> dict[str, Any]:
    return {"state": state.value, "error": error}


def _now() -> datetime:
    return datetime.now(UTC)
