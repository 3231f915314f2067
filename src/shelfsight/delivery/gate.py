"""Who may have the files of private channels."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeAlias

from shelfsight.access.rules import NOBODY, Right, may
from shelfsight.access.url_tokens import check_not_expired, is_url_token
from shelfsight.delivery.grants import check_blob, check_channel, check_file, granted_version
from shelfsight.delivery.published import Reader
from shelfsight.delivery.rules import VersionFile, bearer_tokens
from shelfsight.errors import AccessError, AuthenticationError, TooManyRequestsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shelfsight.access.limits import RequestLimits
    from shelfsight.access.url_tokens import SignedGrant
    from shelfsight.delivery.lookups import Lookups
    from shelfsight.delivery.request import Asked
    from shelfsight.delivery.rules import BlobFile
    from shelfsight.delivery.store import ServedChannel

Wanted: TypeAlias = "VersionFile | BlobFile"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Who may not have a file, and why.

    Attributes:
        actor: as the audit shows it.
        wait_s: in how many seconds they may ask again, if that is all.
    """

    actor: str
    error: AuthenticationError | AccessError | TooManyRequestsError
    wait_s: int | None = None


def too_often(actor: str, wait_s: int) -> Refused:
    """Return that somebody asks too often."""
    error = TooManyRequestsError(f"too many requests: ask again in {wait_s} seconds")
    return Refused(actor=actor, error=error, wait_s=wait_s)


class Gate:
    """Lets in who may have the files of private channels, as often as anybody may ask."""

    def __init__(self, lookups: Lookups, rate: RequestLimits) -> None:
        """Look tokens up in `lookups`, and count them in `rate`."""
        self._lookups = lookups
        self._rate = rate

    async def admit(self, channels: Sequence[ServedChannel], wanted: Wanted, asked: Asked) -> Reader | Refused:
        """Return who asks for a file of these private channels if they may have it, else why not.

        A request can bring several tokens (Supabase's clients send two): the best counts, and of several that are no
        good one that somebody has.
        """
        tokens = bearer_tokens(asked.headers.get(b"authorization"), asked.headers.get(b"apikey"), asked.query)
        for channel in channels:
            if any(_is_key_of(channel, token) for token in tokens):
                return Reader(actor=f"channel:{channel.id}", channel=channel.id, private=True)
        best = _unknown("send a token that may read it")
        for token in sorted(tokens, key=is_url_token, reverse=True):  # those cost no question to the database
            if is_url_token(token):
                found = await self._try_url(token, channels, wanted, asked)
            else:
                found = await self._try(token, channels, asked)
            if isinstance(found, Reader) or found.wait_s is not None:
                return found
            if isinstance(best.error, AuthenticationError):
                best = found
        return best

    async def _try_url(
        self, token: str, channels: Sequence[ServedChannel], wanted: Wanted, asked: Asked
    ) -> Reader | Refused:
        try:
            signed = await self._lookups.grant(token)
        except AuthenticationError as exc:
            wait_s = self._rate.unknown_wait_s(asked.address)
            return Refused(actor=NOBODY.actor, error=exc) if wait_s is None else too_often(NOBODY.actor, wait_s)
        return self._counted(token.rpartition(".")[2], await self._signed(signed, channels, wanted))

    async def _try(self, token: str, channels: Sequence[ServedChannel], asked: Asked) -> Reader | Refused:
        is_guess = not self._lookups.is_known(token)
        wait_s = self._rate.unknown_wait_s(asked.address) if is_guess else None
        if wait_s is not None:
            return too_often(NOBODY.actor, wait_s)
        caller = await self._lookups.caller(token)
        if caller is None:
            return _unknown("nobody knows the token that came; send one that may read it")
        if is_guess:
            self._rate.token_was_right(asked.address)
        for channel in channels:
            if may(caller, Right.DEVICE, channel.id):
                reader = Reader(actor=caller.actor, channel=channel.id, private=True)
                return reader if caller.actor.startswith("channel:") else self._counted(caller.actor, reader)
        return Refused(actor=caller.actor, error=AccessError("this token is not for this channel"))

    async def _signed(
        self, signed: SignedGrant, channels: Sequence[ServedChannel], wanted: Wanted
    ) -> Reader | Refused:
        grant = signed.grant
        try:
            check_not_expired(signed, now=datetime.now(UTC))
            if isinstance(wanted, VersionFile):
                check_file(grant, wanted)
            else:
                version = granted_version(grant)
                check_blob(used=await self._lookups.uses_blob(grant.channel, version, wanted.sha256))
            check_channel(grant, channels)
        except (AccessError, AuthenticationError) as exc:
            return Refused(actor=signed.actor, error=exc)
        return Reader(actor=signed.actor, channel=grant.channel, private=True)

    def _counted(self, token: str, found: Reader | Refused) -> Reader | Refused:
        """Return `found`, unless it is one time too many for the token."""
        wait_s = self._rate.token_wait_s(token)
        return found if wait_s is None else too_often(found.actor, wait_s)


def _unknown(remedy: str) -> Refused:
    sentence = f"this channel is private: {remedy}, as Authorization: Bearer, apikey or ?token="
    return Refused(actor=NOBODY.actor, error=AuthenticationError(sentence))


def _is_key_of(channel: ServedChannel, token: str) -> bool:
    return bool(channel.token) and hmac.compare_digest(channel.token.encode(), token.encode())
