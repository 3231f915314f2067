"""Layers models to deploy, small enough to think about."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from shelfsight.vendure.deploy_rules import ModelFiles
from tests.bundle.uploads import document, teachable_metadata, weights

if TYPE_CHECKING:
    from pathlib import Path


def model_files(seed: int = 1, **metadata: object) -> ModelFiles:
    """Return a model that is another for every seed, as Teachable Machine exports it."""
    random = np.random.default_rng(seed)
    noise = ((one, random.normal(0, 0.1, one.shape).astype(np.float32)) for one in weights().values())
    data = b"".join((one + some).tobytes() for one, some in noise)
    return ModelFiles(
        model=json.dumps(document()).encode(),
        weights={"weights.bin": data},
        metadata=json.dumps(teachable_metadata(**metadata), ensure_ascii=False).encode(),
    )


def looking_like_a_program(seed: int = 1) -> ModelFiles:
    """Return a model whose weights begin with the bytes of a program for Windows."""
    files = model_files(seed)
    return ModelFiles(
        model=files.model,
        weights={"weights.bin": b"MZ\x90\x3c" + files.weights["weights.bin"][4:]},
        metadata=files.metadata,
    )


def written(folder: Path, files: ModelFiles) -> Path:
    """Write the files of a model, and return their folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.json").write_bytes(files.model)
    (folder / "metadata.json").write_bytes(files.metadata)
    for name, data in files.weights.items():
        (folder / name).write_bytes(data)
    return folder
