"""A job: what is known of it, and what the code that does it can ask for."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, assert_never

import structlog

from shelfsight.errors import JobCancelledError, JobFailedError, ShelfsightError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

log = structlog.get_logger(__name__)


class JobState(StrEnum):
    """Where a job stands; the last three are for ever."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self in {JobState.DONE, JobState.FAILED, JobState.CANCELLED}


class Standing(StrEnum):
    """Whether a worker may go on with a job."""

    OURS = "ours"
    CANCELLED = "cancelled"
    LOST = "lost"  # another worker has it, or will have it: this one was declared dead, or is stopping


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """What is known of a job.

    Attributes:
        id: the kind and the caller's id: `train-4711`.
        key: jobs of a kind with the same key run one after the other.
        reason: why it failed, in one sentence.
        error: the name of the error, as `ShelfsightError.code` has it.
        cancelled_by: who asked for its end.
        worker: who runs it, or ran it last.
        runs: how many workers have begun it, since it was last given back.
    """

    id: str
    kind: str
    key: str
    state: JobState
    payload: dict[str, Any] = field(repr=False)
    reason: str | None = None
    error: str | None = None
    cancelled_by: str | None = None
    worker: str | None = None
    runs: int = 0
    queued_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None


class Abandoned(BaseException):
    """This worker's run of a job ends here and leaves no outcome: another worker goes on with it."""


def is_unavailable(error: Exception) -> bool:
    """Return whether an error may pass by itself: something that we depend on did not answer."""
    return isinstance(error, UnavailableError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """How often a step is tried, and after which errors it is tried again."""

    attempts: int = 3
    may_pass: Callable[[Exception], bool] = is_unavailable


class Run(Protocol):
    """A worker's hold on a job that it runs."""

    retry_s: float

    def durable(self, name: str, function: Callable[[], Any]) -> Any:
        """Return what the function returns, or returned when it was done before, by whatever worker.

        Raises:
            JobFailedError: it failed, now or before.
            JobCancelledError: the job was cancelled.
        """

    def standing(self) -> Standing:
        """Return whether this worker may go on, as of now; waits while the database does not answer."""

    def glance(self) -> Standing:
        """Return whether this worker may go on, as of a moment ago, or when the database last answered."""

    def wait(self, seconds: float) -> None:
        """Wait, or until this worker may not go on."""


class Job:
    """A job that is running, as the code that does it sees it."""

    def __init__(self, record: JobRecord, run: Run) -> None:
        """Show what is known of it."""
        self.id = record.id
        self.kind = record.kind
        self.key = record.key
        self.payload = record.payload
        self.queued_at = record.queued_at
        self._run = run
        self._always = False
        self._told = False

    def step(
        self, name: str, function: Callable[[], Any], *, retries: Retries | None = None, always: bool = False
    ) -> Any:
        """Do a step, once: when a worker dies, the one that goes on gets the result of what was done before.

        Steps must follow from the payload and the results of earlier steps alone, in the same order each time.

        Args:
            name: what is done, for the log.
            function: does it. Its result must be JSON. It may be run again when the worker dies in the middle of it.
            retries: by default three attempts when something that we depend on does not answer.
            always: also when the job was cancelled, to note that.

        Raises:
            JobFailedError: it failed, or ran out of attempts.
            JobCancelledError: the job was cancelled.
        """
        self._always, self._told = always, False
        return self._run.durable(name, lambda: self._attempt(name, function, retries or Retries()))

    def should_stop(self) -> bool:
        """Return whether the step should end: the job was cancelled, or this worker may not go on with it.

        Cheap enough to be asked often. What the step then returns or raises does not count as its outcome.
        """
        self._told = self._told or self._forbids(self._run.glance())
        return self._told

    def is_current(self) -> bool:
        """Return whether this worker still has the job; ask just before what must not be done twice."""
        return self._run.standing() is not Standing.LOST

    def _attempt(self, name: str, function: Callable[[], Any], retries: Retries) -> Any:
        for attempt in range(1, retries.attempts + 1):
            self._check()
            try:
                result = function()
            except Exception as exc:
                self._check()
                if attempt == retries.attempts or not retries.may_pass(exc):
                    raise failed(exc, step=name) from exc
                log.warning("job_step_retried", job=self.id, step=name, attempt=attempt, reason=str(exc))
                self._run.wait(self._run.retry_s * 2 ** (attempt - 1))
            else:
                if self._told:
                    self._check()
                return result
        raise AssertionError("a step has at least one attempt")

    def _check(self) -> None:
        standing = self._run.standing()
        if self._forbids(standing):
            raise JobCancelledError("the job was cancelled") if standing is Standing.CANCELLED else Abandoned

    def _forbids(self, standing: Standing) -> bool:
        match standing:
            case Standing.OURS:
                return False
            case Standing.CANCELLED:
                return not self._always
            case Standing.LOST:
                return True
            case _:
                assert_never(standing)


def failed(error: BaseException, *, step: str) -> JobFailedError:
    """Return what is kept of an error."""
    if isinstance(error, JobFailedError):
        return error
    code = error.code if isinstance(error, ShelfsightError) else type(error).__name__
    reason = str(error) if isinstance(error, ShelfsightError) else f"{type(error).__name__}: {error}"
    return JobFailedError(reason, step=step, error=code)
