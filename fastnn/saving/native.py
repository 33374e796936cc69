"""The native format .fastnn: a model, or weights alone, in one file; training goes on as if it had not been saved."""
from contextlib import contextmanager

import numpy as np

from ..utils import constructor_words
from .attached import attached, detached
from .container import pack, unpack
from .files import FormatError

WORDS = {"model", "compile", "weights", "seed", "epochs", "iterations", "slots", "spared", "training"}
WRONG = (TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError, RecursionError)


def write(model, include_optimizer=True):
    """The bytes of a whole model: architecture, weights, how it is compiled, optimizer, and its place in training."""
    from . import plain

    compiled = plain.compile_config(model) if include_optimizer else None
    words, tensors = _state(model, compiled is not None)
    return pack({"model": detached(plain.model_config(model), tensors), "compile": compiled, **words}, tensors)


def write_weights(model):
    """The bytes of the weights alone."""
    names = names_of_weights(model)
    return pack({"weights": names}, dict(zip(names, model.weights, strict=True)))


def write_state(model):
    """The bytes of all that training has made so far, and of where it stands."""
    words, tensors = _state(model, True)
    for name, array in _metric_states(model):
        tensors[name] = array
    return pack({"training": model.place.as_data(), **words}, tensors)


def _metric_states(model):
    """What the metrics that are told outputs have counted in the epoch so far: names and arrays."""
    for i, (metric, _) in enumerate(model._told):
        words = constructor_words(type(metric))
        for word, value in vars(metric).items():
            if word not in words and isinstance(value, (int, float, np.ndarray)):
                yield f"metric.{i}.{word}", np.asarray(value)


def _state(model, with_optimizer):
    """Words and tensors; "slots" has a row for each weight, null for one that the optimizer has not moved."""
    names = names_of_weights(model)
    words, tensors = {"weights": names, "seed": model._seed, "epochs": model._epochs}, {}
    tensors.update(zip(names, model.weights, strict=True))
    if with_optimizer:
        optimizer = model.optimizer
        owners = optimizer._weights if optimizer.slots else []
        moved = {id(weight): slots for weight, slots in zip(owners, optimizer.slots or [], strict=True)}
        rows = [moved.get(id(weight)) for weight in model.weights]
        named = [row and {f"{name}.{slot}": array for slot, array in zip(optimizer.slot_names, row, strict=True)}
                 for name, row in zip(names, rows, strict=True)]
        spared, parts = optimizer._spared
        words |= {"iterations": optimizer.iterations, "slots": [None if row is None else list(row) for row in named],
                  "spared": [parts, [i for i, w in enumerate(model.weights) if any(w is other for other in spared)]]}
        for row in named:
            tensors.update(row or {})
    return words, tensors


def names_of_weights(model):
    """A name for each weight, for who looks into the file: 0.dense.weight."""
    names = []
    for i, layer in enumerate(model.layers):
        known = {id(value): word.lstrip("_") for word, value in vars(layer).items() if isinstance(value, np.ndarray)}
        names += [f"{i}.{layer.name}.{known.get(id(weight), j)}" for j, weight in enumerate(layer.weights)]
    return names


@contextmanager
def _blame(source):
    """What goes wrong with the contents of a file is a FormatError that names it."""
    try:
        yield
    except FormatError:
        raise
    except WRONG as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise FormatError(f"{source} cannot be loaded: {what if len(what) < 500 else what[:500] + '...'}") from error


def _unpacked(data, source):
    words, tensors = unpack(data, source)
    if strange := words.keys() - WORDS:
        raise FormatError(f"{source} cannot be loaded: it holds the unknown word {min(strange)[:60]!r}.")
    return words, tensors


def read(data, source, compile=True):
    """A model from the bytes of write()."""
    from . import plain

    words, tensors = _unpacked(data, source)
    if words.get("model") is None:
        raise FormatError(f"{source} holds weights without a model. Build the model with its code, then call "
                          "model.load_weights(...).")
    with _blame(source):
        arrays = _taken(tensors, words["weights"])
        model = plain.model_from(attached(words["model"], tensors), as_seed(words), arrays, len(data))
        if [w.shape for w in model.weights] != [a.shape for a in arrays]:
            raise ValueError(f"it holds {len(arrays)} weights, the layers have {len(model.weights)}")
        model._epochs = as_count(words["epochs"])
        if words["compile"] is not None and compile:
            plain.compile_from(model, words["compile"])
            _set_optimizer(model, words, tensors)
        elif words["compile"] is not None:
            for row in words["slots"]:
                _taken(tensors, row or [])
        if tensors:
            raise ValueError(f"tensor {next(iter(tensors))!r} belongs to nothing")
    return model


def read_weights(model, data, source):
    """The weights of a file of write() or write_weights() into a model that is built."""
    words, tensors = _unpacked(data, source)
    with _blame(source):
        arrays = _taken(tensors, words["weights"])
    if [a.shape for a in arrays] != [w.shape for w in model.weights]:
        raise ValueError(f"{source} holds weights of shapes {[a.shape for a in arrays]}, the model has "
                         f"{[w.shape for w in model.weights]}. Build the model that they were saved from.")
    model.set_weights(arrays)


def read_state(model, data, source):
    """What write_state() has kept, into the model that it was made of or a twin."""
    words, tensors = _unpacked(data, source)
    with _blame(source):
        arrays, seed, epochs = _taken(tensors, words["weights"]), as_seed(words), as_count(words["epochs"])
        if [(a.shape, a.dtype) for a in arrays] != [(w.shape, w.dtype) for w in model.weights]:
            raise ValueError("it is of a model with other weights")
        place = _place(words["training"])
        _set_optimizer(model, words, tensors)
        model.set_weights(arrays)
        place.counted = {name: array.copy() for name, array in tensors.items()}
        model._seed, model._epochs, model.place = seed, epochs, place


def set_metric_states(model, counted):
    """What _metric_states() gave, into the metrics of the same names."""
    for i, (metric, _) in enumerate(model._told):
        for word in vars(metric):
            if (array := counted.get(f"metric.{i}.{word}")) is not None:
                setattr(metric, word, array if array.ndim else array.item())


def _set_optimizer(model, words, tensors):
    """Steps and slots, once all have been checked."""
    optimizer, rows = model.optimizer, words["slots"]
    iterations = as_count(words["iterations"])
    if len(rows) != len(model.weights):
        raise ValueError(f"it has optimizer slots for {len(rows)} weights of {len(model.weights)}")
    moved = [(weight, _taken(tensors, row)) for weight, row in zip(model.weights, rows, strict=True) if row is not None]
    for weight, row in moved:
        if [(a.shape, a.dtype) for a in row] != [(weight.shape, weight.dtype)] * len(optimizer.slot_names):
            raise ValueError(f"its optimizer slots do not fit {type(optimizer).__name__}")
    parts, spared = words["spared"]
    optimizer.exclude_from_weight_decay([model.weights[as_count(i)] for i in spared], [str(part) for part in parts])
    if moved:
        optimizer.build([weight for weight, _ in moved])
        for (_, row), slots in zip(moved, optimizer.slots, strict=True):
            for array, slot in zip(row, slots, strict=True):
                slot[...] = array
    optimizer.iterations = iterations


def _taken(tensors, names):
    """The tensors of these names, taken out: who is left in the end belongs to nothing."""
    if not isinstance(names, list):
        raise TypeError("it has no list of weights")
    return [tensors.pop(name) for name in names]


def _place(words):
    from ..training import Place

    begun, totals = words["begun"], [float(total) for total in words["totals"]]
    counts = {word: None if words[word] is None else as_count(words[word])
              for word in ("steps", "epoch", "done", "seen")}
    return Place(**counts, totals=totals, begun=None if begun is None else tuple(as_count(part) for part in begun))


def as_seed(words):
    return None if words["seed"] is None else as_count(words["seed"], 2**64)


def as_count(value, end=2**53):
    if type(value) is not int or not 0 <= value < end:
        raise ValueError(f"{str(value)[:60]} is no count")
    return value
