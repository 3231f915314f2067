"""Signed configs: what devices accept, what they refuse and why, and that what is signed stays as it is."""

from __future__ import annotations

import json
import shutil
import subprocess
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tools.config_cases import config, keys_of, sentence_of, signed

from shelfsight.access.signatures import (
    MAX_BODY_BYTES,
    Trust,
    accept,
    canonical,
    published,
    sign,
    verify,
)
from shelfsight.errors import ConfigRefusedError, Refusal
from tests.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

FILE = ROOT / "tests" / "vectors" / "configs.json"
VECTORS: dict[str, Any] = json.loads(FILE.read_bytes())
KEYS = {name: keys_of(name)[0] for name in VECTORS["keys"]}
NOW = datetime.fromisoformat(VECTORS["device"]["now"])
STATE = Trust(channel="T_1", keys=frozenset({KEYS["first"].id}), sequence=41)
SIGNED = ("signature", "previousSignature")
NODE = shutil.which("node")


def state_of(case: dict[str, Any]) -> Trust:
    device = VECTORS["device"] | case
    keys = frozenset(KEYS[name].id for name in case["trusts"])
    return Trust(channel=device["channelId"], keys=keys, sequence=device["sequence"])


def reason_of(body: bytes, state: Trust = STATE) -> Refusal:
    with pytest.raises(ConfigRefusedError) as refused:
        accept(body, state, NOW)
    return refused.value.reason


def said(body: bytes) -> dict[str, Any]:
    """Return what a config says, apart from who says it."""
    return {name: value for name, value in json.loads(body).items() if name not in SIGNED}


@pytest.mark.parametrize("case", VECTORS["canonical"], ids=lambda case: case["sentence"])
def test_a_document_has_one_way_to_be_written(case: dict[str, Any]) -> None:
    written = canonical({"it": json.loads(case["text"])})
    assert written.decode() == f'{{"it":{case["canonical"]}}}'


@pytest.mark.parametrize("case", VECTORS["accepted"], ids=lambda case: case["sentence"])
def test_what_devices_accept(case: dict[str, Any]) -> None:
    accepted = accept(case["body"].encode(), state_of(case), NOW)
    learned = frozenset(KEYS[name].id for name in case["learns"])
    assert accepted.trust == Trust(channel="T_1", keys=learned, sequence=case["sequenceThen"])
    assert accepted.document == json.loads(case["body"])
    assert accepted.signed_by in state_of(case).keys
    assert accepted.expires_at > NOW


@pytest.mark.parametrize("case", VECTORS["refused"], ids=lambda case: case["sentence"])
def test_what_devices_refuse_and_why(case: dict[str, Any]) -> None:
    assert reason_of(case["body"].encode(), state_of(case)) == case["reason"]


def test_every_reason_has_a_case() -> None:
    assert {case["reason"] for case in VECTORS["refused"]} == set(Refusal) - {Refusal.TOO_LARGE}  # its case is below


@pytest.mark.parametrize(
    "case", [one for one in VECTORS["accepted"] if "signers" in one], ids=lambda case: case["sentence"]
)
def test_what_is_signed_today_has_the_bytes_it_had(case: dict[str, Any]) -> None:
    keys = [KEYS[name] for name in case["signers"]]
    assert canonical(sign(said(case["body"].encode()), keys)) == case["body"].encode()


def test_the_keys_of_the_cases_are_those_of_the_sentences() -> None:
    for name, one in VECTORS["keys"].items():
        assert published([KEYS[name]]) == [{"keyId": one["keyId"], "publicKey": one["publicKey"]}]
        assert one["derivedFrom"] == sentence_of(name)


def test_the_cases_are_not_made_anew_over_the_old_ones(tmp_path: Path) -> None:
    from tools import config_vectors

    before = FILE.read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["config_vectors", str(FILE)])
        with pytest.raises(SystemExit, match="is there, and its bytes are to stay"):
            config_vectors.main()
        patch.setattr("sys.argv", ["config_vectors", str(tmp_path / "new.json")])
        config_vectors.main()
    assert FILE.read_bytes() == before == (tmp_path / "new.json").read_bytes()


def test_signing_again_replaces_the_signatures() -> None:
    twice = sign(sign(config("second", "first"), keys_of("second", "first")), keys_of("second"))
    assert twice == sign(config("second", "first"), keys_of("second"))
    assert "previousSignature" not in twice


def test_nothing_is_signed_without_a_key() -> None:
    with pytest.raises(ValueError, match="a config needs a key"):
        sign(config(), [])


def test_what_json_cannot_hold_is_not_signed() -> None:
    for value in (float("nan"), 2**53, "\ud800", object()):
        with pytest.raises(ValueError):  # noqa: PT011 (the library's own words)
            sign(config(value=value), keys_of("first"))


def test_a_document_is_verified_by_itself() -> None:
    document = sign(config("second", "first"), keys_of("second", "first"))
    first, second = KEYS["first"].id, KEYS["second"].id
    assert verify(document, trusted={first}) == first
    assert verify(document, trusted={second}) == second
    assert verify(document, trusted=[first, second]) == second
    for broken in ({}, {"keys": "none"}, document | {"keys": [{}]}, document | {"value": float("nan")}):
        with pytest.raises(ConfigRefusedError) as refused:
            verify(broken, trusted={first})
        assert refused.value.reason is Refusal.MALFORMED


@pytest.mark.parametrize("names", [("first",), ("second", "first")])
@given(data=st.data())
def test_any_changed_byte_is_refused_or_changes_nothing_that_is_said(names: tuple[str, ...], data: Any) -> None:
    body = signed(config(*names), *names).encode()
    at = data.draw(st.integers(0, len(body) - 1))
    other = data.draw(st.integers(0, 255).filter(lambda one: one != body[at]))
    changed = body[:at] + bytes([other]) + body[at + 1 :]
    try:
        accepted = accept(changed, STATE, NOW)
    except ConfigRefusedError:
        return
    assert said(changed) == said(body)
    assert accepted.trust.keys == {KEYS[name].id for name in names}


@given(st.binary(max_size=200))
@example(b"\xff\xfe{}")
@example(b"\xed\xa0\x80")  # half a surrogate pair, as some encoders write it
@example(b"[" * 60_000)
@example(b"9" * 60_000)
@example(b'{"a":' * 10_000 + b"1" + b"}" * 10_000)
def test_whatever_comes_is_refused_by_our_error_alone(body: bytes) -> None:
    assert reason_of(body) is Refusal.MALFORMED


def test_a_body_of_64_kib_is_accepted_and_one_byte_more_is_refused() -> None:
    empty = len(signed(config(filler=""))) - 1
    whole = signed(config(filler="x" * (MAX_BODY_BYTES - empty - 1))).encode()
    assert len(whole) == MAX_BODY_BYTES
    assert accept(whole, STATE, NOW).trust.sequence == 42
    assert reason_of(signed(config(filler="x" * (MAX_BODY_BYTES - empty))).encode()) is Refusal.TOO_LARGE


def test_who_names_a_member_twice_is_told_so() -> None:
    twice = signed(config()).replace('"platform"', '"sequence":41,"platform"').encode()
    with pytest.raises(ConfigRefusedError, match="an object names a member twice"):
        accept(twice, STATE, NOW)


def test_a_refusal_names_no_key_that_is_none() -> None:
    one = sign(config(), keys_of("first"))
    forged = one | {"signature": one["signature"] | {"keyId": "\x1b[2Jpwned"}}
    with pytest.raises(ConfigRefusedError) as refused:
        accept(canonical(forged), STATE, NOW)
    assert str(refused.value).isprintable()
    assert "pwned" not in str(refused.value)


_members = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text()
    | st.floats(-(2.0**53) + 1, 2.0**53 - 1),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@pytest.mark.skipif(NODE is None, reason="needs Node")
def test_javascript_writes_what_python_signs(tmp_path: Path) -> None:
    found: list[tuple[str, str]] = []

    @given(st.dictionaries(st.text(), _members, max_size=5))
    def collect(document: dict[str, Any]) -> None:
        found.append((json.dumps(document), canonical(document).decode()))

    collect()
    (tmp_path / "found.json").write_text(json.dumps(found))
    script = f"""
        import {{ readFileSync }} from 'node:fs'
        import {{ canonical }} from {json.dumps((ROOT / "clients/js/core/canonical.js").as_uri())}
        const wrong = JSON.parse(readFileSync({json.dumps(str(tmp_path / "found.json"))}, 'utf8'))
          .filter(([text, expected]) => canonical(JSON.parse(text)) !== expected)
        console.log(JSON.stringify(wrong))
    """
    node = subprocess.run(
        [str(NODE), "--input-type=module", "-e", script], capture_output=True, text=True, check=True
    )
    assert json.loads(node.stdout) == []
    assert len(found) >= 50
