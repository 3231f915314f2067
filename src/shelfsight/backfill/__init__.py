"""Resumable migrations over rows that already exist.

A backfill (`work.py` says what one is) names its phases; the runner takes them page by page, keeps a checkpoint after
each page in a store (`checkpoints/`), and holds a lease on it.
"""
