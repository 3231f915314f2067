"""Which photos of an evaluation a recogniser has seen in its training: on those it only shows what it remembers."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from pydantic import ValidationError

from shelfsight.training.report import Report

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path


def training_photos(bundle: Path) -> frozenset[str] | None:
    """Return the SHA-256 of the photos that a bundle was trained on; None where it has no report to say so."""
    try:
        report = Report.model_validate_json((bundle / "report.json").read_bytes())
    except (OSError, ValidationError):
        return None
    return frozenset(image.sha256 for image in report.images)


def is_among(photo: Path, hashes: Collection[str]) -> bool:
    """Return whether a photo's bytes have one of the hashes."""
    try:
        with photo.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() in hashes
    except OSError:  # gone since it was recognised
        return False


def told_of(seen: int, photos: int) -> tuple[str, ...]:
    """Return what a person has to know where `seen` of the photos were trained on."""
    if not seen:
        return ()
    if seen == photos:
        return (f"{seen} of {photos} photos were trained on: this says nothing about new photos. Use others.",)
    return (f"{seen} of {photos} photos were trained on, which promises too much: leave them out.",)
