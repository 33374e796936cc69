"""Dense: every unit sees every input."""
from .. import _core, activations, constraints, initializers, regularizers
from ..utils import whole_number
from .base import Layer, overwrite


class Dense(Layer):
    """out = activation(x . weight + bias): every unit sees every input.

    units: the number of outputs O.  activation: a name of fastnn.activations.  kernel_regularizer, bias_regularizer:
    a penalty on the parameter, of fastnn.regularizers ('l1', 'l2', L2(0.001), ...).  kernel_constraint,
    bias_constraint: what each step leaves of it, of fastnn.constraints ('non_neg', MaxNorm(3), ...).  x is (B, I),
    weight is (I, O), bias is (O,), out is (B, O).  weight and bias are ndarrays that may be read and written in place.
    Zeros in x may be skipped, so 0 times an infinite or NaN weight is taken as 0.

    >>> layer = Dense(2, activation='relu')
    >>> layer.build((3,))
    >>> layer.weight.shape, layer.bias.shape
    ((3, 2), (2,))
    """

    reads_sparse_rows = True

    def __init__(self, units, activation=None, use_bias=True, kernel_initializer="glorot_uniform",
                 bias_initializer="zeros", kernel_regularizer=None, bias_regularizer=None,
                 kernel_constraint=None, bias_constraint=None, **options):
        super().__init__(**options)
        self.units = whole_number(f"{type(self).__name__}: units", units, 1)
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.bias_constraint = constraints.get(bias_constraint)
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
            raise ValueError(f"{type(self).__name__} takes samples of one axis, received samples of shape "
                             f"{tuple(input_shape)}. Put layers.Flatten() before it.")
        return (self.units,)

    def build(self, input_shape, dtype="float32", seed=0, stream=1):
        super().build(input_shape, dtype, seed, stream)
        self._weight = self._parameter(self.kernel_initializer, (input_shape[0], self.units), seed, stream)
        if self.use_bias:
            self._bias = self._parameter(self.bias_initializer, (self.units,), seed, stream + 1)
        self._take_weights(self._weight)

    def _take_weights(self, weight):
        self.weights = [w for w in (weight, self._bias) if w is not None]
        pairs = zip((self.kernel_constraint, self.bias_constraint), self.weights, strict=False)
        self.holds = [constraints.Hold(*pair) for pair in pairs if pair[0] is not None]

    def stages(self):
        """Only some activations are part of the product; sigmoid is not, which a loss may take over."""
        fused = self.activation in ("linear", "relu", "tanh")
        dense = self._stage(self.activation if fused else "linear")
        dense.regularize([self.kernel_regularizer, self.bias_regularizer])
        return [dense] if fused else [dense, activations.stage(self.activation, (self.units,), self.dtype)]

    def _stage(self, activation):
        return _core.Dense(self.weight, self.bias, activation)
