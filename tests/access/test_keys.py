"""Keys that sign: the first makes itself, the next takes over beside it, the one before goes."""

from __future__ import annotations

import logging
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_der_public_key
from sqlalchemy import event, insert, select, text, update
from tools.config_cases import config

from shelfsight.access import audit, key_store, keys
from shelfsight.access.key_store import KeyKind, KeyState
from shelfsight.access.keys import LONGEST_SIGNED_URL, config_keys, key_id_of, url_secrets
from shelfsight.access.rules import Caller
from shelfsight.access.signatures import Trust, accept, canonical, published, sign
from shelfsight.database.engine import open_database
from shelfsight.database.tables import channels, signing_keys
from shelfsight.errors import ConfigRefusedError, ConflictError, NotFoundError, Refusal

if TYPE_CHECKING:
    from shelfsight.access.key_store import Key
    from shelfsight.database.engine import Database

ANNA = Caller(actor="cli:anna", scopes=frozenset({"admin"}))
KINDS = list(KeyKind)


def ids(database: Database, kind: KeyKind = KeyKind.CONFIG) -> list[str]:
    """Return the ids of the keys that are valid, the current one first."""
    found = config_keys(database) if kind is KeyKind.CONFIG else url_secrets(database)
    return [one.id for one in found]


def rotate(database: Database, kind: KeyKind = KeyKind.CONFIG, *, now_only: bool = False) -> Key:
    return keys.rotate(database, kind, by=ANNA, now_only=now_only)


def retire(database: Database, kind: KeyKind = KeyKind.CONFIG) -> list[Key]:
    return keys.retire(database, kind, by=ANNA, early=True)


def states(database: Database) -> dict[str, KeyState]:
    return {key.id: key.state for key in keys.show(database)}


def audited(database: Database) -> list[tuple[str, str, str | None, dict[str, Any]]]:
    """Return what was done to keys, the last first."""
    with database.read() as connection:
        entries = audit.list_entries(connection, limit=100)
    return [(one.actor, one.action, one.subject, dict(one.details)) for one in entries if "key_" in one.action]


def stored(database: Database) -> dict[str, bytes]:
    """Return what the keys sign with."""
    with database.read() as connection:
        return {row.id: row.private_key for row in connection.execute(select(signing_keys))}


def sequence_of(database: Database, channel: str) -> int:
    with database.read() as connection:
        return int(connection.scalar(select(channels.c.sequence).where(channels.c.id == channel)) or 0)


def test_a_key_that_devices_may_not_have_forgotten_is_retired_only_on_purpose(database: Database) -> None:
    (first,) = config_keys(database)
    rotate(database)
    with pytest.raises(ConflictError, match=r"half an hour.*Wait until \d\d:\d\d UTC, or add --yes"):
        keys.retire(database, KeyKind.CONFIG, by=ANNA)
    with database.write() as tx:
        long_ago = datetime.now(UTC) - timedelta(minutes=31)
        tx.execute(update(signing_keys).where(signing_keys.c.id == first.id).values(replaced_at=long_ago))
    assert keys.retire(database, KeyKind.CONFIG, by=ANNA)[0].id == first.id


def test_the_first_config_key_makes_itself_and_stays(database: Database) -> None:
    (made,) = config_keys(database)
    assert config_keys(database) == (made,)
    private = load_der_private_key(made.private_key, password=None)
    public = load_der_public_key(made.public_key)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    assert isinstance(private.curve, ec.SECP256R1)
    assert private.public_key() == public
    assert made.id == key_id_of(made.public_key)
    assert audited(database) == [("system", "key_created", made.id, {"kind": "config"})]


def test_the_first_url_secret_makes_itself_and_stays(database: Database) -> None:
    (made,) = url_secrets(database)
    assert url_secrets(database) == (made,)
    assert len(made.secret) == 32
    assert made.id == key_id_of(made.secret)
    assert config_keys(database)[0].id != made.id
    assert [key.public_key for key in keys.show(database) if key.kind is KeyKind.URL] == [None]


@pytest.mark.parametrize("kind", KINDS)
def test_of_many_that_need_the_first_key_at_once_all_get_the_same(database: Database, kind: KeyKind) -> None:
    url = database.engine.url.render_as_string(hide_password=False)
    others = [open_database(url.replace("+pysqlite", "").replace("+psycopg", "")) for _ in range(6)]
    with ThreadPoolExecutor(6) as threads:
        found = list(threads.map(lambda one: ids(one, kind), others))
    for one in others:
        one.close()
    assert found == [ids(database, kind)] * 6
    assert [action for _, action, _, _ in audited(database)] == ["key_created"]


@pytest.mark.parametrize("kind", KINDS)
def test_who_loses_the_race_for_the_first_key_reads_the_winners(
    database: Database, kind: KeyKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    winner: list[str] = []
    make = keys._make

    def make_too_late(wanted: KeyKind, actor: str) -> Any:
        if not winner:  # after the look that found none, and before the row of its own
            winner.append("")
            winner[0] = keys.create(database, kind, by=ANNA).id
        return make(wanted, actor)

    monkeypatch.setattr(keys, "_make", make_too_late)
    assert ids(database, kind) == winner
    assert len(stored(database)) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_keys_that_are_there_cost_one_query(database: Database, kind: KeyKind) -> None:
    ids(database, kind)
    asked: list[str] = []

    def note(_c: object, _cursor: object, statement: str, *_rest: object) -> None:
        if not statement.startswith("BEGIN"):
            asked.append(statement)

    event.listen(database.engine, "before_cursor_execute", note)
    ids(database, kind)
    event.remove(database.engine, "before_cursor_execute", note)
    assert len(asked) == 1, asked


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_that_is_there_is_not_made_again(database: Database, kind: KeyKind) -> None:
    made = keys.create(database, kind, by=ANNA)
    with pytest.raises(ConflictError, match=f"there is a {kind} key already: `shelfsight keys rotate --kind {kind}`"):
        keys.create(database, kind, by=ANNA)
    assert ids(database, kind) == [made.id]
    assert audited(database) == [("cli:anna", "key_created", made.id, {"kind": kind.value})]


@pytest.mark.parametrize("kind", KINDS)
def test_the_database_holds_one_current_key_of_a_kind_whoever_writes(database: Database, kind: KeyKind) -> None:
    ids(database, kind)
    row = {"kind": kind.value, "private_key": b"x", "created_at": datetime.now(UTC), "created_by": "sql"}
    with pytest.raises(ConflictError), database.write() as connection:
        connection.execute(insert(signing_keys).values(id="another", **row))


def test_a_new_config_key_signs_beside_the_one_before_until_that_is_retired(database: Database) -> None:
    (first,) = ids(database)
    second = rotate(database)
    assert ids(database) == [second.id, first]
    assert states(database) == {second.id: KeyState.CURRENT, first: KeyState.REPLACED}
    assert [key.id for key in retire(database)] == [first]
    assert ids(database) == [second.id]
    assert states(database) == {second.id: KeyState.CURRENT, first: KeyState.RETIRED}
    assert audited(database)[:2] == [
        ("cli:anna", "key_retired", first, {"kind": "config"}),
        ("cli:anna", "key_rotated", second.id, {"kind": "config", "replaces": first}),
    ]


def test_a_third_config_key_waits_until_the_first_is_retired(database: Database) -> None:
    (first,) = ids(database)
    second = rotate(database).id
    with pytest.raises(
        ConflictError, match=f"key {first[:12]} is still valid beside the current one: retire it first"
    ):
        rotate(database)
    assert ids(database) == [second, first]
    retire(database)
    third = rotate(database).id
    assert ids(database) == [third, second]


def test_a_key_for_now_only_retires_all_others(database: Database) -> None:
    (first,) = ids(database)
    second = rotate(database).id
    third = rotate(database, now_only=True).id
    assert ids(database) == [third]
    assert states(database) == {
        third: KeyState.CURRENT, second: KeyState.RETIRED, first: KeyState.RETIRED,
    }  # fmt: skip
    retired = {subject for _, action, subject, _ in audited(database) if action == "key_retired"}
    assert retired == {first, second}


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_retired_key_signed_with_is_gone(database: Database, kind: KeyKind) -> None:
    (first,) = ids(database, kind)
    assert stored(database)[first]
    second = rotate(database, kind).id
    assert stored(database)[first]
    retire(database, kind)
    assert (stored(database)[first], len(stored(database)[second]) > 0) == (b"", True)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_rotated_or_retired_before_the_first_key(database: Database, kind: KeyKind) -> None:
    for move in (rotate, retire):
        with pytest.raises(NotFoundError, match=f"there is no {kind} key yet: make it with `shelfsight keys create"):
            move(database, kind)
    assert keys.show(database) == []


@pytest.mark.parametrize("kind", KINDS)
def test_the_current_key_is_not_retired(database: Database, kind: KeyKind) -> None:
    (first,) = ids(database, kind)
    with pytest.raises(ConflictError, match=f"no {kind} key is waiting to be retired"):
        retire(database, kind)
    assert ids(database, kind) == [first]


def test_a_replaced_secret_is_accepted_until_the_longest_url_it_signed_has_expired(database: Database) -> None:
    (first,) = ids(database, KeyKind.URL)
    second = rotate(database, KeyKind.URL).id
    third = rotate(database, KeyKind.URL).id
    assert ids(database, KeyKind.URL) == [third, second, first]
    _replaced(database, first, LONGEST_SIGNED_URL - timedelta(minutes=1))
    _replaced(database, second, timedelta(minutes=1))
    assert ids(database, KeyKind.URL) == [third, second, first]
    _replaced(database, first, LONGEST_SIGNED_URL)
    assert ids(database, KeyKind.URL) == [third, second]
    fourth = rotate(database, KeyKind.URL).id
    assert states(database)[first] is KeyState.RETIRED  # by the way
    assert ids(database, KeyKind.URL) == [fourth, third, second]
    rotate(database, KeyKind.URL, now_only=True)
    assert len(ids(database, KeyKind.URL)) == 1


def _replaced(database: Database, key_id: str, ago: timedelta) -> None:
    with database.write() as connection:
        connection.execute(
            update(signing_keys).where(signing_keys.c.id == key_id).values(replaced_at=datetime.now(UTC) - ago)
        )


def test_when_a_replaced_secret_ends_can_be_told(database: Database) -> None:
    ids(database, KeyKind.URL)
    ids(database)
    for kind in KINDS:
        rotate(database, kind)
    told = {(key.kind, key.state): keys.accepted_until(key) for key in keys.show(database)}
    replaced = next(key for key in keys.show(database) if (key.kind, key.state) == (KeyKind.URL, KeyState.REPLACED))
    assert replaced.replaced_at is not None
    assert told.pop((KeyKind.URL, KeyState.REPLACED)) == replaced.replaced_at + LONGEST_SIGNED_URL
    assert set(told.values()) == {None}


@pytest.mark.parametrize("kind", KINDS)
def test_of_several_who_rotate_at_once_each_replaces_the_one_before(database: Database, kind: KeyKind) -> None:
    ids(database, kind)

    def one(_number: int) -> str:
        try:
            return rotate(database, kind).id
        except ConflictError:
            return ""

    with ThreadPoolExecutor(5) as threads:
        made = [key_id for key_id in threads.map(one, range(5)) if key_id]
    assert len(made) == (1 if kind is KeyKind.CONFIG else 5)
    assert ids(database, kind)[0] in made
    assert sorted(states(database).values()) == sorted([KeyState.CURRENT, *[KeyState.REPLACED] * len(made)])


def test_keys_of_one_kind_are_left_alone_when_the_other_changes(database: Database) -> None:
    before = config_keys(database), url_secrets(database)
    rotate(database, KeyKind.URL, now_only=True)
    assert config_keys(database) == before[0]
    rotate(database, KeyKind.CONFIG, now_only=True)
    assert len(url_secrets(database)) == 1
    assert url_secrets(database) != before[1]


def test_every_change_of_config_keys_counts_the_channels_sequences_up(database: Database) -> None:
    with database.write() as connection:
        connection.execute(update(channels).where(channels.c.id == "T_1").values(sequence=41))
    ids(database)
    ids(database, KeyKind.URL)
    assert sequence_of(database, "T_1") == 41
    rotate(database)
    assert sequence_of(database, "T_1") == 42
    retire(database)
    assert sequence_of(database, "T_1") == 43
    rotate(database, now_only=True)
    assert sequence_of(database, "T_1") == 44
    rotate(database, KeyKind.URL, now_only=True)
    assert sequence_of(database, "T_1") == 44
    assert sequence_of(database, "default") == 0  # has given nobody anything yet


def test_a_device_follows_from_key_to_key_and_believes_no_retired_one(database: Database) -> None:
    now, sequence = datetime(2026, 11, 20, 12, tzinfo=UTC), 0
    first = config_keys(database)
    state = Trust(channel="T_1", keys=frozenset({first[0].id}))

    def sent() -> bytes:
        nonlocal sequence
        sequence += 1
        signers = config_keys(database)
        return canonical(sign(config(keys=published(signers), sequence=sequence), signers))

    state = accept(sent(), state, now).trust
    rotate(database)
    between = sent()
    state = accept(between, state, now).trust
    assert state.keys == set(ids(database))
    retire(database)
    state = accept(sent(), state, now).trust
    assert state.keys == set(ids(database))
    assert first[0].id not in state.keys
    leaked = canonical(sign(config(keys=published(first), sequence=99), first))
    with pytest.raises(ConfigRefusedError) as refused:
        accept(leaked, state, now)
    assert refused.value.reason is Refusal.UNKNOWN_KEY
    with pytest.raises(ConfigRefusedError) as refused:  # the new key signed it, and it would bring the old one back
        accept(between, state, now)
    assert refused.value.reason is Refusal.REPLAYED


def test_no_role_of_other_programs_reads_or_writes_keys(postgresql: Database) -> None:
    asked = "SELECT has_table_privilege(:role, 'shelfsight.signing_keys', 'SELECT, INSERT, UPDATE, DELETE')"
    with postgresql.read() as connection:
        for role in ("anon", "authenticated", "service_role"):
            assert connection.scalar(text(asked), {"role": role}) is False


def test_what_keys_sign_with_is_in_no_repr_audit_or_log(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        shown = [repr(config_keys(database)), repr(url_secrets(database))]
        shown += [repr(rotate(database, kind)) for kind in KINDS]
        with database.read() as connection:
            shown += [repr(key_store.valid_keys(connection, kind)) for kind in KINDS]
        shown += [repr(keys.show(database)), repr(audited(database)), caplog.text]
    secrets = stored(database).values()
    assert len(secrets) == 4
    for private in secrets:
        secret = private[36:68] if len(private) > 32 else private  # of PKCS 8: the number alone
        for form in (repr(secret)[2:-1], secret.hex(), b64encode(secret).decode(), b64encode(private).decode()):
            assert not any(form in text for text in shown)
