"""The claim on a checkpoint, when the machine that holds it was not awake."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from shelfsight.backfill.checkpoints.sql import SqlCheckpoints
from shelfsight.backfill.lease import Lease
from shelfsight.errors import ConflictError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("clock", ["time", "monotonic"])
def test_who_was_suspended_asks_the_store_before_it_does_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: str
) -> None:
    store = SqlCheckpoints(f"sqlite:///{tmp_path / 'checkpoints.db'}")
    claim = store.claim("x", "laptop:1", lasts_s=60)
    assert claim is not None
    lease = Lease(store, claim)
    assert store.claim("x", "server:2", lasts_s=60, instead_of="laptop:1") is not None
    lease.check()  # nothing tells that a minute has gone by
    now = getattr(time, clock)()
    monkeypatch.setattr(f"shelfsight.backfill.lease.time.{clock}", lambda: now + 61)
    with pytest.raises(ConflictError, match="another runner has taken over"):
        lease.check()
    store.close()
