"""What the code of a job may rely on, without a queue."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from shelfsight.errors import JobCancelledError, JobFailedError, PictureError, StorageError
from shelfsight.jobs.job import Abandoned, Job, JobRecord, JobState, Retries, Standing

if TYPE_CHECKING:
    from collections.abc import Callable

RECORD = JobRecord(
    id="train-1",
    kind="train",
    key="a",
    state=JobState.RUNNING,
    payload={"n": 1},
    queued_at=datetime(2026, 1, 1, tzinfo=UTC),
)


@dataclass
class Run:
    """A hold on a job that is lost when a test says so."""

    now: Standing = Standing.OURS
    retry_s: float = 1.0
    waited: list[float] = field(default_factory=list)

    names: list[str] = field(default_factory=list)

    def durable(self, name: str, function: Callable[[], Any]) -> Any:
        """Do it."""
        self.names.append(name)
        return function()

    def standing(self) -> Standing:
        """Return what the test says."""
        return self.now

    glance = standing

    def wait(self, seconds: float) -> None:
        """Note it."""
        self.waited.append(seconds)


@pytest.fixture
def run() -> Run:
    """The job is ours."""
    return Run()


@pytest.fixture
def job(run: Run) -> Job:
    """A job that runs."""
    return Job(RECORD, run)


def raising(*errors: Exception) -> Callable[[], str]:
    """Return a function that raises one after the other, and then returns."""
    left = list(errors)

    def function() -> str:
        if left:
            raise left.pop(0)
        return "done"

    return function


def test_a_step_is_tried_again_after_what_may_pass_with_growing_pauses(job: Job, run: Run) -> None:
    assert job.step("fit", raising(StorageError("a"), StorageError("b"))) == "done"
    assert (run.names, run.waited) == (["fit"], [1.0, 2.0])


def test_the_last_attempt_says_why(job: Job) -> None:
    with pytest.raises(JobFailedError, match="c") as caught:
        job.step("fit", raising(StorageError("a"), StorageError("b"), StorageError("c")))
    assert (caught.value.step, caught.value.error) == ("fit", "storage")


def test_what_cannot_pass_is_not_tried_again(job: Job, run: Run) -> None:
    with pytest.raises(JobFailedError) as caught:
        job.step("fit", raising(PictureError("it is no picture")))
    assert (caught.value.error, run.waited) == ("picture", [])
    with pytest.raises(JobFailedError, match="KeyError: 'n'") as caught:
        job.step("fit", raising(KeyError("n")))
    assert caught.value.error == "KeyError"


def test_what_may_pass_is_for_the_step_to_say(job: Job) -> None:
    retries = Retries(attempts=2, may_pass=lambda error: isinstance(error, PictureError))
    assert job.step("fit", raising(PictureError("a")), retries=retries) == "done"


def test_a_cancelled_job_begins_no_step_but_those_that_note_it(job: Job, run: Run) -> None:
    run.now = Standing.CANCELLED
    assert job.is_current()
    with pytest.raises(JobCancelledError):
        job.step("fit", pytest.fail)
    assert job.step("note", job.should_stop, always=True) is False


@pytest.mark.parametrize(("standing", "error"), [(Standing.CANCELLED, JobCancelledError), (Standing.LOST, Abandoned)])
@pytest.mark.parametrize("raises", [True, False])
def test_what_a_step_makes_of_being_told_to_stop_does_not_count(
    job: Job, run: Run, standing: Standing, error: type[BaseException], *, raises: bool
) -> None:
    def step() -> str:
        assert not job.should_stop()
        run.now = standing
        assert job.should_stop()
        if raises:
            raise PictureError("the process that read it was ended")
        return "half"

    with pytest.raises(error):
        job.step("embed", step)


def test_what_was_done_before_it_heard_of_the_cancellation_counts(job: Job, run: Run) -> None:
    def step() -> str:
        run.now = Standing.CANCELLED
        return "published"

    assert job.step("publish", step) == "published"


def test_nobody_mistakes_the_loss_of_a_job_for_an_error(job: Job, run: Run) -> None:
    run.now = Standing.LOST
    assert not job.is_current()
    with pytest.raises(Abandoned):
        job.step("note", pytest.fail, always=True)
    assert not issubclass(Abandoned, Exception)
