"""Pictures from addresses on the web that a stranger names: never from inside our own network.

A name is resolved once, every address it has is checked, and the connection goes to a checked address: a name server
that answers differently the second time is not asked a second time. Redirects begin all over.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotInTime
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import BoundedSemaphore
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

import httpcore2

from shelfsight.catalog.images import MAX_IMAGE_BYTES, Added, Outcome, Upload
from shelfsight.errors import PictureError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

URLS_MOST = 20
"""Most addresses in one call."""
URL_LENGTH_MOST = 2000
REDIRECTS_MOST = 3
SECONDS_A_URL = 20.0
SECONDS_A_CALL = 50.0
_AT_ONCE = 4
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_SLOTS = BoundedSemaphore(2 * _AT_ONCE)
"""Pictures in memory at a time, whoever asked for them."""
_AZURE_HOST = ipaddress.ip_address("168.63.129.16")
"""Looks public, and is inside: a virtual machine of Azure asks its host there, for certificates among others."""
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_GLOBAL_IPV6 = ipaddress.ip_network("2000::/3")
_HEADERS = [(b"accept", b"image/*"), (b"accept-encoding", b"identity"), (b"user-agent", b"shelfsight")]


def is_public(address: Address) -> bool:
    """Return whether an address belongs to the internet, and to nobody's inside; what it wraps must, too."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = _wrapped(address)
        if inner is not None:
            return is_public(inner)
        if address not in _GLOBAL_IPV6 or address.teredo:
            return False
    if address == _AZURE_HOST:
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def _wrapped(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address that packets to `address` end up at: IPv4-mapped, 6to4 or NAT64."""
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


def resolve(host: str, port: int) -> list[str]:
    """Return the addresses of a name, as the system knows them.

    Raises:
        OSError: it has none.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """Where pictures may be fetched from; the defaults are for strangers' addresses."""

    is_allowed: Callable[[Address], bool] = is_public
    resolve: Callable[[str, int], list[str]] = resolve
    ports: frozenset[int] = frozenset({80, 443})
    seconds: float = SECONDS_A_URL
    max_bytes: int = MAX_IMAGE_BYTES
    ssl_context: ssl.SSLContext = field(default_factory=ssl.create_default_context)


def fetch_each(urls: Sequence[str], add: Callable[[Upload], Added], reach: Reach | None = None) -> list[Added]:
    """Fetch pictures, a few at a time, and add each; return what became of them, in order.

    Args:
        add: called in threads, as soon as its picture is there, so that few are in memory.

    Raises:
        UsageError: there are too many.
    """
    if len(urls) > URLS_MOST:
        raise UsageError(f"{len(urls)} addresses at once: send at most {URLS_MOST}")
    chosen = reach or Reach()
    ends_at = time.monotonic() + SECONDS_A_CALL

    def fetch_one(url: str) -> Added:
        with _SLOTS:
            try:
                data = fetch(url, chosen, ends_at=ends_at)
            except PictureError as reason:
                return Added(name=url, outcome=Outcome.REFUSED, reason=str(reason))
            return add(Upload(name=url, data=data))

    with ThreadPoolExecutor(_AT_ONCE, "shelfsight-fetch") as pool:
        return list(pool.map(fetch_one, urls))


def fetch(url: str, reach: Reach, *, ends_at: float = float("inf")) -> bytes:
    """Return the bytes at a URL.

    Args:
        ends_at: when to give up, by the monotonic clock, if `reach.seconds` do not end before.

    Raises:
        PictureError: it is no URL that may be fetched, does not answer in time, or with more than a picture.
    """
    network = _CheckedNetwork(reach, min(ends_at, time.monotonic() + reach.seconds))
    with (
        _refused(),
        httpcore2.ConnectionPool(
            network_backend=network, ssl_context=reach.ssl_context, max_keepalive_connections=0
        ) as pool,
    ):
        for _ in range(REDIRECTS_MOST + 1):
            target = _checked_url(url, reach)
            with pool.stream("GET", target, headers=_HEADERS) as response:
                location = _header(response, b"location")
                if response.status not in _REDIRECTS or not location:
                    return _body(response, reach)
            url = urljoin(target, location)
    raise PictureError(f"redirected more than {REDIRECTS_MOST} times")


def _checked_url(url: str, reach: Reach) -> str:
    """Return the URL in ASCII, which may be fetched if its addresses may."""
    try:
        parts = urlsplit(url)
        port, host = parts.port, (parts.hostname or "").encode("idna").decode()
    except ValueError:  # UnicodeError is one
        raise PictureError("not an address of the web") from None
    if len(url) > URL_LENGTH_MOST or not host or any(ord(each) <= 32 for each in url):
        raise PictureError("not an address of the web")
    if parts.scheme not in {"http", "https"}:
        raise PictureError("only http:// and https:// are fetched")
    if parts.username is not None or parts.password is not None:
        raise PictureError("it holds a user name or password: use an address without")
    if (port or {"http": 80, "https": 443}[parts.scheme]) not in reach.ports:
        raise PictureError(f"only the ports {', '.join(map(str, sorted(reach.ports)))} are fetched from")
    place = f"[{host}]" if ":" in host else host
    path, query = (quote(part, safe="/%:@!$&'()*+,;=~?[]|{}^`\"<>\\") for part in (parts.path, parts.query))
    return urlunsplit((parts.scheme, place if port is None else f"{place}:{port}", path or "/", query, ""))


def _body(response: httpcore2.Response, reach: Reach) -> bytes:
    if response.status != 200:
        raise PictureError(f"the server answers {response.status}")
    if _header(response, b"content-encoding") not in {"", "identity"}:
        raise PictureError("the server sends it compressed, though it was asked not to")
    too_large = f"larger than {reach.max_bytes // 2**20} MiB"
    length = _header(response, b"content-length")
    if length.isdecimal() and int(length) > reach.max_bytes:
        raise PictureError(too_large)
    data = bytearray()
    for chunk in response.iter_stream():
        data += chunk
        if len(data) > reach.max_bytes:
            raise PictureError(too_large)
    return bytes(data)


def _header(response: httpcore2.Response, name: bytes) -> str:
    return next((value.decode("utf-8", "replace") for key, value in response.headers if key.lower() == name), "")


@contextmanager
def _refused() -> Iterator[None]:
    """Turn what goes wrong on the way into the reason why there is no picture; it says nothing of our own network."""
    try:
        yield
    except (httpcore2.TimeoutException, NotInTime):
        raise PictureError("the server does not answer in time") from None
    except ssl.SSLError:
        raise PictureError("the server's certificate is not valid") from None
    except (httpcore2.NetworkError, OSError) as exc:
        if isinstance(exc.__cause__ or exc.__context__, ssl.SSLError):
            raise PictureError("the server's certificate is not valid") from None
        raise PictureError("the server cannot be reached") from None
    except (httpcore2.ProtocolError, httpcore2.UnsupportedProtocol):
        raise PictureError("the server answers with something else than HTTP") from None


class _CheckedNetwork(httpcore2.NetworkBackend):
    """Connections to allowed addresses only, over when the time is."""

    def __init__(self, reach: Reach, ends_at: float) -> None:
        self._reach = reach
        self._ends_at = ends_at
        self._system = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002 (what is left of the whole time counts)
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        """Connect to the first address of `host` that answers, if all of them are allowed."""
        failure: Exception = OSError("no address")
        for address in self._addresses(host, port):
            try:
                left_s = _left_s(self._ends_at)
                stream = self._system.connect_tcp(address, port, left_s, local_address, socket_options)
            except httpcore2.ConnectError as exc:
                failure = exc
            else:
                return _TimedStream(stream, self._ends_at)
        raise failure

    def connect_unix_socket(self, *_: Any, **__: Any) -> httpcore2.NetworkStream:
        """Refuse: no picture lies there."""
        raise PictureError("only http:// and https:// are fetched")

    def _addresses(self, host: str, port: int) -> list[str]:
        pool = ThreadPoolExecutor(1, "shelfsight-resolve")  # the system's resolver knows no time limit
        try:
            found = pool.submit(self._reach.resolve, host, port).result(_left_s(self._ends_at))
        finally:
            pool.shutdown(wait=False)
        try:
            addresses = [ipaddress.ip_address(each) for each in found]
        except ValueError:  # an address of this link, fe80::1%eth0
            addresses = []
        if not addresses or not all(map(self._reach.is_allowed, addresses)):
            raise PictureError("its server is not on the public internet")
        return [str(address) for address in addresses]


class _TimedStream(httpcore2.NetworkStream):
    """A connection of which every step ends when the whole time does."""

    def __init__(self, stream: httpcore2.NetworkStream, ends_at: float) -> None:
        self._stream = stream
        self._ends_at = ends_at

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        return self._stream.read(max_bytes, _left_s(self._ends_at))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        self._stream.write(buffer, _left_s(self._ends_at))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002
    ) -> httpcore2.NetworkStream:
        stream = self._stream.start_tls(ssl_context, server_hostname, _left_s(self._ends_at))
        return _TimedStream(stream, self._ends_at)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _left_s(ends_at: float) -> float:
    """Return how many seconds are left.

    Raises:
        TimeoutError: none.
    """
    left = ends_at - time.monotonic()
    if left <= 0:
        raise NotInTime
    return left
