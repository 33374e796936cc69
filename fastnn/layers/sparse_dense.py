"""SparseDense: only some of the connections between inputs and units are there."""
import base64
import numbers

import numpy as np

from .. import _core
from ..constraints import MinMaxNorm
from ..inputs import is_sparse
from ..utils import constructor_words, described, whole_number
from .base import Layer, overwrite
from .dense import Dense

MOST_ALIKE, LEAST_GROUPS = 8, 16        # units with the same inputs; groups of them, before groups grow
SKIP = 255                              # see packed()
MOST_IDLE = 2**20                       # units of a mask that is read beyond one for each connection


class SparseShape(tuple):
    """The shape of the values, with fans for the initializers: how many inputs a unit sees, and units an input."""

    def __new__(cls, shape, fans):
        made = super().__new__(cls, shape)
        made.fans = fans
        return made


class SparseDense(Dense):
    """out = activation(x . weight + bias), where only some elements of the weight exist: the others cost no memory and
    no time, forward and backward.

    Give either density or mask.  x is (B, I), out is (B, O); the numbers that exist are `values` (n,), unit by unit and
    in each by rising input: the order of np.nonzero(mask.T).  Outputs have the bits of a Dense layer whose weight is
    zero elsewhere, and so have gradients.

    density: in (0, 1]; each unit sees round(density I) inputs, at least one, drawn by the seed, and each input is seen
    about as often as any other.  In layers of 32 units or more, 2 to 8 neighbours see the same inputs, which are then
    read once for all (there are at least 16 such groups).
    mask: a boolean (I, O) array, or a SciPy sparse array, of any pattern, True where there is a connection.  It is the
    faster, the more neighbouring units have equal columns; where none have, a step is about 1.7 times as fast as one of
    Dense at a density of 0.1, and slower from 0.2 on.
    kernel_initializer: its fan-in is the mean number of inputs that a unit sees, its fan-out that of units that see an
    input, so that outputs vary as those of a Dense layer do.  seed: an integer that fixes the pattern of `density`; by
    default it comes from the model's seed when the layer is built.  get_config() holds it then, and a layer made from
    that has the same pattern.
    Raises ValueError for both or none of density and mask, and for a mask of another shape than (I, O).

    >>> layer = SparseDense(4, mask=np.eye(4, dtype=bool))
    >>> layer.build((4,))
    >>> layer.values.shape, layer.weight.shape, layer.count_params()
    ((4,), (4, 4), 8)
    """

    reads_sparse_rows = False

    def __init__(self, units, activation=None, use_bias=True, density=None, mask=None,
                 kernel_initializer="glorot_uniform", bias_initializer="zeros", kernel_regularizer=None,
                 bias_regularizer=None, seed=None, **options):
        super().__init__(units, activation, use_bias, kernel_initializer, bias_initializer, kernel_regularizer,
                         bias_regularizer, **options)
        if (density is None) == (mask is None):
            raise ValueError("SparseDense takes one of density and mask, received "
                             f"{'none' if mask is None else 'both'}. For example: SparseDense(512, density=0.1).")
        if isinstance(self.kernel_constraint, MinMaxNorm):
            raise ValueError("SparseDense keeps its weights as one row of values, in which a unit's norm cannot be "
                             "constrained. Use 'non_neg' or a function of the values, or a regularizer.")
        if density is not None and (isinstance(density, bool) or not isinstance(density, numbers.Real)
                                    or not 0 < density <= 1):
            raise ValueError(f"SparseDense: density must be a number in (0, 1], received {density!r}.")
        self.density = density if density is None else float(density)
        self.seed = seed if seed is None else whole_number("SparseDense: seed", seed, 0)
        self._pattern = None                # start (O + 1) and index (n) of the connections
        self._values = self._gaps = self._inputs = None
        if mask is not None:
            self._take_mask(mask)

    def _take_mask(self, mask):
        if isinstance(mask, dict):          # of get_config(): unpacked when a file's values are known to be as many
            (self._inputs, units), self._gaps = read_mask(mask)
            if units > len(self._gaps) + MOST_IDLE:
                raise ValueError(f"SparseDense: mask has {units} units, but at most {len(self._gaps)} connections.")
        else:
            self._inputs, *self._pattern = pattern_of(mask)
            units = len(self._pattern[0]) - 1
        if units != self.units:
            raise ValueError(f"SparseDense: mask must have a column for each of {self.units} units, "
                             f"received {units} columns.")

    @property
    def values(self):
        """(n,): the weights that exist, or None before build.  Assigning copies."""
        return self._values

    @values.setter
    def values(self, value):
        overwrite("values", self._values, value)

    @property
    def _places(self):
        """Input and unit of each connection."""
        start, index = self._pattern
        return index, np.repeat(np.arange(self.units), np.diff(start))

    @property
    def mask(self):
        """A boolean (I, O) copy of the pattern, or None where it is not known before build."""
        if self._pattern is None:
            return None
        mask = np.zeros((self._inputs, self.units), bool)
        mask[self._places] = True
        return mask

    @property
    def weight(self):
        """A copy as an (I, O) array, zero where there is no connection, or None before build.

        Assigning an (I, O) array copies its numbers into the values; it must be zero where there is no connection.
        """
        if self._values is None:
            return None
        weight = np.zeros((self._inputs, self.units), self.dtype)
        weight[self._places] = self._values
        return weight

    @weight.setter
    def weight(self, value):
        value = np.asarray(value)
        if self._values is None or value.shape != (self._inputs, self.units):
            expected = (self._inputs, self.units) if self._values is not None else "a layer that is built"
            raise ValueError(f"Assigning weight needs {expected}, received shape {value.shape}.")
        chosen = value[self._places]
        if np.count_nonzero(value) > np.count_nonzero(chosen):
            raise ValueError("Assigning weight: it must be zero where the layer has no connection. "
                             "Multiply it by layer.mask first.")
        self._values[...] = chosen

    kernel = weight

    def build(self, input_shape, dtype="float32", seed=0, stream=1):
        if self.density is None and self._inputs != input_shape[0]:
            raise ValueError(f"SparseDense: mask must have a row for each of {input_shape[0]} inputs, received "
                             f"{self._inputs} rows.")
        Layer.build(self, input_shape, dtype, seed, stream)
        self._inputs = input_shape[0]
        seen = max(1, round(self.density * self._inputs)) if self.density is not None else None
        n = (self.units * seen if seen else len(self._pattern[1]) if self._pattern
             else int(np.count_nonzero(self._gaps != SKIP)))
        shape = SparseShape((n,), (n / self.units, n / self._inputs))
        self._values = self._parameter(self.kernel_initializer, shape, seed, stream)
        if self.use_bias:
            self._bias = self._parameter(self.bias_initializer, (self.units,), seed, stream + 1)
        self._take_weights(self._values)
        if seen:
            self._draw(seen, seed, stream)
        elif self._gaps is not None:
            self._pattern, self._gaps = unpacked(self._gaps, self._inputs, self.units), None

    def _draw(self, seen, seed, stream):
        """The pattern of a density: each unit sees `seen` inputs."""
        if self.seed is None:
            self.seed = (seed + stream * 0x9E3779B9) % 2**32
        alike = min(MOST_ALIKE, max(1, self.units // LEAST_GROUPS))
        hands = _core.deal(self._inputs, -(-self.units // alike), seen, self.seed % 2**64)
        index = np.repeat(hands, alike, axis=0)[:self.units].ravel()
        self._pattern = np.arange(self.units + 1) * seen, index

    def _stage(self, activation):
        return _core.SparseDense(self._values, *self._pattern, self._inputs, self._bias, activation)

    def _words(self):
        """The constructor's words; a mask as its shape and, in base64, the gaps between its True places."""
        words = {word: getattr(self, word) for word in constructor_words(type(self)) if word != "mask"}
        if self.density is not None:
            return words | {"mask": None}
        gaps = self._gaps if self._pattern is None else packed(self._inputs, *self._pattern)
        return words | {"mask": {"shape": [self._inputs, self.units], "gaps": base64.b64encode(gaps).decode()}}

    def get_config(self):
        """The constructor's words and their values as plain data; a mask in a short form that the constructor reads."""
        return {word: described(value) for word, value in self._words().items()}

    def clone(self):
        return type(self)(**self._words())

    def to_dense(self):
        """A Dense layer that gives the same, for files of others: the zeros of its weight are weights as any, which
        training moves.

        >>> model = Sequential([layer.to_dense() if isinstance(layer, SparseDense) else layer
        ...                     for layer in model.layers])
        """
        layer = Dense(**{word: getattr(self, word) for word in constructor_words(Dense)})
        if self.built:
            layer.build(self.input_shape, self.dtype)
            layer.weight = self.weight
            if self.use_bias:
                layer.bias = self.bias
        return layer


def pattern_of(mask):
    """Inputs, start (O + 1) and index (n) of a boolean array or a sparse one."""
    if is_sparse(mask):
        mask = mask.tocsc(copy=True)
        mask.sum_duplicates()
        mask.eliminate_zeros()
        return mask.shape[0], mask.indptr.astype("int64"), mask.indices.astype("int32")
    mask = np.asarray(mask)
    if mask.ndim != 2 or mask.dtype.kind not in "biuf" or not ((mask == 0) | (mask == 1)).all():
        raise ValueError("SparseDense: mask must be a boolean array of shape (inputs, units), received shape "
                         f"{mask.shape} of {mask.dtype}. For numbers: mask=weight != 0.")
    unit, index = np.nonzero(mask.T)
    return mask.shape[0], np.searchsorted(unit, np.arange(mask.shape[1] + 1)), index.astype("int32")


def packed(inputs, start, index):
    """uint8: the gap before each connection, taken unit by unit, where SKIP stands for so many places without one."""
    place = np.repeat(np.arange(len(start) - 1), np.diff(start)) * inputs + index
    gaps = np.diff(place, prepend=-1) - 1
    ends = np.cumsum(gaps // SKIP + 1)
    data = np.full(ends[-1] if len(ends) else 0, SKIP, "uint8")
    data[ends - 1] = gaps % SKIP
    return data


def read_mask(mask):
    """Shape and gaps from what get_config() gave; a file may hold the gaps as an array."""
    try:
        inputs, units = (whole_number("shape", length, 1) for length in mask["shape"])
        gaps = mask["gaps"]
        if isinstance(gaps, str):
            gaps = np.frombuffer(base64.b64decode(gaps, validate=True), "uint8")
        if gaps.ndim != 1 or gaps.dtype != np.uint8:
            raise ValueError("gaps must be bytes")
        return (inputs, units), gaps
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"SparseDense: mask is not what get_config() gives: {error}.") from error


def unpacked(data, inputs, units):
    """start and index from what packed() gave."""
    places, last = [np.empty(0, "int64")], -1
    for first in range(0, len(data), 65536):        # a piece at a time: many more bytes than connections are little
        part = data[first:first + 65536]
        place = np.cumsum(part + (part != SKIP), dtype="int64") + last
        last = place[-1]
        places.append(place[part != SKIP])
    place = np.concatenate(places)
    if last >= inputs * units:
        raise ValueError(f"SparseDense: mask has connections outside of its shape ({inputs}, {units}).")
    return np.searchsorted(place, np.arange(units + 1) * inputs), (place % inputs).astype("int32")
