"""Views: the same picture as a till might see it, each a 224-pixel square.

A view is a pure function of the picture and the view's name, so that an embedding can be cached by
(SHA-256 of the picture, backbone, view). `whole` is exactly what a client feeds: the centre square, scaled.
The others are the classic augmentations of image classification (Inception-style crops, flips, colour jitter),
drawn as one affine transform and one colour matrix each, which keeps them cheaper than the network itself.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np
from PIL import Image

from shelfsight.catalog.picture import centre_square

GENERATION = 1
"""Counts up when any view of a picture comes out differently, so that embeddings of older views are not reused."""

WHOLE = "whole"
FLIP = "flip"
_AREA = (0.35, 1.0)
_ASPECT = (3 / 4, 4 / 3)
_ROTATION_DEGREES = 15.0
_JITTER = 0.3
_GREY = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601 luma
_FILL = (127, 127, 127)


def view_names(crops: int) -> tuple[str, ...]:
    """Return the names of the whole view, its mirror image and `crops` random crops."""
    return (WHOLE, FLIP, *(f"crop-{index}" for index in range(1, crops + 1)))


def make_view(picture: Image.Image, sha256: str, name: str, size: int) -> Image.Image:
    """Return the view `name` of a picture, an RGB image of `size` x `size` pixels."""
    if name == WHOLE:
        return centre_square(picture, size)
    if name == FLIP:
        return centre_square(picture, size).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    seed = hashlib.sha256(f"{sha256}/{name}".encode()).digest()
    random = np.random.default_rng(int.from_bytes(seed[:8], "little"))
    return _jitter(_crop(picture, size, random), random)


def _crop(picture: Image.Image, size: int, random: np.random.Generator) -> Image.Image:
    """Return a random part of the picture, rotated, stretched and perhaps mirrored, in one transform."""
    width, height = picture.size
    area = width * height * random.uniform(*_AREA)
    aspect = math.exp(random.uniform(math.log(_ASPECT[0]), math.log(_ASPECT[1])))
    across, down = min(width, math.sqrt(area * aspect)), min(height, math.sqrt(area / aspect))
    x = random.uniform(0, width - across) + across / 2
    y = random.uniform(0, height - down) + down / 2
    angle = math.radians(random.uniform(-_ROTATION_DEGREES, _ROTATION_DEGREES))
    mirror = -1.0 if random.random() < 0.5 else 1.0
    # Pillow asks for the inverse: from a pixel of the result to the place in the picture it is read from.
    a, b = mirror * math.cos(angle) * across / size, -math.sin(angle) * down / size
    d, e = mirror * math.sin(angle) * across / size, math.cos(angle) * down / size
    half = size / 2
    matrix = (a, b, x - a * half - b * half, d, e, y - d * half - e * half)
    return picture.transform((size, size), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, fillcolor=_FILL)


def _jitter(image: Image.Image, random: np.random.Generator) -> Image.Image:
    """Return the image with brightness, contrast and saturation changed, as one colour matrix."""
    brightness, contrast, saturation = random.uniform(1 - _JITTER, 1 + _JITTER, 3)
    colours = saturation * np.eye(3) + (1 - saturation) * _GREY
    grey = float(np.asarray(image.resize((1, 1), Image.Resampling.BOX)).reshape(3) @ _GREY)
    matrix = np.column_stack([brightness * contrast * colours, np.full(3, grey * (1 - contrast) * brightness)])
    return image.convert("RGB", tuple(float(value) for value in matrix.ravel()))
