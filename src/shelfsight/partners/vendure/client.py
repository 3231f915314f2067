"""Asks Vendure's Admin API: as one administrator, in any channel, and no more often than is good for it.

Vendure's traps that end here: it prefers a cookie to the token, so cookies are dropped; `FORBIDDEN` may mean that the
session ended or that a permission is missing; a list may be cut into smaller pages than asked for; uploads name their
parts in a set order.
"""

from __future__ import annotations

import random
import re
import threading
import time
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit, urlunsplit

import httpx2
import orjson

from shelfsight.errors import UsageError, VendureAccessError, VendureError
from shelfsight.partners.vendure import documents
from shelfsight.partners.vendure.answers import FORBIDDEN, USER_INPUT, BusyError, data_of, result_of
from shelfsight.partners.vendure.credentials import ApiKey, Login, SessionToken

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from shelfsight.partners.vendure.credentials import Credentials

PAGE_MOST = 1000
"""Most items of a page that Vendure gives, if the installation does not say less."""

_TIMEOUT = httpx2.Timeout(60.0, connect=10.0)
_UPLOAD_TIMEOUT = httpx2.Timeout(300.0, connect=10.0)
_IDLE_S = 2.0  # Node closes idle connections after five seconds: a request on its way then would be lost
_DELAYS_S = (0.5, 2.0, 6.0)
_RETRY_AFTER_MOST_S = 60.0
_ANSWER_MOST = 64 * 2**20
_ANSWER_WITHIN_S = 300.0
"""For one answer, however slowly it drips."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadFile:
    """A file on its way to Vendure, under the name that it shall have there."""

    name: str
    data: bytes
    media_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some items of a list; `total` items are in the whole list."""

    items: tuple[dict[str, Any], ...]
    total: int


def admin_api(url: str) -> str:
    """Return the URL of the Admin API at an address: of a server alone, it is the usual path there.

    Raises:
        UsageError: it is no address of the web, or holds a password.
    """
    try:
        parts = urlsplit(url.strip())
        is_address = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets without an end, a port that is none
        is_address = False
    if not is_address:
        raise UsageError("the address of Vendure's Admin API must be one such as https://shop.example/admin-api")
    if parts.username is not None or parts.password is not None:
        raise UsageError("the address of Vendure's Admin API holds a user name or password: give them apart from it")
    return urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/") or "/admin-api", "", ""))


class VendureClient:
    """Vendure's Admin API, as one administrator. Threads may share one."""

    def __init__(
        self,
        api_url: str,
        credentials: Credentials,
        *,
        transport: httpx2.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Ask the API at a URL; nothing is sent yet.

        Args:
            transport: how to reach it, None = over the network.
            sleep: how to wait before a read is tried again.

        Raises:
            UsageError: the address is none.
        """
        self.url = admin_api(api_url)
        self._credentials = credentials
        self._session = credentials.token if isinstance(credentials, SessionToken) else None
        self._login = threading.Lock()
        self._sleep = sleep
        self._page_size = PAGE_MOST
        self._http = httpx2.Client(
            headers={"Apollo-Require-Preflight": "true", "User-Agent": "shelfsight"},
            timeout=_TIMEOUT,
            limits=httpx2.Limits(keepalive_expiry=_IDLE_S),
            transport=transport,
        )
        self._http.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"VendureClient({self.url!r})"

    @property
    def has_key(self) -> bool:
        """Whether an API key is shown, which is of one channel and of no administrator."""
        return isinstance(self._credentials, ApiKey)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def query(
        self,
        document: str,
        variables: Mapping[str, Any] | None = None,
        *,
        channel: str | None = None,
        needs: str = "",
    ) -> dict[str, Any]:
        """Return the data that a query asks for; tried again where the server cannot answer at the moment.

        Args:
            channel: token of the channel to ask in, None = the default channel.
            needs: names of the permissions, for the message where they are missing.

        Raises:
            VendureAccessError: who asks is not known, or may not.
            VendureError: Vendure refuses.
            UnavailableError: it does not answer.
        """
        return self._again(lambda: self._allowed(lambda: self._post(document, variables, channel), channel, needs))

    def mutate(
        self,
        document: str,
        variables: Mapping[str, Any] | None = None,
        *,
        channel: str | None = None,
        needs: str = "",
    ) -> dict[str, Any]:
        """Return the data that a mutation answers with; never tried again, since it may have had its effect.

        Args and Raises:
            As of `query`.
        """
        return self._allowed(lambda: self._post(document, variables, channel), channel, needs)

    def upload(
        self,
        document: str,
        inputs: Sequence[Mapping[str, Any]],
        files: Sequence[UploadFile],
        *,
        channel: str | None = None,
        needs: str = "",
    ) -> dict[str, Any]:
        """Return the data that a mutation answers with that takes files, one in each of its `inputs`.

        Args and Raises:
            As of `mutate`.
        """
        variables = {"input": [{**one, "file": None} for one in inputs]}
        places = {str(index): [f"variables.input.{index}.file"] for index in range(len(files))}
        parts: list[tuple[str, Any]] = [  # a list: Vendure wants this order
            ("operations", (None, orjson.dumps({"query": document, "variables": variables}))),
            ("map", (None, orjson.dumps(places))),
            *((str(index), (file.name, file.data, file.media_type)) for index, file in enumerate(files)),
        ]
        return self._allowed(lambda: self._send(channel, files=parts, timeout=_UPLOAD_TIMEOUT), channel, needs)

    def pages(
        self,
        document: str,
        field: str,
        options: Mapping[str, Any] | None = None,
        *,
        channel: str | None = None,
        needs: str = "",
    ) -> Iterator[Page]:
        """Yield the pages of a list, which a document asks for with `$options` and finds in `field`.

        Give a stable order in `options`: what moves between two pages is missed.

        Args and Raises:
            As of `query`.
        """
        seen = 0
        while True:
            page = self._page(document, field, {**(options or {}), "skip": seen}, channel, needs)
            seen += len(page.items)
            yield page
            if not page.items or seen >= page.total:
                return

    def _page(self, document: str, field: str, options: Mapping[str, Any], channel: str | None, needs: str) -> Page:
        size = self._page_size
        try:
            found = self.query(document, {"options": {**options, "take": size}}, channel=channel, needs=needs)[field]
        except VendureError as exc:
            limit = _number_in(str(exc))
            if exc.reason != USER_INPUT or not 0 < limit < size:
                raise
            self._page_size = limit  # of this installation: adminListQueryLimit
            return self._page(document, field, options, channel, needs)
        return Page(items=tuple(found["items"]), total=int(found["totalItems"]))

    def _post(self, document: str, variables: Mapping[str, Any] | None, channel: str | None) -> dict[str, Any]:
        content = orjson.dumps({"query": document, "variables": variables or {}})
        return self._send(channel, content=content, headers={"Content-Type": "application/json"})

    def _send(self, channel: str | None, *, headers: Mapping[str, str] | None = None, **how: Any) -> dict[str, Any]:
        """Return the data of one answer, logging in before if that is how we are let in."""
        if isinstance(self._credentials, Login) and self._session is None:
            self._log_in(None)
        data, _ = self._request({**(headers or {}), **self._shown(channel)}, **how)
        return data

    def _request(self, headers: Mapping[str, str], **how: Any) -> tuple[dict[str, Any], Mapping[str, str]]:
        """Return the data of an answer, and its headers."""
        try:
            with self._http.stream("POST", self.url, headers=headers, **how) as response:
                body = _read(response)
        except httpx2.HTTPError as exc:
            raise _silent(self.url, exc) from exc
        return data_of(response.status_code, response.headers, body, url=self.url), response.headers

    def _shown(self, channel: str | None) -> dict[str, str]:
        """Return the headers that say who asks, and in which channel."""
        found = {} if channel is None else {"vendure-token": channel}
        if isinstance(self._credentials, ApiKey):
            found["vendure-api-key"] = self._credentials.key
        elif self._session is not None:
            found["Authorization"] = f"Bearer {self._session}"
        for name, value in found.items():
            if not (value.isascii() and value.isprintable()):
                raise UsageError(f"what is sent as {name} has a letter that no token has: copy it again")
        return found

    def _allowed(self, ask: Callable[[], dict[str, Any]], channel: str | None, needs: str) -> dict[str, Any]:
        """Return what is answered, after logging in once more if the session has ended."""
        try:
            return ask()
        except VendureError as exc:
            if exc.reason != FORBIDDEN:
                raise
        session = self._session
        if self._is_known(channel):
            raise _lacking(needs)
        if not isinstance(self._credentials, Login):
            raise _unknown(self._credentials)
        self._log_in(session)
        try:
            return ask()
        except VendureError as exc:
            if exc.reason != FORBIDDEN:
                raise
            raise _lacking(needs) from exc

    def _is_known(self, channel: str | None) -> bool:
        """Return whether Vendure still knows who asks."""
        try:
            # Only an administrator has a `me`; of an API key, which is none, only its own channel knows.
            who = documents.ACTIVE_CHANNEL if self.has_key else documents.ME
            self._post(who, None, channel)
        except VendureError as exc:
            if exc.reason != FORBIDDEN:
                raise
            return False
        return True

    def _log_in(self, ended: str | None) -> None:
        """Begin a session in place of the one that ended, unless another thread has."""
        with self._login:
            if self._session != ended or not isinstance(self._credentials, Login):
                return
            variables = {"username": self._credentials.username, "password": self._credentials.password}
            content = orjson.dumps({"query": documents.LOGIN, "variables": variables})
            data, headers = self._request({"Content-Type": "application/json"}, content=content)
            try:
                result_of(data["login"])
            except VendureError as exc:
                name = self._credentials.username
                raise VendureAccessError(
                    f"Vendure does not let {name} in: check name and password", reason=exc.reason
                ) from exc
            token = headers.get("vendure-auth-token")
            if not token:
                raise VendureError("Vendure gives no token: add 'bearer' to its authOptions.tokenMethod")
            self._session = token

    def _again(self, ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return what is answered, the first time or a later one."""
        for delay_s in _DELAYS_S:
            try:
                return ask()
            except BusyError as exc:
                asked_s = exc.retry_after_s or 0.0
                if asked_s > _RETRY_AFTER_MOST_S:
                    raise
                spread = 1 + random.random() / 4  # noqa: S311 (spreads attempts, guards nothing)
                self._sleep(max(delay_s * spread, asked_s))
        return ask()


def _read(response: httpx2.Response) -> bytes:
    """Return what a server answers, if that ends."""
    data, ends_at = bytearray(), time.monotonic() + _ANSWER_WITHIN_S
    for chunk in response.iter_bytes():
        data += chunk
        if len(data) > _ANSWER_MOST:
            raise VendureError(f"{response.url} has more than {_ANSWER_MOST:,} bytes: that is nothing of ours")
        if time.monotonic() > ends_at:
            raise BusyError(f"{response.url} does not answer in time: try again later")
    return bytes(data)


def _number_in(message: str) -> int:
    """Return the first number in a message, whatever its language; 0 where there is none."""
    found = re.search(r"[0-9]{1,9}", message)
    return int(found[0]) if found else 0


def _lacking(needs: str) -> VendureAccessError:
    wanted = f"the permission {needs}" if needs else "more permissions"
    return VendureAccessError(
        f"Vendure does not permit this: give the administrator's role {wanted} in the channel", reason=FORBIDDEN
    )


def _unknown(credentials: Credentials) -> VendureAccessError:
    if isinstance(credentials, ApiKey):
        message = "Vendure does not know the API key in this channel: make a key there, while that channel is active"
    else:
        message = "Vendure does not know the token, which may have expired: log in again and give the new one"
    return VendureAccessError(message, reason=FORBIDDEN)


def _silent(url: str, exc: httpx2.HTTPError) -> BusyError:
    if isinstance(exc, httpx2.TimeoutException):
        return BusyError(f"{url} does not answer in time: try again later")
    if isinstance(exc, httpx2.ConnectError) and "certificate" in str(exc).lower():
        return BusyError(f"{url} has a certificate that is not trusted here: renew it, or trust its authority")
    if isinstance(exc, httpx2.ConnectError):
        return BusyError(f"{url} cannot be reached: check the address and that Vendure runs")
    return BusyError(f"the connection to {url} broke off ({type(exc).__name__}): try again")
