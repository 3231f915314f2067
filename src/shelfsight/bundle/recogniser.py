"""A recogniser that runs: a bundle's model on onnxruntime, in one of three precisions."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, assert_never

import numpy as np
import onnxruntime

from shelfsight.catalog.picture import centre_square, open_picture, read_picture
from shelfsight.errors import BundleError, PictureError, ShapeError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from shelfsight.bundle.coding import Floats

_BATCH = 256  # files whose answers may wait for the one before them


class Runtime(StrEnum):
    """Which of a bundle's models is run."""

    ONNX = "onnx"
    INT8 = "int8"
    ORT = "ort"

    @property
    def file(self) -> str:
        """Name of the model's file in a bundle."""
        match self:
            case Runtime.ONNX:
                return "model.onnx"
            case Runtime.INT8:
                return "model.int8.onnx"
            case Runtime.ORT:
                return "model.ort"
            case _:
                assert_never(self)


def open_session(model: bytes) -> onnxruntime.InferenceSession:
    """Return a session that runs `model` on one thread: several of them in threads beat one with many.

    Raises:
        BundleError: onnxruntime does not accept the model.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as exc:  # onnxruntime's errors share no narrower base
        raise BundleError(f"onnxruntime does not load the model ({first_line(exc)}): publish it again") from exc


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recogniser:
    """Recognises products on pictures.

    Attributes:
        labels: product ids in output order.
        threshold: confidence below which the answer is "I don't know this one".
        image_size: height and width of a picture, in pixels.
    """

    labels: tuple[str, ...]
    threshold: float
    image_size: int
    session: onnxruntime.InferenceSession

    def probabilities(self, pictures: NDArray[np.uint8]) -> Floats:
        """Return one probability per label for each picture.

        Args:
            pictures: (n, size, size, 3) uint8, RGB.
        Returns: (n, labels) float32, each row sums to 1.
        Raises: ShapeError: `pictures` has another shape.
        """
        size = self.image_size
        if pictures.ndim != 4 or pictures.shape[1:] != (size, size, 3):
            raise ShapeError(f"pictures must be (n, {size}, {size}, 3), got {pictures.shape}")
        rows = [
            self.session.run(["probabilities"], {"image": picture[None].astype(np.float32)})[0]
            for picture in pictures
        ]
        return np.concatenate(rows) if rows else np.empty((0, len(self.labels)), np.float32)


def recognise_files(
    recogniser: Recogniser, paths: Sequence[Path]
) -> Iterator[tuple[Path, Floats | None, str | None]]:
    """Yield for each file, in order, its probabilities (labels,) or None and the reason why there are none."""

    def recognise(path: Path) -> tuple[Path, Floats | None, str | None]:
        try:
            picture = centre_square(open_picture(read_picture(path)), recogniser.image_size)
        except PictureError as exc:
            return path, None, str(exc)
        return path, recogniser.probabilities(np.asarray(picture)[None])[0], None

    with ThreadPoolExecutor(processors()) as pool:
        for start in range(0, len(paths), _BATCH):
            yield from pool.map(recognise, paths[start : start + _BATCH])


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def first_line(exc: Exception) -> str:
    """Return what an error of onnxruntime says, without where in its source it says so."""
    return (str(exc).splitlines() or [type(exc).__name__])[0][:200]
