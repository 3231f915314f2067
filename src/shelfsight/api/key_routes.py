"""The public halves of the keys that sign configs: for whoever verifies one without having been paired."""

import base64
from datetime import datetime
from typing import Self

from fastapi import APIRouter, Request, Response
from pydantic import Field

from shelfsight.access import keys
from shelfsight.access.key_store import Key, KeyKind, KeyState
from shelfsight.access.signatures import ALGORITHM
from shelfsight.api.documents import ApiDocument
from shelfsight.api.problems import address_of
from shelfsight.api.services import ServicesOf
from shelfsight.errors import TooManyRequestsError

PATH = "/v1/keys"

router = APIRouter(tags=["access"])

_HEADERS = {
    "access-control-allow-origin": "*",
    "cache-control": "public, max-age=300",
    "cross-origin-resource-policy": "cross-origin",
}
_PREFLIGHT = {
    "access-control-allow-origin": "*",
    "access-control-allow-methods": "GET, OPTIONS",
    "access-control-allow-headers": "*, authorization",  # which the asterisk leaves out
    "access-control-max-age": "86400",
}


class PublicKeyDocument(ApiDocument):
    """A key that signs configs."""

    key_id: str = Field(description="SHA-256 of the public key, hexadecimal")
    algorithm: str = Field(description="ES256: ECDSA on P-256 with SHA-256")
    public_key: str = Field(description="SubjectPublicKeyInfo, DER, base64")
    created_at: datetime
    current: bool = Field(description="Whether it is the one that signs; the other still signs beside it")


class PublicKeysDocument(ApiDocument):
    """The keys that are valid now, the current one first."""

    keys: list[PublicKeyDocument]


class KeyDocument(ApiDocument):
    """What is known of a key, without what it signs with; as `shelfsight keys show` prints it."""

    key_id: str
    kind: KeyKind
    state: KeyState
    public_key: str | None
    created_at: datetime
    created_by: str
    replaced_at: datetime | None
    retired_at: datetime | None

    @classmethod
    def of(cls, key: Key) -> Self:
        """Return the document of a key."""
        return cls(
            key_id=key.id,
            kind=key.kind,
            state=key.state,
            public_key=None if key.public_key is None else _base64(key.public_key),
            created_at=key.created_at,
            created_by=key.created_by,
            replaced_at=key.replaced_at,
            retired_at=key.retired_at,
        )


@router.get(PATH)
def list_public_keys(services: ServicesOf, request: Request, response: Response) -> PublicKeysDocument:
    """List the public keys by which configs are verified; anybody may ask."""
    if services.limits.wait_s(address_of(request.scope)) is not None:
        raise TooManyRequestsError("this address asks too often: keep the keys for five minutes")
    response.headers.update(_HEADERS)
    return PublicKeysDocument(
        keys=[
            PublicKeyDocument(
                key_id=key.id,
                algorithm=ALGORITHM,
                public_key=_base64(key.public_key),
                created_at=key.created_at,
                current=key.state is KeyState.CURRENT,
            )
            for key in keys.public_keys(services.database)
            if key.public_key is not None
        ]
    )


@router.options(PATH, include_in_schema=False)
def allow_any_page() -> Response:
    """Let pages of any site ask."""
    return Response(status_code=204, headers=_PREFLIGHT)


def _base64(public_key: bytes) -> str:
    return base64.b64encode(public_key).decode()
