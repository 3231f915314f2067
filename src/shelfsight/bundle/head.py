"""The head: the linear part of a recogniser, from an embedding to one probability per label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from shelfsight.bundle.coding import Coded, encode
from shelfsight.errors import ShapeError

if TYPE_CHECKING:
    from shelfsight.bundle.coding import Floats


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Head:
    """Linear scores of an embedding, followed by a softmax.

    Attributes:
        labels: product ids in output order.
        kernel: (inputs, labels) as uint8 codes; inputs is the embedding's size, or the projected one.
        bias: (labels,) float32.
        projection: (embedding size, inputs), applied before `kernel`; None where there is none.
    """

    labels: tuple[str, ...]
    kernel: Coded
    bias: Floats
    projection: Coded | None = None

    def __post_init__(self) -> None:
        inputs, outputs = self.kernel.codes.shape
        wanted = inputs if self.projection is None else self.projection.codes.shape[1]
        if outputs != len(self.labels) or self.bias.shape != (outputs,) or inputs != wanted:
            raise ShapeError(
                f"a head of {len(self.labels)} labels needs a kernel ({wanted}, {len(self.labels)}) and as many "
                f"biases, got {self.kernel.codes.shape} and {self.bias.shape}"
            )


def make_head(labels: tuple[str, ...], kernel: Floats, bias: Floats, projection: Coded | None = None) -> Head:
    """Return the head that devices get: `kernel` (inputs, labels) coded as uint8, `bias` as it is."""
    return Head(
        labels=labels,
        kernel=encode(np.ascontiguousarray(kernel, dtype=np.float32), np.uint8),
        bias=np.ascontiguousarray(bias, dtype=np.float32),
        projection=projection,
    )
