"""Vendure's Admin API: its calls, its errors and its quirks, tried on 3.7."""
