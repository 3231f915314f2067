"""Builds the server: chooses the adapters, and puts the rooms' routes behind what every request passes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI

from shelfsight import __version__
from shelfsight.access.tokens import authenticate
from shelfsight.api import access_routes, health
from shelfsight.api.bounds import RequestBounds
from shelfsight.api.idempotency import KEY_PARAMETER, Idempotency
from shelfsight.api.problems import MEDIA_TYPE, ProblemDocument, UnexpectedErrors, add_problem_handlers
from shelfsight.api.services import Services
from shelfsight.catalog import routes as catalog
from shelfsight.delivery.files import FileDelivery
from shelfsight.jobs import routes as trainings
from shelfsight.registry import routes as registry
from shelfsight.registry.layout import SERVED_AT
from shelfsight.registry.publish import open_registry
from shelfsight.web import admin, setup
from shelfsight.web.headers import SecurityHeaders

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from shelfsight.settings import ServiceSettings

_DESCRIPTION = "Channels, their catalogue, and the versions of what recognises it."
_TAGS = [
    {"name": "channels", "description": "Shops, and their settings"},
    {"name": "products", "description": "What a channel sells, with pictures"},
    {"name": "versions", "description": "Published recognisers of a channel"},
    {"name": "trainings", "description": "How they come to be"},
    {"name": "access", "description": "Administrators, tokens, and the audit"},
    {"name": "health", "description": "For what watches this server"},
]
_PROBLEM: dict[str, Any] = {"content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}}}
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    "4XX": {"description": "Refused: the detail says why, and what to do", **_PROBLEM},
    "5XX": {"description": "Failed: the same request may work later", **_PROBLEM},
}


def open_services(settings: ServiceSettings) -> Services:
    """Return database and storage, ready for use; makes the tables in an empty database.

    Raises:
        UsageError: an address is none.
        DatabaseError: the database does not answer, or has another version's tables.
        StorageError: the storage cannot be used.
    """
    registry = open_registry(settings)
    return Services(database=registry.database, storage=registry.storage)


def build_app(services: Services) -> FastAPI:
    """Return the server of the API and the pages, over `services`."""
    app = _Application(
        title="Shelfsight",
        version=__version__,
        description=_DESCRIPTION,
        openapi_tags=_TAGS,
        docs_url=None,  # Swagger UI comes from elsewhere, which no page here may load
        redoc_url=None,
        responses=_PROBLEMS,
    )
    app.state.services = services
    add_problem_handlers(app)
    for room in (catalog, registry, trainings, access_routes, health, setup, admin):
        app.include_router(room.router)
    # Each wraps those before it.
    app.add_middleware(Idempotency)
    app.add_middleware(RequestBounds)
    app.add_middleware(UnexpectedErrors)
    app.add_middleware(SecurityHeaders)
    files = FileDelivery(
        database=services.database,
        storage=services.storage,
        authenticate=partial(authenticate, services.database),
        refusals=services.refusals,
    )
    app.add_middleware(_InFront, prefix=f"{SERVED_AT}/", branch=files)
    return app


class _InFront:
    """ASGI middleware that gives paths to a branch with headers, limits and an audit of its own: files are fast."""

    def __init__(self, app: ASGIApp, *, prefix: str, branch: ASGIApp) -> None:
        self._app = app
        self._prefix = prefix
        self._branch = branch

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_for_branch = scope["type"] == "http" and scope["path"].startswith(self._prefix)
        await (self._branch if is_for_branch else self._app)(scope, receive, send)


class _Application(FastAPI):
    """FastAPI, whose description knows what a problem looks like, and that every POST takes an Idempotency-Key."""

    def openapi(self) -> dict[str, Any]:
        """Return the description of the API."""
        if self.openapi_schema is not None:
            return self.openapi_schema
        description = super().openapi()
        schema = ProblemDocument.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas = description.setdefault("components", {}).setdefault("schemas", {})
        schemas.update({**schema.pop("$defs"), "ProblemDocument": schema})
        for path in description["paths"].values():
            if "post" in path:
                path["post"].setdefault("parameters", []).append(KEY_PARAMETER)
        return description
