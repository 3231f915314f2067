"""What Vendure tells us of, as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

_DEFAULT_CODE = "__default_channel__"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """A file in Vendure.

    Attributes:
        name: as it was uploaded; Vendure may keep the file itself under another.
        source: URL of the file, as it was uploaded.
    """

    id: str
    name: str
    size_bytes: int
    source: str
    created_at: datetime
    tags: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class VendureChannel:
    """A channel of Vendure's.

    Attributes:
        permissions: names of what who asks may do there; None = Vendure does not say, as of API keys.
    """

    id: str
    code: str
    token: str
    permissions: frozenset[str] | None

    @property
    def is_default(self) -> bool:
        """Whether it is the one that has all assets; Vendure knows it by its code, too."""
        return self.code == _DEFAULT_CODE


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFields:
    """The custom fields of a channel that say which model its devices load; None = not set.

    Attributes:
        base_url: URL of `model.json`.
        model_id, weights_id, metadata_id: of the assets.
    """

    base_url: str | None
    version: str | None
    last_trained: datetime | None
    status: str | None
    model_id: str | None
    weights_id: str | None
    metadata_id: str | None

    @property
    def ids(self) -> frozenset[str]:
        """Ids of the assets that the fields name."""
        return frozenset(filter(None, (self.model_id, self.weights_id, self.metadata_id)))
