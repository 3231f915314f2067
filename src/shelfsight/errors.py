"""Every error that Shelfsight raises on purpose. The message says what, which, and what to do.

ShelfsightError
├── UsageError              the call itself is wrong                      cli exit 2
├── SourceError             the photos given for training cannot be used  cli exit 1
│   └── TooFewProductsError fewer than two products have a usable photo
├── PictureError            one picture cannot be used
├── BackboneError           backbone weights are damaged or unknown
├── BundleError             a bundle is missing, damaged or inconsistent
├── ShapeError              an array has another shape than it must have
└── OutputError             a result could not be written
"""

from __future__ import annotations


class ShelfsightError(Exception):
    """Base of all errors whose message is meant for the person at the keyboard."""

    exit_code = 1


class UsageError(ShelfsightError):
    """The command or call is wrong, whatever the data."""

    exit_code = 2


class SourceError(ShelfsightError):
    """The folder or CSV given for training or evaluation cannot be used."""


class TooFewProductsError(SourceError):
    """Fewer than two products have a usable picture, so there is nothing to tell apart."""


class PictureError(ShelfsightError):
    """One picture cannot be used; the message is the reason alone, the caller knows which picture."""


class BackboneError(ShelfsightError):
    """A backbone file is damaged, unknown or not one of ours."""


class BundleError(ShelfsightError):
    """A bundle is missing, damaged, or its files do not belong together."""


class ShapeError(ShelfsightError):
    """An array has another shape than the function documents."""


class OutputError(ShelfsightError):
    """A result could not be written to where it should go; what was there is still there."""
