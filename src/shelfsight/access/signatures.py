"""Signed configs: what the server signs, and the whole rule by which a device accepts one.

`clients/js/core/trust.js` is the same rule in JavaScript; both answer to tests/vectors/configs.json.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import rfc8785
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_der_public_key

from shelfsight.access.keys import key_id_of
from shelfsight.errors import ConfigRefusedError, Refusal

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from shelfsight.access.keys import ConfigKey

ALGORITHM = "ES256"
MAX_BODY_BYTES = 65_536
_CONTEXT = b"shelfsight-config-v1\n"  # what this key signs can never be taken for anything else
_SIGNATURES = ("signature", "previousSignature")
_MAX_DEPTH = 16
_MAX_KEYS = 8
_MAX_NUMBER = 2**53 - 1  # above, JavaScript has no number of its own for each
_HALF_BYTES = 32
_SHOWN = 12
_KEY_ID = re.compile(r"[0-9a-f]{64}", re.ASCII)
_VALUE = re.compile(r"[A-Za-z0-9_-]{86}", re.ASCII)
_PUBLIC_KEY = re.compile(r"(?:[A-Za-z0-9+/]{4}){1,250}(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?", re.ASCII)
_INSTANT = re.compile(r"2\d{3}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{3})?Z", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """What a device has to know to judge a config, and keeps for the next.

    Attributes:
        channel: its own.
        keys: ids of the keys it trusts; first those of the pairing link, then those that the last config names.
        sequence: of the last config; 0 before the first.
    """

    channel: str
    keys: frozenset[str]
    sequence: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A config that a device goes by, and what it trusts from then on.

    Attributes:
        signed_by: id of the trusted key.
        expires_at: when it is no longer accepted.
    """

    document: dict[str, Any]
    trust: Trust
    signed_by: str
    expires_at: datetime


def canonical(document: Mapping[str, Any]) -> bytes:
    """Return the one way to write a document, RFC 8785 in UTF-8.

    Raises:
        ValueError: it holds what JSON cannot, a number beyond 2^53, or half a surrogate pair.
    """
    return rfc8785.dumps(dict(document))


def sign(document: Mapping[str, Any], keys: Sequence[ConfigKey]) -> dict[str, Any]:
    """Return a document with `signature`, and `previousSignature` where there are two keys.

    The same document and keys always give the same bytes, on every server.

    Args:
        document: as devices get it, with its `keys` (see `published`); signatures that it has are replaced.
        keys: the current one first, as `config_keys` returns them.

    Raises:
        ValueError: there is no key, or the document cannot be written as RFC 8785 says.
    """
    if not keys:
        raise ValueError("a config needs a key to be signed with")
    message = _message(document)
    signatures = {name: _signature(message, key) for name, key in zip(_SIGNATURES, keys, strict=False)}
    return _unsigned(document) | signatures


def published(keys: Sequence[ConfigKey]) -> list[dict[str, str]]:
    """Return what a config says of the keys that devices trust from then on."""
    return [{"keyId": key.id, "publicKey": base64.b64encode(key.public_key).decode()} for key in keys]


def verify(document: Mapping[str, Any], *, trusted: Collection[str]) -> str:
    """Return the id of the trusted key that has signed a document.

    Args:
        trusted: key ids. A signature by any other key is not looked at, whatever it is.

    Raises:
        ConfigRefusedError: none has, or the document lacks what a config must have.
    """
    _check_members(document)
    if not isinstance(document.get("signature"), dict):
        raise ConfigRefusedError("the config is not signed", reason=Refusal.UNSIGNED)
    signatures = [found for found in map(document.get, _SIGNATURES) if isinstance(found, dict)]
    theirs = [found for found in signatures if isinstance(found.get("keyId"), str) and found["keyId"] in trusted]
    if not theirs:
        signers = " and ".join(_shown(found.get("keyId")) for found in signatures)
        raise ConfigRefusedError(
            f"the config is signed by {signers}, which this device does not trust: pair it again if that is right",
            reason=Refusal.UNKNOWN_KEY,
        )
    try:
        message, public_keys = _message(document), _public_keys(document)
    except ValueError as exc:
        raise _malformed(f"it is no JSON that a config can be ({exc})") from None
    for signature in theirs:
        if _fits(signature, public_keys.get(signature["keyId"]), message):
            return str(signature["keyId"])
    raise ConfigRefusedError(
        f"the signature of {_shown(theirs[0]['keyId'])} does not fit the config: "
        "it was changed on its way, or somebody else signed it",
        reason=Refusal.BAD_SIGNATURE,
    )


def accept(body: bytes, state: Trust, now: datetime) -> Accepted:
    """Return the config in `body`, which a device in that state accepts, and its next state.

    Args:
        body: as it was sent, byte by byte.
        now: by the device's clock.

    Raises:
        ConfigRefusedError: it does not; its `reason` says why, and the state stays as it is.
    """
    document = _parsed(body)
    signed_by = verify(document, trusted=state.keys)
    channel, sequence, expires_at = document["channelId"], document["sequence"], _instant(document["expiresAt"])
    if channel != state.channel:
        raise ConfigRefusedError(
            f"the config is of channel {channel[:80]}, and this device belongs to {state.channel}",
            reason=Refusal.OTHER_CHANNEL,
        )
    if expires_at <= now:
        raise ConfigRefusedError(
            f"the config expired at {document['expiresAt']}: get a new one, and check the device's clock",
            reason=Refusal.EXPIRED,
        )
    if sequence < state.sequence:
        raise ConfigRefusedError(
            f"the config has sequence {sequence}, and this device has seen {state.sequence}: it is an old one",
            reason=Refusal.REPLAYED,
        )
    trust = Trust(channel=channel, keys=frozenset(_public_keys(document)), sequence=sequence)
    return Accepted(document=document, trust=trust, signed_by=signed_by, expires_at=expires_at)


def _unsigned(document: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in _SIGNATURES}


def _message(document: Mapping[str, Any]) -> bytes:
    """Return the bytes that are signed."""
    return _CONTEXT + canonical(_unsigned(document))


def _signature(message: bytes, key: ConfigKey) -> dict[str, str]:
    private = load_der_private_key(key.private_key, password=None)
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise TypeError(f"key {key.id} is no ECDSA key")
    r, s = decode_dss_signature(private.sign(message, ec.ECDSA(hashes.SHA256(), deterministic_signing=True)))
    plain = r.to_bytes(_HALF_BYTES, "big") + s.to_bytes(_HALF_BYTES, "big")
    value = base64.urlsafe_b64encode(plain).rstrip(b"=").decode()
    return {"algorithm": ALGORITHM, "keyId": key.id, "value": value}


def _fits(signature: Mapping[str, Any], public_key: bytes | None, message: bytes) -> bool:
    value = signature.get("value")
    if signature.get("algorithm") != ALGORITHM or not isinstance(value, str) or not _VALUE.fullmatch(value):
        return False
    try:
        public = load_der_public_key(public_key or b"")
    except (ValueError, UnsupportedAlgorithm):
        return False
    if not isinstance(public, ec.EllipticCurvePublicKey) or not isinstance(public.curve, ec.SECP256R1):
        return False
    plain = base64.urlsafe_b64decode(value + "==")
    r, s = (int.from_bytes(half, "big") for half in (plain[:_HALF_BYTES], plain[_HALF_BYTES:]))
    try:
        public.verify(encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:  # also for an r or s that none can be: 0, or the order of the curve and more
        return False
    return True


def _parsed(body: bytes) -> dict[str, Any]:
    """Return the document in a body that is written as the server writes it.

    Whatever two readers could read differently is gone with that: members named twice, 1.0 for 1, white space.
    """
    if len(body) > MAX_BODY_BYTES:
        raise ConfigRefusedError(f"the config has more than {MAX_BODY_BYTES} bytes", reason=Refusal.TOO_LARGE)
    try:
        document = json.loads(body.decode(), object_pairs_hook=_without_duplicates, parse_constant=_no_constant)
        _check_values(document, depth=0)
        is_canonical = isinstance(document, dict) and canonical(document) == body
    except (ValueError, RecursionError) as exc:
        raise _malformed(f"it is no JSON that a config can be ({str(exc)[:200]})") from None
    if not is_canonical:
        raise _malformed("it must be a JSON object written as RFC 8785 says, byte by byte as it was sent")
    return dict(document)


def _without_duplicates(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) < len(members):
        raise ValueError("an object names a member twice")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number in JSON")


def _check_values(value: Any, *, depth: int) -> None:
    """Let through what every language reads alike: not nested deep, no number beyond 2^53."""
    if depth > _MAX_DEPTH:
        raise ValueError(f"it is nested more than {_MAX_DEPTH} deep")
    match value:
        case bool():
            return
        case int() | float() if not abs(value) <= _MAX_NUMBER:
            raise ValueError("a number is beyond 2^53")
        case list():
            for item in value:
                _check_values(item, depth=depth + 1)
        case dict():
            for item in value.values():
                _check_values(item, depth=depth + 1)


def _check_members(document: Mapping[str, Any]) -> None:
    channel, sequence = document.get("channelId"), document.get("sequence")
    if not isinstance(channel, str) or not channel:
        raise _malformed("channelId must be a text")
    if type(sequence) is not int or sequence < 0:
        raise _malformed("sequence must be a whole number, 0 or more")
    _instant(document.get("expiresAt"))
    keys = document.get("keys")
    if not isinstance(keys, list) or not 1 <= len(keys) <= _MAX_KEYS or not all(map(_is_key, keys)):
        raise _malformed(f"keys must be 1 to {_MAX_KEYS} public keys, each with its SHA-256 as keyId")


def _is_key(entry: Any) -> bool:
    if not isinstance(entry, dict):
        return False
    key_id, public_key = entry.get("keyId"), entry.get("publicKey")
    if not isinstance(key_id, str) or not isinstance(public_key, str):
        return False
    if not _KEY_ID.fullmatch(key_id) or not _PUBLIC_KEY.fullmatch(public_key):
        return False
    return key_id_of(base64.b64decode(public_key)) == key_id


def _public_keys(document: Mapping[str, Any]) -> dict[str, bytes]:
    return {key["keyId"]: base64.b64decode(key["publicKey"]) for key in document["keys"]}


def _instant(text: Any) -> datetime:
    try:
        if isinstance(text, str) and _INSTANT.fullmatch(text):
            at = datetime.fromisoformat(text)
            if at.isoformat()[:19] == text[:19]:  # 24:00 is the next day's 00:00 to some, and an error to others
                return at
    except ValueError:
        pass
    raise _malformed("expiresAt must be a moment in UTC, such as 2026-11-20T12:00:00.000Z")


def _shown(key_id: Any) -> str:
    """Return the beginning of a key id, and nothing else that somebody may have put there."""
    return f"key {key_id[:_SHOWN]}" if isinstance(key_id, str) and _KEY_ID.fullmatch(key_id) else "something"


def _malformed(why: str) -> ConfigRefusedError:
    return ConfigRefusedError(f"the config cannot be read: {why}", reason=Refusal.MALFORMED)
