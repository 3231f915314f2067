"""Server-sent events of a training: its document, whenever it has changed, until it ends.

The row is looked at, not the worker, which may be on another machine. A stream lasts ten minutes at most, so that a
token that was revoked hears no more; browsers come back by themselves.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool

from shelfsight.errors import NotFoundError, TooManyRequestsError, UnavailableError
from shelfsight.jobs import store
from shelfsight.jobs.documents import TrainingDocument

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from fastapi import FastAPI

    from shelfsight.database.engine import Database
    from shelfsight.jobs.trainings import Training

MOST = 100
MOST_OF_ONE = 25
LAST_ID = "ended"
"""The id of the last event of a training: who comes back with it has seen all."""
HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}  # the latter for nginx, which would wait for more
_LOOKS_EVERY_S = 0.5
_KEEP_ALIVE_S = 15.0
_LASTS_S = 600.0
_BACK_AFTER_MS = 2000


class Streams:
    """The streams of one server. For its event loop alone."""

    def __init__(self) -> None:
        """Begin without any."""
        self.is_ending = False
        self._open: Counter[str] = Counter()

    @contextmanager
    def one(self, actor: str) -> Iterator[Streams]:
        """Count a stream while the block runs.

        Raises:
            TooManyRequestsError: there are too many.
        """
        if self._open.total() >= MOST or self._open[actor] >= MOST_OF_ONE:
            most = f"{MOST} streams at once, and {MOST_OF_ONE} for one caller"
            raise TooManyRequestsError(f"there are {most}: close one, or ask for the training now and then")
        self._open[actor] += 1
        try:
            yield self
        finally:
            self._open[actor] -= 1
            self._open += Counter()  # forgets who has none


def streams_of(app: FastAPI) -> Streams:
    """Return the streams of a server."""
    streams: Streams = app.state.streams
    return streams


def end_streams(app: FastAPI) -> None:
    """Let every stream of a server end within half a second: the server would wait for them."""
    streams_of(app).is_ending = True


async def follow(database: Database, training: Training, streams: Streams) -> AsyncIterator[bytes]:
    """Yield the events of a training, until it has ended, is gone, or the stream has lasted long enough."""
    now = time.monotonic()
    told_at, ends_at = now, now + _LASTS_S
    told: Training | None = None
    yield f"retry: {_BACK_AFTER_MS}\n\n".encode()
    while True:
        if training != told:
            told, told_at = training, now
            yield _event(training)
        elif now - told_at >= _KEEP_ALIVE_S:
            told_at = now
            yield b": still here\n\n"
        if training.status.ended or streams.is_ending or now >= ends_at:
            return
        await asyncio.sleep(_LOOKS_EVERY_S)
        now = time.monotonic()
        try:
            training = await run_in_threadpool(_look, database, training.id)
        except UnavailableError:
            continue  # the next look may find the database there again
        except NotFoundError:
            return  # deleted, with its channel


def _look(database: Database, training_id: int) -> Training:
    with database.read() as tx:
        return store.get(tx, training_id)


def _event(training: Training) -> bytes:
    lines = ["event: progress", f"data: {TrainingDocument.of(training).model_dump_json(by_alias=True)}"]
    if training.status.ended:
        lines.append(f"id: {LAST_ID}")
    return ("\n".join(lines) + "\n\n").encode()
