"""The `shelfsight` command in a process of its own, as a person at a shell starts it."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from typer.testing import CliRunner

from shelfsight.cli import app
from shelfsight.errors import ShelfsightError

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


@dataclass(frozen=True, kw_only=True)
class Done:
    """What a command printed and exited with."""

    returncode: int
    stdout: str
    stderr: str


def run_here(*arguments: object) -> Done:
    """Return what the command does, without a process of its own: much quicker, where the process does not matter."""
    result = CliRunner().invoke(app, [*map(str, arguments)])
    if isinstance(result.exception, ShelfsightError):
        return Done(
            returncode=result.exception.exit_code, stdout=result.stdout, stderr=f"Error: {result.exception}\n"
        )
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Done(returncode=result.exit_code, stdout=result.stdout, stderr=result.stderr)


def done(*arguments: object) -> str:
    """Return what the command prints, which must not fail."""
    result = run_here(*arguments)
    assert result.returncode == 0, result.stderr
    return result.stdout
