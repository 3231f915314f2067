"""A backbone is data: read back as it was written, refused when it is damaged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from shelfsight.bundle.backbone import DEFAULT, PROJECTION, load_backbone, read_backbone, write_backbone
from shelfsight.bundle.network import INPUT, Add, Conv, GlobalAveragePool, Network, same_padding
from shelfsight.bundle.onnx_model import write_embedder
from shelfsight.errors import BackboneError
from tests.tiny import CHANNELS, SIZE, tiny_backbone


def by_hand(picture: np.ndarray) -> np.ndarray:
    """Return the tiny backbone's embedding, computed with loops over numpy: (features,)."""
    backbone = tiny_backbone()
    values = {INPUT: picture.astype(np.float64) / 127 - 1}
    for layer in backbone.network.layers:
        if isinstance(layer, Conv):
            values[layer.name] = convolve(values[layer.source], layer)
        elif isinstance(layer, Add):
            values[layer.name] = values[layer.sources[0]] + values[layer.sources[1]]
        elif isinstance(layer, GlobalAveragePool):
            values[layer.name] = values[layer.source].mean(axis=(0, 1))
        else:
            scale, offset = (backbone.values(f"{layer.name}/{part}") for part in ("scale", "offset"))
            values[layer.name] = values[layer.source] * scale + offset
    return values["pool"]


def convolve(values: np.ndarray, layer: Conv) -> np.ndarray:
    backbone = tiny_backbone()
    kernel, bias = backbone.values(f"{layer.name}/kernel"), backbone.values(f"{layer.name}/bias")
    padded = np.pad(values, (layer.padding, layer.padding, (0, 0)))
    size = (padded.shape[0] - layer.kernel) // layer.stride + 1
    result = np.empty((size, size, bias.size))
    for y, x in np.ndindex(size, size):
        top, left = y * layer.stride, x * layer.stride
        patch = padded[top : top + layer.kernel, left : left + layer.kernel]
        result[y, x] = (
            np.einsum("ijc,ijc->c", patch, kernel[..., 0])
            if layer.depthwise
            else np.einsum("ijc,ijco->o", patch, kernel)
        )
    result += bias
    return np.clip(result, 0, 6) if layer.relu6 else result


def test_the_onnx_embedder_computes_what_the_description_says() -> None:
    picture = np.random.default_rng(3).integers(0, 256, (SIZE, SIZE, 3))
    session = onnxruntime.InferenceSession(write_embedder(tiny_backbone()))
    (embedding,) = session.run(["embedding"], {"image": picture[None].astype(np.float32)})
    assert embedding.shape == (1, CHANNELS)
    assert embedding[0] == pytest.approx(by_hand(picture), abs=1e-4)


def test_a_backbone_is_read_back_as_it_was_written() -> None:
    written = write_backbone(tiny_backbone())
    again = read_backbone(written, name="tiny")
    assert write_backbone(again) == written
    assert again.network == tiny_backbone().network
    assert again.ranges == tiny_backbone().ranges


def test_the_shipped_backbone_is_whole_and_is_the_one_that_is_documented() -> None:
    backbone = load_backbone()
    readme = Path(__file__).parents[2] / "src" / "shelfsight" / "data" / "README.md"
    assert backbone.digest in readme.read_text()
    assert backbone.embedding_size == 1280
    assert backbone.projection.codes.shape == (1280, 288)
    assert set(backbone.ranges) == {layer.name for layer in backbone.network.layers[:-1]}


def test_the_first_weights_are_zeros_so_that_no_server_mistakes_the_file_for_something_else() -> None:
    from shelfsight.bundle.head import make_head
    from shelfsight.bundle.tfjs import layers_model

    head = make_head(("a", "b"), np.ones((1280, 2), np.float32), np.zeros(2, np.float32))
    first = layers_model(load_backbone(), head).groups[0]
    assert bytes(first.data[:8]) == bytes(8)


@pytest.mark.parametrize("cut", [0, 4, 100, 1000])
def test_a_damaged_backbone_is_refused_in_one_sentence(cut: int) -> None:
    with pytest.raises(BackboneError, match="tiny"):
        read_backbone(write_backbone(tiny_backbone())[:cut], name="tiny")


def test_a_backbone_without_one_of_its_weights_is_refused() -> None:
    backbone = tiny_backbone()
    tensors = {key: tensor for key, tensor in backbone.tensors.items() if key != "deep/bias"}
    data = write_backbone(replace(backbone, tensors=tensors))
    with pytest.raises(BackboneError, match="deep/bias"):
        read_backbone(data, name="tiny")


def test_a_backbone_without_a_range_is_refused_and_one_without_a_projection_only_when_it_is_needed() -> None:
    backbone = tiny_backbone()
    ranges = {name: limits for name, limits in backbone.ranges.items() if name != "deep"}
    with pytest.raises(BackboneError, match="no range for layer 'deep'"):
        read_backbone(write_backbone(replace(backbone, ranges=ranges)), name="tiny")
    tensors = {name: tensor for name, tensor in backbone.tensors.items() if name != PROJECTION}
    read = read_backbone(write_backbone(replace(backbone, tensors=tensors)), name="tiny")
    with pytest.raises(BackboneError, match="has no projection"):
        _ = read.projection


def test_an_unknown_backbone_is_named() -> None:
    with pytest.raises(BackboneError, match="mobilenet_v9"):
        load_backbone("mobilenet_v9")
    assert load_backbone(DEFAULT) is load_backbone(DEFAULT)


def test_a_layer_that_reads_what_has_not_run_is_refused() -> None:
    with pytest.raises(BackboneError, match="'b' reads 'a'"):
        Network(input_size=8, layers=(GlobalAveragePool(name="b", source="a"),))


def test_a_network_that_does_not_end_in_an_embedding_is_refused() -> None:
    conv = Conv(name="c", source=INPUT, kernel=1, stride=1, padding=(0, 0), depthwise=False, relu6=True)
    with pytest.raises(BackboneError, match="global average pool"):
        Network(input_size=8, layers=(conv,))


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding"),
    [(224, 3, 2, (0, 1)), (112, 3, 1, (1, 1)), (7, 1, 1, (0, 0)), (113, 3, 2, (1, 1)), (28, 5, 2, (1, 2))],
)
def test_same_padding_is_tensorflows(size: int, kernel: int, stride: int, padding: tuple[int, int]) -> None:
    assert same_padding(size, kernel, stride) == padding
