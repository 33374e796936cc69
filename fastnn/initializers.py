"""Initializers: the first values of parameters, in Keras' words.

Random ones come from the counter-based generator: a function of the model's seed and the parameter's number, or of the
seed that the initializer is given, and the same on every machine.
"""
import math
import numbers
import re

import numpy as np

from . import _core
from .utils import Configured, made, next_model_seed, whole_number

TRUNCATED_DEVIATION = 0.87962566103423978      # of a normal variable of deviation 1 that is within [-2, 2]


class Initializer(Configured):
    """The base of the initializers here, and of your own, which override values(shape, seed, stream).

    Called with a shape, an initializer gives float64, or the dtype that is asked for.  seed: None takes the seed of
    the model and the number of the parameter; a number fixes the values for every parameter of the same shape.

    >>> Constant(0.5)((2,))
    array([0.5, 0.5])
    """

    seed: int | None = None

    def __call__(self, shape, seed=None, stream=1, dtype=None):
        if self.seed is not None:
            seed, stream = self.seed, 1
        values = self.values(shape, next_model_seed() if seed is None else seed, stream)
        return values if dtype is None else values.astype(dtype)

    def values(self, shape, seed, stream):
        """The float64 values, of the stream of that number."""
        raise TypeError(f"{type(self).__name__} must override values(shape, seed, stream).")

    def described(self):
        """The name alone where every word has its default."""
        name = snake_case(type(self).__name__)
        plain = INITIALIZERS.get(name) is type(self) and self.get_config() == type(self)().get_config()
        return name if plain else super().described()

    def number(self, word, value, least=-math.inf):
        """value as a float, or an error unless it is a finite number, `least` or more."""
        number = isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)
        if not number or value < least:
            bound = "" if least == -math.inf else f", {least:g} or more"
            raise ValueError(f"{type(self).__name__}: {word} must be a finite number{bound}, received {value!r}.")
        return float(value)

    def one_of(self, word, value, words):
        """value, or an error unless it is one of words."""
        if value not in words:
            raise ValueError(f"{type(self).__name__}: {word} must be one of {', '.join(words)}, received {value!r}.")
        return value

    def seeded(self, seed):
        """seed as an int or None."""
        return None if seed is None else whole_number(f"{type(self).__name__}: seed", seed, 0) % 2**64


class Zeros(Initializer):
    """All zeros."""

    def values(self, shape, seed, stream):
        return np.zeros(shape)


class Ones(Initializer):
    """All ones."""

    def values(self, shape, seed, stream):
        return np.ones(shape)


class Constant(Initializer):
    """One number everywhere."""

    def __init__(self, value=0.0):
        self.value = self.number("value", value)

    def values(self, shape, seed, stream):
        return np.full(shape, self.value)


class Identity(Initializer):
    """gain times the identity matrix; of shape (I, O), ones where the row is the column."""

    def __init__(self, gain=1.0):
        self.gain = self.number("gain", gain)

    def values(self, shape, seed, stream):
        if len(shape) != 2:
            raise ValueError(f"Identity takes shapes of two axes, received {tuple(shape)}.")
        return np.eye(*shape) * self.gain


class RandomUniform(Initializer):
    """Uniform from minval to maxval, without maxval."""

    def __init__(self, minval=-0.05, maxval=0.05, seed=None):
        self.minval, self.seed = self.number("minval", minval), self.seeded(seed)
        self.maxval = self.number("maxval", maxval, self.minval)

    def values(self, shape, seed, stream):
        return _core.uniform(shape, self.minval, self.maxval, seed, stream)


class RandomNormal(Initializer):
    """Normal of that mean and standard deviation: the quantiles (Wichura 1988, AS 241) of uniform numbers."""

    truncated = False

    def __init__(self, mean=0.0, stddev=0.05, seed=None):
        self.mean, self.stddev = self.number("mean", mean), self.number("stddev", stddev, 0)
        self.seed = self.seeded(seed)

    def values(self, shape, seed, stream):
        return self.mean + self.stddev * _core.normal(shape, self.truncated, seed, stream)


class TruncatedNormal(RandomNormal):
    """RandomNormal given that it is within 2 stddev of the mean, whose deviation is 0.88 stddev."""

    truncated = True


class VarianceScaling(Initializer):
    """Of mean 0 and variance scale / n, where n is what mode says of a weight (I, O): 'fan_in' I, 'fan_out' O,
    'fan_avg' their mean.

    distribution: 'uniform', in +-sqrt(3 scale / n); 'truncated_normal', within two deviations of what is cut off;
    'untruncated_normal'.
    """

    def __init__(self, scale=1.0, mode="fan_in", distribution="truncated_normal", seed=None):
        self.scale, self.seed = self.number("scale", scale, 0), self.seeded(seed)
        if not self.scale:
            raise ValueError(f"{type(self).__name__}: scale must be above 0, received {scale!r}.")
        self.mode = self.one_of("mode", mode, ("fan_in", "fan_out", "fan_avg"))
        chosen = "truncated_normal" if distribution == "normal" else distribution
        self.distribution = self.one_of("distribution", chosen, ("uniform", "truncated_normal", "untruncated_normal"))

    def values(self, shape, seed, stream):
        inputs, units = fans(shape)
        variance = self.scale / max(1.0, {"fan_in": inputs, "fan_out": units}.get(self.mode, (inputs + units) / 2))
        if self.distribution == "uniform":
            limit = (3 * variance) ** 0.5
            return _core.uniform(shape, -limit, limit, seed, stream)
        truncated = self.distribution == "truncated_normal"
        deviation = variance ** 0.5 / (TRUNCATED_DEVIATION if truncated else 1)
        return deviation * _core.normal(shape, truncated, seed, stream)


class _Scaled(VarianceScaling):
    """VarianceScaling with all but the seed fixed by the class."""

    fixed: tuple[float, str, str]

    def __init__(self, seed=None):
        super().__init__(*self.fixed, seed)


class GlorotUniform(_Scaled):
    """Uniform in +-sqrt(6 / (inputs + units)) (Glorot and Bengio 2010, equation 16)."""

    fixed = 1.0, "fan_avg", "uniform"


class GlorotNormal(_Scaled):
    """Truncated normal of variance 2 / (inputs + units) (Glorot and Bengio 2010)."""

    fixed = 1.0, "fan_avg", "truncated_normal"


class HeUniform(_Scaled):
    """Uniform in +-sqrt(6 / inputs), for relu (He et al. 2015)."""

    fixed = 2.0, "fan_in", "uniform"


class HeNormal(_Scaled):
    """Truncated normal of variance 2 / inputs, for relu (He et al. 2015)."""

    fixed = 2.0, "fan_in", "truncated_normal"


class LecunUniform(_Scaled):
    """Uniform in +-sqrt(3 / inputs) (LeCun et al. 1998)."""

    fixed = 1.0, "fan_in", "uniform"


class LecunNormal(_Scaled):
    """Truncated normal of variance 1 / inputs, for selu (LeCun et al. 1998; Klambauer et al. 2017)."""

    fixed = 1.0, "fan_in", "truncated_normal"


class Orthogonal(Initializer):
    """gain times a random matrix of orthonormal rows or columns, whichever are fewer (Saxe et al. 2014): normal vectors
    made orthogonal one after the other by Gram and Schmidt's method, twice, which is the Q of a QR factorization."""

    def __init__(self, gain=1.0, seed=None):
        self.gain, self.seed = self.number("gain", gain), self.seeded(seed)

    def values(self, shape, seed, stream):
        if len(shape) < 2:
            raise ValueError(f"Orthogonal takes shapes of two axes or more, received {tuple(shape)}.")
        flat = math.prod(shape[:-1]), shape[-1]
        rows = _core.normal((min(flat), max(flat)), False, seed, stream)
        for i, row in enumerate(rows):
            for _ in range(2 if i else 0):
                _core.subtract(row, _core.dot(_core.dot(rows[:i], row), rows[:i]), out=row)
            _core.divide(row, math.sqrt(_core.dot(row, row)), out=row)
        return self.gain * (rows if flat[0] <= flat[1] else rows.T).reshape(shape)


def fans(shape):
    """How many inputs a unit sees and how many units an input: of (I, O), or what the shape itself says as `fans`."""
    if hasattr(shape, "fans"):
        return shape.fans
    if len(shape) < 2:
        return (math.prod(shape),) * 2
    field = math.prod(shape[:-2])
    return shape[-2] * field, shape[-1] * field


def snake_case(name):
    """GlorotUniform as glorot_uniform."""
    return re.sub("(?<=[a-z])([A-Z])", r"_\1", name).lower()


INITIALIZERS = {snake_case(cls.__name__): cls for cls in (
    Constant, GlorotNormal, GlorotUniform, HeNormal, HeUniform, Identity, LecunNormal, LecunUniform, Ones, Orthogonal,
    RandomNormal, RandomUniform, TruncatedNormal, VarianceScaling, Zeros)}
ALIASES = {"normal": "random_normal", "uniform": "random_uniform", "one": "ones", "zero": "zeros"}

# Keras' second names of the classes
constant, identity, ones, orthogonal, zeros = Constant, Identity, Ones, Orthogonal, Zeros
glorot_normal, glorot_uniform, he_normal, he_uniform = GlorotNormal, GlorotUniform, HeNormal, HeUniform
lecun_normal, lecun_uniform, truncated_normal = LecunNormal, LecunUniform, TruncatedNormal
random_normal, random_uniform, variance_scaling = RandomNormal, RandomUniform, VarianceScaling


def get(initializer):
    """An initializer from an object, a class, a name, its class_name and config, or a function of (shape, seed, stream)
    or (shape, dtype)."""
    if isinstance(initializer, str):
        initializer = snake_case(initializer)
        initializer = ALIASES.get(initializer, initializer)
    if callable(initializer) and not isinstance(initializer, type):
        return initializer
    return made("initializer", initializer, Initializer, INITIALIZERS)


def initial_values(initializer, shape, dtype, seed, stream):
    """What an initializer, or a function, gives for a parameter."""
    if isinstance(initializer, Initializer):
        return initializer(shape, seed, stream)
    import inspect

    if "dtype" in inspect.signature(initializer).parameters:
        return initializer(shape, dtype=dtype)
    return initializer(shape, seed, stream)
