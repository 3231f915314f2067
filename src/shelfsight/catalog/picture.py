"""Open a picture from a stranger: checked, upright, sRGB, and no larger than it needs to be.

Whatever a shop has comes in here: photos on their side (EXIF), CMYK from a printer, 16-bit scans, palettes,
animations, transparency, wide-gamut phone photos, broken and hostile files.
"""

from __future__ import annotations

import io
import threading
from contextlib import nullcontext
from typing import TYPE_CHECKING

from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError

from shelfsight.errors import PictureError

if TYPE_CHECKING:
    from pathlib import Path

Image.MAX_IMAGE_PIXELS = None  # Pillow judges a size before `draft` can shrink it; MAX_PIXELS judges it after

MAX_PIXELS = 50_000_000
"""Most pixels that are decoded of one picture, 200 MB; a JPEG may have 64 times as many, decoded at an eighth."""

MAX_BYTES = 100_000_000
"""Largest file that is read: no photo of so many pixels needs more."""

WORKING_SIDE = 352
"""Short side, in pixels, at which pictures are opened to be learned or recognised: 1.6 times what a network sees."""

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
_CHECKED_SIDE = 64
_MIN_SIDE = 16
_LARGE_PIXELS = 12_000_000
_LARGE = threading.Semaphore()
"""Held while a large picture is decoded: one at a time, whatever the number of threads, bounds the memory."""
_SRGB = ImageCms.createProfile("sRGB")
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""How to turn a picture upright, by its EXIF orientation."""
_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"mif1", b"msf1")


def read_picture(path: Path) -> bytes:
    """Return the bytes of a picture's file.

    Raises:
        PictureError: the file cannot be read, or is larger than `MAX_BYTES`.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise PictureError(f"too large to be a photo ({size / 1e6:,.0f} MB)")
        return path.read_bytes()
    except OSError as exc:
        raise PictureError(f"the file cannot be read ({exc.strerror})") from exc


def open_picture(data: bytes, *, short_side: int = WORKING_SIDE) -> Image.Image:
    """Return the picture as an upright 8-bit sRGB image, its short side at most `short_side` pixels.

    Large JPEGs are decoded at a fraction of their size. Of an animation the first frame is taken; what is
    transparent becomes white.

    Raises:
        PictureError: the bytes are no picture, are truncated, or hold more than `MAX_PIXELS`.
    """
    if not data:
        raise PictureError("the file is empty")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return _prepare(image, short_side)
    except UnidentifiedImageError:
        raise PictureError(_unknown(data)) from None
    except PictureError:
        raise
    except Exception as exc:  # decoders of seven formats raise whatever they like on damaged bytes
        raise PictureError(f"damaged or cut off ({exc})") from exc


def check_picture(data: bytes) -> None:
    """Check that `open_picture` can open a picture; quicker, for it is decoded as small as its format allows.

    Raises:
        PictureError: it cannot.
    """
    open_picture(data, short_side=_CHECKED_SIDE)
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        _draft(image, WORKING_SIDE)


def centre_square(picture: Image.Image, size: int) -> Image.Image:
    """Return the centre square of the short side, scaled to `size` pixels: what Teachable Machine clients feed."""
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    box = (left, top, left + side, top + side)
    return picture.resize((size, size), Image.Resampling.BILINEAR, box=box, reducing_gap=2.0)


def _prepare(image: Image.Image, short_side: int) -> Image.Image:
    pixels = _draft(image, short_side)
    with _LARGE if pixels > _LARGE_PIXELS else nullcontext():
        image.load()
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
        profile = image.info.get("icc_profile")
        scaled = _scaled(_scalable(image), short_side)
        if scaled is not image:
            image.close()  # frees its pixels before the next large picture is decoded
    small = _on_white(scaled)
    coloured = _srgb(small, profile)
    return coloured.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else coloured


def _draft(image: Image.Image, short_side: int) -> int:
    """Let an image be decoded no larger than it needs to be; return how many pixels that are."""
    width, height = image.size
    if min(width, height) < _MIN_SIDE:
        raise PictureError(f"too small ({width} x {height} pixels): nothing could be seen on it")
    image.draft("RGB", (short_side, short_side))
    pixels = image.width * image.height
    if pixels > MAX_PIXELS:
        most = MAX_PIXELS // 1_000_000
        raise PictureError(f"too large ({width} x {height} pixels; at most {most} million are decoded)")
    return pixels


def _scalable(image: Image.Image) -> Image.Image:
    """Return the image without palette or more than 8 bits, ready to be scaled."""
    if image.mode.startswith("I;16"):
        image = image.convert("I")
    if image.mode in ("I", "F"):
        return _eight_bit(image)
    if "transparency" in image.info or image.mode in ("PA", "La", "RGBa"):
        return image.convert("RGBA")
    return image if image.mode in ("RGB", "CMYK", "L", "LA", "RGBA") else image.convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    """Return the image with white where it is transparent."""
    if image.mode not in ("LA", "RGBA"):
        return image
    coloured = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", coloured.size, "white"), coloured)


def _eight_bit(image: Image.Image) -> Image.Image:
    """Return 16-bit grey scaled to 8 bits, where Pillow's own conversion clips everything bright to white."""
    low, high = image.getextrema()
    if not (isinstance(low, (int, float)) and isinstance(high, (int, float)) and 0 <= low <= high <= 65535):
        raise PictureError(f"its pixels ({image.mode}, {low} to {high}) are measurements, not a photo")
    return image.point(lambda value: value * (1 / 257 if high > 255 else 1.0)).convert("L")


def _scaled(image: Image.Image, short_side: int) -> Image.Image:
    shrink = min(image.size) / short_side
    if shrink <= 1:
        return image
    size = (round(image.width / shrink), round(image.height / shrink))
    return image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)


def _srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    if profile and image.mode in ("RGB", "CMYK"):
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if "sRGB" not in ImageCms.getProfileDescription(source):
                return ImageCms.profileToProfile(image, source, _SRGB, outputMode="RGB") or image
        except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
            pass  # a broken profile: browsers ignore it too
    return image.convert("RGB")


def _unknown(data: bytes) -> str:
    if data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS:
        return "HEIC/HEIF is not supported: export the photo as JPEG"
    return "not a picture in a known format (JPEG, PNG, WebP, AVIF, GIF, BMP or TIFF)"
