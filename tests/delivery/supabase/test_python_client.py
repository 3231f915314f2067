"""supabase-py, as it comes from PyPI, against a running server: every call that an app makes."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from postgrest.exceptions import APIError
from postgrest.types import CountMethod
from storage3.exceptions import StorageApiError
from supabase import create_client
from supabase_functions.errors import FunctionsHttpError

from tests.delivery.shop import FILES, sha256
from tests.delivery.supabase.world import MODELS, PHONES, World, blob_of, open_shop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CONFIG = "assessment-model-config"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, str]]:
    """A running shop."""
    with open_shop(tmp_path_factory.mktemp("shop")) as opened:
        yield opened


@pytest.fixture(scope="module")
def client(shop: tuple[World, str]) -> Iterator[Callable[[str], Any]]:
    """Makes clients with a key."""
    made: dict[str, Any] = {}

    def make(key: str) -> Any:
        if key not in made:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of what the client passes to its own parts
                made[key] = create_client(shop[1], key)
                for part in ("storage", "functions", "postgrest"):
                    getattr(made[key], part)
        return made[key]

    yield make
    for one in made.values():
        one.storage.session.close()
        one.postgrest.session.close()
        one.functions._client.close()


@pytest.fixture
def anon(client: Callable[[str], Any]) -> Any:
    """A client with the public key of T_1."""
    return client("ck_T_1")


@pytest.fixture
def service(client: Callable[[str], Any], shop: tuple[World, str]) -> Any:
    """A client that may write to T_1."""
    return client(shop[0].service["T_1"])


@pytest.fixture
def private(client: Callable[[str], Any]) -> Any:
    """A client with the key of the private channel."""
    return client("ck_secret")


def failed(call: Callable[[], Any]) -> tuple[str, str]:
    """Return status and code of what storage refuses."""
    with pytest.raises(StorageApiError) as caught:
        call()
    return str(caught.value.status), caught.value.code


def test_the_function_gives_the_config_of_the_keys_channel(anon: Any, private: Any, service: Any) -> None:
    for client, channel in ((anon, "T_1"), (private, "secret")):
        posted: Any = client.functions.invoke(CONFIG, {"responseType": "json"})
        got: Any = client.functions.invoke(CONFIG, {"method": "GET", "responseType": "json"})
        assert posted == got
        assert (posted["channelId"], posted["activeModelVersion"]) == (channel, "v1.0.0")
    tag = anon.functions.invoke(CONFIG, {"responseType": "json"})["etag"]
    for method in ("GET", "POST"):
        with pytest.raises(FunctionsHttpError) as caught:
            anon.functions.invoke(CONFIG, {"method": method, "headers": {"If-None-Match": tag}})
        assert caught.value.status == 304


def test_published_files_are_downloaded_under_all_their_names(anon: Any, private: Any) -> None:
    models, phones = anon.storage.from_(MODELS), anon.storage.from_(PHONES)
    assert models.download("T_1/v1.0.0/model.json") == FILES["model.json"]
    assert models.download("T_1/latest/weights.bin") == FILES["weights.bin"]
    assert phones.download("models/T_1_v1.0.0.ort") == FILES["model.ort"]
    assert private.storage.from_(MODELS).download("secret/latest/model.json") == FILES["model.json"]
    assert failed(lambda: models.download("secret/latest/model.json")) == ("403", "Unauthorized")
    assert failed(lambda: models.download("T_1/latest/none")) == ("404", "not_found")
    assert failed(lambda: anon.storage.from_("missing").download("x")) == ("404", "Bucket not found")


def test_public_addresses_are_of_public_channels(anon: Any) -> None:
    models = anon.storage.from_(MODELS)
    assert httpx.get(models.get_public_url("T_1/latest/weights.bin")).content == FILES["weights.bin"]
    saved = httpx.get(models.get_public_url("T_1/latest/weights.bin", {"download": "w.bin"}))
    assert saved.headers["content-disposition"] == 'attachment; filename="w.bin"'
    phones = anon.storage.from_(PHONES).get_public_url("models/T_1_v1.0.0.ort")
    assert httpx.get(phones).content == FILES["model.ort"]
    assert httpx.get(models.get_public_url("secret/latest/weights.bin")).json()["message"] == "Bucket not found"


def test_signed_urls_open_a_private_file_for_a_while(private: Any) -> None:
    models = private.storage.from_(MODELS)
    signed = models.create_signed_url("secret/v1.0.0/weights.bin", 60)["signedUrl"]
    assert signed is not None
    answer = httpx.get(signed, headers={"range": "bytes=1-3"})
    assert (answer.status_code, answer.content) == (206, FILES["weights.bin"][1:4])
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["expires"].endswith("GMT")
    assert httpx.get(signed, headers={"if-none-match": f'"{sha256(FILES["weights.bin"])}"'}).status_code == 304
    named = models.create_signed_url("secret/v1.0.0/weights.bin", 60, {"download": "a b.bin"})["signedUrl"]
    assert httpx.get(str(named)).headers["content-disposition"] == 'attachment; filename="a b.bin"'
    many = models.create_signed_urls(["secret/v1.0.0/model.json", "none"], 60)
    assert [(one["path"], one["error"] is None) for one in many] == [
        ("secret/v1.0.0/model.json", True),
        ("none", False),
    ]
    assert httpx.get(str(many[0]["signedUrl"])).content == FILES["model.json"]
    assert failed(lambda: models.create_signed_url("none", 60)) == ("404", "not_found")
    assert failed(lambda: models.create_signed_url("secret/v1.0.0/model.json", 0)) == ("400", "InvalidRequest")


def test_a_signed_model_opens_its_weights_and_blobs_with_the_same_query(private: Any) -> None:
    signed = private.storage.from_(MODELS).create_signed_url("secret/latest/model.json", 60)["signedUrl"]
    folder, _, rest = str(signed).rpartition("/")
    query = rest.partition("?")[2]
    assert httpx.get(f"{folder}/weights.bin?{query}").content == FILES["weights.bin"]
    blob = f"{folder}/../../blobs/{sha256(blob_of('secret'))}.bin?{query}"
    assert httpx.get(blob).content == blob_of("secret")
    assert httpx.get(f"{folder}/weights.bin").status_code == 400


def test_info_and_existence_are_told(anon: Any) -> None:
    models = anon.storage.from_(MODELS)
    info = models.info("T_1/v1.0.0/weights.bin")
    assert (info["size"], info["etag"]) == (5000, f'"{sha256(FILES["weights.bin"])}"')
    assert models.exists("T_1/v1.0.0/weights.bin")
    assert not models.exists("T_1/v1.0.0/none")
    with pytest.raises(StorageApiError):
        anon.storage.from_("missing").exists("x")


def test_buckets_and_folders_are_listed(anon: Any, service: Any) -> None:
    assert [bucket.id for bucket in anon.storage.list_buckets()] == [PHONES, MODELS]
    assert anon.storage.get_bucket(MODELS).public
    assert failed(lambda: service.storage.create_bucket(MODELS)) == ("409", "Duplicate")
    models = anon.storage.from_(MODELS)
    assert [one["name"] for one in models.list("T_1")] == ["latest", "v1.0.0", "v1.1.0"]
    files = models.list("T_1/v1.0.0", {"limit": 2, "offset": 1, "sortBy": {"column": "name", "order": "asc"}})
    assert [one["name"] for one in files] == ["manifest.json", "model.json"]
    assert files[1]["metadata"]["size"] == len(FILES["model.json"])
    found = [one["name"] for one in models.list("T_1/v1.0.0", {"search": "weig"})]
    assert found == ["weights.bin"]
    page = anon.storage.from_(PHONES).list_v2({"limit": 1, "prefix": "models/", "with_delimiter": True})
    assert (page.hasNext, [one.name for one in page.objects]) == (True, ["models/T_1_v1.0.0.json"])
    following = anon.storage.from_(PHONES).list_v2({"limit": 1, "prefix": "models/", "cursor": str(page.nextCursor)})
    assert [one.name for one in following.objects] == ["models/T_1_v1.0.0.ort"]


def test_an_object_lives_from_upload_to_removal(anon: Any, service: Any) -> None:
    phones = service.storage.from_(PHONES)
    options: Any = {"content-type": "application/x-foo", "cache-control": "60", "metadata": {"é": 1}}
    done = phones.upload("py/1.bin", b"one", options)
    assert (done.path, done.full_path) == ("py/1.bin", f"{PHONES}/py/1.bin")
    info = phones.info("py/1.bin")
    assert (info["content_type"], info["cache_control"], info["metadata"]) == (
        "application/x-foo",
        "max-age=60",
        {"é": 1},
    )
    assert failed(lambda: phones.upload("py/1.bin", b"two")) == ("409", "Duplicate")
    phones.upload("py/1.bin", io.BufferedReader(io.BytesIO(b"three")), {"upsert": "true"})
    assert anon.storage.from_(PHONES).download("py/1.bin") == b"three"
    phones.update("py/1.bin", b"four")
    phones.copy("py/1.bin", "py/2.bin")
    phones.move("py/2.bin", "py/3.bin")
    assert [one["name"] for one in phones.list("py")] == ["1.bin", "3.bin"]
    removed = phones.remove(["py/1.bin", "py/3.bin", "py/none"])
    assert [(one["name"], one["metadata"]["size"]) for one in removed] == [("py/1.bin", 4), ("py/3.bin", 4)]
    assert phones.list("py") == []


def test_what_is_published_and_what_others_own_cannot_be_written(anon: Any, service: Any) -> None:
    mine, theirs = anon.storage.from_(PHONES), service.storage.from_(PHONES)
    assert failed(lambda: mine.upload("x", b"1")) == ("403", "Unauthorized")
    assert failed(lambda: mine.remove(["x"])) == ("403", "Unauthorized")
    assert failed(lambda: theirs.upload("models/T_1_v1.0.0.ort", b"1", {"upsert": "true"})) == ("409", "Duplicate")
    assert failed(lambda: theirs.remove(["models/T_1_v1.0.0.ort"])) == ("409", "Duplicate")
    assert failed(lambda: service.storage.from_(MODELS).upload("T_1/x", b"1")) == ("403", "Unauthorized")
    large = io.BufferedReader(io.BytesIO(bytes(60 * 2**20)))
    assert failed(lambda: theirs.upload("large", large)) == ("413", "Payload too large")
    assert not theirs.exists("large")


def test_a_signed_upload_needs_no_key(anon: Any, service: Any) -> None:
    signed = service.storage.from_(PHONES).create_signed_upload_url("py/signed.bin")
    done = anon.storage.from_(PHONES).upload_to_signed_url("py/signed.bin", signed["token"], b"sent")
    assert done.full_path == f"{PHONES}/py/signed.bin"
    assert anon.storage.from_(PHONES).download("py/signed.bin") == b"sent"
    again = lambda: anon.storage.from_(PHONES).upload_to_signed_url("py/signed.bin", signed["token"], b"x")  # noqa: E731
    assert failed(again) == ("409", "Duplicate")
    other = lambda: anon.storage.from_(PHONES).upload_to_signed_url("py/other.bin", signed["token"], b"x")  # noqa: E731
    assert failed(other) == ("403", "Unauthorized")
    service.storage.from_(PHONES).remove(["py/signed.bin"])


def versions(found: Any) -> list[str]:
    """Return the versions in an answer."""
    return [row["version"] for row in found.data]


def test_model_metadata_is_read_with_every_kind_of_filter(anon: Any, service: Any) -> None:
    select = service.table("model_metadata").select
    assert versions(anon.table("model_metadata").select("version").execute()) == ["v1.0.0"]
    newest = select("*").order("created_at", desc=True).limit(1).execute().data
    assert (newest[0]["version"], newest[0]["input_shape"]) == ("v1.1.0", [1, 224, 224, 3])
    assert newest[0]["created_at"].endswith("+00:00")
    for found, wanted in (
        (select("version").eq("is_stable", value=True), ["v1.0.0"]),
        (select("version").in_("status", ["active", "a,b"]), ["v1.0.0"]),
        (select("version").not_.eq("status", "active"), ["v1.1.0"]),
        (select("version").is_("accuracy", None).order("id"), ["v1.0.0", "v1.1.0"]),
        (select("version").like("version", "v1.1*"), ["v1.1.0"]),
        (select("version").ilike("version", "V1.1%"), ["v1.1.0"]),
        (select("version").or_("status.eq.testing,version.eq.none"), ["v1.1.0"]),
        (select("version").match({"status": "active", "channel_id": "T_1"}), ["v1.0.0"]),
        (
            select("version").gt("created_at", "2020-01-01").lt("id", 10**6).order("version", desc=True),
            ["v1.1.0", "v1.0.0"],
        ),
        (select("version").order("id").range(1, 1), ["v1.1.0"]),
        (select("version").eq("channel_id", "secret"), []),
    ):
        assert versions(found.execute()) == wanted


def test_one_row_and_a_count_are_told_apart(service: Any) -> None:
    table = service.table("model_metadata")
    one = table.select("version").eq("status", "testing").single().execute()
    assert one.data == {"version": "v1.1.0"}
    with pytest.raises(APIError) as caught:
        table.select("version").single().execute()
    assert (caught.value.code, caught.value.details) == ("PGRST116", "The result contains 2 rows")
    assert table.select("version").eq("version", "none").maybe_single().execute() is None
    counted = table.select("version", count=CountMethod.exact).limit(1).execute()
    assert (counted.count, len(counted.data)) == (2, 1)
    assert table.select("*", count=CountMethod.exact, head=True).execute().count == 2


def test_what_cannot_be_read_or_written_is_told_in_postgrests_words(anon: Any, service: Any) -> None:
    calls: tuple[tuple[Callable[[], Any], str], ...] = (
        (lambda: anon.table("model_metadata").select("none").execute(), "42703"),
        (lambda: anon.table("tokens").select("*").execute(), "PGRST205"),
        (lambda: anon.table("model_metadata").select("*").eq("id", "x").execute(), "22P02"),
        (lambda: anon.table("model_metadata").insert({"version": "v9.0.0"}).execute(), "42501"),
        (lambda: service.table("model_metadata").update({"status": "x"}).eq("id", 1).execute(), "PGRST117"),
        (lambda: service.table("model_metadata").delete().eq("id", 1).execute(), "PGRST117"),
        (lambda: service.rpc("rollback", {}).execute(), "PGRST202"),
    )
    for call, code in calls:
        with pytest.raises(APIError) as caught:
            call()
        assert caught.value.code == code
