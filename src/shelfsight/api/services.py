"""What the routes work with; built once by `app.py`, or by a test."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection  # noqa: TC002 (FastAPI reads it)

from shelfsight.access.administrators import LoginLimit
from shelfsight.access.limits import RequestLimits
from shelfsight.api.refusals import RefusalLog
from shelfsight.settings import ASSETS_URL, REQUESTS_PER_MINUTE

if TYPE_CHECKING:
    from shelfsight.database.engine import Database
    from shelfsight.settings import Network, TypesenseSettings
    from shelfsight.storage import Storage


@dataclass(frozen=True, kw_only=True)
class Services:
    """The outside of the application. Only `database` and `storage` have to be given.

    Attributes:
        webhook_networks: where webhooks may be sent beside the public internet.
        assets_url: where devices find the files of versions, without a slash at the end.
        limits: how often devices may ask, whatever they ask for.
        authority: the certificate of the server's own authority, PEM; None where it has none.
        typesense: what finds products beside the database, None = the database alone does.
    """

    database: Database
    storage: Storage
    webhook_networks: tuple[Network, ...] = ()
    assets_url: str = ASSETS_URL
    limits: RequestLimits = field(default_factory=lambda: RequestLimits(REQUESTS_PER_MINUTE))
    authority: bytes | None = None
    typesense: TypesenseSettings | None = None
    logins: LoginLimit = field(default_factory=LoginLimit)
    refusals: RefusalLog = field(init=False)

    def __post_init__(self) -> None:
        """Let refusals go to the audit of `database`."""
        object.__setattr__(self, "refusals", RefusalLog(self.database))

    def close(self) -> None:
        """Close the database."""
        self.database.close()


def services_of(connection: HTTPConnection) -> Services:
    """Return the services of the application that the request came to."""
    services: Services = connection.app.state.services
    return services


ServicesOf = Annotated[Services, Depends(services_of)]
