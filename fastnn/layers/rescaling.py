"""Rescaling: a factor on the inputs, and a number added to them."""
import math

import numpy as np

from .. import _core
from ..utils import real_number
from .base import Layer


class Rescaling(Layer):
    """x * scale + offset.  Before the layers that compute, and without an offset, it is done while rows are gathered:
    Rescaling(1 / 255) trains on uint8 images as they are.

    scale and offset are rounded to the model's dtype, so the last bit may differ from x / 255.
    """

    def __init__(self, scale, offset=0.0, **options):
        super().__init__(**options)
        self.scale, self.offset = real_number("Rescaling: scale", scale), real_number("Rescaling: offset", offset)
        self.factor = None if self.offset else self.scale

    def stages(self):
        width = self.output_shape[-1] if self.output_shape else 1
        scale, offset, mean, variance = (np.full(width, x, self.dtype) for x in (self.scale, self.offset, 0, 1))
        return [_core.BatchNormalization(math.prod(self.output_shape), self.dtype, scale, offset, mean, variance, 0.0)]
