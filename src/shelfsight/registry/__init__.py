"""Versions of a channel: publish, latest, roll back, retention."""
