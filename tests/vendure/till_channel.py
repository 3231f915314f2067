"""A channel of a real Vendure in which a till can sell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.vendure.server import ShopChannel, VendureServer

_CREATE_SHIPPING = "mutation($input: CreateShippingMethodInput!) { createShippingMethod(input: $input) { id } }"
_ORDERS = """query { orders { items {
  id code state totalWithTax lines { quantity productVariant { sku } } payments { transactionId amount state method }
  fulfillments { state } history { items { type data } } } } }"""
_TRACK = "mutation($input: [UpdateProductVariantInput!]!) { updateProductVariants(input: $input) { id } }"
_VARIANTS = "query($id: ID!) { product(id: $id) { variants { id } } }"


def add_shipping(vendure: VendureServer, channel: ShopChannel) -> None:
    """Let orders of a channel be handed over in the shop, for free."""
    free = {"rate": "0", "includesTax": "auto", "taxRate": "0"}
    vendure.ask(
        _CREATE_SHIPPING,
        channel.token,
        input={
            "code": "in-store",
            "fulfillmentHandler": "manual-fulfillment",
            "checker": _configured("default-shipping-eligibility-checker", {"orderMinimum": "0"}),
            "calculator": _configured("default-shipping-calculator", free),
            "translations": [{"languageCode": "en", "name": "In store", "description": ""}],
        },
    )


def count_stock(vendure: VendureServer, channel: ShopChannel, product: str, *, is_counted: bool) -> None:
    """Let Vendure count what it has of a product's variants, of which there is nothing; or let it sell any number."""
    variants = vendure.ask(_VARIANTS, channel.token, id=product)["variants"]
    tracked = [{"id": one["id"], "trackInventory": "TRUE" if is_counted else "FALSE"} for one in variants]
    vendure.ask(_TRACK, channel.token, input=tracked)


def orders_of(vendure: VendureServer, channel: ShopChannel) -> list[dict[str, Any]]:
    """Return the orders of a channel, drafts too."""
    return list(vendure.ask(_ORDERS, channel.token)["items"])


def _configured(code: str, arguments: dict[str, str]) -> dict[str, Any]:
    return {"code": code, "arguments": [{"name": name, "value": value} for name, value in arguments.items()]}
