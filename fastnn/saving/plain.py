"""Models as plain data and back: what JSON can hold, of the classes that fastnn knows and of no others."""
import json
import math

import numpy as np

from .. import layers, losses, metrics, models, optimizers
from ..layers.base import stored
from ..utils import Configured, described

MOST_LAYERS = 1000
MOST_ELEMENTS = 2**20       # of one sample in all layers together, unless the file has more bytes


def model_config(model):
    """{"class_name": "Sequential", "config": ...}.  TypeError for what is a Python function, or a class of its own."""
    if len(model.layers) > MOST_LAYERS:
        raise ValueError(f"A model of {len(model.layers)} layers cannot be saved, at most {MOST_LAYERS}.")
    if len({id(layer) for layer in model.layers}) < len(model.layers):
        raise ValueError("A model with one layer at two places cannot be saved. Use two layers.")
    return {"class_name": "Sequential", "config": {
        "name": plain(model.name, "name"),
        "layers": [known(layer, f"layer {layer.name!r}") for layer in model.layers]}}


def compile_config(model):
    """The words that compile() was given, or None."""
    if model.loss is None:
        return None
    return {"optimizer": known(model.optimizer, "the optimizer"), "loss": known(model.loss, "the loss"),
            "metrics": [known(metric, f"metric {metric.name!r}") for metric in model.metrics],
            "weighted_metrics": [known(metric, f"metric {metric.name!r}") for metric in model.weighted_metrics]}


def known(thing, where):
    """described(thing) as JSON can hold it, if thing and all in it are of classes of fastnn."""
    own = [part for part in [thing, *vars(thing).values()]
           if isinstance(part, Configured) and not type(part).__module__.startswith("fastnn.")]
    if own:
        raise TypeError(f"{where} is or holds a {type(own[0]).__name__}, a class of your own, which a file cannot "
                        "hold. Save the weights alone with save_weights(), and build the model with its code.")
    return plain(described(thing), where)


def plain(value, where):
    if isinstance(value, dict):
        return {str(key): plain(part, f"{where}: {key}") for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part, where) for part in value]
    if isinstance(value, (np.generic, np.ndarray)):
        return plain(value.tolist(), where)
    if value is None or isinstance(value, (str, bool, int)) or isinstance(value, float) and math.isfinite(value):
        return value
    raise TypeError(f"{where} is {value!r}, which a file cannot hold. Save the weights alone with save_weights(), and "
                    "build the model with its code.")


def model_from(config, seed=None, arrays=None, size=0):
    """A model from what model_config() gave.

    arrays: the parameters layer by layer, from a file of `size` bytes, checked against the shapes before memory is
    taken; by default new random ones.  Raises ValueError, TypeError, KeyError or AttributeError for data that
    model_config() does not give.
    """
    config = of_class(config, "Sequential")
    if not isinstance(listed := config["layers"], list) or len(listed) > MOST_LAYERS:
        raise ValueError(f"a model's layers must be a list of at most {MOST_LAYERS}")
    model = models.Sequential(name=text(config["name"]))
    model._seed = seed
    token, room = stored.set(None if arrays is None else _Taker(arrays)), max(MOST_ELEMENTS, size)
    try:
        for i, layer in enumerate(listed):
            layer = _layer(layer, i)
            before = model.layers[-1].output_shape if model.layers else layer.input_shape
            if before is not None:
                room -= math.prod(before) + math.prod(layer.shape_after(before))
            if room < 0:
                raise ValueError(f"layer {i} takes or gives too many numbers for a file of {size} bytes")
            model.add(layer)
    finally:
        stored.reset(token)
    return model


def _layer(config, i):
    kind = config["class_name"] if isinstance(config, dict) else config
    if not isinstance(kind, str) or kind == "Lambda" or kind not in layers.LAYERS:
        usable = ", ".join(sorted(set(layers.LAYERS) - {"Lambda"}))
        raise ValueError(f"layer {i} is {kind!r}, which is not one of {usable}")
    layer = layers.get({"class_name": kind, "config": of_class(config, kind)})
    if layer.name is not None:
        text(layer.name)
    return layer


class _Taker:
    """Gives the arrays of a file one by one to the layers as they are built."""

    def __init__(self, arrays):
        self.arrays = iter(arrays)

    def __call__(self, name, shape, dtype):
        array = next(self.arrays, None)
        if array is None:
            raise ValueError(f"it holds no {shape} for layer {name!r}")
        if array.shape != tuple(shape) or array.dtype != dtype:
            raise ValueError(f"layer {name!r} needs {tuple(shape)} {dtype}, the file has {array.shape} {array.dtype}")
        return array


def compile_from(model, config):
    """Compile a model as compile_config() has written down."""
    plain_ones, weighted = ([metrics.get(_described(metric)) for metric in config[word]]
                            for word in ("metrics", "weighted_metrics"))
    model.compile(optimizers.get(_described(config["optimizer"])), losses.get(_described(config["loss"])), plain_ones,
                  weighted)


def _described(config):
    return {"class_name": text(config["class_name"]), "config": of_class(config, config["class_name"])}


def of_class(config, name):
    """The words in {"class_name": name, "config": words}."""
    if not isinstance(config, dict) or config.get("class_name") != name or not isinstance(config.get("config"), dict):
        raise ValueError(f"{str(config)[:60]!r} does not describe a {name}")
    return config["config"]


def text(value):
    if not isinstance(value, str):
        raise TypeError(f"a name must be text, received {str(value)[:60]!r}")
    return value


def to_json(model, **options):
    """The architecture as JSON text, without the weights."""
    return json.dumps(model_config(model), **options)


def from_json(given):
    """A model with new random weights from what to_json() gave."""
    return model_from(json.loads(given))
