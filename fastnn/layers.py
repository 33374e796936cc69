"""The layers of a Sequential model, in Keras' words.

A layer knows its parameters as plain arrays and the compiled stages that run it; the arithmetic is theirs.
"""
import math
import numbers

import numpy as np

from . import _core, activations, initializers, inputs
from .utils import whole_number


class Layer:
    """What every layer has: a name, shapes without the batch axis, and `weights`, a list of arrays.

    name: by default the class in small letters, numbered within the model.  dtype: 'float32' or 'float64'.
    input_shape or input_dim: only needed on a model's first layer.
    """

    scale = 1.0                             # what the layer multiplies its inputs by as they are gathered

    def __init__(self, name=None, dtype=None, input_shape=None, input_dim=None):
        if dtype is not None and (dtype := np.dtype(dtype).name) not in ("float32", "float64"):
            raise ValueError(f"A layer's dtype must be 'float32' or 'float64', received {dtype!r}.")
        self.name, self.dtype = name, dtype
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

    def shape_after(self, input_shape):
        return tuple(input_shape)

    def stages(self):
        """The compiled stages that run this layer; none where rows pass unchanged."""
        return []

    def count_params(self):
        return sum(w.size for w in self.weights)

    def __call__(self, x):
        """The layer's output (B, ...) for x (B, ...), building the layer for the shape of x on first use."""
        x = x if inputs.is_sparse(x) else np.asarray(x)
        if not self.built:
            self.build(self.input_shape or x.shape[1:], "float64" if x.dtype == np.float64 else "float32")
        rows = inputs.as_inputs(x, self.input_shape, self.dtype, type(self).__name__)
        network = _core.Network(self.stages() or pass_through(self), scale=self.scale)
        return network.predict(rows).reshape(-1, *self.output_shape)


def overwrite(name, array, value):
    """array[...] = value, for a value of the same shape."""
    value = np.asarray(value)
    if array is None or value.shape != array.shape:
        expected = "a layer that is built and has one" if array is None else f"shape {array.shape}"
        raise ValueError(f"Assigning {name} needs {expected}, received shape {value.shape}.")
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


class Input(Layer):
    """Names the shape of one sample: Input((784,)) or Input(shape=(28, 28))."""

    def __init__(self, shape, name=None, dtype=None):
        super().__init__(name, dtype, input_shape=shape)


class Rescaling(Layer):
    """x * scale, done while rows are gathered: Rescaling(1 / 255) trains on uint8 images as they are.

    Before the first Dense only.  scale is rounded to the model's dtype, so the last bit may differ from x / 255.
    """

    def __init__(self, scale, **options):
        super().__init__(**options)
        if isinstance(scale, bool) or not isinstance(scale, numbers.Real) or not math.isfinite(scale):
            raise ValueError(f"Rescaling: scale must be a finite number, received {scale!r}.")
        self.scale = float(scale)


class Flatten(Layer):
    """(B, ...) to (B, n): the samples as rows."""

    def shape_after(self, input_shape):
        return (int(np.prod(input_shape)),)


class Activation(Layer):
    """An activation as a layer: Activation('relu')."""

    def __init__(self, activation, **options):
        super().__init__(**options)
        self.activation = activations.get(activation)

    def stages(self):
        size = int(np.prod(self.output_shape))
        return [_core.Activation(size, self.activation, self.dtype, self.output_shape[-1] if self.output_shape else 1)]


class Dense(Layer):
    """out = activation(x . weight + bias): every unit sees every input.

    units: the number of outputs O.  activation: a name of fastnn.activations.  x is (B, I), weight is (I, O),
    bias is (O,), out is (B, O).  weight and bias are ndarrays that may be read and written in place.
    Zeros in x may be skipped, so 0 times an infinite or NaN weight is taken as 0.

    >>> layer = Dense(2, activation='relu')
    >>> layer.build((3,))
    >>> layer.weight.shape, layer.bias.shape
    ((3, 2), (2,))
    """

    def __init__(self, units, activation=None, use_bias=True, kernel_initializer="glorot_uniform",
                 bias_initializer="zeros", **options):
        super().__init__(**options)
        self.units = whole_number("Dense: units", units, 1)
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self._weight = self._bias = None

    @property
    def weight(self):
        """(I, O), or None before build.  Assigning copies the numbers into the array that there is."""
        return self._weight

    @weight.setter
    def weight(self, value):
        overwrite("weight", self._weight, value)

    @property
    def bias(self):
        """(O,), or None.  Assigning copies."""
        return self._bias

    @bias.setter
    def bias(self, value):
        overwrite("bias", self._bias, value)

    kernel = weight                         # Keras' name

    def shape_after(self, input_shape):
        if len(input_shape) != 1:
            raise ValueError(f"Dense takes samples of one axis, received samples of shape {tuple(input_shape)}. "
                             "Put layers.Flatten() before it.")
        return (self.units,)

    def build(self, input_shape, dtype="float32", seed=0, stream=1):
        super().build(input_shape, dtype, seed, stream)
        self._weight = self._parameter(self.kernel_initializer, (input_shape[0], self.units), seed, stream)
        if self.use_bias:
            self._bias = self._parameter(self.bias_initializer, (self.units,), seed, stream + 1)
        self.weights = [w for w in (self.weight, self.bias) if w is not None]

    def _parameter(self, initializer, shape, seed, stream):
        array = _core.aligned(shape, self.dtype)
        overwrite("a parameter its initial value", array, initializer(shape, seed, stream))
        return array

    def stages(self):
        """softmax, which is not element-wise, and sigmoid, which a loss may take over, are stages of their own."""
        if self.activation in ("softmax", "sigmoid"):
            return [_core.Dense(self.weight, self.bias, "linear"),
                    _core.Activation(self.units, self.activation, self.dtype)]
        return [_core.Dense(self.weight, self.bias, self.activation)]


class Lambda(Layer):
    """A Python function of (B, ...) arrays as a layer without parameters: Lambda(lambda x: x * np.tanh(x)).

    function takes the batch and returns as many rows: written with NumPy functions, operators or fastnn.ops, and
    differentiated as gradient() does it.  It must give each row the same result in any batch, draw no random numbers
    (it is called once more on the way back), and leave x as it is.  output_shape: of one sample; by default found by
    calling the function on ones.  Such a model trains, evaluates and predicts like any other, but cannot be saved.

    >>> model = models.Sequential([Dense(8, input_shape=(4,)), Lambda(lambda x: x * x), Dense(1)])
    """

    def __init__(self, function, output_shape=None, **options):
        super().__init__(**options)
        if not callable(function):
            raise TypeError(f"Lambda takes a function of an array, received {function!r}.")
        self.function, self.declared_shape = function, as_shape(output_shape)

    def shape_after(self, input_shape):
        if self.declared_shape is not None:
            return self.declared_shape
        found = np.shape(self.function(np.ones((2, *input_shape), self.dtype or "float32")))
        if found[:1] != (2,):
            raise ValueError(f"The function of a Lambda layer must return one row a sample: for {(2, *input_shape)} it "
                             f"returned shape {found}. Keep the first axis.")
        return found[1:]

    def stages(self):
        from .gradients import with_pullback

        def backward(x, dout):
            return with_pullback(self.function, x)[1](dout)

        return [_core.Function(self.function, backward, self.input_shape, self.output_shape, self.dtype)]

    def get_config(self):
        raise TypeError(f"Layer {self.name!r} is a Python function and cannot be saved as data. Save the weights "
                        "alone and build the model with its code, or use a layer that is not a Lambda.")
