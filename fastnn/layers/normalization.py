"""Layers that normalize: by the moments of the batch, of each sample, or of data seen before."""
import math

import numpy as np

from .. import _core, initializers, regularizers
from ..inputs import moments
from ..utils import real_number, whole_number
from .base import Layer


class Normalizing(Layer):
    """gamma and beta for each place of the last axis."""

    def __init__(self, axis=-1, epsilon=1e-3, center=True, scale=True, beta_initializer="zeros",
                 gamma_initializer="ones", beta_regularizer=None, gamma_regularizer=None, **options):
        super().__init__(**options)
        axis = axis[0] if isinstance(axis, (list, tuple)) and len(axis) == 1 else axis
        self.axis = whole_number(f"{type(self).__name__}: axis", axis, -1)
        self.epsilon = real_number(f"{type(self).__name__}: epsilon", epsilon, 0)
        self.center, self.scale = bool(center), bool(scale)
        self.beta_initializer = initializers.get(beta_initializer)
        self.gamma_initializer = initializers.get(gamma_initializer)
        self.beta_regularizer = regularizers.get(beta_regularizer)
        self.gamma_regularizer = regularizers.get(gamma_regularizer)
        self.gamma = self.beta = None

    def shape_after(self, input_shape):
        if not input_shape or self.axis not in (-1, len(input_shape)):
            raise ValueError(f"{type(self).__name__} works along the last axis, received axis={self.axis} for samples "
                             f"of shape {tuple(input_shape)}. Use axis=-1.")
        return tuple(input_shape)

    def build(self, input_shape, dtype="float32", seed=0, stream=1):
        super().build(input_shape, dtype, seed, stream)
        made = [(word, initializer) for word, initializer, there in (
            ("gamma", self.gamma_initializer, self.scale), ("beta", self.beta_initializer, self.center)) if there]
        for word, initializer in made + self.moments():
            setattr(self, word, self._parameter(initializer, self.output_shape[-1:], seed, stream + len(self.weights)))
            self.weights = [*self.weights, getattr(self, word)]

    def moments(self):
        """The names and initializers of what is not trained."""
        return []

    def stages(self):
        return [self.stage().regularize([self.gamma_regularizer, self.beta_regularizer])]


class LayerNormalization(Normalizing):
    """(x - mean) / sqrt(variance + epsilon) * gamma + beta, by the moments of each sample along the last axis.

    (Ba, Kiros and Hinton 2016.)  axis: the last one.  center, scale: whether there is a beta, a gamma.  x is
    (B, ..., C), gamma and beta are (C,), ndarrays that may be read and written in place; weights are gamma, beta.
    """

    def stage(self):
        return _core.LayerNormalization(math.prod(self.output_shape), self.output_shape[-1], self.dtype, self.gamma,
                                        self.beta, self.epsilon)


class BatchNormalization(Normalizing):
    """(x - mean) / sqrt(variance + epsilon) * gamma + beta, by the batch's moments in training, else by moving ones.

    (Ioffe and Szegedy 2015.)  axis: the last one.  After each step moving = momentum * moving + (1 - momentum) * batch,
    with the batch's variance over its size, as in Keras.  center, scale: whether there is a beta, a gamma.  With
    trainable=False training, too, uses the moving moments and leaves them.  x is (B, ..., C), the parameters are (C,);
    weights are gamma, beta, moving_mean, moving_variance, of which the first two are trained.

    >>> model = Sequential([Dense(512, input_shape=(784,)), BatchNormalization(), Activation('relu'), Dense(10)])
    """

    def __init__(self, axis=-1, momentum=0.99, epsilon=1e-3, center=True, scale=True, beta_initializer="zeros",
                 gamma_initializer="ones", moving_mean_initializer="zeros", moving_variance_initializer="ones",
                 **options):
        super().__init__(axis, epsilon, center, scale, beta_initializer, gamma_initializer, **options)
        self.momentum = real_number("BatchNormalization: momentum", momentum, 0, 1)
        self.moving_mean_initializer = initializers.get(moving_mean_initializer)
        self.moving_variance_initializer = initializers.get(moving_variance_initializer)
        self.moving_mean = self.moving_variance = None

    def moments(self):
        return [("moving_mean", self.moving_mean_initializer), ("moving_variance", self.moving_variance_initializer)]

    @property
    def trainable_weights(self):
        return self.weights[:-2] if self.trainable else []

    def stage(self):
        return _core.BatchNormalization(math.prod(self.output_shape), self.dtype, self.gamma, self.beta,
                                        self.moving_mean, self.moving_variance, self.epsilon, self.momentum)


class Normalization(Layer):
    """(x - mean) / sqrt(variance) for each place of the last axis, of moments that are given or that adapt() finds.

    mean, variance: numbers or arrays (C,), both or neither.  axis: the last one, or None for one mean and variance of
    all.  A variance below 1e-14 counts as that, as in Keras.  Training leaves the moments.

    >>> layer = Normalization()
    >>> layer.adapt(np.array([[0.0, 10.0], [2.0, 30.0]]))
    >>> layer(np.array([[1.0, 30.0]]))
    array([[0., 1.]])
    """

    def __init__(self, axis=-1, mean=None, variance=None, **options):
        super().__init__(**options)
        self.axis = None if axis is None else whole_number("Normalization: axis", axis, -1)
        if (mean is None) != (variance is None):
            raise ValueError(f"Normalization takes both mean and variance, or neither, received mean={mean!r} and "
                             f"variance={variance!r}.")
        self.mean = self.variance = self._room = None
        if mean is not None:
            self.set_moments(mean, variance)

    def set_moments(self, mean, variance):
        """Take numbers or arrays (C,) as the moments."""
        mean, variance = np.asarray(mean, "float64"), np.asarray(variance, "float64")
        fits = mean.shape == variance.shape and mean.ndim <= 1
        if not fits or not (np.isfinite(mean) & np.isfinite(variance) & (variance >= 0)).all():
            raise ValueError("Normalization needs a mean and a variance of one shape, () or (C,), finite and the "
                             f"variance 0 or more, received mean={mean} and variance={variance}.")
        self.mean, self.variance = mean.tolist(), variance.tolist()
        self._fill()

    def _fill(self):
        """The moments as the compiled stage reads them."""
        if self._room is not None and self.mean is not None:
            self._room[0][...], self._room[1][...] = self.mean, np.maximum(self.variance, 1e-14)

    def adapt(self, data):
        """Take the mean and variance of data (n, ..., C): an array, also a memory-mapped one, or SciPy's CSR.

        In float64, some thousand rows at a time.  Raises ValueError for no rows, for NaN and for infinity.
        """
        self.set_moments(*moments(data, self.axis is None))

    def shape_after(self, input_shape):
        if not input_shape or self.axis not in (None, -1, len(input_shape)):
            raise ValueError(f"Normalization works along the last axis, received axis={self.axis} for samples of shape "
                             f"{tuple(input_shape)}. Use axis=-1.")
        if np.shape(self.mean) not in ((), (1,), tuple(input_shape[-1:])):
            raise ValueError(f"Normalization has moments of {len(self.mean)} places, received samples of shape "
                             f"{tuple(input_shape)}.")
        return tuple(input_shape)

    def build(self, input_shape, dtype="float32", seed=0, stream=1):
        super().build(input_shape, dtype, seed, stream)
        self._room = [_core.aligned(self.output_shape[-1:], self.dtype) for _ in range(2)]
        self._fill()

    def moments_in_use(self):
        """The mean and the variance, arrays (C,) of the model's dtype."""
        if self.mean is None:
            raise RuntimeError(f"Layer {self.name!r} has no moments. Call its adapt(data) first, or give it mean= and "
                               "variance=.")
        return self._room

    def stages(self):
        return [_core.BatchNormalization(math.prod(self.output_shape), self.dtype, None, None, *self.moments_in_use(),
                                         0.0)]
