"""The way an operator knows, by SQL, by command and by REST: each step, and what devices are told after it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text
from starlette.testclient import TestClient

from shelfsight.access import tokens
from shelfsight.access.rules import COMMAND_LINE
from shelfsight.access.tokens import NewToken
from shelfsight.api.services import Services
from shelfsight.app import build_app
from shelfsight.registry.follow import Follower
from tests.cli.command import done
from tests.rollout.conftest import FIRST, SECOND, STABLE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.rollout.conftest import Shop

Do = Callable[[str], None]


@dataclass(frozen=True)
class Step:
    """What an operator wants, and what devices are told then: the stable version, the candidate and the shadow."""

    sql: str
    command: str
    rest: tuple[str, dict[str, object]]
    told: tuple[str | None, str | None, str | None]
    action: str
    actions_before: int = 0


START = f"rollout start T_1 {FIRST}"
OF_FIRST, OF_STABLE = f"version = 'v{FIRST}'", f"version = 'v{STABLE}'"
TO_STABLE = "status = 'active', rollout_percentage = 100, is_stable = true"
WAY = (
    Step(
        sql=f"shadow_mode = true, shadow_percentage = 10 WHERE {OF_FIRST}",
        command=START,
        rest=("rollout", {"version": FIRST}),
        told=(STABLE, None, f"{FIRST} 10 %"),
        action="rollout_started",
    ),
    Step(
        sql=f"shadow_mode = false, rollout_percentage = 10 WHERE {OF_FIRST}",
        command="rollout advance T_1",
        rest=("rollout/advance", {}),
        told=(STABLE, f"{FIRST} 10 %", None),
        action="rollout_advanced",
    ),
    Step(
        sql=f"rollout_percentage = 50 WHERE {OF_FIRST}",
        command="rollout advance T_1 --to 50",
        rest=("rollout/advance", {"percentage": 50}),
        told=(STABLE, f"{FIRST} 50 %", None),
        action="rollout_advanced",
    ),
    Step(
        sql=f"{TO_STABLE} WHERE {OF_FIRST}",
        command="rollout advance T_1",
        rest=("rollout/advance", {}),
        told=(FIRST, None, None),
        action="rollout_completed",
    ),
)
"""From testing to everybody."""


def _by_sql(shop: Shop, *settings: str) -> Do:
    """Return who types: each statement in a session of its own, as a person's, not as one of Shelfsight's."""

    def do(statement: str) -> None:
        where = " AND channel_id = 'T_1'" if "SET LOCAL ROLE service_role" in settings else ""
        with shop.database.engine.connect() as connection:
            with connection.begin():
                if shop.database.is_postgresql:
                    connection.execute(text("RESET shelfsight.channel"))
                for setting in settings:
                    connection.execute(text(setting))
                assert connection.execute(text(f"UPDATE model_metadata SET {statement}{where}")).rowcount == 1
            connection.invalidate()

    return do


@pytest.fixture(params=["sqlite", "a session", "service_role"])
def sql(request: pytest.FixtureRequest) -> tuple[Shop, Do, str]:
    """A shop, somebody who types into its database, and who that is to the audit."""
    database = request.getfixturevalue("sqlite" if request.param == "sqlite" else "postgresql")
    make_shop = request.getfixturevalue("make_shop")
    shop = make_shop(database)
    match request.param:
        case "sqlite":
            return shop, _by_sql(shop), "sql"
        case "service_role":
            return shop, _by_sql(shop, "SET LOCAL ROLE service_role"), "sql:service_role"
        case _:
            return shop, _by_sql(shop, "SET shelfsight.channel = 'T_1'"), "sql:postgres"


def _check(shop: Shop, step: Step, before: int) -> None:
    """Check what devices are told after a step, and that a server that follows serves the right files."""
    assert shop.told() == step.told
    assert shop.sequence() > before
    Follower(shop.registry).look()
    assert shop.latest() == step.told[0]


def test_by_sql_a_version_goes_its_way_and_comes_back(sql: tuple[Shop, Do, str]) -> None:
    shop, do, actor = sql
    for step in WAY:
        before = shop.sequence()
        do(step.sql)
        _check(shop, step, before)
    (rollout,) = shop.rollouts()
    assert (rollout.version, rollout.outcome, rollout.started_by) == (f"v{FIRST}", "stable", actor)
    assert shop.statuses()[STABLE] == "active"  # until somebody says so: but no device is told of it any more
    do(f"status = 'deprecated', deprecated_at = CURRENT_TIMESTAMP WHERE {OF_STABLE}")
    assert (shop.told(), shop.statuses()[STABLE]) == ((FIRST, None, None), "deprecated")
    do(f"{TO_STABLE} WHERE {OF_STABLE}")
    assert shop.told() == (STABLE, None, None)  # and the bad one is no candidate of 100 %
    do(f"status = 'deprecated' WHERE {OF_FIRST}")
    assert shop.statuses() == {STABLE: "active", FIRST: "deprecated", SECOND: "testing"}
    assert len(shop.rollouts()) == 1
    with shop.database.read() as tx:
        prefix = "shelfsight." if shop.database.is_postgresql else ""
        query = f"SELECT DISTINCT actor FROM {prefix}audit WHERE action = 'version_updated' AND actor <> 'system'"
        assert tx.execute(text(query)).all() == [(actor,)]


def test_by_sql_devices_stay_in_while_a_share_grows_and_the_next_rollout_draws_anew(
    sql: tuple[Shop, Do, str],
) -> None:
    shop, do, _ = sql
    salts = []
    for _ in range(2):
        for statement in (
            "shadow_mode = true, shadow_percentage = 10",
            "rollout_percentage = 10",  # and still in shadow: SQL may
            "rollout_percentage = 50, shadow_mode = false, shadow_percentage = 0",
            "rollout_percentage = 20",
            "rollout_percentage = 0",
        ):
            do(f"{statement} WHERE {OF_FIRST}")
            row = shop.rollouts()[-1]
            salts.append((row.salt, row.shadow_salt))
    assert [one.outcome for one in shop.rollouts()] == ["stopped", "stopped"]
    assert [len(set(salts[:5])), len(set(salts[5:]))] == [1, 1]
    assert len({salt for pair in salts for salt in pair}) == 4


@pytest.fixture
def command(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Do:
    """Somebody at a shell."""
    url = shop.database.engine.url.render_as_string(hide_password=False)
    monkeypatch.setenv("SHELFSIGHT_DATABASE_URL", url)
    monkeypatch.setenv("SHELFSIGHT_STORAGE_URL", str(tmp_path / "assets"))
    monkeypatch.setenv("LOGNAME", "anna")
    return lambda line: print(done(*line.split()))  # noqa: T201 (shown where the test fails)


@pytest.fixture
def rest(shop: Shop) -> Callable[[str, dict[str, object]], None]:
    """Somebody with a token for the channel."""
    services = Services(database=shop.database, storage=shop.registry.storage)
    wanted = NewToken(name="test", scopes=("channel:T_1:write",))
    issued = tokens.create_token(shop.database, wanted, by=COMMAND_LINE)
    client = TestClient(build_app(services), headers={"authorization": f"Bearer {issued.text}"})

    def do(path: str, document: dict[str, object]) -> None:
        answer = client.post(f"/api/v1/channels/T_1/{path}", json=document)
        assert answer.is_success, answer.text
        told = answer.json()
        offers = [told[name] and f"{told[name]['version']} {told[name]['percentage']:g} %" for name in _OFFERS]
        assert (told["stable"], *offers) == shop.told()
        assert (told["sequence"], answer.headers["etag"]) == (shop.sequence(), f'"{shop.sequence()}"')

    return do


_OFFERS = ("candidate", "shadow")
Go = Callable[[Step], None]


@pytest.fixture(params=["command", "rest"])
def go(request: pytest.FixtureRequest) -> Go:
    """Somebody who makes moves, at a shell or over HTTP."""
    do = request.getfixturevalue(request.param)
    if request.param == "command":
        return lambda step: do(step.command)
    return lambda step: do(*step.rest)


BACK = Step(
    sql="",
    command="rollout rollback T_1",
    rest=("rollout/rollback", {}),
    told=(STABLE, None, None),
    action="rollout_rolled_back",
)


def test_by_command_and_rest_a_version_goes_its_way_and_comes_back(shop: Shop, go: Go) -> None:
    for number, step in enumerate(WAY, start=1):
        before = shop.sequence()
        go(step)
        _check(shop, step, before)
        assert [action for _, action, _ in shop.audited()] == [one.action for one in WAY[:number]]
        assert len({(one.salt, one.shadow_salt) for one in shop.rollouts()}) == 1
    assert {(actor.split(":")[0], subject) for actor, _, subject in shop.audited()} <= {
        ("cli", f"v{FIRST}"),
        ("token", f"v{FIRST}"),
    }
    assert shop.statuses() == {STABLE: "deprecated", FIRST: "active", SECOND: "testing"}
    before = shop.sequence()
    go(BACK)
    _check(shop, BACK, before)
    assert shop.statuses() == {STABLE: "active", FIRST: "deprecated", SECOND: "testing"}


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_what_is_taken_back_on_its_way_is_in_testing_again_and_draws_anew_next_time(
    shop: Shop, go: Go, steps: int
) -> None:
    for _ in range(2):
        for step in WAY[:steps]:
            go(step)
        assert shop.told() == WAY[steps - 1].told
        before = shop.sequence()
        go(BACK)
        _check(shop, BACK, before)
        assert shop.statuses() == {STABLE: "active", FIRST: "testing", SECOND: "testing"}
    assert [one.outcome for one in shop.rollouts()] == ["rolled_back", "rolled_back"]
    assert len({salt for one in shop.rollouts() for salt in (one.salt, one.shadow_salt)}) == 4
    assert [action for _, action, _ in shop.audited()][steps] == "rollout_rolled_back"


def test_what_one_begins_another_continues(sql: tuple[Shop, Do, str], request: pytest.FixtureRequest) -> None:
    shop, do, _ = sql
    do(f"status = 'active', rollout_percentage = 10 WHERE {OF_FIRST}")
    monkeypatch = request.getfixturevalue("monkeypatch")
    url = shop.database.engine.url.render_as_string(hide_password=False)
    monkeypatch.setenv("SHELFSIGHT_DATABASE_URL", url)
    monkeypatch.setenv("SHELFSIGHT_STORAGE_URL", str(request.getfixturevalue("tmp_path") / "assets"))
    done("rollout", "advance", "T_1")
    do(f"rollout_percentage = 60 WHERE {OF_FIRST}")
    assert shop.told() == (STABLE, f"{FIRST} 60 %", None)
    done("rollout", "advance", "T_1")
    assert (shop.told(), shop.latest()) == ((FIRST, None, None), FIRST)
    assert [(one.version, one.outcome) for one in shop.rollouts()] == [(f"v{FIRST}", "stable")]
