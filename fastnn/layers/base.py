"""What every layer has: its words, its shapes, and its parameters as plain arrays."""
import math
from contextvars import ContextVar

import numpy as np

from .. import _core, inputs
from ..initializers import initial_values
from ..utils import Configured, raise_unknown, whole_number

# What to do in place of words of Keras' layers.
INSTEAD = {
    "activity_regularizer": "Penalize the weights by kernel_regularizer, or the last layer's outputs in a loss of your "
                            "own.",
    "batch_input_shape": "Give input_shape=, without the batch axis.",
    "batch_size": "Give it to fit(), evaluate() or predict().",
    "weights": "Call set_weights() once the layer is built.",
    "noise_shape": "Leave it out: Dropout draws for each number by itself.",
    "renorm": "Use BatchNormalization without it, or LayerNormalization.",
}

stored = ContextVar("stored", default=None)     # while a file is read: (name, shape, dtype) to the parameter there


class Layer(Configured):
    """What every layer has: a name, shapes without the batch axis, and `weights`, a list of arrays.

    name: by default the class in small letters, numbered within the model.  dtype: 'float32' or 'float64'.
    input_shape or input_dim: only needed on a model's first layer.  trainable: whether fit() moves the weights.
    """

    factor: float | None = None     # what the layer multiplies by, if that is all: the gather does it before the others
    reads_sparse_rows = False       # whether SciPy's sparse rows may be its input
    holds = ()                      # what is called after each step: constraints with their weights

    def __init__(self, name=None, dtype=None, input_shape=None, input_dim=None, trainable=True, **absent):
        if absent:
            raise_unknown(type(self), next(iter(absent)), INSTEAD)
        if dtype is not None and (dtype := np.dtype(dtype).name) not in ("float32", "float64"):
            raise ValueError(f"A layer's dtype must be 'float32' or 'float64', received {dtype!r}.")
        self.name, self.dtype, self.trainable = name, dtype, trainable
        self.input_shape = as_shape((input_dim,) if input_shape is None and input_dim is not None else input_shape)
        self.output_shape = None
        self.weights = []

    @property
    def built(self):
        return self.output_shape is not None

    def build(self, input_shape, dtype="float32", seed=0, stream=1):
        """Fix the shapes and allocate the parameters, from random streams numbered from `stream`."""
        self.input_shape, self.output_shape = tuple(input_shape), self.shape_after(input_shape)
        self.dtype = self.dtype or dtype

    def _parameter(self, initializer, shape, seed, stream):
        """An aligned array with its initial values, or those of the file that the model is read from."""
        take = stored.get()
        values = (take(self.name, shape, self.dtype) if take
                  else initial_values(initializer, shape, self.dtype, seed, stream))
        array = _core.aligned(tuple(shape), self.dtype)
        overwrite("a parameter its initial value", array, values)
        return array

    def shape_after(self, input_shape):
        return tuple(input_shape)

    def stages(self):
        """The compiled stages that run this layer; none where rows pass unchanged."""
        return []

    @property
    def trainable_weights(self):
        """Those of the weights that training moves."""
        return self.weights if self.trainable else []

    @property
    def non_trainable_weights(self):
        """The other weights."""
        moved = {id(weight) for weight in self.trainable_weights}
        return [weight for weight in self.weights if id(weight) not in moved]

    def weight_names(self):
        """The names of the weights in Keras: 'kernel', 'bias', ..."""
        words = {id(value): word.lstrip("_") for word, value in vars(self).items() if isinstance(value, np.ndarray)}
        names = [words.get(id(weight), "") for weight in self.weights]
        return ["kernel" if name == "weight" else name for name in names]

    def get_weights(self):
        """Copies of the parameters: weight, bias."""
        return [weight.copy() for weight in self.weights]

    def set_weights(self, weights):
        """Overwrite the parameters with arrays of the same shapes, in the order of get_weights()."""
        overwrite_all(self.weights, weights)

    def count_params(self):
        return sum(w.size for w in self.weights)

    def __call__(self, x):
        """The layer's output (B, ...) for x (B, ...), building the layer for the shape of x on first use."""
        x = x if inputs.is_sparse(x) else np.asarray(x)
        if not self.built:
            self.build(self.input_shape or x.shape[1:], "float64" if x.dtype == np.float64 else "float32")
        rows = inputs.as_inputs(x, self.input_shape, self.dtype, type(self).__name__)
        network = _core.Network(self.stages() or pass_through(self))
        return network.predict(rows).reshape(-1, *self.output_shape)


def overwrite(name, array, value):
    """array[...] = value, for a value of the same shape."""
    value = np.asarray(value)
    if array is None or value.shape != array.shape:
        expected = "a layer that is built and has one" if array is None else f"shape {array.shape}"
        raise ValueError(f"Assigning {name} needs {expected}, received shape {value.shape}.")
    array[...] = value


def overwrite_all(arrays, values):
    """Each array takes one of as many values, of the same shapes; none does if one does not fit."""
    values = [np.asarray(value) for value in values]
    if [value.shape for value in values] != [array.shape for array in arrays]:
        raise ValueError(f"set_weights expects arrays of shapes {[array.shape for array in arrays]}, "
                         f"received {[value.shape for value in values]}.")
    for value in values:
        if value.dtype.kind not in "iuf":
            raise TypeError(f"set_weights expects real numbers, received dtype {value.dtype}.")
    for array, value in zip(arrays, values, strict=True):
        array[...] = value


def pass_through(layer):
    """The one stage of a layer, or of a model that ends in it, that computes nothing."""
    return [_core.Activation(math.prod(layer.output_shape), "linear", layer.dtype)]


def as_shape(shape):
    """None, or a tuple of positive integers."""
    if shape is None:
        return None
    if not np.iterable(shape) and not isinstance(shape, (int, np.integer)) or isinstance(shape, str):
        raise TypeError(f"input_shape must be an integer or a tuple of integers, received {shape!r}.")
    shape = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
    return tuple(whole_number("Each length in input_shape", length, 1) for length in shape)
