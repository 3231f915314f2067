"""What storage says of an address that is none, and of an object store that does not answer."""

from __future__ import annotations

import asyncio
import socket
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from shelfsight.errors import StorageError, UsageError
from shelfsight.storage import Storage, objects, open_storage

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    "address", ["", "ftp://host/x", "s3://", "az://container/x", "file://elsewhere/x", "http://host/bucket"]
)
def test_an_address_that_is_none_is_told(address: str) -> None:
    with pytest.raises(UsageError, match=r"^[^\n]+$"):
        open_storage(address)


@pytest.mark.parametrize("options", [{"timeout": "1"}, {"aws_nonsense": "1"}, {"nonsense": "1"}])
def test_an_option_that_is_none_is_told(options: dict[str, str]) -> None:
    with pytest.raises(UsageError, match=r"nonsense|timeout"):
        open_storage("s3://bucket", options=options)


def unreachable(port: int) -> Storage:
    options = {
        "aws_endpoint": f"http://127.0.0.1:{port}",
        "aws_access_key_id": "k",
        "aws_secret_access_key": "secret",
    }
    return open_storage("s3://shelf/x", options=options)


def calls(storage: Storage) -> list[Callable[[], object]]:
    return [
        lambda: storage.get("a"),
        lambda: storage.put("a", b"1"),
        lambda: list(storage.list("")),
        lambda: asyncio.run(storage.read("a")),
        lambda: storage.delete(["a"]),
        lambda: storage.move_folder("a", "b"),
        lambda: storage.folders(""),
        lambda: storage.pointer("a/latest"),
    ]


def test_s3_that_is_down_says_so_soon() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound, and nobody listens
        storage = unreachable(closed.getsockname()[1])
        for call in calls(storage):
            began = time.monotonic()
            with pytest.raises(StorageError, match=r"s3://shelf/x: it does not answer; check [^\n]*$") as caught:
                call()
            assert time.monotonic() - began < 15
            assert "secret" not in str(caught.value)


def test_s3_that_is_silent_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "_ANSWER_TO_READ", timedelta(seconds=0.2))
    monkeypatch.setattr(objects, "_ANSWER_TO_WRITE", timedelta(seconds=0.2))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        storage = unreachable(silent.getsockname()[1])
        for call in calls(storage)[:4]:
            with pytest.raises(StorageError, match="it does not answer"):
                call()
