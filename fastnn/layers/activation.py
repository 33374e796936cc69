"""Activations as layers: Activation for any of them by name, and those that take a number."""
from .. import activations
from ..utils import real_number, whole_number
from .base import Layer


class Activation(Layer):
    """An activation as a layer: Activation('relu'), Activation('gelu')."""

    def __init__(self, activation, **options):
        super().__init__(**options)
        self.activation = activations.get(activation)

    def stages(self):
        return [activations.stage(self.activation, self.output_shape, self.dtype)]


class ReLU(Layer):
    """x from threshold up to max_value, which is the most, and negative_slope * (x - threshold) below: ReLU(6.0)."""

    def __init__(self, max_value=None, negative_slope=0.0, threshold=0.0, **options):
        super().__init__(**options)
        self.max_value = None if max_value is None else real_number("ReLU: max_value", max_value, 0)
        self.negative_slope = real_number("ReLU: negative_slope", negative_slope, 0)
        self.threshold = real_number("ReLU: threshold", threshold, 0)

    def stages(self):
        numbers, kind = activations.ramp(self.max_value, self.negative_slope, self.threshold)
        return [activations.stage(kind, self.output_shape, self.dtype, numbers)]


class LeakyReLU(Layer):
    """x for x > 0, else negative_slope * x."""

    def __init__(self, negative_slope=0.3, **options):
        super().__init__(**options)
        self.negative_slope = real_number("LeakyReLU: negative_slope", negative_slope, 0)

    def stages(self):
        numbers, kind = activations.ramp(None, self.negative_slope, 0.0)
        return [activations.stage(kind, self.output_shape, self.dtype, numbers)]


class ELU(Layer):
    """x for x > 0, else alpha * (exp(x) - 1)."""

    def __init__(self, alpha=1.0, **options):
        super().__init__(**options)
        self.alpha = real_number("ELU: alpha", alpha)

    def stages(self):
        return [activations.stage("elu", self.output_shape, self.dtype, (1.0, self.alpha))]


class Softmax(Layer):
    """exp(x - max) / sum(exp(x - max)) along the last axis."""

    activation = "softmax"                  # which a loss may take over

    def __init__(self, axis=-1, **options):
        super().__init__(**options)
        self.axis = whole_number("Softmax: axis", axis, -1)

    def shape_after(self, input_shape):
        if self.axis not in (-1, len(input_shape)):
            raise ValueError(f"Softmax runs along the last axis, received axis={self.axis} for samples of shape "
                             f"{tuple(input_shape)}. Use axis=-1.")
        return tuple(input_shape)

    def stages(self):
        return [activations.stage("softmax", self.output_shape, self.dtype)]
