"""Activation functions on arrays; layers take them by name or as these functions.

All but softmax and log_softmax work element by element, on arrays of any shape; integers become float64.  The errors
that they state are of results above 1e-35 in float32, 1e-290 in float64.
"""
import math

from . import _core
from .utils import look_up

INFINITY = math.inf
SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772
GELU_NUMBERS = 1.5957691216057308, 1.5957691216057308 * 0.044715       # sqrt(8 / pi)

# The compiled formula of each activation that is a stage of its own, and its numbers.
CURVES = {
    "leaky_relu": ("ramp", (INFINITY, 0.2, 0.0)),
    "relu6": ("ramp", (6.0, 0.0, 0.0)),
    "elu": ("elu", (1.0, 1.0)),
    "selu": ("elu", (SELU_SCALE, SELU_SCALE * SELU_ALPHA)),
    "silu": ("silu", (1.0, 0.0)),
    "gelu_tanh": ("silu", GELU_NUMBERS),
} | {name: (name, ()) for name in ("gelu", "softplus", "softsign", "hard_sigmoid", "hard_silu", "exponential", "mish")}


def linear(x):
    """x itself."""
    return x


def relu(x, negative_slope=0.0, max_value=None, threshold=0.0):
    """max(x, 0); NaN stays NaN.

    More generally x from threshold up to max_value, which is the most, and negative_slope * (x - threshold) below.
    """
    if negative_slope == 0 and max_value is None and threshold == 0:
        return _core.relu(x)
    return _core.curve(x, "relu", *ramp(max_value, negative_slope, threshold))


def ramp(max_value, negative_slope, threshold):
    """The numbers and the formula of such a relu."""
    return (INFINITY if max_value is None else max_value, negative_slope, threshold), "ramp"


def leaky_relu(x, negative_slope=0.2):
    """x for x > 0, else negative_slope * x, correctly rounded (Maas, Hannun and Ng 2013)."""
    return _core.curve(x, "leaky_relu", *ramp(None, negative_slope, 0.0))


def relu6(x):
    """min(max(x, 0), 6)."""
    return _curve("relu6", x)


def elu(x, alpha=1.0):
    """x for x > 0, else alpha * (exp(x) - 1), within 3 ulp (Clevert, Unterthiner and Hochreiter 2016)."""
    return _core.curve(x, "elu", (1.0, alpha))


def selu(x):
    """1.0507 * elu(x, 1.6733), within 3 ulp: the constants keep mean and variance (Klambauer et al. 2017)."""
    return _curve("selu", x)


def gelu(x, approximate=False):
    """x * P(X <= x) for a normal X: x / 2 * (1 + erf(x / sqrt(2))), within 4 ulp (Hendrycks and Gimpel 2016).

    approximate: gelu_tanh(x) instead, which layers take by that name.
    """
    return gelu_tanh(x) if approximate else _curve("gelu", x)


def gelu_tanh(x):
    """x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))), within 0.0005 of gelu (Hendrycks and Gimpel 2016).

    Within 4 ulp for x above -1, and within 2 (1 + x^2) below.
    """
    return _curve("gelu_tanh", x)


def silu(x):
    """x * sigmoid(x), within 3 ulp; also named swish (Ramachandran, Zoph and Le 2017)."""
    return _curve("silu", x)


def softplus(x):
    """log(1 + exp(x)), within 3 ulp (Dugas et al. 2001)."""
    return _curve("softplus", x)


def softsign(x):
    """x / (1 + |x|), within 2 ulp (Turian, Bergstra and Bengio 2009)."""
    return _curve("softsign", x)


def hard_sigmoid(x):
    """(x + 3) / 6 between 0 and 1, within 2 ulp."""
    return _curve("hard_sigmoid", x)


def hard_silu(x):
    """x * hard_sigmoid(x), within 2 ulp; also named hard_swish (Howard et al. 2019)."""
    return _curve("hard_silu", x)


def exponential(x):
    """exp(x), within 2 ulp."""
    return _curve("exponential", x)


def mish(x):
    """x * tanh(softplus(x)), within 4 ulp (Misra 2019)."""
    return _curve("mish", x)


def sigmoid(x):
    """1 / (1 + exp(-x)), within 2 ulp."""
    return _core.sigmoid(x)


def tanh(x):
    """The hyperbolic tangent, within 2 ulp."""
    return _core.tanh(x)


def softmax(x, axis=-1):
    """exp(x - max) / sum(exp(x - max)) along an axis, the last one by default."""
    return _core.softmax(x, axis)


def log_softmax(x, axis=-1):
    """x - max - log(sum(exp(x - max))) along an axis, the last one by default."""
    return _core.log_softmax(x, axis)


def _curve(name, x):
    kind, numbers = CURVES[name]
    return _core.curve(x, name, numbers, kind)


FUNCTIONS = {f.__name__: f for f in (
    elu, exponential, gelu, gelu_tanh, hard_sigmoid, hard_silu, leaky_relu, linear, log_softmax, mish, relu, relu6,
    selu, sigmoid, silu, softmax, softplus, softsign, tanh)} | {"swish": silu, "hard_swish": hard_silu}


def get(activation):
    """The name of an activation given by name, as one of these functions, or as None for linear."""
    if activation is None:
        return "linear"
    if activation in FUNCTIONS.values():
        return activation.__name__
    if callable(activation):
        raise ValueError(f"Unknown activation {activation!r}. A layer takes one of fastnn.activations; for a function "
                         "of your own, put layers.Lambda(function) after the layer.")
    return look_up("activation", activation, FUNCTIONS).__name__


def stage(activation, shape, dtype, numbers=()):
    """The compiled stage of an activation, or of a formula with its numbers, for samples of a shape."""
    kind, numbers = CURVES.get(activation, (activation, ())) if not numbers else (activation, numbers)
    return _core.Activation(math.prod(shape), kind, dtype, shape[-1] if shape else 1, numbers)
