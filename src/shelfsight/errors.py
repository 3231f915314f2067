"""Every error that Shelfsight raises on purpose. The message says what, which, and what to do.

ShelfsightError                  exit 1, HTTP 500 unless said otherwise
├── UsageError                   the call itself is wrong                                 exit 2, HTTP 422
├── SourceError                  the photos given for training cannot be used
│   └── TooFewProductsError      fewer than two products have a usable photo
├── PictureError                 one picture cannot be used                               HTTP 422
├── BackboneError                backbone weights are damaged or unknown
├── BundleError                  a bundle is missing, damaged or inconsistent             HTTP 422
├── ShapeError                   an array has another shape than it must have
├── OutputError                  a result could not be written
├── NotFoundError                what is asked for is not there                           HTTP 404
├── ConflictError                it contradicts what is there                             exit 3, HTTP 409
│   └── PublishConflictError     another publish of the channel is running, or took over
├── StaleWriteError              somebody changed it since it was read                    exit 3, HTTP 412
├── AuthenticationError          nobody known is asking                                   HTTP 401
├── AccessError                  who asks may not do this                                 HTTP 403
├── TooLargeError                more bytes than are taken                                HTTP 413
├── TooManyRequestsError         asked too often                                          HTTP 429
├── JobCancelledError            somebody asked for the end of a job
├── JobFailedError               a step of a job failed
└── UnavailableError             something we depend on does not answer; try again        HTTP 503
    ├── StorageError             files cannot be read or written
    └── DatabaseError            the database does not answer, or refuses
        └── SchemaError          its tables are of another version of Shelfsight
"""

from __future__ import annotations

import re


class ShelfsightError(Exception):
    """Base of all errors whose message is meant for the person at the keyboard."""

    exit_code = 1
    http_status = 500

    @property
    def code(self) -> str:
        """Return the name of the error as programs read it: NotFoundError is `not_found`."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", type(self).__name__.removesuffix("Error")).lower()


class UsageError(ShelfsightError):
    """The command or call is wrong, whatever the data."""

    exit_code = 2
    http_status = 422


class SourceError(ShelfsightError):
    """The folder or CSV given for training or evaluation cannot be used."""


class TooFewProductsError(SourceError):
    """Fewer than two products have a usable picture, so there is nothing to tell apart."""


class PictureError(ShelfsightError):
    """One picture cannot be used; the message is the reason alone, the caller knows which picture."""

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


class PublishConflictError(ConflictError):
    """Another publish of the same channel is running, or has taken over from this one."""


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


class UnavailableError(ShelfsightError):
    """Something that Shelfsight depends on does not answer; nothing is lost, and a later try may work."""

    http_status = 503


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
