"""Layers that compute nothing: they name or change the shape of a sample."""
import numpy as np

from .base import Layer


class Input(Layer):
    """Names the shape of one sample: Input((784,)) or Input(shape=(28, 28))."""

    def __init__(self, shape, name=None, dtype=None):
        super().__init__(name, dtype, input_shape=shape)

    @property
    def shape(self):
        return self.input_shape


class Flatten(Layer):
    """(B, ...) to (B, n): the samples as rows."""

    def shape_after(self, input_shape):
        return (int(np.prod(input_shape)),)
