"""Reads the files of a model that somebody wants to deploy."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from shelfsight.bundle.documents import parse_object
from shelfsight.errors import UsageError
from shelfsight.vendure.deploy_rules import ModelFiles, weight_paths

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def read_model(model: Path, weights: Sequence[Path], metadata: Path) -> ModelFiles:
    """Return the files of a model.

    Raises:
        UsageError: one cannot be read, or two files of weights have one name.
    """
    found = {path.name: _read(path, "the weights") for path in weights}
    if len(found) < len(weights):
        raise UsageError("two files of weights have the same name: name each file of the model's weights once")
    return ModelFiles(
        model=_read(model, "the layers model, model.json"),
        weights=found,
        metadata=_read(metadata, "metadata.json, which names the labels"),
    )


def read_folder(folder: Path) -> ModelFiles:
    """Return the files of the model in a bundle, or in another folder with a `model.json` and a `metadata.json`.

    Raises:
        UsageError: one cannot be read.
        BundleError: `model.json` is damaged.
    """
    model = folder / "model.json"
    weights = [folder / name for name in weight_names(_read(model, "a folder with model.json"))]
    return read_model(model, weights, folder / "metadata.json")


def weight_names(model: bytes) -> list[str]:
    """Return the names of the files of weights beside a `model.json`.

    Raises:
        BundleError: `model.json` is damaged.
    """
    return [posixpath.basename(path) for path in weight_paths(parse_object(model, "model.json"))]


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise UsageError(f"File not found: {path} ({exc.strerror}): check the path of {what}") from exc
