"""Train in a process of its own, which can be ended at any moment; light, for whoever waits for it.

The child (`training.child`) reads an order from its standard input and tells of its progress, line by line, on its
standard output. Only it imports numpy and onnxruntime. It reaches the storage by the order's address and, as every
process does, by the credentials in the environment, which it is given as it is; nothing of either is in its
arguments. When its standard input ends it ends itself, so that no child outlives a worker that was killed.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, TYPE_CHECKING, Any, Self

from shelfsight import errors
from shelfsight.errors import ShelfsightError, UnavailableError
from shelfsight.training.progress import Step
from shelfsight.training.rules import HeadKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_ASK_EVERY_S = 0.25
_END_WITHIN_S = 10.0
_LAST_WORDS = 4000  # bytes of what a child said before it failed


class Outcome(StrEnum):
    """How a training in a child process ended, when it did not fail."""

    TRAINED = "trained"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a child is to train.

    Attributes:
        storage_url: where the channel's images and embeddings are; see `open_storage`.
        pairs: file written by `write_pairs`.
        out: folder for the bundle.
        backbone: name of a shipped backbone, or path of a file; None for the usual one.
    """

    channel: str
    version: str
    storage_url: str
    pairs: Path
    out: Path
    seed: int = 0
    head: HeadKind | None = None
    backbone: str | None = None

    def to_json(self) -> str:
        """Return the order as the child reads it: one line."""
        return json.dumps(
            {
                "channel": self.channel,
                "version": self.version,
                "storageUrl": self.storage_url,
                "pairs": str(self.pairs),
                "out": str(self.out),
                "seed": self.seed,
                "head": self.head,
                "backbone": self.backbone,
            }
        )

    @classmethod
    def from_json(cls, line: str) -> Self:
        """Return the order that `to_json` wrote."""
        said = json.loads(line)
        return cls(
            channel=said["channel"],
            version=said["version"],
            storage_url=said["storageUrl"],
            pairs=Path(said["pairs"]),
            out=Path(said["out"]),
            seed=said["seed"],
            head=HeadKind(said["head"]) if said["head"] else None,
            backbone=said["backbone"],
        )


def write_pairs(path: Path, pairs: Iterable[tuple[str, str]]) -> None:
    """Write the (product id, SHA-256) of the images to learn from into a file."""
    path.write_text(json.dumps(list(pairs)))


def read_pairs(path: Path) -> list[tuple[str, str]]:
    """Return what `write_pairs` wrote."""
    return [(product, sha256) for product, sha256 in json.loads(path.read_text())]


def run_child(order: Order, on_progress: Callable[[Step], None], should_stop: Callable[[], bool]) -> Outcome:
    """Train in a child process, and return when it has written the bundle, or has been stopped.

    Args:
        should_stop: asked at least twice a second while it answers quickly; once it is true the child is killed. What
            the child had embedded stays in the storage.

    Raises:
        TooFewProductsError: fewer than two products have a usable picture.
        UnavailableError: the storage does not answer, or the child was killed, as it is where memory is short; a
            later try may work.
        ShelfsightError: as `learn` raises it, or the child failed for another reason.
    """
    with tempfile.TemporaryFile() as complaints:
        child = _start(complaints)
        try:
            said = _follow(child, order, on_progress, should_stop)
            if said is None:
                return Outcome.CANCELLED
            if not said:  # its output ended without a last word: so does the child
                child.wait(_END_WITHIN_S)
        except subprocess.TimeoutExpired:
            said = {}
        finally:
            _end(child)
        return _outcome(said, child.returncode, _last_line(complaints))


def _start(complaints: IO[bytes]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "shelfsight.training.child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=complaints,
        encoding="utf-8",
        start_new_session=True,
    )


def _follow(
    child: subprocess.Popen[str], order: Order, on_progress: Callable[[Step], None], should_stop: Callable[[], bool]
) -> dict[str, Any] | None:
    """Return the last word of the child, {} if it ends without one, or None when it is to be stopped."""
    if child.stdin is None or child.stdout is None:
        raise AssertionError("the child was started with both pipes")
    with suppress(BrokenPipeError):  # it is dead already, which is found out below
        child.stdin.write(order.to_json() + "\n")
        child.stdin.flush()
    lines: SimpleQueue[str | None] = SimpleQueue()
    threading.Thread(target=_listen, args=(child.stdout, lines), daemon=True).start()
    asked_at = -_ASK_EVERY_S
    while True:
        if time.monotonic() - asked_at >= _ASK_EVERY_S:
            if should_stop():
                return None
            asked_at = time.monotonic()
        try:
            line = lines.get(timeout=_ASK_EVERY_S)
        except Empty:
            continue
        said: dict[str, Any] = json.loads(line) if line else {}
        if "stage" not in said:
            return said
        on_progress(Step(stage=said["stage"], done=said["done"], total=said["total"]))


def _listen(output: IO[str], lines: SimpleQueue[str | None]) -> None:
    """Hand on whole lines; a last half one is of a child that was killed while it wrote."""
    with suppress(ValueError, OSError):  # closed meanwhile
        for line in output:
            if line.endswith("\n"):
                lines.put(line)
    lines.put(None)


def _end(child: subprocess.Popen[str]) -> None:
    """Kill whatever is left of the child and of what it started, and wait for it."""
    if child.poll() is None:
        if hasattr(os, "killpg"):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)
        child.kill()
        child.wait()
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            with suppress(OSError, ValueError):
                pipe.close()


def _last_line(complaints: IO[bytes]) -> str:
    size = complaints.seek(0, os.SEEK_END)
    complaints.seek(max(0, size - _LAST_WORDS))
    lines = complaints.read().decode(errors="replace").strip().splitlines()
    return lines[-1][:300] if lines else "it gave no reason"


def _outcome(said: dict[str, Any], code: int, reason: str) -> Outcome:
    if said.get("outcome") == Outcome.TRAINED:
        return Outcome.TRAINED
    if "error" in said:
        kind = getattr(errors, said["error"], ShelfsightError)
        raise kind(said["message"])
    if code < 0:
        name = signal.Signals(-code).name
        raise UnavailableError(f"the training's process was ended by {name}, as when memory runs short: train again")
    raise ShelfsightError(f"the training failed ({reason}): train again, and report this if it fails again")
