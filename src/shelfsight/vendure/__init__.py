"""Vendure, the shop's own software: deploying versions to it, its catalogue, its events."""
