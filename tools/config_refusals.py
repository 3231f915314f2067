"""Configs that no device may accept, and why."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from shelfsight.access.signatures import canonical, published, sign
from tools.config_cases import (
    LARGE,
    NOW,
    ORDER,
    base64url,
    case,
    config,
    files_of,
    halves_of,
    keys_of,
    nested,
    private_half,
    signed,
    text_of,
    value_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tools.config_cases import Case, Document


def refused() -> Iterator[Case]:
    """Yield every one of them."""
    yield from _refused_by_state()
    yield from _refused_by_signature()
    yield from _refused_by_members()
    yield from _refused_by_writing()


def _refused_by_state() -> Iterator[Case]:
    """Yield configs that are right, for another device or another time."""
    plain = signed(config())
    yield case("an older sequence is refused", plain, sequence=43, reason="replayed")
    yield case("a sequence that is much older is refused", plain, sequence=LARGE, reason="replayed")
    yield case("the config of another channel is refused", plain, channelId="T_2", reason="other_channel")
    yield case("the name of a channel is not only its beginning", plain, channelId="T_", reason="other_channel")
    yield case("a key that is not trusted is refused", plain, trusts=("second",), reason="unknown_key")
    yield case("who trusts nobody accepts nothing", plain, trusts=(), reason="unknown_key")
    for sentence, at in (
        ("a config that expires now has expired", NOW),
        ("a config that expired a millisecond ago is refused", "2026-11-20T11:59:59.999Z"),
        ("a config that expired years ago is refused", "2020-01-01T00:00:00.000Z"),
    ):
        yield case(sentence, signed(config(expiresAt=at)), reason="expired")
    yield case(
        "a key that was retired is refused after a newer config",
        signed(config("second", "first"), "first"),
        trusts=("second",),
        reason="unknown_key",
    )
    yield case(
        "a stranger's config teaches no keys, whatever it names",
        signed(config("stranger", "first"), "stranger"),
        reason="unknown_key",
    )
    yield case(
        "a wrong signature is told before anything else",
        plain.replace('"v1.4.2"', '"v1.4.1"', 1),
        channelId="T_2",
        sequence=LARGE,
        reason="bad_signature",
    )


def _refused_by_signature() -> Iterator[Case]:
    """Yield configs that nobody trusted has signed."""
    whole = sign(config(files=files_of("v1.4.2")), keys_of("first"))
    signature = whole["signature"]
    for sentence, old, new in (
        ("another active version is refused", '"activeModelVersion":"v1.4.2"', '"activeModelVersion":"v1.4.1"'),
        ("a larger share is refused", '"rolloutPercentage":100', '"rolloutPercentage":101'),
        ("another manifest is refused", '"sha256":"', '"sha256":"0'),
        ("a higher sequence is refused", '"sequence":42', '"sequence":43'),
        ("a later end is refused", '"expiresAt":"2026', '"expiresAt":"2027'),
        ("another key among the keys is refused", *_swapped_key()),
    ):
        changed = text_of(whole).replace(old, new, 1)
        assert changed != text_of(whole), sentence
        yield case(f"changed after it was signed: {sentence}", changed, reason="bad_signature")
    without = {name: value for name, value in whole.items() if name != "signature"}
    for sentence, one in (
        ("no signature at all is refused", {}),
        ("the signature of the key before alone is refused", {"previousSignature": signature}),
        ("null is no signature", {"signature": None}),
        ("a list is no signature", {"signature": [signature]}),
        ("a text is no signature", {"signature": signature["value"]}),
    ):
        yield case(sentence, text_of(without | one), reason="unsigned")
    for sentence, change in _bad_signatures(signature):
        reason = "bad_signature" if "keyId" not in change else "unknown_key"
        yield case(sentence, text_of(whole | {"signature": signature | change}), reason=reason)
    yield from _refused_by_signer(whole)


def _swapped_key() -> tuple[str, str]:
    first, stranger = (text_of(published(keys_of(name))[0]) for name in ("first", "stranger"))
    return first, f"{first},{stranger}"


def _bad_signatures(signature: Document) -> Iterator[tuple[str, Document]]:
    r, s = halves_of(signature["value"])
    plain = base64.urlsafe_b64decode(signature["value"] + "==")
    standard = base64.b64encode(b"\xff" * 64).decode().rstrip("=")
    for sentence, value in (
        ("a signature of zeros is refused", value_of(0, 0)),
        ("r = 0 is refused", value_of(0, s)),
        ("s = 0 is refused", value_of(r, 0)),
        ("r of the curve's order is refused", value_of(ORDER, s)),
        ("s of the curve's order is refused", value_of(r, ORDER)),
        ("the largest r and s are refused", value_of(2**256 - 1, 2**256 - 1)),
        ("r and s in the wrong order are refused", value_of(s, r)),
        ("a signature of one byte less is refused", base64url(plain[:-1])),
        ("a signature of one byte more is refused", base64url(plain + b"\x00")),
        ("a signature in DER is refused", base64url(encode_dss_signature(r, s))),
        ("an empty signature is refused", ""),
        ("base64 that is not for URLs is refused", standard),
        ("padding is refused", signature["value"] + "=="),
        ("white space is refused", signature["value"][:43] + " " + signature["value"][44:]),
        ("a signature that is a number is refused", 1),
    ):
        yield sentence, {"value": value}
    for algorithm in ("none", "RS256", "HS256", "es256", "", None, ["ES256"]):
        yield f"the algorithm {algorithm!r} is refused", {"algorithm": algorithm}
    for key_id in (signature["keyId"].upper(), signature["keyId"][:32], "", None, [signature["keyId"]]):
        yield f"the key id {str(key_id)[:20]!r} is refused", {"keyId": key_id}


def _refused_by_signer(whole: Document) -> Iterator[Case]:
    signature = whole["signature"]
    unsigned = {name: value for name, value in whole.items() if name != "signature"}
    named = sign(unsigned, keys_of("stranger"))["signature"] | {"keyId": signature["keyId"]}
    other = sign(unsigned | {"sequence": 41}, keys_of("first"))["signature"]
    ecdsa = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
    bare = decode_dss_signature(private_half("first").sign(canonical(unsigned), ecdsa))
    for sentence, one in (
        ("a stranger's signature under the name of a trusted key is refused", named),
        ("the signature of another config is refused", other),
        (
            "a signature of the JSON alone, without what says that it is a config, is refused",
            {"value": value_of(*bare)},
        ),
    ):
        yield case(sentence, text_of(whole | {"signature": signature | one}), reason="bad_signature")
    yield case(
        "a trusted key that is not among the keys is refused",
        signed(config("second"), "first"),
        reason="bad_signature",
    )
    yield case(
        "a key of another curve signs nothing, though it is trusted",
        signed(config("koblitz"), "koblitz"),
        trusts=("koblitz",),
        reason="bad_signature",
    )
    swapped = [{"keyId": keys_of("first")[0].id, "publicKey": published(keys_of("stranger"))[0]["publicKey"]}]
    yield case(
        "a stranger's public key under the name of a trusted one is refused",
        text_of(sign(config(keys=swapped), keys_of("stranger")) | {"signature": named}),
        reason="malformed",
    )


def _refused_by_members() -> Iterator[Case]:
    """Yield configs that a trusted key has signed, and that still are none."""
    key = published(keys_of("first"))[0]
    changes: list[tuple[str, Document]] = [
        ("no channel is refused", {"channelId": None}),
        ("an empty channel is refused", {"channelId": ""}),
        ("a channel that is a number is refused", {"channelId": 1}),
        ("no sequence is refused", {"sequence": None}),
        ("a negative sequence is refused", {"sequence": -1}),
        ("half a sequence is refused", {"sequence": 42.5}),
        ("a sequence in quotes is refused", {"sequence": "42"}),
        ("a sequence that is true is refused", {"sequence": True}),
        ("no end is refused", {"expiresAt": None}),
        ("an end without a zone is refused", {"expiresAt": "2026-12-04T12:00:00.000"}),
        ("an end in another zone is refused", {"expiresAt": "2026-12-04T12:00:00.000+00:00"}),
        ("the 30th of February is refused", {"expiresAt": "2027-02-30T12:00:00.000Z"}),
        ("24 o'clock is refused", {"expiresAt": "2026-12-04T24:00:00.000Z"}),
        ("an end that is a number is refused", {"expiresAt": 1796385600}),
        ("an end after 2999 is refused", {"expiresAt": "9999-12-31T23:59:59.999Z"}),
        ("no keys are refused", {"keys": None}),
        ("an empty list of keys is refused", {"keys": []}),
        ("nine keys are refused", {"keys": [key] * 9}),
        ("keys that are an object are refused", {"keys": key}),
        ("a key that is only an id is refused", {"keys": [key, key["keyId"]]}),
        ("a key without its public half is refused", {"keys": [key, {"keyId": "0" * 64}]}),
        ("a key with another's id is refused", {"keys": [key, key | {"keyId": "0" * 64}]}),
        ("a public key that is no base64 is refused", {"keys": [key, key | {"publicKey": "$" * 124}]}),
    ]
    for sentence, change in changes:
        document = {name: value for name, value in (config() | change).items() if value is not None}
        yield case(sentence, signed(document), reason="malformed")
    beyond = config(rolloutPercentage=1e21)
    yield case(
        "a number that is written with an exponent for its size is refused", signed(beyond), reason="malformed"
    )
    yield case("what is nested 17 deep is refused", signed(nested(17)), reason="malformed")


def _refused_by_writing() -> Iterator[Case]:
    """Yield texts that are not what a server writes, however right what they say may be."""
    plain = signed(config())
    sequence, share = '"sequence":42', '"rolloutPercentage":100'
    channel, tier = '"channelId":"T_1"', '"deviceTier":"any"'
    for sentence, old, new in (
        ("white space is refused", sequence, '"sequence": 42'),
        ("a member named twice is refused", sequence, f"{sequence},{sequence}"),
        ("a second, other value of a member is refused", sequence, f'"sequence":41,{sequence}'),
        ("a member named twice deep inside is refused", '"keyId"', '"keyId":"","keyId"'),
        ("members in another order are refused", f"{channel},{tier}", f"{tier},{channel}"),
        ("1.0 for 1 is refused", sequence, '"sequence":42.0'),
        ("an exponent is refused", sequence, '"sequence":42e0'),
        ("an escape that need not be is refused", '"T_1"', '"\\u0054_1"'),
        ("a number beyond 2^53 is refused", sequence, '"sequence":9007199254740992'),
        ("a number that is rounded to another is refused", sequence, '"sequence":9007199254740993'),
        ("a large number with a short name is refused", share, f'"rolloutPercentage":1{"0" * 20}'),
        ("a number too large for any is refused", share, '"rolloutPercentage":1e400'),
        ("NaN is refused", share, '"rolloutPercentage":NaN'),
        ("Infinity is refused", share, '"rolloutPercentage":-Infinity'),
        ("minus zero is refused", share, '"rolloutPercentage":-0'),
        ("half a surrogate pair is refused", '"web"', '"\\ud800"'),
        ("the other half is refused", '"web"', '"\\udc00web"'),
        ("half a surrogate pair in a name is refused", '"platform"', '"platform\\udfff"'),
        ("a comment is refused", sequence, f"{sequence}/* */"),
    ):
        changed = plain.replace(old, new, 1)
        assert changed != plain, sentence
        yield case(sentence, changed, reason="malformed")
    yield from _refused_as_a_whole(plain)


def _refused_as_a_whole(plain: str) -> Iterator[Case]:
    for sentence, body in (
        ("a line end after it is refused", plain + "\n"),
        ("a byte order mark is refused", "\ufeff" + plain),
        ("half of it is refused", plain[: len(plain) // 2]),
        ("something after it is refused", plain + "{}"),
        ("a list of it is refused", f"[{plain}]"),
        ("a text is refused", json.dumps("config")),
        ("null is refused", "null"),
        ("a number is refused", "42"),
        ("an empty object is refused", "{}"),
        ("nothing is refused", ""),
        ("a page of a captive portal is refused", "<!doctype html><title>Log in</title>"),
        ("a thousand open brackets are refused", "[" * 1000),
    ):
        yield case(sentence, body, reason="malformed")
