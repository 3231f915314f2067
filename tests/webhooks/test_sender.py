"""Events arrive, signed, at least once, whoever dies in between; and a slow server keeps no other waiting."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import delete, insert, update

from shelfsight.database.tables import webhook_deliveries, webhooks
from shelfsight.webhooks import store, subscriptions
from shelfsight.webhooks.rules import ATTEMPTS_MOST, WEBHOOKS_MOST, DeliveryState
from shelfsight.webhooks.sender import AT_ONCE, OF_CHANNEL, OF_EACH, Sender, sending
from shelfsight.webhooks.store import Hold, Room
from tests.webhooks.conftest import BY, Post
from tests.webhooks.receiver import receiving, says, signature_by_openssl

if TYPE_CHECKING:
    from http.server import BaseHTTPRequestHandler

LESS_THAN_AN_ATTEMPT_S = subscriptions.ANSWERS_WITHIN_S - 5


def test_an_event_arrives_once_with_a_signature_that_its_receiver_can_check(post: Post) -> None:
    added = post.add()
    post.emit({"name": "Käse 🧀"})
    assert post.send() == 1
    (message,) = post.receiver.messages
    assert json.loads(message.body)["data"] == {"name": "Käse 🧀"}
    assert message.headers["content-type"] == "application/json"
    assert message.headers["webhook-signature"] == signature_by_openssl(message, added.secret)
    assert abs(int(message.headers["webhook-timestamp"]) - datetime.now(UTC).timestamp()) < 60
    (delivery,) = post.deliveries(added.webhook.id)
    assert (delivery.state, delivery.attempts, delivery.status) == (DeliveryState.DELIVERED, 1, 204)
    assert delivery.message_id == message.id
    post.let_time_pass(days=1)
    assert post.send() == 0


def test_every_webhook_of_the_channel_hears_under_the_same_id_and_no_other(post: Post) -> None:
    one, other = post.add("/one"), post.add("/other")
    post.add("/elsewhere", channel="T_2")
    post.emit({"n": 1}, {"n": 2})
    assert post.send() == 4
    assert sorted(post.receiver.ids("/one")) == sorted(post.receiver.ids("/other"))
    assert len(set(post.receiver.ids("/one"))) == 2
    assert post.receiver.ids("/elsewhere") == []
    signatures = {message.path: signature_by_openssl(message, one.secret) for message in post.receiver.messages}
    sent = {message.path: message.headers["webhook-signature"] for message in post.receiver.messages}
    assert sent["/one"] == signatures["/one"]
    assert sent["/other"] != signatures["/other"]  # each has a secret of its own
    assert one.secret != other.secret


def test_without_a_webhook_nothing_is_written(post: Post) -> None:
    post.emit()
    assert post.bodies() == []


def test_a_server_that_is_down_gets_the_same_event_when_it_is_up_again(post: Post) -> None:
    with receiving() as down:
        port = down.port
    reach = post.reach
    url = f"http://127.0.0.1:{port}/hook"
    added = subscriptions.add(post.database, "T_1", url, ["sale.recorded"], reach=reach, by=BY)
    post.emit()
    assert post.send() == 1
    (delivery,) = post.deliveries(added.webhook.id)
    assert (delivery.state, delivery.status, delivery.error) == (
        DeliveryState.PENDING,
        None,
        "the server cannot be reached",
    )
    assert delivery.next_at is not None
    assert post.send() == 0  # not yet
    post.let_time_pass(seconds=10)
    assert post.send() == 1
    post.let_time_pass(minutes=10)
    with receiving(port) as up:
        assert post.send() == 1
    assert up.ids() == [delivery.message_id]
    (delivery,) = post.deliveries(added.webhook.id)
    assert (delivery.state, delivery.attempts, delivery.error) == (DeliveryState.DELIVERED, 3, None)


def test_after_the_last_attempt_it_has_failed_and_can_be_sent_again_by_hand(post: Post) -> None:
    post.receiver.answers["/hook"] = says(500)
    webhook = post.add().webhook.id
    post.emit()
    attempts = 0
    while sent := post.send():
        attempts += sent
        post.let_time_pass(days=2)
    (delivery,) = post.deliveries(webhook)
    assert (attempts, delivery.attempts, delivery.state) == (ATTEMPTS_MOST, ATTEMPTS_MOST, DeliveryState.FAILED)
    assert (delivery.error, delivery.next_at) == ("the server answers 500", None)
    subscriptions.retry(post.database, "T_1", webhook, delivery.id, by=BY)
    assert post.send() == 1
    (again,) = post.deliveries(webhook)
    assert (again.state, again.message_id) == (DeliveryState.PENDING, delivery.message_id)  # it has a schedule again
    post.receiver.answers.clear()
    post.let_time_pass(days=2)
    assert post.send() == 1
    assert post.deliveries(webhook)[0].state is DeliveryState.DELIVERED
    assert set(post.receiver.ids()) == {delivery.message_id}


def test_what_has_arrived_can_be_sent_once_more_under_its_id(post: Post) -> None:
    webhook = post.add().webhook.id
    post.emit()
    post.send()
    subscriptions.retry(post.database, "T_1", webhook, post.deliveries(webhook)[0].id, by=BY)
    assert post.send() == 1
    assert len(post.receiver.ids()) == 2
    assert len(set(post.receiver.ids())) == 1


def test_a_server_that_is_gone_is_sent_nothing_more(post: Post) -> None:
    post.receiver.answers["/hook"] = says(410)
    webhook = post.add().webhook.id
    other = post.add("/other").webhook.id
    post.emit({"n": 1})
    post.send()
    post.emit({"n": 2})
    post.send()
    assert len(post.receiver.ids()) == 1
    assert len(post.receiver.ids("/other")) == 2
    with post.database.read() as tx:
        disabled = store.get_webhook(tx, "T_1", webhook)
        assert store.get_webhook(tx, "T_1", other).disabled_at is None
    assert disabled.disabled_at is not None
    assert disabled.disabled_reason == "the server answers 410: it wants no more"


def test_what_waits_when_a_server_is_gone_has_failed(post: Post) -> None:
    post.receiver.answers["/hook"] = says(500)
    webhook = post.add().webhook.id
    post.emit(*[{"n": number} for number in range(5)])
    post.send()
    post.receiver.answers["/hook"] = says(410)
    post.let_time_pass(seconds=10)
    post.send()
    found = post.deliveries(webhook)
    assert {delivery.state for delivery in found} == {DeliveryState.FAILED}
    assert {"the webhook was disabled", "the server answers 410: it wants no more"} >= {one.error for one in found}


def test_an_event_for_a_webhook_that_is_being_disabled_is_not_sent(post: Post) -> None:
    webhook = post.add().webhook.id
    post.emit()
    with post.database.write() as tx:  # as `disable` would have it, had the event been written just after it
        tx.execute(update(webhooks).values(disabled_at=datetime.now(UTC), disabled_reason="gone"))
    post.send()
    assert post.receiver.messages == []
    assert [(one.state, one.error) for one in post.deliveries(webhook)] == [
        (DeliveryState.FAILED, "the webhook was disabled")
    ]


def test_redirects_are_not_followed(post: Post) -> None:
    post.receiver.answers["/hook"] = says(307, location="/other")
    webhook = post.add().webhook.id
    post.emit()
    post.send()
    assert [message.path for message in post.receiver.messages] == ["/hook"]
    assert post.deliveries(webhook)[0].error == "the server answers 307"


def test_a_server_that_says_when_is_asked_then(post: Post) -> None:
    post.receiver.answers["/hook"] = says(503, retry_after="3600")
    webhook = post.add().webhook.id
    post.emit()
    post.send()
    (delivery,) = post.deliveries(webhook)
    assert delivery.next_at is not None
    assert delivery.attempted_at is not None
    assert delivery.next_at - delivery.attempted_at == timedelta(hours=1)


def test_an_endless_answer_is_as_good_as_its_status(post: Post) -> None:
    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(bytes(100_000))
        except OSError:
            pass

    post.receiver.answers["/hook"] = endless
    webhook = post.add().webhook.id
    post.emit()
    post.send()
    assert post.deliveries(webhook)[0].state is DeliveryState.DELIVERED


def test_a_server_that_never_answers_is_left_when_the_time_is_over(post: Post) -> None:
    over = threading.Event()
    post.receiver.answers["/hook"] = lambda _handler: (over.wait(30), None)[1]
    webhook = post.add().webhook.id
    post.emit()
    post.send(Sender(post.database, replace(post.reach, seconds=0.3)))
    over.set()
    assert post.deliveries(webhook)[0].error == "the server does not answer in time"


def test_a_slow_server_keeps_no_other_waiting(post: Post) -> None:
    others_have_all, waited = threading.Event(), []

    def slow(handler: BaseHTTPRequestHandler) -> None:
        waited.append(others_have_all.wait(LESS_THAN_AN_ATTEMPT_S))
        says(204)(handler)

    post.receiver.answers["/slow"] = slow
    post.add("/slow")
    for _ in range(AT_ONCE * 2):
        post.emit()
    post.add("/quick")
    count = 30
    post.emit(*[{"n": number} for number in range(count)])
    sender = Sender(post.database, post.reach)
    while len(post.receiver.ids("/quick")) < count:
        sender.look()
        sender.wait(0.05)
    others_have_all.set()
    post.send(sender)
    assert all(waited)
    assert len(post.receiver.ids("/slow")) == AT_ONCE * 2 + count


def test_two_senders_at_once_send_each_event_once(post: Post) -> None:
    added = [post.add(path).webhook.id for path in ("/a", "/b", "/c", "/d", "/e")]
    post.emit(*[{"n": number} for number in range(12)])
    together = threading.Barrier(3)

    def run() -> None:
        sender = post.sender()
        together.wait()
        while any(post.is_waiting(webhook) for webhook in added):
            post.send(sender)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sent = [(message.path, message.id) for message in post.receiver.messages]
    assert len(sent) == len(set(sent)) == 60


def test_two_senders_that_see_the_same_event_at_once_share_nothing(post: Post) -> None:
    """One has chosen what to take, and another takes it before."""
    webhook = post.add().webhook.id
    post.emit()
    (delivery,) = post.deliveries(webhook)
    one, other = post.sender(), post.sender()
    assert one.send(delivery.id) is not None
    assert other.send(delivery.id) is None
    assert len(post.receiver.messages) == 1


def test_a_sender_that_dies_after_sending_is_followed_by_one_that_sends_the_same_again(post: Post) -> None:
    webhook = post.add().webhook.id
    post.emit()
    (delivery,) = post.deliveries(webhook)
    script = (
        "import os, sys\n"
        "from ipaddress import ip_network\n"
        "from shelfsight.database.engine import open_database\n"
        "from shelfsight.webhooks import sender, store\n"
        "from shelfsight.webhooks.subscriptions import reach_of\n"
        "store.note_attempt = lambda *_: os._exit(9)\n"
        "sender.Sender(open_database(sys.argv[1]), reach_of([ip_network('127.0.0.0/8')])).send(int(sys.argv[2]))\n"
    )
    url = post.database.engine.url.render_as_string(hide_password=False)
    done = subprocess.run([sys.executable, "-c", script, url, str(delivery.id)], check=False, env={**os.environ})
    assert done.returncode == 9
    assert post.receiver.ids() == [delivery.message_id]
    assert post.send() == 0  # the dead one still holds it
    subscriptions.retry(post.database, "T_1", webhook, delivery.id, by=BY)
    assert post.send() == 0
    post.let_time_pass(minutes=2)
    assert post.send() == 1
    assert post.receiver.ids() == [delivery.message_id] * 2
    (delivery,) = post.deliveries(webhook)
    assert (delivery.state, delivery.attempts) == (DeliveryState.DELIVERED, 2)


@pytest.mark.parametrize(("status", "state"), [(204, DeliveryState.DELIVERED), (500, DeliveryState.PENDING)])
def test_a_sender_that_was_asleep_overwrites_nothing(post: Post, status: int, state: DeliveryState) -> None:
    """Its time was over, another has sent it, and then it comes with an answer of its own."""
    webhook = post.add().webhook.id
    post.emit()
    of_the_other = []

    def asleep(handler: BaseHTTPRequestHandler) -> None:
        post.receiver.answers["/hook"] = says(status)
        post.let_time_pass(minutes=2)
        assert post.send() == 1
        of_the_other.extend(post.deliveries(webhook))
        says(503)(handler)

    post.receiver.answers["/hook"] = asleep
    post.send()
    assert post.deliveries(webhook) == of_the_other
    assert [(one.state, one.status, one.attempts) for one in of_the_other] == [(state, status, 2)]


def test_an_event_goes_nowhere_inside_even_if_somebody_writes_the_address_in_sql(post: Post) -> None:
    webhook = post.add().webhook.id
    post.emit()
    public_only = Sender(post.database, subscriptions.reach_of([]))
    assert post.send(public_only) == 1
    assert post.receiver.messages == []
    assert post.deliveries(webhook)[0].error == "its server is not on the public internet"


def test_a_name_that_means_the_inside_later_is_refused_then(post: Post) -> None:
    added = post.add()
    post.emit()
    rebound = replace(subscriptions.reach_of([]), resolve=lambda _host, _port: ["10.0.0.5"])
    with post.database.write() as tx:
        tx.execute(update(webhooks).values(url="http://shop.example/hook"))
    post.send(Sender(post.database, rebound))
    assert post.deliveries(added.webhook.id)[0].error == "its server is not on the public internet"


def test_a_webhook_that_is_removed_while_it_is_sent_to_is_gone(post: Post) -> None:
    webhook = post.add().webhook.id

    def remove(handler: BaseHTTPRequestHandler) -> None:
        subscriptions.remove(post.database, "T_1", webhook, by=BY)
        says(204)(handler)

    post.receiver.answers["/hook"] = remove
    post.emit({"n": 1}, {"n": 2}, {"n": 3})
    post.send()
    assert post.deliveries(webhook) == []


def test_what_arrived_is_forgotten_after_a_while_and_what_waits_is_not(post: Post) -> None:
    webhook = post.add().webhook.id
    post.emit({"n": "old"})
    post.send()
    post.let_time_pass(days=31)
    post.emit({"n": "new"})
    post.send()
    post.receiver.answers["/hook"] = says(500)
    post.emit({"n": "waiting"})
    post.send()
    with post.database.write() as tx:
        assert store.purge(tx, datetime.now(UTC) - timedelta(days=30), 9) == 1
    assert [json.loads(one)["data"]["n"] for one in post.bodies()] == ["new", "waiting"]
    assert len(post.deliveries(webhook)) == 2


def test_a_loop_sends_what_comes_and_lives_through_a_database_that_does_not(post: Post) -> None:
    post.add()
    arrived = threading.Event()

    def note(handler: BaseHTTPRequestHandler) -> None:
        says(204)(handler)
        if len(post.receiver.messages) == 20:
            arrived.set()

    post.receiver.answers["/hook"] = note
    broken = store.is_any_due
    from shelfsight.errors import DatabaseError

    failures: list[int] = []

    def sometimes(*arguments: object) -> bool:
        if len(failures) < 3:
            failures.append(1)
            raise DatabaseError("away") if len(failures) < 3 else RuntimeError("nobody thought of this")
        return broken(*arguments)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "is_any_due", sometimes)
        with sending(post.database, post.reach, every_s=0.02):
            for number in range(20):
                post.emit({"n": number})
            assert arrived.wait(20)
    assert len(failures) == 3
    assert len(set(post.receiver.ids())) == 20


def test_the_database_keeps_what_waits_from_having_no_time(post: Post) -> None:
    from shelfsight.errors import ConflictError

    webhook = post.add().webhook.id
    now = datetime.now(UTC)
    row = {"channel_id": "T_1", "webhook_id": webhook, "message_id": "m", "event": "e", "body": "", "created_at": now}
    for wrong in ({"state": "pending"}, {"state": "delivered", "next_at": now}, {"state": "lost"}):
        with pytest.raises(ConflictError), post.database.write() as tx:
            tx.execute(insert(webhook_deliveries).values(attempts=0, attempts_before=0, **row, **wrong))
    with post.database.write() as tx:
        tx.execute(delete(webhooks).where(webhooks.c.id != webhook))


def test_the_slow_servers_of_one_channel_leave_room_for_other_channels(post: Post) -> None:
    other_has_it, waited = threading.Event(), []

    def slow(handler: BaseHTTPRequestHandler) -> None:
        waited.append(other_has_it.wait(LESS_THAN_AN_ATTEMPT_S))
        says(204)(handler)

    for number in range(WEBHOOKS_MOST):
        post.receiver.answers[f"/slow{number}"] = slow
        post.add(f"/slow{number}")
    post.emit({"n": 1}, {"n": 2})
    sender = Sender(post.database, post.reach)
    while sender.look():
        pass
    post.add("/quick", channel="T_2")
    post.emit(channel="T_2")
    while not post.receiver.ids("/quick"):
        sender.look()
        sender.wait(0.05)
    other_has_it.set()
    post.send(sender)
    assert all(waited)
    assert len(post.receiver.messages) == WEBHOOKS_MOST * 2 + 1


@pytest.mark.parametrize(("count", "most"), [(1, OF_EACH), (3, OF_CHANNEL)])
def test_one_that_arrived_makes_room_for_one_more_while_others_are_on_their_way(
    post: Post, count: int, most: int
) -> None:
    may_arrive = threading.Semaphore(0)

    def when_it_may(handler: BaseHTTPRequestHandler) -> None:
        may_arrive.acquire(timeout=LESS_THAN_AN_ATTEMPT_S)
        says(204)(handler)

    for number in range(count):
        post.receiver.answers[f"/{number}"] = when_it_may
        post.add(f"/{number}")
    post.emit(*[{"n": number} for number in range(8)])
    sender = Sender(post.database, post.reach)
    assert sender.look() == most
    assert sender.look() == 0
    for _ in range(2):
        may_arrive.release()
        assert sender.wait(LESS_THAN_AN_ATTEMPT_S)
        assert sender.look() == 1
    may_arrive.release(8 * count)
    post.send(sender)
    assert len(post.receiver.messages) == 8 * count


def test_a_channel_with_more_waiting_than_is_looked_at_leaves_room_for_other_channels(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_LOOKED_AT", 3)
    other_has_it, waited = threading.Event(), []

    def slow(handler: BaseHTTPRequestHandler) -> None:
        waited.append(other_has_it.wait(LESS_THAN_AN_ATTEMPT_S))
        says(204)(handler)

    def note(handler: BaseHTTPRequestHandler) -> None:
        says(204)(handler)
        other_has_it.set()

    post.receiver.answers.update({"/slow": slow, "/quick": note})
    post.add("/slow")
    post.emit(*[{"n": number} for number in range(6)])
    post.add("/quick", channel="T_2")
    post.emit(channel="T_2")
    with sending(post.database, post.reach, every_s=2 * LESS_THAN_AN_ATTEMPT_S):
        other_has_it.wait(2 * LESS_THAN_AN_ATTEMPT_S)
    assert waited
    assert all(waited)


def test_what_a_receiver_checks_with_is_in_no_repr(post: Post) -> None:
    added = post.add("/hook?key=hidden")
    post.emit({"secretly": 1})
    with post.database.write() as tx:
        (claimed,) = store.claim(
            tx,
            Hold(claim="a", lasts=timedelta(minutes=1)),
            Room(most=1, of_webhook=1, of_channel=1),
            datetime.now(UTC) + timedelta(seconds=1),
        )
    assert claimed.secret == added.secret
    for hidden in (added.secret, "hidden", "secretly"):
        assert hidden not in repr(claimed)
    assert added.secret not in repr(added)
