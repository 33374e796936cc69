# Operations on shapes: NumPy's, which give views where they can, and one_hot.

cdef inline bint plain(object x):
    """Whether x is an ndarray itself: its methods are what NumPy's functions call in the end."""
    return type(x) is numpy_array


cdef object numpy_array = numpy.ndarray


cdef object shaped(str function, object call, tuple args, dict kwargs):
    found = traced(function, args, kwargs)
    return call(as_array(args[0]), *args[1:], **kwargs) if found is NotImplemented else found


def reshape(x, shape):
    """x with another shape and the same elements in the same order; one length may be -1.  A view where it can be.

    >>> reshape(np.arange(6), (2, 3))
    array([[0, 1, 2],
           [3, 4, 5]])
    """
    return x.reshape(shape) if plain(x) else shaped("reshape", numpy.reshape, (x, shape), {})


def transpose(x, axes=None):
    """A view of x with its axes in the order `axes`, or reversed: the transposed matrix.

    >>> transpose(np.zeros((300, 20))).shape
    (20, 300)
    """
    if axes is None and plain(x):
        return x.T
    return shaped("transpose", numpy.transpose, (x,), {} if axes is None else {"axes": axes})


def expand_dims(x, axis):
    """A view of x with a new axis of length 1 at `axis`, an int or a tuple.

    >>> expand_dims(np.zeros((32, 10)), 0).shape
    (1, 32, 10)
    """
    cdef int nd, number
    if plain(x) and type(axis) is int:
        nd = x.ndim
        if -1 <= axis <= nd < MOST_AXES:
            number = nd if axis < 0 else axis
            return x.reshape(x.shape[:number] + (1,) + x.shape[number:]) if x.size else numpy.expand_dims(x, axis)
    return shaped("expand_dims", numpy.expand_dims, (x,), {"axis": axis})


def squeeze(x, axis=None):
    """A view of x without its axes of length 1, or without those of `axis`.

    >>> squeeze(np.zeros((1, 3, 1))).shape
    (3,)
    """
    if axis is None and plain(x):
        return x.squeeze()
    return shaped("squeeze", numpy.squeeze, (x,), {} if axis is None else {"axis": axis})


def concatenate(arrays, axis=0, out=None):
    """The arrays of a sequence one after the other along an axis.

    >>> concatenate([np.zeros((2, 3)), np.ones((1, 3))]).shape
    (3, 3)
    """
    cdef tuple given = tuple(arrays)
    cdef bint all_plain = out is None and type(axis) is int
    for value in given:
        all_plain = all_plain and plain(value)
    if all_plain and -MOST_AXES <= axis < MOST_AXES:
        return np.PyArray_Concatenate(given, axis)
    for value in given:
        if is_traced(value):
            return value.__fastnn_operation__("concatenate", (given,), {"axis": axis})
    return numpy.concatenate([as_array(value) for value in given], axis=axis, out=out)


cdef int named_element(object dtype):
    """The element type of that dtype, or -1."""
    cdef str name = numpy.dtype(dtype).name
    return ELEMENT_NAMES.index(name) if name in ELEMENT_NAMES else -1


def one_hot(labels, num_classes, dtype="float32"):
    """The rows of the identity matrix that labels (...) name, integers from 0 to num_classes - 1: (..., num_classes).

    >>> one_hot([0, 2], 3)
    array([[1., 0., 0.],
           [0., 0., 1.]], dtype=float32)
    """
    cdef np.ndarray given = as_array(labels), whole, result
    cdef isize classes = operator.index(num_classes), rows = np.PyArray_SIZE(given), i
    cdef int element = FLOAT32 if type(dtype) is str and dtype == "float32" else named_element(dtype)
    cdef np.npy_intp[MOST_AXES] shape
    cdef const int64_t *label
    cdef bint fits = classes >= 0
    if not np.PyArray_ISINTEGER(given):
        raise TypeError(f"one_hot takes integer labels, received dtype {given.dtype}. Convert them first: "
                        "labels.astype('int64').")
    if not 0 <= element <= FLOAT64:
        raise TypeError(f"one_hot gives float32 or float64, received dtype={dtype!r}.")
    whole = given
    if np.PyArray_TYPE(given) != np.NPY_INT64 or not np.PyArray_ISCARRAY_RO(given):
        whole = np.PyArray_Cast(given, np.NPY_INT64)
    label = <const int64_t *>np.PyArray_DATA(whole)
    for i in range(rows):
        fits = fits and 0 <= label[i] < classes
    if not fits:
        raise ValueError(
            f"one_hot: labels must be from 0 to num_classes - 1 = {classes - 1}, received {given.min()} to "
            f"{given.max()}."
            if rows else f"one_hot: num_classes must not be negative, received {classes}.")
    for i in range(np.PyArray_NDIM(given)):
        shape[i] = np.PyArray_DIMS(given)[i]
    shape[np.PyArray_NDIM(given)] = classes
    result = np.PyArray_EMPTY(np.PyArray_NDIM(given) + 1, shape, TYPE_NUMBERS[element], 0)
    kernels_of(element).one_hot(label, np.PyArray_DATA(result), rows, classes)
    return result
