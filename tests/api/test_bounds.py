"""How much a request may bring."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from shelfsight.api import bounds

if TYPE_CHECKING:
    from collections.abc import Iterator, MutableMapping

    from tests.api.conftest import World

MB = 2**20


def chunks(megabytes: int) -> Iterator[bytes]:
    for _ in range(megabytes):
        yield b"x" * MB


@pytest.fixture
def small_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MAX_BODY_BYTES", 4 * MB)


@pytest.mark.parametrize("kind", ["application/json", "application/merge-patch+json; charset=utf-8", None])
def test_json_of_more_than_2_mib_is_refused_by_its_length(world: World, kind: str | None) -> None:
    headers = {"content-type": kind} if kind else {}
    answer = world.client("admin").post("/probe/notes", content=b"x" * (2 * MB + 1), headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (413, "application/problem+json")
    assert "larger than 2 MiB" in answer.json()["detail"]
    assert world.refused()[1:] == ("POST", "/probe/notes", 413, "too_large")


@pytest.mark.parametrize("key", [None, "k"])
def test_json_that_comes_in_chunks_is_counted(world: World, key: str | None) -> None:
    headers = {"content-type": "application/json"} | ({"idempotency-key": key} if key else {})
    answer = world.client("admin").post("/probe/notes", content=chunks(3), headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (413, "application/problem+json")
    assert world.refused()[3] == 413
    assert world.keys() == 0


@pytest.mark.usefixtures("small_bounds")
@pytest.mark.parametrize("key", [None, "k"])
def test_an_upload_that_comes_in_chunks_is_counted(world: World, key: str | None) -> None:
    headers = {"content-type": "multipart/form-data; boundary=b"} | ({"idempotency-key": key} if key else {})

    def form() -> Iterator[bytes]:
        yield b'--b\r\ncontent-disposition: form-data; name="file"; filename="f"\r\n\r\n'
        yield from chunks(5)
        yield b"\r\n--b--\r\n"

    answer = world.client("admin").post("/probe/files", content=form(), headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (413, "application/problem+json")
    assert world.probe.calls == []


@pytest.mark.usefixtures("small_bounds")
def test_an_upload_within_bounds_arrives_whole(world: World) -> None:
    answer = world.client("admin").post("/probe/files", files={"file": b"x" * (3 * MB)})
    assert (answer.status_code, answer.json()) == (201, {"size": 3 * MB})


def test_fifty_megabytes_and_what_a_form_adds_fit() -> None:
    assert bounds.MAX_BODY_BYTES > 50 * MB + 10_000


def test_a_body_of_no_known_kind_is_small_for_it_is_read_into_memory(world: World) -> None:
    headers = {"content-type": "application/octet-stream"}
    answer = world.client().post("/api/v1/sessions", content=chunks(3), headers=headers)
    assert answer.status_code == 413


@pytest.mark.parametrize(("token", "status"), [(None, 401), ("wrong", 401), ("ck_of_t1", 403)])
def test_files_of_who_may_upload_none_are_not_even_read(world: World, token: str | None, status: int) -> None:
    read = []

    def form() -> Iterator[bytes]:
        for chunk in chunks(3):
            read.append(len(chunk))
            yield chunk

    headers = {"content-type": "multipart/form-data; boundary=b"}
    if token is not None:
        headers["authorization"] = f"Bearer {token}"
    app = world.app
    messages = iter(form())

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": next(messages), "more_body": True}

    sent: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/api/v1/channels/T_1/versions",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("192.0.2.7", 1234),
    }
    asyncio.run(app(scope, receive, send))
    assert (sent[0]["status"], read) == (status, [])
    assert world.refused()[3] == status
