"""Keys by command: made, changed, retired, shown; and whether a device would accept a config."""

from __future__ import annotations

import json
import re
import subprocess
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from tools.config_cases import config, keys_of

from shelfsight.access.keys import config_keys, key_id_of, url_secrets
from shelfsight.access.signatures import canonical, published, sign
from shelfsight.database.engine import Database, open_database
from shelfsight.settings import service_settings
from tests.cli.command import COMMAND, done, run_here
from tests.cli.conftest import audited

if TYPE_CHECKING:
    from pathlib import Path

KEY_ID = re.compile(r"[0-9a-f]{64}\n")
LATER = f"{datetime.now(UTC) + timedelta(days=14):%Y-%m-%dT%H:%M:%S}Z"


def _database() -> Database:
    return open_database(service_settings().database_url)


def _rows(*arguments: str) -> list[list[str]]:
    """Return the lines of `keys show` without its head, the ids without spaces."""
    lines = [line.split("\t") for line in done("keys", "show", *arguments).splitlines()[1:]]
    return [[line[0].replace(" ", ""), *line[1:]] for line in lines]


def _written(place: Path, document: dict[str, Any]) -> Path:
    place.write_bytes(canonical(document))
    return place


def test_a_key_is_made_once_and_then_changed(data: Path) -> None:
    first = done("keys", "create")
    assert KEY_ID.fullmatch(first)
    again = run_here("keys", "create")
    assert (again.returncode, again.stdout) == (3, "")
    assert "there is a config key already: `shelfsight keys rotate --kind config` replaces it" in again.stderr
    second = done("keys", "rotate")
    assert KEY_ID.fullmatch(second)
    assert [row[:3] for row in _rows()] == [
        [second.strip(), "config", "current"],
        [first.strip(), "config", "replaced"],
    ]
    assert [key.id for key in config_keys(_database())] == [second.strip(), first.strip()]
    assert done("keys", "retire", "--yes") == first
    assert [row[2] for row in _rows()] == ["current", "retired"]
    for action in ("key_created", "key_rotated", "key_retired"):
        assert [entry.actor for entry in audited(action)] == ["cli:anna"]


def test_a_change_says_what_comes_next(data: Path) -> None:
    done("keys", "create")
    assert "Once every device has asked for its config: `shelfsight keys retire`" in run_here("keys", "rotate").stderr
    assert "Devices that were off since 20" in run_here("keys", "retire", "--yes").stderr
    assert "Devices must be paired again" in run_here("keys", "rotate", "--now").stderr
    done("keys", "create", "--kind", "url")
    assert "work until they expire" in run_here("keys", "rotate", "--kind", "url").stderr
    assert run_here("keys", "retire", "--kind", "url").stderr == ""
    assert "worth nothing any more" in run_here("keys", "rotate", "--kind", "url", "--now").stderr


def test_a_second_change_waits_for_the_first_unless_it_is_for_now(data: Path) -> None:
    first = done("keys", "create").strip()
    done("keys", "rotate")
    refused = run_here("keys", "rotate")
    assert (refused.returncode, refused.stdout) == (3, "")
    assert f"key {first[:12]} is still valid beside the current one: retire it first" in refused.stderr
    third = done("keys", "rotate", "--now").strip()
    rows = _rows()
    assert (rows[0][0], [row[2] for row in rows]) == (third, ["current", "retired", "retired"])


def test_the_secret_of_urls_changes_by_itself(data: Path) -> None:
    first = done("keys", "create", "--kind", "url").strip()
    second = done("keys", "rotate", "--kind", "url").strip()
    rows = _rows()
    assert [row[:2] for row in rows] == [[second, "url"], [first, "url"]]
    assert re.fullmatch(r"replaced, accepted until 20\d\d-\d\d-\d\d \d\d:\d\d", rows[1][2])
    assert [one.id for one in url_secrets(_database())] == [second, first]
    assert done("keys", "retire", "--kind", "url").strip() == first


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["rotate"], 1, "there is no config key yet: make it with `shelfsight keys create --kind config`"),
        (["retire"], 1, "there is no config key yet"),
        (["rotate", "--kind", "url"], 1, "there is no url key yet"),
        (["create", "--kind", "tls"], 2, "tls"),
        (["verify", "nowhere.json"], 2, "nowhere.json"),
    ],
)
def test_what_cannot_be_done_with_keys_is_said(data: Path, arguments: list[str], code: int, said: str) -> None:
    refused = run_here("keys", *arguments)
    assert (refused.returncode, refused.stdout) == (code, "")
    assert said in refused.stderr


def test_without_a_key_nothing_is_shown_or_made(data: Path) -> None:
    shown = run_here("keys", "show")
    assert shown.stdout == "Id\tKind\tState\tMade\tMade by\n"
    assert "No key yet" in shown.stderr
    assert json.loads(done("keys", "show", "--json")) == []


def test_keys_are_shown_as_json_and_pem_and_never_what_they_sign_with(data: Path) -> None:
    done("keys", "create")
    done("keys", "create", "--kind", "url")
    done("keys", "rotate")
    (config_key, replaced), (secret,) = config_keys(_database()), url_secrets(_database())
    shown = json.loads(done("keys", "show", "--json"))
    assert {one["keyId"]: (one["kind"], one["state"]) for one in shown} == {
        config_key.id: ("config", "current"),
        replaced.id: ("config", "replaced"),
        secret.id: ("url", "current"),
    }
    assert shown[0].keys() == {
        "keyId", "kind", "state", "publicKey", "createdAt", "createdBy", "replacedAt", "retiredAt",
    }  # fmt: skip
    text = done("keys", "show", "--pem")
    blocks = re.findall(r"-----BEGIN PUBLIC KEY-----\n.+?-----END PUBLIC KEY-----\n", text, re.DOTALL)
    ders = [
        load_pem_public_key(one.encode()).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        for one in blocks
    ]
    assert [key_id_of(der) for der in ders] == [config_key.id, replaced.id]
    done("keys", "retire", "--yes")
    assert done("keys", "show", "--pem").count("BEGIN") == 1
    printed = text + json.dumps(shown)
    for private in (config_key.private_key[36:68], replaced.private_key[36:68], secret.secret):
        assert private.hex() not in printed
    assert "PRIVATE" not in printed


def test_a_config_of_this_service_is_accepted_and_one_of_another_is_not(data: Path, tmp_path: Path) -> None:
    done("keys", "create")
    own = config_keys(_database())
    good = _written(tmp_path / "good.json", sign(config(keys=published(own), expiresAt=LATER), own))
    facts = dict(line.split("\t") for line in done("keys", "verify", good).splitlines())
    assert (facts["Accepted"], facts["Channel"], facts["Sequence"]) == ("yes", "T_1", "42")
    assert facts["Signed by"].replace(" ", "") == own[0].id
    assert facts["Stable version"] == "v1.4.2"
    foreign = _written(tmp_path / "foreign.json", sign(config(expiresAt=LATER), keys_of("first")))
    refused = run_here("keys", "verify", foreign)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "which this device does not trust" in refused.stderr
    refused = run_here("keys", "verify", good, "--channel", "T_2")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "the config is of channel T_1, and this device belongs to T_2" in refused.stderr


def test_whom_a_device_trusts_can_be_said_in_groups_and_needs_no_service(data: Path, tmp_path: Path) -> None:
    (first,) = keys_of("first")
    good = _written(tmp_path / "good.json", sign(config(expiresAt=LATER), [first]))
    groups = " ".join(re.findall(".{8}", first.id.upper()))
    other = "0" * 64
    assert done("keys", "verify", good, "--trust", other, "--trust", groups).startswith("Accepted\tyes\n")
    assert not data.exists()
    refused = run_here("keys", "verify", good, "--trust", first.id[:40])
    assert refused.returncode == 2
    assert "is no key id: it has 64 hexadecimal digits" in refused.stderr
    refused = run_here("keys", "verify", good)
    assert refused.returncode == 1
    assert "this service has no config key yet" in refused.stderr


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda body: body.replace(b"v1.4.2", b"v1.4.1", 1), "does not fit the config"),
        (lambda body: body.replace(b",", b", ", 1), "written as RFC 8785 says"),
        (lambda _: b"", "the config cannot be read"),
        (lambda _: b"[" * 60_000, "the config cannot be read"),
        (lambda _: b"\xff" * 100, "the config cannot be read"),
        (lambda body: body + b" " * 70_000, "the config has more than 65536 bytes"),
    ],
)
def test_a_damaged_config_is_refused_with_the_reason(data: Path, tmp_path: Path, change: Any, said: str) -> None:
    (first,) = keys_of("first")
    place = tmp_path / "config.json"
    place.write_bytes(change(canonical(sign(config(expiresAt=LATER), [first]))))
    refused = run_here("keys", "verify", place, "--trust", first.id)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert said in refused.stderr


def test_an_expired_config_is_refused_and_may_come_through_a_pipe(data: Path) -> None:
    (first,) = keys_of("first")
    command = [*COMMAND, "keys", "verify", "-", "--trust", first.id]
    bodies = [canonical(sign(config(expiresAt=at), [first])) for at in (LATER, "2026-01-01T00:00:00.000Z")]
    good, expired = (subprocess.run(command, input=body, capture_output=True, check=False) for body in bodies)
    assert (good.returncode, good.stderr) == (0, b"")
    assert (expired.returncode, expired.stdout) == (1, b"")
    assert b"Error: the config expired at 2026-01-01T00:00:00.000Z" in expired.stderr
