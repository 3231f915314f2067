"""Objects on their way in: raw and as forms, too large, cut off, hostile, and on a disk that is full."""

from __future__ import annotations

import base64
import errno
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from shelfsight.delivery.supabase import receive, request
from tests.delivery.shop import sha256
from tests.delivery.supabase.world import PHONES, World

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.delivery.shop import Reply

BOUNDARY = "----formdata-undici-006905371447"
FORM = f"multipart/form-data; boundary={BOUNDARY}"
MIB = 2**20


def part(name: str, data: bytes, *lines: str) -> bytes:
    """Return a part of a form; `lines` are more of its headers."""
    head = "\r\n".join((f'Content-Disposition: form-data; name="{name}"', *lines))
    return f"--{BOUNDARY}\r\n{head}\r\n\r\n".encode("latin-1") + data + b"\r\n"


def file_part(data: bytes, name: str = "", file_name: str = "blob", media_type: str = "application/x-foo") -> bytes:
    """Return the part of a form that is a file."""
    return part(f'{name}"; filename="{file_name}', data, f"Content-Type: {media_type}")


def form(*parts: bytes) -> bytes:
    """Return a form."""
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def send(
    world: World, body: bytes | Sequence[bytes], content_type: str = FORM, path: str = "x", **headers: str
) -> Reply:
    """Upload a body as it is."""
    key = world.service["T_1"]
    url = f"/storage/v1/object/{PHONES}/{path}"
    return world.ask("POST", url, body, key=key, content_type=content_type, **headers)


def refused(reply: Reply) -> tuple[str, str]:
    """Return the status and the sentence of a refusal."""
    assert reply.status == 400
    return reply.json["statusCode"], reply.json["message"]


def kept(world: World) -> dict[str, Any]:
    """Return what is known of the object `x`, with its bytes."""
    found = world.get(f"{PHONES}/x", key="ck_T_1")
    info = world.get(f"info/{PHONES}/x", key="ck_T_1").json
    names = ("content_type", "cache_control", "metadata")
    return {"body": found.body, **{name: info[name] for name in names}}


class Endless(list[bytes]):
    """A body of which there is always more to come than comes."""

    def __len__(self) -> int:
        return 1000


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of what is kept while it comes in; nothing may be left there."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


@pytest.fixture(autouse=True)
def _nothing_is_left(temporary: Path) -> None:
    """Check it after every test."""


def test_a_raw_body_is_kept_as_it_is(world: World) -> None:
    data = bytes(range(256)) * 5000
    chunks = [data[start : start + 70_001] for start in range(0, len(data), 70_001)]
    metadata = base64.b64encode(json.dumps({"é": [1, None, {"a": "b"}]}).encode()).decode()
    reply = send(world, chunks, "image/png", cache_control="max-age=60", x_metadata=metadata)
    assert reply.status == 200, reply.body
    assert kept(world) == {
        "body": data,
        "content_type": "image/png",
        "cache_control": "max-age=60",
        "metadata": {"é": [1, None, {"a": "b"}]},
    }


def test_the_forms_of_both_clients_are_taken_apart(world: World) -> None:
    metadata = part("metadata", b'{"a": 1}')
    for body in (
        form(part("cacheControl", b"60"), metadata, file_part(b"xyz")),  # JavaScript's, of a Blob
        form(part("cacheControl", b"60"), metadata, file_part(b"xyz", "file", "x.bin")),  # Python's
        form(file_part(b"xyz", "anything"), part("userMetadata", b'{"a": 1}'), part("cacheControl", b"60")),
        form(part("contentType", b"application/x-foo"), part("cacheControl", b"60"), metadata,
             file_part(b"xyz", media_type="text/plain")),
        form(part("other", b"field"), part("cacheControl", b"60"), metadata, file_part(b"xyz"), file_part(b"second")),
    ):  # fmt: skip
        for size in (len(body), 7, 1):
            chunks = [body[start : start + size] for start in range(0, len(body), size)]
            assert send(world, chunks, x_upsert="true").status == 200
            assert kept(world) == {
                "body": b"xyz",
                "content_type": "application/x-foo",
                "cache_control": "max-age=60",
                "metadata": {"a": 1},
            }


def test_what_looks_like_a_boundary_in_a_file_is_a_part_of_it(world: World) -> None:
    data = f"\r\n--{BOUNDARY[:-1]}\r\n--x--\r\n\r\n--".encode() * 3
    body = form(file_part(data))
    assert send(world, [body[start : start + 11] for start in range(0, len(body), 11)]).status == 200
    assert kept(world)["body"] == data


def test_an_empty_object_is_one(world: World) -> None:
    assert send(world, b"", "text/plain").status == 200
    assert send(world, form(file_part(b"")), x_upsert="true").status == 200
    assert kept(world)["body"] == b""


def test_an_object_of_50_mib_is_taken(world: World) -> None:
    chunk = os.urandom(MIB)
    assert send(world, [chunk] * 50, "a/b").status == 200
    head = world.ask("HEAD", f"/storage/v1/object/{PHONES}/x", key="ck_T_1")
    assert head.headers["content-length"] == str(50 * MIB)
    around = form(file_part(b"|")).partition(b"|")
    assert send(world, [around[0], *[chunk] * 50, around[2]], x_upsert="true").status == 200
    whole = world.get(f"{PHONES}/x", key="ck_T_1")
    assert (whole.whole, sha256(whole.body)) == (True, sha256(chunk * 50))


@pytest.mark.parametrize("as_form", [False, True])
@pytest.mark.parametrize("length", [None, "60000000", "10"])
def test_a_larger_one_is_refused_however_it_is_sent(world: World, as_form: bool, length: str | None) -> None:
    head, _, tail = form(file_part(b"|")).partition(b"|") if as_form else (b"", b"", b"")
    headers = {} if length is None else {"content_length": length}
    reply = send(world, [head, *[bytes(MIB)] * 60, tail], FORM if as_form else "a/b", **headers)
    assert (reply.status, reply.json) == (
        400,
        {
            "statusCode": "413",
            "error": "Payload too large",
            "message": "The object exceeded the maximum allowed size",
        },
    )
    assert world.get(f"{PHONES}/x", key="ck_T_1").status == 400
    assert not list(world.storage.list("objects"))


def test_a_form_with_too_much_around_the_file_is_refused(world: World) -> None:
    for body in (
        form(part("other", bytes(300_000)), file_part(b"x")),
        form(*[part(f"n{number}", bytes(1000)) for number in range(300)], file_part(b"x")),
    ):
        assert refused(send(world, body))[0] == "413"
    assert refused(send(world, form(part("metadata", b" " * 70_000 + b"{}"), file_part(b"x"))))[0] == "413"


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", FORM),
        (form(), FORM),
        (form(part("cacheControl", b"1")), FORM),
        (form(file_part(b"xyz"))[:-30], FORM),
        (file_part(b"xyz"), FORM),
        (form(file_part(b"xyz")), "multipart/form-data"),
        (form(file_part(b"xyz")), "multipart/form-data; boundary="),
        (form(file_part(b"xyz")), "multipart/form-data; boundary=other"),
        (form(file_part(b"xyz")), "multipart/form-data; boundary=" + "x" * 300),
        (f"--{BOUNDARY}\r\n: x\r\n\r\n".encode(), FORM),
        (f"--{BOUNDARY}\r\n{'a' * 20_000}: x\r\n\r\n".encode(), FORM),
        (f"--{BOUNDARY}\rx".encode(), FORM),
        (form(file_part(b"x", media_type="text")), FORM),
        (form(file_part(b"x"), part("metadata", b"{")), FORM),
        (b"x", "text\x80/plain"),
        (b"x", "a/b\tc"),
    ],
)
def test_a_damaged_form_and_a_wrong_type_are_refused(world: World, body: bytes, content_type: str) -> None:
    assert refused(send(world, body, content_type))[0] == "400"
    assert world.get(f"{PHONES}/x", key="ck_T_1").status == 400


@pytest.mark.parametrize(
    "metadata",
    [
        "[1]",
        '"x"',
        "{",
        '{"a":NaN}',
        '{"a":"\\u0000"}',
        '{"\\ud800":1}',
        "[" * 5000,
        '{"a":' * 3000 + "1" + "}" * 3000,
        "\xff",
    ],
)
def test_metadata_that_no_database_can_hold_is_refused(world: World, metadata: str) -> None:
    header = base64.b64encode(metadata.encode("latin-1")).decode()
    assert refused(send(world, b"x", "a/b", x_metadata=header))[0] == "400"
    assert refused(send(world, form(file_part(b"x"), part("metadata", metadata.encode("latin-1")))))[0] == "400"


def test_metadata_that_is_not_base64_is_refused(world: World) -> None:
    assert refused(send(world, b"x", "a/b", x_metadata="{}!"))[0] == "400"


def test_a_name_that_is_taken_is_refused_before_the_body_is_read(world: World) -> None:
    world.upload("x")
    assert refused(send(world, Endless([b"a"]), "a/b")) == ("409", "The resource already exists")
    assert refused(send(world, Endless([b"a"]), "text"))[0] == "409"
    assert refused(send(world, Endless([b"a"]), "text", path="y"))[0] == "400"


def test_nothing_is_kept_of_a_body_whose_sender_goes(world: World) -> None:
    async def app() -> list[Any]:
        key = world.service["T_1"]
        scope = {
            "type": "http",
            "method": "POST",
            "raw_path": f"/storage/v1/object/{PHONES}/x".encode(),
            "path": "",
            "query_string": b"",
            "headers": [(b"apikey", key.encode()), (b"content-length", b"100")],
            "client": None,
        }
        messages = [{"type": "http.request", "body": b"half", "more_body": True}, {"type": "http.disconnect"}]
        sent: list[Any] = []

        async def receive() -> Any:
            return messages.pop(0)

        async def send_message(message: Any) -> None:
            sent.append(message)

        await world.app(scope, receive, send_message)
        return sent

    assert world.runner.run(app()) == []
    assert world.get(f"{PHONES}/x", key="ck_T_1").status == 400


def test_a_body_that_stops_coming_is_given_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request, "_STALLED_S", 0.01)
    status, sentence = refused(send(world, Endless([b"half"]), "a/b"))
    assert status == "400"
    assert "stopped coming" in sentence


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full: run on Linux")
def test_a_full_disk_is_told_and_leaves_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(receive, "_open", lambda: open("/dev/full", "wb"))  # noqa: PTH123, SIM115 (closed there)
        on_the_way = send(world, b"x", "a/b")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", _full)
        in_storage = send(world, b"x", "a/b")
    for reply in (on_the_way, in_storage):
        assert (reply.status, reply.json["statusCode"], reply.json["error"]) == (503, "503", "unavailable")
        assert reply.headers["retry-after"] == "5"
        assert "the storage does not answer" in reply.json["message"]
    assert world.get(f"{PHONES}/x", key="ck_T_1").status == 400
    assert not list(world.storage.list("objects"))
    assert send(world, b"x", "a/b").status == 200


def _full(_descriptor: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
