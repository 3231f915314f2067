"""A server's own certificate: what browsers take, kept for as long as it is good."""

from __future__ import annotations

import asyncio
import ssl
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from shelfsight.access.certificates import Certificate, own_certificate
from shelfsight.errors import OutputError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("localhost", "127.0.0.1", "::1")


async def _handshake(certificate: Certificate, trusted: Path, name: str) -> str:
    """Return the protocol that a client who trusts `trusted` agrees on with a server of this certificate."""
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(certificate.server)
    client_side = ssl.create_default_context(cafile=str(trusted))
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0, ssl=server_side)
    async with server:
        port = server.sockets[0].getsockname()[1]
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client_side, server_hostname=name)
        version: str = writer.get_extra_info("ssl_object").version()
        writer.close()
    return version


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
def test_a_client_that_trusts_the_authority_takes_the_server(tmp_path: Path, name: str) -> None:
    certificate = own_certificate(tmp_path, NAMES)
    assert asyncio.run(_handshake(certificate, certificate.authority, name)) == "TLSv1.3"


def test_a_name_that_was_not_given_is_refused(tmp_path: Path) -> None:
    certificate = own_certificate(tmp_path, ("till.local",))
    with pytest.raises(ssl.SSLCertVerificationError):
        asyncio.run(_handshake(certificate, certificate.authority, "localhost"))


def test_who_trusts_another_authority_refuses_the_server(tmp_path: Path) -> None:
    ours, other = own_certificate(tmp_path / "ours", NAMES), own_certificate(tmp_path / "other", NAMES)
    with pytest.raises(ssl.SSLCertVerificationError):
        asyncio.run(_handshake(ours, other.authority, "localhost"))


def test_the_same_certificate_is_used_again(tmp_path: Path) -> None:
    first = own_certificate(tmp_path, NAMES)
    kept = first.server.read_bytes()
    assert own_certificate(tmp_path, NAMES[:1]) == first
    assert first.server.read_bytes() == kept


def test_another_name_or_the_end_of_it_renews_the_certificate_and_keeps_the_authority(tmp_path: Path) -> None:
    first = own_certificate(tmp_path, NAMES)
    kept = first.server.read_bytes()
    wider = own_certificate(tmp_path, (*NAMES, "till.local"))
    assert wider.fingerprint == first.fingerprint
    assert wider.server.read_bytes() != kept
    kept = wider.server.read_bytes()
    later = own_certificate(tmp_path, NAMES, now=datetime.now(UTC) + timedelta(days=380))
    assert later.fingerprint == first.fingerprint
    assert later.server.read_bytes() != kept


def test_an_authority_at_its_end_is_made_anew(tmp_path: Path) -> None:
    first = own_certificate(tmp_path, NAMES)
    assert own_certificate(tmp_path, NAMES, now=datetime.now(UTC) + timedelta(days=3400)) != first


def test_keys_are_for_their_owner_alone(tmp_path: Path) -> None:
    own_certificate(tmp_path / "tls", NAMES)
    assert {file.stat().st_mode & 0o077 for file in (tmp_path / "tls").iterdir()} == {0}
    assert sorted(file.name for file in (tmp_path / "tls").iterdir()) == [
        "authority.crt",
        "authority.pem",
        "server.pem",
    ]


def test_of_many_who_start_at_once_all_have_the_same_authority(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: own_certificate(tmp_path, NAMES), range(8)))
    assert len({one.fingerprint for one in made}) == 1
    assert asyncio.run(_handshake(made[0], made[0].authority, "localhost")) == "TLSv1.3"


def test_a_damaged_authority_is_told_and_left_alone(tmp_path: Path) -> None:
    own_certificate(tmp_path, NAMES)
    (tmp_path / "authority.pem").write_bytes(b"not a certificate")
    with pytest.raises(UsageError, match="is damaged"):
        own_certificate(tmp_path, NAMES)
    assert (tmp_path / "authority.pem").read_bytes() == b"not a certificate"


def test_a_damaged_server_certificate_is_made_anew(tmp_path: Path) -> None:
    certificate = own_certificate(tmp_path, NAMES)
    certificate.server.write_bytes(certificate.server.read_bytes()[:100])
    certificate = own_certificate(tmp_path, NAMES)
    assert asyncio.run(_handshake(certificate, certificate.authority, "localhost")) == "TLSv1.3"


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="name another place"):
        own_certificate(tmp_path / "file" / "tls", NAMES)


def test_without_a_name_there_is_no_certificate(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--name"):
        own_certificate(tmp_path, ())


@pytest.mark.parametrize("name", ["", "büro", "a b", "https://till.local:8443", "x" * 300, "-a.local", "fe80::1%e0"])
def test_what_is_no_name_is_told_as_such(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="is no name of a server: write it as till"):
        own_certificate(tmp_path, ("localhost", name))


@pytest.mark.parametrize("name", ["till.local", "MY_PC", "*.shop.example", "192.168.1.7", "fd00::7", "xn--bro-hoa"])
def test_what_is_a_name_gets_a_certificate(tmp_path: Path, name: str) -> None:
    assert own_certificate(tmp_path, (name,)).server.exists()
