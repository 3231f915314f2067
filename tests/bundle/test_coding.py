"""Weights as codes decode to what TensorFlow.js computes from them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from shelfsight.bundle.coding import encode

floats = arrays.arrays(np.float32, st.integers(1, 50), elements=st.floats(-1000, 1000, width=32))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@given(values=floats)
def test_a_decoded_weight_is_within_half_a_step_of_the_original(
    dtype: type[np.uint8 | np.uint16], values: np.ndarray
) -> None:
    coded = encode(values, dtype)
    rounding = 1e-6 * np.abs(values).max()  # of float32
    assert np.abs(coded.values() - values).max() <= 0.501 * coded.scale + rounding


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@given(values=floats)
def test_zero_stays_exactly_zero(dtype: type[np.uint8 | np.uint16], values: np.ndarray) -> None:
    with_zero = np.append(values, np.float32(0))
    assert encode(with_zero, dtype).values()[-1] == 0


def test_values_decode_as_tensorflow_js_does_it() -> None:
    coded = encode(np.array([-1.5, 0.25, 3.0], np.float32), np.uint8)
    # tfjs-core's decodeWeights: Float32Array.from(codes, v => v * scale + min), in double precision
    by_hand = [np.float32(float(code) * coded.scale + coded.minimum) for code in coded.codes]
    assert coded.values().tolist() == by_hand
