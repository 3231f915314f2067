"""Addresses on the web that a stranger names: asked by us, and never inside our own network.

A name is resolved once, every address it has is checked, and the connection goes to a checked address: a name server
that answers differently the second time is not asked a second time. Redirects begin all over, or are not followed.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotInTime
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

import httpcore2

from shelfsight.errors import UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

URL_LENGTH_MOST = 2000
SECONDS_A_URL = 20.0
_DEFAULT_PORTS = {"http": 80, "https": 443}
_PRIVILEGED_BELOW = 1024
_READ_OF_AN_ANSWER = 16 * 2**10
_AZURE_HOST = ipaddress.ip_address("168.63.129.16")
"""Looks public, and is inside: a virtual machine of Azure asks its host there, for certificates among others."""
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_GLOBAL_IPV6 = ipaddress.ip_network("2000::/3")
_NOT_PUBLIC = "its server is not on the public internet"


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
    """What may be asked on the web; the defaults are for strangers' addresses.

    Attributes:
        ports: None = 80, 443, and every one from 1024 on.
        seconds: for everything: the name, the connection, the request and its answer.
    """

    is_allowed: Callable[[Address], bool] = is_public
    resolve: Callable[[str, int], list[str]] = resolve
    ports: frozenset[int] | None = frozenset({80, 443})
    seconds: float = SECONDS_A_URL
    max_bytes: int = 50 * 2**20
    ssl_context: ssl.SSLContext = field(default_factory=ssl.create_default_context)


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """What a server answered to a POST. `retry_after_s`: when to come back, if it says so in seconds."""

    status: int
    retry_after_s: int | None = None


class Web:
    """What asks the web within a reach; follows no redirects. One thread at a time uses it."""

    def __init__(self, reach: Reach, *, keeps_s: float = 0.0) -> None:
        """Ask nothing yet.

        Args:
            keeps_s: how long a connection that nobody uses stays open, in case the same server is asked again.
        """
        self._reach = reach
        self._ends = _End()
        self._pool = httpcore2.ConnectionPool(
            network_backend=_CheckedNetwork(reach, self._ends),
            ssl_context=reach.ssl_context,
            max_keepalive_connections=1 if keeps_s else 0,
            keepalive_expiry=keeps_s,
        )

    @contextmanager
    def asking(self, *, ends_at: float = float("inf")) -> Iterator[httpcore2.ConnectionPool]:
        """Yield what asks.

        Args:
            ends_at: when to give up, by the monotonic clock, if `reach.seconds` do not end before.

        Raises:
            UnreachableError: what is asked for in the block may not be, or does not answer in time.
        """
        self._ends.at = min(ends_at, time.monotonic() + self._reach.seconds)
        with _told():
            yield self._pool

    def close(self) -> None:
        """Close what connections are kept."""
        self._pool.close()


@contextmanager
def opened(reach: Reach, *, ends_at: float = float("inf")) -> Iterator[httpcore2.ConnectionPool]:
    """Yield what asks the web within `reach`, and keep no connection; as `Web.asking`."""
    with closing(Web(reach)) as web, web.asking(ends_at=ends_at) as pool:
        yield pool


def post(url: str, body: bytes, headers: list[tuple[bytes, bytes]], reach: Reach) -> Posted:
    """Send `body` to a URL and return what is answered, of which only the status and when to come back are read.

    Raises:
        UnreachableError: it is no URL that may be asked, or does not answer in time.
    """
    target = checked_url(url, reach)
    with opened(reach) as pool, pool.stream("POST", target, headers=headers, content=body) as response:
        retry_after = header_of(response, b"retry-after")
        is_number = retry_after.isascii() and retry_after.isdigit()
        answer = Posted(status=response.status, retry_after_s=int(retry_after[:9]) if is_number else None)
        _skim(response)
    return answer


def check_addresses(url: str, reach: Reach) -> None:
    """Refuse a URL whose server may not be asked, as far as names tell today; it is asked nothing.

    Raises:
        UnreachableError: it is no URL that may be asked, or its name is unknown.
    """
    parts = urlsplit(checked_url(url, reach))
    network = _CheckedNetwork(reach, _End(at=time.monotonic() + reach.seconds))
    with _told():
        network.addresses(parts.hostname or "", parts.port or _DEFAULT_PORTS[parts.scheme])


def checked_url(url: str, reach: Reach) -> str:
    """Return the URL in ASCII, which may be asked if its addresses may.

    Raises:
        UnreachableError: it may not, wherever its server is.
    """
    try:
        parts = urlsplit(url)
        port, host = parts.port, (parts.hostname or "").encode("idna").decode()
    except ValueError:  # UnicodeError is one
        raise UnreachableError("not an address of the web") from None
    if len(url) > URL_LENGTH_MOST or not host or any(ord(each) <= 32 for each in url):
        raise UnreachableError("not an address of the web")
    if parts.scheme not in _DEFAULT_PORTS:
        raise UnreachableError("only http:// and https:// are asked")
    if parts.username is not None or parts.password is not None:
        raise UnreachableError("it holds a user name or password: use an address without")
    _check_port(_DEFAULT_PORTS[parts.scheme] if port is None else port, reach)
    place = f"[{host}]" if ":" in host else host
    path, query = (quote(part, safe="/%:@!$&'()*+,;=~?[]|{}^`\"<>\\") for part in (parts.path, parts.query))
    return urlunsplit((parts.scheme, place if port is None else f"{place}:{port}", path or "/", query, ""))


def redirected(url: str, location: str) -> str:
    """Return where an answer of `url` redirects to.

    Raises:
        UnreachableError: that is no URL.
    """
    try:
        return urljoin(url, location)
    except ValueError:
        raise UnreachableError("it redirects to what is no address of the web") from None


def header_of(response: httpcore2.Response, name: bytes) -> str:
    """Return a header of an answer, empty where it has none."""
    return next((value.decode("utf-8", "replace") for key, value in response.headers if key.lower() == name), "")


def _check_port(port: int, reach: Reach) -> None:
    if reach.ports is None:
        if port not in _DEFAULT_PORTS.values() and port < _PRIVILEGED_BELOW:
            raise UnreachableError(f"port {port} is not asked: only 80, 443, and those from {_PRIVILEGED_BELOW} on")
    elif port not in reach.ports:
        raise UnreachableError(f"only the ports {', '.join(map(str, sorted(reach.ports)))} are asked")


def _skim(response: httpcore2.Response) -> None:
    """Read the beginning of an answer that nobody wants: closed on unread bytes, a server would see it fail."""
    seen = 0
    try:
        for chunk in response.iter_stream():
            seen += len(chunk)
            if seen > _READ_OF_AN_ANSWER:
                return
    except (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.TimeoutException, NotInTime, OSError):
        return


@contextmanager
def _told() -> Iterator[None]:
    """Turn what goes wrong on the way into the reason of it, which says nothing of our own network."""
    try:
        yield
    except (httpcore2.TimeoutException, NotInTime):
        raise UnreachableError("the server does not answer in time") from None
    except ssl.SSLError:
        raise UnreachableError("the server's certificate is not valid") from None
    except (httpcore2.NetworkError, OSError) as exc:
        if isinstance(exc.__cause__ or exc.__context__, ssl.SSLError):
            raise UnreachableError("the server's certificate is not valid") from None
        raise UnreachableError("the server cannot be reached") from None
    except (httpcore2.ProtocolError, httpcore2.UnsupportedProtocol):
        raise UnreachableError("the server answers with something else than HTTP") from None


@dataclass(slots=True)
class _End:
    """When the time is over, by the monotonic clock; with a kept connection it moves from request to request."""

    at: float = 0.0

    def left_s(self) -> float:
        """Return how many seconds are left.

        Raises:
            TimeoutError: none.
        """
        left = self.at - time.monotonic()
        if left <= 0:
            raise NotInTime
        return left


class _CheckedNetwork(httpcore2.NetworkBackend):
    """Connections to allowed addresses only, over when the time is."""

    def __init__(self, reach: Reach, ends: _End) -> None:
        self._reach = reach
        self._ends = ends
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
        for address in self.addresses(host, port):
            try:
                left_s = self._ends.left_s()
                stream = self._system.connect_tcp(address, port, left_s, local_address, socket_options)
            except httpcore2.ConnectError as exc:
                failure = exc
            else:
                return _TimedStream(stream, self._ends)
        raise failure

    def connect_unix_socket(self, *_: Any, **__: Any) -> httpcore2.NetworkStream:
        """Refuse: nothing on the web is there."""
        raise UnreachableError("only http:// and https:// are asked")

    def addresses(self, host: str, port: int) -> list[str]:
        """Return the addresses of a name, all of which are allowed."""
        pool = ThreadPoolExecutor(1, "shelfsight-resolve")  # the system's resolver knows no time limit
        try:
            found = pool.submit(self._reach.resolve, host, port).result(self._ends.left_s())
        finally:
            pool.shutdown(wait=False)
        try:
            addresses = [ipaddress.ip_address(each) for each in found]
        except ValueError:  # an address of this link, fe80::1%eth0
            addresses = []
        if not addresses or not all(map(self._reach.is_allowed, addresses)):
            raise UnreachableError(_NOT_PUBLIC)
        return [str(address) for address in addresses]


class _TimedStream(httpcore2.NetworkStream):
    """A connection of which every step ends when the whole time does."""

    def __init__(self, stream: httpcore2.NetworkStream, ends: _End) -> None:
        self._stream = stream
        self._ends = ends

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        return self._stream.read(max_bytes, self._ends.left_s())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        self._stream.write(buffer, self._ends.left_s())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002
    ) -> httpcore2.NetworkStream:
        stream = self._stream.start_tls(ssl_context, server_hostname, self._ends.left_s())
        return _TimedStream(stream, self._ends)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
