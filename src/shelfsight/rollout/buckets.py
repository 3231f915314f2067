"""Which devices are in: from a release's salt, the device's own id and a share. Pure.

Nothing is stored, and nobody is asked: a device is in when its bucket is below the share, so one that is in at 10 %
is in at 50 %. Each release has a salt of its own, so that it is not always the same tills that go first. A device
decides the same by itself: clients/js/core/buckets.js, tested by the same cases, tests/vectors/buckets.json.
"""

from __future__ import annotations

import hashlib
import hmac

BUCKETS = 10_000
"""One for each basis point of a share. 2**32 is no multiple: the first 7,296 are likelier by one part in 429,496."""


def bucket(salt: str, device_id: str) -> int:
    """Return the bucket of a device, 0 to 9999: as good as drawn by lot, and always the same for this salt.

    The first 4 bytes, big-endian, of HMAC-SHA256 with `salt` as the key over `device_id`, both in UTF-8, modulo
    10,000. Text is taken as it is: nothing is trimmed, lowered or normalised.
    """
    digest = hmac.digest(salt.encode(), device_id.encode(), hashlib.sha256)
    return int.from_bytes(digest[:4], "big") % BUCKETS


def is_in(salt: str, device_id: str, share_bp: int) -> bool:
    """Return whether a device is among a share of them, in basis points: nobody is at 0, everybody at 10,000."""
    return bucket(salt, device_id) < share_bp
