"""Sales and webhooks by command; and a server that sends what its tills sell."""

from __future__ import annotations

import csv
import io
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.command import done, run, run_here
from tests.cli.conftest import audited
from tests.cli.test_serve import WAIT_S, serving, until
from tests.webhooks.receiver import Receiver, receiving, says, signature_by_openssl

if TYPE_CHECKING:
    from httpx2 import Client


@pytest.fixture
def shop(data: Path) -> Path:
    """A channel in Berlin's time with an apple."""
    done("channels", "add", "T_1")
    done("channels", "set", "T_1", "timeZone=Europe/Berlin")
    done("products", "add", "T_1", "--id", "apple", "--name", "=Apple", "--price", "0.35", "--currency", "EUR")
    return data


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """A server on this machine, to which webhooks may be sent."""
    monkeypatch.setenv("SHELFSIGHT_WEBHOOK_NETWORKS", "10.0.0.0/8, 127.0.0.0/8")
    with receiving() as found:
        yield found


def sell(count: int, device: str = "till 1") -> None:
    """Book sales as a till does, without a server."""
    from starlette.testclient import TestClient

    from shelfsight.app import build_app, open_services
    from shelfsight.settings import service_settings

    services = open_services(service_settings())
    headers = {"authorization": f"Bearer {done('channels', 'token', 'T_1').strip()}"}
    sales = [sale(f"{device.replace(' ', '')}-{number:04}", device) for number in range(count)]
    answer = TestClient(build_app(services), headers=headers).post(
        "/api/v1/channels/T_1/sales", json={"sales": sales}
    )
    assert answer.status_code == 200, answer.text
    services.close()


def sale(sale_id: str, device: str = "till 1") -> dict[str, Any]:
    line = {"productId": "apple", "quantity": 2}
    return {"id": sale_id, "at": "2026-11-20T10:00:00Z", "lines": [line], "device": device}


def test_sales_are_listed_exported_and_summed_up(shop: Path) -> None:
    sell(3)
    sell(1, device="till 2")
    listed = [line.split("\t") for line in done("sales", "list", "T_1").splitlines()]
    assert listed[0] == ["Number", "Received", "Device", "Lines", "Total", "Id"]
    assert [(row[0], row[2], row[3], row[4], row[5]) for row in listed[1:3]] == [
        ("4", "till 2", "1", "0.70 EUR", "till2-0000"),
        ("3", "till 1", "1", "0.70 EUR", "till1-0002"),
    ]
    assert len(json.loads(done("sales", "list", "T_1", "--json", "--limit", "2"))) == 2
    assert [one["number"] for one in json.loads(done("sales", "list", "T_1", "--json", "--device", "till 2"))] == [4]
    assert "In all\t\t\t4\t2.80 EUR" in done("sales", "summary", "T_1")
    found = json.loads(done("sales", "summary", "T_1", "--json", "--device", "till 1"))
    assert (found["sales"], found["products"][0]["quantity"]) == (3, "6")


def test_an_export_is_csv_that_no_spreadsheet_takes_orders_from(shop: Path) -> None:
    sell(2)
    exported = run("sales", "export", "T_1", encoding="latin-1")  # whatever the terminal's encoding, it is UTF-8
    assert exported.returncode == 0, exported.stderr
    text = exported.stdout.encode("latin-1").decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [(row["number"], row["sale_id"], row["name"], row["amount"]) for row in rows] == [
        ("1", "till1-0000", "'=Apple", "0.70"),
        ("2", "till1-0001", "'=Apple", "0.70"),
    ]
    documents = [json.loads(line) for line in done("sales", "export", "T_1", "--json").splitlines()]
    assert [one["lines"][0]["name"] for one in documents] == ["=Apple", "=Apple"]  # a program takes no orders anyway


def test_days_are_those_of_the_channel(shop: Path) -> None:
    sell(1)
    (found,) = json.loads(done("sales", "list", "T_1", "--json"))
    assert json.loads(done("sales", "list", "T_1", "--json", "--from", "2020-01-01", "--to", "2999-01-01")) == [found]
    assert json.loads(done("sales", "list", "T_1", "--json", "--to", "2020-01-01")) == []
    assert json.loads(done("sales", "list", "T_1", "--json", "--from", found["receivedAt"])) == [found]
    period = json.loads(done("sales", "summary", "T_1", "--json", "--from", "2026-07-01", "--to", "2026-12-01T00:00"))
    assert period["from"] == "2026-07-01T00:00:00+02:00"
    wrong = run_here("sales", "list", "T_1", "--from", "yesterday")
    assert (wrong.returncode, "--from is 'yesterday', in Europe/Berlin: write 2026-11-20" in wrong.stderr) == (
        2,
        True,
    )


@pytest.mark.parametrize(
    "command",
    [["sales", "list"], ["sales", "export"], ["sales", "summary"], ["webhooks", "list"]],
)
def test_a_channel_that_is_not_there_is_said(data: Path, command: list[str]) -> None:
    refused = run_here(*command, "none")
    assert (refused.returncode, "channel 'none' is not there" in refused.stderr) == (1, True)


def test_a_webhook_is_added_tried_listed_and_removed(shop: Path, receiver: Receiver) -> None:
    made = run_here("webhooks", "add", "T_1", receiver.url())
    secret = made.stdout.strip()
    assert secret.startswith("whsec_")
    assert "it is not shown again" in made.stderr
    (known,) = json.loads(done("webhooks", "list", "T_1", "--json"))
    assert (known["url"], known["events"], known["createdBy"]) == (receiver.url(), ["sale.recorded"], "cli:anna")
    assert secret not in done("webhooks", "list", "T_1")
    assert done("webhooks", "test", "T_1", known["id"]) == "Arrived: the server answers 204\n"
    (message,) = receiver.messages
    assert message.headers["webhook-signature"] == signature_by_openssl(message, secret)
    receiver.answers["/hook"] = says(500)
    failed = run_here("webhooks", "test", "T_1", known["id"])
    assert failed.returncode == 1
    assert failed.stderr == "Error: the event did not arrive: the server answers 500\n"
    listed = [line.split("\t") for line in done("webhooks", "deliveries", "T_1", known["id"]).splitlines()]
    assert [(row[1], row[2], row[3], row[6]) for row in listed[1:]] == [
        ("webhook.test", "failed", "1", "the server answers 500"),
        ("webhook.test", "delivered", "1", "–"),
    ]
    arrived = json.loads(done("webhooks", "deliveries", "T_1", known["id"], "--state", "delivered", "--json"))
    delivery = str(arrived[0]["id"])
    assert done("webhooks", "retry", "T_1", known["id"], delivery) == f"Delivery {delivery} is sent again\n"
    assert done("webhooks", "remove", "T_1", known["id"]) == f"Removed {known['id']}\n"
    assert json.loads(done("webhooks", "list", "T_1", "--json")) == []
    actions = ("webhook_added", "webhook_tested", "webhook_delivery_retried", "webhook_removed")
    assert [len(audited(action)) for action in actions] == [1, 2, 1, 1]


def test_a_webhook_as_json_is_the_document_of_rest(shop: Path, receiver: Receiver) -> None:
    made = json.loads(done("webhooks", "add", "T_1", receiver.url(), "--event", "sale.recorded", "--json"))
    assert (made["secret"][:6], made["disabledAt"]) == ("whsec_", None)
    tried = json.loads(done("webhooks", "test", "T_1", made["id"], "--json"))
    assert (tried["state"], tried["status"]) == ("delivered", 204)


def test_a_webhook_to_the_inside_is_refused(shop: Path) -> None:
    for url in ("http://127.0.0.1:8000/hook", "http://10.0.0.5/"):
        refused = run_here("webhooks", "add", "T_1", url)
        assert (refused.returncode, "not on the public internet" in refused.stderr) == (2, True)


def test_a_network_that_is_none_is_said(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELFSIGHT_WEBHOOK_NETWORKS", "10.0.0.5/8")
    refused = run_here("channels", "list")
    assert refused.returncode == 2
    assert "SHELFSIGHT_WEBHOOK_NETWORKS: 10.0.0.5/8 has host bits set" in refused.stderr


def test_a_server_sends_what_its_tills_sell_and_what_was_left_when_it_was_killed(
    shop: Path, receiver: Receiver
) -> None:
    secret = done("webhooks", "add", "T_1", receiver.url()).strip()
    key = done("channels", "token", "T_1").strip()
    stuck = threading.Event()

    def never(_handler: Any) -> None:
        stuck.wait(WAIT_S)

    receiver.answers["/hook"] = never
    with serving("--trainings", "0") as server:
        with server.client(authorization=f"Bearer {key}") as client:
            _sell(client, "sale-0001")
        until(lambda: len(receiver.messages) == 1)
        server.process.kill()
    stuck.set()
    receiver.answers.clear()
    (waiting,) = _deliveries()
    assert (waiting["state"], waiting["attempts"]) == ("pending", 1)
    _let_time_pass()
    with serving("--trainings", "0") as server:
        until(lambda: len(receiver.messages) == 2)
        until(lambda: [one["state"] for one in _deliveries()] == ["delivered"])
        code, _ = server.end()
    assert code == 0
    first, second = receiver.messages
    assert first.id == second.id
    assert second.headers["webhook-signature"] == signature_by_openssl(second, secret)
    assert json.loads(second.body)["data"]["sale"]["id"] == "sale-0001"


def _sell(client: Client, sale_id: str) -> None:
    answer = client.post("/api/v1/channels/T_1/sales", json={"sales": [sale(sale_id)]})
    assert answer.status_code == 200, answer.text


def _deliveries() -> list[dict[str, Any]]:
    (webhook,) = json.loads(done("webhooks", "list", "T_1", "--json"))
    found: list[dict[str, Any]] = json.loads(done("webhooks", "deliveries", "T_1", webhook["id"], "--json"))
    return found


def _let_time_pass() -> None:
    import sqlite3

    path = Path(os.environ["SHELFSIGHT_DATA_DIR"]) / "shelfsight.db"
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE webhook_deliveries SET next_at = '2026-01-01T00:00:00.000000Z'")
    connection.close()
