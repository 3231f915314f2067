"""What is asked of Vendure's Admin API to place an order, in GraphQL."""

from __future__ import annotations

_ORDER = """id code state totalWithTax currencyCode
  lines { id quantity productVariant { id } }
  customer { id } shippingLines { id } payments { id transactionId } fulfillments { id state }"""
_ERROR = "... on ErrorResult { errorCode message }"
_RESULT = f"__typename ... on Order {{ id }} {_ERROR}"

VARIANTS = """
query Variants($options: ProductListOptions) {
  products(options: $options) { totalItems items { id enabled variants { id sku enabled } } }
}"""

EMPTY_DRAFTS = """
query Drafts($options: OrderListOptions) {
  orders(options: $options) { totalItems items {
    id lines { id } customer { id } history { items { administrator { user { id } } } }
  } }
}"""

CREATE = "mutation CreateDraft { createDraftOrder { id code } }"

ORDER = f"""
query Order($id: ID!) {{
  order(id: $id) {{ {_ORDER} }}
  globalSettings {{ serverConfig {{ moneyStrategyPrecision }} }}
}}"""

ADD_LINE = f"""
mutation AddLine($order: ID!, $input: AddItemToDraftOrderInput!) {{
  addItemToDraftOrder(orderId: $order, input: $input) {{ {_RESULT} }}
}}"""

ADJUST_LINE = f"""
mutation AdjustLine($order: ID!, $input: AdjustDraftOrderLineInput!) {{
  adjustDraftOrderLine(orderId: $order, input: $input) {{ {_RESULT} }}
}}"""

REMOVE_LINE = f"""
mutation RemoveLine($order: ID!, $line: ID!) {{
  removeDraftOrderLine(orderId: $order, orderLineId: $line) {{ {_RESULT} }}
}}"""

SET_CUSTOMER = f"""
mutation SetCustomer($order: ID!, $input: CreateCustomerInput!) {{
  setCustomerForDraftOrder(orderId: $order, input: $input) {{ {_RESULT} }}
}}"""

SHIPPING_METHODS = """
query ShippingMethods($order: ID!) { eligibleShippingMethodsForDraftOrder(orderId: $order) { id priceWithTax } }"""

SET_SHIPPING = f"""
mutation SetShipping($order: ID!, $method: ID!) {{
  setDraftOrderShippingMethod(orderId: $order, shippingMethodId: $method) {{ {_RESULT} }}
}}"""

TO_STATE = f"""
mutation ToState($order: ID!, $state: String!) {{
  transitionOrderToState(id: $order, state: $state) {{
    {_RESULT} ... on OrderStateTransitionError {{ transitionError }}
  }}
}}"""

PAY = f"mutation Pay($input: ManualPaymentInput!) {{ addManualPaymentToOrder(input: $input) {{ {_RESULT} }} }}"

FULFIL = f"""
mutation Fulfil($input: FulfillOrderInput!) {{
  addFulfillmentToOrder(input: $input) {{ __typename ... on Fulfillment {{ id state }} {_ERROR} }}
}}"""

FULFILMENT_TO_STATE = f"""
mutation FulfilmentToState($id: ID!, $state: String!) {{
  transitionFulfillmentToState(id: $id, state: $state) {{
    __typename ... on Fulfillment {{ id }} {_ERROR} ... on FulfillmentStateTransitionError {{ transitionError }}
  }}
}}"""

ADD_NOTE = "mutation AddNote($input: AddNoteToOrderInput!) { addNoteToOrder(input: $input) { id } }"

DELETE_DRAFT = "mutation DeleteDraft($order: ID!) { deleteDraftOrder(orderId: $order) { result message } }"
