"""A mover in a process of its own, which is killed just before one of its statements, commits or files."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from dataclasses import dataclass
from typing import Any

from sqlalchemy import event

from shelfsight.database.engine import open_database
from shelfsight.registry.publish import Registry
from shelfsight.rollout import moves
from shelfsight.rollout.moves import Operator
from shelfsight.storage import open_storage

_ON_DISK = {"os.rename", "os.remove", "os.symlink"}

processes = multiprocessing.get_context("forkserver")
"""Children of a clean process that has imported everything."""
processes.set_forkserver_preload([__name__])


@dataclass(frozen=True)
class Job:
    """What to do in T_1, where."""

    database: str
    storage: str
    what: str


def run(job: Job, kill_at: int) -> str:
    """Do the job in a process that is killed before its step number `kill_at`; return `done`, or `killed`."""
    process = processes.Process(target=_child, args=(job, kill_at))
    process.start()
    process.join(60)
    assert process.exitcode in {0, -signal.SIGKILL}
    return "done" if process.exitcode == 0 else "killed"


def _child(job: Job, kill_at: int) -> None:
    registry = Registry(database=open_database(job.database), storage=open_storage(job.storage))
    done = 0

    def count(*_: Any) -> None:
        nonlocal done
        if done == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        done += 1

    def hook(name: str, args: tuple[Any, ...]) -> None:
        if name in _ON_DISK and job.storage in str(args):
            count()

    event.listen(registry.database.engine, "before_cursor_execute", count)
    event.listen(registry.database.engine, "commit", count)
    sys.addaudithook(hook)
    if job.what == "complete":
        moves.advance(registry, "T_1", by=Operator(actor="anna"))
    else:
        moves.roll_back(registry, "T_1", by=Operator(actor="anna"))
