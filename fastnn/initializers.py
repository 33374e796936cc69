"""Initial weights, from the counter-based generator: a function of the model's seed and the parameter's number."""
import numpy as np

from . import _core
from .utils import look_up


def glorot_uniform(shape, seed, stream):
    """Uniform in +-sqrt(6 / (inputs + units)) (Glorot and Bengio 2010, equation 16); float64 of `shape`."""
    limit = (6 / max(sum(getattr(shape, "fans", shape)), 1)) ** 0.5
    return _core.uniform(shape, -limit, limit, seed, stream)


def zeros(shape, seed, stream):
    """All zeros."""
    return np.zeros(shape)


def ones(shape, seed, stream):
    """All ones."""
    return np.ones(shape)


FUNCTIONS = {f.__name__: f for f in (glorot_uniform, ones, zeros)}


def get(initializer):
    """An initializer given by name or as a function of (shape, seed, stream)."""
    return initializer if callable(initializer) else look_up("initializer", initializer, FUNCTIONS)
