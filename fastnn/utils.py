"""Labels as one-hot rows, the random seed, and objects by name or as plain data."""
import math
import numbers
import os

import numpy as np

TAKES_MORE = 8              # inspect.CO_VARKEYWORDS, without that module
_seed = None
_models = 0


def to_categorical(y, num_classes=None):
    """One row of 0 and 1 for each integer label.

    y: integers of shape (n,) or (n, 1), 0 or more.  num_classes: columns; the largest label + 1 by default.
    Returns float64 of shape (n, num_classes), as Keras does.  Raises ValueError for labels that are negative,
    not whole or not below num_classes.

    >>> to_categorical([0, 2])
    array([[1., 0., 0.],
           [0., 0., 1.]])
    """
    labels = as_labels(y, "y")
    if num_classes is not None:
        num_classes = whole_number("num_classes", num_classes, 1)
    if labels.min(initial=0) < 0:
        raise ValueError(f"Labels start at 0, received {labels.min()} to {labels.max()}.")
    most = int(labels.max(initial=-1)) + 1
    classes = most if num_classes is None else num_classes
    if most > classes:
        raise ValueError(f"Labels must be from 0 to num_classes - 1 = {classes - 1}, "
                         f"received {labels.min()} to {labels.max()}.")
    rows = np.zeros((len(labels), classes))
    np.put_along_axis(rows, labels[:, None], 1.0, axis=1)
    return rows


def normalize(x, axis=-1, order=2):
    """x divided by its norm along an axis, where that is not 0: rows of length 1.

    order: of the norm, as in np.linalg.norm.  Returns floats of x's shape.

    >>> normalize([[3.0, 4.0], [0.0, 0.0]])
    array([[0.6, 0.8],
           [0. , 0. ]])
    """
    x = np.asarray(x)
    norm = np.linalg.norm(x, order, axis, keepdims=True)
    return x / np.where(norm == 0, norm.dtype.type(1), norm)


def as_labels(y, name):
    """y as int64 of shape (n,), from whole numbers of shape (n,) or (n, 1)."""
    y = np.asarray(y)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1:
        raise ValueError(f"{name} must hold one integer label per sample, shape (n,), received shape {y.shape}.")
    if y.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold integer labels, received dtype {y.dtype}.")
    with np.errstate(invalid="ignore"):     # NaN and infinity fail the comparison below
        labels = y.astype(np.int64)
    if y.dtype.kind in "fu" and not np.array_equal(labels, y):
        raise ValueError(f"{name} must hold integer labels, received numbers that are not whole or too large.")
    return labels


def set_random_seed(seed):
    """Fix what is random from here on: initial weights, shuffling, and Python's and NumPy's own generators.

    seed: an integer, 0 or more.  Models built afterwards in the same order get the same weights, and train to
    the same bits on any number of threads and any instruction set with FMA.
    """
    global _seed, _models
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ValueError(f"The seed must be an integer, 0 or more, received {seed!r}.")
    _seed, _models = int(seed) % 2**64, 0
    import random

    random.seed(int(seed))
    np.random.seed(int(seed) % 2**32)


def next_model_seed():
    """The seed of the next model: a function of the global seed and of how many models came before."""
    global _seed, _models
    if _seed is None:
        _seed = int.from_bytes(os.urandom(8), "little")
    _models += 1
    return (_seed + (_models - 1) * 0x9E3779B97F4A7C15) % 2**64


def as_list(value):
    """Nothing, one thing or several as a list."""
    return [] if value is None else list(value) if isinstance(value, (list, tuple)) else [value]


def look_up(kind, name, table):
    """table[name], or a ValueError that names the nearest spelling and all there is."""
    if isinstance(name, str):
        classes = {getattr(thing, "__name__", word).lower(): thing for word, thing in table.items()}
        found = table.get(name.lower()) or classes.get(name.lower())
        if found:
            return found
    from difflib import get_close_matches

    name = name if len(str(name)) < 100 else f"{str(name)[:100]}..."
    near = get_close_matches(str(name).lower(), table, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"Unknown {kind} {name!r}.{hint} Available: {', '.join(sorted(table))}.")


def raise_unknown(cls, word, instead):
    """TypeError for a word that a class is not constructed with; instead: what to do, by word."""
    from difflib import get_close_matches

    known = constructor_words(cls)
    near = get_close_matches(word, known, n=1, cutoff=0.75)
    advice = instead.get(word) or (f"Did you mean {near[0]!r}?" if near else f"It takes: {', '.join(known)}.")
    raise TypeError(f"{cls.__name__} has no argument {word!r:.60}. {advice}")


class Configured:
    """What is described by the words of its constructor, each kept as an attribute, and can be made anew from them."""

    def get_config(self):
        """The constructor's words and their values, as plain data."""
        return {word: described(getattr(self, word)) for word in constructor_words(type(self))}

    def described(self):
        """The class and the words, as plain data."""
        return {"class_name": type(self).__name__, "config": self.get_config()}

    @classmethod
    def from_config(cls, config):
        """An object from what get_config() gave."""
        return cls(**config)

    def clone(self):
        """A new object of the same class and words, which shares what the words name."""
        return type(self)(**{word: getattr(self, word) for word in constructor_words(type(self))})


def constructor_words(cls):
    """The words that a class and its bases are constructed with, but for second spellings of one."""
    words = {}
    for base in cls.__mro__:
        made_by = vars(base).get("__init__")
        code = getattr(getattr(made_by, "__wrapped__", made_by), "__code__", None)
        if code is not None:
            names = code.co_varnames[1:code.co_argcount + code.co_kwonlyargcount]
            words |= {name: None for name in names if name not in ("lr", "input_dim")}
            if not code.co_flags & TAKES_MORE:
                break                       # it hands no further words to its bases
    return list(words)


def described(value):
    """value as plain data: a Configured object as its class and words, one of our functions by its name."""
    if isinstance(value, Configured):
        return value.described()
    if callable(value) and getattr(value, "__module__", "").startswith("fastnn."):
        return value.__name__
    return value


def made(kind, given, base, table):
    """An object of class `base` from one, from a class, a name in the table, or what described() gave."""
    if isinstance(given, base):
        return given
    if isinstance(given, type) and issubclass(given, base):
        return given()
    if isinstance(given, dict) and "class_name" in given:
        classes = {cls.__name__.lower(): cls for cls in table.values()}
        return look_up(kind, given["class_name"], classes).from_config(given.get("config", {}))
    return look_up(kind, given, table)()


def whole_number(name, value, least):
    """value as an int >= least, or an error that says so."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be an integer, received {value!r}.")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, received {value}.")
    return int(value)


def real_number(name, value, least=-math.inf, most=math.inf):
    """value as a finite float from least to most, or an error that says so."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a finite number, received {value!r}.")
    if not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number, received {value!r}.")
    if not least <= value <= most:
        limits = f"at least {least:g}" if most == math.inf else f"from {least:g} to {most:g}"
        raise ValueError(f"{name} must be {limits}, received {value}.")
    return float(value)


def optional(module, doing, extra):
    """A library that fastnn does without until now, or an ImportError that says how to get it."""
    from importlib import import_module

    try:
        return import_module(module)
    except ImportError as error:
        needs = f'{doing} needs {module}. Install it with: pip install "fastnn-cpu[{extra}]"'
        raise ImportError(needs) from error
