"""What strangers try with paths, tokens, headers and pages, and what they get."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import jwt
import pytest
from sqlalchemy import func, select, update

from shelfsight.access.keys import UrlSecret, url_secrets
from shelfsight.access.url_tokens import Grant, Use, issue
from shelfsight.database.tables import channels, objects
from tests.delivery.shop import MADE_AT
from tests.delivery.supabase.world import MODELS, PHONES, World

if TYPE_CHECKING:
    from tests.delivery.shop import Reply

LATER = timedelta(hours=1)
CLIMBS = (
    "../secret/v1.0.0/model.json",
    "%2e%2e/secret/v1.0.0/model.json",
    "%252e%252e/secret/v1.0.0/model.json",
    "..%2fsecret/v1.0.0/model.json",
    "..%5csecret%5cv1.0.0%5cmodel.json",
    "T_1/../secret/v1.0.0/model.json",
    "T_1/./v1.0.0/model.json",
    "T_1//v1.0.0/model.json",
    "T_1/v1.0.0/../../secret/v1.0.0/model.json",
    "T_1/v1.0.0/model.json%00.png",
    "T_1/v1.0.0/model.json%0d%0aset-cookie:a=b",
    "....//....//etc/passwd",
    "/etc/passwd",
    "T_1/temp/x",
    "T_1/v1.0.0/report.json",
    "../objects/secret/" + "a" * 64,
)


def status(reply: Reply) -> str:
    """Return the status in an error, or of what is none."""
    if reply.status < 400:
        return str(reply.status)
    found: str = reply.json["statusCode"]
    return found


def token(world: World, grant: Grant, lasts: timedelta = LATER, secret: UrlSecret | None = None) -> str:
    """Return a token for a grant."""
    return issue(secret or url_secrets(world.database)[0], grant, expires_at=datetime.now(UTC) + lasts)


@pytest.mark.parametrize("path", CLIMBS)
def test_no_path_leads_out_of_its_bucket(world: World, path: str) -> None:
    key = world.service["T_1"]
    for bucket in (MODELS, PHONES):
        for place in (f"{bucket}/{path}", f"public/{bucket}/{path}", f"info/{bucket}/{path}"):
            assert status(world.get(place, key=key)) in {"400", "403", "404"}, place
        for method in ("POST", "PUT"):
            reply = world.ask(method, f"/storage/v1/object/{bucket}/{path}", b"evil", key=key)
            assert status(reply) in {"400", "403"} or path.startswith("T_1/"), (method, path)
    assert status(world.post(f"sign/{MODELS}/{path}", {"expiresIn": 60}, key=key)) in {"400", "403", "404"}
    stored = {file.path for file in world.storage.list("objects")}
    assert all(one.startswith("objects/T_1/") and one.count("/") == 2 for one in stored)
    with world.database.read() as tx:
        paths = set(tx.scalars(select(objects.c.path)))
    assert not any(".." in one or "\\" in one or "\x00" in one for one in paths)


@pytest.mark.parametrize(
    "bucket", ["..", "%2e%2e", ".%2e", "ml-models%2f..", "objects", "images", "none", "%00", "ml-models%20"]
)
def test_no_bucket_leads_anywhere_else(world: World, bucket: str) -> None:
    key = world.service["T_1"]
    for reply in (
        world.get(f"{bucket}/secret/v1.0.0/model.json", key=key),
        world.get(f"public/{bucket}/x", key=key),
        world.ask("POST", f"/storage/v1/object/{bucket}/x", b"evil", key=key),
        world.post(f"sign/{bucket}/x", {"expiresIn": 60}, key=key),
        world.post(f"sign/{bucket}", {"expiresIn": 60, "paths": ["x"]}, key=key),
        world.post(f"list/{bucket}", {"prefix": ""}, key=key),
        world.post(f"list-v2/{bucket}", {}, key=key),
        world.post(f"upload/sign/{bucket}/x", key=key),
        world.ask("DELETE", f"/storage/v1/object/{bucket}", b'{"prefixes":["x"]}', key=key),
        world.ask("GET", f"/storage/v1/bucket/{bucket}", key=key),
        world.post("copy", {"bucketId": bucket, "sourceKey": "x", "destinationKey": "y"}, key=key),
    ):
        assert status(reply) in {"400", "404"}, reply.body
    assert not list(world.storage.list("objects"))


@pytest.mark.parametrize(
    "key", ["../../secret/x", "a/../../x", "a\\b", "a\x00b", "a\r\nb", "a//b", "/a", "", "ключ", "x" * 1025]
)
def test_no_name_in_a_document_is_worse_than_one_in_a_path(world: World, key: str) -> None:
    service = world.service["T_1"]
    world.upload("own")
    for call in ("copy", "move"):
        for source, target in ((key, "new"), ("own", key)):
            body = {"bucketId": PHONES, "sourceKey": source, "destinationKey": target}
            assert status(world.post(call, body, key=service)) == "400"
    signed = world.post(f"sign/{PHONES}", {"expiresIn": 60, "paths": [key]}, key=service).json
    assert [one["signedURL"] for one in signed] == [None]
    removed = world.ask(
        "DELETE", f"/storage/v1/object/{PHONES}", json.dumps({"prefixes": [key]}).encode(), key=service
    )
    assert removed.json == []
    for call in ("list", "list-v2"):
        assert world.post(f"{call}/{PHONES}", {"prefix": key, "search": key}, key=service).status == 200


def test_a_signed_url_of_one_channel_opens_nothing_of_another(world: World) -> None:
    world.upload("x", channel="T_1")
    world.upload("x", b"secret", channel="secret")
    query = world.sign("x", bucket=PHONES, key="ck_T_1").partition("?")[2]
    assert world.get(f"sign/{PHONES}/x?{query}", key="ck_secret").body == b"xyz"
    model = world.sign("T_1/v1.0.0/model.json", key="ck_T_1").partition("?")[2]
    for path in (f"{MODELS}/secret/v1.0.0/model.json", f"{PHONES}/models/secret_v1.0.0.ort", f"{PHONES}/x"):
        for tried in (query, model):
            if (path, tried) != (f"{PHONES}/x", query):
                assert status(world.get(f"sign/{path}?{tried}")) in {"403", "404"}, (path, tried)
    # As if somebody had talked the server into signing the path of another channel.
    for forged in (
        Grant(channel="T_1", made_at=MADE_AT, bucket=MODELS, path="secret/v1.0.0/model.json", use=Use.FILE),
        Grant(channel="T_1", made_at=MADE_AT, bucket=PHONES, path="models/secret_v1.0.0.ort", use=Use.FILE),
        Grant(channel="T_1", made_at=MADE_AT, bucket=MODELS, path="secret/v1.0.0", use=Use.VERSION),
    ):
        path = f"{forged.path}/model.json" if forged.use is Use.VERSION else forged.path
        assert status(world.get(f"sign/{forged.bucket}/{path}?token={token(world, forged)}")) == "403"


def test_a_signed_url_ends(world: World) -> None:
    for use, path in ((Use.FILE, "T_1/v1.0.0/weights.bin"), (Use.VERSION, "T_1/v1.0.0")):
        grant = Grant(channel="T_1", made_at=MADE_AT, bucket=MODELS, path=path, use=use)
        good, late = token(world, grant), token(world, grant, -timedelta(seconds=1))
        url = f"sign/{MODELS}/T_1/v1.0.0/weights.bin"
        assert world.get(f"{url}?token={good}").status == 200
        reply = world.get(f"{url}?token={late}", key="ck_T_1")
        assert (status(reply), reply.json["error"]) == ("401", "InvalidJWT")
        assert "has expired" in reply.json["message"]


def test_a_token_that_was_changed_or_made_elsewhere_opens_nothing(world: World) -> None:
    grant = Grant(channel="secret", made_at=MADE_AT, bucket=MODELS, path="secret/v1.0.0/model.json", use=Use.FILE)
    good = token(world, grant)
    head, body, seal = good.split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    stranger = UrlSecret(id=url_secrets(world.database)[0].id, secret=b"x" * 32)
    forged = base64.urlsafe_b64encode(json.dumps({**claims, "exp": 9999999999}).encode()).rstrip(b"=").decode()
    none = jwt.encode(claims, "", algorithm="none", headers={"kid": stranger.id, "typ": "shelfsight-url+jwt"})
    for tried in (
        token(world, grant, secret=stranger),
        f"{head}.{forged}.{seal}",
        f"{head}.{body}.",
        none,
        good[:-2],
        "",
        "x",
        "a.b.c",
        world.service["secret"],
        "ck_secret",
        "\x00",
        "é" * 3,
        "x" * 100_000,
    ):
        reply = world.get(f"sign/{grant.bucket}/{grant.path}?token={quote(tried)}", key="ck_T_1")
        assert status(reply) == "401", tried
    assert status(world.get(f"sign/{grant.bucket}/{grant.path}", key="ck_secret")) == "401"
    assert world.get(f"sign/{grant.bucket}/{grant.path}?token={good}").status == 200


def test_a_token_of_one_use_is_of_no_other(world: World) -> None:
    world.upload("x")
    read = world.sign("x", bucket=PHONES, key="ck_T_1").partition("token=")[2]
    write = world.post(f"upload/sign/{PHONES}/new", key=world.service["T_1"]).json["token"]
    assert status(world.ask("PUT", f"/storage/v1/object/upload/sign/{PHONES}/x?token={read}", b"evil")) == "403"
    assert status(world.get(f"sign/{PHONES}/new?token={write}")) in {"403", "404"}
    for path in ("x", "new2", "NEW", "new/x"):
        assert (
            status(world.ask("PUT", f"/storage/v1/object/upload/sign/{PHONES}/{path}?token={write}", b"evil"))
            == "403"
        )
    assert status(world.ask("PUT", f"/storage/v1/object/upload/sign/{MODELS}/new?token={write}", b"evil")) == "403"
    for used in (read, write):  # as a key
        assert status(world.get(f"{MODELS}/secret/v1.0.0/model.json", key=used)) == "403"
        assert status(world.ask("POST", f"/storage/v1/object/{PHONES}/y", b"evil", key=used)) == "403"
    late = token(
        world, Grant(channel="T_1", made_at=MADE_AT, bucket=PHONES, path="new", use=Use.UPLOAD), -timedelta(seconds=1)
    )
    assert status(world.ask("PUT", f"/storage/v1/object/upload/sign/{PHONES}/new?token={late}", b"evil")) == "401"
    with world.database.read() as tx:
        assert tx.scalar(select(func.count()).select_from(objects)) == 1


def test_a_signed_url_is_of_no_later_channel_of_the_same_id(world: World) -> None:
    world.upload("x", channel="secret")
    key = world.service["secret"]
    signed = [world.sign("secret/v1.0.0/model.json", key=key), world.sign("x", bucket=PHONES, key=key)]
    write = world.post(f"upload/sign/{PHONES}/new", key=key).json["token"]
    assert [world.get(url).status for url in signed] == [200, 200]
    world.shop.make_anew("secret")
    world.publish("secret")
    world.service["secret"] = world.token("channel:secret:write")
    world.later()
    assert world.upload("x", b"of the new tenant", channel="secret").status == 200
    assert [status(world.get(url)) for url in signed] == ["401", "401"]
    assert status(world.ask("PUT", f"/storage/v1/object/upload/sign/{PHONES}/new?token={write}", b"evil")) == "401"
    with world.database.read() as tx:
        assert list(tx.scalars(select(objects.c.path))) == ["x"]


def test_what_comes_slowly_is_not_written_into_a_later_channel_of_the_same_id(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = world.post(f"upload/sign/{PHONES}/x", key=world.service["secret"]).json["token"]
    put_file = type(world.storage).put_file

    def put_late(storage: Any, path: str, file: Any) -> None:
        world.shop.make_anew("secret")
        put_file(storage, path, file)

    monkeypatch.setattr(type(world.storage), "put_file", put_late)
    reply = world.ask("PUT", f"/storage/v1/object/upload/sign/{PHONES}/x?token={write}", b"evil")
    assert status(reply) == "404"
    with world.database.read() as tx:
        assert tx.scalar(select(func.count()).select_from(objects)) == 0


def test_nothing_that_was_uploaded_runs_in_a_browser(world: World) -> None:
    page = b"<script>fetch('/api/v1/channels')</script>"
    for number, (sent, wanted) in enumerate(
        [
            ("text/html", "text/plain; charset=utf-8"),
            ("application/xhtml+xml", "text/plain; charset=utf-8"),
            ("text/javascript", "text/plain; charset=utf-8"),
            ("image/svg+xml", "image/svg+xml"),
            ("application/pdf", "application/pdf"),
        ]
    ):
        world.upload(f"{number}.html", page, content_type=sent)
        url = world.sign(f"{number}.html", bucket=PHONES, key="ck_T_1")
        for reply in (
            world.get(f"{PHONES}/{number}.html", key="ck_T_1"),
            world.get(url),
            world.get(f"{url}&download="),
        ):
            assert reply.headers["content-type"] == wanted
            assert reply.headers["x-content-type-options"] == "nosniff"
            policy = reply.headers["content-security-policy"].split("; ")
            assert {"sandbox", "default-src 'none'"} <= set(policy)


def test_no_value_of_a_client_becomes_a_header_of_its_own(world: World) -> None:
    evil = "x\r\nset-cookie: a=b"
    for headers in ({"content_type": f"a/b; c={evil}"}, {"content_type": f"a/{evil}"}):
        assert status(world.upload("refused", **headers)) == "400"
    world.upload("x", cache_control=evil)
    url = world.sign("x", bucket=PHONES, key="ck_T_1")
    for reply in (
        world.get(url),
        world.get(f"{url}&download={quote(evil)}"),
        world.get(f"{PHONES}/{quote(evil)}"),
        world.get(f"{MODELS}/T_1/v1.0.0/model.json?download={quote(evil)}"),
        world.select(f"select={quote(evil)}"),
        world.select("select=version", accept=evil),
        world.select("select=version", accept_profile=evil),
        world.ask("GET", f"/rest/v1/{quote(evil)}"),
    ):
        assert "set-cookie" not in reply.headers
        assert all("\r" not in value and "\n" not in value for value in reply.headers.values())


def test_a_document_that_is_none_is_refused(world: World) -> None:
    key = world.service["T_1"]
    for body in (
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"expiresIn":{}}',
        b'{"paths":"x","prefixes":"x"}',
        b"\xff",
        b"[" * 100_000,
    ):
        for path in (f"sign/{PHONES}", "copy", "move"):
            assert status(world.ask("POST", f"/storage/v1/object/{path}", body, key=key)) == "400", (path, body[:20])
        assert status(world.ask("DELETE", f"/storage/v1/object/{PHONES}", body, key=key)) == "400"
    lists = ('{"limit":0}', '{"limit":"x"}', '{"offset":-1}', '{"sortBy":{"column":"token"}}', '{"prefix":1}')
    for text in lists:
        assert status(world.ask("POST", f"/storage/v1/object/list/{PHONES}", text.encode(), key=key)) == "400", text
    many = json.dumps({"prefixes": ["x"] * 1001}).encode()
    assert status(world.ask("DELETE", f"/storage/v1/object/{PHONES}", many, key=key)) == "400"
    large = [b" " * 2**19] * 4
    assert status(world.ask("POST", f"/storage/v1/object/sign/{PHONES}", large, key=key)) == "413"


def test_who_asks_too_often_is_told_when_to_come_again(world: World) -> None:
    world.per_minute = 5
    world.app = world.wire()
    answers = [world.get(f"{MODELS}/T_1/latest/model.json") for _ in range(6)]
    assert [reply.status for reply in answers] == [200] * 5 + [429]
    assert (status(answers[-1]), answers[-1].json["error"]) == ("429", "too_many_requests")
    assert 0 < int(answers[-1].headers["retry-after"]) <= 60
    rest = world.select("select=version")
    assert (rest.status, rest.json["code"]) == (429, "PGRST429")
    assert world.ask("OPTIONS", "/storage/v1/object/x/y").status == 204
    world.clock.now_s += 61
    assert world.get(f"{MODELS}/T_1/latest/model.json").status == 200


def test_a_thousand_wrong_tokens_are_not_looked_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    real = world.app._storage._visitors._lookups._authenticate

    def counted(text: str) -> object:
        asked.append(text)
        return real(text)

    monkeypatch.setattr(world.app._storage._visitors._lookups, "_authenticate", counted)
    replies = [
        world.get(f"{MODELS}/T_1/latest/model.json", key=f"ss_aaaaaaaa_{number:043d}") for number in range(1000)
    ]
    assert {status(reply) for reply in replies} == {"401", "429"}
    assert len(asked) <= 60
    before = world.get(f"{PHONES}/none", key="ck_T_1")  # another till behind the same address, new to the server
    assert status(before) == "429"
    signed = [world.get(f"sign/{MODELS}/T_1/v1.0.0/model.json?token=a.b.{number}") for number in range(3)]
    assert {status(reply) for reply in signed} == {"429"}


def test_who_is_known_goes_on_while_others_guess(world: World) -> None:
    assert world.get(f"{MODELS}/secret/latest/model.json", key="ck_secret").status == 200
    for number in range(70):
        world.get(f"{MODELS}/secret/latest/model.json", key=f"ck_{number}")
    assert status(world.get(f"{MODELS}/secret/latest/model.json", key="ck_70")) == "429"
    assert world.get(f"{MODELS}/secret/latest/model.json", key="ck_secret").status == 200
    with world.database.write() as tx:
        tx.execute(update(channels).where(channels.c.id == "secret").values(token="ck_other"))
    world.later()
    assert status(world.get(f"{MODELS}/secret/latest/model.json", key="ck_secret")) == "403"
    assert status(world.get(f"{MODELS}/secret/latest/model.json", key="ck_secret")) == "429"


def test_whether_a_private_channel_has_a_file_no_stranger_learns(world: World) -> None:
    world.upload("there", channel="default")
    with world.database.write() as tx:
        tx.execute(update(channels).where(channels.c.id == "default").values(visibility="private"))
    world.later()
    for there, gone in (
        (f"{MODELS}/secret/v1.0.0/model.json", f"{MODELS}/secret/v9.0.0/none"),
        (f"{PHONES}/models/secret_v1.0.0.ort", f"{PHONES}/models/secret_v9.0.0.ort"),
        (f"{PHONES}/there", f"{PHONES}/gone"),
    ):
        for way in ("", "public/", "info/", "info/public/", "authenticated/", "sign/"):
            method = "POST" if way == "sign/" else "GET"
            for key in ("", "ck_T_1"):
                answers = [world.ask(method, f"/storage/v1/object/{way}{path}", key=key) for path in (there, gone)]
                assert answers[0].status == 400
                assert answers[0].json == answers[1].json, (way, there, key)


def test_who_is_refused_is_noted_with_the_way_that_was_tried(world: World) -> None:
    world.get(f"{MODELS}/%2e%2e/x", key="ck_T_1")
    world.upload("x", channel="default", apikey="ck_T_1", authorization="Bearer ck_T_1")
    world.get(f"sign/{MODELS}/T_1/v1.0.0/model.json?token=a.b.c")
    world.ask("POST", "/rest/v1/model_metadata", b"{}", key="ck_T_1")
    assert [(noted[0], noted[2], noted[4]) for noted in world.refusals.noted] == [
        ("nobody", "GET", 422),
        ("channel:T_1", "POST", 403),
        ("nobody", "GET", 401),
        ("channel:T_1", "POST", 403),
    ]
    assert all("token" not in str(noted[3]) for noted in world.refusals.noted)


def test_what_goes_wrong_inside_is_not_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("password=hunter2 at /home/shop")

    monkeypatch.setattr(world.app._storage._buckets, "find", fail)
    monkeypatch.setattr(world.app._rest, "_read", fail)
    for reply in (world.get(f"{MODELS}/T_1/latest/model.json"), world.select("select=version")):
        assert reply.status == 500
        assert b"hunter2" not in reply.body
        assert "urn:uuid:" in reply.json["message"]
    assert world.select("select=version").json["code"] == "XX000"


def test_a_database_that_is_away_is_told_as_such(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.database.close()
    monkeypatch.setattr(world.database, "read", world.wire)  # not a context
    reply = world.get(f"{PHONES}/x", key="ck_T_1")
    assert reply.status == 500


def test_no_cache_gives_an_object_to_the_key_of_another_channel(world: World) -> None:
    for channel in ("default", "T_1"):
        headers = {"content_type": "application/json", "cache_control": "public, max-age=3600"}
        assert world.upload("settings.json", channel.encode(), channel, **headers).status == 200
    found = world.get(f"{PHONES}/settings.json", key="ck_T_1")
    known = world.get(f"{PHONES}/settings.json", key="ck_T_1", if_none_match=found.headers["etag"])
    assert (found.status, found.body, known.status) == (200, b"T_1", 304)
    published = world.get(f"{PHONES}/models/T_1_v1.0.0.ort", key="ck_T_1")
    for reply in (found, known, published, world.get(f"public/{PHONES}/settings.json")):
        assert {"authorization", "apikey"} <= set(reply.headers["vary"].lower().split(", "))
        assert "accept-encoding" in reply.headers["vary"].lower() or reply is not found


def test_no_shared_cache_is_told_to_keep_what_is_private(world: World) -> None:
    world.upload("x.bin", b"1", "secret", cache_control="public, max-age=60, s-maxage=3600")
    kept = world.get(f"{PHONES}/x.bin", key="ck_secret").headers["cache-control"]
    assert kept == "private, max-age=60"


@pytest.mark.parametrize("number", ["1e999", "-1e999", "NaN", '[1, {"a": 1e400}]'])
def test_metadata_that_no_json_can_hold_is_refused(world: World, number: str) -> None:
    metadata = base64.b64encode(f'{{"a": {number}}}'.encode()).decode()
    refused = world.upload("x.bin", b"1", x_metadata=metadata)
    assert (refused.status, refused.json["message"]) == (400, "metadata is no object of JSON that can be kept")


def test_who_has_a_signed_url_goes_on_while_others_guess(world: World) -> None:
    url = world.sign("T_1/v1.0.0/model.json", key="ck_T_1")
    forged = {world.get(f"sign/{MODELS}/T_1/v1.0.0/model.json?token=a.b.{number}").status for number in range(61)}
    assert forged == {400, 429}
    assert world.get(url).status == 200


def test_signing_a_thousand_paths_counts_as_many_requests(world: World) -> None:
    world.per_minute = 60
    world.app = world.wire()
    paths = [f"nothing-{number}.bin" for number in range(1000)]
    statuses = [world.post(f"sign/{PHONES}", {"paths": paths, "expiresIn": 60}).status for _ in range(2)]
    assert statuses == [200, 429]
