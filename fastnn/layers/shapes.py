"""Layers that compute nothing: they name or change the shape of a sample."""
import math

import numpy as np

from ..utils import whole_number
from .base import Layer


class Input(Layer):
    """Names the shape of one sample: Input((784,)) or Input(shape=(28, 28))."""

    factor: float | None = 1.0

    def __init__(self, shape, name=None, dtype=None):
        super().__init__(name, dtype, input_shape=shape)

    @property
    def shape(self):
        return self.input_shape


class Flatten(Layer):
    """(B, ...) to (B, n): the samples as rows."""

    factor: float | None = 1.0

    def shape_after(self, input_shape):
        return (int(np.prod(input_shape)),)


class Reshape(Layer):
    """The numbers of each sample in another shape, in which one length may be -1: Reshape((28, -1))."""

    factor: float | None = 1.0

    def __init__(self, target_shape, **options):
        super().__init__(**options)
        shape = tuple(target_shape) if np.iterable(target_shape) else (target_shape,)
        self.target_shape = tuple(whole_number("Reshape: each length", length, -1) for length in shape)
        if 0 in self.target_shape or self.target_shape.count(-1) > 1:
            raise ValueError(f"Reshape takes positive lengths, one of which may be -1, received {target_shape!r}.")

    def shape_after(self, input_shape):
        size, known = math.prod(input_shape), math.prod(n for n in self.target_shape if n != -1)
        shape = tuple(size // known if n == -1 else n for n in self.target_shape)
        if math.prod(shape) != size:
            raise ValueError(f"Reshape: samples of shape {tuple(input_shape)} have {size} numbers, which do not fit "
                             f"into {self.target_shape}.")
        return shape
