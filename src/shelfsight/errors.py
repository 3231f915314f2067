"""Every error that Shelfsight raises on purpose. The message says what, which, and what to do.

ShelfsightError                  exit 1, HTTP 500 unless said otherwise
├── UsageError                   the call itself is wrong                                 exit 2, HTTP 422
│   ├── ProductNotFoundError     a sale names what the channel does not sell
│   └── QueryError               a query of PostgREST's language cannot be answered     HTTP 400
├── SourceError                  the photos given for training cannot be used
│   └── TooFewProductsError      fewer than two products have a usable photo
├── PictureError                 one picture cannot be used                               HTTP 422
├── UnreachableError             an address on the web may not be asked, or is silent      HTTP 422
├── BackboneError                backbone weights are damaged or unknown
├── BundleError                  a bundle is missing, damaged or inconsistent             HTTP 422
├── ShapeError                   an array has another shape than it must have
├── OutputError                  a result could not be written
├── NotFoundError                what is asked for is not there                           HTTP 404
├── ConflictError                it contradicts what is there                             exit 3, HTTP 409
│   ├── BusyError                another does, or took over, what only one at a time may do
│   └── SaleConflictError        a sale of that id was booked with other contents
├── StaleWriteError              somebody changed it since it was read                    exit 3, HTTP 412
├── AuthenticationError          nobody known is asking                                   HTTP 401
├── AccessError                  who asks may not do this                                 HTTP 403
├── TooLargeError                more bytes than are taken                                HTTP 413
├── TooManyRequestsError         asked too often                                          HTTP 429
├── ConfigRefusedError           a device would not accept the config
├── OrderRefusedError            a sale becomes no order in the shop's own software
├── JobCancelledError            somebody asked for the end of a job
├── JobFailedError               a step of a job failed
├── PartnerError                 an outside system refuses what it is asked               HTTP 502
│   └── VendureError             a Vendure server does
│       └── VendureAccessError   it does not know who asks, or lets them not do this
└── UnavailableError             something we depend on does not answer; try again        HTTP 503
    ├── UncertainError           it was asked to do something, and may have done it
    ├── StorageError             files cannot be read or written
    └── DatabaseError            the database does not answer, or refuses
        └── SchemaError          its tables are of another version of Shelfsight
"""

from __future__ import annotations

import re
from enum import StrEnum


class ShelfsightError(Exception):
    """Base of all errors whose message is meant for the person at the keyboard."""

    exit_code = 1
    http_status = 500
    parts: tuple[tuple[str, str], ...] = ()
    """Which parts of a request are wrong, and why, if it has many: (`body.sales.0.id`, a reason)."""

    @property
    def code(self) -> str:
        """Return the name of the error as programs read it: NotFoundError is `not_found`."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", type(self).__name__.removesuffix("Error")).lower()


class UsageError(ShelfsightError):
    """The command or call is wrong, whatever the data."""

    exit_code = 2
    http_status = 422


class ProductNotFoundError(UsageError):
    """A sale names a product that is not there, was deleted, or belongs to another channel."""

    def __init__(self, reason: str, *, parts: tuple[tuple[str, str], ...]) -> None:
        """Say which products of which sales."""
        super().__init__(reason)
        self.parts = parts


class QueryError(UsageError):
    """A query in PostgREST's language cannot be read, or answered.

    Attributes:
        reason: PostgREST's code, or PostgreSQL's, such as `PGRST100` or `42703`.
        details: more about it.
        hint: what to do.
    """

    def __init__(
        self, message: str, reason: str, *, status: int = 400, details: str | None = None, hint: str | None = None
    ) -> None:
        """Say what is wrong, in the words and with the code that clients know."""
        super().__init__(message)
        self.http_status = status
        self.reason = reason
        self.details = details
        self.hint = hint


class SourceError(ShelfsightError):
    """The folder or CSV given for training or evaluation cannot be used."""


class TooFewProductsError(SourceError):
    """Fewer than two products have a usable picture, so there is nothing to tell apart."""


class PictureError(ShelfsightError):
    """One picture cannot be used; the message is the reason alone, the caller knows which picture."""

    http_status = 422


class UnreachableError(ShelfsightError):
    """An address on the web that somebody named does not answer, or may not be asked; the message is the reason."""

    http_status = 422


class BackboneError(ShelfsightError):
    """A backbone file is damaged, unknown or not one of ours."""


class BundleError(ShelfsightError):
    """A bundle is missing, damaged, or its files do not belong together."""

    http_status = 422


class ShapeError(ShelfsightError):
    """An array has another shape than the function documents."""


class OutputError(ShelfsightError):
    """A result could not be written to where it should go; what was there is still there."""


class NotFoundError(ShelfsightError):
    """The channel, product, version or file asked for is not there."""

    http_status = 404


class ConflictError(ShelfsightError):
    """The call is fine by itself, and contradicts what is there."""

    exit_code = 3
    http_status = 409


class BusyError(ConflictError):
    """Another does what only one at a time may do, or has taken it over from this one."""


class SaleConflictError(ConflictError):
    """A sale of that id was booked already, and with other contents."""

    def __init__(self, reason: str, *, parts: tuple[tuple[str, str], ...]) -> None:
        """Say which sales."""
        super().__init__(reason)
        self.parts = parts


class StaleWriteError(ShelfsightError):
    """Somebody changed the thing since the caller read it: re-read and try again."""

    exit_code = 3
    http_status = 412


class AuthenticationError(ShelfsightError):
    """The request names nobody we know: no token, or a wrong, expired or revoked one."""

    http_status = 401


class AccessError(ShelfsightError):
    """Who asks is known and may not do this."""

    http_status = 403


class TooLargeError(ShelfsightError):
    """More bytes were sent than are taken."""

    http_status = 413


class TooManyRequestsError(ShelfsightError):
    """The same address or token asks too often; later is fine."""

    http_status = 429


class Refusal(StrEnum):
    """Why a device does not accept a config; the same words in every client."""

    TOO_LARGE = "too_large"
    MALFORMED = "malformed"
    UNSIGNED = "unsigned"
    UNKNOWN_KEY = "unknown_key"
    BAD_SIGNATURE = "bad_signature"
    OTHER_CHANNEL = "other_channel"
    EXPIRED = "expired"
    REPLAYED = "replayed"


class ConfigRefusedError(ShelfsightError):
    """A device would not accept the config, and keeps the one it has.

    Attributes:
        reason: why, as programs read it.
    """

    def __init__(self, message: str, *, reason: Refusal) -> None:
        """Say why, for people and for programs."""
        super().__init__(message)
        self.reason = reason


class OrderRefusedError(ShelfsightError):
    """A sale becomes no order in the shop's own software, however often it is tried: somebody has to look at it."""


class PartnerError(ShelfsightError):
    """An outside system answers, and refuses what it is asked; asking again changes nothing."""

    http_status = 502


class VendureError(PartnerError):
    """A Vendure server refuses what was asked of it.

    Attributes:
        reason: Vendure's code, or one of `partners.vendure.answers`, such as `ENTITY_NOT_FOUND`; empty for none.
    """

    def __init__(self, message: str, *, reason: str = "") -> None:
        """Say what is refused, for people and for programs."""
        super().__init__(message)
        self.reason = reason


class VendureAccessError(VendureError):
    """Vendure does not know who asks, or does not let them do this: somebody has to change that there."""


class UnavailableError(ShelfsightError):
    """Something that Shelfsight depends on does not answer; nothing is lost, and a later try may work."""

    http_status = 503


class UncertainError(UnavailableError):
    """An outside system was asked to do something and gave no answer: it may have done it, and may not."""


class StorageError(UnavailableError):
    """Files cannot be read or written: no permission, no room, no network."""


class DatabaseError(UnavailableError):
    """The database does not answer, or refuses what was asked of it."""


class SchemaError(DatabaseError):
    """The database's tables are of another version of Shelfsight."""


class JobCancelledError(ShelfsightError):
    """Somebody asked for the end of the job."""


class JobFailedError(ShelfsightError):
    """A step of a job failed; the same on the worker that saw it fail and on one that goes on after it.

    Attributes:
        step: the name of the step.
        error: the code of the error, such as `too_few_products`.
    """

    def __init__(self, reason: str, *, step: str, error: str) -> None:
        """Say which step failed, and why."""
        super().__init__(reason)
        self.step = step
        self.error = error

    @property
    def data(self) -> dict[str, str]:
        """What is kept of it."""
        return {"step": self.step, "error": self.error}
