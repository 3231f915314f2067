"""An object of a bucket as it was found: published, or uploaded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from shelfsight.delivery.answers import ServedFile
    from shelfsight.delivery.rules import BlobFile, Policy, VersionFile
    from shelfsight.delivery.store import ServedChannel


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundObject:
    """An object of a bucket.

    Attributes:
        channel: whose bucket it was found in; of a public blob, for whom it counts.
        published: which published file it is; None for an uploaded one.
        seen_by: those who may see a private one see one of these channels; of no meaning for others.
        policy: how an answer with it may be kept.
    """

    id: str
    channel: str
    bucket: str
    path: str
    file: ServedFile
    published: VersionFile | BlobFile | None
    seen_by: tuple[ServedChannel, ...]
    policy: Policy
    media_type: str
    cache_control: str
    created_at: datetime
    updated_at: datetime
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def etag(self) -> str:
        """The tag of its bytes."""
        return f'"{self.file.sha256}"'
