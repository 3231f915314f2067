"""Files that somebody sends: plain names, a ZIP, and what is neither."""

from __future__ import annotations

import io
import zipfile
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from shelfsight.errors import BundleError, StorageError, TooLargeError
from shelfsight.registry import upload
from shelfsight.registry.upload import receive

if TYPE_CHECKING:
    from pathlib import Path

BLOB = f"{'ab' * 32}.bin"


def archive(**members: bytes) -> io.BytesIO:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in members.items():
            zipped.writestr(name, content)
    data.seek(0)
    return data


def received(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_files_come_under_their_names_and_blobs_in_their_folder(tmp_path: Path) -> None:
    sent = [("model.json", b"{}"), (BLOB, b"weights"), (f"blobs/{'cd' * 32}.bin", b"more")]
    receive([(name, io.BytesIO(data)) for name, data in sent], tmp_path)
    assert received(tmp_path) == {"model.json": b"{}", f"blobs/{BLOB}": b"weights", f"blobs/{'cd' * 32}.bin": b"more"}


def test_a_zip_is_unpacked(tmp_path: Path) -> None:
    receive([("tm-my-image-model.zip", archive(**{"model.json": b"{}", f"blobs/{BLOB}": b"w"}))], tmp_path)
    assert received(tmp_path) == {"model.json": b"{}", f"blobs/{BLOB}": b"w"}


@pytest.mark.parametrize(
    "name",
    [
        "../model.json",
        "/etc/passwd",
        "a/model.json",
        "..",
        "",
        ".hidden",
        "model\0.json",
        "a\\b",
        f"x/{BLOB}",
        "ä.json",
        "blobs",
    ],
)
def test_a_name_that_is_not_plain_is_refused_sent_or_zipped(tmp_path: Path, name: str) -> None:
    with pytest.raises(BundleError, match="plain file name"):
        receive([(name, io.BytesIO(b"x"))], tmp_path)
    if name and "\0" not in name:
        with pytest.raises(BundleError, match="plain file name"):
            receive([("a.zip", archive(**{name: b"x"}))], tmp_path)
    assert received(tmp_path) == {}


def test_what_comes_twice_or_not_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="the upload is empty"):
        receive([], tmp_path)
    with pytest.raises(BundleError, match="twice"):
        receive([("a.json", io.BytesIO(b"1")), ("a.json", io.BytesIO(b"2"))], tmp_path)


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 and then nothing", b"x" * 100])
def test_a_damaged_zip_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(BundleError, match="ZIP cannot be unpacked"):
        receive([("a.zip", io.BytesIO(data))], tmp_path)


def test_a_zip_that_is_damaged_anywhere_is_refused_in_one_sentence(tmp_path: Path) -> None:
    whole = archive(**{"model.json": b'{"a":1}' * 300, "weights.bin": bytes(range(256)) * 20}).getvalue()
    for place in range(len(whole)):
        data = bytearray(whole)
        data[place] ^= 0x55
        with suppress(BundleError, TooLargeError):
            receive([("a.zip", io.BytesIO(data))], tmp_path / str(place))


@pytest.mark.parametrize("kind", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_of_a_rare_kind_is_refused(tmp_path: Path, kind: int) -> None:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", kind) as zipped:
        zipped.writestr("model.json", b"{}")
    with pytest.raises(BundleError, match="use deflate"):
        receive([("a.zip", data)], tmp_path)


def test_a_zip_of_very_many_files_is_refused_before_its_list_is_read(tmp_path: Path) -> None:
    data = archive(**{f"{number:0200}": b"" for number in range(5000)})
    with pytest.raises(TooLargeError, match="lists more than 100 files"):
        receive([("a.zip", data)], tmp_path)


def test_a_zip_with_a_password_is_refused(tmp_path: Path) -> None:
    data = bytearray(archive(**{"model.json": b"{}" * 100}).getvalue())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1  # says that it is encrypted
    with pytest.raises(BundleError, match="ZIP cannot be unpacked"):
        receive([("a.zip", io.BytesIO(bytes(data)))], tmp_path)


def test_a_bomb_is_stopped_while_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "MAX_BYTES", 5_000_000)
    with pytest.raises(TooLargeError, match="more than 5 MB"):
        receive([("a.zip", archive(**{"weights.bin": bytes(50_000_000)}))], tmp_path)
    assert sum(len(data) for data in received(tmp_path).values()) <= 5_000_000
    with pytest.raises(TooLargeError, match="more than 100 files"):
        receive([("a.zip", archive(**{f"{n}.json": b"" for n in range(101)}))], tmp_path / "other")


def test_no_room_to_keep_it_is_said(tmp_path: Path) -> None:
    class Full(io.BytesIO):
        def read(self, _size: int | None = -1, /) -> bytes:
            raise OSError(28, "No space left on device")

    with pytest.raises(StorageError, match="No space left on device"):
        receive([("a.json", Full())], tmp_path)
