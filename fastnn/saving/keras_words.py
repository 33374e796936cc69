"""Keras' configurations, read into objects of fastnn and written from them.

Keras and fastnn share the names of classes and of their words, so there is a row here only for what differs.  Reading
goes by the closed tables of fastnn: nothing else is looked up, imported or called.
"""
import re

from .. import constraints, initializers, layers, losses, metrics, optimizers, regularizers, schedules
from ..utils import Configured, constructor_words, described
from .files import FormatError

NOT_KERAS = {"Input", "Lambda", "SparseDense", "Accuracy", "Huber", "ConfusionMatrix"}     # or of another meaning there
LAYERS = {"InputLayer": layers.Input} | {name: cls for name, cls in layers.LAYERS.items() if name not in NOT_KERAS}
LOSSES = {cls.__name__: cls for cls in losses.LOSSES.values()}
METRICS = {cls.__name__: cls for cls in metrics.CLASSES if cls.__name__ not in NOT_KERAS}
REGULARIZERS = {cls.__name__: cls for cls in (regularizers.L1, regularizers.L2, regularizers.L1L2)}
OPTIMIZERS = {cls.__name__: cls for cls in optimizers.OPTIMIZERS.values()}
INITIALIZERS = {cls.__name__: cls for cls in initializers.INITIALIZERS.values()}
CONSTRAINTS = {cls.__name__: cls for cls in constraints.CONSTRAINTS.values()}
OBJECTS: dict = {"_initializer": INITIALIZERS, "_regularizer": REGULARIZERS,        # by the end of words that take one
                 "_constraint": CONSTRAINTS, "learning_rate": schedules.SCHEDULES}
RENAMED = {("LeakyReLU", "alpha"): "negative_slope"}        # in Keras 2

# Words of Keras that fastnn lacks: those that change no result, and others with the values that change none.
IGNORED = {"name", "dtype", "jit_compile", "is_legacy_optimizer", "ema_momentum", "ema_overwrite_frequency",
           "renorm_clipping", "renorm_momentum"}
NEUTRAL = {"data_format": ["channels_last"], "axis": [-1], "threshold": [0.5, None],
           "reduction": ["sum_over_batch_size", "auto", "mean"], "loss_scale_factor": [None, 1.0],
           "gradient_accumulation_steps": [None, 1], "input_dtype": ["float32", "float64", None]}


def layer_from(config, position):
    """The layer that Keras describes; position: its number in the model, from 1."""
    kind, given = _class_of(config, f"layer {position}")
    where = f"layer {position} ({given.get('name')!r:.60}, {kind:.60})"
    if kind not in LAYERS:
        raise FormatError(f"{where} is not supported in fastnn, which reads: {', '.join(sorted(LAYERS))}")
    return _made(LAYERS[kind], given, where)


def loss_from(config):
    return _name_of_function(config) or _object(config, "the loss", LOSSES)


def optimizer_from(config):
    return config if isinstance(config, str) else _object(config, "the optimizer", OPTIMIZERS)


def _name_of_function(config):
    """The name of one of Keras' functions, which is then looked up among those of fastnn; None for an object."""
    if isinstance(config, dict) and config.get("class_name") == "function" and config.get("module") == "builtins":
        config = config.get("config")
    return config if isinstance(config, str) else None


def metrics_from(config):
    """From a list, which Keras nests for models of one output, the metrics in it."""
    found = []
    for metric in config if isinstance(config, list) else [] if config is None else [config]:
        if isinstance(metric, list):
            found += metrics_from(metric)
        elif isinstance(metric, dict) and metric.get("class_name") == "MeanMetricWrapper":      # of Keras 2
            found.append(_wrapped_metric(metric))
        else:
            found.append(_name_of_function(metric) or _object(metric, "a metric", METRICS))
    return found


def _wrapped_metric(config):
    _, given = _class_of(config, "a metric")
    metric = metrics.get(_text(given.get("fn"), "a metric's fn"))
    metric.name = _text(given.get("name"), "a metric's name")
    return metric


def _object(config, where, classes):
    """An object of one of the classes, from its class_name and config."""
    kind, given = _class_of(config, where)
    where = f"{where} {kind!r:.60}"
    if kind not in classes:
        raise FormatError(f"{where} is not supported in fastnn, which reads: {', '.join(sorted(classes))}")
    return _made(classes[kind], given, where)


def _class_of(config, where):
    """The class's name, without the package of one that was registered, and its words."""
    if not isinstance(config, dict) or not isinstance(config.get("config"), dict):
        raise FormatError(f"{where} is described by {config!r:.60}, which has no class_name and config")
    return _text(config.get("class_name"), where), config["config"]


def _made(cls, given, where):
    words = {}
    known = [*constructor_words(cls), *constructor_words(getattr(cls, "loss_class", object))]
    for word, value in given.items():
        word = RENAMED.get((cls.__name__, word), word)
        if word in ("batch_shape", "batch_input_shape"):
            words["shape" if cls is layers.Input else "input_shape"] = _batch_shape(value, where)
        elif word == "dtype" and word in known:
            words[word] = dtype_from(value, where)
        elif word in known and word != "reduction":
            words[word] = _value(word, value, where)
        elif word not in IGNORED and value not in NEUTRAL.get(word, [None, False]):
            raise FormatError(f"{where} has {word}={value!r:.60}, which fastnn does not have")
    if "name" in words:
        _text(words["name"], where)
    try:
        return cls(**words)
    except (TypeError, ValueError, OverflowError) as error:
        raise FormatError(f"{where}: {error}") from error


def _value(word, value, where):
    """A word's value: plain data, or an object of the kind that the word takes."""
    if isinstance(value, dict) and value.get("class_name") == "__tuple__" and isinstance(value.get("items"), list):
        value = tuple(value["items"])
    classes = next((classes for end, classes in OBJECTS.items() if word.endswith(end)), None)
    if classes and isinstance(value, dict):
        return _object(value, f"{where}: {word}", classes)
    if word == "axis" and isinstance(value, (list, tuple)) and len(value) == 1:
        value = value[0]
    if word == "activation" and not isinstance(value, (str, type(None))) or isinstance(value, dict):
        raise FormatError(f"{where} has {word}={value!r:.60}, which fastnn does not read")
    return value


def _batch_shape(value, where):
    """The shape of one sample, from the one with the batch axis first."""
    shape = value.get("items") if isinstance(value, dict) else value
    if not isinstance(shape, (list, tuple)) or len(shape) < 2 or not all(type(n) is int and n > 0 for n in shape[1:]):
        raise FormatError(f"{where} has the shape {value!r:.60}: every length but the first must be known")
    return tuple(shape[1:])


def dtype_from(value, where):
    """'float32' or 'float64', from a name or a policy."""
    if isinstance(value, dict):
        value = _class_of(value, where)[1].get("name")
    if value not in ("float32", "float64"):
        raise FormatError(f"{where} has dtype {value!r:.60}, fastnn has float32 and float64")
    return value


def _text(value, where):
    if not isinstance(value, str):
        raise FormatError(f"{where} has {value!r:.60} where a name is expected")
    value.encode()                          # half a surrogate pair, which could never be printed
    return value


# Writing

def snake_case(name):
    """A class's name in the paths of Keras' files: LeakyReLU is leaky_re_lu."""
    return re.sub("([a-z])([A-Z])", r"\1_\2", re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)).lower()


def layer_config(layer):
    """A layer as Keras describes it."""
    name = type(layer).__name__
    if name in NOT_KERAS - {"Input"} or name not in layers.LAYERS:
        instead = ", or put layer.to_dense() in its place" if isinstance(layer, layers.SparseDense) else ""
        raise TypeError(f"Layer {layer.name!r} is a {name}, which Keras does not have. "
                        f"Save the model as .fastnn{instead}.")
    if isinstance(layer, layers.Input):
        return input_config(layer.input_shape, layer.dtype, layer.name)
    words = {word: _written(word, value) for word, value in layer.get_config().items()
             if word not in ("input_shape", "shape")}
    if words.get("activation") == "gelu_tanh":
        raise TypeError(f"Layer {layer.name!r} has activation='gelu_tanh', which Keras knows no name of. Save the "
                        "model as .fastnn.")
    if name == "Normalization":             # its moments are variables there
        words |= {"mean": None, "variance": None}
    return _keras("keras.layers", name, words | {"dtype": layer.dtype}) | {
        "build_config": {"input_shape": [None, *layer.input_shape]}}


def input_config(shape, dtype, name="input_layer"):
    return _keras("keras.layers", "InputLayer", {"batch_shape": [None, *shape], "dtype": dtype, "name": name})


def _written(word, value):
    module = next((module for end, module in MODULES.items() if word.endswith(end)), None)
    if module and isinstance(value, dict):
        return _keras(module, value["class_name"], value["config"])
    return list(value) if isinstance(value, tuple) else value


MODULES = {"_initializer": "keras.initializers", "_regularizer": "keras.regularizers",
           "_constraint": "keras.constraints", "learning_rate": "keras.optimizers.schedules"}


def _keras(module, name, words):
    return {"module": module, "class_name": name, "config": words, "registered_name": None}


def compile_config(model):
    """The words of compile() as Keras keeps them, or None for a model that is not compiled."""
    if model.loss is None:
        return None
    return {"optimizer": object_config("optimizers", model.optimizer, OPTIMIZERS),
            "loss": object_config("losses", model.loss, LOSSES),
            "loss_weights": None,
            "metrics": [_metric_config(metric) for metric in model.metrics],
            "weighted_metrics": [_metric_config(metric) for metric in model.weighted_metrics] or None,
            "run_eagerly": False, "steps_per_execution": 1, "jit_compile": False}


def _metric_config(metric):
    if type(metric) is metrics.Accuracy and metric.name in ("acc", "accuracy"):
        return metric.name                  # which becomes another class by the outputs, as here
    return object_config("metrics", metric, METRICS)


def object_config(kind, thing, classes):
    name = type(thing).__name__
    if classes.get(name) is not type(thing):
        raise TypeError(f"{name} is not one of Keras' {kind}: {', '.join(sorted(classes))}. Save the weights alone, or "
                        "the model with include_optimizer=False.")
    words = thing.get_config() if isinstance(thing, Configured) else described(thing)
    return _keras(f"keras.{kind}", name, {word: _written(word, value) for word, value in words.items()})
