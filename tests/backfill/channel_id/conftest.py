"""Databases of a small shop, each test its own, on the one server of the run."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from shelfsight.backfill.channel_id.migration import Migration
from shelfsight.backfill.channel_id.rules import USUAL, Names
from shelfsight.backfill.channel_id.store import Shop, connect
from shelfsight.backfill.stop import Stop
from tests.backfill.channel_id.shop import ask, build, run_sql

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Told:
    """A watch that only remembers."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.rows = 0
        self.on_advance: Callable[[int], None] = lambda _rows: None

    def begin(self, title: str, *, total: int, done: int) -> None:
        self.texts.append(f"begin {title}: {done} of {total}")

    def advance(self, rows: int) -> None:
        self.rows += rows
        self.on_advance(rows)

    def tell(self, text: str) -> None:
        self.texts.append(text)


@pytest.fixture
def empty_url(postgresql_url: str) -> Iterator[str]:
    """The URL of a database without tables."""
    name = f"shop_{uuid.uuid4().hex}"
    run_sql(postgresql_url, f"CREATE DATABASE {name} STRATEGY file_copy")
    yield postgresql_url.replace("/postgres?", f"/{name}?")
    run_sql(postgresql_url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def shop_url(empty_url: str) -> str:
    """The URL of a shop's database."""
    build(empty_url)
    return empty_url


@pytest.fixture
def guarded(shop_url: str) -> str:
    """A user whom the server of the run asks for a password, as it does nobody else."""
    rules = Path(ask(shop_url, "SHOW hba_file"))
    line = "local all guarded scram-sha-256\n"
    if not rules.read_text().startswith(line):
        rules.write_text(line + rules.read_text())
        run_sql(shop_url, "CREATE ROLE guarded LOGIN PASSWORD 'right'", "SELECT pg_reload_conf()")
    return "guarded"


@pytest.fixture
def shop(shop_url: str) -> Iterator[Shop]:
    """A session of the shop's database."""
    opened = connect(shop_url)
    yield opened
    opened.close()


def migration(shop: Shop, names: Names = USUAL, *, watch: Told | None = None, stop: Stop | None = None) -> Migration:
    """Return the migration of a shop, which gives up after some seconds."""
    return Migration(names, shop, stop=stop or Stop(), watch=watch or Told(), patience_s=20)
