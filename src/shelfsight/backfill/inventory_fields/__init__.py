"""`created_at` and `deleted_at` for the products of an old shop: in PostgreSQL, and in the product search."""
