"""Losses: what a compiled model minimises.  Give compile() the name, the object, or a function of your own.

>>> model.compile(loss=losses.Huber(delta=2.0))
>>> model.compile(loss=lambda y_true, y_pred: np.mean((y_true - y_pred) ** 4, axis=-1))
"""
import math
import numbers

import numpy as np

from . import _core, traces
from .utils import Configured, made, raise_unknown, to_categorical

INSTEAD = {"axis": "The classes are the outputs' last axis.",
           "ignore_class": "Give those samples the sample_weight 0."}
REDUCTIONS = ("sum_over_batch_size", "sum", "none")


class Loss(Configured):
    """The base of the losses here, and of one of your own, which has call(y_true, y_pred) and perhaps gradient().

    kernel: its name in the compiled core, number: what that takes.  fused: the kernel that takes logits, by the
    activation that it replaces.  reduction: of the losses of the samples when the object is called:
    'sum_over_batch_size' for their mean, which training takes, 'sum', or 'none'.  name: for messages.

    >>> class Fourth(Loss):
    ...     def call(self, y_true, y_pred):             # the loss of each sample, (B,)
    ...         return np.mean((y_pred - y_true) ** 4, axis=-1)
    ...     def gradient(self, y_true, y_pred):         # of each sample's loss by its row of y_pred; may be left out
    ...         return 4 * (y_pred - y_true) ** 3 / y_pred.shape[-1]
    """

    name: str = ""
    kernel: str = ""
    number: float | None = None
    fused: dict[str, str] = {}
    classes = False                 # whether y_true names one of several classes
    sparse = False                  # by its number
    from_logits = False
    label_smoothing = 0.0
    gradient = None
    reduction = "sum_over_batch_size"

    def __init__(self, reduction="sum_over_batch_size", name=None, **absent):
        if absent:
            raise_unknown(type(self), next(iter(absent)), INSTEAD)
        self.reduction, self.name = reduction or "none", name or self.name or type(self).__name__
        if self.reduction not in REDUCTIONS:
            raise ValueError(f"reduction must be one of {', '.join(map(repr, REDUCTIONS))}, received {reduction!r}.")

    @property
    def measure(self):
        """The kernel for y_pred as the loss takes it, or a pair of the kernel and its number."""
        kernel = next(iter(self.fused.values())) if self.from_logits else self.kernel
        return kernel if self.number is None else (kernel, self.number)

    def call(self, y_true, y_pred):
        """The loss of each sample: (B, ...) for y_pred (B, ..., O)."""
        return by_sample(self.measure, y_true, y_pred, self.label_smoothing, self.sparse)

    def __call__(self, y_true, y_pred, sample_weight=None):
        """The loss of predictions y_pred (n, O) against y_true (n, O), as a float; reduction='none': of each sample.

        >>> MeanSquaredError()(np.array([[0.0]]), np.array([[2.0]]))
        4.0
        """
        losses = np.asarray(self.call(y_true, y_pred))
        if sample_weight is not None:
            weights = np.asarray(sample_weight, losses.dtype)
            losses = losses * weights.reshape(weights.shape + (1,) * (losses.ndim - weights.ndim)
                                              if weights.ndim <= losses.ndim else losses.shape)
        if self.reduction == "none":
            return losses
        total = float(_core.sum_(losses))
        return total if self.reduction == "sum" else total / max(losses.size, 1)


def by_sample(measure, y_true, y_pred, smoothing=0.0, sparse=False):
    """The compiled measure of each sample: (B, ...) for y_pred (B, ..., O), which gradient() may have traced."""
    y_pred = y_pred if type(y_pred) is traces.Traced else as_floats(y_pred)
    if sparse:
        labels = np.asarray(y_true).reshape(y_pred.size // max(y_pred.shape[-1], 1))
        y_true = to_categorical(labels, y_pred.shape[-1]).reshape(y_pred.shape)
    y_true = same_rank(as_floats(y_true, y_pred.dtype), y_pred)
    if y_true.shape != y_pred.shape:
        raise ValueError(f"y_true and y_pred must have one shape, received {y_true.shape} and {y_pred.shape}.")
    *shape, cols = y_pred.shape or (1,)
    rows = (math.prod(shape), cols)
    found = traces.apply("by_sample", (y_pred.reshape(rows),), {
        "measure": measure, "y_true": y_true.reshape(rows), "smoothing": smoothing})
    return found.reshape(shape)


def as_floats(x, dtype=None):
    x = np.asarray(x)
    if x.dtype.kind not in "biuf":
        raise TypeError(f"Losses and metrics take real numbers, received dtype {x.dtype}.")
    return x.astype(dtype or (x.dtype if x.dtype in (np.float32, np.float64) else "float32"), copy=False)


def same_rank(y_true, y_pred):
    """y_true with as many axes as y_pred, where the last one of the other is 1 long."""
    if y_true.ndim == y_pred.ndim - 1 and y_pred.shape[-1] == 1:
        return y_true[..., None]
    return y_true[..., 0] if y_true.ndim == y_pred.ndim + 1 and y_true.shape[-1] == 1 else y_true


def _share(dout, out, y_pred, measure, y_true, smoothing):
    if type(y_pred) is traces.Traced:
        raise TypeError("A compiled loss has no second derivative. Write the loss with NumPy functions or fastnn.ops.")
    slope = np.empty_like(y_pred)
    _core.loss(measure, y_pred, y_true, slope, smoothing=smoothing)
    return dout[:, None] * slope


traces.LOCAL["by_sample"] = lambda y_pred, measure, y_true, smoothing: _core.loss(
    measure, y_pred, y_true, smoothing=smoothing)
traces.RULES["by_sample"] = (_share,)


class Criterion:
    """A loss of one's own as the compiled loop calls it, for outputs of `shape`."""

    def __init__(self, loss, shape):
        self.loss, self.shape = loss, shape

    def __call__(self, y_true, y_pred, weights):
        """The losses (B,), times the samples' weights unless None, and the gradient (B, units) of their mean."""
        y_pred = y_pred.reshape(-1, *self.shape)
        y_true = same_rank(as_floats(y_true, y_pred.dtype), y_pred)
        if self.loss.gradient is not None:
            found = np.asarray(self.loss.call(y_true, y_pred))
            slope = np.asarray(self.loss.gradient(y_true, y_pred))
            self.check(found, slope, y_pred)
            share = np.full(len(y_pred), 1 / len(y_pred)) if weights is None else weights / len(y_pred)
            dout = slope * share.reshape(-1, *[1] * len(self.shape))
        else:
            found, pull = self.traced(y_true, y_pred)
            self.check(found, y_pred, y_pred)
            share = np.full(found.shape, 1 / found.size)
            if weights is not None:
                share = share * (weights.reshape(-1, *[1] * (found.ndim - 1)) if found.ndim else weights.mean())
            dout = pull(share.astype(found.dtype))
        rows = found.reshape(len(y_pred), -1).mean(1) if found.ndim else np.full(len(y_pred), found)
        if weights is not None:
            rows = rows * weights
        return (np.ascontiguousarray(rows, y_pred.dtype),
                np.ascontiguousarray(dout, y_pred.dtype).reshape(len(y_pred), -1))

    def traced(self, y_true, y_pred):
        from .gradients import with_pullback

        depends = []

        def call(y_pred):
            found = self.loss.call(y_true, y_pred)
            depends.append(type(found) is traces.Traced)
            return found

        found, pull = with_pullback(call, y_pred)
        if not depends[-1]:
            raise ValueError(f"The result of loss {self.loss.name!r} does not depend on y_pred, so there is nothing to "
                             "learn. Compute it from y_pred with NumPy functions, operators or fastnn.ops.")
        return np.asarray(found), pull

    def check(self, found, slope, y_pred):
        if found.dtype.kind != "f" or found.ndim and found.shape != y_pred.shape[:found.ndim]:
            raise ValueError(f"Loss {self.loss.name!r} must return the loss of each sample, shape ({len(y_pred)},), or "
                             f"one number; it returned {found.dtype} of shape {found.shape}. Take the mean over the "
                             "last axis: np.mean(..., axis=-1).")
        if slope.shape != y_pred.shape:
            raise ValueError(f"{self.loss.name}.gradient must return an array of y_pred's shape {y_pred.shape}, "
                             f"it returned {slope.shape}.")


class MeanSquaredError(Loss):
    """mean((y_pred - y_true)^2)"""

    name, kernel = "mean_squared_error", "mse"


class MeanAbsoluteError(Loss):
    """mean(|y_pred - y_true|)"""

    name, kernel = "mean_absolute_error", "mae"


class MeanAbsolutePercentageError(Loss):
    """100 mean(|y_true - y_pred| / max(|y_true|, 1e-7))"""

    name, kernel = "mean_absolute_percentage_error", "mape"


class MeanSquaredLogarithmicError(Loss):
    """mean((log(y_pred + 1) - log(y_true + 1))^2), both raised to at least 1e-7 before"""

    name, kernel = "mean_squared_logarithmic_error", "msle"


class Huber(Loss):
    """mean(d^2 / 2 where |d| <= delta, else delta |d| - delta^2 / 2), d = y_pred - y_true"""

    name, kernel = "huber", "huber"

    def __init__(self, delta=1.0, **options):
        super().__init__(**options)
        if isinstance(delta, bool) or not isinstance(delta, numbers.Real) or not 0 < delta < float("inf"):
            raise ValueError(f"Huber: delta must be a finite number above 0, received {delta!r}.")
        self.delta = self.number = delta


class LogCosh(Loss):
    """mean(log(cosh(y_pred - y_true)))"""

    name = kernel = "log_cosh"


class KLDivergence(Loss):
    """sum(y_true log(y_true / y_pred)), both clipped to [1e-7, 1]"""

    name = kernel = "kl_divergence"


class Poisson(Loss):
    """mean(y_pred - y_true log(y_pred + 1e-7))"""

    name = kernel = "poisson"


class Hinge(Loss):
    """mean(max(1 - y_true y_pred, 0)); truths 0 and 1 are taken as -1 and 1"""

    name = kernel = "hinge"


class SquaredHinge(Loss):
    """mean(max(1 - y_true y_pred, 0)^2); truths 0 and 1 are taken as -1 and 1"""

    name = kernel = "squared_hinge"


class CategoricalHinge(Loss):
    """max(max((1 - y_true) y_pred) - sum(y_true y_pred) + 1, 0) for one-hot rows y_true"""

    name = kernel = "categorical_hinge"
    classes = True


class CosineSimilarity(Loss):
    """-sum(y_true y_pred) / (|y_true| |y_pred|): -1 where they point the same way.  axis: -1."""

    name = kernel = "cosine_similarity"
    number = -1.0

    def __init__(self, axis=-1, **options):
        super().__init__(**options)
        if axis != -1:
            raise ValueError(f"CosineSimilarity works along the last axis, received axis={axis!r}. Use axis=-1.")
        self.axis = axis


class BinaryCrossentropy(Loss):
    """-mean(t log p + (1 - t) log(1 - p)); p clipped to [1e-7, 1 - 1e-7] unless a sigmoid is fused into the loss.

    from_logits: y_pred are logits z, and p = sigmoid(z).  label_smoothing: from 0 to 1, moves t that share of the way
    to 1/2.
    """

    name = kernel = "binary_crossentropy"
    fused = {"sigmoid": "sigmoid_crossentropy"}

    def __init__(self, from_logits=False, label_smoothing=0.0, **options):
        super().__init__(**options)
        self.from_logits, self.label_smoothing = from_logits, label_smoothing
        if isinstance(label_smoothing, bool) or not isinstance(label_smoothing, numbers.Real) \
                or not 0 <= label_smoothing <= 1:
            raise ValueError(f"{type(self).__name__}: label_smoothing must be a number from 0 to 1, "
                             f"received {label_smoothing!r}.")


class CategoricalCrossentropy(BinaryCrossentropy):
    """-sum(t log p) for one-hot rows t; p clipped to [1e-7, 1 - 1e-7] unless a softmax is fused into the loss.

    from_logits: y_pred are logits z, and p = softmax(z).  label_smoothing: from 0 to 1, moves t that share of the way
    to 1 / classes.
    """

    name = kernel = "categorical_crossentropy"
    fused = {"softmax": "softmax_crossentropy"}
    classes = True


class SparseCategoricalCrossentropy(Loss):
    """The same for integer labels of shape (n,), without smoothing."""

    name, kernel = "sparse_categorical_crossentropy", "categorical_crossentropy"
    fused = CategoricalCrossentropy.fused
    classes = sparse = True

    def __init__(self, from_logits=False, **options):
        super().__init__(**options)
        self.from_logits = from_logits


class FunctionLoss(Loss):
    """A Python function of (y_true, y_pred) that returns the loss of each sample."""

    def __init__(self, function, **options):
        super().__init__(name=getattr(function, "__name__", type(function).__name__), **options)
        self.call = function

    def get_config(self):
        raise TypeError(f"The loss {self.name!r} is a Python function and cannot be saved as data. "
                        "Compile with one of fastnn.losses, or compile again after loading.")


CLASSES: tuple[type[Loss], ...] = (
    MeanSquaredError, MeanAbsoluteError, MeanAbsolutePercentageError, MeanSquaredLogarithmicError, Huber, LogCosh,
    KLDivergence, Poisson, Hinge, SquaredHinge, CategoricalHinge, CosineSimilarity, BinaryCrossentropy,
    CategoricalCrossentropy, SparseCategoricalCrossentropy)
ALIASES = {"mse": MeanSquaredError, "mae": MeanAbsoluteError, "mape": MeanAbsolutePercentageError,
           "msle": MeanSquaredLogarithmicError, "logcosh": LogCosh, "kld": KLDivergence, "bce": BinaryCrossentropy}
LOSSES = {cls.name: cls for cls in CLASSES} | ALIASES


def _function(cls):
    def function(y_true, y_pred, *options, **words):
        return cls(*options, **words).call(y_true, y_pred)

    function.__name__ = function.__qualname__ = cls.name
    function.__doc__ = f"The loss of each sample, (B,): {cls.__doc__}"
    function.loss = cls
    return function


(mean_squared_error, mean_absolute_error, mean_absolute_percentage_error, mean_squared_logarithmic_error, huber,
 log_cosh, kl_divergence, poisson, hinge, squared_hinge, categorical_hinge, cosine_similarity, binary_crossentropy,
 categorical_crossentropy, sparse_categorical_crossentropy) = map(_function, CLASSES)


def get(loss):
    """A Loss from an object, a class, a name, its class_name and config, or a function of (y_true, y_pred)."""
    if isinstance(loss, type) or not callable(loss) or isinstance(loss, Loss):
        return made("loss", loss, Loss, LOSSES)
    return loss.loss() if hasattr(loss, "loss") else FunctionLoss(loss)
