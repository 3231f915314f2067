"""What the shop chooses in Vendure about trainings holds here: whether they start by themselves, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shelfsight.catalog.rules import Stamp
from shelfsight.catalog.store import channels
from shelfsight.database import clock
from shelfsight.errors import VendureError
from shelfsight.partners.vendure.answers import UNKNOWN_FIELD
from shelfsight.vendure.rules import ACTOR, chosen

if TYPE_CHECKING:
    from shelfsight.leases.lease import Lease
    from shelfsight.partners.vendure.client import VendureClient
    from shelfsight.vendure.rules import ConnectedChannel

_CHOICES = """query Choices {
  activeChannel { customFields { modelAutoRetrainEnabled modelRetrainTriggers } }
}"""


def take_over_choices(client: VendureClient, connected: ConnectedChannel, lease: Lease) -> None:
    """Let the settings of a channel be as the shop has chosen there; without Vendure's plugin they stay.

    Raises:
        VendureError: Vendure refuses.
        UnavailableError: Vendure or the database does not answer.
    """
    try:
        found = client.query(_CHOICES, channel=connected.token)["activeChannel"]["customFields"]
    except VendureError as exc:
        if exc.reason == UNKNOWN_FIELD:
            return
        raise
    values = chosen(found)
    with lease.database.read() as tx:
        settings = channels.get(tx, connected.channel).settings
    if any(getattr(settings, name) != value for name, value in values.items()):
        with lease.database.write(actor=ACTOR) as tx:
            lease.check(tx)
            channels.change(tx, connected.channel, values, stamp=Stamp(actor=ACTOR, at=clock.now(tx)))
