"""Orders of sales, on a real Vendure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from shelfsight.errors import OrderRefusedError, UnavailableError, VendureError
from shelfsight.vendure import order_documents
from shelfsight.vendure.place_order import PERMISSIONS, OrderDesk
from tests.vendure.server import SUPERADMIN
from tests.vendure.test_order_rules import sale
from tests.vendure.till_channel import add_shipping, count_stock, orders_of

if TYPE_CHECKING:
    from shelfsight.vendure.order_rules import Variant
    from tests.vendure.server import ShopChannel, VendureServer


class Shop:
    """A channel that sells milk, and the desk that places its orders."""

    def __init__(self, vendure: VendureServer) -> None:
        """Make it."""
        self.vendure = vendure
        self.channel: ShopChannel = vendure.channel("orders")
        self.milk = vendure.product(self.channel, "Milk", skus=["MILK"], price=139)
        count_stock(vendure, self.channel, self.milk, is_counted=False)
        login = vendure.administrator(["ReadProduct", *PERMISSIONS], [self.channel.id])
        self.desk = OrderDesk(vendure.client(login), self.channel.token)

    def variants(self) -> dict[str, list[Variant]]:
        """Return what `milk` is there."""
        return {"milk": self.desk.variants([self.milk])[self.milk]}


@pytest.fixture
def shop(vendure: VendureServer) -> Shop:
    """A channel in which a till can sell."""
    shop = Shop(vendure)
    add_shipping(vendure, shop.channel)
    return shop


def test_a_sale_becomes_an_order_that_is_paid_and_handed_over(shop: Shop) -> None:
    placed = shop.desk.place(sale(("milk", "3")), shop.variants(), shop.desk.draft())
    [order] = orders_of(shop.vendure, shop.channel)
    assert (order["code"], placed.note) == (placed.code, None)
    assert (order["state"], order["totalWithTax"]) == ("Delivered", 417)
    assert order["lines"] == [{"quantity": 3, "productVariant": {"sku": "MILK"}}]
    payment = {"transactionId": "sale-0001", "amount": 417, "state": "Settled", "method": "till"}
    assert order["payments"] == [payment]


def test_a_sale_whose_order_was_placed_is_not_placed_again(shop: Shop) -> None:
    order_id = shop.desk.draft()
    first = shop.desk.place(sale(("milk", "3")), shop.variants(), order_id)
    assert shop.desk.place(sale(("milk", "3")), shop.variants(), order_id) == first
    [order] = orders_of(shop.vendure, shop.channel)
    assert [line["quantity"] for line in order["lines"]] == [3]
    assert len(order["payments"]) == len(order["fulfillments"]) == 1


class Broken:
    """A desk whose connection goes before its n-th request that changes something."""

    def __init__(self, shop: Shop, requests: int) -> None:
        """Let so many pass."""
        self._left = requests
        self._client = shop.vendure.client(SUPERADMIN)
        self._mutate = self._client.mutate
        self.desk = OrderDesk(self._client, shop.channel.token)

    def __enter__(self) -> OrderDesk:
        def mutate(*args: object, **more: object) -> dict[str, object]:
            if self._left == 0:
                raise UnavailableError("gone")
            self._left -= 1
            return self._mutate(*args, **more)  # type: ignore[arg-type]

        self._client.mutate = mutate  # type: ignore[method-assign]
        return self.desk

    def __exit__(self, *_: object) -> None:
        self._client.close()


def test_whatever_step_it_stops_at_it_goes_on_to_one_whole_order(shop: Shop) -> None:
    order_id = shop.desk.draft()
    for steps in range(20):  # as many as there are, and more
        with Broken(shop, 1) as desk:  # one step further each time
            try:
                placed = desk.place(sale(("milk", "3")), shop.variants(), order_id)
            except UnavailableError:
                continue
        assert steps >= 6
        break
    [order] = orders_of(shop.vendure, shop.channel)
    assert (order["code"], order["state"]) == (placed.code, "Delivered")
    assert [line["quantity"] for line in order["lines"]] == [3]
    assert len(order["payments"]) == len(order["fulfillments"]) == 1


def test_what_a_product_was_at_an_earlier_attempt_is_not_sold_too(shop: Shop) -> None:
    other = shop.vendure.product(shop.channel, "Milk, new", skus=["MILK-2"], price=149)
    count_stock(shop.vendure, shop.channel, other, is_counted=False)
    order_id = shop.desk.draft()
    with Broken(shop, 2) as desk, pytest.raises(UnavailableError):  # the line is in it, and the customer
        desk.place(sale(("milk", "3")), shop.variants(), order_id)
    shop.desk.place(sale(("milk", "3")), {"milk": shop.desk.variants([other])[other]}, order_id)
    [order] = orders_of(shop.vendure, shop.channel)
    assert order["lines"] == [{"quantity": 3, "productVariant": {"sku": "MILK-2"}}]


def test_an_order_whose_lines_came_twice_is_not_placed_until_they_are_right(shop: Shop) -> None:
    order_id = shop.desk.draft()
    client = shop.vendure.client(SUPERADMIN)
    mutate, desk = client.mutate, OrderDesk(client, shop.channel.token)

    def twice(document: str, *given: Any, **more: Any) -> dict[str, Any]:
        if document == order_documents.ADD_LINE:  # and one that was thought lost arrives, too
            mutate(document, *given, **more)
        return mutate(document, *given, **more)

    client.mutate = twice  # type: ignore[method-assign]
    with pytest.raises(VendureError, match="other lines than were put into it"):
        desk.place(sale(("milk", "3")), shop.variants(), order_id)
    desk.place(sale(("milk", "3")), shop.variants(), order_id)
    [order] = orders_of(shop.vendure, shop.channel)
    assert order["lines"] == [{"quantity": 3, "productVariant": {"sku": "MILK"}}]


def test_of_no_product_no_variants_are_asked_for(shop: Shop) -> None:
    assert shop.desk.variants([]) == {}


def test_vendure_checks_the_stock_again_and_the_draft_of_a_refused_sale_is_gone(shop: Shop) -> None:
    count_stock(shop.vendure, shop.channel, shop.milk, is_counted=True)
    with pytest.raises(OrderRefusedError, match=r"Milk: .*insufficient stock"):
        shop.desk.place(sale(("milk", "3")), shop.variants(), shop.desk.draft())
    assert orders_of(shop.vendure, shop.channel) == []


def test_a_sale_of_something_vendure_does_not_sell_is_refused_and_its_draft_is_gone(shop: Shop) -> None:
    with pytest.raises(OrderRefusedError, match=r"Bread \(bread\) is not sold"):
        shop.desk.place(sale(("bread", "1")), {}, shop.desk.draft())
    assert orders_of(shop.vendure, shop.channel) == []


def test_a_draft_that_somebody_deleted_says_so(shop: Shop) -> None:
    with pytest.raises(OrderRefusedError, match="deleted in Vendure"):
        shop.desk.place(sale(("milk", "1")), shop.variants(), "999999")


def test_a_channel_without_a_shipping_method_says_what_to_add(vendure: VendureServer) -> None:
    shop = Shop(vendure)
    order_id = shop.desk.draft()
    with pytest.raises(VendureError, match="add one to the channel"):
        shop.desk.place(sale(("milk", "1")), shop.variants(), order_id)
    add_shipping(vendure, shop.channel)
    shop.desk.place(sale(("milk", "1")), shop.variants(), order_id)
    assert [order["state"] for order in orders_of(vendure, shop.channel)] == ["Delivered"]


def test_other_prices_than_at_the_till_are_noted(shop: Shop) -> None:
    order_id = shop.desk.draft()
    placed = shop.desk.place(sale(("milk", "3"), price="1.00"), shop.variants(), order_id)
    assert placed.note == "Sold for 3.00 EUR at the till; at Vendure's prices it is 4.17 EUR."
    shop.desk.note(order_id, placed.note)
    [order] = orders_of(shop.vendure, shop.channel)
    assert placed.note in [entry["data"].get("note") for entry in order["history"]["items"]]


def test_an_administrator_without_the_permissions_is_told_which(shop: Shop) -> None:
    login = shop.vendure.administrator(["ReadCatalog"], [shop.channel.id])
    desk = OrderDesk(shop.vendure.client(login), shop.channel.token)
    with pytest.raises(VendureError, match="CreateOrder"):
        desk.draft()


def test_a_disabled_product_has_nothing_to_sell(shop: Shop) -> None:
    disable = "mutation($input: UpdateProductInput!) { updateProduct(input: $input) { id } }"
    shop.vendure.ask(disable, shop.channel.token, input={"id": shop.milk, "enabled": False})
    assert [variant.is_enabled for variant in shop.variants()["milk"]] == [False]
