"""A shop of ours that follows a channel of the real Vendure, and what a test does to both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select, update

from shelfsight.access.rules import Asker
from shelfsight.catalog.rules import ProductState
from shelfsight.catalog.store import changes, images, products
from shelfsight.database import clock
from shelfsight.database.tables import vendure_channels
from shelfsight.vendure import store
from shelfsight.vendure.connections import Wish, connect
from shelfsight.vendure.rules import Sells
from shelfsight.vendure.sync import Order, sync
from tests.vendure.server import SUPERADMIN

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from shelfsight.catalog.rules import Product
    from shelfsight.partners.vendure.credentials import Login
    from shelfsight.registry.publish import Registry
    from shelfsight.vendure.rules import ConnectedChannel
    from shelfsight.vendure.sync import SyncResult
    from tests.vendure.server import ShopChannel, VendureServer

BY = Asker(actor="maria", address="192.0.2.7")

_UPDATE = "mutation($input: UpdateProductInput!) { updateProduct(input: $input) { id } }"
_UPDATE_VARIANTS = "mutation($input: [UpdateProductVariantInput!]!) { updateProductVariants(input: $input) { id } }"
_VARIANTS = "query($id: ID!) { product(id: $id) { variants { id sku } } }"
_DELETE = "mutation($id: ID!) { deleteProduct(id: $id) { result } }"
_REMOVE = "mutation($input: RemoveProductsFromChannelInput!) { removeProductsFromChannel(input: $input) { id } }"
_ASSIGN = "mutation($input: AssignProductsToChannelInput!) { assignProductsToChannel(input: $input) { id } }"
_GROUP = """mutation($input: CreateProductOptionGroupInput!) {
  createProductOptionGroup(input: $input) { id options { id code } } }"""
_ADD_GROUP = """mutation($product: ID!, $group: ID!) {
  addOptionGroupToProduct(productId: $product, optionGroupId: $group) { id } }"""
_CREATE_VARIANTS = "mutation($input: [CreateProductVariantInput!]!) { createProductVariants(input: $input) { id } }"
_DELETE_ASSETS = "mutation($input: DeleteAssetsInput!) { deleteAssets(input: $input) { result } }"


@dataclass(frozen=True)
class Followed:
    """Channel `default` here, connected with a new channel there."""

    stores: Registry
    server: VendureServer
    theirs: ShopChannel

    def connect(self, sells: Sells = Sells.PRODUCTS, credentials: Login = SUPERADMIN) -> None:
        """Connect the two."""
        wish = Wish(
            channel="default",
            api_url=self.server.url,
            credentials=credentials,
            vendure_channel=self.theirs.code,
            sells=sells,
        )
        connect(self.stores.database, wish, by=BY)

    def sync(self, *, named: bool = False, full: bool = False, allow_deletions: bool = False) -> SyncResult:
        """Take over what has changed."""
        return sync(self.stores, "default", Order(named=named, full=full, allow_deletions=allow_deletions))

    @property
    def products(self) -> dict[str, Product]:
        """The active products here, by id."""
        with self.stores.database.read() as tx:
            found = products.page(tx, "default", state=ProductState.ACTIVE, limit=1000)
        return {product.id: product for product in found}

    def pictures(self, product_id: str) -> set[str]:
        """Return the hashes of a product's images."""
        with self.stores.database.read() as tx:
            return {image.sha256 for image in images.page(tx, "default", product_id, limit=100)}

    def history(self, since: int = 0) -> list[tuple[str, str | None]]:
        """Return kind and product of what changed here after a revision."""
        with self.stores.database.read() as tx:
            return [(one.kind.value, one.product_id) for one in changes.changes_since(tx, "default", since, 10_000)]

    def want(self, *vendure_ids: str) -> None:
        """Let events have named products of Vendure."""
        with self.stores.database.write() as tx:
            store.want(tx, "default", vendure_ids, clock.now(tx))

    def wanted(self) -> set[str]:
        """Return the products of Vendure that events have named."""
        with self.stores.database.read() as tx:
            return set(store.wanted_of(tx, "default", 100))

    def state(self) -> ConnectedChannel:
        """Return how the channel is connected."""
        with self.stores.database.read() as tx:
            return store.get(tx, "default")

    def now(self) -> datetime:
        """Return the time by the database's clock."""
        with self.stores.database.read() as tx:
            return clock.now(tx)

    def let_be_due(self) -> None:
        """Let it be time to look at everything."""
        with self.stores.database.write() as tx:
            tx.execute(
                update(vendure_channels).values(scan_at=select(vendure_channels.c.created_at).scalar_subquery())
            )

    def product(
        self, name: str, pictures: Sequence[bytes] = (), *, skus: Sequence[str] = (), price: int = 100
    ) -> str:
        """Return the id of a new product there, with a variant for each SKU, which is its size."""
        if len(skus) < 2:
            return self.server.product(self.theirs, name, pictures, skus=skus, price=price)
        vendure_id = self.server.product(self.theirs, name, pictures)
        options = [{"code": sku.lower(), "translations": _in_english(sku)} for sku in skus]
        group = {"code": f"size-{vendure_id}", "translations": _in_english("Size"), "options": options}
        made = self.server.ask(_GROUP, self.theirs.token, input=group)
        self.server.ask(_ADD_GROUP, self.theirs.token, product=vendure_id, group=made["id"])
        ids = {option["code"]: option["id"] for option in made["options"]}
        variants = [
            {
                "productId": vendure_id,
                "sku": sku,
                "price": price,
                "optionIds": [ids[sku.lower()]],
                "translations": _in_english(f"{name} {sku}"),
            }
            for sku in skus
        ]
        self.server.ask(_CREATE_VARIANTS, self.theirs.token, input=variants)
        return vendure_id

    def update(self, vendure_id: str, **values: object) -> None:
        """Change a product there."""
        self.server.ask(_UPDATE, self.theirs.token, input={"id": vendure_id, **values})

    def rename(self, vendure_id: str, name: str) -> None:
        """Give a product there another name."""
        self.update(vendure_id, translations=_in_english(name))

    def variants(self, vendure_id: str) -> dict[str, str]:
        """Return the ids of a product's variants there, by SKU."""
        found = self.server.ask(_VARIANTS, self.theirs.token, id=vendure_id)["variants"]
        return {one["sku"]: one["id"] for one in found}

    def update_variant(self, variant_id: str, **values: object) -> None:
        """Change a variant there."""
        self.server.ask(_UPDATE_VARIANTS, self.theirs.token, input=[{"id": variant_id, **values}])

    def delete(self, vendure_id: str) -> None:
        """Delete a product there."""
        self.server.ask(_DELETE, self.theirs.token, id=vendure_id)

    def remove_from_channel(self, vendure_ids: Collection[str]) -> None:
        """Take products out of the channel there."""
        where = {"productIds": list(vendure_ids), "channelId": self.theirs.id}
        self.server.ask(_REMOVE, self.theirs.token, input=where)

    def assign_to_channel(self, vendure_ids: Collection[str], other: ShopChannel) -> None:
        """Put products of another channel into the channel there."""
        where = {"productIds": list(vendure_ids), "channelId": self.theirs.id}
        self.server.ask(_ASSIGN, other.token, input=where)

    def delete_assets(self, asset_ids: Collection[str]) -> None:
        """Delete pictures there, from everywhere."""
        options = {"assetIds": list(asset_ids), "force": True, "deleteFromAllChannels": True}
        self.server.ask(_DELETE_ASSETS, self.theirs.token, input=options)


def _in_english(name: str) -> list[dict[str, str]]:
    return [{"languageCode": "en", "name": name}]
