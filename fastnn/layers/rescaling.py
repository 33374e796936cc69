"""Rescaling: a factor on the inputs."""
import math
import numbers

from .base import Layer


class Rescaling(Layer):
    """x * scale, done while rows are gathered: Rescaling(1 / 255) trains on uint8 images as they are.

    Before the first Dense only.  scale is rounded to the model's dtype, so the last bit may differ from x / 255.
    """

    def __init__(self, scale, **options):
        super().__init__(**options)
        if isinstance(scale, bool) or not isinstance(scale, numbers.Real) or not math.isfinite(scale):
            raise ValueError(f"Rescaling: scale must be a finite number, received {scale!r}.")
        self.scale = float(scale)
