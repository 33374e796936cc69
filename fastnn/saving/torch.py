"""Weights as the state_dict of a PyTorch nn.Sequential, in arrays and .safetensors files; PyTorch itself is not used.

A Dense layer is nn.Linear and, unless it is linear, the module of its activation, so the numbers of the names go by
modules: [Dense(512, 'relu'), Dense(10)] is Sequential(Linear, ReLU, Linear) with '0.weight', '0.bias', '2.weight', ...
nn.Linear keeps its weight as (outputs, inputs).
"""
import re

import numpy as np

from .. import layers, models
from .container import pack_tensors, tensors_of
from .files import FormatError, as_path, mapped


def to_state_dict(model):
    """The weights under the names of nn.Sequential, as a dict of arrays that are copies.

    >>> net.load_state_dict({name: torch.from_numpy(array) for name, array in to_state_dict(model).items()})
    """
    return {name: np.array(array.T if turned else array, order="C") for name, array, turned in _places(model)}


def from_state_dict(state, activation=None, model=None):
    """A model with the weights of a state_dict, as it comes from nn.Sequential or any module of layers in a row.

    state: a dict of arrays or tensors by name, or the path of a .safetensors file.  activation: of the layers made for
    nn.Linear, which the state does not tell: one name for all but the last, which stays linear, or a list with one for
    each.  model: one that is built, to take the weights instead; its layers count as modules.  Returns the model.

    >>> model = from_state_dict(net.state_dict(), activation=['relu', 'softmax'])
    """
    arrays = _arrays(state)
    if model is None:
        model = _model_of(arrays, activation)
    elif activation is not None:
        raise ValueError("Give activation= or model=, not both: a model has its own.")
    _load(model, arrays)
    return model


def write_weights(model):
    """The bytes of a .safetensors file with the state_dict."""
    return pack_tensors(to_state_dict(model), {"format": "pt"})


def read_weights(model, data, source):
    """The state_dict in a .safetensors file into a model that is built."""
    _load(model, tensors_of(data, source))


def _arrays(state):
    if not isinstance(state, dict) and not hasattr(state, "items"):
        return tensors_of(mapped(path := as_path(state)), path)
    return {name: np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
            for name, value in state.items()}


def _places(model):
    """The name of each weight, the weight, and whether PyTorch has it transposed."""
    if not model.built:
        raise RuntimeError("The model has no weights yet: give its first layer input_shape=, or call fit(x, y) first.")
    places, number = [], 0
    for layer in model.layers:
        if type(layer) not in MODULES:
            instead = ("Put layer.to_dense() in its place." if isinstance(layer, layers.SparseDense)
                       else "Leave it out, and do in the data what it does.")
            raise TypeError(f"Layer {layer.name!r} is a {type(layer).__name__}, which has no module in PyTorch. These "
                            f"have one: {', '.join(sorted(cls.__name__ for cls in MODULES))}. {instead}")
        for name, weight in zip(layer.weight_names(), layer.weights, strict=True):
            places.append((f"{number}.{NAMES.get(name, name)}", weight, weight.ndim == 2))
        number += type(layer) is not layers.Input
        number += type(layer) is layers.Dense and layer.activation != "linear"
    return places


# The layers that are modules there, and what their weights are called.
MODULES = {layers.Dense, layers.Activation, layers.ReLU, layers.LeakyReLU, layers.ELU, layers.Softmax, layers.Dropout,
           layers.BatchNormalization, layers.LayerNormalization, layers.Flatten, layers.Reshape, layers.Input}
NAMES = {"kernel": "weight", "gamma": "weight", "beta": "bias", "moving_mean": "running_mean",
         "moving_variance": "running_var"}
UNUSED = ("num_batches_tracked",)


def _grouped(arrays):
    """The arrays of each module by name, modules in order: by number if their names end in one, else as given."""
    modules = {}
    for name, array in arrays.items():
        prefix, _, word = name.rpartition(".")
        if word not in UNUSED:
            modules.setdefault(prefix, {})[word] = array
    numbers = _numbers(modules)
    ordered = sorted(modules, key=numbers.get) if len(numbers) == len(modules) else modules
    return {prefix: modules[prefix] for prefix in ordered}


def _numbers(modules):
    """The numbers that modules' names end in."""
    return {prefix: int(found[0]) for prefix in modules if (found := re.search(r"\d{1,9}$", prefix))}


def _load(model, arrays):
    """Overwrite the weights, module by module, once all have been checked."""
    places, given = _places(model), []
    modules = list(_grouped(arrays).items())
    mine = {}
    for name, weight, turned in places:
        mine.setdefault(name.rpartition(".")[0], []).append((name.rpartition(".")[2], weight, turned))
    if len(modules) != len(mine):
        raise ValueError(f"The state has {len(modules)} modules with parameters, the model {len(mine)} layers: "
                         f"{', '.join(map(repr, arrays))}.")
    for (prefix, found), (_, wanted) in zip(modules, mine.items(), strict=True):
        if found.keys() != {word for word, _, _ in wanted}:
            raise ValueError(f"Module {prefix!r} has {', '.join(found)}; the layer in its place needs "
                             f"{', '.join(word for word, _, _ in wanted)}.")
        for word, weight, turned in wanted:
            array = found[word].T if turned else found[word]
            if array.shape != weight.shape or array.dtype != weight.dtype:
                needed = weight.T.shape if turned else weight.shape
                raise ValueError(f"'{prefix}.{word}' is {found[word].dtype} of shape {found[word].shape}; the layer in "
                                 f"its place needs {weight.dtype} of shape {needed}.")
            given.append((weight, array))
    for weight, array in given:
        weight[...] = array


def _model_of(arrays, activation):
    """A model whose sizes are those of the arrays."""
    modules = _grouped(arrays)
    linear = [prefix for prefix, found in modules.items() if np.ndim(found.get("weight")) == 2]
    if not linear or linear[0] != next(iter(modules)):
        raise ValueError(f"The state does not begin with the weight (outputs, inputs) of an nn.Linear: "
                         f"{', '.join(map(repr, arrays)) or 'it is empty'}.")
    chosen = [activation] * (len(linear) - 1) + [None] if activation is None or isinstance(activation, str) \
        else list(activation)
    if len(chosen) != len(linear):
        raise ValueError(f"The state has {len(linear)} linear layers, activation= {len(chosen)}.")
    model = models.Sequential()
    dtype = modules[linear[0]]["weight"].dtype
    if dtype not in (np.float32, np.float64):
        raise TypeError(f"The weights are {dtype}, fastnn has float32 and float64. Convert them with .float() first.")
    waiting, numbers = None, [*_numbers(modules).values(), 0]
    for i, (prefix, found) in enumerate(modules.items()):
        if prefix in linear:
            waiting = chosen.pop(0)
        model.add(_layer_of(prefix, found, model.output_shape[1:] if model.layers else None, dtype.name))
        if waiting is not None and (len(numbers) <= len(modules) or numbers[i + 1] != numbers[i] + 1):
            if isinstance(model.layers[-1], layers.Dense):
                last = model.pop()
                model.add(layers.Dense(last.units, waiting, last.use_bias, input_shape=last.input_shape, dtype=dtype))
            else:
                model.add(layers.Activation(waiting))
            waiting = None
    return model


def _layer_of(prefix, found, before, dtype):
    """The layer of a module; PyTorch's own epsilon and momentum, which a state does not tell."""
    words, kind = found.keys(), found["weight"].ndim if "weight" in found else 0
    if words in ({"weight", "bias", "running_mean", "running_var"}, {"running_mean", "running_var"}):
        return layers.BatchNormalization(epsilon=1e-5, momentum=0.9, center="bias" in found, scale="weight" in found)
    if kind == 1 and words <= {"weight", "bias"}:
        return layers.LayerNormalization(epsilon=1e-5, center="bias" in found)
    if kind != 2 or not words <= {"weight", "bias"}:
        raise ValueError(f"Module {prefix!r} with {', '.join(found)} is not one that fastnn can make: nn.Linear, "
                         "nn.BatchNorm1d, nn.LayerNorm.")
    units, inputs = found["weight"].shape
    if before not in (None, (inputs,)):
        raise ValueError(f"'{prefix}.weight' takes {inputs} inputs, the layer before gives {before[0]}.")
    return layers.Dense(units, use_bias="bias" in found, input_shape=(inputs,), dtype=dtype)


__all__ = ["FormatError", "from_state_dict", "to_state_dict"]
