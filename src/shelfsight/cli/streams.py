"""Standard output and standard error, made fit for what commands print: any text, a full disk, a closed stream."""

from __future__ import annotations

import io
import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast

from shelfsight.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator


def prepare_streams() -> None:
    """Make standard output and error take every character, and standard output fail with an OutputError."""
    sys.stdout, sys.stderr = _open(sys.stdout), _open(sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.stdout = cast("TextIO", _Output(sys.stdout))


def discard_unwritten() -> None:
    """Send what could not be written to nowhere, or the interpreter tries again when it ends, and complains."""
    try:
        sys.stdout.flush()
    except (OutputError, BrokenPipeError):
        with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())


def _open(stream: TextIO | None) -> TextIO:
    """Return the stream, or a sink where the shell closed it (`>&-`), which Python says with None."""
    return stream or Path(os.devnull).open("w", encoding="utf-8")


class _Output:
    """A stream whose write errors are ours. A reader that has gone stays a BrokenPipeError: typer ends quietly."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with self._errors():
            return self._stream.write(text)

    def flush(self) -> None:
        with self._errors():
            self._stream.flush()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            raise
        except OSError as exc:
            raise OutputError(
                f"standard output cannot be written ({exc.strerror}): make room or send it elsewhere"
            ) from exc
