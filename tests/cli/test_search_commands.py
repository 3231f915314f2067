"""`shelfsight search`: the products that Typesense knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.backfill.typesense_server import API_KEY, typesense_server
from tests.cli.command import done, run_here

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_all_products_are_written_into_typesense(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done("products", "add", "default", "--name", "Milk", "--id", "milk")
    done("products", "add", "default", "--name", "Soap", "--id", "soap")
    with typesense_server() as server:
        monkeypatch.setenv("SHELFSIGHT_TYPESENSE_URL", server.url)
        monkeypatch.setenv("SHELFSIGHT_TYPESENSE_API_KEY", API_KEY)
        monkeypatch.setenv("SHELFSIGHT_TYPESENSE_COLLECTION", "mine")

        assert done("search", "rebuild") == "2 products are in collection mine\n"

        assert set(server.documents("mine")) == {"default:milk", "default:soap"}


def test_without_typesense_there_is_nothing_to_rebuild(data: Path) -> None:
    assert "SHELFSIGHT_TYPESENSE_URL" in run_here("search", "rebuild").stderr


def test_an_address_without_a_key_is_refused(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELFSIGHT_TYPESENSE_URL", "http://localhost:8108")

    assert "set both, or none" in run_here("products", "list", "default").stderr
