"""Metrics that count: precision, recall, F scores, the area under a curve, the confusion matrix."""
import numbers

import numpy as np

from ..losses import as_floats
from ..utils import as_labels, as_list, whole_number
from .base import Metric, pair_of_rows

EPSILON = 1e-7


def ratio(x, y):
    """x / y, 0 where y is 0"""
    return np.divide(x, y, out=np.zeros_like(x), where=y != 0)


def weights_of(sample_weight, shape):
    """The weight of each element, float64, of samples of `shape`."""
    if sample_weight is None:
        return np.ones(shape)
    weights = np.asarray(sample_weight, "float64").reshape(shape[0], -1)
    return np.broadcast_to(weights, shape)


def above(y_true, y_pred, places, bins, weights):
    """The weights of true and of false elements above each of `bins` thresholds; places: above how many each is."""
    true = np.bincount(places, weights * y_true, bins + 1)
    both = np.bincount(places, weights, bins + 1)
    tp, every = (np.cumsum(counts[::-1])[::-1][1:] for counts in (true, both))
    return tp, every - tp


class ThresholdMetric(Metric):
    """Counts of what lies above each of some thresholds."""

    additive = True

    def __init__(self, thresholds=None, class_id=None, name=None):
        self.thresholds, self.class_id = thresholds, class_id
        listed = as_list(0.5 if thresholds is None else thresholds)
        if not all(isinstance(t, numbers.Real) and 0 <= t <= 1 for t in listed):
            raise ValueError(f"{type(self).__name__}: thresholds must be numbers from 0 to 1, received {thresholds!r}.")
        self.order = np.argsort(listed)
        self.levels = np.asarray(listed, "float64")[self.order]
        super().__init__(name)

    def reset_state(self):
        self.tp, self.fp = np.zeros(len(self.levels)), np.zeros(len(self.levels))
        self.positives = self.negatives = 0.0

    def update_state(self, y_true, y_pred, sample_weight=None):
        y_true, y_pred = pair_of_rows(type(self).__name__, y_true, y_pred)
        if self.class_id is not None:
            y_true, y_pred = y_true[:, [self.class_id]], y_pred[:, [self.class_id]]
        weights, true = weights_of(sample_weight, y_true.shape).ravel(), (y_true != 0).ravel()
        in_01(type(self).__name__, y_pred)
        places = np.searchsorted(self.levels.astype(y_pred.dtype), y_pred.ravel(), "left")
        tp, fp = above(true, y_pred, places, len(self.levels), weights)
        self.tp, self.fp = self.tp + tp, self.fp + fp
        self.positives, self.negatives = self.positives + weights[true].sum(), self.negatives + weights[~true].sum()

    def in_order(self, values):
        """Those of the levels as those of the thresholds were given, one alone as a float."""
        found = np.empty(len(self.levels))
        found[self.order] = values
        return float(found[0]) if len(found) == 1 else found


def in_01(name, y_pred):
    if y_pred.size and not (y_pred.min() >= 0 and y_pred.max() <= 1):
        raise ValueError(f"Metric {name} needs predictions from 0 to 1, received {y_pred.min():g} to "
                         f"{y_pred.max():g}. End the model with a sigmoid or softmax.")


class Precision(ThresholdMetric):
    """The share of what is predicted, being above the threshold, that is true.

    thresholds: 0.5, or a list, which gives as many results.  class_id: counts that column alone.
    """

    name = "precision"

    def result(self):
        return self.in_order(ratio(self.tp, self.tp + self.fp))


class Recall(ThresholdMetric):
    """The share of what is true that is predicted, being above the threshold.

    thresholds, class_id: as in Precision.
    """

    name = "recall"

    def result(self):
        return self.in_order(ratio(self.tp, np.full(len(self.tp), self.positives)))


class Count(ThresholdMetric):
    """How much there is of one of the four, in all elements."""

    def __init__(self, thresholds=None, name=None):
        super().__init__(thresholds, None, name)


class TruePositives(Count):
    """How many of the true are predicted, being above the threshold; thresholds: as in Precision."""

    name = "true_positives"

    def result(self):
        return self.in_order(self.tp)


class FalsePositives(Count):
    """How many of the false are predicted, being above the threshold; thresholds: as in Precision."""

    name = "false_positives"

    def result(self):
        return self.in_order(self.fp)


class TrueNegatives(Count):
    """How many of the false are not predicted; thresholds: as in Precision."""

    name = "true_negatives"

    def result(self):
        return self.in_order(self.negatives - self.fp)


class FalseNegatives(Count):
    """How many of the true are not predicted; thresholds: as in Precision."""

    name = "false_negatives"

    def result(self):
        return self.in_order(self.positives - self.tp)


class FBetaScore(Metric):
    """(1 + beta^2) precision recall / (beta^2 precision + recall), of one-hot rows or several labels a sample.

    average: None for each class, 'micro' for all elements alike, 'macro' for the mean of the classes, 'weighted' for
    that by their number of samples.  threshold: above it is predicted; None: the largest of a row is.
    """

    name = "fbeta_score"
    additive = True

    def __init__(self, average=None, beta=1.0, threshold=None, name=None):
        if average not in (None, "micro", "macro", "weighted"):
            raise ValueError(f"{type(self).__name__}: average must be None, 'micro', 'macro' or 'weighted', received "
                             f"{average!r}.")
        for word, value, most in (("beta", beta, np.inf), ("threshold", threshold, 1)):
            if value is not None and not (isinstance(value, numbers.Real) and 0 < value <= most):
                raise ValueError(f"{type(self).__name__}: {word} must be a number above 0"
                                 f"{', at most 1' if most == 1 else ''}, received {value!r}.")
        self.average, self.beta, self.threshold = average, beta, threshold
        super().__init__(name)

    def reset_state(self):
        self.tp = self.fp = self.fn = np.zeros(())

    def update_state(self, y_true, y_pred, sample_weight=None):
        y_true, y_pred = pair_of_rows(type(self).__name__, y_true, y_pred)
        if self.threshold is None:
            chosen = (y_pred >= y_pred.max(-1, keepdims=True)) & (np.abs(y_pred) > 1e-9)
        else:
            chosen = y_pred > self.threshold
        weights = weights_of(sample_weight, y_true.shape)
        axis = None if self.average == "micro" else 0
        self.tp = self.tp + (weights * chosen * y_true).sum(axis)
        self.fp = self.fp + (weights * chosen * (1 - y_true)).sum(axis)
        self.fn = self.fn + (weights * ~chosen * y_true).sum(axis)

    def result(self):
        precision, recall = self.tp / (self.tp + self.fp + EPSILON), self.tp / (self.tp + self.fn + EPSILON)
        square = self.beta ** 2
        scores = (1 + square) * precision * recall / (square * precision + recall + EPSILON)
        if self.average is None:
            return scores
        if self.average == "weighted":
            share = (self.tp + self.fn) / ((self.tp + self.fn).sum() + EPSILON)
            return float((scores * share).sum())
        return float(scores.mean())


class F1Score(FBetaScore):
    """2 precision recall / (precision + recall): FBetaScore with beta = 1."""

    name = "f1_score"

    def __init__(self, average=None, threshold=None, name=None):
        super().__init__(average, 1.0, threshold, name)

    def get_config(self):
        return {"average": self.average, "threshold": self.threshold, "name": self.name}


class AUC(Metric):
    """The area under a curve that is drawn through num_thresholds points, as Keras approximates it.

    curve: 'ROC', the true by the false positive rate, or 'PR', precision by recall, with Davis and Goadrich's
    interpolation.  thresholds: a list in place of the even ones.  summation_method: 'interpolation', 'minoring' or
    'majoring'.  multi_label: the mean of the areas of the columns, where else all elements make one curve.
    from_logits: y_pred are logits of a sigmoid.
    """

    name = "auc"
    additive = True

    def __init__(self, num_thresholds=200, curve="ROC", summation_method="interpolation", name=None, thresholds=None,
                 multi_label=False, from_logits=False):
        if str(curve).upper() not in ("ROC", "PR"):
            raise ValueError(f"AUC: curve must be 'ROC' or 'PR', received {curve!r}.")
        if summation_method not in ("interpolation", "minoring", "majoring"):
            raise ValueError("AUC: summation_method must be 'interpolation', 'minoring' or 'majoring', received "
                             f"{summation_method!r}.")
        self.curve, self.summation_method, self.thresholds = curve.upper(), summation_method, thresholds
        self.multi_label, self.from_logits = multi_label, from_logits
        self.num_thresholds = whole_number("AUC: num_thresholds", num_thresholds, 2)
        self.levels = None
        if thresholds is not None:
            self.levels = np.array([-EPSILON, *sorted(thresholds), 1 + EPSILON])
            self.num_thresholds = len(self.levels)
        super().__init__(name)

    def reset_state(self):
        self.tp = self.fp = self.positives = self.negatives = 0.0

    def update_state(self, y_true, y_pred, sample_weight=None):
        y_true, y_pred = pair_of_rows("AUC", y_true, y_pred)
        if self.from_logits:
            from .. import _core

            y_pred = _core.sigmoid(y_pred)
        in_01("AUC", y_pred)
        weights, true = weights_of(sample_weight, y_true.shape), y_true != 0
        columns = range(y_true.shape[1]) if self.multi_label else [slice(None)]
        found = [self.counted(true[:, c].ravel(), y_pred[:, c].ravel(), weights[:, c].ravel()) for c in columns]
        tp, fp, positives, negatives = (np.stack(each, -1) for each in zip(*found, strict=True))
        self.tp, self.fp = self.tp + tp, self.fp + fp
        self.positives, self.negatives = self.positives + positives, self.negatives + negatives

    def counted(self, true, y_pred, weights):
        n = self.num_thresholds
        if self.levels is None:             # even ones, in float32 as Keras places them
            steps = np.ceil(y_pred.astype("float32") * np.float32(n - 1)).astype("int64")
            places = np.maximum(steps, 1)
        else:
            places = np.searchsorted(self.levels.astype(y_pred.dtype), y_pred, "left")
        tp, fp = above(true, y_pred, places, n, weights)
        return tp, fp, (weights * true).sum(), (weights * ~true).sum()

    def result(self):
        if np.ndim(self.tp) == 0:
            return 0.0
        tp, fp, positives = self.tp, self.fp, np.broadcast_to(self.positives, self.tp.shape)
        recall = ratio(tp, positives)
        if self.curve == "PR" and self.summation_method == "interpolation":
            return float(self.interpolated(tp, tp + fp, positives).sum(0).mean())
        if self.curve == "PR":
            x, y = recall, ratio(tp, tp + fp)
        else:
            x, y = ratio(fp, np.broadcast_to(self.negatives, fp.shape)), recall
        heights = {"interpolation": (y[:-1] + y[1:]) / 2, "minoring": np.minimum(y[:-1], y[1:]),
                   "majoring": np.maximum(y[:-1], y[1:])}[self.summation_method]
        return float(((x[:-1] - x[1:]) * heights).sum(0).mean())

    @staticmethod
    def interpolated(tp, p, positives):
        """The pieces of the area under precision by recall, between whose ends the true are linear in the predicted:
        Davis and Goadrich, The Relationship Between Precision-Recall and ROC Curves, 2006."""
        dtp = tp[:-1] - tp[1:]
        slope = ratio(dtp, np.maximum(p[:-1] - p[1:], 0))
        intercept = tp[1:] - slope * p[1:]
        growth = np.where((p[:-1] > 0) & (p[1:] > 0), ratio(p[:-1], np.maximum(p[1:], 0)), 1.0)
        return ratio(slope * (dtp + intercept * np.log(growth)), positives[1:])


class ConfusionMatrix(Metric):
    """How often class i, the row, was predicted as class j, the column: an array (num_classes, num_classes).

    y_true: labels (n,) or one-hot rows.  y_pred: labels (n,), rows of numbers of which the largest counts, or for two
    classes one number a sample, which counts as class 1 above 0.5.
    """

    name = "confusion_matrix"
    additive = True

    def __init__(self, num_classes=2, name=None):
        self.num_classes = whole_number("ConfusionMatrix: num_classes", num_classes, 2)
        super().__init__(name)

    def reset_state(self):
        self.matrix = np.zeros((self.num_classes, self.num_classes), "int64")

    def update_state(self, y_true, y_pred, sample_weight=None):
        rows, cols = self.labels("y_true", y_true), self.labels("y_pred", y_pred)
        if len(rows) != len(cols):
            raise ValueError(f"ConfusionMatrix needs as many rows in y_true as in y_pred, received {len(rows)} and "
                             f"{len(cols)}.")
        weights = None if sample_weight is None else np.asarray(sample_weight, "float64").ravel()
        counts = np.bincount(rows * self.num_classes + cols, weights, self.num_classes ** 2)
        self.matrix = self.matrix + counts.reshape(self.matrix.shape)

    def labels(self, name, y):
        y = np.asarray(y)
        if y.ndim == 2 and y.shape[1] > 1:
            labels = y.argmax(1)
        elif name == "y_pred" and y.dtype.kind == "f" and self.num_classes == 2:
            labels = (as_floats(y).ravel() > 0.5).astype("int64")
        else:
            labels = as_labels(y, name)
        if len(labels) and not 0 <= labels.min() <= labels.max() < self.num_classes:
            raise ValueError(f"ConfusionMatrix of {self.num_classes} classes counts labels 0 to {self.num_classes - 1},"
                             f" received {name} from {labels.min()} to {labels.max()}. Change num_classes.")
        return labels

    def result(self):
        return self.matrix


def confusion_matrix(y_true, y_pred, num_classes=None, sample_weight=None):
    """The matrix of ConfusionMatrix for all samples at once; num_classes: as many as there are, by default.

    >>> confusion_matrix([0, 1, 1], [0, 1, 0])
    array([[1, 0],
           [1, 1]])
    """
    if num_classes is None:
        sizes = [y.shape[1] if y.ndim == 2 and y.shape[1] > 1 else int(np.max(y, initial=0)) + 1
                 for y in (np.asarray(y_true), np.asarray(y_pred))]
        num_classes = max(2, *sizes)
    return ConfusionMatrix(num_classes)(y_true, y_pred, sample_weight)
