"""From what users pass as x and y to the arrays that the compiled loop reads, checked before anything has changed."""
import math
import numbers
import warnings

import numpy as np

from . import _core
from .utils import as_labels


def as_inputs(x, input_shape, dtype, first_layer="Dense"):
    """x as a C-contiguous (n, features) array of uint8, float32 or float64, not copied where it is one already.

    Whole numbers other than uint8, and float16, become the model's dtype.  Raises TypeError for dtypes that are
    not real numbers, ValueError for another shape than (n, *input_shape).  A sparse x becomes SparseRows.
    """
    if is_sparse(x):
        return as_sparse_rows(x, input_shape, dtype, first_layer)
    x = as_numbers(x, "x", dtype)
    if x.ndim < 1 or x.shape[1:] != tuple(input_shape):
        raise ValueError(shape_message(x.shape, tuple(input_shape), first_layer))
    return np.require(x, None, "CA").reshape(len(x), -1 if x.size else int(np.prod(input_shape)))


def is_sparse(x):
    """Whether x is one of SciPy's sparse arrays or matrices, told without importing SciPy."""
    return hasattr(x, "tocsr")


def as_sparse_rows(x, input_shape, dtype, first_layer):
    """x as SparseRows that share its values, where their dtype allows, and its int32 indices.

    Rows whose indices do not rise are sorted, and their duplicates summed, in a copy.
    """
    if len(input_shape) != 1 or len(x.shape) != 2 or x.shape[1] != input_shape[0]:
        raise ValueError(shape_message(x.shape, tuple(input_shape), first_layer))
    if x.shape[1] >= 2**31:
        raise ValueError(f"Sparse rows may have up to 2**31 - 1 columns, received {x.shape[1]}. Leave out columns that "
                         "are empty, or hash them into fewer.")
    if x.dtype.kind not in "biuf" or x.dtype.itemsize > 8:
        raise TypeError(f"x must hold real numbers, received dtype {x.dtype}. "
                        "Convert it first: x = x.astype('float32').")
    x = x.tocsr()
    starts = x.indptr
    if (len(starts) != x.shape[0] + 1 or starts[0] != 0 or starts[-1] > min(len(x.indices), len(x.data))
            or (starts[1:] < starts[:-1]).any()):
        raise ValueError(f"x has indptr that does not rise from 0 to at most the number of values, {len(x.data)}, in "
                         f"{x.shape[0]} steps. Build it anew: x = scipy.sparse.csr_array(dense).")
    used = x.indices[:starts[-1]]
    if len(used) and not 0 <= used.min() <= used.max() < x.shape[1]:
        raise ValueError(f"x holds column indices {used.min()} to {used.max()}, but has columns 0 to "
                         f"{x.shape[1] - 1}. Change x.indices, or the shape of x.")
    if not rows_rise(starts, used):
        x = x.copy()
        x.has_canonical_format = x.has_sorted_indices = False
        x.sum_duplicates()
    count = x.indptr[-1]                    # arrays may be longer
    return _core.SparseRows(np.require(x.indptr, "int64", "CA"), np.require(x.indices[:count], "int32", "CA"),
                            np.require(as_numbers(x.data[:count], "x", dtype), None, "CA"), x.shape[1])


def rows_rise(starts, indices):
    """Whether the column indices of every row increase."""
    rise = indices[1:] > indices[:-1]
    between = starts[(starts > 0) & (starts < len(indices))] - 1
    rise[between] = True
    return rise.all()


def as_numbers(x, name, dtype):
    x = np.asarray(x)
    if x.dtype == bool:
        return x.view(np.uint8)
    if x.dtype.kind not in "iuf" or x.dtype.itemsize > 8:
        raise TypeError(f"{name} must hold real numbers, received dtype {x.dtype}. "
                        f"Convert it first: {name} = np.asarray({name}, 'float32').")
    if x.dtype in (np.uint8, np.float32, np.float64):
        return x.astype(x.dtype.newbyteorder("="), copy=False)
    return x.astype(dtype)


def shape_message(shape, input_shape, first_layer):
    expected = ", ".join(["batch", *map(str, input_shape)])
    message = f"{first_layer} expects inputs of shape ({expected}), received {shape}."
    wanted = int(np.prod(input_shape))
    if shape == tuple(input_shape):
        return message + " For one sample, pass x[None]."
    if shape and int(np.prod(shape[1:])) == wanted:
        reshaped = ", ".join(map(str, (shape[0], *input_shape)))
        hint = f" Reshape first: x = x.reshape({reshaped})"
        return message + hint + (", or start with layers.Flatten()." if len(shape) > 2 else ".")
    return message + " Give each sample that many numbers, or change the layer's input_shape."


def sample_shape(x):
    """The shape of one sample of x, for a model that has not been told."""
    shape = np.shape(x)
    if len(shape) < 2:
        fix = f"Reshape first: x = x.reshape({shape[0]}, 1)." if shape else "Pass an array."
        raise ValueError(f"x must hold one row per sample, received {shape}. {fix}")
    return shape[1:]


def as_rows(out, units):
    """out as (n, units), the memory being the same."""
    if not isinstance(out, np.ndarray) or not out.flags.c_contiguous or out.size % units:
        raise ValueError("out must be a C-contiguous array of the output's shape.")
    return out.reshape(-1, units)


def as_targets(y, n, shape, loss, dtype, measured=True):
    """y as (n, units) numbers for outputs of `shape`, or as int64 labels (n,) for the sparse loss.

    measured: whether the compiled loop reads y: for a loss of one's own, which takes any, only for metrics.
    """
    units = math.prod(shape)
    if len(shape) > 1 and loss.classes:
        raise ValueError(f"loss='{loss.name}' needs outputs of one axis, (batch, classes), but the model's "
                         f"have the shape {tuple(shape)}. Add layers.Flatten().")
    if y is None:
        raise ValueError("y is missing: pass the targets, one for each row of x.")
    y = np.asarray(y)
    if y.ndim < 1 or len(y) != n:
        raise ValueError(f"x and y must have the same number of samples, received {n} and "
                         f"{len(y) if y.ndim else 'a single number'}.")
    labels = (y.ndim == 1 or y.shape[1:] == (1,)) and units > 1
    if loss.sparse or labels and not loss.kernel and measured:
        return sparse_targets(y, units)
    if loss.classes and labels:
        named = f" with integer labels {y.min()}-{y.max()}" if y.dtype.kind in "iu" else ""
        raise ValueError(f"y has shape {y.shape}{named}, but loss='{loss.name}' expects one row per sample with "
                         f"{units} columns. Use y = to_categorical(y), or loss='sparse_categorical_crossentropy'.")
    y = as_numbers(y, "y", dtype)
    if not loss.kernel and not measured and y.shape[1:] != tuple(shape):
        return np.require(y, None, "CA")
    if y.ndim == 1 and units == 1:
        y = y[:, None]
    if y.shape != (n, *shape):
        raise ValueError(f"y has shape {y.shape}, but the model's output is {(n, *shape)}: one row per sample, one "
                         "column per output unit. Change y, or the units of the last layer.")
    return np.require(y, None, "CA").reshape(n, units)


def as_weights(sample_weight, class_weight, y, units, dtype):
    """The weight of each sample (n,), given or by the class that y names, or None."""
    if sample_weight is not None and class_weight is not None:
        raise ValueError("Received both sample_weight and class_weight. Multiply the weights of the classes into "
                         "sample_weight, and pass that alone.")
    if class_weight is not None:
        return weights_by_class(class_weight, y, units).astype(dtype)
    if sample_weight is None:
        return None
    weights = as_numbers(sample_weight, "sample_weight", dtype)
    if weights.shape not in ((len(y),), (len(y), 1)):
        raise ValueError(f"sample_weight must hold one number for each of the {len(y)} samples, shape ({len(y)},), "
                         f"received shape {weights.shape}.")
    if not np.isfinite(weights).all():
        raise ValueError("sample_weight holds NaN or infinity. Use 0 for samples that must not count.")
    return np.require(weights.ravel(), dtype, "CA")


def weights_by_class(class_weight, y, units):
    """class_weight[label], 1 where it names none, for y as as_targets() gives it."""
    classes = max(units, 2)
    if not isinstance(class_weight, dict):
        raise TypeError(f"class_weight must be a dict from labels to weights such as {{0: 1.0, 1: 5.0}}, received "
                        f"{class_weight!r}.")
    table = np.ones(classes)
    for label, weight in class_weight.items():
        if isinstance(label, bool) or not isinstance(label, numbers.Integral) or not 0 <= label < classes:
            raise ValueError(f"class_weight has the key {label!r}, but the labels are the integers 0 to {classes - 1}.")
        if isinstance(weight, bool) or not isinstance(weight, numbers.Real) or not math.isfinite(weight):
            raise ValueError(f"class_weight must give class {label} a finite number, received {weight!r}.")
        table[label] = weight
    labels = y if y.ndim == 1 else y[:, 0] if y.shape[1] == 1 else y.argmax(1)
    whole = np.asarray(labels).astype("int64")
    if not (np.array_equal(whole, labels) and np.isin(whole, np.arange(classes)).all()):
        raise ValueError(f"class_weight needs a y that names classes 0 to {classes - 1}, but y holds other numbers. "
                         "Use sample_weight.")
    return table[whole]


def must_stay_mapped(x, dtype=None):
    """Whether x lies in a file and can't be read where it is, so that it must be converted batch by batch."""
    base = x
    while isinstance(base, np.ndarray):
        if isinstance(base, np.memmap):
            readable = x.dtype.isnative and x.dtype in (np.uint8, np.float32, np.float64) and x.flags.c_contiguous
            return not (readable and x.flags.aligned)
        base = base.base
    return False


def sparse_targets(y, units):
    if y.ndim == 2 and y.shape[1] == units > 1:
        raise ValueError(f"y has shape {y.shape}, one row per sample, but loss='sparse_categorical_crossentropy' "
                         "expects integer labels of shape (n,). Use y = y.argmax(1), or "
                         "loss='categorical_crossentropy'.")
    labels = as_labels(y, "y")
    if len(labels) and not 0 <= labels.min() <= labels.max() < units:
        more = f", or give the last layer {labels.max() + 1} units" if labels.min() >= 0 else ": labels start at 0"
        raise ValueError(f"y holds labels {labels.min()} to {labels.max()}, but the model's {units} outputs stand for "
                         f"labels 0 to {units - 1}. Change y{more}.")
    return labels


def warn_of_bytes(x):
    values = x.value if isinstance(x, _core.SparseRows) else x[:1000]
    if values.dtype == np.uint8 and values.max(initial=0) > 1:
        warnings.warn("x holds uint8 values from 0 to 255. Networks train better on small numbers: "
                      "x = x.astype('float32') / 255.", stacklevel=3)


def split(rows, share, classes):
    """The last `share` of the rows, as they stand, for validation: two Rows.  classes: y names some."""
    if isinstance(share, bool) or not isinstance(share, numbers.Real) or not 0 < share < 1:
        raise ValueError(f"validation_split must be a number between 0 and 1, received {share!r}.")
    n, y = rows.count, rows.y
    kept = int(n * (1 - share))
    if kept == 0 or kept == n:
        raise ValueError(f"validation_split={share} of {n} samples leaves no sample on one side. "
                         "Use another share, or validation_data=(x, y).")
    if classes:
        named = y if y.ndim == 1 or y.shape[1] == 1 else y.argmax(1)
        new = np.setdiff1d(named[kept:], named[:kept])
        if len(new):
            warnings.warn(f"validation_split takes the last {n - kept} rows as they stand, and class {new[0]:g} "
                          "occurs only there. Shuffle x and y together first, or use validation_data.", stacklevel=4)
    return rows.part(slice(kept)), rows.part(slice(kept, n))


def moments(data, whole=False, rows=8192):
    """The mean and variance, in float64, of each place of the last axis of data (n, ..., C), or of all its numbers.

    data: an array, or SciPy's sparse rows, of which `rows` at a time are taken (Chan, Golub and LeVeque 1979).
    """
    data = data if hasattr(data, "shape") else np.asarray(data)
    width = sample_shape(data)[-1]
    if not data.shape[0]:
        raise ValueError(f"data holds no samples: its shape is {data.shape}.")
    size, mean, squares = 0, 0.0, 0.0
    for first in range(0, data.shape[0], rows):
        some = data[first:first + rows]
        count, centre, more = (sparse_sums if is_sparse(data) else sums)(some, 1 if whole else width)
        share = count / (size + count)
        squares = squares + more + (centre - mean) ** 2 * (size * share)
        mean, size = mean + (centre - mean) * share, size + count
    found = np.asarray(mean), np.asarray(squares / size)
    if not np.isfinite(found).all():
        raise ValueError("data holds NaN or infinity. Remove or replace them first.")
    return (found[0][0], found[1][0]) if whole else found


def sums(some, width):
    """How many numbers there are in each of `width` places, their mean, and the squares about it summed."""
    x = as_numbers(some, "data", "float64").astype("float64").reshape(-1, width)
    mean = x.mean(0)
    return len(x), mean, ((x - mean) ** 2).sum(0)


def sparse_sums(some, width):
    """The same of sparse rows."""
    x = some.tocoo()
    x.sum_duplicates()
    values = as_numbers(x.data, "data", "float64").astype("float64")
    place, n = (x.col if width > 1 else np.zeros_like(x.col)), some.shape[0] * some.shape[1] // width
    mean = np.bincount(place, values, width) / n
    stored = np.bincount(place, minlength=width)
    return n, mean, np.bincount(place, (values - mean[place]) ** 2, width) + (n - stored) * mean ** 2
