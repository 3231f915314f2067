"""A link that makes a browser a till, and tells nobody else the key."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest

from shelfsight.access.key_store import KeyKind
from shelfsight.access.keys import config_keys, rotate
from shelfsight.access.rules import COMMAND_LINE
from shelfsight.catalog.store import channels
from shelfsight.errors import NotFoundError, UsageError
from shelfsight.till.pairing import link, pairing_link

if TYPE_CHECKING:
    from shelfsight.database.engine import Database


def test_the_link_carries_the_channels_key_and_whom_to_trust_behind_the_hash(database: Database) -> None:
    found = urlsplit(pairing_link(database, "default", "https://till.example.com/"))
    with database.read() as tx:
        token = channels.get(tx, "default").token
    assert found._replace(fragment="").geturl() == "https://till.example.com/till/default"
    assert parse_qs(found.fragment) == {"token": [token], "keys": [config_keys(database)[0].id]}


def test_during_a_rotation_both_keys_are_trusted(sqlite: Database) -> None:
    config_keys(sqlite)
    rotate(sqlite, KeyKind.CONFIG, by=COMMAND_LINE)
    fragment = parse_qs(urlsplit(pairing_link(sqlite, "default", "https://till.example.com")).fragment)
    assert fragment["keys"] == [",".join(key.id for key in config_keys(sqlite))]
    assert fragment["keys"][0].count(",") == 1


def test_a_channel_that_is_not_there_has_no_link(sqlite: Database) -> None:
    with pytest.raises(NotFoundError, match="nobody"):
        pairing_link(sqlite, "nobody", "https://till.example.com")


@pytest.mark.parametrize("server", ["", "till.example.com", "ftp://x", "https://x/?a=b", "https://x#y", "https:///x"])
def test_what_is_no_server_is_refused(server: str) -> None:
    with pytest.raises(UsageError, match="no address of a server"):
        link(server, "default", "ck_1", ["k"])


@pytest.mark.parametrize(
    "server",
    [
        "http://[::1",
        "https://x:abc",
        "https://x:99999",
        "https://x:0",
        "https://a b",
        "https://x/\n",
        "https://u:p@x",
    ],
)
def test_a_server_that_no_phone_could_reach_is_refused(server: str) -> None:
    with pytest.raises(UsageError, match="no address of a server"):
        link(server, "default", "ck_1", ["k"])


@pytest.mark.parametrize("server", ["https://[fd00::7]:8443", "http://192.168.1.7:8000/", "https://x.example/shop"])
def test_a_server_may_have_a_port_and_a_path(server: str) -> None:
    assert link(server, "T_1", "ck_1", ["k"]) == f"{server.rstrip('/')}/till/T_1#token=ck_1&keys=k"
