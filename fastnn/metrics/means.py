"""Metrics that are means over samples, most of them compiled, and R2."""
import numbers

import numpy as np

from .. import losses
from ..losses import as_floats, by_sample
from .base import MeanMetric, Metric, pair_of_rows


class CompiledMetric(MeanMetric):
    """measure: a kernel's name, or a pair of it and its number."""

    measure: str | tuple[str, float]
    sparse = False

    def kernel_for(self, units):
        return self.measure

    def values(self, y_true, y_pred):
        return by_sample(self.measure, y_true, y_pred, sparse=self.sparse)


class BinaryAccuracy(CompiledMetric):
    """The share of outputs on the same side of the threshold as the truth."""

    name = "binary_accuracy"

    def __init__(self, name=None, threshold=0.5):
        super().__init__(name)
        self.threshold = threshold
        self.measure = "binary_accuracy", float(threshold)


class CategoricalAccuracy(CompiledMetric):
    """The share of samples whose largest output is at the one of a one-hot row."""

    name = measure = "categorical_accuracy"


class SparseCategoricalAccuracy(CategoricalAccuracy):
    """The same for integer labels."""

    name = "sparse_categorical_accuracy"
    sparse = True


class Accuracy(CompiledMetric):
    """'accuracy': binary for one output, categorical otherwise, as Keras chooses."""

    name = "accuracy"

    def kernel_for(self, units):
        return "binary_accuracy" if units == 1 else "categorical_accuracy"

    def values(self, y_true, y_pred):
        y_pred = as_floats(y_pred)
        units = y_pred.shape[-1] if y_pred.ndim > 1 else 1
        sparse = units > 1 and np.ndim(y_true) < y_pred.ndim or np.shape(y_true)[-1:] == (1,) != y_pred.shape[-1:]
        return by_sample(self.kernel_for(units), y_true, y_pred if y_pred.ndim > 1 else y_pred[:, None],
                         sparse=sparse)


class LossMetric(CompiledMetric):
    """The mean of a loss, whose options it takes."""

    loss_class: type[losses.Loss]

    def __init__(self, name=None, **options):
        self.loss = self.loss_class(**options)
        self.measure = self.loss.measure
        super().__init__(name or self.loss.name)

    def get_config(self):
        words = self.loss.get_config()
        return {**{word: words[word] for word in words if word != "reduction"}, "name": self.name}

    def kernel_for(self, units):
        return None if self.loss.from_logits or self.loss.label_smoothing else self.measure

    def values(self, y_true, y_pred):
        return self.loss.call(y_true, y_pred)


class MeanSquaredError(LossMetric):
    """mean((y_pred - y_true)^2)"""

    loss_class = losses.MeanSquaredError


class RootMeanSquaredError(MeanSquaredError):
    """sqrt(mean((y_pred - y_true)^2))"""

    def __init__(self, name="root_mean_squared_error"):
        super().__init__(name)

    def finish(self, mean):
        return mean ** 0.5


class MeanAbsoluteError(LossMetric):
    """mean(|y_pred - y_true|)"""

    loss_class = losses.MeanAbsoluteError


class MeanAbsolutePercentageError(LossMetric):
    """100 mean(|y_true - y_pred| / max(|y_true|, 1e-7))"""

    loss_class = losses.MeanAbsolutePercentageError


class MeanSquaredLogarithmicError(LossMetric):
    """mean((log(y_pred + 1) - log(y_true + 1))^2)"""

    loss_class = losses.MeanSquaredLogarithmicError


class Huber(LossMetric):
    """The mean of losses.Huber(delta)."""

    loss_class = losses.Huber


class LogCoshError(LossMetric):
    """mean(log(cosh(y_pred - y_true)))"""

    loss_class = losses.LogCosh


class KLDivergence(LossMetric):
    """The mean of sum(y_true log(y_true / y_pred))."""

    loss_class = losses.KLDivergence


class Poisson(LossMetric):
    """mean(y_pred - y_true log(y_pred + 1e-7))"""

    loss_class = losses.Poisson


class Hinge(LossMetric):
    """mean(max(1 - y_true y_pred, 0))"""

    loss_class = losses.Hinge


class SquaredHinge(LossMetric):
    """mean(max(1 - y_true y_pred, 0)^2)"""

    loss_class = losses.SquaredHinge


class CategoricalHinge(LossMetric):
    """The mean of max(max((1 - y_true) y_pred) - sum(y_true y_pred) + 1, 0)."""

    loss_class = losses.CategoricalHinge


class CosineSimilarity(LossMetric):
    """The mean of sum(y_true y_pred) / (|y_true| |y_pred|): 1 where they point the same way."""

    loss_class = losses.CosineSimilarity

    def __init__(self, name=None, axis=-1):
        super().__init__(name, axis=axis)
        self.measure = "cosine_similarity", 1.0

    def values(self, y_true, y_pred):
        return by_sample(self.measure, y_true, y_pred)


class BinaryCrossentropy(LossMetric):
    """The mean of losses.BinaryCrossentropy(from_logits, label_smoothing)."""

    loss_class = losses.BinaryCrossentropy


class CategoricalCrossentropy(LossMetric):
    """The mean of losses.CategoricalCrossentropy(from_logits, label_smoothing)."""

    loss_class = losses.CategoricalCrossentropy


class SparseCategoricalCrossentropy(LossMetric):
    """The mean of losses.SparseCategoricalCrossentropy(from_logits)."""

    loss_class = losses.SparseCategoricalCrossentropy


class TopKCategoricalAccuracy(MeanMetric):
    """The share of samples whose true class, the one of a one-hot row, is among the k largest outputs."""

    name = "top_k_categorical_accuracy"

    def __init__(self, k=5, name=None):
        super().__init__(name)
        if isinstance(k, bool) or not isinstance(k, numbers.Integral) or k < 1:
            raise ValueError(f"{type(self).__name__}: k must be a whole number, 1 or more, received {k!r}.")
        self.k = k

    def values(self, y_true, y_pred):
        y_pred = as_floats(y_pred)
        labels = np.asarray(y_true)
        if labels.ndim == y_pred.ndim and labels.shape[-1] == y_pred.shape[-1]:
            labels = labels.argmax(-1)
        labels = labels.reshape(y_pred.shape[:-1]).astype("int64")
        k = min(self.k, y_pred.shape[-1])
        least = np.partition(y_pred, y_pred.shape[-1] - k, axis=-1)[..., y_pred.shape[-1] - k]
        return np.take_along_axis(y_pred, labels[..., None], -1)[..., 0] >= least


class SparseTopKCategoricalAccuracy(TopKCategoricalAccuracy):
    """The same for integer labels."""

    name = "sparse_top_k_categorical_accuracy"


class R2Score(Metric):
    """1 - sum((y_true - y_pred)^2) / sum((y_true - mean)^2) of each output, of (n, outputs).

    class_aggregation: 'uniform_average' for their mean, 'variance_weighted_average', or None for all of them.
    """

    name = "r2_score"
    additive = True

    def __init__(self, class_aggregation="uniform_average", name=None):
        super().__init__(name)
        if class_aggregation not in (None, "uniform_average", "variance_weighted_average"):
            raise ValueError("R2Score: class_aggregation must be 'uniform_average', 'variance_weighted_average' or "
                             f"None, received {class_aggregation!r}.")
        self.class_aggregation = class_aggregation

    def reset_state(self):
        self.count = self.sum = self.squares = self.residual = self.origin = 0.0

    def update_state(self, y_true, y_pred, sample_weight=None):
        y_true, y_pred = pair_of_rows(type(self).__name__, y_true, y_pred)
        weights = np.ones((len(y_true), 1)) if sample_weight is None else \
            np.asarray(sample_weight, "float64").reshape(-1, 1)
        if not np.any(self.count):
            self.origin = y_true[:1].astype("float64")      # numbers near 0 lose nothing in the sums of squares
        shifted = y_true - self.origin
        self.count = self.count + weights.sum()
        self.sum = self.sum + (weights * shifted).sum(0)
        self.squares = self.squares + (weights * shifted ** 2).sum(0)
        self.residual = self.residual + (weights * (y_true.astype("float64") - y_pred) ** 2).sum(0)

    def result(self):
        if not np.any(self.count):
            return 0.0
        total = self.squares - self.sum ** 2 / self.count
        with np.errstate(divide="ignore", invalid="ignore"):
            scores = 1 - self.residual / total
        scores = np.where(np.isinf(scores), 0.0, scores)
        if self.class_aggregation is None:
            return scores
        weights = total if self.class_aggregation == "variance_weighted_average" else np.ones_like(scores)
        return float((scores * weights).sum() / weights.sum())
