"""Dropout: some of the inputs are zero in training."""
import math

from .. import _core
from ..utils import real_number, whole_number
from .base import Layer


class Dropout(Layer):
    """In training each number is zero with the probability `rate`, else divided by 1 - rate; x passes in prediction.

    rate: from 0 to 1 (Srivastava et al. 2014; "inverted", as in Keras).  What is dropped follows from the model's seed,
    or from `seed`, from the layer's place, the number of the step and the place in the batch alone: the same on any
    number of threads, and after a training that was resumed.

    >>> model = Sequential([Dense(512, activation='relu', input_shape=(784,)), Dropout(0.5), Dense(10)])
    """

    def __init__(self, rate, seed=None, **options):
        super().__init__(**options)
        self.rate = real_number("Dropout: rate", rate, 0, 1)
        self.seed = None if seed is None else whole_number("Dropout: seed", seed, 0)

    def stages(self):
        seed = None if self.seed is None else self.seed % 2**64
        return [_core.Dropout(math.prod(self.output_shape), self.rate, self.dtype, seed)]
