"""The audit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shelfsight.access import audit
from shelfsight.access.rate import network_of

if TYPE_CHECKING:
    from shelfsight.database.engine import Database


def test_entries_are_listed_newest_first_by_channel_and_page_by_page(database: Database) -> None:
    with database.write() as connection:
        for number in range(4):
            channel = "T_1" if number % 2 else None
            audit.record(connection, actor="cli", action=f"tried_{number}", channel=channel, details={"n": number})
    with database.read() as connection:
        first = audit.list_entries(connection, limit=3)
        rest = audit.list_entries(connection, before=first[-1].id, limit=3)
        of_channel = audit.list_entries(connection, channel="T_1", limit=9)
    assert [entry.action for entry in (*first, *rest)] == ["tried_3", "tried_2", "tried_1", "tried_0"]
    assert [entry.details for entry in of_channel] == [{"n": 3}, {"n": 1}]


def test_an_entry_goes_with_its_transaction(database: Database) -> None:
    def fail_after_an_entry() -> None:
        with database.write() as connection:
            audit.record(connection, actor="cli", action="tried")
            raise KeyError

    with pytest.raises(KeyError):
        fail_after_an_entry()
    with database.read() as connection:
        assert audit.list_entries(connection, limit=9) == []


def test_an_address_of_ipv6_counts_as_its_network() -> None:
    assert network_of("2001:db8:1:2::1") == network_of("2001:db8:1:2:ffff::9") != network_of("2001:db8:1:3::1")
    assert network_of("::ffff:192.0.2.1") == network_of("192.0.2.1") == "192.0.2.1"
    assert (network_of(None), network_of("testclient")) == ("", "testclient")
