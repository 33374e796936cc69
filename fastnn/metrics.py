"""Metrics: what a compiled model reports beside the loss.  Give compile() names or objects."""
from .utils import Configured, look_up, made


class Metric(Configured):
    """The mean over samples of a compiled measure; `kernel` names it in the compiled core."""

    name: str
    kernel: str

    def __init__(self, name=None):
        self.name = name or self.name

    def kernel_for(self, units):
        """The kernel for a model of `units` outputs."""
        return self.kernel


class MeanSquaredError(Metric):
    """mean((y_pred - y_true)^2)"""

    name = kernel = "mse"


class MeanAbsoluteError(Metric):
    """mean(|y_pred - y_true|)"""

    name = kernel = "mae"


class BinaryAccuracy(Metric):
    """The share of outputs on the same side of 0.5 as the truth."""

    name = kernel = "binary_accuracy"


class CategoricalAccuracy(Metric):
    """The share of samples whose largest output is at the one of a one-hot row."""

    name = kernel = "categorical_accuracy"


class SparseCategoricalAccuracy(CategoricalAccuracy):
    """The same for integer labels."""

    name = "sparse_categorical_accuracy"


class Accuracy(Metric):
    """'accuracy': binary for one output, categorical otherwise, as Keras chooses."""

    name = "accuracy"

    def kernel_for(self, units):
        return "binary_accuracy" if units == 1 else "categorical_accuracy"


CLASSES = (MeanSquaredError, MeanAbsoluteError, BinaryAccuracy, CategoricalAccuracy, SparseCategoricalAccuracy,
           Accuracy)
METRICS = {cls.name: cls for cls in CLASSES} | {
    "acc": Accuracy, "mean_squared_error": MeanSquaredError, "mean_absolute_error": MeanAbsoluteError}


def get(metric):
    """A Metric from an object, a class or a name; the name given is the key in History."""
    return look_up("metric", metric, METRICS)(name=metric) if isinstance(metric, str) else \
        made("metric", metric, Metric, METRICS)
