"""Write the cases that every verifier of configs must answer alike, Python's and JavaScript's.

    python -m tools.config_vectors tests/vectors/configs.json

Made once: devices hold these bytes to be right, so a file that is there is left alone. A new rule gets new cases
beside the old ones; write to another file and copy them over.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shelfsight.access.signatures import published, sign
from tools.config_cases import (
    DEVICE,
    LARGE,
    NAMES,
    ORDER,
    case,
    config,
    files_of,
    halves_of,
    keys_of,
    nested,
    sentence_of,
    signed,
    text_of,
    value_of,
)
from tools.config_refusals import refused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tools.config_cases import Case, Document

_ABOUT = (
    "Configs, and whether a device accepts them. The keys are TEST KEYS: the private half of each is the SHA-256 of "
    "the sentence beside it, so everybody has it. Never trust one."
)


def main() -> None:
    """Write the cases to the file that is named, which must not be there."""
    parser = argparse.ArgumentParser(description="Write the cases of signed configs.")
    parser.add_argument("target", type=Path, help="such as tests/vectors/configs.json")
    target = parser.parse_args().target
    if target.exists():
        sys.exit(f"{target} is there, and its bytes are to stay: write to another file")
    target.write_text(json.dumps(cases(), indent=1, ensure_ascii=True) + "\n", "utf-8")


def cases() -> dict[str, Any]:
    """Return the whole file."""
    return {
        "about": _ABOUT,
        "keys": {name: {"derivedFrom": sentence_of(name), **published(keys_of(name))[0]} for name in NAMES},
        "device": DEVICE,
        "canonical": list(_canonical_cases()),
        "accepted": list(_accepted()),
        "refused": list(refused()),
    }


def _canonical_cases() -> Iterator[Case]:
    """Yield what RFC 8785 leaves no choice about, written in some other way."""
    numbers = "[333333333.33333329,1E3,4.50,2e-3,0.000000000000000000000000001,-0,-0.0,1e-7,0.000001,5e-324,0.1,"
    yield {
        "sentence": "numbers are written as JavaScript writes them",
        "text": numbers + "9007199254740991,-9007199254740991.0,123456789012345.68,1.0]",
        "canonical": "[333333333.3333333,1000,4.5,0.002,1e-27,0,0,1e-7,0.000001,5e-324,0.1,"
        "9007199254740991,-9007199254740991,123456789012345.69,1]",
    }
    yield {
        "sentence": "texts escape what they must, in small letters, and nothing else",
        "text": r'["\u20ac$\u000F\u000aA\u0027\u0042\u0022\u005c\\\"\/\b\f\t\r\u007f\u2028\ud83e\uddc0"]',
        "canonical": '["€$\\u000f\\nA\'B\\"\\\\\\\\\\"/\\b\\f\\t\\r\x7f\u2028\U0001f9c0"]',
    }
    yield {
        "sentence": "members are in the order of UTF-16 units, at every depth",
        "text": '{"\\ufb33":1,"\\ud83d\\ude00":2,"\\u20ac":{"b":[],"a":{}},"__proto__":null,"1":3,"10":4,"2":5,'
        '"\\r":6,"":7,"constructor":true}',
        "canonical": '{"":7,"\\r":6,"1":3,"10":4,"2":5,"__proto__":null,"constructor":true,'
        '"€":{"a":{},"b":[]},"\U0001f600":2,"\ufb33":1}',
    }


_WHOLE: Document = {
    "rollbackThreshold": 0.05,
    "updatedAt": "2026-11-20T11:00:00.000Z",
    "etag": '"6b86b273ff34fce19d6b804eff5a3f57"',
    "files": files_of("v1.4.2"),
}
_TWO: Document = _WHOLE | {"files": files_of("v1.4.2", "v1.5.0")}
_CANDIDATE = {"version": "v1.5.0", "rolloutBasisPoints": 1000, "salt": "5d41402abc4b2a76b9719d911017c592"}
_SHADOW: Document = {
    "shadowModelVersion": "v1.5.0",
    "shadowPercentage": 2.5,
    "shadowSalt": "7d793037a0760186574b0282f2f435e7",
}


def _signed_case(sentence: str, *signers: str, **more: Any) -> Case:
    """Return a case that nothing else was done to than signing it.

    Args:
        signers: the current key first; the device trusts them from then on.
        more: members of the config; `trusts` and `seen` are the device's keys and sequence.
    """
    device = {name: more.pop(name) for name in ("trusts", "seen") if name in more}
    known = {"sequence": device.pop("seen")} if "seen" in device else {}
    document = config(*signers, **more)
    then = {"learns": signers, "sequenceThen": document["sequence"], "signers": signers}
    return case(sentence, signed(document, *signers), **device, **known, **then)


def _accepted() -> Iterator[Case]:
    """Yield what devices accept."""
    both = ("second", "first")
    yield _signed_case("a config of the stable version is accepted", "first", **_WHOLE)
    yield _signed_case("a config with a candidate is accepted", "first", **_TWO, candidate=_CANDIDATE)
    yield _signed_case("a config with a shadow is accepted", "first", **_TWO, **_SHADOW, minAppVersion="2.1.0")
    yield _signed_case("a device that trusts the key before learns the new one", *both)
    yield _signed_case("a device that was paired while the key was changed keeps to both", *both, trusts=("second",))
    yield _signed_case("a device that trusts both keys forgets the retired one", "second", trusts=both, seen=42)
    yield _signed_case("the same sequence again is accepted", "first", seen=42)
    yield _signed_case("the very first config is accepted", "first", sequence=0, seen=0)
    yield _signed_case("the highest sequence is accepted", "first", sequence=2**53 - 1, seen=LARGE)
    yield _signed_case(
        "a config is accepted until the last millisecond", "first", expiresAt="2026-11-20T12:00:00.001Z"
    )
    yield _signed_case("a moment needs no milliseconds", "first", expiresAt="2026-11-20T12:00:01Z")
    limits: Document = {"learns": ["first"], "sequenceThen": 42}
    yield case("what is nested 16 deep is accepted", signed(nested(16)), **limits)
    eight = config(keys=published(keys_of("first")) * 8)
    yield case("eight keys are accepted, and one that is named twice is one", signed(eight), **limits)
    strange: Document = {
        "\ufb33": 1,
        "\U0001f600": 2,
        "__proto__": {"sequence": 1},
        "constructor": None,
        "10": [],
        "9": {},
    }
    name: Document = {"channelName": "Käse & Brot \U0001f9c0 牛乳店 \u2028"}
    yield _signed_case("members that nobody knows are accepted, and signed too", "first", **strange, **name)
    yield from _accepted_by_another_signature()


def _accepted_by_another_signature() -> Iterator[Case]:
    names = ("second", "first")
    known: Document = {"learns": names, "sequenceThen": 42}
    whole = sign(config(*names), keys_of(*names))
    newer = {"algorithm": "ML-DSA-65", "keyId": whole["signature"]["keyId"], "value": ["of", "another", "age"]}
    yield case(
        "a signature of an unknown kind by an unknown key does no harm beside one that fits",
        text_of(whole | {"signature": newer}),
        **known,
    )
    broken = whole["signature"] | {"value": "A" * 86}
    yield case(
        "one signature by a trusted key is enough", text_of(whole | {"signature": broken}), trusts=names, **known
    )
    r, s = halves_of(whole["previousSignature"]["value"])
    mirrored = whole["previousSignature"] | {"value": value_of(r, ORDER - s)}
    yield case(
        "of the two values that ECDSA has for each signature both fit",
        text_of(whole | {"previousSignature": mirrored}),
        **known,
    )


if __name__ == "__main__":
    main()
