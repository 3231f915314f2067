"""For what watches the server: whether it lives, and whether it can work."""

from fastapi import APIRouter

from shelfsight.api.documents import ApiDocument
from shelfsight.api.services import ServicesOf
from shelfsight.database import migrate
from shelfsight.errors import SchemaError

router = APIRouter(tags=["health"])


class HealthDocument(ApiDocument):
    """How the server is; any other answer is a problem."""

    status: str = "ok"


@router.get("/healthz")
async def show_alive() -> HealthDocument:
    """Answer, for as long as the process lives: also while every thread is busy."""
    return HealthDocument()


@router.get("/readyz")
def show_ready(services: ServicesOf) -> HealthDocument:
    """Answer when database and storage do, and the tables are this version's; else it is 503."""
    found, wanted = migrate.revision(services.database), migrate.latest()
    if found != wanted:
        raise SchemaError(f"the database has schema {found}, wanted {wanted}: run `shelfsight db upgrade`")
    services.storage.exists("readyz")  # whether it answers matters, not what
    return HealthDocument()
