"""The statements that depend on the type of the key, and those that look at who suffers."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from shelfsight.backfill.inventory_fields.store.connection import Connected
from shelfsight.backfill.inventory_fields.store.layout import layout
from shelfsight.backfill.inventory_fields.store.products import Products
from tests.backfill.inventory.shop import fill, open_shop

if TYPE_CHECKING:
    from tests.backfill.inventory.shop import Shop


@pytest.mark.parametrize("key", ["bigint", "smallint", "uuid", "text", "character varying"])
def test_strides_together_set_every_row_once(empty_shop: Shop, key: str) -> None:
    shop = open_shop(empty_shop.settings, empty_shop.typesense, key=key)
    fill(shop, 60)
    shop.do("UPDATE public.products SET deleted_at = NULL")
    if key in {"bigint", "smallint"}:
        shop.do("UPDATE public.products SET id = -id WHERE id % 3 = 0")
    connected = Connected(shop.settings)
    products = Products(connected, layout(connected))
    end = products.last_key()
    window = products.window(None, end, 1000)
    assert window is not None
    assert (window.until, window.rows, window.unset) == (end, 60, 60)
    keys = [products.unset_in_stride(None, end, stride=stride, strides=8) for stride in range(8)]
    assert sum(len(one) > 0 for one in keys) > 4
    assert sum(products.set_stride(None, end, stride=stride, strides=8) for stride in range(8)) == 60
    assert products.unset(None, end) == 0
    connected.close()


def test_rows_in_order_are_set_in_strides_and_others_are_not(shop: Shop) -> None:
    connected = Connected(shop.settings)
    assert layout(connected).strides == 8
    shop.do("CREATE INDEX ON public.products (name) WHERE deleted_at IS NULL")
    assert (layout(connected).strides, layout(connected).is_indexed) == (1, True)
    shuffled = open_shop(shop.settings, shop.typesense)
    shuffled.do("INSERT INTO public.products SELECT g, 'x' FROM generate_series(1, 999) g ORDER BY md5(g::text)")
    shuffled.do("ANALYZE public.products")
    assert layout(connected).strides == 1
    connected.close()


def test_somebody_who_waits_for_a_lock_of_ours_is_seen(shop: Shop) -> None:
    ours, looking = Connected(shop.settings), Connected(shop.settings)
    products = Products(looking, layout(looking))
    with ours.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("UPDATE public.products SET deleted_at = 0 WHERE id = 1")
        assert products.pressure(ours.process) is None
        waiting = threading.Thread(target=shop.do, args=("UPDATE public.products SET name = 'x' WHERE id = 1",))
        waiting.start()
        found = None
        while found is None and waiting.is_alive():
            found = products.pressure(ours.process)
            time.sleep(0.01)
        cursor.execute("COMMIT")
    waiting.join()
    assert found == "somebody waits for a lock of ours (1)"
    ours.close()
    looking.close()
