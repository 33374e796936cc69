"""Dense neural networks on CPUs, fast and reproducible to the bit, in Keras' words.

>>> from fastnn import layers, models
>>> model = models.Sequential([layers.Dense(512, activation='relu', input_shape=(784,)),
...                            layers.Dense(10, activation='softmax')])
"""
from contextlib import contextmanager

try:
    from . import _core
except ImportError as error:
    raise ImportError(
        "fastnn's compiled module was not found. Inside the source folder, leave the folder to use the installed "
        "package, or build in place with: pip install -e ."
    ) from error
from . import (
    activations,
    callbacks,
    constraints,
    datasets,
    initializers,
    layers,
    losses,
    metrics,
    models,
    ops,
    optimizers,
    regularizers,
    saving,
    utils,
)
from .layers import Input
from .models import Sequential
from .saving import FormatError

__version__ = "0.1.0"
__all__ = ["FormatError", "Input", "Sequential", "activations", "callbacks", "check_gradient", "constraints",
           "datasets", "gradient", "info", "initializers", "layers", "losses", "metrics", "models", "ops", "optimizers",
           "regularizers", "saving", "set_num_threads", "threads", "utils", "value_and_gradient"]


def __getattr__(name):
    """gradient, value_and_gradient and check_gradient, imported when they are first used."""
    if name in ("check_gradient", "gradient", "value_and_gradient"):
        from . import gradients

        globals()[name] = getattr(gradients, name)
        return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def set_num_threads(n):
    """Use up to n threads (1 to 256) from now on.  Results do not depend on it."""
    _core.set_threads(n)


@contextmanager
def threads(n):
    """Use up to n threads inside a with block: `with fastnn.threads(1): model.fit(x, y)`."""
    before = _core.get_threads()
    _core.set_threads(n)
    try:
        yield
    finally:
        _core.set_threads(before)


def info():
    """What runs here: version, numpy, isa (in use), isas (compiled: supported by this CPU), threads, data (places
    where MNIST is looked for)."""
    import numpy

    return {"version": __version__, "numpy": numpy.__version__, "isa": _core.get_isa(), "isas": _core.isas(),
            "threads": _core.get_threads(), "data": datasets.mnist.places()}
