"""What Vendure answers: the data in it, or an error with one sentence that says what to do."""

from __future__ import annotations

import mimetypes
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import orjson

from shelfsight.errors import UnavailableError, VendureError

if TYPE_CHECKING:
    from collections.abc import Mapping

FORBIDDEN = "FORBIDDEN"
MIME_TYPE = "MIME_TYPE_ERROR"
LOOKS_OTHERWISE = "LOOKS_OTHERWISE"
"""Reason of an error: a file's kind is permitted, and its first bytes look like another; ours."""
CHANNEL_NOT_FOUND = "CHANNEL_NOT_FOUND"
ENTITY_NOT_FOUND = "ENTITY_NOT_FOUND"
USER_INPUT = "USER_INPUT_ERROR"
UNKNOWN_FIELD = "UNKNOWN_FIELD"
"""Reason of an error: a custom field is not there; ours, Vendure calls it a bad document."""
TOO_LARGE = "TOO_LARGE"
"""Reason of an error: a file has more bytes than the installation takes; ours, Vendure has no code for it."""

_LETTERS_MOST = 300
_BUSY = frozenset(
    {
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)
_UNKNOWN_CUSTOM_FIELD = re.compile(
    r'Field "(?P<written>\w+)" is not defined by type "\w*CustomFields\w*"'
    r'|Cannot query field "(?P<read>\w+)" on type "\w*CustomFields\w*"'
    r'|Field "customFields" must not have a selection since type "JSON"'  # there are none at all
    r'|Field "customFields" is not defined by type'
)
_TRUNCATED = re.compile(r"File truncated as it exceeds the (\d+) byte size limit")


class BusyError(UnavailableError):
    """The server, or a proxy before it, cannot answer now.

    Attributes:
        retry_after_s: when it wants to be asked again, None = it does not say.
    """

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        """Say why, and when to ask again."""
        super().__init__(message)
        self.retry_after_s = retry_after_s


def data_of(status: int, headers: Mapping[str, str], body: bytes, *, url: str) -> dict[str, Any]:
    """Return the data of an answer of the GraphQL API at `url`.

    Raises:
        BusyError: it may be asked again later.
        VendureError: it refuses, or is no GraphQL API; `reason` is FORBIDDEN also where the session has ended.
    """
    if status in _BUSY:
        raise BusyError(
            f"Vendure at {url} cannot answer now (HTTP {status}): try again later",
            retry_after_s=_retry_after_s(headers),
        )
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        answer = None
    if not isinstance(answer, dict) or not ("data" in answer or "errors" in answer):
        raise _no_api(status, headers, url)
    if answer.get("errors"):
        raise refusal(answer["errors"])
    if not isinstance(answer["data"], dict):
        raise _no_api(status, headers, url)
    return answer["data"]


def refusal(errors: object) -> VendureError:
    """Return the error of what GraphQL calls `errors`."""
    first = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}
    message = str(first.get("message", ""))[:_LETTERS_MOST]
    extensions = first.get("extensions")
    reason = str(extensions.get("code", "")) if isinstance(extensions, dict) else ""
    unknown = _UNKNOWN_CUSTOM_FIELD.search(message)
    if unknown:
        field = unknown["written"] or unknown["read"] or "customFields"
        return VendureError(
            f"Vendure's channels have no custom field {field}: install the Shelfsight plugin there, or update it",
            reason=UNKNOWN_FIELD,
        )
    truncated = _TRUNCATED.search(message)
    if truncated:
        return VendureError(
            f"the file has more than the {int(truncated[1]):,} bytes that Vendure takes: "
            "raise assetOptions.uploadMaxFileSize",
            reason=TOO_LARGE,
        )
    if reason == CHANNEL_NOT_FOUND:
        return VendureError("Vendure has no channel with that token: check the channel's token", reason=reason)
    return VendureError(f"Vendure answers: {message or 'an error without a message'}", reason=reason)


def result_of(result: Any, *, file: str = "") -> dict[str, Any]:
    """Return what a mutation made, if its result is no error.

    Args:
        result: of a document that asks for `__typename`, and for `errorCode` and `message` on errors.
        file: name of the file that was uploaded, for the message.

    Raises:
        VendureError: it is one; `reason` is its `errorCode`.
    """
    if not isinstance(result, dict):
        raise VendureError("Vendure answers without a result: try again")
    code = result.get("errorCode")
    if not code:
        return result
    if code == MIME_TYPE:
        raise _not_permitted(file, str(result.get("mimeType", ""))[:80])
    raise VendureError(f"Vendure answers: {str(result.get('message', code))[:_LETTERS_MOST]}", reason=str(code))


def _not_permitted(file: str, detected: str) -> VendureError:
    ending = "." + file.rpartition(".")[2]
    if detected in {mimetypes.types_map.get(ending), "application/octet-stream"}:
        return VendureError(
            f"{ending} is not permitted: add {ending} to assetOptions.permittedFileTypes", reason=MIME_TYPE
        )
    return VendureError(
        f"the first bytes of {file} look like {detected}, which is not permitted: "
        "add that to assetOptions.permittedFileTypes",
        reason=LOOKS_OTHERWISE,
    )


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    said = headers.get("retry-after", "").strip()
    return float(said) if re.fullmatch(r"[0-9]{1,6}", said, re.ASCII) else None


def _no_api(status: int, headers: Mapping[str, str], url: str) -> VendureError | UnavailableError:
    """Return the error of an answer that is none of a GraphQL API: of a proxy, or of another page."""
    if status in range(300, 400):
        return VendureError(f"{url} redirects to {headers.get('location', 'another place')[:200]}: use that address")
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return VendureError(
            "a proxy before Vendure refuses so many bytes (HTTP 413): raise its limit, nginx' client_max_body_size",
            reason=TOO_LARGE,
        )
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.PROXY_AUTHENTICATION_REQUIRED}:
        return VendureError(f"a proxy before {url} refuses (HTTP {status}): let Shelfsight pass there")
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return BusyError(f"Vendure at {url} fails (HTTP {status}): look into its log, then try again")
    kind = headers.get("content-type", "").split(";")[0].strip() or "nothing that is known"
    return VendureError(
        f"{url} is no Admin API of Vendure (HTTP {status}, {kind[:80]}): "
        "use its address, such as https://shop.example/admin-api"
    )
