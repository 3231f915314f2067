"""The `shelfsight` command in a process of its own, as a person at a shell starts it."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMAND = (sys.executable, "-m", "shelfsight")


def run(*arguments: object, encoding: str = "utf-8", **environment: str) -> subprocess.CompletedProcess[str]:
    """Return what the command printed, to streams of that encoding, and exited with."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        encoding=encoding,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": encoding, **environment},
    )


def run_redirected(redirection: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Return what the command printed and exited with, its streams redirected as a shell writes it: `>/dev/full`."""
    return subprocess.run(
        ["/bin/sh", "-c", f'exec "$@" {redirection}', "sh", *COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


@contextmanager
def started(*arguments: object, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Yield the command while it runs; whatever the test does, it has ended afterwards."""
    with subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    ) as process:
        try:
            yield process
        finally:
            process.terminate()
