"""Constraints: what every step of training leaves of a parameter, in Keras' words.  Give Dense a kernel_constraint or
bias_constraint: a name, an object, or a function of your own that maps the array to one of its shape, and is tried
when the layer is built.

>>> layers.Dense(64, kernel_constraint=constraints.MaxNorm(3))
>>> layers.Dense(64, kernel_constraint=lambda weight: np.clip(weight, -1, 1))
"""
import numpy as np

from . import _core
from .utils import Configured, made, real_number, whole_number

EPSILON = 1e-7


class Constraint(Configured):
    """The base of the constraints here, and of your own, which override __call__(weight)."""

    name = ""

    def __call__(self, weight):
        raise TypeError(f"{type(self).__name__} must override __call__(weight), which returns an array of its shape.")

    def keep(self, weight, scratch):
        """The weight becomes what the constraint makes of it; scratch: an array like it."""
        made = np.asarray(self(weight))
        if made.shape != weight.shape or made.dtype.kind not in "iuf":
            raise ValueError(f"Constraint {self.name or type(self).__name__!r} must return real numbers of the "
                             f"weight's shape {weight.shape}, it returned {made.dtype} of shape {made.shape}.")
        weight[...] = made


class FunctionConstraint(Constraint):
    """A Python function of the weight that returns an array of its shape."""

    def __init__(self, function):
        self.function, self.name = function, getattr(function, "__name__", type(function).__name__)

    def __call__(self, weight):
        return self.function(weight)

    def get_config(self):
        raise TypeError(f"The constraint {self.name!r} is a Python function and cannot be saved as data. Save the "
                        "weights alone with save_weights(), or use one of fastnn.constraints.")


class Hold:
    """A constraint and the weight that it holds for after each step; tried on a copy, so that errors come first."""

    def __init__(self, constraint, weight):
        self.constraint, self.weight, self.scratch = constraint, weight, None
        constraint.keep(weight.copy(), np.empty_like(weight))

    def __call__(self):
        if self.scratch is None:
            self.scratch = np.empty_like(self.weight)
        self.constraint.keep(self.weight, self.scratch)


class NonNeg(Constraint):
    """max(weight, 0)"""

    def __call__(self, weight):
        return _core.relu(weight)

    def keep(self, weight, scratch):
        _core.relu(weight, weight)


class MinMaxNorm(Constraint):
    """weight (rate clip(norm, min_value, max_value) + (1 - rate) norm) / (norm + 1e-7), where norm is
    sqrt(sum(weight^2)) over axis: 0 for what a unit sees of a weight (I, O).

    >>> MinMaxNorm(0.5, 1.0)(np.array([[3.0], [4.0]])).ravel().round(3)
    array([0.6, 0.8])
    """

    def __init__(self, min_value=0.0, max_value=1.0, rate=1.0, axis=0):
        self.min_value = self.number("min_value", min_value)
        self.max_value = self.number("max_value", max_value, self.min_value)
        self.rate, self.axis = self.number("rate", rate, 0, 1), axis
        for each in axis if isinstance(axis, (list, tuple)) else [axis]:
            whole_number(f"{type(self).__name__}: axis", each, -2)

    def number(self, word, value, *limits):
        return real_number(f"{type(self).__name__}: {word}", value, *limits or (0,))

    def factor(self, weight, scratch=None):
        """What the weight is multiplied by."""
        axis = tuple(self.axis) if isinstance(self.axis, (list, tuple)) else self.axis
        norm = _core.sqrt(_core.sum_(_core.square(weight, scratch), axis, keepdims=True))
        wanted = _core.minimum(_core.maximum(norm, self.min_value), self.max_value)
        if self.rate < 1:
            wanted = _core.add(_core.multiply(wanted, self.rate), _core.multiply(norm, 1 - self.rate))
        return _core.divide(wanted, _core.add(norm, EPSILON))

    def __call__(self, weight):
        return _core.multiply(weight, self.factor(weight))

    def keep(self, weight, scratch):
        _core.multiply(weight, self.factor(weight, scratch), weight)


class MaxNorm(MinMaxNorm):
    """MinMaxNorm(0, max_value): no unit's weights are longer than max_value, which goes well with Dropout (Srivastava
    et al. 2014)."""

    def __init__(self, max_value=2, axis=0):
        super().__init__(0.0, max_value, 1.0, axis)

    def get_config(self):
        return {"max_value": self.max_value, "axis": self.axis}


class UnitNorm(MinMaxNorm):
    """weight / (norm + 1e-7), where norm is sqrt(sum(weight^2)) over axis."""

    def __init__(self, axis=0):
        super().__init__(1.0, 1.0, 1.0, axis)

    def get_config(self):
        return {"axis": self.axis}


max_norm, min_max_norm, non_neg, unit_norm = MaxNorm, MinMaxNorm, NonNeg, UnitNorm
CONSTRAINTS = {"max_norm": MaxNorm, "min_max_norm": MinMaxNorm, "non_neg": NonNeg, "unit_norm": UnitNorm}


def get(constraint):
    """None, or a Constraint from an object, a class, a name, its class_name and config, or a function of the weight."""
    if constraint is None or isinstance(constraint, Constraint):
        return constraint
    if callable(constraint) and not isinstance(constraint, type):
        return FunctionConstraint(constraint)
    return made("constraint", constraint, Constraint, CONSTRAINTS)
