"""What every metric is, and means of Python functions."""
import numpy as np

from ..losses import as_floats, same_rank
from ..utils import Configured


class Metric(Configured):
    """The base of the metrics here, and of one of your own, which has update_state(), result() and reset_state().

    kernel_for(units): the measure that the compiled loop takes the mean of, for a model of `units` outputs, or None for
    a metric that is told y_true and y_pred.  additive: it is the same however the samples are cut into batches.

    >>> class Largest(Metric):
    ...     def reset_state(self):
    ...         self.most = 0.0
    ...     def update_state(self, y_true, y_pred, sample_weight=None):
    ...         self.most = max(self.most, y_pred.max())
    ...     def result(self):
    ...         return self.most
    """

    name: str = ""
    additive = False

    def __init__(self, name=None):
        self.name = name or self.name or type(self).__name__.lower()
        self.reset_state()

    def kernel_for(self, units):
        return None

    def finish(self, mean):
        """What is reported, from the mean over the samples."""
        return mean

    def reset_state(self):
        """Begin anew."""

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Take a batch in."""
        raise NotImplementedError(f"{type(self).__name__} needs a method update_state(y_true, y_pred, sample_weight).")

    def result(self):
        """The value over all that was taken in."""
        raise NotImplementedError(f"{type(self).__name__} needs a method result().")

    def __call__(self, y_true, y_pred, sample_weight=None):
        """Takes a batch in and gives the value so far."""
        self.update_state(y_true, y_pred, sample_weight)
        return self.result()


class MeanMetric(Metric):
    """The mean over samples of values(y_true, y_pred), which is (B,) or (B, ...)."""

    additive = True

    def reset_state(self):
        self.total = self.count = 0.0

    def update_state(self, y_true, y_pred, sample_weight=None):
        values = np.asarray(self.values(y_true, y_pred), "float64")
        weights = 1.0
        if sample_weight is not None and values.ndim:
            weights = np.asarray(sample_weight, "float64").reshape(len(values), -1).mean(1)
            values = values.reshape(len(values), -1).mean(1)
        self.total += float((values * weights).sum())
        self.count += float(np.broadcast_to(weights, values.shape).sum())

    def result(self):
        return self.finish(self.total / self.count if self.count else 0.0)


class FunctionMetric(MeanMetric):
    """A Python function of (y_true, y_pred) that returns a value for each sample; one for a batch counts as one."""

    additive = False

    def __init__(self, function, name=None):
        super().__init__(name or getattr(function, "__name__", type(function).__name__))
        self.values = function

    def get_config(self):
        raise TypeError(f"The metric {self.name!r} is a Python function and cannot be saved as data. "
                        "Compile with metrics of fastnn.metrics, or compile again after loading.")


def pair_of_rows(name, y_true, y_pred):
    """Both (n, O) as floats, or an error in the name of the metric."""
    y_pred = as_floats(y_pred)
    y_true = same_rank(as_floats(y_true, y_pred.dtype), y_pred)
    if y_true.shape != y_pred.shape:
        raise ValueError(f"Metric {name} needs y_true and y_pred of one shape, received {y_true.shape} and "
                         f"{y_pred.shape}. For integer labels use to_categorical(y) and 'categorical_crossentropy'.")
    return (y_true, y_pred) if y_true.ndim > 1 else (y_true[:, None], y_pred[:, None])
