"""Lets the products in Typesense follow the catalogue: each minute, by one worker at a time."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import structlog

from shelfsight.catalog.index import ProductIndex
from shelfsight.errors import BusyError, PartnerError, UnavailableError
from shelfsight.leases.lease import held
from shelfsight.leases.rules import Exclusive

if TYPE_CHECKING:
    from collections.abc import Callable

    from shelfsight.database.engine import Database
    from shelfsight.settings import TypesenseSettings

PRODUCT_INDEX = Exclusive("product-index", "the writing of products into Typesense")

EVERY_MINUTE = "* * * * *"
_log = structlog.get_logger()


def follow(database: Database, typesense: TypesenseSettings) -> None:
    """Bring Typesense up to the latest changes; what fails is logged, and is for the next time."""
    try:
        with closing(ProductIndex(typesense)) as index, held(database, PRODUCT_INDEX) as lease:
            index.follow(database, is_ours=lease.renew)
    except BusyError:
        return  # another does it
    except (PartnerError, UnavailableError) as exc:
        _log.warning("products_not_indexed", reason=str(exc))


def rebuild(database: Database, typesense: TypesenseSettings, told: Callable[[int], None]) -> None:
    """Write all products of all channels into Typesense anew; searches are the database's meanwhile.

    Args:
        told: called with the number of products that were written, now and then.

    Raises:
        BusyError: another is writing them.
        UsageError: the settings name no server.
        UnavailableError, PartnerError: Typesense does not answer, or refuses; a worker goes on later.
        DatabaseError: the database does not answer.
    """
    with closing(ProductIndex(typesense)) as index, held(database, PRODUCT_INDEX) as lease:
        index.drop()
        index.follow(database, is_ours=lease.renew, told=told)
