"""Read the topology of a TensorFlow.js layers model as one list of steps, whatever models it nests in each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from shelfsight.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_LAYERS = 2_000
"""Most layers that run; one that is called twice counts twice."""

MAX_DEPTH = 8
"""How deep models may be nested in each other; Teachable Machine's are three deep."""

PICTURE = 0
"""Number of the value that the first step reads."""

_MAX_SOURCES = 256  # of one layer
_MODELS = frozenset({"Sequential", "Model", "Functional"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One call of a layer. Values are numbered; `path` names the models around the layer, then the layer itself."""

    kind: str
    path: tuple[str, ...]
    config: Mapping[str, Any]
    sources: tuple[int, ...]
    result: int

    @property
    def name(self) -> str:
        """The layer's own name."""
        return self.path[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A network as steps in running order, and the number of the value that is its answer.

    Attributes:
        input_shape: as the model declares it, batch first: not yet checked.
    """

    input_shape: object
    steps: tuple[Step, ...]
    output: int


@dataclass(slots=True)
class _Planner:
    steps: list[Step] = field(default_factory=list)
    calls: int = 0

    def call(self, layer: _Layer, sources: tuple[int, ...], depth: int) -> int:
        """Add the steps of one call of a layer or nested model, and return the number of its value."""
        self.calls += 1
        if self.calls > MAX_LAYERS:
            raise BundleError(f"model.json has more than {MAX_LAYERS:,} layers: upload a smaller model")
        if layer.kind in _MODELS:
            if len(sources) != 1:
                raise BundleError(f"the model {layer.name!r:.80} in model.json has several inputs: wanted one")
            return self.model(layer, sources[0], depth + 1)
        result = len(self.steps) + 1
        self.steps.append(Step(kind=layer.kind, path=layer.path, config=layer.config, sources=sources, result=result))
        return result

    def model(self, model: _Layer, value: int, depth: int) -> int:
        """Add the steps of a nested model, and return the number of its value."""
        if depth > MAX_DEPTH:
            raise BundleError(f"model.json nests models more than {MAX_DEPTH} deep: flatten the model")
        if model.kind == "Sequential":
            for layer in _layers(model):
                value = self.call(layer, (value,), depth)
            return value
        return self._functional(model, value, depth)

    def _functional(self, model: _Layer, value: int, depth: int) -> int:
        layers = {layer.name: layer for layer in _layers(model)}
        entrance, exit_ = (_only(model, end) for end in ("input_layers", "output_layers"))
        waiting = {layer.name: _calls(layer) for layer in layers.values()}
        waiting[entrance[0]] = [[]]
        values: dict[tuple[str, int], int] = {}
        while any(waiting.values()):
            before = len(values)
            for name, calls in waiting.items():
                while calls and all(source in values for source in calls[0]):
                    layer, sources = layers[name], tuple(values[source] for source in calls.pop(0))
                    # Keras counts a nested model's own graph as its first call.
                    index = sum(known == name for known, _ in values) + (layer.kind in _MODELS)
                    values[name, index] = self.call(layer, sources or (value,), depth)
            if len(values) == before:
                stuck = next(name for name, calls in waiting.items() if calls)
                raise BundleError(f"the layer {stuck!r:.80} in model.json reads what never runs: export it again")
        if exit_ not in values:
            raise BundleError(f"model.json puts out the layer {exit_[0]!r:.80}, which is not there: export it again")
        return values[exit_]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layer:
    kind: str
    path: tuple[str, ...]
    config: Mapping[str, Any]
    inbound: object
    nested: object

    @property
    def name(self) -> str:
        return self.path[-1]


def read_plan(document: Mapping[str, Any]) -> Plan:
    """Return the steps of the model in a `model.json`.

    Raises:
        BundleError: it is no layers model, or one that is damaged, too large, or has several inputs or outputs.
    """
    if document.get("format", "layers-model") != "layers-model":
        raise BundleError(f"model.json is a {document['format']!r:.40}: export the model as a layers model")
    topology = document.get("modelTopology")
    if not isinstance(topology, dict):
        raise BundleError("model.json has no modelTopology: export the model as a layers model")
    root = _layer(topology.get("model_config", topology), ())
    if root.kind not in _MODELS:
        raise BundleError(f"model.json holds a {root.kind!r:.40}, wanted a Sequential or functional model")
    planner = _Planner()
    output = planner.model(root, PICTURE, 1)
    return Plan(input_shape=_declared_shape(root), steps=_needed(planner.steps, output), output=output)


def _needed(steps: list[Step], output: int) -> tuple[Step, ...]:
    """Return the steps that the answer depends on; TensorFlow.js makes no layers of the others."""
    needed, kept = {output}, []
    for step in reversed(steps):
        if step.result in needed:
            needed |= set(step.sources)
            kept.append(step)
    return tuple(reversed(kept))


def _declared_shape(model: _Layer) -> object:
    """Return the shape that a model says its picture has; the model was planned, so it is not nested too deep."""
    while model.kind in _MODELS:
        layers = _layers(model)
        first = _only(model, "input_layers")[0] if model.kind != "Sequential" else layers[0].name
        model = next(layer for layer in layers if layer.name == first)
    return model.config.get("batch_input_shape")


def _layers(model: _Layer) -> list[_Layer]:
    if not isinstance(model.nested, list) or not model.nested:
        raise BundleError(f"the model {model.name!r:.80} in model.json has no layers: export it again")
    if len(model.nested) > MAX_LAYERS:
        raise BundleError(f"model.json has more than {MAX_LAYERS:,} layers: upload a smaller model")
    layers = [_layer(entry, model.path) for entry in model.nested]
    if len({layer.name for layer in layers}) < len(layers):
        raise BundleError(f"the model {model.name!r:.80} in model.json has two layers of one name: rename one")
    return layers


def _layer(entry: object, around: tuple[str, ...]) -> _Layer:
    """Return a layer as it is described; a Sequential's configuration may be the list of its layers itself."""
    config = entry.get("config") if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or not isinstance(config, (dict, list)):
        raise BundleError("model.json has a layer without class_name and config: export it as a layers model")
    kind = entry.get("class_name")
    layers, options = (config.get("layers"), config) if isinstance(config, dict) else (config, {})
    name = entry.get("name", options.get("name", "model" if not around else None))
    if not isinstance(kind, str) or not isinstance(name, str):
        raise BundleError(f"model.json has a layer {name!r:.40} of class {kind!r:.40}: export it again")
    return _Layer(kind=kind, path=(*around, name), config=options, inbound=entry.get("inbound_nodes"), nested=layers)


def _only(model: _Layer, end: str) -> tuple[str, int]:
    """Return the one input or output of a functional model: `[[name, 0, 0]]`, or without the outer brackets."""
    ends = model.config.get(end)
    if isinstance(ends, list) and len(ends) == 1:
        ends = ends[0]
    found = _reference(ends)
    if found is None:
        raise BundleError(f"the model {model.name!r:.80} in model.json must have one of {end}, has {ends!r:.80}")
    if end == "input_layers" and found[0] not in {layer.name for layer in _layers(model)}:
        raise BundleError(f"model.json takes the picture in the layer {found[0]!r:.80}, which is not there")
    return found


def _calls(layer: _Layer) -> list[list[tuple[str, int]]]:
    """Return what every call of a layer in a functional model reads."""
    nodes = [] if layer.inbound is None else layer.inbound
    calls: list[list[tuple[str, int]]] = []
    for node in nodes if isinstance(nodes, list) else [None]:
        sources = [_reference(source) for source in node] if isinstance(node, list) else []
        found = [source for source in sources if source is not None]
        if not found or len(found) != len(sources) or len(found) > _MAX_SOURCES:
            raise BundleError(f"the inbound_nodes of {layer.name!r:.80} in model.json are damaged: export it again")
        calls.append(found)
    return calls


def _reference(value: object) -> tuple[str, int] | None:
    """Return the layer and the call that `[name, call, 0, {}]` means; None where it means something else."""
    if not isinstance(value, list) or len(value) not in {3, 4} or not isinstance(value[0], str):
        return None
    options = value[3] if len(value) == 4 and value[3] is not None else {}
    plain = isinstance(options, dict) and not any(options.values())  # {"training": true} would be another network
    if not plain or type(value[1]) is not int or type(value[2]) is not int or value[2] != 0:
        return None
    return value[0], value[1]
