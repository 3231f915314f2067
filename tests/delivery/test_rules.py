"""What a request asks for, decided without a server."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shelfsight.access.rules import Caller
from shelfsight.bundle.documents import VERSION_PATTERN
from shelfsight.catalog.rules import CHANNEL_PATTERN
from shelfsight.delivery import rules
from shelfsight.delivery.rules import BlobFile, ByteRange, Encoding, NoFile, NoRange, Policy, VersionFile

ZSTD, GZIP, IDENTITY = Encoding.ZSTD, Encoding.GZIP, Encoding.IDENTITY
HASH = "ab" * 32
LATEST = VersionFile(channel="T_1", version=None, name="model.json")


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("T_1/latest/model.json", LATEST),
        ("T_1/v1.2.3/model.json", VersionFile(channel="T_1", version="1.2.3", name="model.json")),
        (
            "T_1/v1.2.3-rc.1/T_1_v1.2.3-rc.1.json",
            VersionFile(channel="T_1", version="1.2.3-rc.1", name="T_1_v1.2.3-rc.1.json"),
        ),
        ("T_1/latest/model%2Ejson", LATEST),
        ("%54_1/latest/model.json", LATEST),
        (f"blobs/{HASH}.bin", BlobFile(sha256=HASH)),
        (f"blobs/{HASH.upper()}.bin", NoFile.UNKNOWN),
        (f"blobs/{HASH}", NoFile.UNKNOWN),
        ("blobs/abc.bin", NoFile.UNKNOWN),
        ("T_1/temp/v1.2.3/model.json", NoFile.UNKNOWN),
        ("T_1/temp/model.json", NoFile.UNKNOWN),
        ("T_1/1.2.3/model.json", NoFile.UNKNOWN),
        ("T_1/v1.2/model.json", NoFile.UNKNOWN),
        ("T_1/v01.2.3/model.json", NoFile.UNKNOWN),
        ("T_1/v1.2.3", NoFile.UNKNOWN),
        ("T_1/latest/", NoFile.UNKNOWN),
        ("T_1/latest/.shelfsight-partial", NoFile.UNKNOWN),
        ("T_1/latest/a/b", NoFile.UNKNOWN),
        ("", NoFile.UNKNOWN),
        ("T_1/latest/../v1.0.0/report.json", NoFile.HOSTILE),
        ("T_1/latest/%2e%2e/x", NoFile.HOSTILE),
        ("../../etc/passwd", NoFile.HOSTILE),
        ("T_1/latest/..", NoFile.HOSTILE),
        ("T_1/./latest/model.json", NoFile.HOSTILE),
        ("T_1//latest/model.json", NoFile.HOSTILE),
        ("T_1/latest%2Fmodel.json", NoFile.HOSTILE),
        ("T_1/latest/%252e%252e", NoFile.HOSTILE),
        ("T_1/latest/a%5Cb", NoFile.HOSTILE),
        ("T_1/latest/a\\b", NoFile.HOSTILE),
        ("T_1/latest/model.json%00", NoFile.HOSTILE),
        ("T_1/latest/model.json%0A", NoFile.HOSTILE),
        ("T_1/latest/m%C3%B6del.json", NoFile.HOSTILE),
        ("T_1/latest/%", NoFile.MALFORMED),
        ("T_1/latest/%4", NoFile.MALFORMED),
        ("T_1/latest/%zz", NoFile.MALFORMED),
        ("T_1/latest/" + "a" * 2000, NoFile.TOO_LONG),
        ("T_1/latest/" + "a" * 201, NoFile.UNKNOWN),
    ],
)
def test_path_names_a_file_or_says_why_not(path: str, target: rules.Target) -> None:
    assert rules.parse_path(f"/assets/ml-models/{path}".encode("latin-1")) == target


@given(st.binary(max_size=80))
def test_any_path_has_a_target_that_stays_in_its_folder(path: bytes) -> None:
    target = rules.parse_path(b"/assets/ml-models/" + path)
    if isinstance(target, VersionFile):
        assert all(part not in {"", ".", ".."} for part in (target.channel, target.name))
        assert not set("/\\%\0") & set(target.channel + target.name)


@given(st.from_regex(CHANNEL_PATTERN, fullmatch=True), st.from_regex(VERSION_PATTERN, fullmatch=True))
def test_every_channel_and_version_there_can_be_has_a_path(channel: str, version: str) -> None:
    # `$` in the patterns lets a newline follow
    channel, version = channel.rstrip("\n"), version.rstrip("\n")
    target = rules.parse_path(f"/assets/ml-models/{channel}/v{version}/model.json".encode())
    wanted = VersionFile(channel=channel, version=version, name="model.json")
    assert target in {wanted, NoFile.TOO_LONG}


@pytest.mark.parametrize(
    ("pointer", "version"),
    [("v1.2.3", "1.2.3"), ("v1.2.3-rc.1", "1.2.3-rc.1"), ("1.2.3", None), ("temp", None), ("", None), (None, None)],
)
def test_pointer_names_a_version_or_nothing(pointer: str | None, version: str | None) -> None:
    assert rules.pointed_version(pointer) == version


@pytest.mark.parametrize(
    ("accept", "encodings"),
    [
        (None, (IDENTITY,)),
        (b"", (IDENTITY,)),
        (b"br", (IDENTITY,)),
        (b"gzip", (GZIP, IDENTITY)),
        (b"x-gzip", (GZIP, IDENTITY)),
        (b"gzip, deflate, br, zstd", (ZSTD, GZIP, IDENTITY)),
        (b"GZIP;q=1.0 , ZSTD ; q=0.9", (GZIP, ZSTD, IDENTITY)),
        (b"gzip;q=0", (IDENTITY,)),
        (b"gzip;q=0, *", (ZSTD, IDENTITY)),
        (b"*", (ZSTD, GZIP, IDENTITY)),
        (b"*;q=0", ()),
        (b"gzip, *;q=0", (GZIP,)),
        (b"gzip, identity;q=0", (GZIP,)),
        (b"identity;q=0", ()),
        (b"identity", (IDENTITY,)),
        (b"identity;q=1, gzip;q=0.5", (IDENTITY, GZIP)),
        (b"gzip;q=2", (IDENTITY,)),
        (b"gzip;q=nan", (IDENTITY,)),
        (b"gzip;level=9", (GZIP, IDENTITY)),
        (b"gzip, gzip;q=0", (GZIP, IDENTITY)),
        (b"gzip," * 5000, (IDENTITY,)),
    ],
)
def test_accept_encoding_is_taken_at_its_word(accept: bytes | None, encodings: tuple[Encoding, ...]) -> None:
    assert rules.acceptable_encodings(accept) == encodings


@given(st.binary(max_size=60))
def test_any_accept_encoding_gives_each_encoding_once_at_most(accept: bytes) -> None:
    found = rules.acceptable_encodings(accept)
    assert len(found) == len(set(found))


@pytest.mark.parametrize(
    ("header", "acceptable", "known"),
    [
        (f'"{HASH}"', (IDENTITY,), IDENTITY),
        (f'W/"{HASH}"', (IDENTITY,), IDENTITY),
        (f'"x", "{HASH}" , W/"y"', (IDENTITY,), IDENTITY),
        (f'"{HASH}-zstd"', (ZSTD, GZIP, IDENTITY), ZSTD),
        (f'"{HASH}-gzip", "{HASH}-zstd"', (ZSTD, GZIP, IDENTITY), ZSTD),
        (f'"{HASH}-zstd"', (GZIP, IDENTITY), None),
        (f'"{HASH}"', (ZSTD, GZIP, IDENTITY), IDENTITY),
        ("*", (ZSTD, GZIP, IDENTITY), IDENTITY),
        ("*", (GZIP,), GZIP),
        ("*", (), None),
        (HASH, (IDENTITY,), None),
        (f'"{HASH}', (IDENTITY,), None),
        (f'junk, "{HASH}"', (IDENTITY,), None),
        (f'"a,b", "{HASH}"', (IDENTITY,), IDENTITY),
        ("", (IDENTITY,), None),
    ],
)
def test_client_that_has_an_encoding_it_takes_is_recognised(
    header: str, acceptable: tuple[Encoding, ...], known: Encoding | None
) -> None:
    assert rules.known_encoding(header.encode(), HASH, acceptable) == known


TAG = st.text(st.characters(min_codepoint=0x23, max_codepoint=0x7E), max_size=8)


@given(st.lists(st.tuples(st.booleans(), TAG), min_size=1, max_size=8))
def test_every_tag_of_a_list_is_found(tags: list[tuple[bool, str]]) -> None:
    header = ", ".join(f'{"W/" if weak else ""}"{tag}"' for weak, tag in tags)
    assert rules.parse_etags(header.encode()) == {f'"{tag}"'.encode() for _, tag in tags}


@given(st.binary(max_size=200))
def test_any_if_none_match_can_be_read(header: bytes) -> None:
    assert b"" not in rules.parse_etags(header)


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (b"bytes=0-0", ByteRange(0, 1)),
        (b"bytes=0-9", ByteRange(0, 10)),
        (b"bytes=2-", ByteRange(2, 10)),
        (b"bytes=-3", ByteRange(7, 10)),
        (b"bytes=-30", ByteRange(0, 10)),
        (b"bytes=5-500", ByteRange(5, 10)),
        (b"Bytes = 1 - 2 ", ByteRange(1, 3)),
        (b"bytes=10-", NoRange.UNSATISFIABLE),
        (b"bytes=10-12", NoRange.UNSATISFIABLE),
        (b"bytes=-0", NoRange.UNSATISFIABLE),
        (b"bytes=3-1", NoRange.WHOLE),
        (b"bytes=0-1,3-4", NoRange.WHOLE),
        (b"bytes=-", NoRange.WHOLE),
        (b"bytes=", NoRange.WHOLE),
        (b"bytes=a-b", NoRange.WHOLE),
        (b"lines=0-1", NoRange.WHOLE),
        (b"bytes=0-" + b"9" * 200, NoRange.WHOLE),
        (None, NoRange.WHOLE),
    ],
)
def test_range_of_ten_bytes(header: bytes | None, found: ByteRange | NoRange) -> None:
    assert rules.parse_range(header, 10) == found


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 20))
def test_range_is_what_slicing_gives(first: int, last: int, size_bytes: int) -> None:
    data = bytes(range(size_bytes))
    found = rules.parse_range(f"bytes={first}-{last}".encode(), size_bytes)
    if last < first:
        assert found is NoRange.WHOLE
    elif first >= size_bytes:
        assert found is NoRange.UNSATISFIABLE
    else:
        assert isinstance(found, ByteRange)
        assert data[found.start : found.end] == data[first : last + 1]


@pytest.mark.parametrize(
    ("if_range", "applies"),
    [
        (None, True),
        (f'"{HASH}"'.encode(), True),
        (f'W/"{HASH}"'.encode(), False),
        (f'"{HASH}-gzip"'.encode(), False),
        (b"Sat, 21 Nov 2026 10:00:00 GMT", False),
    ],
)
def test_range_counts_for_the_uncompressed_file_only(if_range: bytes | None, applies: bool) -> None:
    assert rules.range_applies(if_range, HASH) == applies


@pytest.mark.parametrize(
    ("private", "immutable", "header"),
    [
        (False, True, b"public, max-age=31536000, immutable"),
        (True, True, b"private, max-age=31536000, immutable"),
        (False, False, b"no-cache"),
        (True, False, b"private, no-cache"),
    ],
)
def test_versions_are_kept_for_ever_and_latest_is_asked_for(private: bool, immutable: bool, header: bytes) -> None:
    assert rules.cache_control(Policy(private=private, immutable=immutable)) == header


@pytest.mark.parametrize(
    ("media_type", "served"),
    [
        ("application/json", "application/json"),
        ("application/octet-stream", "application/octet-stream"),
        ("text/html", "application/octet-stream"),
        ("image/svg+xml", "application/octet-stream"),
        ("text/plain\r\nset-cookie: a=b", "application/octet-stream"),
    ],
)
def test_no_media_type_makes_a_browser_run_a_file(media_type: str, served: str) -> None:
    assert rules.served_type(media_type) == served


@pytest.mark.parametrize(
    ("authorization", "apikey", "query", "tokens"),
    [
        (b"Bearer one", None, b"", ("one",)),
        (b"bearer one", b"two", b"token=three", ("one", "two", "three")),
        (b"Bearer one", b"one", b"a=b&token=one&token=two", ("one",)),
        (b"Basic one", None, b"", ()),
        (b"Bearer ", b"", b"token=", ()),
        (None, None, b"token=a%2Bb", ("a+b",)),
        (None, b"x" * 4096, b"", ("x" * 4096,)),
        (None, b"x" * 4097, b"token=" + b"y" * 4097, ()),
        (None, None, b"a=" + b"b" * 6200 + b"&token=c", ()),
    ],
)
def test_tokens_come_in_three_ways(
    authorization: bytes | None, apikey: bytes | None, query: bytes, tokens: tuple[str, ...]
) -> None:
    assert rules.bearer_tokens(authorization, apikey, query) == tokens


@pytest.mark.parametrize(
    ("files", "checksum", "fits"),
    [
        ({"model.ort": "a", "model.json": "b"}, "", True),
        ({"model.ort": "a", "model.json": "b"}, "a", True),
        ({"model.ort": "a", "model.json": "b"}, "b", False),
        ({"model.json": "b", "weights.bin": "c"}, "b", True),
        ({"model.json": "b", "weights.bin": "c"}, "c", True),
        ({"model.json": "b", "weights.bin": "c"}, "a", False),
        ({}, "a", False),
    ],
)
def test_checksum_is_that_of_the_phone_model_or_without_one_of_any_file(
    files: dict[str, str], checksum: str, fits: bool
) -> None:
    assert rules.checksum_fits(files, checksum) == fits


@pytest.mark.parametrize(
    ("media_type", "compressed_bytes", "pays"),
    [("application/json", 999, True), ("application/json", 1000, False), ("a/b", 899, True), ("a/b", 900, False)],
)
def test_compression_pays_below_nine_tenths(media_type: str, compressed_bytes: int, pays: bool) -> None:
    assert rules.pays(media_type, 1000, compressed_bytes) == pays


@pytest.mark.parametrize(
    ("query", "value"),
    [
        (b"", None),
        (b"download", b""),
        (b"download=", b""),
        (b"download=a+b%20c", b"a b c"),
        (b"x=1&download=2&download=3", b"2"),
        (b"downloads=1&Download=2", None),
        (b"download=" + b"x" * 7000, None),
    ],
)
def test_parameter_is_the_first_of_its_name(query: bytes, value: bytes | None) -> None:
    assert rules.query_value(query, b"download") == value


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("", b"attachment"),
        ("model (2).ort", b'attachment; filename="model (2).ort"'),
        ("\u725b\u4e73.ort", b"attachment; filename=\"__.ort\"; filename*=UTF-8''%E7%89%9B%E4%B9%B3.ort"),
        ('a"b\\c', b"attachment; filename=\"a_b_c\"; filename*=UTF-8''a%22b%5Cc"),
        ("../../etc/passwd", b"attachment; filename=\".._.._etc_passwd\"; filename*=UTF-8''..%2F..%2Fetc%2Fpasswd"),
        (
            "a\r\nset-cookie: b=c",
            b"attachment; filename=\"a__set-cookie_ b_c\"; filename*=UTF-8''a%0D%0Aset-cookie%3A%20b%3Dc",
        ),
        ("\ud800x", b"attachment; filename=\"_x\"; filename*=UTF-8''%3Fx"),
    ],
)
def test_name_to_save_a_file_under_stays_in_its_header(name: str, header: bytes) -> None:
    assert rules.attachment(name) == header


@given(st.text())
def test_no_name_breaks_out_of_its_header(name: str) -> None:
    header = rules.attachment(name)
    assert header.isascii()
    assert header.decode().isprintable()
    assert len(header) < 3000
    assert header.count(b'"') == (2 if name else 0)
    assert header.count(b";") in {0, 1, 2}


@pytest.mark.parametrize(
    ("scopes", "channel", "named"),
    [
        ({"device"}, "T_1", "T_1"),
        ({"channel:T_1:read"}, None, "T_1"),
        ({"channel:T_1:write"}, None, "T_1"),
        ({"channel:T_1:read", "channel:T_1:write"}, None, "T_1"),
        ({"channel:T_1:write", "channel:T_2:read"}, None, None),
        ({"admin"}, None, None),
        ({"admin", "channel:T_1:read"}, None, None),
        (set(), None, None),
    ],
)
def test_a_token_names_the_only_channel_that_it_is_about(
    scopes: set[str], channel: str | None, named: str | None
) -> None:
    caller = Caller(actor="token:a", scopes=frozenset(scopes), channel=channel)
    assert rules.channel_named_by(caller) == named
