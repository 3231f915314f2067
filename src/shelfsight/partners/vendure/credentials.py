"""What a caller shows to Vendure; none of it is ever printed."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Login:
    """An administrator's name and password; the session that they begin is begun again when it ends."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class SessionToken:
    """The token of a session that somebody else began."""

    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key; every request with one takes Vendure half a second, to compare its hash."""

    key: str = field(repr=False)


Credentials = Login | SessionToken | ApiKey
