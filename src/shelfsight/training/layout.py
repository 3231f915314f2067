"""Where a training keeps embeddings in the storage."""

from __future__ import annotations

ROOT = "embeddings"
"""The folder of all embeddings in the storage; never served. All of it can be made again from the images."""

SUFFIX = ".chunk1"
"""Ending of a file of embeddings; another format gets another number, and is not ours to read or to delete."""


def embeddings_folder(channel: str) -> str:
    """Return where the embeddings of a channel's images lie, in one folder for each embedder."""
    return f"{ROOT}/{channel}"


def embedder_folder(channel: str, embedder: str) -> str:
    """Return where those lie that `embedder` (hexadecimal) made."""
    return f"{embeddings_folder(channel)}/{embedder[:16]}"
