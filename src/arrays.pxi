# From Python objects to arrays of the element types.

cdef enum:
    CACHE_LINE = 64
    MOST_AXES = 64              # NumPy's limit

cdef object DTYPE_NAMES = ("float32", "float64")


cdef inline int real_dtype(np.ndarray x) noexcept:
    """FLOAT32, FLOAT64 or -1."""
    cdef int number = np.PyArray_TYPE(x)
    return FLOAT32 if number == np.NPY_FLOAT32 else FLOAT64 if number == np.NPY_FLOAT64 else -1


cdef tuple ELEMENT_NAMES = ("float32", "float64", "int32", "int64", "uint8")
cdef int[ELEMENTS] TYPE_NUMBERS         # NumPy's number of each element type
cdef isize[ELEMENTS] ITEMS              # bytes of each
cdef signed char[32] element_numbers    # the element type of each of NumPy's numbers, or -1
cdef signed char[ELEMENTS][ELEMENTS] promoted       # the type that NumPy computes in


cdef void fill_type_tables():
    cdef int i, j
    for i in range(32):
        element_numbers[i] = -1
    for i, name in enumerate(ELEMENT_NAMES):
        TYPE_NUMBERS[i], ITEMS[i] = numpy.dtype(name).num, numpy.dtype(name).itemsize
        element_numbers[TYPE_NUMBERS[i]] = i
        for j, other in enumerate(ELEMENT_NAMES):
            promoted[i][j] = ELEMENT_NAMES.index(numpy.promote_types(name, other).name)
    for character in "ilq":             # C's long is one of the others by another name
        dtype = numpy.dtype(character)
        element_numbers[dtype.num] = INT32 if dtype.itemsize == 4 else INT64


fill_type_tables()


cdef inline int element_of(np.ndarray x) noexcept:
    """FLOAT32 to UINT8 for a native, aligned array of that type; -1 for any other."""
    cdef int number = np.PyArray_TYPE(x)
    return element_numbers[number] if number < 32 and np.PyArray_ISBEHAVED_RO(x) else -1


cdef inline bint is_traced(object value):
    """Whether value is one that fastnn.gradient follows."""
    return not isinstance(value, numpy.ndarray) and hasattr(type(value), "__fastnn_operation__")


cdef object traced(str function, tuple args, dict kwargs):
    """What the first traced value among the arguments makes of the call; NotImplemented if there is none."""
    for value in (*args, *kwargs.values()):
        if is_traced(value):
            return value.__fastnn_operation__(function, args, kwargs)
    return NotImplemented


cdef np.ndarray as_array(object value):
    """Any array, number or list, anything with the buffer protocol, __array__ or DLPack, as an ndarray, without a copy
    where there is memory to share."""
    if isinstance(value, numpy.ndarray):
        return value if type(value) is numpy.ndarray else value.view(numpy.ndarray)
    if hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
        return numpy.from_dlpack(value)
    return numpy.asarray(value)


cdef object refusal(str function, tuple names, tuple dtypes, object result):
    """The TypeError for dtypes that fastnn does not compute in."""
    received = " and ".join(f"{name} of dtype {dtype}" for name, dtype in zip(names, dtypes))
    foreign = [(name, dtype) for name, dtype in zip(names, dtypes)
               if not (isinstance(dtype, numpy.dtype) and dtype.name in ELEMENT_NAMES)] or [(names[0], dtypes[0])]
    name, dtype = foreign[0]
    target = {"b": "uint8", "i": "int64", "u": "int64"}.get(dtype.kind, "float64")
    if dtype.name in ELEMENT_NAMES:
        target = "float32"              # uint8, from which NumPy's result is float16
    fix = f"{name}.real" if dtype.kind == "c" else f"{name}.astype('{target}')"
    computed = "" if result is None or result == dtype else f"; NumPy's result is {result}"
    return TypeError(f"{function} computes in {', '.join(ELEMENT_NAMES[:4])} and {ELEMENT_NAMES[4]}, received "
                     f"{received}{computed}. Convert it first: {fix}.")


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
