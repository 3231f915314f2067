"""`shelfsight vendure connect`, `connections`, `sync` and `disconnect`, as somebody types them."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from shelfsight.cli.service import opened_service
from shelfsight.database.tables import vendure_channels
from tests.cli.command import done, run_here
from tests.vendure.server import jpeg

if TYPE_CHECKING:
    from pathlib import Path

    from tests.vendure.server import ShopChannel, VendureServer


@pytest.fixture
def theirs(vendure: VendureServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ShopChannel:
    """A channel there, and a service here with the channel T_1; the environment has an address and a password."""
    monkeypatch.setenv("SHELFSIGHT_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("SHELFSIGHT_VENDURE_API", vendure.url)
    monkeypatch.setenv("SHELFSIGHT_VENDURE_PASSWORD", "superadmin")
    done("channels", "add", "T_1")
    return vendure.channel()


def connect(theirs: ShopChannel, *more: str) -> str:
    return done("vendure", "connect", "T_1", "--vendure-channel", theirs.id, "--username", "superadmin", *more)


def test_a_shop_is_connected_synced_and_disconnected(vendure: VendureServer, theirs: ShopChannel) -> None:
    tea = vendure.product(theirs, "Tea", [jpeg((255, 0, 0)), jpeg((1, 1, 1), size=8)])
    printed = connect(theirs, "--server", "https://shelfsight.example/")
    found = re.fullmatch(
        r"url\thttps://shelfsight\.example/api/v1/vendure/([0-9a-f]{16})\nsecret\t(whsec_[A-Za-z0-9+/]{43}=)\n",
        printed,
    )
    assert found is not None, printed
    (listed,) = json.loads(done("vendure", "connections", "--json"))
    assert (listed["channelId"], listed["server"], listed["vendureChannelId"]) == ("T_1", found[1], theirs.id)
    assert (listed["sells"], listed["deploys"], listed["recordsOrders"]) == ("products", False, False)
    told = done("vendure", "sync", "T_1")
    assert re.fullmatch(
        rf"refused {tea}, asset \d+: too small .*\nT_1: added 1, changed 0, restored 0, deleted 0, pictures 2; "
        r"1 in Vendure\n",
        told,
    )
    again = json.loads(done("vendure", "sync", "--full", "--json"))
    assert [(one["channelId"], one["seen"], one["added"], len(one["refused"])) for one in again] == [("T_1", 1, 0, 1)]
    shown = done("vendure", "connections")
    assert shown.splitlines()[1].split("\t")[:7] == ["T_1", vendure.api, theirs.id, "products", "no", "no", "1"]
    assert done("vendure", "disconnect", "T_1") == (
        f"T_1 is no longer connected with channel {theirs.id} of {vendure.api}\n"
    )
    assert json.loads(done("vendure", "connections", "--json")) == []
    assert f"{tea}\tTea" in done("products", "list", "T_1")


def test_secrets_are_printed_once_and_nowhere_else(vendure: VendureServer, theirs: ShopChannel) -> None:
    secret = connect(theirs).split("\t")[-1].strip()
    again = connect(theirs, "--sells", "variants")
    assert again.count("\n") == 1
    others = [done("vendure", "connections", *more) for more in ((), ("--json",))]
    for text in (again, *others):
        assert secret not in text
        assert theirs.token not in text
    renewed = connect(theirs, "--new-secret").split("\t")[-1].strip()
    assert renewed.startswith("whsec_")
    assert renewed != secret


def test_a_sync_that_would_empty_the_shop_says_how_to_let_it(vendure: VendureServer, theirs: ShopChannel) -> None:
    tea = vendure.product(theirs, "Tea")
    connect(theirs)
    done("vendure", "sync")
    vendure.ask("mutation($id: ID!) { deleteProduct(id: $id) { result } }", theirs.token, id=tea)
    refused = run_here("vendure", "sync", "T_1")
    assert refused.returncode == 3
    assert "1 of the 1 products" in refused.stderr
    assert "shelfsight vendure sync T_1 --allow-deletions" in refused.stderr
    assert "deleted 1" in done("vendure", "sync", "T_1", "--allow-deletions")


def test_it_says_what_an_address_lacks_and_an_error_once(vendure: VendureServer, theirs: ShopChannel) -> None:
    start = ("vendure", "connect", "T_1", "--vendure-channel", theirs.id, "--username", "superadmin")
    assert "Before the url" in run_here(*start).stderr
    assert "Before the url" not in run_here(*start, "--server", "https://shelfsight.example").stderr
    with opened_service() as service, service.database.write() as tx:
        both = {"sync_error": "the password is wrong", "mirror_error": "the password is wrong"}
        tx.execute(vendure_channels.update().values(**both))
    assert done("vendure", "connections").count("the password is wrong") == 1


def test_what_is_missing_is_asked_for(theirs: ShopChannel, monkeypatch: pytest.MonkeyPatch) -> None:
    start = ("vendure", "connect", "T_1", "--vendure-channel", theirs.id)
    assert "give --username, or --api-key" in run_here(*start).stderr
    assert "SHELFSIGHT_VENDURE_API_KEY" in run_here(*start, "--api-key").stderr
    monkeypatch.delenv("SHELFSIGHT_VENDURE_API")
    nowhere = run_here(*start, "--username", "superadmin")
    assert (nowhere.returncode, "--api or SHELFSIGHT_VENDURE_API" in nowhere.stderr) == (2, True)
    assert "is not connected with Vendure" in run_here("vendure", "sync", "T_1").stderr
