"""Which paths and values of the clients are taken, and what they stand for."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shelfsight.delivery.supabase import rules
from shelfsight.delivery.supabase.listing import Place, cursor_of, folder_of, offset_of
from shelfsight.delivery.supabase.rules import Call, PhoneName, StorageCall
from shelfsight.errors import NotFoundError, UsageError


def call(method: str, path: str) -> StorageCall:
    return rules.parse_call(method, f"/storage/v1/{path}".encode())


@pytest.mark.parametrize(
    ("method", "path", "wanted"),
    [
        ("GET", "bucket", StorageCall(call=Call.LIST_BUCKETS)),
        ("POST", "bucket", StorageCall(call=Call.MAKE_BUCKET)),
        ("GET", "bucket/b", StorageCall(call=Call.BUCKET, bucket="b")),
        ("GET", "object/b/a/1.bin", StorageCall(call=Call.DOWNLOAD, bucket="b", path="a/1.bin")),
        ("HEAD", "object/b/a/1.bin", StorageCall(call=Call.DOWNLOAD, bucket="b", path="a/1.bin")),
        ("GET", "object/authenticated/b/x", StorageCall(call=Call.DOWNLOAD, bucket="b", path="x")),
        ("GET", "object/public/b/x%20y", StorageCall(call=Call.PUBLIC, bucket="b", path="x y")),
        ("GET", "object/sign/b/x", StorageCall(call=Call.SIGNED, bucket="b", path="x")),
        ("POST", "object/sign/b/x", StorageCall(call=Call.SIGN, bucket="b", path="x")),
        ("POST", "object/sign/b", StorageCall(call=Call.SIGN_MANY, bucket="b")),
        ("GET", "object/info/b/x", StorageCall(call=Call.INFO, bucket="b", path="x")),
        ("GET", "object/info/public/b/x", StorageCall(call=Call.INFO, bucket="b", path="x")),
        ("GET", "object/info/authenticated/b/x", StorageCall(call=Call.INFO, bucket="b", path="x")),
        ("POST", "object/upload/sign/b/x", StorageCall(call=Call.SIGN_UPLOAD, bucket="b", path="x")),
        ("PUT", "object/upload/sign/b/x", StorageCall(call=Call.UPLOAD_SIGNED, bucket="b", path="x")),
        ("POST", "object/b/x", StorageCall(call=Call.UPLOAD, bucket="b", path="x")),
        ("PUT", "object/b/x", StorageCall(call=Call.UPLOAD, bucket="b", path="x")),
        ("POST", "object/list/b", StorageCall(call=Call.LIST, bucket="b")),
        ("POST", "object/list-v2/b", StorageCall(call=Call.LIST_V2, bucket="b")),
        ("DELETE", "object/b", StorageCall(call=Call.REMOVE, bucket="b")),
        ("POST", "object/copy", StorageCall(call=Call.COPY)),
        ("POST", "object/move", StorageCall(call=Call.MOVE)),
        ("DELETE", "bucket/b", StorageCall(call=Call.UNSUPPORTED)),
        ("GET", "render/image/public/b/x", StorageCall(call=Call.UNSUPPORTED)),
        ("POST", "upload/resumable", StorageCall(call=Call.UNSUPPORTED)),
    ],
)
def test_every_call_of_the_clients_is_known(method: str, path: str, wanted: StorageCall) -> None:
    assert call(method, path) == wanted


@pytest.mark.parametrize(
    "path",
    [
        "../x", "a/../x", "a/./x", "%2e%2e/x", "%2E%2e/x", "a%2f..%2fx", "%252e%252e/x", "..%5cx", "a\\x", "a%00",
        "a//b", "a/", "/a", "%", "%zz", "%ff", "a%0d%0ab", "ключ", "a%3fb", "a%23", "x" * 1025, "a%7fb", "..",
    ],
)  # fmt: skip
def test_no_path_leaves_its_bucket_or_is_ambiguous(path: str) -> None:
    with pytest.raises(UsageError):
        rules.parse_call("GET", f"/storage/v1/object/assessment-models/{path}".encode())


@given(st.binary(max_size=60))
@example(b"..%2f..%2f")
@example(b"models/T_1_v1.0.0.ort")
def test_what_is_taken_as_a_key_is_plain_text_of_plain_segments(raw: bytes) -> None:
    try:
        found = rules.parse_call("GET", b"/storage/v1/object/assessment-models/" + raw)
    except UsageError:
        return
    if found.call is Call.DOWNLOAD and found.bucket == "assessment-models":
        assert found.path.isascii()
        assert found.path.isprintable()
        assert "\\" not in found.path
        assert "%" not in found.path
        assert all(segment not in {"", ".", ".."} for segment in found.path.split("/"))


def test_there_are_two_buckets() -> None:
    assert [rules.check_bucket(bucket) for bucket in rules.BUCKETS] == ["assessment-models", "ml-models"]
    for bucket in ("", "models", "../ml-models", "ml-models\x00"):
        with pytest.raises(NotFoundError, match="Bucket not found"):
            rules.check_bucket(bucket)


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("models/T_1_v1.4.2.ort", PhoneName(channel="T_1", version="1.4.2", file="model.ort")),
        ("models/T_1_v1.4.2.json", PhoneName(channel="T_1", version="1.4.2", file="T_1_v1.4.2.json")),
        ("models/a_v1.0.0_v2.0.0.ort", PhoneName(channel="a_v1.0.0", version="2.0.0", file="model.ort")),
        ("models/T_1_v1.4.2-rc.1.ort", PhoneName(channel="T_1", version="1.4.2-rc.1", file="model.ort")),
        ("models/T_1_v1.4.ort", None),
        ("models/T_1_v1.4.2.bin", None),
        ("T_1_v1.4.2.ort", None),
        ("models/x/T_1_v1.4.2.ort", None),
        ("models/_v1.4.2.ort", None),
    ],
)
def test_the_second_names_of_phone_files_say_channel_and_version(path: str, wanted: PhoneName | None) -> None:
    assert rules.phone_name(path) == wanted


def test_second_names_are_those_that_the_table_and_the_bundle_have() -> None:
    names = rules.phone_names("T_1", "1.4.2")
    assert names == {"models/T_1_v1.4.2.ort": "model.ort", "models/T_1_v1.4.2.json": "T_1_v1.4.2.json"}
    assert [rules.phone_name(path) for path in names] == [
        PhoneName(channel="T_1", version="1.4.2", file=file) for file in names.values()
    ]


@pytest.mark.parametrize(
    ("given_type", "kept"),
    [
        (None, "application/octet-stream"),
        ("", "application/octet-stream"),
        ("text/plain;charset=UTF-8", "text/plain;charset=UTF-8"),
        (" image/png ", "image/png"),
        ('application/json; profile="a b"', 'application/json; profile="a b"'),
    ],
)
def test_a_sound_media_type_is_kept(given_type: str | None, kept: str) -> None:
    assert rules.check_media_type(given_type) == kept


@pytest.mark.parametrize(
    "text",
    ["text", "text/", "text/html\r\nset-cookie: a=b", "a/b; c", "text/plain; a=b\x00", "a b/c", "x/" + "y" * 300],
)
def test_what_is_no_media_type_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not supported"):
        rules.check_media_type(text)


@pytest.mark.parametrize(
    "kept",
    ["text/html", "TEXT/HTML; charset=utf-8", "application/xhtml+xml", "text/javascript", "application/x-javascript",
     "text/ecmascript", "text/xml", "application/xml", "application/rss+xml", "text/css", "text/vbscript"],
)  # fmt: skip
def test_what_a_browser_would_run_is_sent_as_text(kept: str) -> None:
    assert rules.sent_media_type(kept) == "text/plain; charset=utf-8"


@pytest.mark.parametrize("kept", ["image/svg+xml", "image/png", "application/octet-stream", "application/x-foo"])
def test_other_types_are_sent_as_they_came(kept: str) -> None:
    assert rules.sent_media_type(kept) == kept


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("3600", "max-age=3600"),
        ("max-age=3600", "max-age=3600"),
        ("Public, Max-Age=60", "public, max-age=60"),
        ("no-store", "no-store"),
        (None, "no-cache"),
        ("", "no-cache"),
        ("max-age=1\r\nset-cookie: a=b", "no-cache"),
        ("a;b", "no-cache"),
        ("x" * 300, "no-cache"),
    ],
)
def test_only_plain_directives_of_caches_are_kept(text: str | None, kept: str) -> None:
    assert rules.kept_cache_control(text) == kept


@given(st.text(max_size=300))
def test_whatever_a_client_says_of_caches_fits_in_one_line_of_ascii(text: str) -> None:
    kept = rules.kept_cache_control(text)
    for private in (False, True):
        sent = rules.sent_cache_control(kept, private=private)
        assert sent.isascii()
        assert sent.isprintable()


def test_what_is_private_is_kept_by_no_shared_cache() -> None:
    assert rules.sent_cache_control("public, max-age=60", private=True) == "private, max-age=60"
    assert rules.sent_cache_control("max-age=60", private=True) == "private, max-age=60"
    assert rules.sent_cache_control("public, max-age=60", private=False) == "public, max-age=60"


def test_a_lifetime_is_a_number_or_a_text_that_holds_one() -> None:
    assert [rules.seconds_of(value, 7) for value in (None, 60, "3600", 1.5)] == [7, 60, 3600, 1.5]
    for text in ("", "1h", "-1", "1e9", "٣", "9" * 11):
        with pytest.raises(UsageError):
            rules.seconds_of(text, 7)


def test_the_files_that_load_others_are_those_of_tensorflow_js() -> None:
    assert rules.loads_others("model.json")
    assert rules.loads_others("model.shards.json")
    assert not rules.loads_others("metadata.json")


def test_a_prefix_is_a_folder_or_the_whole_bucket() -> None:
    assert [folder_of(prefix) for prefix in ("", "/", "a", "a/", "/a/b/")] == ["", "", "a/", "a/", "a/b/"]


@given(st.text(alphabet="ab/", max_size=6), st.text(alphabet="ab/", min_size=1, max_size=3))
def test_the_range_of_a_prefix_holds_what_begins_with_it_and_nothing_else(path: str, prefix: str) -> None:
    place = Place(channel="c", bucket="b", prefix=prefix)
    assert (place.prefix <= path < place.end) == path.startswith(prefix)


def test_a_cursor_says_how_many_entries_came_before() -> None:
    assert offset_of(cursor_of(1234), 10_000) == 1234
    assert offset_of(None, 10) == 0
    for wrong in ("x", "MTIzNA==!", cursor_of(11), "LTE=", "4pyT", "=" * 100):
        with pytest.raises(UsageError, match="cursor"):
            offset_of(wrong, 10)
