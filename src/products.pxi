# dot, matmul, outer and tensordot on arrays: checks, shapes and strides for the walk in batches.pxi.

cdef enum:
    FAR_STEP = 2048             # bytes from one k to the next at which a large transposed x is copied first,
    GAIN = 256                  # where both sides of the result are at least so long

cdef tuple promoted_pair(str function, object x, object y):
    """x and y as arrays of the dtype that NumPy computes their product in."""
    x, y = as_array(x), as_array(y)
    try:
        common = numpy.result_type(x.dtype, y.dtype)
    except TypeError:
        common = None
    if common is None or common.kind not in "fiu" or common.name not in ELEMENT_NAMES:
        name, dtype = ("x", x.dtype) if x.dtype.name not in ELEMENT_NAMES else ("y", y.dtype)
        target = "int64" if dtype.kind in "biu" else "float64"
        raise TypeError(f"{function} computes in {', '.join(ELEMENT_NAMES)}; received {name} of dtype {dtype}. "
                        f"Convert it first: {name}.astype('{target}').")
    return numpy.require(x, common.name, "A"), numpy.require(y, common.name, "A")


cdef inline Operand operand(np.ndarray x, bint transposed, bint right) noexcept:
    """The matrix of x: its last two axes; a vector is a row on the left and a column on the right."""
    cdef Operand m
    cdef int last = x.ndim - 1
    m.data, m.rows, m.cols, m.row, m.col = x.data, 1, 1, 0, 0
    if last == 0 and right:
        m.rows, m.row = np.PyArray_DIM(x, 0), np.PyArray_STRIDE(x, 0)
    elif last >= 0:
        m.cols, m.col = np.PyArray_DIM(x, last), np.PyArray_STRIDE(x, last)
        if last > 0:
            m.rows, m.row = np.PyArray_DIM(x, last - 1), np.PyArray_STRIDE(x, last - 1)
        if transposed:
            m.rows, m.cols, m.row, m.col = m.cols, m.rows, m.col, m.row
    return m


cdef inline bint whole_strides(np.ndarray x, isize item) noexcept:
    cdef int i
    for i in range(x.ndim):
        if np.PyArray_STRIDE(x, i) % item:
            return False
    return True


cdef bint readable(np.ndarray x, Operand *m, isize item, bint vector) noexcept:
    """Whether the kernels can read x as it lies: along one axis its elements touch; strides of axes of length 1 are set
    to what suits them."""
    if not whole_strides(x, item):
        return False
    if m.cols == 1:
        m.col = item
    if m.rows == 1:
        m.row = m.cols * m.col
    return m.col == item or m.row == item and not vector


cdef object multiplied(str function, bint numpy_dot, object x, object y, object out, bint transpose_x,
                       bint transpose_y):
    cdef int dtype = -1
    if isinstance(x, np.ndarray) and isinstance(y, np.ndarray):
        dtype = element_of(x)
        if dtype != element_of(y):
            dtype = -1
    if dtype < 0:
        x, y = promoted_pair(function, x, y)
        dtype = element_of(x)
    if dtype == UINT8:
        return product_of_bytes(function, numpy_dot, x, y, out, transpose_x, transpose_y)
    return product_of_arrays(function, numpy_dot, x, y, out, dtype, transpose_x, transpose_y)


cdef object product_of_bytes(str function, bint numpy_dot, np.ndarray x, np.ndarray y, object out, bint transpose_x,
                             bint transpose_y):
    """Sums of the low bits are the low bits of sums: by way of int32, but for two vectors."""
    cdef isize n = np.PyArray_SIZE(x)
    cdef unsigned char low
    if (out is None and x.ndim == 1 and y.ndim == 1 and np.PyArray_DIM(y, 0) == n and np.PyArray_IS_C_CONTIGUOUS(x)
            and np.PyArray_IS_C_CONTIGUOUS(y)):
        if n <= SMALL_WORK:
            low = fastnn_dot_bytes(<const unsigned char *>x.data, <const unsigned char *>y.data, n)
        else:
            with nogil:
                low = fastnn_dot_bytes(<const unsigned char *>np.PyArray_DATA(x),
                                       <const unsigned char *>np.PyArray_DATA(y), n)
        return np.PyArray_ToScalar(&low, x)
    result = product_of_arrays(function, numpy_dot, np.PyArray_Cast(x, np.NPY_INT32), np.PyArray_Cast(y, np.NPY_INT32),
                               None, INT32, transpose_x, transpose_y)
    if out is None:
        if isinstance(result, np.ndarray):
            return np.PyArray_Cast(result, np.NPY_UINT8)
        low = <unsigned char>(<int>result & 255)
        return np.PyArray_ToScalar(&low, x)
    result = np.PyArray_Cast(numpy.asarray(result), np.NPY_UINT8)
    check_product(function, out, result.shape, x.dtype)
    out[...] = result
    return out


cdef check_product(str function, object out, tuple shape, object dtype):
    if not isinstance(out, numpy.ndarray):
        raise TypeError(f"{function}: out must be a numpy array, received {type(out).__name__}.")
    if out.shape != shape:
        raise ValueError(f"{function}: out must have shape {shape}, received {out.shape}.")
    if out.dtype != dtype:
        raise (ValueError if function == "dot" else TypeError)(
            f"{function}: out must have dtype {dtype}, received {out.dtype}.")
    if not out.flags.writeable:
        raise ValueError(f"{function}: out is read-only. Leave it out, or give a writable array.")


cdef object product_of_arrays(str function, bint numpy_dot, np.ndarray x, np.ndarray y, object out, int dtype,
                              bint transpose_x, bint transpose_y):
    cdef Products job
    cdef Operand a, b
    cdef np.npy_intp[MOST_AXES] dims
    cdef np.ndarray result
    cdef double number = 0
    cdef int axes, i
    if x.ndim == 0 or y.ndim == 0:
        if not numpy_dot:
            raise ValueError(f"matmul takes arrays of at least one axis, received {shapes(x, y)}. Use multiply or dot "
                             "for products with a scalar.")
        return scaled(function, x, y, out, dtype)
    if transpose_x and x.ndim == 1 or transpose_y and y.ndim == 1:
        raise ValueError(f"{function}: transpose_x and transpose_y are for arrays of two or more axes, "
                         f"received {shapes(x, y)}.")
    a, b = operand(x, transpose_x, False), operand(y, transpose_y, True)
    if a.cols != b.rows:
        raise ValueError(f"{function}: x has {a.cols} columns (the last axis) and y has {b.rows} rows (the "
                         f"second-last, or only, axis), which must be equal; received {shapes(x, y)}"
                         f"{', transposed as asked' if transpose_x or transpose_y else ''}.")
    job.kernels, job.item = kernels_of(FLOAT32 if dtype == INT32 else FLOAT64 if dtype == INT64 else dtype), x.itemsize
    job.integers, job.inner = dtype >= DTYPES, y.ndim == 1
    if not readable(x, &a, job.item, job.inner and job.integers) and (job.inner or not whole_strides(x, job.item)):
        x = np.PyArray_NewCopy(x, np.NPY_CORDER)
        a = operand(x, transpose_x, False)
        readable(x, &a, job.item, False)
    if x.ndim == 2 and a.row == job.item and a.col >= FAR_STEP and a.rows >= GAIN and b.cols >= GAIN:
        x = untransposed(job.kernels, &a, dtype)
    if job.inner:
        b.cols, b.col, b.rows, b.row = b.rows, b.row, 1, 0
    if not readable(y, &b, job.item, job.inner):
        y = np.PyArray_NewCopy(y, np.NPY_CORDER)
        b = operand(y, transpose_y, not job.inner)
        readable(y, &b, job.item, job.inner)
    job.a, job.b, job.rows, job.k, job.cols = a.data, b.data, a.rows, a.cols, 1 if job.inner else b.cols
    job.a_row, job.a_col, job.b_row, job.b_col = a.row, a.col, b.row, b.col

    axes = batch_of_dot(&job, x, y, dims) if numpy_dot else batch_of_matmul(&job, x, y, dims)
    if axes == 0 and out is None:
        job.out, job.axes, job.out_row = <char *>&number, 0, 1
        run_products(&job)
        return np.PyArray_ToScalar(&number, x)
    if out is None:
        result = np.PyArray_SimpleNew(axes, dims, TYPE_NUMBERS[dtype])
    else:
        check_product(function, out, tuple([dims[i] for i in range(axes)]), x.dtype)
        result = out
        if not np.PyArray_ISCARRAY(result) or numpy.may_share_memory(result, x) or numpy.may_share_memory(result, y):
            result = np.PyArray_SimpleNew(axes, dims, TYPE_NUMBERS[dtype])
    place(&job, result, numpy_dot, x.ndim, y.ndim)
    run_products(&job)
    if out is not None and result is not out:
        out[...] = result
        return out
    return result


cdef np.ndarray untransposed(const fastnn_kernels *kernels, Operand *m, int dtype):
    """A copy of m with its rows together, where steps from row to row of its transpose would miss every cache."""
    cdef np.npy_intp[2] dims
    cdef np.ndarray copy
    dims[0], dims[1] = m.rows, m.cols
    copy = np.PyArray_SimpleNew(2, dims, TYPE_NUMBERS[dtype])
    cdef isize item = copy.itemsize
    kernels.transpose(m.data, m.col // item, copy.data, m.cols, m.cols, m.rows)
    m.data, m.row, m.col = copy.data, m.cols * item, item
    return copy


cdef str shapes(np.ndarray x, np.ndarray y):
    return f"{(<object>x).shape} and {(<object>y).shape}"


cdef object scaled(str function, np.ndarray x, np.ndarray y, object out, int dtype):
    """A scalar times an array: a product of one row with k = 1."""
    cdef object number = x if x.ndim == 0 else y, array = y if x.ndim == 0 else x
    flat = product_of_arrays(function, True, number.reshape(1), array.reshape(1, -1), None, dtype, False, False)
    if out is None and array.ndim == 0:
        return flat[0]
    result = flat.reshape(array.shape)
    if out is None:
        return result
    check_product(function, out, array.shape, result.dtype)
    out[...] = result
    return out


cdef int batch_of_dot(Products *job, np.ndarray x, np.ndarray y, np.npy_intp *dims) noexcept:
    """The axes of dot: those of x but the last, then those of y but the second-last; returns how many."""
    cdef int i, axes = 0
    job.axes = 0
    for i in range(x.ndim - 1):
        dims[axes] = np.PyArray_DIM(x, i)
        axes += 1
        if i < x.ndim - 2:
            job.shape[job.axes], job.b_stride[job.axes] = np.PyArray_DIM(x, i), 0
            job.a_stride[job.axes] = np.PyArray_STRIDE(x, i)
            job.axes += 1
    for i in range(y.ndim):
        if i == y.ndim - 2 or y.ndim == 1:
            continue
        dims[axes] = np.PyArray_DIM(y, i)
        axes += 1
        if i < y.ndim - 2:
            job.shape[job.axes], job.a_stride[job.axes] = np.PyArray_DIM(y, i), 0
            job.b_stride[job.axes] = np.PyArray_STRIDE(y, i)
            job.axes += 1
    return axes


cdef int batch_of_matmul(Products *job, np.ndarray x, np.ndarray y, np.npy_intp *dims) except -1:
    """The axes of matmul: the broadcast leading ones, then rows and columns; returns how many."""
    cdef int i, left, right, axes
    cdef isize m, n
    job.axes = axes = max(x.ndim, y.ndim, 2) - 2
    for i in range(axes):
        left, right = i - axes + x.ndim - 2, i - axes + y.ndim - 2
        m, n = np.PyArray_DIM(x, left) if left >= 0 else 1, np.PyArray_DIM(y, right) if right >= 0 else 1
        if m != n and m != 1 and n != 1:
            raise ValueError(f"matmul: the batch axes of {shapes(x, y)} do not broadcast: {m} against {n}.")
        dims[i] = job.shape[i] = n if m == 1 else m
        job.a_stride[i] = np.PyArray_STRIDE(x, left) if m > 1 else 0
        job.b_stride[i] = np.PyArray_STRIDE(y, right) if n > 1 else 0
    if x.ndim > 1:
        dims[axes] = job.rows
        axes += 1
    if y.ndim > 1:
        dims[axes] = job.cols
        axes += 1
    return axes


cdef void place(Products *job, np.ndarray result, bint numpy_dot, int x_axes, int y_axes) noexcept:
    """Where the products go in `result`, which is C-contiguous; batch axes that are more rows of x become so."""
    cdef int i, at, kept = 0, of_x = max(x_axes - 2, 0)
    job.out = result.data
    job.out_row = job.cols
    if x_axes > 1:
        i = x_axes - 2 if numpy_dot else job.axes       # the axis of rows
        job.out_row = np.PyArray_STRIDE(result, i) // job.item
    for i in range(job.axes):
        at = i + 1 if numpy_dot and i >= of_x and x_axes > 1 else i
        job.out_stride[i] = np.PyArray_STRIDE(result, at)
    for i in range(job.axes - 1, -1, -1):
        if job.shape[i] == 1 and kept == 0:
            job.axes = i
        elif kept == 0 and i == job.axes - 1 and job.b_stride[i] == 0 and (job.rows == 1 or (
                job.a_stride[i] == job.rows * job.a_row
                and job.out_stride[i] == job.rows * job.out_row * job.item)):
            if job.rows == 1:
                job.a_row, job.out_row = job.a_stride[i], job.out_stride[i] // job.item
            job.rows *= job.shape[i]
            job.axes = i
        else:
            kept = 1


def dot(x, y, out=None):
    """The product of two arrays as numpy.dot defines it.

    x (n,), y (n,): a number, the sum of x[i] * y[i].  x (m, n), y (n,): (m,).  x (k,), y (k, n): (n,).  x (m, k),
    y (k, n): (m, n).  A scalar multiplies every element.  With more axes, the last one of x meets the second-last one
    of y (or its only one), and the result has the other axes of x, then those of y.

    float32, float64, int32, int64 and uint8, which NumPy promotes to a common dtype; integers wrap.  Any memory layout.
    `out` takes the result: an array of its shape and dtype.  Nothing is skipped: 0 times NaN is NaN.

    Each result is one chain of fused multiply-adds over the common axis in increasing order, and so does not depend on
    the other rows and columns; with y of one axis it is the dot of two vectors instead, summed in 32 lanes and chunks
    of 4096 elements.  A result of zero is +0.0.

    Raises ValueError where the shapes do not fit or `out` has another shape or dtype, TypeError for other dtypes.

    >>> dot(np.array([[1., 2.], [3., 4.]]), np.array([5., 6.]))
    array([17., 39.])
    """
    if not (isinstance(x, np.ndarray) and isinstance(y, np.ndarray)):
        result = traced("dot", (x, y), {} if out is None else {"out": out})
        if result is not NotImplemented:
            return result
    return multiplied("dot", True, x, y, out, False, False)


def matmul(x, y, out=None, bint transpose_x=False, bint transpose_y=False):
    """The matrix product as numpy.matmul and the operator @ define it.

    x (..., m, k), y (..., k, n): (..., m, n), where the leading axes broadcast.  x (k,) is a row and y (k,) a column,
    and that axis is missing in the result.  Scalars are refused: dot takes them.  transpose_x takes x as (..., k, m),
    transpose_y takes y as (..., n, k).

    Dtypes, `out` and the order of summation are as in dot().

    Raises ValueError where the shapes do not fit, TypeError for other dtypes and for an `out` of another dtype.

    >>> matmul(np.ones((8, 2, 3)), np.ones((3, 4))).shape
    (8, 2, 4)
    """
    if not (isinstance(x, np.ndarray) and isinstance(y, np.ndarray)):
        kwargs = {} if out is None else {"out": out}
        if transpose_x or transpose_y:
            kwargs |= {"transpose_x": transpose_x, "transpose_y": transpose_y}
        result = traced("matmul", (x, y), kwargs)
        if result is not NotImplemented:
            return result
    return multiplied("matmul", False, x, y, out, transpose_x, transpose_y)


def outer(x, y, out=None):
    """out[i, j] = x[i] * y[j] for the elements of x and y in order, as numpy.outer.

    x and y have any shape; the result is (x.size, y.size).  Dtypes and `out` are as in matmul().

    >>> outer([1., 2.], [1., 10., 100.])
    array([[  1.,  10., 100.],
           [  2.,  20., 200.]])
    """
    result = traced("outer", (x, y), {} if out is None else {"out": out})
    if result is not NotImplemented:
        return result
    cdef Loop loop
    x, y = as_array(x).reshape(-1, 1), as_array(y).reshape(1, -1)
    if element_of(x) == UINT8 and element_of(y) == UINT8:       # which have no product of matrices of their own
        loop.element[X] = loop.element[Y] = UINT8
        loop.binary, loop.operation, loop.watch_zeros = True, MULTIPLY, False
        return run(&loop, "outer", x, y, UINT8, out)
    return multiplied("outer", False, x, y, out, False, False)


def tensordot(x, y, axes=2, out=None):
    """The sum of products over pairs of axes, as numpy.tensordot.

    axes: how many of the last axes of x meet the first ones of y; or two lists, of the axes of x and, each beside its
    partner, of those of y.  The result has the other axes of x, then those of y.  Each element is one chain of fused
    multiply-adds, over the axes in the order given.  Dtypes and `out` are as in matmul().

    Raises ValueError where lengths of paired axes differ, AxisError where an axis does not exist.

    >>> tensordot(np.ones((2, 3, 4)), np.ones((4, 3, 5)), axes=([1, 2], [1, 0])).shape
    (2, 5)
    """
    result = traced("tensordot", (x, y), {"axes": axes} | ({} if out is None else {"out": out}))
    if result is not NotImplemented:
        return result
    x, y = as_array(x), as_array(y)
    of_x, of_y = paired_axes(x, y, axes)
    rest_x = [axis for axis in range(x.ndim) if axis not in of_x]
    rest_y = [axis for axis in range(y.ndim) if axis not in of_y]
    shape = tuple([x.shape[axis] for axis in rest_x] + [y.shape[axis] for axis in rest_y])
    k, rows, cols = (math.prod([z.shape[axis] for axis in some]) for z, some in ((x, of_x), (x, rest_x), (y, rest_y)))
    result = multiplied("tensordot", False, x.transpose(rest_x + of_x).reshape(rows, k),
                        y.transpose(of_y + rest_y).reshape(k, cols), None, False, False).reshape(shape)
    if out is None:
        return result
    check_product("tensordot", out, shape, result.dtype)
    out[...] = result
    return out


cdef tuple paired_axes(object x, object y, object axes):
    """The axes of x and of y that tensordot sums over, counted from 0."""
    try:
        of_x, of_y = axes
    except TypeError:
        count = operator.index(axes)
        of_x, of_y = range(-count, 0), range(max(count, 0))
    pair = []
    for name, array, some in (("x", x, of_x), ("y", y, of_y)):
        some = [operator.index(axis) for axis in (some if hasattr(some, "__iter__") else (some,))]
        for axis in some:
            if not -array.ndim <= axis < array.ndim:
                raise AxisError(f"tensordot: {name} of shape {array.shape} has no axis {axis}; axes={axes!r}.")
        some = [axis % array.ndim for axis in some]
        if len(set(some)) < len(some):
            raise ValueError(f"tensordot: an axis of {name} is named twice in axes={axes!r}.")
        pair.append(some)
    of_x, of_y = pair
    if [x.shape[axis] for axis in of_x] != [y.shape[axis] for axis in of_y]:
        raise ValueError(f"tensordot: the paired axes must have equal lengths; axes={axes!r} pairs {of_x} of {x.shape} "
                         f"with {of_y} of {y.shape}.")
    return of_x, of_y
