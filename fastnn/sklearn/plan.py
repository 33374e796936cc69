"""What an estimator's parameters say, checked before anything else happens."""
import numbers

import numpy as np

from .. import activations, layers, models
from ..utils import whole_number

ACTIVATIONS = {"identity": "linear", "logistic": "sigmoid"}     # scikit-learn's words; the others are fastnn's
NOT_NEGATIVE = "0 or more", lambda v: v >= 0
POSITIVE = "above 0", lambda v: v > 0
SHARE = "from 0 to below 1", lambda v: 0 <= v < 1
RANGES = {"alpha": NOT_NEGATIVE, "learning_rate_init": POSITIVE, "power_t": NOT_NEGATIVE, "tol": NOT_NEGATIVE,
          "momentum": ("from 0 to 1", lambda v: 0 <= v <= 1), "beta_1": SHARE, "beta_2": SHARE, "epsilon": POSITIVE,
          "validation_fraction": ("between 0 and 1", lambda v: 0 < v < 1),
          "n_iter_no_change": ("1 or more", lambda v: v >= 1)}
SCHEDULES = ("constant", "invscaling", "adaptive")


def check_number(name, value, words, holds):
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not holds(value):
        raise ValueError(f"{name} must be a number {words}, received {value!r}.")
    return value


class Plan:
    """What an estimator's parameters say, checked before anything else happens."""

    def __init__(self, estimator):
        e = estimator
        sizes = list(e.hidden_layer_sizes) if np.iterable(e.hidden_layer_sizes) else [e.hidden_layer_sizes]
        self.units = [whole_number("Each of hidden_layer_sizes", size, 1) for size in sizes]
        self.activations = [activations.get(ACTIVATIONS.get(name, name))
                            for name in self.per_layer("activation", e.activation)]
        self.dropout = [check_number("dropout", rate, *SHARE) for rate in self.per_layer("dropout", e.dropout)]
        for name, (words, holds) in RANGES.items():
            check_number(name, getattr(e, name), words, holds)
        whole_number("max_iter", e.max_iter, 1)
        if e.batch_size != "auto":
            whole_number("batch_size, unless 'auto',", e.batch_size, 1)
        if e.learning_rate not in SCHEDULES:
            raise ValueError(f"learning_rate must be one of {', '.join(SCHEDULES)}, received {e.learning_rate!r}. "
                             "The number goes to learning_rate_init.")

    def per_layer(self, name, value):
        values = list(value) if isinstance(value, (list, tuple)) else [value] * len(self.units)
        if len(values) != len(self.units):
            raise ValueError(f"{name} must be one value, or a list of one for each of the {len(self.units)} hidden "
                             f"layers, received {value!r}.")
        return values

    def network(self, inputs, outputs, last, dtype):
        """A Sequential of these layers, not yet built."""
        stack, options = [], {"input_shape": (inputs,), "dtype": dtype}
        for units, activation, rate in zip([*self.units, outputs], [*self.activations, last], [*self.dropout, 0],
                                           strict=True):
            stack += [layers.Dense(units, activation, **options), *([layers.Dropout(rate)] if rate else [])]
            options = {}
        return models.Sequential(stack, name="mlp")
