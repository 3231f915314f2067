"""Shelfsight teaches every till to see its own shop."""

__version__ = "0.1.0"
