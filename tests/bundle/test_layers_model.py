"""A layers model that somebody made gives the answers of TensorFlow.js, or is refused with one sentence."""

from __future__ import annotations

import json
import shutil
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shelfsight.bundle import layers_onnx
from shelfsight.bundle.coding import encode
from shelfsight.bundle.layers_model import convert_layers_model, shard_names
from shelfsight.bundle.layers_topology import MAX_DEPTH, MAX_LAYERS
from shelfsight.bundle.recogniser import open_session
from shelfsight.bundle.verify import load_bundle
from shelfsight.errors import BundleError
from tests.bundle.test_bundle import write_tiny
from tests.bundle.uploads import SIZE, document, to_json, weights, weights_bin
from tests.conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    Document = dict[str, Any]

TOLERANCE = 1e-4
"""Of a probability; measured are 1e-7."""

NODE = shutil.which("node")
NEEDS_NODE = pytest.mark.skipif(
    NODE is None or not (ROOT / "node_modules" / "@tensorflow" / "tfjs").is_dir(),
    reason="needs Node and the JavaScript packages: run `npm ci`",
)


@pytest.fixture(scope="module")
def tensorflow_js(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of models that TensorFlow.js has written, with its answers."""
    folder = tmp_path_factory.mktemp("layers")
    script = ROOT / "tests" / "bundle" / "layers_models.js"
    subprocess.run([str(NODE), str(script), str(folder)], check=True, capture_output=True, timeout=120)
    return folder


@NEEDS_NODE
def test_every_model_gives_the_answer_of_tensorflow_js(tensorflow_js: Path) -> None:
    differences = {}
    for place in sorted(tensorflow_js.iterdir()):
        expected = json.loads((place / "answer.json").read_bytes())
        found = _answer(place / "model.json", _picture(expected["size"]))
        assert max(expected["probabilities"]) < 0.95  # else an answer would say little
        differences[place.name] = float(np.abs(found - expected["probabilities"]).max())
    assert len(differences) > 40
    assert {name: value for name, value in differences.items() if value > TOLERANCE} == {}


@NEEDS_NODE
def test_every_kind_of_layer_was_compared(tensorflow_js: Path) -> None:
    text = "".join(path.read_text() for path in tensorflow_js.rglob("model.json"))
    assert [kind for kind in layers_onnx._LAYERS if f'"class_name":"{kind}"' not in text] == []


@pytest.mark.parametrize("projected", [False, True])
def test_our_own_layers_model_gives_the_answer_of_our_onnx_model(tmp_path: Path, *, projected: bool) -> None:
    write_tiny(tmp_path / "bundle", projected=projected)
    _assert_same_as_onnx(tmp_path / "bundle", 32)


def test_the_example_shops_layers_model_gives_the_answer_of_its_onnx_model(demo_bundle: Path) -> None:
    _assert_same_as_onnx(demo_bundle, 224)


def test_weights_may_be_codes_in_several_groups_of_several_files() -> None:
    found = document()
    files: dict[str, bytes] = {}
    found["weightsManifest"] = []
    for number, (name, values) in enumerate(weights().items()):
        entry: Document = {"name": name, "shape": list(values.shape), "dtype": "float32"}
        data = values.tobytes()
        if number != 1:
            coded = encode(values, np.uint8 if number == 0 else np.uint16)
            entry["quantization"] = {"dtype": coded.codes.dtype.name, "min": coded.minimum, "scale": coded.scale}
            data = coded.codes.tobytes()
        halves = {f"group{number}-1of2.bin": data[:7], f"group{number}-2of2.bin": data[7:]}
        files |= halves
        found["weightsManifest"].append({"paths": [f"./{half}" for half in halves], "weights": [entry]})
    assert shard_names(found) == tuple(files)
    whole, parts = _run(document(), {"weights.bin": weights_bin()}), _run(found, files)
    assert np.abs(whole - parts).max() < 0.01
    assert not np.array_equal(whole, parts)


def test_a_weight_may_be_named_by_the_models_around_its_layer() -> None:
    found = document()
    found["weightsManifest"][0]["weights"][2]["name"] = "whole/trained/hidden/kernel"
    assert np.array_equal(_run(found), _run(document()))


def test_a_topology_may_be_wrapped_as_keras_writes_it() -> None:
    wrapped = document(format="layers-model", modelTopology={"model_config": document()["modelTopology"]})
    wrapped["modelTopology"]["model_config"]["config"]["layers"][1]["config"] = wrapped["modelTopology"][
        "model_config"
    ]["config"]["layers"][1]["config"]["layers"]
    wrapped["modelTopology"]["model_config"]["config"]["layers"][1]["name"] = "trained"
    assert np.array_equal(_run(wrapped), _run(document()))


def _conv(found: Document) -> Document:
    return _seen(found)[0]["config"]  # type: ignore[no-any-return]


def _seen(found: Document) -> list[Document]:
    return found["modelTopology"]["config"]["layers"][0]["config"]["layers"]  # type: ignore[no-any-return]


def _entry(found: Document) -> Document:
    return found["weightsManifest"][0]["weights"][0]  # type: ignore[no-any-return]


def _add(kind: str, **config: object) -> Callable[[Document], object]:
    layer = {"class_name": kind, "config": {"name": "added", **config}}
    return lambda found: _seen(found).insert(1, layer)


def _nest(found: Document) -> None:
    for _ in range(MAX_DEPTH):
        inner = [{key: found["modelTopology"][key] for key in ("class_name", "config")}]
        found["modelTopology"] = {"class_name": "Sequential", "config": {"name": "m", "layers": inner}}


def _functional(layers: list[Document], **ends: object) -> Callable[[Document], None]:
    config = {"name": "m", "layers": layers, "input_layers": [["i", 0, 0]], "output_layers": [["o", 0, 0]], **ends}

    def change(found: Document) -> None:
        found["modelTopology"] = {"class_name": "Model", "config": config}

    return change


def _node(name: str, *sources: object, kind: str = "Activation") -> Document:
    config = {"activation": "relu", "batch_input_shape": [None, SIZE, SIZE, 3]}
    return {"class_name": kind, "name": name, "config": config, "inbound_nodes": [list(sources)] if sources else []}


_INPUT = _node("i", kind="InputLayer")

REFUSED: dict[str, tuple[Callable[[Document], object], str]] = {
    "graph model": (lambda d: d.update(format="graph-model"), "export the model as a layers model"),
    "no topology": (lambda d: d.pop("modelTopology"), "no modelTopology"),
    "topology is text": (lambda d: d.update(modelTopology="x"), "no modelTopology"),
    "a single layer": (lambda d: d.update(modelTopology=_seen(d)[0]), "wanted a Sequential or functional model"),
    "no layers": (lambda d: _seen(d).clear(), "has no layers"),
    "unknown layer": (_add("Conv3D"), "'added' in model.json is a 'Conv3D', which is not run here"),
    "Lambda": (_add("Lambda", function="x"), "is a 'Lambda'"),
    "custom class": (_add("MyLayer"), "is a 'MyLayer'"),
    "class is no text": (lambda d: _seen(d)[0].update(class_name=3), "of class 3"),
    "config is text": (lambda d: _seen(d)[0].update(config="x"), "without class_name and config"),
    "two layers of one name": (lambda d: _seen(d)[1]["config"].update(name="conv"), "two layers of one name"),
    "too many layers": (lambda d: _seen(d).extend(_seen(d)[1:] * MAX_LAYERS), "more than 2,000 layers"),
    "nested too deep": (_nest, "more than 8 deep"),
    "grey pictures": (lambda d: _conv(d).update(batch_input_shape=[None, 8, 8, 1]), "square RGB pictures"),
    "oblong pictures": (lambda d: _conv(d).update(batch_input_shape=[None, 8, 9, 3]), "square RGB pictures"),
    "pictures of any size": (lambda d: _conv(d).update(batch_input_shape=[None, None, None, 3]), "square RGB"),
    "huge pictures": (lambda d: _conv(d).update(batch_input_shape=[None, 10**9, 10**9, 3]), "square RGB pictures"),
    "channels first": (lambda d: _conv(d).update(data_format="channels_first"), "data_format 'channels_first'"),
    "groups": (lambda d: _conv(d).update(groups=2), "has groups 2"),
    "unknown padding": (lambda d: _conv(d).update(padding="causal"), "has padding 'causal'"),
    "unknown activation": (lambda d: _conv(d).update(activation="elu"), "has the activation 'elu'"),
    "activation is an object": (lambda d: _conv(d).update(activation={"class_name": "x"}), "has the activation"),
    "huge stride": (lambda d: _conv(d).update(strides=[10**12, 1]), "has strides 1000000000000"),
    "stride of nothing": (lambda d: _conv(d).update(strides=0), "has strides 0"),
    "kernel is text": (lambda d: _conv(d).update(kernel_size="3"), "has kernel_size '3'"),
    "no kernel size": (lambda d: _conv(d).pop("kernel_size"), "has kernel_size None"),
    "dilated strides": (lambda d: _conv(d).update(dilation_rate=2), "with dilation_rate"),
    "huge filters": (lambda d: _conv(d).update(filters=10**15), "has filters 1000000000000000"),
    "bias is text": (lambda d: _conv(d).update(use_bias="yes"), "has use_bias 'yes'"),
    "other filters": (lambda d: _conv(d).update(filters=5), "has kernel of shape [3, 3, 3, 4], wanted [3, 3, 3, 5]"),
    "larger than its picture": (_add("MaxPooling2D", pool_size=5), "larger than the 4 pixels"),
    "huge pool": (_add("MaxPooling2D", pool_size=10**9, padding="same"), "has pool_size 1000000000"),
    "huge padding": (_add("ZeroPadding2D", padding=10**9), "has padding 1000000000"),
    "padding of three": (_add("ZeroPadding2D", padding=[1, 2, 3]), "has padding [1, 2, 3]"),
    "a padding that makes too much": (
        lambda d: [_add("ZeroPadding2D", padding=512, name=str(n))(d) for n in range(9)], "too large or nothing"),
    "huge reshape": (_add("Reshape", target_shape=[10**12]), "has target_shape 1000000000000"),
    "reshape that does not fit": (_add("Reshape", target_shape=[7, -1]), "which does not fit"),
    "negative epsilon": (_add("BatchNormalization", epsilon=-1), "has epsilon -1"),
    "normalised rows": (_add("BatchNormalization", axis=1), "normalises axis 1"),
    "weights missing": (_add("BatchNormalization"), "has no weight 'gamma'"),
    "softmax over rows": (_add("Softmax", axis=1), "another axis than the last"),
    "leaky": (_add("ReLU", negative_slope=0.1), "has negative_slope 0.1"),
    "capped by text": (_add("ReLU", max_value="6"), "has max_value '6'"),
    "dense on a picture": (_add("Dense", units=3), "put a Flatten or a pooling before it"),
    "an addition of one": (_add("Add"), "wanted two or more alike"),
    "no pooling": (lambda d: _seen(d).pop(1), "put a Flatten or a pooling before it"),
    "pictures come out": (lambda d: d["modelTopology"]["config"]["layers"].pop(1), "which no layer reads"),
    "two outputs": (_functional([_INPUT], output_layers=[["i", 0, 0]] * 2), "must have one of output_layers"),
    "no such output": (_functional([_INPUT]), "puts out the layer 'o', which is not there"),
    "no such input": (_functional([_node("o")], input_layers=[["x", 0, 0]]), "takes the picture in the layer 'x'"),
    "a circle": (_functional([_INPUT, _node("o", ["o", 0, 0])]), "'o' in model.json reads what never runs"),
    "in training": (_functional([_INPUT, _node("o", ["i", 0, 0, {"training": True}])]), "inbound_nodes of 'o'"),
    "second output of a layer": (_functional([_INPUT, _node("o", ["i", 0, 1])]), "inbound_nodes of 'o'"),
    "inbound nodes are text": (
        _functional([_INPUT, {**_node("o"), "inbound_nodes": "x"}]), "inbound_nodes of 'o'"),
    "shapes that do not add": (
        _functional([
            _INPUT, _node("p", ["i", 0, 0], kind="Flatten"), _node("o", ["i", 0, 0], ["p", 0, 0], kind="Add"),
        ]), "wanted two or more alike"),
    "shapes that do not join": (
        _functional([
            _INPUT, _node("p", ["i", 0, 0], kind="ZeroPadding2D"),
            _node("o", ["i", 0, 0], ["p", 0, 0], kind="Concatenate"),
        ]), "which do not fit"),
    "no weights": (lambda d: d.pop("weightsManifest"), "no list weightsManifest"),
    "empty weights": (lambda d: d.update(weightsManifest=[]), "reads no weights"),
    "weights of other layers": (lambda d: _entry(d).update(name="other/kernel"), "has no weight 'kernel'"),
    "a weight twice": (lambda d: _entry(d).update(name="conv/bias"), "has the weight 'conv/bias' twice"),
    "float16": (lambda d: _entry(d).update(quantization={"dtype": "float16"}), "use uint8 or uint16"),
    "scale is text": (
        lambda d: _entry(d).update(quantization={"dtype": "uint8", "min": 0, "scale": "x"}), "use uint8 or uint16"),
    "endless scale": (
        lambda d: _entry(d).update(quantization={"dtype": "uint8", "min": 0, "scale": 1e300}), "use uint8 or uint16"),
    "integers": (lambda d: _entry(d).update(dtype="int32"), "is 'int32': layers read float32"),
    "texts": (lambda d: _entry(d).update(dtype="string"), "is 'string'"),
    "huge shape": (lambda d: _entry(d).update(shape=[60_000_000, 60_000_000]), "more than 60,000,000 weights"),
    "larger than any": (lambda d: _entry(d).update(shape=[10**30]), "of shape"),
    "shape of a fraction": (lambda d: _entry(d).update(shape=[1.5]), "of shape"),
    "shape of nothing": (lambda d: _entry(d).update(shape=[0]), "of shape"),
    "shape of -1": (lambda d: _entry(d).update(shape=[-1]), "of shape"),
    "shape of truth": (lambda d: _entry(d).update(shape=[True]), "of shape"),
    "shape of many": (lambda d: _entry(d).update(shape=[1] * 100), "has 100 dimensions"),
    "too few bytes": (lambda d: _entry(d).update(shape=[3, 3, 3, 5]), "model.json wants 696"),
    "too many bytes": (lambda d: d["weightsManifest"][0]["weights"].pop(), "model.json wants"),
    "a number that is none": (
        lambda d: d["weightsManifest"].append({"paths": ["nan.bin"], "weights": [
            {"name": "n", "shape": [1], "dtype": "float32"}]}), "'n' is not a number everywhere"),
    "a file that is not there": (lambda d: d["weightsManifest"][0].update(paths=["other.bin"]), "is not there"),
    "a file twice": (lambda d: d["weightsManifest"].append(d["weightsManifest"][0]), "the same file of weights"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_model_that_is_none_of_ours_to_run_is_refused_with_one_sentence(case: str) -> None:
    change, sentence = REFUSED[case]
    found = document()
    change(found)
    files = {"weights.bin": weights_bin(), "nan.bin": np.array([np.nan], np.float32).tobytes()}
    with pytest.raises(BundleError) as refused:
        convert_layers_model(to_json(found), files)
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize(
    "path",
    ["../weights.bin", "/etc/weights.bin", "a/weights.bin", "..\\w.bin", "https://example.org/w.bin", "w.html",
     "w.bin?x=.bin", ".bin", "", "w\n.bin", 3, None],
)  # fmt: skip
def test_weights_are_read_from_files_beside_the_model_only(path: object) -> None:
    found = document()
    found["weightsManifest"][0]["paths"] = [path]
    with pytest.raises(BundleError, match=r"name a \.bin file beside it"):
        convert_layers_model(to_json(found), {str(path): weights_bin()})


@pytest.mark.parametrize(
    "data",
    [b"", b"x", b"[]", b"3", b"null", b'"model"', b"\xff\xfe", b'{"a": NaN}', b'{"a": "\\ud800"}', b"[" * 100_000,
     b'{"a":' * 100_000, b'{"a": ' + b"9" * 10_000 + b"}"],
    ids=repr,
)  # fmt: skip
def test_what_is_no_json_object_is_refused(data: bytes) -> None:
    with pytest.raises(BundleError, match=r"^model\.json "):
        convert_layers_model(data, {"weights.bin": weights_bin()})


@given(st.data())
def test_whatever_bytes_are_flipped_in_a_model_it_runs_or_is_refused(data: st.DataObject) -> None:
    model = bytearray(to_json(document()))
    for _ in range(data.draw(st.integers(1, 3))):
        model[data.draw(st.integers(0, len(model) - 1))] = data.draw(st.integers(0, 255))
    _run_or_refuse(bytes(model))


_SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.integers(-2, 600), st.floats(allow_nan=False),
    st.sampled_from(["same", "relu", "", "conv", "softmax", "Model", "weights.bin"]),
)  # fmt: skip
_VALUES = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner)
)


@given(st.data())
def test_whatever_value_is_put_into_a_model_it_runs_or_is_refused(data: st.DataObject) -> None:
    found = document()
    _seen(found).insert(1, {"class_name": data.draw(st.sampled_from(sorted(layers_onnx._LAYERS))), "config": {}})
    _seen(found)[1]["config"] = {
        "name": "added",
        **data.draw(st.dictionaries(st.sampled_from(_OPTIONS), _VALUES, max_size=3)),
    }
    places = list(_places(found))
    for _ in range(data.draw(st.integers(0, 2))):
        container, key = data.draw(st.sampled_from(places))
        container[key] = data.draw(_VALUES)
    _run_or_refuse(to_json(found))


_OPTIONS = [
    "activation", "axis", "batch_input_shape", "center", "data_format", "depth_multiplier", "dilation_rate", "dtype",
    "epsilon", "filters", "groups", "keepdims", "kernel_size", "max_value", "padding", "pool_size", "scale",
    "strides", "target_shape", "threshold", "units", "use_bias",
]  # fmt: skip


def _run_or_refuse(model: bytes) -> None:
    """Run a model unless it is refused; any other error is raised."""
    with suppress(BundleError):
        open_session(convert_layers_model(model, {"weights.bin": weights_bin()}).onnx)


def _places(found: Any) -> list[tuple[Any, Any]]:
    """Return every place in a document where a value stands, as a container and its key."""
    places: list[tuple[Any, Any]] = []
    waiting = [found]
    while waiting:
        container = waiting.pop()
        keys = range(len(container)) if isinstance(container, list) else list(container)
        places += [(container, key) for key in keys]
        waiting += [container[key] for key in keys if isinstance(container[key], (dict, list))]
    return places


def _picture(size: int) -> NDArray[np.float32]:
    values = np.arange(size * size * 3) * 7919 % 256 / 127 - 1
    return values.astype(np.float32).reshape(1, size, size, 3)


def _run(found: Document, files: Mapping[str, bytes] | None = None) -> NDArray[np.float32]:
    converted = convert_layers_model(to_json(found), files or {"weights.bin": weights_bin()})
    return np.asarray(open_session(converted.onnx).run(None, {"image": _picture(SIZE)})[0][0])


def _answer(model: Path, picture: NDArray[np.float32]) -> NDArray[np.float32]:
    files = {path.name: path.read_bytes() for path in model.parent.glob("*.bin")}
    converted = convert_layers_model(model.read_bytes(), files)
    assert converted.image_size == picture.shape[1]
    return np.asarray(open_session(converted.onnx).run(["probabilities"], {"image": picture})[0][0])


def _assert_same_as_onnx(bundle: Path, size: int) -> None:
    pixels = (np.arange(size * size * 3) * 7919 % 256).astype(np.uint8).reshape(1, size, size, 3)
    found = _answer(bundle / "model.json", pixels.astype(np.float32) / np.float32(127) - 1)
    assert np.abs(found - load_bundle(bundle).probabilities(pixels)[0]).max() < TOLERANCE
