"""Metrics: what a compiled model reports beside the loss.  Give compile() names, objects or functions of your own.

Each may also be used by itself, as in Keras: update_state(y_true, y_pred, sample_weight), result(), reset_state(), or
all at once by a call.

>>> metrics.AUC()(np.array([0, 0, 1, 1]), np.array([0.0, 0.5, 0.3, 0.9]))
0.75
"""
from ..utils import look_up, made
from .base import FunctionMetric, MeanMetric, Metric
from .counts import (
    AUC,
    ConfusionMatrix,
    F1Score,
    FalseNegatives,
    FalsePositives,
    FBetaScore,
    Precision,
    Recall,
    TrueNegatives,
    TruePositives,
    confusion_matrix,
)
from .means import (
    Accuracy,
    BinaryAccuracy,
    BinaryCrossentropy,
    CategoricalAccuracy,
    CategoricalCrossentropy,
    CategoricalHinge,
    CosineSimilarity,
    Hinge,
    Huber,
    KLDivergence,
    LogCoshError,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    Poisson,
    R2Score,
    RootMeanSquaredError,
    SparseCategoricalAccuracy,
    SparseCategoricalCrossentropy,
    SparseTopKCategoricalAccuracy,
    SquaredHinge,
    TopKCategoricalAccuracy,
)

CLASSES = (BinaryAccuracy, CategoricalAccuracy, SparseCategoricalAccuracy, Accuracy, MeanSquaredError,
           RootMeanSquaredError, MeanAbsoluteError, MeanAbsolutePercentageError, MeanSquaredLogarithmicError, Huber,
           LogCoshError, KLDivergence, Poisson, Hinge, SquaredHinge, CategoricalHinge, CosineSimilarity,
           BinaryCrossentropy, CategoricalCrossentropy, SparseCategoricalCrossentropy, TopKCategoricalAccuracy,
           SparseTopKCategoricalAccuracy, R2Score, Precision, Recall, FBetaScore, F1Score, AUC, ConfusionMatrix,
           TruePositives, FalsePositives, TrueNegatives, FalseNegatives)
METRICS = {getattr(cls, "loss_class", cls).name: cls for cls in CLASSES if cls is not RootMeanSquaredError} | {
    "root_mean_squared_error": RootMeanSquaredError, "acc": Accuracy, "mse": MeanSquaredError,
    "mae": MeanAbsoluteError, "mape": MeanAbsolutePercentageError, "msle": MeanSquaredLogarithmicError,
    "rmse": RootMeanSquaredError, "kld": KLDivergence, "logcosh": LogCoshError, "bce": BinaryCrossentropy}
__all__ = ["MeanMetric", "Metric", "confusion_matrix", "get", *(cls.__name__ for cls in CLASSES)]


def get(metric):
    """A Metric from an object, a class, a name, which becomes its key in History, or a function of (y_true, y_pred)."""
    if isinstance(metric, str):
        return look_up("metric", metric, METRICS)(name=metric)
    if isinstance(metric, type) or not callable(metric) or isinstance(metric, Metric):
        return made("metric", metric, Metric, METRICS)
    return FunctionMetric(metric)
