"""The calls of storage: what each gives to whom, in the shapes that the clients read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from shelfsight.database.tables import audit, channels, downloads
from shelfsight.registry import layout
from shelfsight.storage import open_storage
from tests.delivery.shop import FILES, sha256
from tests.delivery.supabase.world import MODELS, PHONES, World, blob_of

if TYPE_CHECKING:
    from pathlib import Path

    from shelfsight.database.engine import Database
    from tests.delivery.shop import Reply

BLOB = f"blobs/{sha256(blob_of('secret'))}.bin"
PRIVATE = f"{MODELS}/secret/v1.0.0/model.json"
HOSTILE_NAME = "attachment; filename=\"___set-cookie__x\"; filename*=UTF-8''%D1%8F%0D%0Aset-cookie%3A%22x"
NOT_FOUND = {"statusCode": "404", "error": "not_found", "message": "Object not found"}


def error(reply: Reply) -> tuple[int, str, str]:
    """Return the three parts of an error that the clients read."""
    assert sorted(reply.json) == ["error", "message", "statusCode"]
    return reply.status, reply.json["statusCode"], reply.json["error"]


def names(world: World, bucket: str, prefix: str = "", key: str = "ck_T_1", **more: Any) -> list[str]:
    """Return the names that `list` gives; a folder's ends in a slash."""
    reply = world.post(f"list/{bucket}", {"prefix": prefix, **more}, key=key)
    assert reply.status == 200, reply.body
    return [one["name"] + ("" if one["id"] else "/") for one in reply.json]


def test_a_published_file_is_the_same_under_every_name_it_has(world: World) -> None:
    for path in (
        f"{MODELS}/T_1/v1.0.0/model.ort",
        f"{MODELS}/T_1/latest/model.ort",
        f"{PHONES}/models/T_1_v1.0.0.ort",
        f"authenticated/{MODELS}/T_1/v1.0.0/model.ort",
        f"public/{MODELS}/T_1/v1.0.0/model.ort",
        f"public/{PHONES}/models/T_1_v1.0.0.ort",
    ):
        reply = world.get(path, key="ck_T_1")
        assert (reply.status, reply.body) == (200, FILES["model.ort"]), path
        assert reply.headers["etag"] == f'"{sha256(FILES["model.ort"])}"'
        head = world.ask("HEAD", f"/storage/v1/object/{path}", key="ck_T_1")
        assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(len(reply.body)))
    assert world.get(f"{PHONES}/models/T_1_v1.0.0.json").json == {"version": "v1.0.0"}
    assert world.get(f"{MODELS}/blobs/{sha256(blob_of('T_1'))}.bin").body == blob_of("T_1")


def test_a_part_of_a_file_and_an_unchanged_one_are_answered_as_everywhere(world: World) -> None:
    path = f"{MODELS}/T_1/v1.0.0/weights.bin"
    part = world.get(path, range="bytes=1-3")
    assert (part.status, part.body) == (206, FILES["weights.bin"][1:4])
    assert part.headers["content-range"] == "bytes 1-3/5000"
    assert world.get(path, if_none_match=part.headers["etag"]).status == 304
    beyond = world.get(path, range="bytes=9999-")
    assert error(beyond) == (416, "416", "invalid_range")
    assert beyond.headers["content-range"] == "bytes */5000"
    assert error(world.get(path, accept_encoding="identity;q=0, *;q=0")) == (400, "406", "not_acceptable")


def test_bytes_that_are_gone_or_damaged_are_not_there(world: World) -> None:
    for path in ("gone", "damaged"):
        world.upload(path, path.encode())
    world.storage.delete([layout.object_file("T_1", sha256(b"gone"))])
    world.storage.put(layout.object_file("T_1", sha256(b"damaged")), b"DAMAGED")
    for path in ("gone", "damaged"):
        reply = world.get(f"{PHONES}/{path}", key="ck_T_1")
        assert (reply.status, reply.json) == (400, NOT_FOUND)


def test_what_is_not_there_is_told_as_supabase_tells_it(world: World) -> None:
    for path in (f"{MODELS}/T_1/v9.0.0/model.json", f"{MODELS}/T_1/v1.0.0/none", f"{MODELS}/x", f"{PHONES}/none"):
        reply = world.get(path, key="ck_T_1")
        assert (reply.status, reply.json) == (400, NOT_FOUND), path
    assert world.get(f"{MODELS}/T_1/v1.0.0/report.json").json == NOT_FOUND
    assert error(world.get("missing/a/1.bin")) == (400, "404", "Bucket not found")
    head = world.ask("HEAD", f"/storage/v1/object/{MODELS}/T_1/v1.0.0/none")
    assert (head.status, head.body) == (400, b"")


def test_a_private_channel_opens_to_its_keys_alone(world: World) -> None:
    reader = world.token("channel:secret:read")
    device = world.token("device", channel="secret")
    phone = f"{PHONES}/models/secret_v1.0.0.ort"
    for path in (PRIVATE, phone, f"{MODELS}/{BLOB}", f"{MODELS}/secret/v1.0.0/none"):
        for key in ("", "ck_T_1", world.service["T_1"], "nonsense"):
            reply = world.get(path, key=key)
            if path == phone:  # in another channel's bucket it is not there
                assert (reply.status, reply.json) == (400, NOT_FOUND)
            else:
                assert error(reply) == (400, "403", "Unauthorized"), (path, key)
        for key in ("ck_secret", world.service["secret"], reader, device, world.token("admin")):
            assert world.get(path, key=key).status == (400 if path.endswith("none") else 200), (path, key)
    assert world.get(PRIVATE, key="ck_secret").headers["cache-control"].startswith("private")


def test_a_public_address_is_for_public_channels_whatever_key_comes_along(world: World) -> None:
    for path in (PRIVATE, f"{PHONES}/models/secret_v1.0.0.ort", f"{MODELS}/{BLOB}"):
        for key in ("", "ck_secret"):
            reply = world.get(f"public/{path}", key=key)
            assert (reply.status, reply.json["statusCode"]) == (400, "404"), path


def test_a_key_that_is_none_of_ours_is_nobodys(world: World) -> None:
    supabase_key = "eyJhbGciOiJIUzI1NiJ9.eyJyb2xlIjoiYW5vbiJ9.c2lnbmF0dXJl"
    world.upload("mine", channel="default")
    for key in (supabase_key, "sb_publishable_abc", ""):
        assert world.get(f"{PHONES}/mine", key=key).body == b"xyz"
    revoked = "ss_aaaaaaaa_" + "A" * 43
    assert error(world.get(f"{PHONES}/mine", key=revoked)) == (400, "401", "InvalidJWT")


def test_info_and_the_list_say_the_same_of_an_object(world: World) -> None:
    done = world.upload(
        "a/1.bin", content_type="application/x-foo", cache_control="max-age=60", x_metadata="eyJhIjoxfQ=="
    )
    assert done.json["Key"] == f"{PHONES}/a/1.bin"
    info = world.get(f"info/{PHONES}/a/1.bin", key="ck_T_1").json
    assert info == {
        "id": done.json["Id"],
        "name": "a/1.bin",
        "version": sha256(b"xyz"),
        "bucket_id": PHONES,
        "size": 3,
        "content_type": "application/x-foo",
        "cache_control": "max-age=60",
        "etag": f'"{sha256(b"xyz")}"',
        "metadata": {"a": 1},
        "last_modified": info["last_modified"],
        "created_at": info["last_modified"],
    }
    (listed,) = world.post(f"list/{PHONES}", {"prefix": "a"}, key="ck_T_1").json
    assert (listed["name"], listed["id"]) == ("1.bin", info["id"])
    assert listed["metadata"] == {
        "eTag": info["etag"],
        "size": 3,
        "mimetype": "application/x-foo",
        "cacheControl": "max-age=60",
        "lastModified": info["last_modified"],
        "contentLength": 3,
        "httpStatusCode": 200,
    }
    assert world.get(f"info/public/{MODELS}/T_1/latest/model.json").json["size"] == len(FILES["model.json"])
    assert world.get(f"info/authenticated/{MODELS}/{BLOB}", key="ck_secret").json["size"] == len(blob_of("secret"))
    assert world.get(f"info/{PHONES}/none", key="ck_T_1").json == NOT_FOUND


def test_a_bucket_is_listed_as_folders(world: World) -> None:
    world.publish("T_1", "1.1.0")
    files = ["T_1_v1.1.0.json", "manifest.json", "model.json", "model.ort", "weights.bin"]
    assert names(world, MODELS) == ["T_1/"]
    assert names(world, MODELS, "T_1") == ["latest/", "v1.0.0/", "v1.1.0/"]
    assert names(world, MODELS, "T_1/v1.1.0/") == files
    assert names(world, MODELS, "T_1/latest") == files
    assert names(world, MODELS, "default") == []
    for path in ("b", "a/x", "models/own.bin", "models/T_2_v1.0.0.ort"):
        world.upload(path)
    assert names(world, PHONES) == ["a/", "b", "models/"]
    phones = ["T_1_v1.0.0.json", "T_1_v1.0.0.ort", "T_1_v1.1.0.json", "T_1_v1.1.0.ort", "T_2_v1.0.0.ort", "own.bin"]
    assert names(world, PHONES, "models") == phones
    assert names(world, PHONES, "models", limit=2, offset=3) == phones[3:5]
    assert names(world, PHONES, "models", sortBy={"column": "name", "order": "desc"}) == phones[::-1]
    assert names(world, PHONES, "models", search="own") == ["own.bin"]
    assert names(world, PHONES, sortBy={"column": "created_at", "order": "desc"}) == ["a/", "models/", "b"]
    assert names(world, PHONES, "../x") == []


def test_a_list_in_pages_is_the_whole_list(world: World) -> None:
    for path in ("a/1", "a/2/x", "a0", "b"):
        world.upload(path)

    def pages(**body: Any) -> list[str]:
        found: list[str] = []
        while True:
            reply = world.post(f"list-v2/{PHONES}", {"limit": 2, **body}, key="ck_T_1").json
            found += [one["name"] for one in (*reply["folders"], *reply["objects"])]
            if not reply["hasNext"]:
                assert "nextCursor" not in reply
                return found
            body["cursor"] = reply["nextCursor"]

    models = ["models/T_1_v1.0.0.json", "models/T_1_v1.0.0.ort"]
    assert pages() == ["a/1", "a/2/x", "a0", "b", *models]
    assert pages(prefix="a") == ["a/1", "a/2/x", "a0"]
    assert pages(prefix="a", with_delimiter=True) == ["a/", "a0"]
    assert sorted(pages(prefix="a/", with_delimiter=True)) == ["a/1", "a/2/"]
    assert pages(sortBy={"column": "name", "order": "desc"}) == [*models[::-1], "b", "a0", "a/2/x", "a/1"]
    folder = world.post(f"list-v2/{PHONES}", {"prefix": "a/", "with_delimiter": True}, key="ck_T_1").json["folders"]
    assert folder == [{"name": "a/2/", "key": "a/2"}]


def test_every_page_of_a_list_is_that_part_of_the_whole(world: World) -> None:
    world.upload("models/T_1_v2.0.0.ort")  # hidden by the version, once that is published
    world.publish("T_1", "2.0.0")
    world.later()
    for path in ("a/x", "m", "models/0", "models/T_1_v1.5.0.ort", "models/x/1", "models/y/1", "models/z", "z/1"):
        world.upload(path)
    for prefix in ("", "models"):
        for sort in (
            {"column": "name"},
            {"column": "name", "order": "desc"},
            {"column": "updated_at", "order": "desc"},
        ):
            whole = names(world, PHONES, prefix, sortBy=sort)
            assert len(whole) == len(set(whole))
            for limit in (1, 3):
                pages = range(0, len(whole) + limit, limit)
                found = [names(world, PHONES, prefix, sortBy=sort, limit=limit, offset=offset) for offset in pages]
                assert [name for page in found for name in page] == whole
    assert len(names(world, PHONES, "models")) == 9


def test_a_private_channel_is_listed_for_its_keys_alone(world: World) -> None:
    assert "v1.0.0/" in names(world, MODELS, "secret", key="ck_secret")
    with world.database.write() as tx:
        tx.execute(channels.update().where(channels.c.id == "default").values(visibility="private"))
    world.later()
    for call in ("list", "list-v2"):
        assert error(world.post(f"{call}/{PHONES}", {"prefix": ""})) == (400, "403", "Unauthorized")
    assert error(world.ask("GET", "/storage/v1/bucket")) == (400, "403", "Unauthorized")


def test_the_buckets_are_two_and_no_others_can_be_made(world: World) -> None:
    buckets = world.ask("GET", "/storage/v1/bucket", key="ck_secret").json
    assert [(one["id"], one["public"]) for one in buckets] == [(PHONES, False), (MODELS, False)]
    one = world.ask("GET", f"/storage/v1/bucket/{MODELS}").json
    assert (one["name"], one["public"], one["file_size_limit"]) == (MODELS, True, 50 * 2**20)
    assert error(world.ask("GET", "/storage/v1/bucket/none")) == (400, "404", "Bucket not found")
    key = world.service["T_1"]
    assert error(world.ask("POST", "/storage/v1/bucket", b'{"id":"ml-models"}', key=key)) == (400, "409", "Duplicate")
    assert error(world.ask("POST", "/storage/v1/bucket", b'{"id":"new"}', key=key)) == (400, "403", "Unauthorized")
    for method, path in (
        ("DELETE", f"bucket/{MODELS}"),
        ("POST", f"bucket/{PHONES}/empty"),
        ("PUT", f"bucket/{PHONES}"),
    ):
        assert error(world.ask(method, f"/storage/v1/{path}", b"{}", key=key)) == (400, "400", "InvalidRequest")


def test_a_signed_url_opens_one_object(world: World) -> None:
    world.upload("own.bin", channel="secret")
    for bucket, path in ((MODELS, "secret/v1.0.0/weights.bin"), (PHONES, "own.bin"), (MODELS, BLOB)):
        url = world.sign(path, key="ck_secret", bucket=bucket)
        assert url.startswith(f"sign/{bucket}/{path}?token=")
        reply = world.get(url)
        assert reply.status == 200, reply.body
        assert reply.headers["expires"].endswith(" GMT")
        assert reply.headers["cache-control"].startswith("private")
        assert reply.headers["accept-ranges"] == "bytes"
        assert world.get(url, range="bytes=0-0").status == 206
        other = url.replace("own.bin", "models/secret_v1.0.0.ort").replace("weights.bin", "model.ort")
        if other != url:
            assert error(world.get(other)) == (400, "403", "Unauthorized")


def test_a_signed_url_of_a_model_opens_all_that_the_model_loads(world: World) -> None:
    world.publish("secret", "1.1.0")
    url = world.sign("secret/latest/model.json", key="ck_secret")
    assert url.startswith(f"sign/{MODELS}/secret/v1.1.0/model.json?token=")
    query = url.partition("?")[2]
    folder = f"sign/{MODELS}/secret/v1.1.0"
    assert world.get(url).body == FILES["model.json"]
    assert world.get(f"{folder}/weights.bin?{query}").body == FILES["weights.bin"]
    assert world.get(f"sign/{MODELS}/{BLOB}?{query}").body == blob_of("secret")
    for path in (
        f"sign/{MODELS}/secret/v1.0.0/weights.bin",
        f"sign/{MODELS}/secret/latest/weights.bin",
        f"sign/{MODELS}/T_1/v1.0.0/weights.bin",
        f"sign/{MODELS}/blobs/{sha256(blob_of('T_1'))}.bin",
        f"sign/{PHONES}/models/secret_v1.1.0.ort",
    ):
        assert error(world.get(f"{path}?{query}")) == (400, "403", "Unauthorized"), path


def test_several_urls_are_signed_at_once(world: World) -> None:
    paths = ["secret/v1.0.0/model.json", "none", "../x", "T_1/v1.0.0/model.json", "secret/v1.0.0/model.json"]
    reply = world.post(f"sign/{MODELS}", {"expiresIn": "60", "paths": paths}, key="ck_secret")
    assert [one["path"] for one in reply.json] == paths
    assert [one["error"] is None for one in reply.json] == [True, False, False, True, True]
    assert reply.json[1] == {
        "error": "Either the object does not exist or you do not have access to it",
        "path": "none",
        "signedURL": None,
    }
    assert world.get(reply.json[0]["signedURL"].removeprefix("/object/")).status == 200
    strangers = world.post(f"sign/{MODELS}", {"expiresIn": 60, "paths": paths[:1]}, key="ck_T_1").json
    assert strangers[0]["signedURL"] is None


@pytest.mark.parametrize("expires_in", [60, "60", 604800, None, 1.5])
def test_a_url_lasts_as_long_as_it_is_asked_to(world: World, expires_in: object) -> None:
    assert world.get(world.sign("T_1/v1.0.0/model.json", expires_in=expires_in)).status == 200


@pytest.mark.parametrize("expires_in", [0, -1, "0", "x", 604801, 10**30, True, [60], 1e400])
def test_a_url_lasts_between_a_second_and_a_week(world: World, expires_in: object) -> None:
    reply = world.post(f"sign/{MODELS}/T_1/v1.0.0/model.json", {"expiresIn": expires_in})
    assert error(reply) == (400, "400", "InvalidRequest")


def test_who_may_not_read_may_not_sign(world: World) -> None:
    for key in ("", "ck_T_1", world.service["T_1"]):
        reply = world.post(f"sign/{PRIVATE}", {"expiresIn": 60}, key=key)
        assert error(reply) == (400, "403", "Unauthorized")
    assert error(world.post(f"sign/{PHONES}/none", {"expiresIn": 60}, key="ck_T_1")) == (400, "404", "not_found")
    transformed = {"expiresIn": 60, "transform": {"width": 10}}
    assert error(world.post(f"sign/{MODELS}/T_1/v1.0.0/model.json", transformed)) == (400, "400", "InvalidRequest")


@pytest.mark.parametrize(
    ("query", "disposition"),
    [
        ("", None),
        ("download", "attachment"),
        ("download=", "attachment"),
        ("download=a.bin", 'attachment; filename="a.bin"'),
        ("download=%D1%8F%0d%0aset-cookie:%22x", HOSTILE_NAME),
    ],
)
def test_a_download_is_given_a_name_safely(world: World, query: str, disposition: str | None) -> None:
    url = world.sign("T_1/v1.0.0/weights.bin")
    assert world.get(f"{url}&{query}").headers.get("content-disposition") == disposition
    assert world.get(f"{MODELS}/T_1/v1.0.0/weights.bin?{query}").headers.get("content-disposition") == disposition


def test_objects_are_written_with_the_service_key_alone(world: World) -> None:
    body = {"prefixes": ["x"]}
    move = {"bucketId": PHONES, "sourceKey": "x", "destinationKey": "y"}
    for key in ("", "ck_T_1", world.token("channel:T_1:read"), world.token("device", channel="T_1")):
        for reply in (
            world.ask("POST", f"/storage/v1/object/{PHONES}/x", b"1", key=key),
            world.ask("PUT", f"/storage/v1/object/{PHONES}/x", b"1", key=key),
            world.post(f"upload/sign/{PHONES}/x", key=key),
            world.ask("DELETE", f"/storage/v1/object/{PHONES}", str(body).replace("'", '"').encode(), key=key),
            world.post("move", move, key=key),
            world.post("copy", move, key=key),
        ):
            assert error(reply) == (400, "403", "Unauthorized")
    assert {noted[4] for noted in world.refusals.noted} == {403}
    assert "channel:T_1" in {noted[0] for noted in world.refusals.noted}


def test_one_channels_objects_are_not_anothers(world: World) -> None:
    world.upload("x", b"of T_1", channel="T_1")
    world.upload("x", b"of default", channel="default")
    assert world.get(f"{PHONES}/x", key="ck_T_1").body == b"of T_1"
    assert world.get(f"{PHONES}/x").body == b"of default"
    assert world.get(f"{PHONES}/x", key=world.token("admin")).body == b"of default"
    assert world.get(f"{PHONES}/x", key="ck_secret").json == NOT_FOUND
    assert error(world.post(f"upload/sign/{PHONES}/x", key=world.service["T_1"])) == (400, "409", "Duplicate")


def test_an_object_is_replaced_only_on_request(world: World) -> None:
    first = world.upload("x", b"one").json
    assert error(world.upload("x", b"two")) == (400, "409", "Duplicate")
    assert world.upload("x", b"three", x_upsert="true").json == first
    assert world.get(f"{PHONES}/x", key="ck_T_1").body == b"three"
    updated = world.ask("PUT", f"/storage/v1/object/{PHONES}/x", b"four", key=world.service["T_1"])
    assert updated.json == first
    assert world.get(f"{PHONES}/x", key="ck_T_1").body == b"four"


def test_what_is_published_stays_as_it_is(world: World) -> None:
    key = world.service["T_1"]
    for path in ("models/T_1_v1.0.0.ort", "models/T_1_v1.0.0.json"):
        for method in ("POST", "PUT"):
            reply = world.ask(method, f"/storage/v1/object/{PHONES}/{path}", b"evil", key=key, x_upsert="true")
            assert error(reply) == (400, "409", "Duplicate")
        assert error(world.post(f"upload/sign/{PHONES}/{path}", key=key, x_upsert="true")) == (
            400,
            "409",
            "Duplicate",
        )
        removal = world.ask("DELETE", f"/storage/v1/object/{PHONES}", f'{{"prefixes":["{path}"]}}'.encode(), key=key)
        assert error(removal) == (400, "409", "Duplicate")
        for call, source, target in (("copy", "own", path), ("move", "own", path), ("move", path, "new")):
            world.upload("own", x_upsert="true")
            body = {"bucketId": PHONES, "sourceKey": source, "destinationKey": target}
            assert error(world.post(call, body, key=key)) == (400, "409", "Duplicate")
    assert world.get(f"{PHONES}/models/T_1_v1.0.0.ort").body == FILES["model.ort"]
    reply = world.ask("POST", f"/storage/v1/object/{MODELS}/T_1/v1.0.0/model.json", b"evil", key=key)
    assert error(reply) == (400, "403", "Unauthorized")
    reply = world.ask("DELETE", f"/storage/v1/object/{MODELS}", b'{"prefixes":["T_1/v1.0.0/model.json"]}', key=key)
    assert error(reply) == (400, "403", "Unauthorized")


def test_names_of_other_versions_are_free_until_they_are_published(world: World) -> None:
    world.upload("models/T_1_v2.0.0.ort", b"own")
    world.upload("models/secret_v1.0.0.ort", b"own, too")
    assert world.get(f"{PHONES}/models/T_1_v2.0.0.ort", key="ck_T_1").body == b"own"
    assert world.get(f"{PHONES}/models/secret_v1.0.0.ort", key="ck_T_1").body == b"own, too"
    assert world.get(f"{PHONES}/models/secret_v1.0.0.ort").json == NOT_FOUND
    world.publish("T_1", "2.0.0")
    world.later()
    assert world.get(f"{PHONES}/models/T_1_v2.0.0.ort", key="ck_T_1").body == FILES["model.ort"]


def test_objects_are_removed_copied_and_moved(world: World) -> None:
    key = world.service["T_1"]
    world.upload("a", b"data", content_type="a/b")

    def move(call: str, source: str, target: str, **more: str) -> Reply:
        return world.post(call, {"bucketId": PHONES, "sourceKey": source, "destinationKey": target, **more}, key=key)

    assert move("copy", "a", "b").json["Key"] == f"{PHONES}/b"
    assert move("move", "a", "c/d").json == {"message": "Successfully moved"}
    assert [world.get(f"{PHONES}/{path}", key=key).status for path in ("a", "b", "c/d")] == [400, 200, 200]
    assert world.get(f"{PHONES}/c/d", key=key).headers["content-type"] == "a/b"
    assert error(move("copy", "none", "x")) == (400, "404", "not_found")
    assert error(move("copy", "b", "c/d")) == (400, "409", "Duplicate")
    assert error(move("copy", "b", "x", destinationBucket=MODELS)) == (400, "403", "Unauthorized")
    assert error(move("move", "b", "../x")) == (400, "400", "InvalidRequest")
    removal = b'{"prefixes":["b","none","c","../x"]}'
    removed = world.ask("DELETE", f"/storage/v1/object/{PHONES}", removal, key=key).json
    assert [(one["name"], one["bucket_id"], one["metadata"]["size"]) for one in removed] == [("b", PHONES, 4)]
    assert world.get(f"{PHONES}/b", key=key).json == NOT_FOUND
    assert world.get(f"{PHONES}/c/d", key=key).body == b"data"


def test_a_signed_upload_is_for_one_object_and_replaces_only_what_it_says(world: World) -> None:
    key = world.service["T_1"]
    signed = world.post(f"upload/sign/{PHONES}/in/x.bin", key=key).json
    assert signed["url"] == f"/object/upload/sign/{PHONES}/in/x.bin?token={signed['token']}"
    path = f"/storage/v1{signed['url']}"
    done = world.ask("PUT", path, b"sent", content_type="a/b", x_upsert="true")
    assert (done.status, done.json["Key"]) == (200, f"{PHONES}/in/x.bin")
    assert world.get(f"{PHONES}/in/x.bin", key="ck_T_1").body == b"sent"
    assert error(world.ask("PUT", path, b"again")) == (400, "409", "Duplicate")
    again = world.post(f"upload/sign/{PHONES}/in/x.bin", key=key, x_upsert="true").json
    assert world.ask("PUT", f"/storage/v1{again['url']}", b"replaced").status == 200
    assert world.get(f"{PHONES}/in/x.bin", key="ck_T_1").body == b"replaced"


def test_what_is_written_and_signed_is_in_the_audit(world: World) -> None:
    key = world.service["T_1"]
    world.upload("x")
    world.post("copy", {"bucketId": PHONES, "sourceKey": "x", "destinationKey": "y"}, key=key)
    world.ask("DELETE", f"/storage/v1/object/{PHONES}", b'{"prefixes":["x"]}', key=key)
    world.sign("T_1/v1.0.0/model.json", key=key)
    world.sign("T_1/v1.0.0/model.json", key="ck_T_1")
    with world.database.read() as tx:
        found = tx.execute(select(audit).where(audit.c.actor.startswith("token:")).order_by(audit.c.id)).all()
    assert [(one.action, one.subject, one.channel_id, one.address) for one in found] == [
        ("object_uploaded", "x", "T_1", "192.0.2.7"),
        ("object_copied", "y", "T_1", "192.0.2.7"),
        ("object_removed", "x", "T_1", "192.0.2.7"),
        ("urls_signed", None, "T_1", "192.0.2.7"),
    ]


def test_downloads_are_counted_by_file_and_by_who_had_to_show_a_key(world: World) -> None:
    world.upload("x", channel="secret")
    world.get(f"{PHONES}/x", key="ck_secret")
    world.get(f"{MODELS}/T_1/latest/weights.bin", key="ck_T_1")
    world.get(f"{PHONES}/models/T_1_v1.0.0.ort")
    world.runner.run(world.app._downloads.flush())
    with world.database.read() as tx:
        found = tx.execute(select(downloads).order_by(downloads.c.file)).all()
    assert [(one.channel_id, one.file, one.version, one.actor, one.size_bytes) for one in found] == [
        ("secret", f"{PHONES}/x", "", "channel:secret", 3),
        ("T_1", "model.ort", "v1.0.0", "anonymous", len(FILES["model.ort"])),
        ("T_1", "weights.bin", "v1.0.0", "anonymous", 5000),
    ]


def test_every_page_may_ask_and_read_what_it_needs(world: World) -> None:
    asked = {"origin": "https://shop.example", "access_control_request_method": "POST"}
    for path in ("/storage/v1/object/x/y", "/rest/v1/model_metadata"):
        reply = world.ask("OPTIONS", path, **asked)
        assert (reply.status, reply.body) == (204, b"")
        assert reply.headers["access-control-allow-origin"] == "*"
        allowed = reply.headers["access-control-allow-headers"].split(", ")
        names = (
            "authorization, apikey, x-client-info, content-type, x-upsert, cache-control, x-metadata, range, prefer"
        )
        assert {*names.split(", "), "accept-profile", "content-profile", "if-none-match"} <= set(allowed)
        methods = reply.headers["access-control-allow-methods"].split(", ")
        assert {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"} <= set(methods)
    world.upload("x")
    for reply in (
        world.get(f"{MODELS}/T_1/latest/model.json"),
        world.get(f"{PHONES}/x", key="ck_T_1"),
        world.get(f"{PHONES}/none"),
        world.get(f"{MODELS}/T_1/latest/model.json", range="bytes=99999-"),
        world.post(f"list/{PHONES}", {"prefix": ""}),
        world.select("select=version"),
        world.select("select=none"),
    ):
        assert reply.headers["access-control-allow-origin"] == "*"
        exposed = reply.headers["access-control-expose-headers"].split(", ")
        assert {"ETag", "Content-Range", "Content-Disposition"} <= set(exposed)


def test_the_same_on_an_object_store_as_on_a_folder(each_world: World) -> None:
    each_world.publish("T_1")
    each_world.upload("x", b"data")
    assert each_world.get(f"{PHONES}/x", key="ck_T_1").body == b"data"
    assert names(each_world, PHONES) == ["models/", "x"]
    assert each_world.get(f"info/{MODELS}/blobs/{sha256(blob_of('T_1'))}.bin").json["size"] == len(blob_of("T_1"))
    assert each_world.get(each_world.sign("T_1/latest/model.json")).body == FILES["model.json"]


def test_the_same_on_postgresql_as_on_sqlite(postgresql: Database, assets: Path) -> None:
    world = World(postgresql, open_storage(assets))
    key = world.service["T_1"]
    world.publish("T_1")
    assert world.upload("a/x", b"data", x_metadata="eyJhIjoiXHUwMGU5In0=").status == 200
    assert world.get(f"info/{PHONES}/a/x", key="ck_T_1").json["metadata"] == {"a": "é"}
    assert error(world.upload("a/x")) == (400, "409", "Duplicate")
    assert names(world, PHONES) == ["a/", "models/"]
    assert error(world.post(f"list/{PHONES}", {"prefix": "\ud800"}, key=key)) == (400, "400", "InvalidRequest")
    for hostile in ("\x00", "é%_", "'"):
        for body in ({"prefix": hostile}, {"prefix": "", "search": hostile}):
            assert world.post(f"list/{PHONES}", body, key=key).json == []
        signed = world.post(f"sign/{PHONES}", {"paths": [hostile]}, key=key).json
        assert [one["signedURL"] for one in signed] == [None]
        removal = json.dumps({"prefixes": [hostile]}).encode()
        assert world.ask("DELETE", f"/storage/v1/object/{PHONES}", removal, key=key).json == []
    assert world.get(world.sign("a/x", bucket=PHONES, key="ck_T_1")).body == b"data"
    (row,) = world.select("select=version,created_at&status=eq.active&order=created_at.desc", key="ck_T_1").json
    assert row["version"] == "v1.0.0"
    assert row["created_at"].endswith("+00:00")
    assert world.select("status=eq.%00", key=key).json["code"] == "22P05"
    world.close()


def test_whoever_may_sign_a_private_channels_phone_file_gets_a_url_that_opens_it(world: World) -> None:
    for token in (world.token("admin"), world.token("channel:secret:read", "channel:T_1:read")):
        url = world.sign("models/secret_v1.0.0.ort", key=token, bucket=PHONES)
        assert world.get(url).body == FILES["model.ort"]
