"""Weights as small integers, in the affine coding that TensorFlow.js reads: value = code * scale + minimum.

Every runtime gets the same decoded numbers, so the coding is chosen once, before any file is written.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Codes = NDArray[np.uint8] | NDArray[np.uint16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Coded:
    """An array of floats held as unsigned integer codes."""

    codes: Codes
    minimum: float
    scale: float

    def values(self) -> Floats:
        """Return the decoded values, float32, bit for bit what TensorFlow.js computes from the same codes."""
        return (self.codes.astype(np.float64) * self.scale + self.minimum).astype(np.float32)


def encode(values: Floats, dtype: type[np.uint8 | np.uint16]) -> Coded:
    """Return `values` coded over their own range, with zero represented exactly.

    An exact zero keeps pruned weights and padding at zero; the widest error is half of `scale`.
    """
    top = int(np.iinfo(dtype).max)
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    scale = (high - low) / top or 1.0
    minimum = -round(-low / scale) * scale
    exact = np.clip(np.rint((values.astype(np.float64) - minimum) / scale), 0, top)
    codes = exact.astype(np.uint8) if dtype is np.uint8 else exact.astype(np.uint16)
    return Coded(codes=codes, minimum=minimum, scale=scale)


def decoded(tensor: Coded | Floats) -> Floats:
    """Return the float32 values of a tensor, whether it is held as codes or as floats."""
    return tensor.values() if isinstance(tensor, Coded) else tensor
