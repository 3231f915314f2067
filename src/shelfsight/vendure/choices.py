"""What the shop chooses in Vendure about trainings holds here: whether they start by themselves, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shelfsight.catalog.rules import RetrainTrigger, Stamp
from shelfsight.catalog.store import channels
from shelfsight.database import clock
from shelfsight.errors import VendureError
from shelfsight.partners.vendure.answers import UNKNOWN_FIELD
from shelfsight.vendure.rules import ACTOR

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shelfsight.catalog.rules import ChannelValues
    from shelfsight.partners.vendure.client import VendureClient
    from shelfsight.registry.lease import Lease
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


def chosen(fields: Mapping[str, Any]) -> ChannelValues:
    """Return the settings that the fields of a channel say; a trigger that is not known is none."""
    values: ChannelValues = {}
    if fields["modelAutoRetrainEnabled"] is not None:
        values["model_auto_retrain_enabled"] = bool(fields["modelAutoRetrainEnabled"])
    if fields["modelRetrainTriggers"] is not None:
        named = set(fields["modelRetrainTriggers"])
        values["model_retrain_triggers"] = frozenset(one for one in RetrainTrigger if one.value in named)
    return values
