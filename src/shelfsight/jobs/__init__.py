"""Durable work: jobs in a queue, one at a time for each key, taken over when their worker dies."""
