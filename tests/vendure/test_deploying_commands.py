"""`shelfsight vendure deploy`, `versions`, `rollback`, `verify`, `cleanup`, as a person or a pipeline calls them."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.command import done, run, run_here, started
from tests.tiny import write_tiny_bundle
from tests.vendure.faults import held
from tests.vendure.models import model_files, written

if TYPE_CHECKING:
    from pathlib import Path

    from tests.vendure.conftest import Shop

VARIABLES = ("API", "TOKEN", "USERNAME", "PASSWORD", "API_KEY", "CHANNEL_TOKEN")


@pytest.fixture
def session(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> str:
    """The token of a session; the environment says nothing."""
    for name in VARIABLES:
        monkeypatch.delenv(f"SHELFSIGHT_VENDURE_{name}", raising=False)
    client = shop.server.client()
    client.query("query { activeChannel { id } }")
    assert client._session is not None
    return client._session


@pytest.fixture
def where(shop: Shop, session: str) -> list[str]:
    """The options that say which channel of which Vendure, and who asks."""
    return ["--channel", shop.channel.id, "--api", shop.server.api, "--token", session]


def _three(folder: Path, seed: int = 1) -> list[str]:
    """Return the options for three files of a model."""
    written(folder, model_files(seed))
    names = {"--model": "model.json", "--weights": "weights.bin", "--metadata": "metadata.json"}
    return [word for option, name in names.items() for word in (option, str(folder / name))]


def _json(*arguments: object) -> Any:
    return json.loads(done("vendure", *arguments, "--json"))


def test_versions_are_deployed_listed_rolled_back_verified_and_cleaned_up(
    shop: Shop, where: list[str], tmp_path: Path
) -> None:
    for seed in (1, 2):
        three = _three(tmp_path / str(seed), seed)
        told = done("vendure", "deploy", *where, "--version", f"{seed}.0.0", *three)
    loads = f"channel {shop.channel.id} ({shop.channel.code}) loads it"
    assert told == f"Deployed v2.0.0: {loads} instead of v1.0.0\n"
    assert done("vendure", "deploy", *where, "--version", "2.0.0", *three) == (
        f"v2.0.0 is deployed already: {loads}; nothing was changed\n"
    )
    header, second, first = done("vendure", "versions", *where).splitlines()
    assert header.split("\t") == ["Version", "State", "Trained", "Deployed", "Files", "Size"]
    assert (second.split("\t")[:3], first.split("\t")[:3]) == (
        ["v2.0.0", "active", "2024-07-27"],
        ["v1.0.0", "", "2024-07-27"],
    )
    assert done("vendure", "rollback", *where) == f"Channel {shop.channel.id} loads v1.0.0 again\n"
    assert done("vendure", "verify", *where).endswith("v1.0.0: every file is whole, and its model runs\n")
    kept = "Kept v1.0.0: it is active\n"
    assert done("vendure", "cleanup", *where, "--keep", 1, "--older-than", "30d") == "Nothing to remove\n"
    assert done("vendure", "rollback", *where, "--to", "v2.0.0").endswith("loads v2.0.0 again\n")
    assert done("vendure", "cleanup", *where, "--keep", 1, "--dry-run").startswith("Would remove v1.0.0 (")
    assert done("vendure", "rollback", *where, "--to", "1.0.0").endswith("loads v1.0.0 again\n")
    assert done("vendure", "cleanup", *where, "--keep", 1) == kept
    assert shop.versions == [("v2.0.0", False), ("v1.0.0", True)]


def test_programs_read_json(shop: Shop, where: list[str], tmp_path: Path) -> None:
    three = _three(tmp_path)
    planned = _json("deploy", *where, "--version", "1.0.0", *three, "--dry-run")
    assert (planned["outcome"], planned["files"], shop.assets()) == ("planned", [], set())
    report = _json("deploy", *where, "--version", "1.0.0", *three)
    assert (report["outcome"], report["version"], report["replaces"]) == ("deployed", "v1.0.0", None)
    (version,) = _json("versions", *where)
    assert (version["active"], version["files"]) == (True, report["files"])
    assert [file["role"] for file in report["files"]] == ["metadata", "model", "weights"]
    assert _json("verify", *where) == {"version": "v1.0.0", "ok": True, "problems": []}
    assert _json("rollback", *where, "--to", "1.0.0")["active"] is True
    assert _json("cleanup", *where) == {"removed": [], "left": [], "kept": []}


def test_a_bundle_of_ours_is_deployed_from_its_folder_with_the_environment_alone(
    shop: Shop, session: str, tmp_path: Path
) -> None:
    bundle = write_tiny_bundle(tmp_path / "bundle", seed=1)
    environment = {
        "SHELFSIGHT_VENDURE_API": shop.server.url,
        "SHELFSIGHT_VENDURE_USERNAME": "superadmin",
        "SHELFSIGHT_VENDURE_PASSWORD": "superadmin",
    }
    arguments = ("vendure", "deploy", "--channel", shop.channel.code, "--version", "3fa81c2", "--bundle", bundle)
    ended = run(*arguments, **environment)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert shop.versions == [("v3fa81c2", True)]


def test_an_api_key_is_told_its_channel(shop: Shop, session: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.vendure.server import ShopChannel

    channel = ShopChannel(id=shop.channel.id, code=shop.channel.code, token=shop.channel.token)
    key = shop.server.api_key(["ReadAsset", "ReadChannel"], channel)
    monkeypatch.setenv("SHELFSIGHT_VENDURE_API_KEY", key)
    monkeypatch.setenv("SHELFSIGHT_VENDURE_CHANNEL_TOKEN", shop.channel.token)
    assert _json("versions", "--channel", shop.channel.id, "--api", shop.server.api) == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_whoever_ends_the_command_leaves_nothing_behind(
    shop: Shop, where: list[str], tmp_path: Path, number: signal.Signals, code: int
) -> None:
    with held(shop.server.api, "AssignAssets") as (api, is_held):
        where[3] = api
        with started("vendure", "deploy", *where, "--version", "1.0.0", *_three(tmp_path)) as process:
            assert is_held.wait(60)
            assert len(shop.assets()) == 3
            process.send_signal(number)
            assert process.wait(60) == code
    assert (shop.assets(everywhere=True), shop.fields.ids) == (set(), frozenset())


def test_verify_exits_with_1_and_says_what_is_wrong(where: list[str]) -> None:
    ended = run_here("vendure", "verify", *where)
    assert (ended.returncode, ended.stdout) == (1, "no version is active: deploy one\n")
    told = json.loads(run_here("vendure", "verify", *where, "--json").stdout)
    assert told == {"version": None, "ok": False, "problems": ["no version is active: deploy one"]}


def test_the_same_version_with_other_files_contradicts_what_is_there(where: list[str], tmp_path: Path) -> None:
    done("vendure", "deploy", *where, "--version", "1.0.0", *_three(tmp_path / "1", 1))
    ended = run_here("vendure", "deploy", *where, "--version", "1.0.0", *_three(tmp_path / "2", 2))
    assert (ended.returncode, ended.stderr) == (
        3,
        "Error: v1.0.0 is deployed with other files: deploy these as another version\n",
    )


WRONG = {
    "a file that is not there": (
        ["--model", "no.json", "--weights", "no.bin", "--metadata", "no.json"],
        "File not found: no.bin (No such file or directory): check the path of the weights",
    ),
    "a folder that is none": (["--bundle", "nowhere"], "File not found: nowhere/model.json"),
    "two files of three": (["--model", "m", "--weights", "w"], "which model? give --model, --weights and --metadata"),
    "both ways": (["--bundle", "b", "--model", "m"], "--bundle has the three files: give it alone"),
}


@pytest.mark.parametrize("name", WRONG)
def test_files_that_are_not_named_rightly_are_wrong_use(where: list[str], name: str) -> None:
    options, message = WRONG[name]
    ended = run_here("vendure", "deploy", *where, "--version", "1.0.0", *options)
    assert ended.returncode == 2
    assert message in ended.stderr


def test_who_asks_and_whom_must_be_known(shop: Shop, session: str) -> None:
    nobody = run_here("vendure", "versions", "--channel", "2", "--api", shop.server.api)
    assert (nobody.returncode, "who asks Vendure?" in nobody.stderr) == (2, True)
    nowhere = run_here("vendure", "versions", "--channel", "2", "--token", session)
    assert (nowhere.returncode, "which Vendure?" in nowhere.stderr) == (2, True)


def test_what_vendure_refuses_exits_with_1(shop: Shop, where: list[str]) -> None:
    where[1] = "999"
    wrong = run_here("vendure", "versions", *where)
    assert wrong.returncode == 1
    assert "Vendure shows us no channel '999'" in wrong.stderr
    where[-1] = "expired"
    expired = run_here("vendure", "versions", *where)
    assert (expired.returncode, "may have expired: log in again" in expired.stderr) == (1, True)


@pytest.mark.parametrize("age", ["30", "d", "1.5d", "30 d", "-1d"])
def test_what_is_no_age_is_wrong_use(where: list[str], age: str) -> None:
    ended = run_here("vendure", "cleanup", *where, f"--older-than={age}")
    assert (ended.returncode, "is no age: use one such as 12h, 30d or 8w" in ended.stderr) == (2, True)
