"""Whoever runs jobs sends webhooks, too."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from shelfsight.settings import ServiceSettings
from shelfsight.worker import run_worker
from tests.webhooks.conftest import HERE
from tests.webhooks.receiver import says

if TYPE_CHECKING:
    from http.server import BaseHTTPRequestHandler
    from pathlib import Path

    from tests.webhooks.conftest import Post


def test_a_worker_sends_what_is_due(post: Post, tmp_path: Path) -> None:
    post.add()
    post.emit()
    stop = threading.Event()

    def arrived(handler: BaseHTTPRequestHandler) -> None:
        says(204)(handler)
        stop.set()

    post.receiver.answers["/hook"] = arrived
    url = post.database.engine.url.render_as_string(hide_password=False)
    settings = ServiceSettings(database_url=url, storage_url=str(tmp_path / "assets"), webhook_networks=HERE)
    giving_up = threading.Timer(60, stop.set)
    giving_up.start()
    run_worker(settings, concurrency=1, stop=stop)
    giving_up.cancel()
    assert len(post.receiver.messages) == 1
