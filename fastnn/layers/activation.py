"""Activation: an activation as a layer."""
import numpy as np

from .. import _core, activations
from .base import Layer


class Activation(Layer):
    """An activation as a layer: Activation('relu')."""

    def __init__(self, activation, **options):
        super().__init__(**options)
        self.activation = activations.get(activation)

    def stages(self):
        size = int(np.prod(self.output_shape))
        return [_core.Activation(size, self.activation, self.dtype, self.output_shape[-1] if self.output_shape else 1)]
