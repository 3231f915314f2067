"""The child process of a training: `python -m shelfsight.training.child`, which `process.run_child` starts.

It reads one line of JSON, the order, from standard input, which must stay open for as long as it shall live, and
writes lines of JSON to standard output: how far it is, and at last how it ended. Killed at any moment it leaves whole
files of embeddings in the storage, and no bundle or a whole one.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from functools import partial
from typing import IO, TYPE_CHECKING, Any

from shelfsight.bundle.backbone import DEFAULT, load_backbone
from shelfsight.catalog.images import read_image
from shelfsight.errors import ShelfsightError
from shelfsight.storage import open_storage
from shelfsight.training.catalogue import CatalogueSource
from shelfsight.training.embed import Embedder, Tools
from shelfsight.training.process import Order, Outcome, read_pairs
from shelfsight.training.progress import Counting
from shelfsight.training.stored import StoredEmbeddings
from shelfsight.training.train import TrainingOptions, learn

if TYPE_CHECKING:
    from shelfsight.training.progress import Progress, Step


def main() -> None:
    """Do what the order on standard input says."""
    # Libraries may print what they like: that goes to standard error, and the answers past them.
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)
        order = Order.from_json(sys.stdin.readline())
        threading.Thread(target=_end_with_parent, daemon=True).start()
        try:
            run(order, Counting(lambda step: _say(answers, _step(step))))
        except ShelfsightError as exc:
            _say(answers, {"error": type(exc).__name__, "message": str(exc)})
        else:
            _say(answers, {"outcome": Outcome.TRAINED})


def run(order: Order, progress: Progress) -> None:
    """Train on a channel's catalogue and write the bundle.

    Raises:
        As `learn`.
    """
    options = TrainingOptions(
        channel=order.channel,
        version=order.version,
        head=order.head,
        seed=order.seed,
        backbone=order.backbone or DEFAULT,
    )
    storage = open_storage(order.storage_url)
    embedder = Embedder(load_backbone(options.backbone))
    source = CatalogueSource(order.channel, read_pairs(order.pairs), partial(read_image, storage, order.channel))
    embeddings = StoredEmbeddings(storage, order.channel, embedder.id)
    learn(Tools(source=source, embedder=embedder, embeddings=embeddings, progress=progress), options, order.out)


def _step(step: Step) -> dict[str, Any]:
    return {"stage": step.stage, "done": step.done, "total": step.total}


def _say(answers: IO[str], said: dict[str, Any]) -> None:
    answers.write(json.dumps(said) + "\n")
    answers.flush()


def _end_with_parent() -> None:
    """Wait until the parent is gone, which is when standard input ends, and end at once: nobody would publish it."""
    while os.read(0, 4096):
        pass
    os._exit(1)


if __name__ == "__main__":
    main()
