"""What cannot be worked on is said in one sentence, and nothing is changed."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from shelfsight.backfill.checkpoints.mongodb import MongoCheckpoints
from shelfsight.errors import AccessError, ConflictError, DatabaseError, NotFoundError, PartnerError, ShelfsightError
from shelfsight.partners.mongo import Mongo
from tests.backfill.inventory.shop import COLLECTION, DOCUMENT, run, sqlite_store

if TYPE_CHECKING:
    from tests.backfill.inventory.shop import Shop
    from tests.servers import MongoServer


def refused(shop: Shop, tmp_path: Path, error: type[ShelfsightError], match: str) -> None:
    """The run is refused with that error, in one line, and neither side nor the store has changed."""
    collections = deepcopy(shop.typesense.collections)
    store = sqlite_store(tmp_path / "checkpoints.db")
    with pytest.raises(error, match=match) as raised:
        run(shop, store, patience_s=0)
    assert "\n" not in str(raised.value)
    assert store.read(DOCUMENT) is None
    store.close()
    assert shop.typesense.collections == collections
    assert not any("PATCH" in seen or "POST" in seen for seen in shop.typesense.seen)


def test_a_wrong_password_of_postgresql(shop: Shop, tmp_path: Path) -> None:
    hba = Path(shop.do("SHOW hba_file")[0][0])
    shop.do("DROP ROLE IF EXISTS locked")
    shop.do("CREATE ROLE locked LOGIN PASSWORD 'right'")
    before = hba.read_text()
    hba.write_text(f"local all locked scram-sha-256\n{before}")
    shop.do("SELECT pg_reload_conf()")
    try:
        wrong = replace(shop, settings=replace(shop.settings, user="locked", password="wrong-secret"))
        refused(wrong, tmp_path, DatabaseError, "as locked.*password authentication failed")
    finally:
        hba.write_text(before)
        shop.do("SELECT pg_reload_conf()")


def test_a_server_that_is_not_there(shop: Shop, tmp_path: Path) -> None:
    away = replace(shop, settings=replace(shop.settings, host="127.0.0.1", port=1))
    refused(away, tmp_path, DatabaseError, r"PostgreSQL cannot be used \(.* at 127.0.0.1:1 as ")


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ("DROP TABLE public.products", NotFoundError, "there is no table public.products in this database"),
        ("ALTER TABLE public.products DROP deleted_at", ConflictError, "no column deleted_at"),
        ("ALTER TABLE public.products DROP created_at", ConflictError, "no column created_at"),
        (
            "ALTER TABLE public.products ALTER deleted_at TYPE timestamptz USING NULL",
            ConflictError,
            "deleted_at is timestamp with time zone, not bigint",
        ),
        ("ALTER TABLE public.products ALTER created_at TYPE text", ConflictError, "created_at is text, neither"),
        ("ALTER TABLE public.products ALTER id TYPE numeric", ConflictError, "id is numeric: this backfill knows"),
        ("ALTER TABLE public.products DROP CONSTRAINT products_pkey", ConflictError, "no unique index on id alone"),
        (
            "ALTER TABLE public.products RENAME TO old; CREATE VIEW public.products AS SELECT * FROM public.old",
            ConflictError,
            "is a view or a foreign table",
        ),
    ],
)
def test_a_table_that_is_missing_or_alien(
    shop: Shop, tmp_path: Path, change: str, error: type[ShelfsightError], match: str
) -> None:
    shop.do(change)
    try:
        refused(shop, tmp_path, error, match)
    finally:
        shop.do("DROP VIEW IF EXISTS public.products") if "VIEW" in change else None
        shop.do("DROP TABLE IF EXISTS public.old")


def test_a_user_who_may_not_write_or_does_not_see_every_row(shop: Shop, tmp_path: Path) -> None:
    shop.do("DROP ROLE IF EXISTS reader")
    shop.do("CREATE ROLE reader LOGIN")
    shop.do("GRANT SELECT ON public.products TO reader")
    reader = replace(shop, settings=replace(shop.settings, user="reader"))
    refused(reader, tmp_path, AccessError, r"reader may not do what is needed: GRANT UPDATE \(deleted_at\)")
    shop.do("GRANT UPDATE ON public.products TO reader")
    shop.do("ALTER TABLE public.products ENABLE ROW LEVEL SECURITY")
    refused(reader, tmp_path, AccessError, "row-level security hides rows of public.products from reader")
    shop.do("DROP OWNED BY reader")
    shop.do("DROP ROLE reader")


def test_a_database_that_was_made_read_only(shop: Shop, tmp_path: Path) -> None:
    shop.do("DROP ROLE IF EXISTS frozen")
    shop.do("CREATE ROLE frozen LOGIN SUPERUSER")
    shop.do("ALTER ROLE frozen SET default_transaction_read_only = on")
    frozen = replace(shop, settings=replace(shop.settings, user="frozen"))
    refused(frozen, tmp_path, ConflictError, "the database is read-only for frozen")
    shop.do("DROP ROLE frozen")


def test_a_collection_that_is_missing(shop: Shop, tmp_path: Path) -> None:
    del shop.typesense.collections[COLLECTION]
    refused(shop, tmp_path, NotFoundError, "Typesense at .* answers 404")


def test_a_field_of_another_type(shop: Shop, tmp_path: Path) -> None:
    shop.typesense.collections[COLLECTION].fields.append({"name": "deleted_at", "type": "string", "optional": True})
    refused(shop, tmp_path, ConflictError, "field deleted_at of collection products_search is string, not int64")


def test_a_field_that_nobody_could_filter_by(shop: Shop, tmp_path: Path) -> None:
    field = {"name": "deleted_at", "type": "int64", "optional": True, "index": False}
    shop.typesense.collections[COLLECTION].fields.append(field)
    refused(shop, tmp_path, ConflictError, "field deleted_at of collection products_search is not indexed")


def test_a_wrong_key_of_typesense(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.backfill.inventory.shop.API_KEY", "another-key")
    refused(shop, tmp_path, PartnerError, "refuses the API key")


def test_a_wrong_password_of_mongodb(shop: Shop, mongodb: MongoServer) -> None:
    before = (shop.rows(), deepcopy(shop.typesense.collections))
    store = MongoCheckpoints(
        Mongo(f"mongodb://owner:wrong-secret@{mongodb.host}/?authSource=admin"), database="a", collection="b"
    )
    with pytest.raises(PartnerError, match="refuses the user of MONGO_URI") as raised:
        run(shop, store)
    store.close()
    assert "wrong-secret" not in str(raised.value)
    assert (shop.rows(), shop.typesense.collections) == before
