"""Kills the migration after each of its statements in turn, goes on, and looks whether all is as after one clean run.

`python -m tests.backfill.channel_id.killed URL MODE`; prints how many times it was killed.
"""

from __future__ import annotations

import os
import signal
import sys

from shelfsight.backfill.channel_id.rules import Mode
from shelfsight.backfill.channel_id.store import Shop, connect
from tests.backfill.channel_id.conftest import migration
from tests.backfill.channel_id.shop import expected, found, structure


class MortalShop(Shop):
    """A session whose process is killed after so many statements that change something."""

    left = 0

    def run(self, sql: str, *, lock_timeout_ms: int | None = None) -> int:
        rows = super().run(sql, lock_timeout_ms=lock_timeout_ms)
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return rows


def was_killed(url: str, mode: Mode, after: int) -> bool:
    """Run in a child that is killed after so many statements; return whether it came so far."""
    child = os.fork()
    if child == 0:
        shop = connect(url)
        mortal = MortalShop(shop._connection)
        mortal.left = after
        migration(mortal).run(mode, fill=False)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def whole_run(url: str, mode: Mode) -> list[tuple[object, ...]]:
    """Run to the end, undo it, and return what the database looked like between."""
    shop = connect(url)
    report = migration(shop).run(mode, fill=False)
    assert report.exit_code == 0, report
    assert found(url) == expected()
    seen = structure(url)
    migration(shop).undo()
    shop.close()  # and with it our turn
    return seen


def main(url: str, mode: Mode) -> None:
    """Kill it everywhere."""
    whole = whole_run(url, mode)
    kills = 0
    while was_killed(url, mode, kills + 1):
        kills += 1
        assert whole_run(url, mode) == whole, kills
    sys.stdout.write(f"{kills}\n")


if __name__ == "__main__":
    main(sys.argv[1], Mode(sys.argv[2]))
