"""A view is a pure function of the picture and its name."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from shelfsight.catalog.picture import centre_square
from shelfsight.training.studio import is_studio
from shelfsight.training.views import FLIP, WHOLE, make_view, view_names
from tests.conftest import CORNER_SHOP


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    with Image.open(CORNER_SHOP / "carrots" / "carrots_018.jpg") as image:
        return image.convert("RGB")


def test_the_first_view_is_what_a_till_feeds(photo: Image.Image) -> None:
    assert view_names(2) == (WHOLE, FLIP, "crop-1", "crop-2")
    whole = np.asarray(make_view(photo, "sha", WHOLE, 224))
    assert np.array_equal(whole, np.asarray(centre_square(photo, 224)))
    assert np.array_equal(np.asarray(make_view(photo, "sha", FLIP, 224)), whole[:, ::-1])


def test_every_view_is_the_same_each_time_and_unlike_the_others(photo: Image.Image) -> None:
    drawn = {name: make_view(photo, "sha", name, 224).tobytes() for name in view_names(10)}
    assert drawn == {name: make_view(photo, "sha", name, 224).tobytes() for name in view_names(10)}
    assert len(set(drawn.values())) == 12


def test_another_picture_gets_other_crops(photo: Image.Image) -> None:
    assert make_view(photo, "one", "crop-1", 224).tobytes() != make_view(photo, "two", "crop-1", 224).tobytes()


@pytest.mark.parametrize("size", [(16, 16), (20, 400), (352, 16), (400, 352)])
def test_crops_fit_pictures_of_any_shape(size: tuple[int, int]) -> None:
    picture = Image.new("RGB", size, (90, 160, 30))
    for name in view_names(8):
        view = np.asarray(make_view(picture, "sha", name, 64))
        assert view.shape == (64, 64, 3)
        assert view.std() < 60  # mostly the one colour: nothing but it and a corner of the ground shows


def test_a_product_on_white_is_a_studio_picture_and_a_shop_photo_is_not(photo: Image.Image) -> None:
    studio = Image.new("RGB", (300, 300), "white")
    studio.paste(photo.resize((150, 150)), (75, 75))
    assert is_studio(studio)
    assert not is_studio(photo)
