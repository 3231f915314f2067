"""Whatever a shop calls a picture is opened right or refused with a reason."""

from __future__ import annotations

import io
import math
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from shelfsight.catalog.picture import MAX_BYTES, MAX_PIXELS, centre_square, open_picture, read_picture
from shelfsight.errors import PictureError


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(open_picture(data), np.int16)


@pytest.fixture(scope="module")
def corners() -> Image.Image:
    """A picture whose quarters are red, green, blue and white, so that every turn shows."""
    image = Image.new("RGB", (80, 60))
    for place, colour in {(0, 0): "red", (40, 0): "lime", (0, 30): "blue", (40, 30): "white"}.items():
        image.paste(colour, (*place, place[0] + 40, place[1] + 30))
    return image


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_on_its_side_is_turned_upright(corners: Image.Image, orientation: int) -> None:
    stored = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = corners.transpose(stored[orientation]) if orientation in stored else corners
    shown = pixels(encoded(turned, "PNG", exif=exif))
    assert np.abs(shown - np.asarray(corners, np.int16)).max() == 0


def test_cmyk_from_a_printer_keeps_its_colours(corners: Image.Image) -> None:
    shown = pixels(encoded(corners.convert("CMYK"), "JPEG", quality=95))
    assert np.abs(shown - np.asarray(corners, np.int16)).mean() < 8


def test_16_bit_grey_is_scaled_and_not_clipped_to_white() -> None:
    ramp = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    shown = pixels(encoded(Image.fromarray(ramp), "PNG"))
    assert np.abs(shown[..., 0] - ramp / 257).max() <= 1


def test_a_palette_picture_is_shown_in_its_colours(corners: Image.Image) -> None:
    shown = pixels(encoded(corners.convert("P", palette=Image.Palette.ADAPTIVE), "PNG"))
    assert np.abs(shown - np.asarray(corners, np.int16)).max() <= 2


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_becomes_white(mode: str) -> None:
    image = Image.new("RGBA", (40, 40), (0, 0, 0, 0))
    options = {"transparency": 0} if mode == "P" else {}
    shown = pixels(encoded(image.convert(mode), "PNG", **options))
    assert shown.min() == 255


def test_of_an_animation_the_first_frame_is_taken() -> None:
    frames = [Image.new("RGB", (40, 40), colour) for colour in ("red", "lime", "blue")]
    for kind in ("GIF", "WEBP", "PNG"):
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
        assert tuple(pixels(data)[20, 20]) == pytest.approx((255, 0, 0), abs=6)


def test_colours_of_another_profile_become_srgb(corners: Image.Image) -> None:
    """The profile is sRGB with red and blue changed places, so that red pixels must come out blue."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = srgb.replace(b"rXYZ", b"tXYZ").replace(b"bXYZ", b"rXYZ").replace(b"tXYZ", b"bXYZ")
    swapped = swapped.replace("sRGB".encode("utf-16-be"), "test".encode("utf-16-be"))
    shown = pixels(encoded(corners, "PNG", icc_profile=swapped))
    assert np.abs(shown - np.asarray(corners, np.int16)[..., ::-1]).max() <= 3


def test_a_profile_for_another_kind_of_picture_is_ignored(corners: Image.Image) -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    shown = pixels(encoded(corners, "PNG", icc_profile=lab.tobytes()))
    assert np.abs(shown - np.asarray(corners, np.int16)).max() == 0


def test_a_broken_colour_profile_is_ignored(corners: Image.Image) -> None:
    shown = pixels(encoded(corners, "PNG", icc_profile=b"not a profile"))
    assert np.abs(shown - np.asarray(corners, np.int16)).max() == 0


def test_large_photos_come_out_small_and_small_ones_as_they_are() -> None:
    large = open_picture(encoded(Image.new("RGB", (4000, 3000), "teal"), "JPEG"), short_side=352)
    assert large.size == (469, 352)
    assert open_picture(encoded(Image.new("RGB", (50, 40)), "PNG"), short_side=352).size == (50, 40)


def test_the_centre_square_is_what_a_client_feeds(corners: Image.Image) -> None:
    square = np.asarray(centre_square(corners, 60))
    assert square.shape == (60, 60, 3)
    assert np.array_equal(square, np.asarray(corners)[:, 10:70])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"just some text that is no picture", "not a picture"),
        (b"\x00\x00\x00\x18ftypheic" + bytes(40), "HEIC"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture"),
        (encoded(Image.new("RGB", (8, 300)), "PNG"), "too small"),
    ],
)
def test_what_is_no_picture_is_refused_with_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises(PictureError, match=reason):
        open_picture(data)


def test_a_cut_off_photo_is_refused(corners: Image.Image) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8))
    for kind in ("JPEG", "PNG", "WEBP"):
        data = encoded(noise, kind)
        with pytest.raises(PictureError):
            open_picture(data[: len(data) // 2])


def test_a_decompression_bomb_is_refused_without_being_unpacked() -> None:
    side = math.isqrt(MAX_PIXELS) + 1  # far below the size at which Pillow itself would refuse
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    bomb = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(1000)))
        + chunk(b"IEND", b"")
    )
    with pytest.raises(PictureError, match="too large"):
        open_picture(bomb)


def test_a_photo_of_200_megapixels_is_decoded_at_a_fraction() -> None:
    shown = open_picture(encoded(Image.new("L", (16320, 12240), 90), "JPEG"))
    assert shown.size == (469, 352)


def test_a_file_larger_than_any_photo_is_not_read(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    with clip.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(PictureError, match="too large to be a photo"):
        read_picture(clip)


def test_a_large_transparent_picture_is_scaled_before_it_is_copied(tmp_path: Path) -> None:
    Image.new("RGBA", (7000, 7000), (200, 30, 30, 120)).save(tmp_path / "large.png", compress_level=1)
    script = (
        "import sys, pathlib\n"
        "from shelfsight.catalog.picture import open_picture, read_picture\n"
        "open_picture(read_picture(pathlib.Path(sys.argv[1])))\n"
        "lines = open('/proc/self/status').read().splitlines()\n"
        "print([line.split()[1] for line in lines if line.startswith('VmHWM:')][0])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "large.png")], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) * 1024 < 600_000_000  # 196 MB of pixels, twice; put on white at full size, four times


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["JPEG", "PNG", "WEBP", "AVIF", "GIF", "TIFF", "BMP"]), st.data())
def test_a_damaged_file_is_opened_or_refused_and_nothing_else(kind: str, data: st.DataObject) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 48, 3), dtype=np.uint8)
    picture = bytearray(encoded(Image.fromarray(noise), kind))
    for _ in range(data.draw(st.integers(1, 8))):
        picture[data.draw(st.integers(0, len(picture) - 1))] = data.draw(st.integers(0, 255))
    try:
        opened = open_picture(bytes(picture))
    except PictureError:
        return
    assert opened.mode == "RGB"
