# Operations on the rows of an array: softmax and log_softmax along an axis.

ctypedef void (*rows_kernel)(const void *x, void *out, isize rows, isize cols) noexcept nogil

cdef struct RowsJob:
    rows_kernel kernel
    char *x
    char *out
    isize rows, cols, height, item


cdef void run_some_rows(void *context, isize block, int worker) noexcept nogil:
    cdef RowsJob *job = <RowsJob *>context
    cdef isize row = block * job.height, at = row * job.cols * job.item
    job.kernel(job.x + at, job.out + at, min(job.height, job.rows - row), job.cols)


cdef void run_all_rows(RowsJob *job) noexcept nogil:
    cdef isize work = job.rows * job.cols
    if work < 4 * PARALLEL_FROM[EXP]:
        job.kernel(job.x, job.out, job.rows, job.cols)
        return
    job.height = max(1, PARALLEL_FROM[EXP] // job.cols)
    fastnn_parallel(run_some_rows, job, (job.rows + job.height - 1) // job.height)


cdef object by_row(str function, rows_kernel kernel32, rows_kernel kernel64, object x, object axis, object out):
    cdef np.ndarray a, result
    cdef int element, nd, number
    cdef RowsJob job
    if not np.PyArray_CheckExact(x):
        found = traced(function, (x,), {"axis": axis} if out is None else {"axis": axis, "out": out})
        if found is not NotImplemented:
            return found
    a = as_array(x)
    element = element_of(a)
    if element == INT32 or element == INT64:
        a, element = np.PyArray_Cast(a, np.NPY_FLOAT64), FLOAT64
    elif element < 0 or element == UINT8:
        a = a.astype(computed_in(function, numpy.exp, ("x",), (a,)))
        element = element_of(a)
    nd = np.PyArray_NDIM(a)
    number = axis_of(function, axis, nd)
    if number != nd - 1:
        return along_axis(function, kernel32, kernel64, a, number, out)
    if not np.PyArray_IS_C_CONTIGUOUS(a):
        a = a.copy("C")
    if out is None:
        result = np.PyArray_EMPTY(nd, np.PyArray_DIMS(a), TYPE_NUMBERS[element], 0)
    else:
        if isinstance(out, numpy.ndarray):
            a = apart(a, out)
        fits = check_out(function, out, nd, <isize *>np.PyArray_DIMS(a), element)
        if not fits or not np.PyArray_IS_C_CONTIGUOUS(out):
            out[...] = by_row(function, kernel32, kernel64, a, axis, None)
            return out
        result = out
    job.kernel = kernel32 if element == FLOAT32 else kernel64
    job.x, job.out = <char *>np.PyArray_DATA(a), <char *>np.PyArray_DATA(result)
    job.cols, job.item = np.PyArray_DIMS(a)[nd - 1], ITEMS[element]
    if np.PyArray_SIZE(a) == 0:
        return result
    job.rows = np.PyArray_SIZE(a) // job.cols
    if job.rows * job.cols <= HOLD_GIL:
        run_all_rows(&job)
    else:
        with nogil:
            run_all_rows(&job)
    return result


cdef int axis_of(str function, object axis, int nd) except -1:
    """The number of an axis given from either end."""
    number = operator.index(axis)
    if nd == 0:
        raise AxisError(f"{function} takes an array of at least one axis, received a scalar.")
    if not -nd <= number < nd:
        raise AxisError(f"{function}: axis {number} is out of range for an array of {nd} axes.")
    return number + nd if number < 0 else number


cdef object along_axis(str function, rows_kernel kernel32, rows_kernel kernel64, np.ndarray a, int axis, object out):
    """By rows of a copy in which the axis is the last."""
    rows = numpy.moveaxis(a, axis, -1).copy("C")
    by_row(function, kernel32, kernel64, rows, -1, rows)
    rows = numpy.moveaxis(rows, -1, axis)
    if out is None:
        return rows.copy("C")
    check_out(function, out, np.PyArray_NDIM(a), <isize *>np.PyArray_DIMS(a), element_of(a))
    out[...] = rows
    return out


def softmax(x, axis=-1, out=None):
    """exp(x - max) / sum(exp(x - max)) along an axis, the last one by default: positive numbers whose sum is 1.

    Integers give float64; a row of -inf, or with a NaN, gives NaN.  An axis out of range raises AxisError.

    >>> softmax(np.array([[0.0, 0.0], [1.0, 3.0]]))
    array([[0.5       , 0.5       ],
           [0.11920292, 0.88079708]])
    """
    return by_row("softmax", kernels_of(FLOAT32).softmax, kernels_of(FLOAT64).softmax, x, axis, out)


def log_softmax(x, axis=-1, out=None):
    """x - max - log(sum(exp(x - max))) along an axis, the last one by default: the logarithm of softmax, which stays
    finite where softmax is too small for its type.

    >>> log_softmax(np.array([0.0, 1000.0]))
    array([-1000.,     0.])
    """
    return by_row("log_softmax", kernels_of(FLOAT32).log_softmax, kernels_of(FLOAT64).log_softmax, x, axis, out)
