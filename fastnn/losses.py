"""Losses: what a compiled model minimises.  Give compile() the name or the object."""
from . import _core
from .utils import Configured, made


class Loss(Configured):
    """The mean over samples of a compiled loss.

    kernel: its name in the compiled core.  fused: the kernel that takes logits, by the activation it replaces.
    """

    name: str
    kernel: str
    fused: dict[str, str] = {}

    def __call__(self, y_true, y_pred):
        """The loss of predictions y_pred (n, O) against y_true (n, O), as a float.

        >>> MeanSquaredError()(np.array([[0.0]]), np.array([[2.0]]))
        4.0
        """
        losses = _core.loss(self.kernel, y_pred, y_true)
        return float(_core.sum_(losses)) / max(len(losses), 1)


class MeanSquaredError(Loss):
    """mean((y_pred - y_true)^2)"""

    name = kernel = "mse"


class MeanAbsoluteError(Loss):
    """mean(|y_pred - y_true|)"""

    name = kernel = "mae"


class BinaryCrossentropy(Loss):
    """-mean(t log p + (1 - t) log(1 - p)); p clipped to [1e-7, 1 - 1e-7] unless a sigmoid is fused into the loss."""

    name = kernel = "binary_crossentropy"
    fused = {"sigmoid": "sigmoid_crossentropy"}


class CategoricalCrossentropy(Loss):
    """-sum(t log p) for one-hot rows t; p clipped to [1e-7, 1 - 1e-7] unless a softmax is fused into the loss."""

    name = kernel = "categorical_crossentropy"
    fused = {"softmax": "softmax_crossentropy"}


class SparseCategoricalCrossentropy(CategoricalCrossentropy):
    """The same for integer labels of shape (n,)."""

    name = "sparse_categorical_crossentropy"

    def __call__(self, y_true, y_pred):
        from .utils import to_categorical

        return super().__call__(to_categorical(y_true, y_pred.shape[1]).astype(y_pred.dtype), y_pred)


CLASSES = (MeanSquaredError, MeanAbsoluteError, BinaryCrossentropy, CategoricalCrossentropy,
           SparseCategoricalCrossentropy)
LOSSES = {cls.name: cls for cls in CLASSES} | {
    "mean_squared_error": MeanSquaredError, "mean_absolute_error": MeanAbsoluteError}


def get(loss):
    """A Loss from an object, a class, a name, or its class_name and config."""
    return made("loss", loss, Loss, LOSSES)
