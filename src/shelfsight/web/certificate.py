"""The certificate that phones are to trust, where the server has one of its own."""

from fastapi import APIRouter
from starlette.responses import Response

from shelfsight.api.services import ServicesOf
from shelfsight.errors import NotFoundError

router = APIRouter(include_in_schema=False)


@router.get("/authority.crt")
def show_authority(services: ServicesOf) -> Response:
    """Return the certificate of the authority; a phone that opens it offers to install it."""
    if services.authority is None:
        raise NotFoundError("this server has no certificate of its own: it is started without --tls")
    headers = {"content-disposition": 'attachment; filename="shelfsight.crt"', "cache-control": "no-cache"}
    return Response(services.authority, media_type="application/x-x509-ca-cert", headers=headers)
