"""The till page for one bundle in a folder: what `shelfsight demo` shows, without accounts or a database."""

from __future__ import annotations

import json
from dataclasses import dataclass
from mimetypes import guess_type
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from shelfsight.bundle.documents import PRIVATE_FILES
from shelfsight.web.headers import SecurityHeaders
from shelfsight.web.static import FOR_EVER, REVALIDATE, check_built, file_answer, fill, page_answer, static

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from starlette.requests import Request


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoProduct:
    """A product as the till shows it. `price` is decimal, `currency` ISO 4217."""

    id: str
    name: str
    price: str | None
    currency: str | None
    picture: Path


def build_demo(*, bundle: Path, channel: str, products: Sequence[DemoProduct], samples: Sequence[Path]) -> Starlette:
    """Return a server of the till page of `channel`, with the bundle in the folder `bundle`.

    The bundle is read anew for every request: a training into the same folder shows at the next reload.

    Args:
        samples: photos to try, in the order in which they are shown.

    Raises:
        ShelfsightError: the page has not been built.
    """
    check_built()
    demo = _Demo(bundle=bundle, channel=channel, products=tuple(products), samples=tuple(samples))
    routes = [
        Route("/", demo.home),
        Route("/till/{channel}", demo.page),
        Route("/till/{channel}/products.json", demo.list_products),
        Route("/till/{channel}/pictures/{number:int}", demo.picture),
        Route("/till/{channel}/samples/{number:int}", demo.sample),
        Route("/assets/ml-models/{channel}/latest/{name}", demo.model_file),
        Route("/assets/ml-models/blobs/{name}", demo.blob),
        Route("/static/{name}", static),
    ]
    return Starlette(
        routes=routes,
        middleware=[Middleware(SecurityHeaders)],
        exception_handlers={HTTPException: _as_json},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Demo:
    bundle: Path
    channel: str
    products: tuple[DemoProduct, ...]
    samples: tuple[Path, ...]

    def home(self, _request: Request) -> Response:
        return RedirectResponse(_page_url(self.channel))

    def page(self, request: Request) -> Response:
        channel = request.path_params["channel"]
        photos = self.samples if channel == self.channel else ()
        samples = [
            {"name": photo.stem, "url": f"{_page_url(channel)}/samples/{number}"}
            for number, photo in enumerate(photos)
        ]
        return page_answer(request, fill("demo.html", {"channel": channel, "samples": samples}))

    def list_products(self, request: Request) -> Response:
        channel = request.path_params["channel"]
        products = [
            {
                "id": product.id,
                "name": product.name,
                "price": product.price,
                "currency": product.currency,
                "picture": f"{_page_url(channel)}/pictures/{number}",
            }
            for number, product in enumerate(self.products if channel == self.channel else ())
        ]
        return JSONResponse({"products": products}, headers={"cache-control": REVALIDATE})

    def picture(self, request: Request) -> Response:
        return self._numbered(request, [product.picture for product in self.products])

    def sample(self, request: Request) -> Response:
        return self._numbered(request, self.samples)

    def model_file(self, request: Request) -> Response:
        manifest = self._manifest() if request.path_params["channel"] == self.channel else None
        if manifest is None:
            raise HTTPException(404, "No active model found")
        types = {file["name"]: file["mediaType"] for file in manifest["files"]}
        types["manifest.json"] = "application/json"
        name = request.path_params["name"]
        if name not in types or name in PRIVATE_FILES:
            raise HTTPException(404, f"{name} is not a public file of this model")
        return file_answer(request, self.bundle / name, media_type=types[name])

    def blob(self, request: Request) -> Response:
        manifest = self._manifest() or {}
        name = request.path_params["name"]
        if name not in {f"{blob['sha256']}.bin" for blob in manifest.get("blobs", ())}:
            raise HTTPException(404, f"{name} is not a blob of this model")
        path = self.bundle / "blobs" / name
        return file_answer(request, path, media_type="application/octet-stream", cache=FOR_EVER)

    def _manifest(self) -> dict[str, Any] | None:
        """Return the manifest, or None where there is no bundle."""
        try:
            manifest: dict[str, Any] = json.loads((self.bundle / "manifest.json").read_bytes())
        except FileNotFoundError:
            return None
        return manifest

    def _numbered(self, request: Request, paths: Sequence[Path]) -> Response:
        number = request.path_params["number"]
        if request.path_params["channel"] != self.channel or number >= len(paths):
            raise HTTPException(404, f"there is no picture {number}")
        kind = guess_type(paths[number].name)[0] or ""
        # Photos are a stranger's files: whatever is no picture is never a page.
        return file_answer(
            request,
            paths[number],
            media_type=kind if kind.startswith("image/") else "application/octet-stream",
        )


def _page_url(channel: str) -> str:
    return f"/till/{quote(channel, safe='')}"


async def _as_json(_request: Request, exc: Exception) -> Response:
    if not isinstance(exc, HTTPException):  # Starlette's type is wider than what it is registered for
        raise exc
    return JSONResponse({"error": exc.detail}, status_code=exc.status_code, headers=exc.headers)
