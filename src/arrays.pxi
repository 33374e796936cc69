# From Python objects to C-contiguous arrays of float32 or float64.

cdef enum:
    CACHE_LINE = 64

cdef object DTYPE_NAMES = ("float32", "float64")


cdef inline int real_dtype(np.ndarray x) noexcept:
    """FLOAT32, FLOAT64 or -1."""
    cdef int number = np.PyArray_TYPE(x)
    return FLOAT32 if number == np.NPY_FLOAT32 else FLOAT64 if number == np.NPY_FLOAT64 else -1


cdef np.ndarray as_real(str function, str name, object value, int dtype=-1):
    """value as a C-contiguous, aligned, native array of float32 or float64; `dtype` widens it further if given."""
    cdef int found
    if isinstance(value, numpy.ndarray):
        found = real_dtype(value)
        if found >= 0 and (dtype < 0 or found == dtype) and np.PyArray_ISCARRAY_RO(value):
            return value
    x = numpy.asarray(value)
    if x.dtype.kind != "f" or x.dtype.itemsize not in (4, 8):
        raise TypeError(f"{function} takes float32 or float64 arrays, received {name} of dtype {x.dtype}. "
                        f"Convert it first: {name}.astype('float64').")
    if dtype < 0:
        dtype = FLOAT32 if x.dtype.itemsize == 4 else FLOAT64
    return numpy.require(x, DTYPE_NAMES[dtype], "CA").reshape(x.shape)


def aligned(tuple shape, dtype, value=0):
    """A new array, full of value, whose rows' vectors cross no cache line: its data begins at one."""
    cdef isize size = numpy.prod(shape, dtype="int64") * numpy.dtype(dtype).itemsize
    memory = numpy.empty(size + CACHE_LINE, "uint8")
    cdef isize start = CACHE_LINE - <isize>(<size_t>np.PyArray_DATA(memory) % CACHE_LINE)
    array = memory[start:start + size].view(dtype).reshape(shape)
    array.fill(value)
    return array


cdef np.ndarray empty(tuple shape, int dtype):
    return numpy.empty(shape, DTYPE_NAMES[dtype])


cdef np.ndarray output(str function, object out, tuple shape, int dtype, tuple inputs=(), bint in_place=True):
    """A new array, or `out` if it can hold the result as it stands; in_place: it may be one of the inputs."""
    if out is None:
        return empty(shape, dtype)
    if not isinstance(out, numpy.ndarray):
        raise TypeError(f"{function}: out must be a numpy array, received {type(out).__name__}.")
    if (<object>out).shape != shape or real_dtype(out) != dtype:
        raise ValueError(f"{function}: out must have shape {shape} and dtype {DTYPE_NAMES[dtype]}, "
                         f"received {out.shape} and {out.dtype}.")
    if not np.PyArray_ISCARRAY(out):
        raise ValueError(f"{function}: out must be a writable C-contiguous array. Leave it out, or copy the result.")
    for x in inputs:
        if numpy.may_share_memory(out, x) and (
                not in_place or np.PyArray_DATA(out) != np.PyArray_DATA(x) or (<object>x).shape != shape):
            raise ValueError(f"{function}: out overlaps an input. Leave it out, or give an array of its own.")
    return out


cdef tuple pair(str function, object x, object y):
    """Both in the wider dtype of the two, as NumPy does."""
    cdef np.ndarray a = as_real(function, "x", x), b = as_real(function, "y", y)
    cdef int dtype = max(real_dtype(a), real_dtype(b))
    return as_real(function, "x", a, dtype), as_real(function, "y", b, dtype), dtype
