"""Bundles that were written once are read for ever."""

from __future__ import annotations

import json

import numpy as np
import pytest

from shelfsight.bundle.recogniser import Runtime
from shelfsight.bundle.verify import load_bundle, verify_bundle
from tests.conftest import ROOT

RELEASED = ROOT / "tests" / "vectors" / "released"


@pytest.mark.parametrize("runtime", list(Runtime))
@pytest.mark.parametrize("version", ["1.0"])
def test_a_bundle_of_an_older_format_still_gives_its_answers(version: str, runtime: Runtime) -> None:
    folder = RELEASED / f"bundle-{version}"
    verify_bundle(folder)
    expected = json.loads((RELEASED / f"bundle-{version}.json").read_bytes())
    picture = np.arange(32 * 32 * 3, dtype=np.uint32).reshape(1, 32, 32, 3) % 251
    recogniser = load_bundle(folder, runtime)
    assert recogniser.labels == tuple(expected["labels"])
    assert recogniser.threshold == expected["threshold"]
    probabilities = recogniser.probabilities(picture.astype(np.uint8))[0]
    assert probabilities == pytest.approx(expected["probabilities"][runtime.value], abs=1e-3)
