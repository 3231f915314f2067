"""What a connection must be permitted in Vendure's channel, by what it is to do there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shelfsight.errors import VendureAccessError
from shelfsight.partners.vendure.channels import roles_in
from shelfsight.vendure.deploy_channel import TO_DEPLOY
from shelfsight.vendure.place_order import PERMISSIONS

if TYPE_CHECKING:
    from shelfsight.partners.vendure.client import VendureClient
    from shelfsight.partners.vendure.records import VendureChannel

_ALWAYS = (("ReadProduct", "ReadCatalog"), ("ReadChannel", "ReadSettings"), ("UpdateChannel",))
"""To read the products, and to say in the channel's fields how it is: whether models are deployed there or not."""


def check_connection(client: VendureClient, channel: VendureChannel, *, deploys: bool, records_orders: bool) -> None:
    """Check that we may do in a channel all that its connection is to do; of API keys Vendure does not say.

    Raises:
        VendureAccessError: we may not; the message names every permission that is missing, and our roles there.
        UnavailableError: Vendure does not answer.
    """
    if channel.permissions is None:
        return
    needed = [
        *_ALWAYS,
        *(names for _, names in TO_DEPLOY if deploys),
        *((name,) for name in sorted(PERMISSIONS) if records_orders),
    ]
    lacking = [" or ".join(names) for names in dict.fromkeys(needed) if not channel.permissions.intersection(names)]
    if lacking:
        roles = ", ".join(roles_in(client, channel))
        word = "permission" if len(lacking) == 1 else "permissions"
        raise VendureAccessError(
            f"we may not do all that is needed in Vendure's channel {channel.id}: "
            f"give our role there ({roles}) the {word} {', '.join(lacking)}"
        )
