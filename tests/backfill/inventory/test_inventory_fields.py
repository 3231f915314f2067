"""The whole backfill: from an old shop to one where `deleted_at < 1` is the one filter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.backfill.inventory.shop import counts, fill, open_shop, run

if TYPE_CHECKING:
    from shelfsight.backfill.checkpoints.sql import SqlCheckpoints
    from tests.backfill.inventory.shop import Shop


def test_afterwards_rows_and_documents_are_as_they_must_be_and_everything_is_counted_once(
    shop: Shop, store: SqlCheckpoints
) -> None:
    before = shop.rows()
    report = run(shop, store)
    assert report.outcome == "finished"
    assert shop.is_done()
    after = shop.rows()
    assert after == {key: (*row[:2], row[2] or 0) for key, row in before.items()}
    absent = sum(key not in shop.documents for key in before)
    assert counts(report) == {
        "batch_no": 6,
        "last_page": 3,
        "total_processed": 60,
        "updated_supabase": sum(row[2] is None for row in before.values()),
        "updated_typesense": 60 - absent,
        "not_in_typesense": absent,
        "default_set_count": 9,
        "mended": 0,
    }
    assert report.findings is not None
    assert report.findings.counts == {"rows": 60, "documents": 60 - absent + 9, "documents without a row": 9}
    assert {name: field["type"] for name, field in fields(shop).items()} == {
        "name": "string",
        "created_at": "int64",
        "deleted_at": "int64",
    }


def fields(shop: Shop) -> dict[str, dict[str, object]]:
    return {field["name"]: field for field in shop.typesense.collections["products_search"].fields}


@pytest.mark.parametrize("key", ["bigint", "integer", "uuid", "text"])
def test_keys_may_be_of_any_usual_type(empty_shop: Shop, store: SqlCheckpoints, key: str) -> None:
    shop = open_shop(empty_shop.settings, empty_shop.typesense, key=key)
    fill(shop, 60, only_in_search=9)
    report = run(shop, store)
    assert (report.outcome, report.checkpoint.count("total_processed")) == ("finished", 60)
    assert report.checkpoint.count("default_set_count") == 9
    assert shop.is_done()
