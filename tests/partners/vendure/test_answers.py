"""What Vendure, or a proxy before it, answers, and the one sentence that we make of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shelfsight.errors import ShelfsightError, UnavailableError, VendureError
from shelfsight.partners.vendure.answers import (
    LOOKS_OTHERWISE,
    MIME_TYPE,
    TOO_LARGE,
    UNKNOWN_FIELD,
    BusyError,
    data_of,
    refusal,
    result_of,
)

URL = "https://shop.example/admin-api"
HTML = {"content-type": "text/html; charset=utf-8"}


def _answer(status: int, body: object, **headers: str) -> dict[str, Any]:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return data_of(status, {name.replace("_", "-"): value for name, value in headers.items()}, content, url=URL)


def test_data_is_returned() -> None:
    assert _answer(200, {"data": {"me": None}}) == {"me": None}


@pytest.mark.parametrize(
    ("status", "headers", "message"),
    [
        (200, {"content_type": "text/html"}, "is no Admin API of Vendure .HTTP 200, text/html.: use its address"),
        (404, {}, "is no Admin API of Vendure .HTTP 404"),
        (301, {"location": "https://www.shop.example/admin-api"}, "redirects to https://www.shop.example/admin-api"),
        (413, {}, "a proxy before Vendure refuses so many bytes .*client_max_body_size"),
        (401, {}, "a proxy before .* refuses .HTTP 401"),
        (500, {}, "fails .HTTP 500.: look into its log"),
        (503, {}, "cannot answer now .HTTP 503.: try again later"),
    ],
)
def test_an_answer_that_is_not_the_apis_says_whose_it_is(status: int, headers: dict[str, str], message: str) -> None:
    with pytest.raises(ShelfsightError, match=message):
        _answer(status, b"<html>no</html>", **headers)


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b'{"ok": true}', b'{"data": null}', b"{"])
def test_json_of_something_else_is_not_taken_for_data(body: bytes) -> None:
    with pytest.raises(VendureError, match="is no Admin API of Vendure"):
        _answer(200, body)


@pytest.mark.parametrize(("said", "understood"), [("30", 30.0), ("0", 0.0), ("Wed, 21 Oct 2026", None), ("-1", None)])
def test_a_busy_server_says_when_to_come_back(said: str, understood: float | None) -> None:
    with pytest.raises(BusyError) as caught:
        _answer(429, b"", retry_after=said)
    assert caught.value.retry_after_s == understood
    assert isinstance(caught.value, UnavailableError)


@pytest.mark.parametrize(
    ("message", "code", "reason", "said"),
    [
        ("You are not currently authorized", "FORBIDDEN", "FORBIDDEN", "not currently authorized"),
        ("File truncated as it exceeds the 20971520 byte size limit.", "INTERNAL_SERVER_ERROR", TOO_LARGE,
         "more than the 20,971,520 bytes that Vendure takes: raise assetOptions.uploadMaxFileSize"),
        ('Field "modelVersion" is not defined by type "UpdateChannelCustomFieldsInput".', "BAD_USER_INPUT",
         UNKNOWN_FIELD, "no custom field modelVersion: install the Shelfsight plugin"),
        ('Cannot query field "modelVersion" on type "ChannelCustomFields".', "GRAPHQL_VALIDATION_FAILED",
         UNKNOWN_FIELD, "no custom field modelVersion"),
        ('Field "customFields" must not have a selection since type "JSON" has no subfields.',
         "GRAPHQL_VALIDATION_FAILED", UNKNOWN_FIELD, "no custom field customFields"),
        ('Cannot query field "nope" on type "Query".', "GRAPHQL_VALIDATION_FAILED", "GRAPHQL_VALIDATION_FAILED",
         "Vendure answers: Cannot query field"),
        ('No Channel with the token "x" could be found', "CHANNEL_NOT_FOUND", "CHANNEL_NOT_FOUND",
         "check the channel's token"),
    ],
)  # fmt: skip
def test_an_error_says_what_to_do(message: str, code: str, reason: str, said: str) -> None:
    found = refusal([{"message": message, "extensions": {"code": code}}])
    assert found.reason == reason
    assert said in str(found)


@pytest.mark.parametrize("errors", [[], "no", [None], [{}], [{"message": "no", "extensions": None}]])
def test_errors_of_any_shape_are_errors(errors: object) -> None:
    assert refusal(errors).reason == ""


def test_the_token_of_a_channel_is_not_repeated() -> None:
    found = refusal([{"message": 'No Channel with the token "geheim"', "extensions": {"code": "CHANNEL_NOT_FOUND"}}])
    assert "geheim" not in str(found)


def test_what_a_mutation_made_is_returned() -> None:
    assert result_of({"__typename": "Asset", "id": "1"}) == {"__typename": "Asset", "id": "1"}


@pytest.mark.parametrize(
    ("mime", "file", "reason", "said"),
    [
        ("application/octet-stream", "weights.bin", MIME_TYPE,
         ".bin is not permitted: add .bin to assetOptions.permittedFileTypes"),
        ("application/json", "model.json", MIME_TYPE, ".json is not permitted"),
        ("application/x-msdownload", "weights.bin", LOOKS_OTHERWISE,
         "the first bytes of weights.bin look like application/x-msdownload"),
    ],
)  # fmt: skip
def test_a_refused_file_says_why(mime: str, file: str, reason: str, said: str) -> None:
    with pytest.raises(VendureError, match=said) as caught:
        result_of({"errorCode": "MIME_TYPE_ERROR", "message": "no", "mimeType": mime}, file=file)
    assert caught.value.reason == reason


def test_any_other_refusal_is_told_as_it_is() -> None:
    with pytest.raises(VendureError, match="Vendure answers: Language not available") as caught:
        result_of({"errorCode": "LANGUAGE_NOT_AVAILABLE_ERROR", "message": "Language not available"})
    assert caught.value.reason == "LANGUAGE_NOT_AVAILABLE_ERROR"
    with pytest.raises(VendureError, match="without a result"):
        result_of(None)
