"""The socket that a command serves on."""

from __future__ import annotations

import socket

from shelfsight.errors import UsageError

_EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 (compared, not bound)
_WAITING_MOST = 2048


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; who asks before the server runs waits instead of being refused.

    Raises:
        UsageError: the host is no address of this machine, or the port is taken.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError):
        raise UsageError(f"host {host!r} is not known: name an address of this machine") from None
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen(_WAITING_MOST)
    except OSError as exc:
        listener.close()
        raise UsageError(
            f"port {port} of {host} cannot be used ({exc.strerror}): choose another with --port, or 0"
        ) from exc
    return listener


def is_for_others(listener: socket.socket) -> bool:
    """Return whether other machines reach a socket that listens at every address."""
    return listener.getsockname()[0] in _EVERY_ADDRESS


def address_of(listener: socket.socket, *, scheme: str = "http") -> str:
    """Return the URL under which this machine reaches a socket that listens."""
    host, port = listener.getsockname()[:2]
    shown = _EVERY_ADDRESS.get(host, f"[{host}]" if ":" in host else host)
    return f"{scheme}://{shown}:{port}"
