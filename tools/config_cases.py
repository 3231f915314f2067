"""Building blocks of the cases of signed configs: test keys, small configs, and how a case is written."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from shelfsight.access.keys import ConfigKey, key_id_of
from shelfsight.access.signatures import canonical, published, sign

Document = dict[str, Any]
Case = dict[str, Any]

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Of the curve P-256."""
NOW = "2026-11-20T12:00:00.000Z"
DEVICE = {"channelId": "T_1", "sequence": 41, "now": NOW}
"""What a device is and has seen, and its clock, where a case says nothing else."""
LARGE = 9_000_000_000_000_001
NAMES = ("first", "second", "stranger", "koblitz")
"""Of the keys; the last one lies on secp256k1, as large as P-256, and may sign nothing."""


def sentence_of(name: str) -> str:
    """Return the sentence whose SHA-256 is the private half of a key."""
    return f"shelfsight test key, {name}: not a secret"


def private_half(name: str) -> ec.EllipticCurvePrivateKey:
    """Return what everybody can make of a name."""
    number = int.from_bytes(hashlib.sha256(sentence_of(name).encode()).digest(), "big")
    return ec.derive_private_key(number, ec.SECP256K1() if name == "koblitz" else ec.SECP256R1())


def keys_of(*names: str) -> list[ConfigKey]:
    """Return test keys by their names."""
    return [_key(private_half(name)) for name in names]


def _key(private: ec.EllipticCurvePrivateKey) -> ConfigKey:
    public = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return ConfigKey(
        id=key_id_of(public),
        public_key=public,
        private_key=private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
    )


def config(*keys: str, **more: Any) -> Document:
    """Return a small config that names those keys, the first one without any."""
    return {
        "channelId": "T_1",
        "platform": "web",
        "deviceTier": "any",
        "activeModelVersion": "v1.4.2",
        "rolloutPercentage": 100,
        "sequence": 42,
        "expiresAt": "2026-12-04T12:00:00.000Z",
        "keys": published(keys_of(*(keys or ("first",)))),
    } | more


def files_of(*versions: str) -> Document:
    """Return what a config says of the files of versions."""
    return {
        version: {
            "baseUrl": f"/assets/ml-models/T_1/{version}/",
            "manifest": {"size": 2001, "sha256": hashlib.sha256(version.encode()).hexdigest()},
            "model": "model.shards.json",
        }
        for version in versions
    }


def nested(depth: int) -> Document:
    """Return a config whose innermost value lies that deep, the members themselves being 1 deep."""
    innermost: Any = 1
    for _ in range(depth - 1):
        innermost = [innermost]
    return config(deep=innermost)


def text_of(document: Document) -> str:
    """Return a document as the server writes it."""
    return canonical(document).decode()


def signed(document: Document, *signers: str) -> str:
    """Return a document as the server writes it, signed by those keys, by the first one without any."""
    return text_of(sign(document, keys_of(*(signers or ("first",)))))


def case(sentence: str, body: str, *, trusts: tuple[str, ...] = ("first",), **more: Any) -> Case:
    """Return a case: what holds, the body, names of the keys that the device trusts.

    Args:
        more: what comes of it; `channelId` and `sequence` of another device than `DEVICE`.
    """
    return {"sentence": sentence, "body": body, "trusts": trusts} | more


def halves_of(value: str) -> tuple[int, int]:
    """Return r and s of a signature."""
    plain = base64.urlsafe_b64decode(value + "==")
    return int.from_bytes(plain[:32], "big"), int.from_bytes(plain[32:], "big")


def value_of(r: int, s: int) -> str:
    """Return the signature of r and s."""
    return base64url(r.to_bytes(32, "big") + s.to_bytes(32, "big"))


def base64url(plain: bytes) -> str:
    """Return bytes as base64url without padding."""
    return base64.urlsafe_b64encode(plain).rstrip(b"=").decode()
