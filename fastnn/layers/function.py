"""Lambda: a Python function as a layer."""
import numpy as np

from .. import _core
from .base import Layer, as_shape


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
        from ..gradients import with_pullback

        def backward(x, dout):
            return with_pullback(self.function, x)[1](dout)

        return [_core.Function(self.function, backward, self.input_shape, self.output_shape, self.dtype)]

    def get_config(self):
        raise TypeError(f"Layer {self.name!r} is a Python function and cannot be saved as data. Save the weights "
                        "alone with save_weights() and build the model with its code, or use a layer that is not a "
                        "Lambda.")
