"""The pages of tills as the build leaves them in `dist`: files to be sent, and templates to be filled in."""

from __future__ import annotations

import gzip
import re
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, StrictUndefined
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response

from shelfsight.errors import ShelfsightError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

DIST = Path(__file__).parent / "dist"
REVALIDATE = "no-cache"
FOR_EVER = "public, max-age=31536000, immutable"
_HASHED = re.compile(r"-[0-9A-Z]{8}\.[a-z]+")
"""How the name of a file ends that says what is in it."""
_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
    ".wasm": "application/wasm",
}
"""Not as the system says: on Windows that is often text/plain for .js, which no browser runs."""
_TEMPLATES = {"till.html", "demo.html"}
"""Served by routes that fill them in."""
_ENVIRONMENT = Environment(autoescape=True, undefined=StrictUndefined)


def check_built() -> None:
    """Refuse to go on without the pages.

    Raises:
        ShelfsightError: they have not been built.
    """
    if not (DIST / "till.html").is_file():
        raise ShelfsightError("the till page is not built: run `npm ci && npm run build`, or install Shelfsight anew")


def fill(name: str, values: Mapping[str, object]) -> str:
    """Return a template of `dist` with values in it; what is in a value is never markup."""
    return _ENVIRONMENT.from_string((DIST / name).read_text("utf-8")).render(values)


def page_answer(request: Request, text: str) -> Response:
    """Return a page, or 304 when the browser has it."""
    body = text.encode()
    headers = {"cache-control": REVALIDATE, "vary": "accept-encoding"}
    if _takes_gzip(request):
        body = gzip.compress(body, 6, mtime=0)
        headers["content-encoding"] = "gzip"
    headers["etag"] = f'"{sha256(body).hexdigest()[:32]}"'
    if _knows(request, headers["etag"]):
        return Response(status_code=304, headers=headers)
    return Response(body, media_type="text/html", headers=headers)


def static(request: Request) -> Response:
    """Return the file of a page that the path names."""
    name: str = request.path_params["name"]
    path = DIST / name
    if Path(name).name != name or path.suffix not in _TYPES or name in _TEMPLATES:
        raise HTTPException(404, f"{name} is not part of the page")
    is_hashed = _HASHED.search(name) is not None
    media_type = _TYPES[path.suffix]
    return file_answer(request, path, media_type=media_type, cache=FOR_EVER if is_hashed else REVALIDATE)


def file_answer(
    request: Request,
    path: Path,
    *,
    media_type: str,
    cache: str = REVALIDATE,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return a file, compressed where that lies beside it, or 304 when the browser has it.

    Ranges are FileResponse's work.
    """
    if not path.is_file():
        raise HTTPException(404, f"{path.name} does not exist")
    packed = path.with_name(f"{path.name}.gz")
    said = {"cache-control": cache, **(headers or {})}
    if packed.is_file():
        said["vary"] = "accept-encoding"
        if _takes_gzip(request):
            path, said["content-encoding"] = packed, "gzip"
    response = FileResponse(path, media_type=media_type, stat_result=path.stat(), headers=said)
    etag = response.headers["etag"]
    return Response(status_code=304, headers={**said, "etag": etag}) if _knows(request, etag) else response


def _knows(request: Request, etag: str) -> bool:
    return etag in (tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(","))


def _takes_gzip(request: Request) -> bool:
    return any(
        re.fullmatch(r"\s*gzip\s*(;\s*q=(1(\.0*)?|0?\.\d*[1-9]\d*))?\s*", one)
        for one in request.headers.get("accept-encoding", "")[:1000].split(",")
    )
