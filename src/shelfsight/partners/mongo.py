"""MongoDB: a client that waits for what it writes to be on the disks of a majority, and errors as sentences."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pymongo import MongoClient, WriteConcern
from pymongo.errors import (
    ConfigurationError,
    InvalidName,
    InvalidURI,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WriteConcernError,
)
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import ReadPreference

from shelfsight.errors import PartnerError, UnavailableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymongo.collection import Collection

_ANSWERS_WITHIN_MS = 10_000
_NOT_ALLOWED = {13, 18, 8000}
"""Unauthorized, AuthenticationFailed, and Atlas's own."""


class Mongo:
    """A connection to MongoDB, made when it is first used."""

    def __init__(self, uri: str, *, answers_within_ms: int = _ANSWERS_WITHIN_MS) -> None:
        """Use the server at `uri`: `mongodb://…` or `mongodb+srv://…`.

        Raises:
            UsageError: `uri` is no such address.
        """
        try:
            self._client: MongoClient[dict[str, Any]] = MongoClient(
                uri,
                appname="shelfsight",
                serverSelectionTimeoutMS=answers_within_ms,
                connectTimeoutMS=answers_within_ms,
                socketTimeoutMS=answers_within_ms,
                tz_aware=True,
            )
        except InvalidURI:  # whose text has a part of the password in it, where that was not encoded
            raise UsageError(
                "MONGO_URI is no address of MongoDB: use mongodb://user:password@host/database, and percent-encode "
                "what is special in user and password"
            ) from None
        except (ConfigurationError, ValueError) as exc:
            raise UsageError(f"MONGO_URI is no address of MongoDB: {_first_line(exc)}") from exc

    @property
    def hosts(self) -> str:
        """The servers that the address names, without user and password."""
        return ",".join(
            sorted(f"{host}:{port}" for host, port in self._client.topology_description.server_descriptions())
        )

    def collection(self, database: str, name: str) -> Collection[dict[str, Any]]:
        """Return a collection, written and read by a majority of the servers.

        Raises:
            UsageError: MongoDB has no such names.
        """
        try:
            return self._client.get_database(database).get_collection(
                name,
                write_concern=WriteConcern(w="majority", j=True, wtimeout=_ANSWERS_WITHIN_MS),
                read_concern=ReadConcern("majority"),
                read_preference=ReadPreference.PRIMARY,
            )
        except InvalidName as exc:
            raise UsageError(f"{database}.{name} can be no collection of MongoDB: {_first_line(exc)}") from exc

    def default_database(self, otherwise: str) -> str:
        """Return the database that the address names, or another."""
        return self._client.get_default_database(otherwise).name

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Turn the library's errors into ours.

        Raises:
            PartnerError: it refuses the user, the password, or what is asked.
            UnavailableError: it does not answer, or has no room.
        """
        try:
            yield
        except WriteConcernError as exc:
            raise UnavailableError(f"MongoDB at {self.hosts} did not confirm a write: {_first_line(exc)}") from exc
        except OperationFailure as exc:
            if exc.code in _NOT_ALLOWED:
                raise PartnerError(
                    f"MongoDB at {self.hosts} refuses the user of MONGO_URI ({_first_line(exc)}): "
                    "check user, password, authSource, and whether it may write"
                ) from exc
            raise UnavailableError(f"MongoDB at {self.hosts} did not do it: {_first_line(exc)}") from exc
        except ServerSelectionTimeoutError as exc:
            raise UnavailableError(
                f"MongoDB at {self.hosts} cannot be reached ({_first_line(exc)}): check host, port and TLS"
            ) from exc
        except PyMongoError as exc:
            raise UnavailableError(f"MongoDB at {self.hosts} broke off: {_first_line(exc)}") from exc


def _first_line(error: Exception) -> str:
    lines = str(error).split(", full error", maxsplit=1)[0].split(", Timeout:", maxsplit=1)[0].strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
