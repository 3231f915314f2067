"""The server as a whole."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.core.result import Ok
from sqlalchemy import text

from shelfsight.app import open_services
from shelfsight.settings import ServiceSettings

if TYPE_CHECKING:
    from pathlib import Path

    from schemathesis import Case

    from tests.api.conftest import World


def test_the_server_starts_without_numerics() -> None:
    heavy = ("numpy", "onnx", "onnxruntime", "torch")
    script = f"import sys, shelfsight.app; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_settings_show_no_password() -> None:
    shown = repr(ServiceSettings(database_url="postgresql://shop:hunter2@db/x", storage_url="s3://id:hunter2@b"))
    assert "hunter2" not in shown
    assert "assets_url" in shown


def test_it_lives_and_is_ready(each_world: World) -> None:
    client = each_world.client()
    assert client.get("/healthz").json() == client.get("/readyz").json() == {"status": "ok"}


def test_it_is_not_ready_with_the_tables_of_another_version(world: World) -> None:
    with world.database.write() as connection:
        connection.execute(text("UPDATE schema_version SET version_num = '0000'"))
    answer = world.client().get("/readyz")
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:shelfsight:problem:schema")
    assert world.client().get("/healthz").status_code == 200


def test_it_is_not_ready_without_its_storage(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from shelfsight.errors import StorageError

    def away(_path: str) -> bool:
        raise StorageError("bucket of hunter2 is away")

    monkeypatch.setattr(world.app.state.services.storage, "exists", away)
    answer = world.client().get("/readyz")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert "hunter2" not in answer.text


def test_services_are_opened_from_settings_alone(tmp_path: Path) -> None:
    url, folder = f"sqlite:///{tmp_path / 'new' / 'shelfsight.db'}", str(tmp_path / "assets")
    services = open_services(ServiceSettings(database_url=url, storage_url=folder))
    assert (tmp_path / "new" / "shelfsight.db").is_file()
    services.close()


def test_every_answer_carries_the_headers_that_protect(world: World) -> None:
    client = world.client()
    for path in ("/healthz", "/nothing", "/api/v1/me", "/setup", "/docs", "/openapi.json"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert "form-action 'none'" in headers["content-security-policy"]


def test_the_description_says_who_may_ask_and_how_problems_look(world: World) -> None:
    description = world.client().get("/openapi.json").json()
    assert description["info"]["title"] == "Shelfsight"
    assert set(description["components"]["securitySchemes"]) == {"token", "session"}
    post = description["paths"]["/api/v1/tokens"]["post"]
    assert post["security"] == [{"token": []}, {"session": []}]
    assert "application/problem+json" in post["responses"]["4XX"]["content"]
    assert [one["name"] for one in post["parameters"]] == ["Idempotency-Key"]
    assert "422" not in post["responses"]
    assert "ProblemDocument" in description["components"]["schemas"]


def test_the_page_about_the_api_loads_nothing_from_elsewhere(world: World) -> None:
    page = world.client().get("/docs").text
    assert "/openapi.json" in page
    assert "http" not in page


def test_files_are_answered_in_front_of_everything_else(world: World) -> None:
    answer = world.client().get("/assets/ml-models/T_1/latest/model.json")
    assert answer.status_code == 404
    assert answer.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("mode", GenerationMode)
def test_it_keeps_to_its_description_whatever_is_sent(world: World, mode: GenerationMode) -> None:
    authorization = {"Authorization": world.client("admin").headers["authorization"]}
    api = schemathesis.openapi.from_asgi("/openapi.json", world.app)
    for found in api.include(path_regex="^/(api/v1/|healthz|readyz)").get_all_operations():
        assert isinstance(found, Ok)

        @settings(max_examples=10, suppress_health_check=list(HealthCheck))
        @given(found.ok().as_strategy(generation_mode=mode))
        def holds(case: Case[Any]) -> None:
            answer = case.call(headers=authorization)
            # What no schema can say, such as when a token may expire, is refused though the schema allows it.
            case.validate_response(answer, excluded_checks=[schemathesis.checks.positive_data_acceptance])

        with suppress(Unsatisfiable):  # nothing can be wrong with a request that has no parts
            holds()


def test_what_is_there_survives_whatever_is_sent(each_world: World) -> None:
    client = each_world.client("admin")
    client.post("/api/v1/channels/T_1/products", json={"id": "P_1", "name": "Apple"})
    api = schemathesis.openapi.from_asgi("/openapi.json", each_world.app)
    there = (
        api.include(path_regex="^/api/v1/channels/{channel_id}")
        .exclude(method="DELETE")
        .exclude(
            path_regex="/events$"  # it lasts for as long as a training does
        )
    )
    for found in there.get_all_operations():
        assert isinstance(found, Ok)

        @settings(max_examples=25, suppress_health_check=list(HealthCheck))
        @given(found.ok().as_strategy())
        def holds(case: Case[Any]) -> None:
            case.path_parameters.update({"channel_id": "T_1"})
            if "product_id" in case.path_parameters:
                case.path_parameters["product_id"] = "P_1"
            answer = case.call(headers={"Authorization": client.headers["authorization"]})
            assert answer.status_code < 500

        holds()
    assert client.get("/healthz").status_code == 200
