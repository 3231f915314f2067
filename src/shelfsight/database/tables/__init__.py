"""The tables, as SQLAlchemy sees them; migrations make them, and triggers keep what is derived.

`model_metadata`, `trainings` and the view `ml_models` are for people and other programs: on PostgreSQL they lie in
the session's own schema (`public`). Everything else lies in the schema `shelfsight`, out of the way of a shop's own
tables (a `products` of its own, say) and of what PostgREST publishes. SQLite has no schemas; names are the same.
"""

from shelfsight.database.tables.access import acting, administrators, audit, idempotency_keys, tokens
from shelfsight.database.tables.columns import SCHEMA, metadata, public
from shelfsight.database.tables.jobs import training_log, trainings, workers
from shelfsight.database.tables.shop import changes, channels, images, products
from shelfsight.database.tables.till import sale_lines, sales
from shelfsight.database.tables.traffic import downloads, events, objects, webhook_deliveries, webhooks
from shelfsight.database.tables.vendure import (
    vendure_assets,
    vendure_channels,
    vendure_messages,
    vendure_orders,
    vendure_products,
    vendure_servers,
    vendure_wanted,
)
from shelfsight.database.tables.versions import (
    leases,
    model_metadata,
    releases,
    rollouts,
    signing_keys,
    version_blobs,
)

__all__ = [
    "SCHEMA",
    "acting",
    "administrators",
    "audit",
    "changes",
    "channels",
    "downloads",
    "events",
    "idempotency_keys",
    "images",
    "leases",
    "metadata",
    "model_metadata",
    "objects",
    "products",
    "public",
    "releases",
    "rollouts",
    "sale_lines",
    "sales",
    "signing_keys",
    "tokens",
    "training_log",
    "trainings",
    "vendure_assets",
    "vendure_channels",
    "vendure_messages",
    "vendure_orders",
    "vendure_products",
    "vendure_servers",
    "vendure_wanted",
    "version_blobs",
    "webhook_deliveries",
    "webhooks",
    "workers",
]
