"""What is said of an address or a name that MongoDB cannot have."""

from __future__ import annotations

import pytest

from shelfsight.errors import UsageError
from shelfsight.partners.mongo import Mongo


@pytest.mark.parametrize("password", ["hun/ter2", "hun:ter2", "hun@ter2", "hun?ter2", "hun%ter2", "hun#ter2/x"])
def test_a_password_that_was_not_encoded_is_not_shown(password: str) -> None:
    with pytest.raises(UsageError, match=r"MONGO_URI is no address of MongoDB: .*percent-encode") as raised:
        Mongo(f"mongodb://anna:{password}@host/shop")
    assert "ter2" not in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("database", "name"), [("my shop", "x"), ("a.b", "x"), ("x", "a$b"), ("x", "..")])
def test_a_name_that_no_collection_can_have_is_said_in_one_sentence(database: str, name: str) -> None:
    mongo = Mongo("mongodb://localhost/")
    with pytest.raises(UsageError, match="can be no collection of MongoDB"):
        mongo.collection(database, name)
    mongo.close()
