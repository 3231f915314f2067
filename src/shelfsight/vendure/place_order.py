"""Makes one sale an order in Vendure, in steps that each look at what is there: killed in between, it goes on.

The order is a draft until all its lines are in it; then it is paid by the method `till`, with the sale's id as the
payment's transaction, and handed over, since the customer has left with the goods. Vendure checks again what the
catalogue here has checked: that each variant is sold in the channel, and in stock.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from shelfsight.errors import OrderRefusedError, VendureError
from shelfsight.partners.vendure.answers import ENTITY_NOT_FOUND, result_of
from shelfsight.vendure import order_documents as documents
from shelfsight.vendure.order_rules import Variant, difference, wanted_lines

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shelfsight.partners.vendure.client import VendureClient
    from shelfsight.till.rules import Sale
    from shelfsight.vendure.order_rules import WantedLine

PERMISSIONS = frozenset({"CreateOrder", "DeleteOrder", "ReadOrder", "UpdateOrder"})
"""What placing orders takes besides reading products; `DeleteOrder` for drafts of sales that are refused."""
_NEEDS = f"{', '.join(sorted(PERMISSIONS))} and ReadProduct"
_METHOD = "till"
_CUSTOMER = {"firstName": "Till", "lastName": "Shelfsight", "emailAddress": "till@shelfsight.invalid"}
_DRAFT, _TO_PAY, _PAID = "Draft", "ArrangingPayment", "PaymentSettled"
_THEN = {"Pending": ("Shipped", "Delivered"), "Shipped": ("Delivered",)}
"""What follows a state of a fulfilment, in Vendure's own process."""
_OF_STOCK = {"INSUFFICIENT_STOCK_ERROR", "ORDER_LIMIT_ERROR", "NEGATIVE_QUANTITY_ERROR", "ORDER_INTERCEPTOR_ERROR"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """An order that is there; `note`: what somebody ought to know of it."""

    code: str
    note: str | None


class OrderDesk:
    """Places orders in one channel of a Vendure server."""

    def __init__(self, client: VendureClient, channel: str, *, user_id: str = "") -> None:
        """Place them in the channel with that token.

        Args:
            user_id: who we are there; empty = Vendure does not say.
        """
        self._client = client
        self._channel = channel
        self._user_id = user_id

    def draft(self) -> str:
        """Return the id of a new order, which is empty.

        Raises:
            VendureError: Vendure refuses.
            UnavailableError: it does not answer.
        """
        return str(self._do(documents.CREATE)["id"])

    def empty_drafts(self) -> list[str]:
        """Return the ids of the drafts in which there is nothing yet, and which nobody but us has had in hand.

        Raises:
            VendureError: Vendure refuses.
            UnavailableError: it does not answer.
        """
        options = {"filter": {"state": {"eq": _DRAFT}}, "sort": {"id": "ASC"}}
        pages = self._client.pages(documents.EMPTY_DRAFTS, "orders", options, channel=self._channel, needs=_NEEDS)
        return [
            str(order["id"])
            for page in pages
            for order in page.items
            if not order["lines"] and order["customer"] is None and _hands(order) == {self._user_id}
        ]

    def variants(self, product_ids: Sequence[str]) -> dict[str, list[Variant]]:
        """Return what each of those products is in Vendure, by its id there; disabled ones have no variants.

        Raises:
            VendureError: Vendure refuses.
            UnavailableError: it does not answer.
        """
        options = {"filter": {"id": {"in": list(product_ids)}}, "sort": {"id": "ASC"}}
        pages = self._client.pages(documents.VARIANTS, "products", options, channel=self._channel, needs=_NEEDS)
        found = [product for page in pages for product in page.items] if product_ids else []
        return {
            product["id"]: [
                Variant(id=one["id"], sku=one["sku"], is_enabled=product["enabled"] and one["enabled"])
                for one in product["variants"]
            ]
            for product in found
        }

    def place(self, sale: Sale, variants: Mapping[str, Sequence[Variant]], order_id: str) -> Placed:
        """Return the order that a draft, or one that is on its way, has become.

        Args:
            variants: of each product of the sale, by our own id.

        Raises:
            OrderRefusedError: it becomes none; its draft is gone.
            VendureError: Vendure refuses, for a reason that somebody can remove there.
            UnavailableError: it does not answer.
        """
        order = self._read(order_id)
        if order["state"] == _DRAFT:
            try:
                self._fill(order, wanted_lines(sale, variants))
            except OrderRefusedError:
                self._do(documents.DELETE_DRAFT, {"order": order_id})
                raise
            order = self._read(order_id)
        if order["state"] == _TO_PAY:
            self._pay(order, sale)
            order = self._read(order_id)
            if order["state"] == _TO_PAY:
                raise VendureError(f"Vendure keeps order {order['code']} waiting for payments: look at it there")
        self._hand_over(order)
        return Placed(code=order["code"], note=difference(sale, order["total"], order["currencyCode"]))

    def note(self, order_id: str, words: str) -> None:
        """Add a note to an order, for the people of the shop."""
        self._do(documents.ADD_NOTE, {"input": {"id": order_id, "note": words, "isPublic": False}})

    def _fill(self, order: dict[str, Any], lines: Sequence[WantedLine]) -> None:
        self._put_lines(order, lines)
        if order["customer"] is None:
            self._do(documents.SET_CUSTOMER, {"order": order["id"], "input": _CUSTOMER})
        if not order["shippingLines"]:
            self._do(documents.SET_SHIPPING, {"order": order["id"], "method": self._shipping(order["id"])})
        found = {line["productVariant"]["id"]: line["quantity"] for line in self._read(order["id"])["lines"]}
        if found != {line.variant_id: line.quantity for line in lines}:  # an earlier request arrived late
            raise VendureError("the order's draft has other lines than were put into it: it is tried again")
        self._do(documents.TO_STATE, {"order": order["id"], "state": _TO_PAY})

    def _put_lines(self, order: dict[str, Any], lines: Sequence[WantedLine]) -> None:
        there = {line["productVariant"]["id"]: line for line in order["lines"]}
        for variant in there.keys() - {line.variant_id for line in lines}:  # what the product was at another attempt
            self._do(documents.REMOVE_LINE, {"order": order["id"], "line": there[variant]["id"]})
        for wanted in lines:
            line = there.get(wanted.variant_id)
            try:
                if line is None:
                    added = {"productVariantId": wanted.variant_id, "quantity": wanted.quantity}
                    self._do(documents.ADD_LINE, {"order": order["id"], "input": added})
                elif line["quantity"] != wanted.quantity:
                    changed = {"orderLineId": line["id"], "quantity": wanted.quantity}
                    self._do(documents.ADJUST_LINE, {"order": order["id"], "input": changed})
            except VendureError as exc:
                if exc.reason in _OF_STOCK or exc.reason == ENTITY_NOT_FOUND:
                    raise OrderRefusedError(f"{wanted.name}: {exc}") from exc
                raise

    def _shipping(self, order_id: str) -> str:
        found = self._ask(documents.SHIPPING_METHODS, {"order": order_id})["eligibleShippingMethodsForDraftOrder"]
        if not found:
            raise VendureError(
                "Vendure has no shipping method for orders of the till: add one to the channel, for free"
            )
        return str(min(found, key=lambda method: (method["priceWithTax"], method["id"]))["id"])

    def _pay(self, order: dict[str, Any], sale: Sale) -> None:
        facts = {"sale": sale.id, "at": sale.at.isoformat(), "device": sale.device}
        payment = {"orderId": order["id"], "method": _METHOD, "transactionId": sale.id, "metadata": facts}
        self._do(documents.PAY, {"input": payment})

    def _hand_over(self, order: dict[str, Any]) -> None:
        """Fulfil an order that is paid."""
        fulfilments = order["fulfillments"] or []
        if order["state"] == _PAID and not fulfilments:
            lines = [{"orderLineId": line["id"], "quantity": line["quantity"]} for line in order["lines"]]
            arguments = [{"name": "method", "value": _METHOD}, {"name": "trackingCode", "value": ""}]
            handler = {"code": "manual-fulfillment", "arguments": arguments}
            fulfilments = [self._do(documents.FULFIL, {"input": {"lines": lines, "handler": handler}})]
        for fulfilment in fulfilments:
            for state in _THEN.get(fulfilment["state"], ()):
                self._do(documents.FULFILMENT_TO_STATE, {"id": fulfilment["id"], "state": state})

    def _read(self, order_id: str) -> dict[str, Any]:
        found = self._ask(documents.ORDER, {"id": order_id})
        if found["order"] is None:
            raise OrderRefusedError(f"order {order_id} was deleted in Vendure before it was complete")
        decimals = found["globalSettings"]["serverConfig"]["moneyStrategyPrecision"]
        return {**found["order"], "total": Decimal(found["order"]["totalWithTax"]).scaleb(-decimals)}

    def _ask(self, document: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        return self._client.query(document, variables, channel=self._channel, needs=_NEEDS)

    def _do(self, document: str, variables: Mapping[str, Any] | None = None) -> dict[str, Any]:
        (found,) = self._client.mutate(document, variables, channel=self._channel, needs=_NEEDS).values()
        if "transitionError" in found:  # which says more than its message
            raise VendureError(f"Vendure answers: {found['transitionError']}", reason=found["errorCode"])
        return result_of(found)


def _hands(order: Mapping[str, Any]) -> set[str | None]:
    """Return the users that an order's history names; None: one that Vendure does not know as an administrator."""
    entries = order["history"]["items"]
    return {str(one["administrator"]["user"]["id"]) if one["administrator"] else None for one in entries}
