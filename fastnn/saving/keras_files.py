"""Keras' files .keras and .weights.h5: a zip archive of the architecture as JSON and of HDF5 with the weights."""
import json
import math
from contextlib import contextmanager

import numpy as np

from .. import layers, models, optimizers
from ..layers.base import stored
from . import archive, hdf5, keras_words
from .container import MOST_VALUES, values
from .container import parsed as parsed_json
from .files import FormatError
from .native import as_count, as_seed

CONFIG, WEIGHTS = "config.json", "model.weights.h5"
MOST_TEXT = 2**21           # bytes of a configuration
MOST_LAYERS = 1000
WHOLE = ("i4", "i8", "u4", "u8")


@contextmanager
def blame(source):
    """What is wrong with the contents of a file is a FormatError that names it."""
    try:
        yield
    except (TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError, RecursionError) as error:
        raise FormatError(f"{source} cannot be loaded: {str(error).rstrip('.')}.") from error


def write(model, include_optimizer=True):
    """The bytes of a .keras file of the whole model, which Keras 3 loads and trains on."""
    import time

    config = model_config(model)
    compiled = keras_words.compile_config(model) if include_optimizer else None
    if compiled:
        config["compile_config"] = compiled
    metadata = {"keras_version": "3.0.0", "date_saved": time.strftime("%Y-%m-%d@%H:%M:%S"),
                "fastnn": {"seed": model._seed, "epochs": model._epochs}}       # which Keras does not look at
    return archive.packed({"metadata.json": json.dumps(metadata), CONFIG: json.dumps(config, allow_nan=False),
                           WEIGHTS: _weights(model, compiled is not None)})


def write_weights(model):
    """The bytes of a .weights.h5 file, with the optimizer's state if the model is compiled, as Keras has it."""
    return _weights(model, model.loss is not None)


def model_config(model):
    """The architecture as config.json has it."""
    if not model.built:
        raise ValueError("A model is saved for Keras once it is built: give its first layer input_shape=, or call "
                         "fit(x, y) first.")
    shape = [None, *model.layers[0].input_shape]
    config = [keras_words.layer_config(layer) for layer in model.layers]
    if not isinstance(model.layers[0], layers.Input):
        config.insert(0, keras_words.input_config(shape[1:], model.dtype))
    return {"module": "keras", "class_name": "Sequential", "registered_name": None,
            "config": {"name": model.name, "trainable": True, "dtype": model.dtype, "layers": config,
                       "build_input_shape": shape},
            "build_config": {"input_shape": shape}}


def _weights(model, with_optimizer):
    def fill(file):
        seen: dict = {}
        for layer in model.layers:
            if not isinstance(layer, layers.Input):
                _fill(file, f"layers/{_group(layer, seen)}/vars", layer.name, _variables(layer))
        if with_optimizer:
            variables = _optimizer_variables(model.optimizer, model.trainable_weights)
            _fill(file, "optimizer/vars", model.optimizer.name, variables)
        file.create_group("vars")

    return hdf5.written(fill)


def _variables(layer):
    """A layer's weights, and the moments of Normalization, which are none here."""
    if not isinstance(layer, layers.Normalization):
        return layer.weights
    moments = (0, 1) if layer.mean is None else (layer.mean, layer.variance)
    return [*(np.broadcast_to(np.asarray(x, layer.dtype), _of_moments(layer)) for x in moments), np.int32(0)]


def _fill(file, path, name, arrays):
    group = file.create_group(path)
    group.attrs["name"] = name
    for i, array in enumerate(arrays):
        group.create_dataset(str(i), data=array)


def _group(layer, seen):
    """The group of a layer's weights: the class's name, with a number from the second layer of a class on."""
    name = keras_words.snake_case(type(layer).__name__)
    seen[name] = seen.get(name, -1) + 1
    return f"{name}_{seen[name]}" if seen[name] else name


def _optimizer_variables(optimizer, weights):
    """The step, the learning rate unless it has a schedule, for each weight its slots, and Nadam's product."""
    own = {id(w): slots for w, slots in zip(optimizer._weights, optimizer.slots or [], strict=True)}
    slots = [own.get(id(w)) or [optimizer.first_slot(w) for _ in optimizer.slot_names] for w in weights]
    rate = [] if optimizer.schedule else [np.float32(optimizer.learning_rate)]
    variables = [np.int32(optimizer.iterations), *rate, *(slots[i][j] for i, j in slot_order(optimizer, len(slots)))]
    if isinstance(optimizer, optimizers.Nadam):
        factors = (optimizer.beta_1 * (1 - 0.5 * 0.96**step) for step in range(1, min(optimizer.iterations, 10**5) + 1))
        variables.append(np.float32(math.prod(factors)))
    return variables


def slot_order(optimizer, count):
    """The weight and the kind of each slot, in Keras' order: weight by weight, but amsgrad's third slots at the end."""
    kinds = range(min(len(optimizer.slot_names), 2))
    rest = range(2, len(optimizer.slot_names))
    return [(i, kind) for i in range(count) for kind in kinds] + [(i, kind) for kind in rest for i in range(count)]


# Reading

def read(data, source, compile=True):
    """A model from the bytes of a .keras file: a Sequential, or a Functional whose layers are one chain."""
    with blame(source):
        files = archive.entries(data)
        if files.keys() != {"metadata.json", CONFIG, WEIGHTS}:
            raise FormatError(f"it holds {', '.join(sorted(files)) or 'nothing'}, but a .keras file of a model that "
                              f"fastnn can read holds metadata.json, {CONFIG} and {WEIGHTS}")
        config = parsed(files[CONFIG])
        with hdf5.opened(files[WEIGHTS]) as file:
            model = model_from(config, Weights(file))
            if compile and config.get("compile_config"):
                compile_from(model, config["compile_config"])
                if "optimizer" in file.names():
                    set_optimizer(model, *optimizer_state(file.at("optimizer/vars")))
        own = parsed(files["metadata.json"]).get("fastnn")
        if own is not None:
            model._seed, model._epochs = as_seed(own), as_count(own["epochs"])
    return model


def read_weights(model, data, source):
    """The weights of a .weights.h5 file into a model that is built, and the optimizer's state if there is one."""
    with blame(source), hdf5.opened(data) as file:
        weights = Weights(file)
        given, moments = [], []
        for layer in model.layers:
            weights.begin(layer)
            given += [weights(layer.name, w.shape, w.dtype.name) for w in layer.weights]
            if isinstance(layer, layers.Normalization):
                moments.append((layer, _moments(layer, weights)))
            weights.end(layer)
        weights.finish()
        if model.loss is not None and "optimizer" in file.names():
            set_optimizer(model, *optimizer_state(file.at("optimizer/vars")))
    model.set_weights(given)
    for layer, found in moments:
        layer.set_moments(*found)


def parsed(text):
    """The configuration that JSON text of limited size describes."""
    text = bytes(text) if len(text) <= MOST_TEXT else b""
    if not text or values(text) > MOST_VALUES:
        raise FormatError(f"its configuration is empty or has more than {MOST_TEXT} bytes or {MOST_VALUES} values")
    config = parsed_json(text)
    if not isinstance(config, dict):
        raise FormatError("its configuration describes no model")
    return config


class Weights:
    """Gives each layer, as it is built, the arrays of its group in a file of Keras 3."""

    def __init__(self, file):
        roots = [name for name in ("layers", "_layer_checkpoint_dependencies") if name in file.names()]
        self.root = file.at(roots[0]) if roots else None        # the second is that of Keras 2.12
        self.seen, self.known = {}, set()
        self.group, self.taken = "", 0

    def begin(self, layer):
        name = _group(layer, self.seen)
        self.known.add(name)
        self.group, self.taken = f"{name}/vars", 0

    def __call__(self, name, shape, dtype):
        if self.root is None:
            raise FormatError("it has no group of layers")
        array = self.root.array(f"{self.group}/{self.taken}", shape, (np.dtype(dtype).str[1:],))
        self.taken += 1
        return array

    def skip(self):
        self.taken += 1

    def end(self, layer):
        """Nothing of the layer may be left over."""
        known = self.root.names() if self.root else []
        count = len(self.root.at(self.group).names()) if self.group.split("/")[0] in known else 0
        if count != self.taken:
            raise FormatError(f"layer {layer.name!r} has {self.taken} arrays, its group in the file {count}")

    def finish(self):
        """Nor any layer."""
        extra = {name for name in (self.root.names() if self.root else []) if not name.startswith("input_layer")}
        if extra := extra - self.known:
            raise FormatError(f"it holds weights of layers that the model does not have: {', '.join(sorted(extra))}")


def model_from(config, weights):
    """The Sequential that Keras describes, its layers built from `weights` one after the other."""
    kind, words = keras_words._class_of(config, "the model")
    if kind not in ("Sequential", "Functional", "Model"):
        raise FormatError(f"its model is a {kind!r:.60}, fastnn reads Sequential, and Functional with layers in one "
                          "chain")
    listed = words.get("layers")
    if not isinstance(listed, list) or not 0 < len(listed) <= MOST_LAYERS:
        raise FormatError(f"its model has no list of up to {MOST_LAYERS} layers")
    listed = listed if kind == "Sequential" else chain(words, listed)
    model = models.Sequential(name=keras_words._text(words.get("name"), "the model"))
    shape = words.get("build_input_shape")
    shape = keras_words._batch_shape(shape, "the model") if shape else None
    position = 0
    for entry in listed:
        layer = keras_words.layer_from(entry, position + 1)
        if isinstance(layer, layers.Input) and not model.layers and len(listed) > 1:
            shape = layer.input_shape           # goes to the first layer that computes, as Keras counts them
            continue
        layer.input_shape = layer.input_shape or (None if model.layers else shape)
        _add(model, layer, weights, position := position + 1)
    weights.finish()
    return model


def _add(model, layer, weights, position):
    weights.begin(layer)
    token = stored.set(weights)
    try:
        model.add(layer)
    except FormatError as error:
        raise FormatError(f"layer {position} ({layer.name!r:.60}, {type(layer).__name__}): {error}") from error
    finally:
        stored.reset(token)
    if not layer.built:
        raise FormatError("its model was saved before it knew its input")
    if isinstance(layer, layers.Normalization) and layer.mean is None:
        layer.set_moments(*_moments(layer, weights))
    weights.end(layer)


def _moments(layer, weights):
    """The mean and the variance of a Normalization layer; what Keras counts beside them is left."""
    found = [weights(layer.name, _of_moments(layer), layer.dtype) for _ in range(2)]
    weights.skip()
    return found


def _of_moments(layer):
    return () if layer.axis is None else layer.output_shape[-1:]


def chain(words, listed):
    """The layers of a Functional model from input to output, if each takes only what the one before gives."""
    after = {}
    for entry in listed:
        name, before = keras_words._text(entry.get("name"), "a layer"), _inbound(entry)
        if len(before) > 1 or before and before[0] in after or not before and None in after:
            raise FormatError(f"layer {name!r:.60} joins, or shares, or is a second input: fastnn reads layers in one "
                              "chain")
        after[before[0] if before else None] = entry
    ordered, name = [], None
    while name in after:
        ordered.append(after.pop(name))
        name = ordered[-1]["name"]
    outputs = words.get("output_layers")
    if after or outputs not in ([name, 0, 0], [[name, 0, 0]]):
        raise FormatError("its model has branches, several outputs or nodes that are not used: fastnn reads layers in "
                          "one chain")
    return ordered


def _inbound(entry):
    """The names of the layers whose outputs a layer takes."""
    found, todo = [], [entry.get("inbound_nodes")]
    while todo:
        node = todo.pop()
        if isinstance(node, dict):
            todo += [node["config"].get("keras_history")] if node.get("class_name") == "__keras_tensor__" else \
                node.values()
        elif isinstance(node, list):
            if node and isinstance(node[0], str):
                found.append(node[0])
            else:
                todo += node
    return found


# Training

def compile_from(model, config):
    """Compile a model as Keras has written down; FormatError for what fastnn does not have."""
    if not isinstance(config, dict):
        raise FormatError("its compile_config is not a dictionary")
    if config.get("loss_weights") not in (None, [], [None], [1.0]):
        raise FormatError(f"it was compiled with loss_weights={config['loss_weights']!r:.60}, which fastnn does not "
                          "have. Load it with compile=False")
    try:
        model.compile(keras_words.optimizer_from(config.get("optimizer")), keras_words.loss_from(config.get("loss")),
                      keras_words.metrics_from(config.get("metrics")),
                      keras_words.metrics_from(config.get("weighted_metrics")))
    except (TypeError, ValueError) as error:
        raise FormatError(f"it was compiled with what fastnn does not have: {error}. Load it with compile=False") \
            from error
    rate = model.optimizer.learning_rate
    if not model.optimizer.schedule and rate == np.float32(rate):       # 0.001 comes back as 0.0010000000474974513
        model.optimizer.learning_rate = float(str(np.float32(rate)))


def optimizer_state(group):
    """How many arrays a group of Keras 3 holds, and how to take one of them."""
    return len(group.names()), lambda i, shape, kinds: group.array(str(i), shape, kinds)


def set_optimizer(model, count, take):
    """The step and slots from an optimizer's variables in Keras' order; a warning where there is another number."""
    import warnings

    optimizer, weights = model.optimizer, model.trainable_weights
    slots, first = len(optimizer.slot_names), 1 if model.optimizer.schedule else 2
    expected = first + slots * len(weights) + isinstance(optimizer, optimizers.Nadam)
    if count == first:                      # not trained yet
        optimizer.iterations = _step(take)
        return
    if count != expected:
        warnings.warn(f"The file has {count} variables of an optimizer, and {type(optimizer).__name__} "
                      f"{expected}: its state is not loaded, training starts anew.", stacklevel=5)
        return
    step, given = _step(take), [[] for _ in weights]
    for at, (i, _) in enumerate(slot_order(optimizer, len(weights)), first):
        given[i].append(take(at, weights[i].shape, (weights[i].dtype.str[1:],)))
    optimizer.build(weights)
    for row, arrays in zip(optimizer.slots, given, strict=True):
        for slot, array in zip(row, arrays, strict=True):
            slot[...] = array
    optimizer.iterations = step


def _step(take):
    step = int(take(0, (), WHOLE))
    if not 0 <= step < 2**53:
        raise FormatError(f"its optimizer has taken {step} steps")
    return step
