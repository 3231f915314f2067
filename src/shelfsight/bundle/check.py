"""Check a bundle in a process of its own: a hostile model may crash, hang or fill the memory there, not here.

The module is light, so that the server can import it: only the child imports numpy, onnx and onnxruntime.
"""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from pydantic import ValidationError

from shelfsight.bundle.documents import Manifest
from shelfsight.errors import BundleError, OutputError, ShelfsightError, UnavailableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

_GIB = 1024**3
_MAX_ANSWER = 16 * 1024**2  # bytes that are read of what the child says
_MAX_FILE = 512 * 1024**2  # bytes of a file that the child may write
_TURNS = threading.BoundedSemaphore(2)
"""Held by who checks: each may take the memory that it is limited to."""
_GRACE_S = 5  # processor time beyond the time-out: only a child that lost its parent comes so far

# Handed on because a Python, its packages or its libraries may be found by them; nothing else is: no secrets.
_ENVIRONMENT = (
    "PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE", "VIRTUAL_ENV",
    "HOME", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT", "LANG", "LC_ALL",
)  # fmt: skip
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
_ERRORS: Mapping[str, type[ShelfsightError]] = {
    kind.__name__: kind for kind in (BundleError, OutputError, UsageError)
}


def check_in_child(
    folder: Path, *, channel: str, version: str, timeout_s: float = 120, memory_bytes: int = 4 * _GIB
) -> Manifest:
    """Return the manifest of an upload that `uploaded.check_upload` has checked and completed, in a child process.

    Args:
        timeout_s: seconds that the whole check may take.
        memory_bytes: address space that the child may use, where the system knows such a limit.

    Raises:
        BundleError: the upload is refused; or it crashed the check, or took more time or memory than it may.
        UsageError: `channel` or `version` is none.
        OutputError: the folder cannot be written.
        UnavailableError: too many are being checked.
    """
    return _checked_in_child([str(folder.absolute()), channel, version], timeout_s, memory_bytes)


def verify_in_child(folder: Path, *, timeout_s: float = 120, memory_bytes: int = 4 * _GIB) -> Manifest:
    """Return the manifest of a bundle that `verify.verify_bundle` has checked in a child process.

    Args:
        As of `check_in_child`.

    Raises:
        BundleError: the bundle is damaged or inconsistent; or it crashed the check, or took too much time or memory.
        UnavailableError: too many are being checked.
    """
    return _checked_in_child([str(folder.absolute())], timeout_s, memory_bytes)


def _checked_in_child(what: list[str], timeout_s: float, memory_bytes: int) -> Manifest:
    """Return what a child says to a folder that it verifies, or checks as a channel's version."""
    if not _TURNS.acquire(timeout=timeout_s):
        raise UnavailableError("other bundles are being checked, which takes its time: try again in a minute")
    try:
        return _checked_in_turn(what, timeout_s, memory_bytes)
    finally:
        _TURNS.release()


def _checked_in_turn(what: list[str], timeout_s: float, memory_bytes: int) -> Manifest:
    limits = (str(memory_bytes), str(math.ceil(timeout_s) + _GRACE_S))
    command = [sys.executable, "-P", "-m", __name__, *limits, *what]
    with tempfile.TemporaryFile() as answer, tempfile.TemporaryFile() as complaints:
        code = _run(command, timeout_s, answer, complaints)
        if code is None:
            raise BundleError(f"the bundle was not checked within {timeout_s:g} s: its model is too large")
        answer.seek(0)
        found = answer.read(_MAX_ANSWER)
        complaints.seek(max(0, complaints.tell() - 2000))
        reason = complaints.read().decode(errors="replace")
    return _manifest(found, code, reason)


def _run(command: list[str], timeout_s: float, answer: IO[bytes], complaints: IO[bytes]) -> int | None:
    """Return the exit code of a child, which is negative after a signal, or None when its time is over."""
    environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ} | _ONE_THREAD
    child = subprocess.Popen(  # noqa: S603 (our own module; the arguments are one word each)
        command,
        stdin=subprocess.DEVNULL,
        stdout=answer,
        stderr=complaints,
        env=environment,
        start_new_session=True,
    )
    try:
        return child.wait(timeout_s)
    except subprocess.TimeoutExpired:
        return None
    finally:
        if child.poll() is None:
            _kill(child)
        complaints.seek(0, os.SEEK_END)


def _kill(child: subprocess.Popen[bytes]) -> None:
    """End the child and whatever it started, which is of its session."""
    if hasattr(os, "killpg"):
        os.killpg(child.pid, signal.SIGKILL)
    else:
        child.kill()
    child.wait()


def _manifest(answer: bytes, code: int, reason: str) -> Manifest:
    """Return the manifest in a child's answer, or raise what it says, or what its end says."""
    try:
        said = json.loads(answer)
        if "message" not in said:
            return Manifest.model_validate(said["manifest"])
    except (ValueError, KeyError, TypeError, ValidationError):
        raise BundleError(_end(code, reason)) from None
    raise _ERRORS.get(said.get("error"), BundleError)(said["message"])


def _end(code: int, reason: str) -> str:
    if code < 0 and -code in {signal.SIGKILL, getattr(signal, "SIGXCPU", None)}:
        return "the check was killed, which took too much memory or time: the bundle's model is too large"
    if code < 0:
        return f"the bundle crashed the check ({signal.Signals(-code).name}): convert its model again"
    last = (reason.strip().splitlines() or ["no reason given"])[-1][:300]
    return f"the bundle cannot be checked ({last}): convert its model again, or report this"


def main() -> None:
    """Check the bundle that the command line names, and print its manifest or why it is refused, as JSON."""
    memory_bytes, cpu_s, folder, *stamp = sys.argv[1:]
    # Libraries may print what they like: that goes to standard error, and the answer past them.
    with os.fdopen(os.dup(1), "wb") as answer:
        os.dup2(2, 1)
        _limit(int(memory_bytes), int(cpu_s))
        answer.write(json.dumps(_said(Path(folder), stamp)).encode())


def _said(folder: Path, stamp: list[str]) -> dict[str, Any]:
    try:
        # Heavy, and for the child only.
        from shelfsight.bundle.uploaded import check_upload  # noqa: PLC0415
        from shelfsight.bundle.verify import verify_bundle  # noqa: PLC0415

        manifest = check_upload(folder, channel=stamp[0], version=stamp[1]) if stamp else verify_bundle(folder)
    except ShelfsightError as exc:
        return {"error": type(exc).__name__, "message": str(exc)}
    except MemoryError:
        return {"error": "BundleError", "message": "the check ran out of memory: the bundle's model is too large"}
    return {"manifest": manifest.model_dump(mode="json", by_alias=True)}


def _limit(memory_bytes: int, cpu_s: int) -> None:
    """Limit what this process may use, as far as the system can."""
    try:
        import resource  # noqa: PLC0415 (Windows has none)
    except ImportError:
        return
    wanted = {
        resource.RLIMIT_AS: memory_bytes,
        resource.RLIMIT_CPU: cpu_s,
        resource.RLIMIT_FSIZE: _MAX_FILE,
        resource.RLIMIT_CORE: 0,
    }
    for limit, value in wanted.items():
        _, hard = resource.getrlimit(limit)
        most = value if hard == resource.RLIM_INFINITY else min(value, hard)
        try:
            resource.setrlimit(limit, (most, most))
        except (ValueError, OSError):  # macOS knows RLIMIT_AS and refuses to set it
            continue


if __name__ == "__main__":
    main()
