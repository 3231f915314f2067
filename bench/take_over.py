"""How soon another worker goes on after one was killed, with the settings of real use.

python -m bench.take_over
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from tests.jobs.factory import Factory
from tests.jobs.test_training_jobs import history, open_shop, until
from tests.tiny import write_tiny_bundle

from shelfsight.app import open_services
from shelfsight.jobs.timings import Timings
from shelfsight.settings import ServiceSettings


def main() -> None:
    """Kill a worker in its training, and print when the next one has begun it."""
    with TemporaryDirectory(prefix="shelfsight-bench-") as work, ExitStack() as stack:
        folder = Path(work)
        settings = ServiceSettings(
            database_url=f"sqlite:///{folder / 'shelfsight.db'}", storage_url=str(folder / "assets")
        )
        services = open_services(settings)
        stack.callback(services.close)
        bundle, log = write_tiny_bundle(folder / "bundle"), folder / "log"
        open_shop(services.database, "T_1")
        doomed = Factory(settings=settings, bundle=bundle, log=log, lasts_s=600, timings=Timings())
        heir = Factory(settings=settings, bundle=bundle, log=log, timings=Timings())
        stack.callback(doomed.close)
        stack.callback(heir.close)
        doomed.hire(1)
        until(lambda: any(row.stage == "Learning" for row in history(services.database, "T_1")))
        heir.hire(1)
        time.sleep(3)  # it is up
        killed_at = time.monotonic()
        doomed.processes[0].kill()
        until(lambda: history(services.database, "T_1")[0].status.ended, within_s=60)
        seconds = time.monotonic() - killed_at
        Console().print(f"Killed in its training, done by another worker after {seconds:.1f} s (wanted: within 30 s)")


if __name__ == "__main__":
    main()
