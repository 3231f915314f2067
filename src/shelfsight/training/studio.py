"""Tell a studio picture, one product on plain ground, from a photo taken in a shop."""

from __future__ import annotations

import numpy as np
from PIL import Image

_SIDE = 64
_BORDER = 4
_PLAIN_SPREAD = 12.0
_PLAIN_SHARE = 0.8


def is_studio(picture: Image.Image) -> bool:
    """Return whether the picture's border is plain: four fifths of its pixels lie close to their median colour."""
    pixels = np.asarray(picture.resize((_SIDE, _SIDE), Image.Resampling.BOX), np.float32)
    inner = np.zeros((_SIDE, _SIDE), bool)
    inner[_BORDER:-_BORDER, _BORDER:-_BORDER] = True
    border = pixels[~inner]
    distance = np.abs(border - np.median(border, axis=0)).max(axis=1)
    return float((distance < _PLAIN_SPREAD).mean()) >= _PLAIN_SHARE
