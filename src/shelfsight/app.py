"""Builds the server: chooses the adapters, and puts the rooms' routes behind what every request passes."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypedDict

from fastapi import FastAPI

from shelfsight import __version__
from shelfsight.access.keys import url_secrets
from shelfsight.access.limits import RequestLimits, VolumeLimit
from shelfsight.access.tokens import authenticate
from shelfsight.api import access_routes, health, key_routes
from shelfsight.api.bounds import RequestBounds
from shelfsight.api.devices import DeviceOrigins
from shelfsight.api.idempotency import KEY_PARAMETER, Idempotency
from shelfsight.api.problems import MEDIA_TYPE, ProblemDocument, UnexpectedErrors, add_problem_handlers
from shelfsight.api.services import Services
from shelfsight.catalog import routes as catalog
from shelfsight.catalog.search import ProductSearch
from shelfsight.delivery import routes as delivery
from shelfsight.delivery.config.serve import ConfigDelivery, Outside
from shelfsight.delivery.downloads import Downloads
from shelfsight.delivery.files import FileDelivery
from shelfsight.delivery.published import Published
from shelfsight.delivery.supabase.wire import SupabaseWire
from shelfsight.jobs import routes as trainings
from shelfsight.jobs.events import Streams
from shelfsight.registry import routes as registry
from shelfsight.registry.layout import SERVED_AT
from shelfsight.registry.publish import open_registry
from shelfsight.rollout import routes as rollout
from shelfsight.telemetry import routes as telemetry
from shelfsight.telemetry.rules import EVENTS_A_MINUTE
from shelfsight.till import routes as till
from shelfsight.till.products import ProductLists
from shelfsight.till.rules import LINES_A_MINUTE
from shelfsight.vendure import routes as vendure
from shelfsight.web import admin, certificate, home, setup, till_page
from shelfsight.web.headers import SecurityHeaders
from shelfsight.webhooks import routes as webhooks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import ASGIApp, Receive, Scope, Send

    from shelfsight.api.refusals import RefusalLog
    from shelfsight.settings import ServiceSettings

_DESCRIPTION = "Channels, their catalogue, and the versions of what recognises it."
_TAGS = [
    {"name": "channels", "description": "Shops, and their settings"},
    {"name": "products", "description": "What a channel sells, with pictures"},
    {"name": "versions", "description": "Published recognisers of a channel"},
    {"name": "rollouts", "description": "How a new version reaches devices, and how it is taken back"},
    {"name": "delivery", "description": "Their files on the way to devices"},
    {"name": "events", "description": "What devices report"},
    {"name": "sales", "description": "What tills sell, booked once each; and the product list they search"},
    {"name": "webhooks", "description": "Events sent to other servers, signed"},
    {"name": "vendure", "description": "What Vendure servers tell, and ask for, signed"},
    {"name": "trainings", "description": "How they come to be"},
    {"name": "access", "description": "Administrators, tokens, and the audit"},
    {"name": "health", "description": "For what watches this server"},
]
_PROBLEM: dict[str, Any] = {"content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}}}
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    "4XX": {"description": "Refused: the detail says why, and what to do", **_PROBLEM},
    "5XX": {"description": "Failed: the same request may work later", **_PROBLEM},
}


_ROOMS = (
    catalog,
    registry,
    rollout,
    delivery,
    trainings,
    telemetry,
    till,
    webhooks,
    vendure,
    access_routes,
    key_routes,
    health,
    home,
    setup,
    admin,
    till_page,
    certificate,
)


class _Outside(TypedDict):
    """What every branch that serves files has in common."""

    published: Published
    refusals: RefusalLog
    downloads: Downloads
    rate: RequestLimits


def open_services(settings: ServiceSettings, *, authority: bytes | None = None) -> Services:
    """Return database and storage, ready for use; makes the tables in an empty database.

    Args:
        authority: as in `Services`.

    Raises:
        UsageError: an address is none.
        DatabaseError: the database does not answer, or has another version's tables.
        StorageError: the storage cannot be used.
    """
    registry = open_registry(settings)
    return Services(
        database=registry.database,
        storage=registry.storage,
        webhook_networks=settings.webhook_networks,
        assets_url=settings.assets_url,
        limits=RequestLimits(settings.requests_per_minute),
        authority=authority,
        typesense=settings.typesense,
    )


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
        lifespan=_lifespan,
    )
    app.state.services = services
    add_problem_handlers(app)
    for room in _ROOMS:
        app.include_router(room.router)
    # Each wraps those before it.
    app.add_middleware(Idempotency)
    app.add_middleware(RequestBounds)
    app.add_middleware(UnexpectedErrors)
    app.add_middleware(DeviceOrigins)
    app.add_middleware(SecurityHeaders)
    app.state.downloads = Downloads(services.database)
    app.state.streams = Streams()
    app.state.product_search = ProductSearch(services.database, services.typesense)
    app.state.product_lists = ProductLists(services.database)
    app.state.event_volume = VolumeLimit(EVENTS_A_MINUTE)
    app.state.sale_line_volume = VolumeLimit(LINES_A_MINUTE)
    _add_branches(app, services)
    return app


def _add_branches(app: _Application, services: Services) -> None:
    """Put what devices ask for most in front."""
    outside: _Outside = {
        "refusals": services.refusals,
        "downloads": app.state.downloads,
        "rate": services.limits,
        "published": Published(
            database=services.database,
            storage=services.storage,
            authenticate=partial(authenticate, services.database),
            secrets=partial(url_secrets, services.database),
        ),
    }
    app.branches[f"{SERVED_AT}/"] = FileDelivery(**outside)
    app.branches["/storage/"] = app.branches["/rest/"] = SupabaseWire(
        database=services.database, storage=services.storage, **outside
    )
    app.branches["/functions/"] = app.branches["/v1/channels/"] = ConfigDelivery(
        Outside(
            database=services.database,
            storage=services.storage,
            authenticate=partial(authenticate, services.database),
            refusals=services.refusals,
            limits=services.limits,
            assets_url=services.assets_url,
        )
    )


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    await app.state.downloads.close()
    app.state.product_search.close()


class _Application(FastAPI):
    """FastAPI, with branches in front of it that answer devices fast, and a description that knows our problems.

    Attributes:
        branches: ASGI applications with headers, limits and an audit of their own, by the first part of their paths,
            or the first two: `/assets/`, `/v1/channels/`. What they get passes none of the middleware.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.branches: dict[str, ASGIApp] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or take part in the start and end of the server."""
        if scope["type"] == "http":
            path = scope["path"]
            first = path.find("/", 1) + 1
            branch = self.branches.get(path[:first]) or self.branches.get(path[: path.find("/", first) + 1])
            if branch is not None:
                await branch(scope, receive, send)
                return
        await super().__call__(scope, receive, send)

    def openapi(self) -> dict[str, Any]:
        """Return the description of the API, in which every POST takes an Idempotency-Key."""
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
