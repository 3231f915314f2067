"""The client of Typesense, against its stand-in."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import orjson
import pytest

from shelfsight.errors import (
    ConflictError,
    NotFoundError,
    PartnerError,
    UnavailableError,
    UncertainError,
    UsageError,
)
from shelfsight.partners.typesense import Action, Field, ImportResult, Limits, Patience, Refusal, Typesense
from tests.backfill.typesense_server import API_KEY, Fault, TypesenseServer, typesense_server

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "products_search"
QUICK = Patience(seconds=5, first_wait_s=0.001, longest_wait_s=0.002)
AT_ONCE = Patience(seconds=0)


@pytest.fixture
def server() -> Iterator[TypesenseServer]:
    with typesense_server() as running:
        yield running


@pytest.fixture
def client(server: TypesenseServer) -> Iterator[Typesense]:
    with _client(server) as opened:
        opened.create_collection(NAME, [Field(name="name", type="string", optional=False)])
        yield opened


def _client(server: TypesenseServer, *, patience: Patience = QUICK, answer_s: float = 5) -> Typesense:
    limits = Limits(answer_s=answer_s, import_s=answer_s, alter_s=answer_s)
    return Typesense(server.url, API_KEY, patience=patience, limits=limits)


def _lines(*ids: str) -> list[bytes]:
    return [orjson.dumps({"id": each, "name": f"name of {each}"}) for each in ids]


def test_results_of_an_import_name_the_lines_that_were_refused(client: Typesense, server: TypesenseServer) -> None:
    client.import_documents(NAME, _lines("a", "c"), Action.CREATE)
    server.refused_ids = {"c"}
    lines = [*_lines("a", "b", "c"), b"{broken"]

    result = client.import_documents(NAME, lines, Action.UPDATE)

    assert (result.count, sorted(result.refused)) == (4, [1, 2, 3])
    assert result.refused[1] == Refusal(404, "Could not find a document with id: b")
    assert (result.refused[2].code, result.refused[3].error) == (400, "Bad JSON.")


@pytest.mark.parametrize("lines", [b"", []])
def test_an_import_of_nothing_asks_nothing(client: Typesense, server: TypesenseServer, lines: bytes) -> None:
    before = list(server.seen)

    assert client.import_documents(NAME, lines, Action.UPDATE) == ImportResult(count=0)
    assert server.seen == before


def test_lines_may_come_as_one_text(client: Typesense, server: TypesenseServer) -> None:
    result = client.import_documents(NAME, b"\n".join(_lines("a", "b")) + b"\n", Action.EMPLACE)

    assert (result.count, result.refused, set(server.documents(NAME))) == (2, {}, {"a", "b"})


def test_a_lagging_server_is_asked_again(client: Typesense, server: TypesenseServer) -> None:
    server.fail_next(Fault.LAGGING, times=3)

    result = client.import_documents(NAME, _lines("a"), Action.CREATE)

    assert (result.refused, result.waits) == ({}, 3)


def test_a_server_that_lags_on_is_given_up_with_nothing_done(server: TypesenseServer, client: Typesense) -> None:
    server.fail_next(Fault.LAGGING)
    with _client(server, patience=AT_ONCE) as hasty, pytest.raises(UnavailableError, match="Not Ready") as caught:
        hasty.import_documents(NAME, _lines("a"), Action.CREATE)

    assert not isinstance(caught.value, UncertainError)
    assert server.documents(NAME) == {}


@pytest.mark.parametrize(
    ("fault", "done"),
    [
        (Fault.CUT_BEFORE, set()),
        (Fault.CUT_HALFWAY, {"a"}),
        (Fault.CUT_ANSWER, {"a", "b"}),
        (Fault.SILENT, {"a", "b"}),
    ],
)
def test_an_import_without_an_answer_is_not_sent_twice(
    server: TypesenseServer, client: Typesense, fault: Fault, done: set[str]
) -> None:
    server.fail_next(fault)
    with _client(server, answer_s=0.2) as opened, pytest.raises(UncertainError):
        opened.import_documents(NAME, _lines("a", "b"), Action.CREATE)

    assert server.seen.count("POST import") == 1
    assert set(server.documents(NAME)) == done


def test_what_is_only_read_is_asked_again(client: Typesense, server: TypesenseServer) -> None:
    server.fail_next(Fault.CUT_BEFORE, "collection")
    server.fail_next(Fault.CUT_ANSWER, "collection")

    assert client.collection(NAME)["name"] == NAME


def test_fields_are_added_once_and_old_documents_may_lack_them(client: Typesense, server: TypesenseServer) -> None:
    client.import_documents(NAME, _lines("old"), Action.CREATE)
    wanted = [Field(name="created_at", type="int64"), Field(name="deleted_at", type="int64")]

    assert client.ensure_fields(NAME, wanted) == ["created_at", "deleted_at"]
    assert client.ensure_fields(NAME, wanted) == []
    assert [each["optional"] for each in server.collections[NAME].fields] == [False, True, True]


def test_a_field_of_another_type_is_a_conflict(client: Typesense) -> None:
    with pytest.raises(ConflictError, match="field name of collection products_search is string, not int64"):
        client.ensure_fields(NAME, [Field(name="name", type="int64")])


def test_a_narrower_number_is_taken_for_a_time(client: Typesense) -> None:
    client.ensure_fields(NAME, [Field(name="created_at", type="int32")])

    assert client.ensure_fields(NAME, [Field(name="created_at", type="int64")]) == []


def test_another_change_of_the_schema_is_waited_for(client: Typesense, server: TypesenseServer) -> None:
    server.fail_next(Fault.ALTERING, "alter", times=2)

    assert client.ensure_fields(NAME, [Field(name="deleted_at", type="int64")]) == ["deleted_at"]


def test_two_who_add_a_field_at_once_both_find_it_there(client: Typesense, server: TypesenseServer) -> None:
    server.alter_s = 0.1
    added: list[list[str]] = []
    threads = [
        threading.Thread(
            target=lambda: added.append(client.ensure_fields(NAME, [Field(name="deleted_at", type="int64")]))
        )
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(added) == [[], ["deleted_at"]]


def test_a_field_that_another_has_just_added_is_no_failure(client: Typesense, server: TypesenseServer) -> None:
    server.fail_next(Fault.OVERTAKEN, "alter")

    assert client.ensure_fields(NAME, [Field(name="deleted_at", type="int64")]) == []


def test_a_field_that_was_added_without_an_answer_is_found(client: Typesense, server: TypesenseServer) -> None:
    server.fail_next(Fault.CUT_ANSWER, "alter")

    assert client.ensure_fields(NAME, [Field(name="deleted_at", type="int64")]) == []
    assert client.collection(NAME)["fields"][-1]["name"] == "deleted_at"


def test_a_schema_that_others_change_for_ever_is_given_up(client: Typesense, server: TypesenseServer) -> None:
    server.fail_next(Fault.ALTERING, "alter", times=9)
    hurried = Patience(seconds=0.002, first_wait_s=0.001)
    with (
        _client(server, patience=hurried) as opened,
        pytest.raises(UnavailableError, match="schema of products_search"),
    ):
        opened.ensure_fields(NAME, [Field(name="deleted_at", type="int64")])


def test_documents_are_exported_whole_and_in_parts(client: Typesense) -> None:
    ids = [f"id-{number}" for number in range(30_000)]
    client.import_documents(NAME, _lines(*ids), Action.CREATE)

    assert [each["id"] for part in client.export_documents(NAME, ("id",)) for each in part] == ids


def test_documents_are_exported_by_a_filter(client: Typesense) -> None:
    client.ensure_fields(NAME, [Field(name="deleted_at", type="int64")])
    client.import_documents(NAME, [b'{"id":"a","name":"x","deleted_at":0}', b'{"id":"b","name":"x"}'], Action.CREATE)

    assert list(client.export_documents(NAME, ("id",), filter_by="deleted_at:<1")) == [[{"id": "a"}]]


def test_no_documents_are_an_empty_export(client: Typesense) -> None:
    assert list(client.export_documents(NAME, ("id",))) == []


def test_an_export_that_breaks_off_is_no_shorter_export(client: Typesense, server: TypesenseServer) -> None:
    client.import_documents(NAME, _lines("a", "b", "c"), Action.CREATE)
    server.fail_next(Fault.CUT_ANSWER, "export")

    with pytest.raises(UnavailableError, match="broke off"):
        list(client.export_documents(NAME, ("id",)))


def test_documents_are_searched_and_retrieved(client: Typesense) -> None:
    client.import_documents(NAME, _lines("a", "b/ü"), Action.CREATE)

    found = client.search(NAME, {"q": "name of b", "query_by": "name"})

    assert [hit["document"]["id"] for hit in found["hits"]] == ["b/ü"]
    assert client.retrieve(NAME, "b/ü")["name"] == "name of b/ü"


def test_a_document_is_deleted_and_no_other(client: Typesense) -> None:
    client.import_documents(NAME, _lines("a", "b/ü"), Action.CREATE)

    client.delete_document(NAME, "b/ü")

    assert list(client.export_documents(NAME, ("id",))) == [[{"id": "a"}]]


def test_what_is_not_there_is_not_found(client: Typesense) -> None:
    for ask in (
        lambda: client.collection("none"),
        lambda: client.retrieve(NAME, "none"),
        lambda: client.delete_document(NAME, "none"),
        lambda: client.import_documents("none", _lines("a"), Action.UPDATE),
        lambda: list(client.export_documents("none", ("id",))),
        lambda: client.drop_collection("none"),
    ):
        with pytest.raises(NotFoundError):
            ask()


def test_a_collection_is_made_once_and_dropped(client: Typesense, server: TypesenseServer) -> None:
    with pytest.raises(ConflictError, match="already exists"):
        client.create_collection(NAME, [])
    client.drop_collection(NAME)

    assert server.collections == {}


def test_a_wrong_key_is_told_without_the_key(server: TypesenseServer) -> None:
    with Typesense(server.url, "not-the-key") as client, pytest.raises(PartnerError) as caught:
        client.collection(NAME)

    assert "refuses the API key" in str(caught.value)
    assert "not-the-key" not in f"{caught.value}{caught.value.__cause__}"


def test_a_server_that_is_not_there_is_unavailable() -> None:
    reason = r"Typesense at 127\.0\.0\.1:9 cannot be reached"
    client = Typesense("http://127.0.0.1:9", API_KEY, patience=AT_ONCE)
    with client, pytest.raises(UnavailableError, match=reason):
        client.import_documents(NAME, _lines("a"), Action.CREATE)


@pytest.mark.parametrize(
    "url", ["localhost:8108", "ftp://localhost", "http://", "http://u:p@localhost:8108", "http://[::1"]
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="no address of Typesense"):
        Typesense(url, API_KEY)


@pytest.mark.parametrize(
    "url", ["http://anna:hunter2@localhost:8108", "http://anna:hun/ter2@localhost", "http://localhost?key=hunter2"]
)
def test_an_address_with_a_secret_in_it_is_refused_without_telling(url: str) -> None:
    with pytest.raises(UsageError, match=r"localhost(:8108)?' is no address of Typesense") as caught:
        Typesense(url, API_KEY)

    assert "hun" not in str(caught.value)


@pytest.mark.parametrize("key", ["", "käse", "a\nb"])
def test_a_key_that_is_none_is_refused_without_being_told(key: str) -> None:
    with pytest.raises(UsageError, match="API key of Typesense") as caught:
        Typesense("http://localhost:8108", key)

    assert not key or key not in str(caught.value)


def test_whoever_waits_can_be_told_to_stop(server: TypesenseServer, client: Typesense) -> None:
    server.fail_next(Fault.LAGGING, times=9)

    def stop(_seconds: float) -> None:
        raise KeyboardInterrupt

    with Typesense(server.url, API_KEY, wait=stop) as opened, pytest.raises(KeyboardInterrupt):
        opened.import_documents(NAME, _lines("a"), Action.CREATE)
