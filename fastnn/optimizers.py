"""Optimizers: how weights move along their gradients.  Formulas and defaults are Keras'.

Each names a compiled rule, its numbers, and the slots: arrays of a weight's shape that the rule keeps for it.
"""
import math
import numbers

from . import _core
from .utils import Configured, made


class Optimizer(Configured):
    """The base of the optimizers here, and of one written in Python.

    learning_rate (or lr): the size of a step.  iterations: steps taken.  slots: for each weight, its slot arrays.
    A Python optimizer leaves `compiled_rule` None and overrides update_step:

    >>> class Sign(Optimizer):
    ...     def update_step(self, gradient, weight, slots):
    ...         weight -= self.learning_rate * np.sign(gradient)
    """

    compiled_rule: str | None = None
    slot_names: tuple[str, ...] = ()

    def __init__(self, learning_rate, lr=None, name=None):
        self.learning_rate = learning_rate if lr is None else lr
        self.name = name or type(self).__name__.lower()
        self.iterations = 0
        self.slots = None
        for key, value in self.numbers().items():
            self.check(key, value)

    def check(self, key, value):
        if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value) or value < 0:
            raise ValueError(f"{type(self).__name__}: {key} must be a finite number, 0 or more, received {value!r}.")

    def numbers(self):
        """The rule's numbers by name."""
        return {"learning_rate": self.learning_rate}

    def build(self, weights):
        """Allocate the slots for weights.  An optimizer keeps to the weights that it has first seen."""
        if self.slots is None:
            self.slots = [[self.first_slot(w) for _ in self.slot_names] for w in weights]
            self._weights = list(weights)
        if len(weights) != len(self._weights) or any(a is not b for a, b in zip(weights, self._weights, strict=True)):
            raise ValueError(f"This {type(self).__name__} already belongs to another model's weights. "
                             "Give each model an optimizer of its own.")

    def first_slot(self, weight):
        return _core.aligned(weight.shape, weight.dtype)

    def rule(self):
        """The compiled rule with today's numbers, or None for an optimizer written in Python."""
        if self.compiled_rule is None or type(self).update_step is not Optimizer.update_step:
            return None
        return self._rule()

    def _rule(self):
        numbers = self.numbers()
        self.check("learning_rate", numbers["learning_rate"])
        return _core.Rule(self.compiled_rule, step=self.iterations, **numbers)

    def apply(self, gradients, weights):
        """One step: every weight moves along its gradient, in place, or none if update_step raises."""
        self.build(weights)
        arrays = [array for weight, slots in zip(weights, self.slots, strict=True) for array in (weight, *slots)]
        before = [array.copy() for array in arrays]
        self.iterations += 1
        try:
            for gradient, weight, slots in zip(gradients, weights, self.slots, strict=True):
                self.update_step(gradient, weight, slots)
        except BaseException:
            self.iterations -= 1
            for array, old in zip(arrays, before, strict=True):
                array[...] = old
            raise

    def update_step(self, gradient, weight, slots):
        """Move one weight and its slots, in place, in step number `iterations`."""
        if self.compiled_rule is None:
            raise TypeError(f"{type(self).__name__} must override update_step(gradient, weight, slots).")
        self._rule().update(weight, slots, gradient, self.iterations)


class SGD(Optimizer):
    """weight -= learning_rate gradient; with momentum,
    velocity = momentum velocity - learning_rate gradient and weight += velocity
    (nesterov: weight += momentum velocity - learning_rate gradient; Sutskever et al. 2013)."""

    def __init__(self, learning_rate=0.01, momentum=0.0, nesterov=False, lr=None, name=None):
        self.momentum, self.nesterov = momentum, nesterov
        super().__init__(learning_rate, lr, name)
        if momentum > 1:
            raise ValueError(f"SGD: momentum must be from 0 to 1, received {momentum!r}.")
        if momentum:
            self.compiled_rule, self.slot_names = "nesterov" if nesterov else "momentum", ("velocity",)

    compiled_rule = "sgd"

    def numbers(self):
        return {"learning_rate": self.learning_rate, "momentum": self.momentum}


class RMSprop(Optimizer):
    """mean_square = rho mean_square + (1 - rho) gradient^2;
    weight -= learning_rate gradient / sqrt(mean_square + epsilon) (Tieleman and Hinton 2012)."""

    compiled_rule, slot_names = "rmsprop", ("mean_square",)

    def __init__(self, learning_rate=0.001, rho=0.9, epsilon=1e-7, lr=None, name=None):
        self.rho, self.epsilon = rho, epsilon
        super().__init__(learning_rate, lr, name)
        if rho > 1:
            raise ValueError(f"RMSprop: rho must be from 0 to 1, received {rho!r}.")

    def numbers(self):
        return {"learning_rate": self.learning_rate, "rho": self.rho, "epsilon": self.epsilon}


class Adagrad(Optimizer):
    """accumulator += gradient^2; weight -= learning_rate gradient / sqrt(accumulator + epsilon)
    (Duchi, Hazan and Singer 2011)."""

    compiled_rule, slot_names = "adagrad", ("accumulator",)

    def __init__(self, learning_rate=0.001, initial_accumulator_value=0.1, epsilon=1e-7, lr=None, name=None):
        self.initial_accumulator_value, self.epsilon = initial_accumulator_value, epsilon
        super().__init__(learning_rate, lr, name)
        self.check("initial_accumulator_value", initial_accumulator_value)

    def first_slot(self, weight):
        return _core.aligned(weight.shape, weight.dtype, self.initial_accumulator_value)

    def numbers(self):
        return {"learning_rate": self.learning_rate, "epsilon": self.epsilon}


class Adam(Optimizer):
    """m += (gradient - m)(1 - beta_1); v += (gradient^2 - v)(1 - beta_2);
    weight -= learning_rate sqrt(1 - beta_2^t) / (1 - beta_1^t) m / (sqrt(v) + epsilon) (Kingma and Ba 2015)."""

    compiled_rule, slot_names = "adam", ("m", "v")

    def __init__(self, learning_rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-7, lr=None, name=None):
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon
        super().__init__(learning_rate, lr, name)
        for key in ("beta_1", "beta_2"):
            if getattr(self, key) >= 1:
                raise ValueError(f"Adam: {key} must be below 1, received {getattr(self, key)!r}.")

    def numbers(self):
        return {"learning_rate": self.learning_rate, "beta_1": self.beta_1, "beta_2": self.beta_2,
                "epsilon": self.epsilon}


OPTIMIZERS = {cls.__name__.lower(): cls for cls in (SGD, RMSprop, Adagrad, Adam)}


def get(optimizer):
    """An Optimizer from an object, a class, a name, or its class_name and config."""
    return made("optimizer", optimizer, Optimizer, OPTIMIZERS)
