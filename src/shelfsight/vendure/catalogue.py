"""Reads a channel's products out of Vendure: at a glance, all of them, or whole, some of them."""

from __future__ import annotations

from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from shelfsight.errors import VendureError
from shelfsight.partners.vendure.answers import UNKNOWN_FIELD
from shelfsight.vendure.rules import Conditions, Details, Glance, Sells, VariantGlance, VariantWords

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from shelfsight.partners.vendure.client import VendureClient

NEEDS = "ReadProduct"
"""The permission for all of it."""

BATCH = 200
"""Products that are read whole in one request; Vendure asks its database several times for each."""

FIRST_BATCH = 25

_NOT_THERE = {UNKNOWN_FIELD, "GRAPHQL_VALIDATION_FAILED"}
"""What Vendure says of a custom field that is not there, or holds no text."""

_BY_ID = {"sort": {"id": "ASC"}}
_VARIANT = "id updatedAt enabled sku priceWithTax currencyCode"
_CONDITIONS = """query Conditions {
  activeChannel { defaultLanguageCode defaultCurrencyCode }
  globalSettings { serverConfig { moneyStrategyPrecision } }
}"""
_IDS = """query Ids($options: ProductListOptions) {
  products(options: $options) { totalItems items { id } }
}"""
_PRODUCTS = """query Products($options: ProductListOptions) {
  products(options: $options) { totalItems items { id updatedAt enabled assets { id } } }
}"""
_VARIANTS = f"""query Variants($options: ProductVariantListOptions) {{
  productVariants(options: $options) {{ totalItems items {{ productId {_VARIANT} assets {{ id }} }} }}
}}"""
_BARCODE = """query Barcode($options: ProductVariantListOptions) {
  productVariants(options: $options) { items { customFields { barcode } } }
}"""


@dataclass(frozen=True, slots=True, kw_only=True)
class TheirChannel:
    """A channel of Vendure, to be read.

    Attributes:
        conditions: what all its products are read by.
    """

    client: VendureClient
    token: str
    conditions: Conditions

    def ids(self) -> list[str]:
        """Return the ids of all products of the channel.

        Raises:
            As of `glances`.
        """
        return [str(one["id"]) for one in self._listed(_IDS, "products")]

    def glances(self) -> dict[str, Glance]:
        """Return all products of the channel at a glance, by id.

        Raises:
            VendureError: Vendure refuses.
            UnavailableError: it does not answer.
        """
        with ThreadPoolExecutor(1, "shelfsight-vendure") as pool:  # the two lists are made by different queries there
            products = pool.submit(lambda: list(self._listed(_PRODUCTS, "products")))
            variants: dict[str, list[VariantGlance]] = defaultdict(list)
            for one in self._listed(_VARIANTS, "productVariants"):
                variants[str(one["productId"])].append(_variant(one))
            return {str(one["id"]): _glance(one, variants[str(one["id"])]) for one in products.result()}

    def read(self, product_ids: Collection[str]) -> dict[str, Details]:
        """Return products whole, by id, at most `BATCH`; those that are not there are missing.

        Raises:
            VendureError: Vendure refuses.
            UnavailableError: it does not answer.
        """
        options = {**_BY_ID, "filter": {"id": {"in": list(product_ids)}}}
        items = self._listed(_whole(has_barcodes=self.conditions.has_barcodes), "products", options)
        return {str(one["id"]): _details(one, self.client.url) for one in items}

    def _listed(
        self, document: str, field: str, options: Mapping[str, Any] | None = None
    ) -> Iterator[dict[str, Any]]:
        for page in self.client.pages(document, field, options or _BY_ID, channel=self.token, needs=NEEDS):
            yield from page.items


def their_channel(client: VendureClient, token: str, sells: Sells) -> TheirChannel:
    """Return a channel of Vendure as it is set now.

    Raises:
        VendureError: Vendure refuses, or has no such channel.
        UnavailableError: it does not answer.
    """
    found = client.query(_CONDITIONS, channel=token)
    channel = found["activeChannel"]
    conditions = Conditions(
        sells=sells,
        language=str(channel["defaultLanguageCode"]),
        currency=str(channel["defaultCurrencyCode"]),
        decimals=int(found["globalSettings"]["serverConfig"]["moneyStrategyPrecision"]),
        has_barcodes=_has_barcodes(client, token),
    )
    return TheirChannel(client=client, token=token, conditions=conditions)


def check_readable(client: VendureClient, token: str) -> None:
    """Check that we may read a channel's products.

    Raises:
        VendureAccessError: we may not.
        UnavailableError: Vendure does not answer.
    """
    client.query(_IDS, {"options": {"take": 1}}, channel=token, needs=NEEDS)


def _has_barcodes(client: VendureClient, token: str) -> bool:
    try:
        client.query(_BARCODE, {"options": {"take": 1}}, channel=token, needs=NEEDS)
    except VendureError as exc:
        if exc.reason not in _NOT_THERE:
            raise  # without its barcodes a product would seem to be another one
        return False
    return True


def _whole(*, has_barcodes: bool) -> str:
    more = "customFields { barcode }" if has_barcodes else ""
    asset = "id type source"
    return f"""query Details($options: ProductListOptions) {{
  products(options: $options) {{ totalItems items {{
    id updatedAt enabled name assets {{ {asset} }}
    variants {{ {_VARIANT} name assets {{ {asset} }} {more} }}
  }} }}
}}"""


def _glance(one: Mapping[str, Any], variants: list[VariantGlance]) -> Glance:
    return Glance(
        id=str(one["id"]),
        updated_at=str(one["updatedAt"]),
        is_enabled=bool(one["enabled"]),
        assets=_asset_ids(one),
        variants=tuple(sorted(variants, key=lambda variant: (len(variant.id), variant.id))),
    )


def _variant(one: Mapping[str, Any]) -> VariantGlance:
    return VariantGlance(
        id=str(one["id"]),
        updated_at=str(one["updatedAt"]),
        is_enabled=bool(one["enabled"]),
        sku=str(one["sku"]),
        price=one["priceWithTax"],
        currency=str(one["currencyCode"]),
        assets=_asset_ids(one),
    )


def _details(one: Mapping[str, Any], url: str) -> Details:
    variants = one["variants"]
    assets = [asset for owner in (one, *variants) for asset in owner["assets"]]
    return Details(
        glance=_glance(one, [_variant(variant) for variant in variants]),
        name=str(one["name"]),
        words={
            str(variant["id"]): VariantWords(name=str(variant["name"]), barcodes=_barcodes(variant))
            for variant in variants
        },
        pictures={str(asset["id"]): urljoin(url, asset["source"]) for asset in assets if asset["type"] == "IMAGE"},
    )


def _barcodes(variant: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what is in the custom field `barcode`: a text, or a list of them."""
    found = (variant.get("customFields") or {}).get("barcode")
    return tuple(map(str, found)) if isinstance(found, list) else (str(found),) if found else ()


def _asset_ids(one: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(asset["id"]) for asset in one["assets"])
