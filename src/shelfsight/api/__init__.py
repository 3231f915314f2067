"""What every route shares: who asks, documents, pages, preconditions, problems, idempotency, bounds."""
