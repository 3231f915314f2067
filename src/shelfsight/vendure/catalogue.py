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
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from shelfsight.partners.vendure.client import VendureClient

    Row = Mapping[str, Any]
    Query = tuple[str, Mapping[str, Any]]
    """A document, and the filter of what it lists."""

NEEDS = "ReadProduct"
"""The permission for all of it."""

BATCH = 200
"""Products that are read whole in one request; Vendure asks its database several times for each."""

FIRST_BATCH = 25

_NOT_THERE = {UNKNOWN_FIELD, "GRAPHQL_VALIDATION_FAILED"}
"""What Vendure says of a custom field that is not there, or holds no text."""

_BY_ID = {"sort": {"id": "ASC"}}
_ASSET = "id type source"
_VARIANT = "id updatedAt enabled sku priceWithTax currencyCode"
_CONDITIONS = """query Conditions {
  activeChannel { defaultLanguageCode defaultCurrencyCode }
  globalSettings { serverConfig { moneyStrategyPrecision } }
}"""
_IDS = """query Ids($options: ProductListOptions) {
  products(options: $options) { totalItems items { id } }
}"""
_GLANCES = """query Products($options: ProductListOptions) {
  products(options: $options) { totalItems items { id updatedAt enabled assets { id } } }
}"""
_VARIANT_GLANCES = f"""query Variants($options: ProductVariantListOptions) {{
  productVariants(options: $options) {{ totalItems items {{ productId {_VARIANT} assets {{ id }} }} }}
}}"""
_DETAILS = f"""query Products($options: ProductListOptions) {{
  products(options: $options) {{ totalItems items {{ id updatedAt enabled name assets {{ {_ASSET} }} }} }}
}}"""
_VARIANT_DETAILS = f"""query Variants($options: ProductVariantListOptions) {{
  productVariants(options: $options) {{
    totalItems items {{ productId {_VARIANT} name assets {{ {_ASSET} }} %s }}
  }}
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
        return [str(one["id"]) for one in self._listed((_IDS, {}), "products")]

    def glances(self) -> dict[str, Glance]:
        """Return all products of the channel at a glance, by id.

        Raises:
            VendureError: Vendure refuses.
            UnavailableError: it does not answer.
        """
        both = self._both((_GLANCES, {}), (_VARIANT_GLANCES, {}))
        return {id_: _glance(product, variants) for id_, (product, variants) in both.items()}

    def read(self, product_ids: Collection[str]) -> dict[str, Details]:
        """Return products whole, by id, at most `BATCH`; those that are not there are missing.

        Raises:
            As of `glances`.
        """
        of_these = {"in": list(product_ids)}
        barcodes = "customFields { barcode }" if self.conditions.has_barcodes else ""
        both = self._both((_DETAILS, {"id": of_these}), (_VARIANT_DETAILS % barcodes, {"productId": of_these}))
        return {id_: _details(product, variants, self.client.url) for id_, (product, variants) in both.items()}

    def _both(self, products: Query, variants: Query) -> dict[str, tuple[Row, list[Row]]]:
        """Return products with their variants, by id: Vendure makes two lists in half the time of a list of lists."""
        with ThreadPoolExecutor(1, "shelfsight-vendure") as pool:
            listed = pool.submit(lambda: list(self._listed(products, "products")))
            found: dict[str, list[Row]] = defaultdict(list)
            for one in self._listed(variants, "productVariants"):
                found[str(one["productId"])].append(one)
            return {str(one["id"]): (one, found[str(one["id"])]) for one in listed.result()}

    def _listed(self, query: Query, field: str) -> Iterator[Row]:
        document, wanted = query
        options = {**_BY_ID, "filter": wanted}
        for page in self.client.pages(document, field, options, channel=self.token, needs=NEEDS):
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


def _glance(one: Row, variants: Iterable[Row]) -> Glance:
    found = map(_variant, variants)
    return Glance(
        id=str(one["id"]),
        updated_at=str(one["updatedAt"]),
        is_enabled=bool(one["enabled"]),
        assets=_asset_ids(one),
        variants=tuple(sorted(found, key=lambda variant: (len(variant.id), variant.id))),
    )


def _variant(one: Row) -> VariantGlance:
    return VariantGlance(
        id=str(one["id"]),
        updated_at=str(one["updatedAt"]),
        is_enabled=bool(one["enabled"]),
        sku=str(one["sku"]),
        price=one["priceWithTax"],
        currency=str(one["currencyCode"]),
        assets=_asset_ids(one),
    )


def _details(one: Row, variants: Sequence[Row], url: str) -> Details:
    assets = [asset for owner in (one, *variants) for asset in owner["assets"]]
    return Details(
        glance=_glance(one, variants),
        name=str(one["name"]),
        words={
            str(variant["id"]): VariantWords(name=str(variant["name"]), barcodes=_barcodes(variant))
            for variant in variants
        },
        pictures={str(asset["id"]): urljoin(url, asset["source"]) for asset in assets if asset["type"] == "IMAGE"},
    )


def _barcodes(variant: Row) -> tuple[str, ...]:
    """Return what is in the custom field `barcode`: a text, or a list of them."""
    found = (variant.get("customFields") or {}).get("barcode")
    return tuple(map(str, found)) if isinstance(found, list) else (str(found),) if found else ()


def _asset_ids(one: Row) -> tuple[str, ...]:
    return tuple(str(asset["id"]) for asset in one["assets"])
