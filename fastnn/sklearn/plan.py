"""What an estimator's parameters say, checked before anything else happens."""
import copy
import math
import numbers

import numpy as np

from .. import activations, layers, models, optimizers
from ..utils import look_up, whole_number

ACTIVATIONS = {"identity": "linear", "logistic": "sigmoid"}     # scikit-learn's words; the others are fastnn's
NOT_NEGATIVE = "0 or more", lambda v: v >= 0
POSITIVE = "above 0", lambda v: v > 0
SHARE = "from 0 to below 1", lambda v: 0 <= v < 1
RANGES = {"alpha": NOT_NEGATIVE, "learning_rate_init": POSITIVE, "power_t": NOT_NEGATIVE, "tol": NOT_NEGATIVE,
          "momentum": ("from 0 to 1", lambda v: 0 <= v <= 1), "beta_1": SHARE, "beta_2": SHARE, "epsilon": POSITIVE,
          "validation_fraction": ("between 0 and 1", lambda v: 0 < v < 1),
          "n_iter_no_change": ("1 or more", lambda v: v >= 1)}
SCHEDULES = ("constant", "invscaling", "adaptive")
ADAM = ("beta_1", "beta_2", "epsilon")
SOLVER_WORDS = {"adam": ADAM, "adamw": ADAM, "nadam": ADAM}     # what a solver takes beside the learning rate


def check_number(name, value, words, holds):
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not holds(value):
        raise ValueError(f"{name} must be a number {words}, received {value!r}.")
    return value


class Plan:
    """The hidden layers, as (units, activation, dropout) each, and the optimizer; the other parameters are checked."""

    def __init__(self, estimator):
        e = estimator
        for name, (words, holds) in RANGES.items():
            check_number(name, getattr(e, name), words, holds)
        whole_number("max_iter", e.max_iter, 1)
        if e.batch_size != "auto":
            whole_number("batch_size, unless 'auto',", e.batch_size, 1)
        if e.learning_rate not in SCHEDULES:
            raise ValueError(f"learning_rate must be one of {', '.join(SCHEDULES)}, received {e.learning_rate!r}. "
                             "A number goes to learning_rate_init.")
        sizes = list(e.hidden_layer_sizes) if np.iterable(e.hidden_layer_sizes) else [e.hidden_layer_sizes]
        units = [whole_number("Each of hidden_layer_sizes", size, 1) for size in sizes]
        names = [activations.get(ACTIVATIONS.get(name, name)) for name in per_layer("activation", e.activation, units)]
        rates = [check_number("dropout", rate, *SHARE) for rate in per_layer("dropout", e.dropout, units)]
        self.hidden = list(zip(units, names, rates, strict=True))
        self.optimizer = optimizer_for(e)

    def network(self, inputs, outputs, last, dtype):
        """A Sequential of these layers, not yet built."""
        stack, options = [], {"input_shape": (inputs,), "dtype": dtype}
        for units, activation, rate in [*self.hidden, (outputs, last, 0)]:
            stack += [layers.Dense(units, activation, **options), *([layers.Dropout(rate)] if rate else [])]
            options = {}
        return models.Sequential(stack, name="mlp")

    def initial_weights(self, inputs, outputs, random):
        """Weight, bias, weight, ... uniform in +-sqrt(6 / (inputs + units)), or sqrt(2 / ...) where the activation is
        logistic (Glorot and Bengio 2010): scikit-learn's own numbers for the same random_state."""
        arrays, before = [], inputs
        names = [activation for _, activation, _ in self.hidden] or ["linear"]
        for units, name in zip([units for units, _, _ in self.hidden] + [outputs], [*names, names[-1]], strict=False):
            bound = math.sqrt((2 if name == "sigmoid" else 6) / (before + units))
            arrays += [random.uniform(-bound, bound, (before, units)), random.uniform(-bound, bound, units)]
            before = units
        return arrays


def per_layer(name, value, units):
    values = list(value) if isinstance(value, (list, tuple)) else [value] * len(units)
    if len(values) != len(units):
        raise ValueError(f"{name} must be one value, or a list of one for each of the {len(units)} hidden layers, "
                         f"received {value!r}.")
    return values


def optimizer_for(estimator):
    """A new optimizer, as solver and its numbers say."""
    solver = estimator.solver
    if not isinstance(solver, str):
        optimizer = copy.copy(optimizers.get(solver))
        optimizer.slots, optimizer.iterations = None, 0
        return optimizer
    if solver == "sgd":
        words = {"momentum": estimator.momentum, "nesterov": estimator.nesterovs_momentum}
    else:
        words = {word: getattr(estimator, word) for word in SOLVER_WORDS.get(solver, ())}
    return look_up("solver", solver, optimizers.OPTIMIZERS)(estimator.learning_rate_init, **words)
