"""A certificate of our own for a server in a shop's network, where nobody else gives one for its address.

Browsers give camera, service workers and WebCrypto to secure pages only. The authority is made once and kept: who has
trusted it on a phone need not do so again when the server's certificate is renewed.
"""

from __future__ import annotations

import os
import re
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from shelfsight.errors import OutputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

_AUTHORITY_LASTS = timedelta(days=3650)
_SERVER_LASTS = timedelta(days=397)  # longer ones are refused by Safari
_RENEWED_BEFORE = timedelta(days=30)
_CLOCKS_DIFFER = timedelta(hours=24)
_LABEL = "[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST = re.compile(rf"(?=.{{1,253}}$)(?:\*\.)?{_LABEL}(?:\.{_LABEL})*", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """Where the files of a server's certificate are.

    Attributes:
        authority: what people trust on their phones, PEM.
        server: the server's certificate and its key, PEM.
        fingerprint: SHA-256 of the authority, as phones show it: AB:CD:…
    """

    authority: Path
    server: Path
    fingerprint: str


def own_certificate(folder: Path, names: Collection[str], *, now: datetime | None = None) -> Certificate:
    """Return a certificate for a server that is reached by these names and addresses; made, or made anew, if need be.

    Args:
        names: host names and IP addresses, such as `till.local` and 192.168.1.7.

    Raises:
        OutputError: the folder cannot be written.
        UsageError: there is no name, one is none, or the files in the folder are damaged.
    """
    if not names:
        raise UsageError("a certificate needs a name or an address of the server: give --name")
    for name in sorted(names):
        if not is_name(name):
            raise UsageError(f"{name[:80]!r} is no name of a server: write it as till.local or 192.168.1.7")
    moment = now or datetime.now(UTC)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        authority = _authority(folder / "authority.pem", moment)
        _write(folder / "authority.crt", authority.pem)
        if not _is_good(folder / "server.pem", authority.certificate, names, moment):
            issued = _issued(authority, names, moment)
            _write(folder / "server.pem", issued.pem + _key_pem(issued.key))
    except OSError as exc:
        raise OutputError(f"the certificate cannot be kept in {folder} ({exc.strerror}): name another place") from exc
    except ValueError as exc:
        raise UsageError(
            f"the certificate in {folder} is damaged ({exc}): move the folder away, and start again"
        ) from exc
    digest = authority.certificate.fingerprint(hashes.SHA256()).hex(":").upper()
    return Certificate(authority=folder / "authority.crt", server=folder / "server.pem", fingerprint=digest)


def is_name(text: str) -> bool:
    """Return whether a certificate can be for `text`: a host's name in ASCII, or an IP address."""
    with suppress(ValueError):
        return "%" not in str(ip_address(text))
    return _HOST.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class _Pair:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)

    @property
    def pem(self) -> bytes:
        """The certificate, without the key."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)


def _authority(file: Path, now: datetime) -> _Pair:
    """Return the authority, made where there is none or it ends soon; of two who make one, one has made it."""
    with suppress(FileNotFoundError):
        found = _read(file)
        if found.certificate.not_valid_after_utc > now + _SERVER_LASTS:
            return found
        file.unlink()
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Shelfsight {now:%Y-%m-%d}")])
    made = (
        _begin(name, name, key.public_key(), now, _AUTHORITY_LASTS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    with suppress(FileExistsError):
        _write(file, _Pair(made, key).pem + _key_pem(key), only_if_absent=True)
    return _read(file)


def _is_good(file: Path, authority: x509.Certificate, names: Collection[str], now: datetime) -> bool:
    """Return whether the server's certificate is there, of this authority, for all names, and lasts a while."""
    try:
        found = _read(file).certificate
        found.verify_directly_issued_by(authority)
        named = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (FileNotFoundError, ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return False
    return found.not_valid_after_utc > now + _RENEWED_BEFORE and set(map(_general_name, names)) <= set(named)


def _issued(authority: _Pair, names: Collection[str], now: datetime) -> _Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Shelfsight server")])
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    made = (
        _begin(subject, authority.certificate.subject, key.public_key(), now, _SERVER_LASTS)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in sorted(names)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(issuer, critical=False)
        .sign(authority.key, hashes.SHA256())
    )
    return _Pair(made, key)


def _begin(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, lasts: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCKS_DIFFER)
        .not_valid_after(now - _CLOCKS_DIFFER + lasts)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _read(file: Path) -> _Pair:
    """Return what a file holds.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it holds no certificate with its key.
    """
    data = file.read_bytes()
    certificate = x509.load_pem_x509_certificate(data)
    key = serialization.load_pem_private_key(data, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise ValueError(f"the key in {file.name} is not that of the certificate")
    return _Pair(certificate, key)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(path: Path, data: bytes, *, only_if_absent: bool = False) -> None:
    """Write a file whole or not at all, for its owner's eyes only.

    Raises:
        FileExistsError: `only_if_absent`, and it is there.
    """
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if only_if_absent:
            os.link(beside, path)
        else:
            os.replace(beside, path)  # noqa: PTH105 (beside the other, of which pathlib has none with two names)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(beside)  # noqa: PTH108
