"""A certificate for `shelfsight serve --tls`, for all names by which phones could reach this machine."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shelfsight.access.certificates import Certificate

_ANYWHERE = ("192.0.2.1", 9)  # nothing is sent: it tells which of our addresses leads outside


def certificate_for(names: Iterable[str]) -> Certificate:
    """Return this machine's certificate, kept in the data folder.

    Args:
        names: by which phones reach it beside those that the machine itself knows.

    Raises:
        OutputError: the data folder cannot be written.
        UsageError: a name is none, or what the folder holds is damaged.
    """
    from shelfsight.access.certificates import own_certificate
    from shelfsight.settings import data_dir

    return own_certificate(data_dir() / "tls", {*names, *own_names()})


def own_names() -> list[str]:
    """Return the names and addresses of this machine, those for others last."""
    from shelfsight.access.certificates import is_name

    host = socket.gethostname()
    names = ["localhost", "127.0.0.1", "::1", *([host] if is_name(host) else [])]
    if is_name(host) and "." not in host:
        names.append(f"{host}.local")  # as phones find it by multicast DNS
    return [*names, *own_addresses()]


def own_addresses() -> list[str]:
    """Return the addresses by which other machines reach this one, as far as is known."""
    found = []
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(_ANYWHERE)
        found.append(probe.getsockname()[0])
    return found
