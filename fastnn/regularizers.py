"""Regularizers: penalties on weights that are added to the loss, in Keras' words.

The penalty is part of every loss that fit and evaluate report; its gradient joins the weight's before any clipping.
"""
import math
import numbers

from . import _core
from .utils import Configured, made


class Regularizer(Configured):
    """l1 sum(|weight|) + l2 sum(weight^2), with the gradient l1 sign(weight) + 2 l2 weight.

    Called with an array, it gives the penalty as a float:

    >>> L2(0.5)(np.array([1.0, 2.0]))
    2.5
    """

    l1 = l2 = 0.0

    def factor(self, word, value):
        """value as a float, or an error unless it is a finite number, 0 or more."""
        number = isinstance(value, numbers.Real) and not isinstance(value, bool)
        if not number or not math.isfinite(value) or value < 0:
            raise ValueError(f"{type(self).__name__}: {word} must be a finite number, 0 or more, received {value!r}.")
        return float(value)

    def __call__(self, weight):
        absolute, square = _core.sizes(weight)
        return self.l1 * absolute + self.l2 * square


class L1(Regularizer):
    """l1 sum(|weight|): draws weights to exactly zero (the lasso; Tibshirani 1996)."""

    def __init__(self, l1=0.01):
        self.l1 = self.factor("l1", l1)


class L2(Regularizer):
    """l2 sum(weight^2): draws weights towards zero (ridge regression; Hoerl and Kennard 1970)."""

    def __init__(self, l2=0.01):
        self.l2 = self.factor("l2", l2)


class L1L2(Regularizer):
    """l1 sum(|weight|) + l2 sum(weight^2) (the elastic net; Zou and Hastie 2005)."""

    def __init__(self, l1=0.0, l2=0.0):
        self.l1, self.l2 = self.factor("l1", l1), self.factor("l2", l2)


def both():
    """What the name 'l1_l2' stands for: 0.01 of each."""
    return L1L2(0.01, 0.01)


l1, l2, l1_l2 = L1, L2, L1L2
REGULARIZERS = {"l1": L1, "l2": L2, "l1l2": L1L2, "l1_l2": both}


def get(regularizer):
    """A Regularizer, or None for None, from an object, a class, a name, or its class_name and config."""
    if regularizer is None:
        return None
    function = callable(regularizer) and not isinstance(regularizer, (type, Regularizer))
    found = None if function else made("regularizer", regularizer, Regularizer, REGULARIZERS)
    if type(found).__call__ is not Regularizer.__call__:
        raise ValueError(f"Unknown regularizer {regularizer!r}. A penalty on weights is l1, l2 or both: use L1, L2 or "
                         "L1L2 of fastnn.regularizers, or a constraint.")
    return found
