"""Resumable migrations over rows that already exist."""
