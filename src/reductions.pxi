# Reductions over any axes: kept and reduced axes are merged into runs, and the runs are cut into blocks.

cdef extern from "numpy/arrayobject.h":
    object PyArray_Scalar(void *data, np.dtype dtype, object base)

cdef enum:
    REDUCE_CHUNK = 4096         # elements of a result that are summed together (N6)
    REDUCE_ALONE = 65536      # elements under which the caller does the work alone
    REDUCE_GRAIN = 32768      # elements of a block
    REDUCE_PANEL = 128          # columns of a block at least, and a multiple of them
    REDUCE_QUICK = 4096      # elements up to which nobody waits for the interpreter

cdef struct Axes:
    int count
    isize n[MOST_AXES]
    isize x[MOST_AXES]          # strides in elements, of x
    isize out[MOST_AXES]        # and of out

cdef struct Reducing:
    fastnn_reduction kernel
    const fastnn_reductions *kernels
    const char *x
    char *out
    isize item, out_item
    isize count                 # elements of one result, x_step apart
    isize x_step
    bint mean, by_columns, alone        # alone: by the caller, without threads
    isize n, n_x, n_out         # the kept axis that a kernel call runs along
    Axes kept                   # the other ones
    isize outer                 # and their product
    isize grain, panels         # of n in a block
    isize chunk_group, groups   # chunks of count in a block, where they are shared out
    char *partial               # (units, chunks, grain) results of them


cdef inline const fastnn_reductions *reductions_of(int element_type) noexcept nogil:
    return fastnn_reduction_table(chosen_isa, element_type)


cdef inline int element_type(np.ndarray x) noexcept:
    """FLOAT32, FLOAT64, INT32, INT64, UINT8 or -1; booleans are reduced as UINT8."""
    cdef int number = np.PyArray_TYPE(x)
    if number == np.NPY_FLOAT32:
        return FLOAT32
    if number == np.NPY_FLOAT64:
        return FLOAT64
    if number == np.NPY_UINT8 or number == np.NPY_BOOL:
        return UINT8
    if number == np.NPY_INT or number == np.NPY_LONG or number == np.NPY_LONGLONG:
        return INT32 if np.PyArray_ITEMSIZE(x) == 4 else INT64
    return -1


cdef inline int result_number(int kind, bint mean, np.ndarray x) noexcept:
    """NumPy's type number of the result."""
    cdef int number = np.PyArray_TYPE(x)
    if kind >= REDUCE_ARGMAX:
        return np.NPY_INTP
    if kind != REDUCE_SUM or number == np.NPY_FLOAT32 or number == np.NPY_FLOAT64:
        return number
    return np.NPY_FLOAT64 if mean else np.NPY_UINT64 if number == np.NPY_UINT8 else np.NPY_INT64


cdef np.ndarray reducible(str function, object value):
    """value as an aligned array of a type with kernels."""
    x = value if isinstance(value, numpy.ndarray) else numpy.asarray(value)
    if not x.dtype.isnative:
        x = x.astype(x.dtype.newbyteorder("="))
    if element_type(x) < 0:
        raise TypeError(f"{function} takes arrays of dtype float32, float64, int32, int64, uint8 or bool, received x "
                        f"of dtype {x.dtype} and shape {x.shape}. Convert it first, for example x.astype('float64').")
    return x if np.PyArray_ISALIGNED(x) else x.copy()


# ---------------------------------------------------------------- arguments

cdef int mark(str function, np.ndarray x, object axis, bint *reduced) except -1:
    cdef int ndim = x.ndim
    try:
        number = axis.__index__()
    except AttributeError:
        raise TypeError(f"{function}: axis must be None, an integer or a tuple of integers, received "
                        f"{axis!r}.") from None
    if not -ndim <= number < ndim:
        raise numpy.exceptions.AxisError(
            f"{function}: axis {number} is out of range for an array of shape {(<object>x).shape}, which has "
            + (f"the axes 0 to {ndim - 1}, or -{ndim} to -1." if ndim else "no axes."))
    if reduced[number % ndim if number >= 0 else number + ndim]:
        raise ValueError(f"{function}: axis {number} is named twice in {axis!r}.")
    reduced[number if number >= 0 else number + ndim] = True
    return 0


cdef int mark_axes(str function, int kind, np.ndarray x, object axis, bint *reduced) except -1:
    """reduced[i] for every axis i that axis names: None for all, an integer, or a tuple of them."""
    cdef int i
    for i in range(x.ndim):
        reduced[i] = axis is None
    if axis is None:
        return 0
    if isinstance(axis, tuple) and kind < REDUCE_ARGMAX:
        for number in axis:
            mark(function, x, number, reduced)
    elif x.ndim or (axis != 0 and axis != -1):      # NumPy lets a number have these two
        mark(function, x, axis, reduced)
    return 0


cdef object check_reduced(str function, object out, int ndim, isize *shape, int number):
    cdef tuple expected = tuple([shape[i] for i in range(ndim)])
    if not isinstance(out, numpy.ndarray):
        raise TypeError(f"{function}: out must be a numpy array, received {type(out).__name__}.")
    if (<object>out).shape != expected:
        raise ValueError(f"{function}: out must have shape {expected}, received {out.shape}.")
    dtype = np.PyArray_DescrFromType(number)
    if out.dtype != dtype:
        raise TypeError(f"{function}: out must have dtype {dtype}, received {out.dtype}.")
    if not out.flags.writeable:
        raise ValueError(f"{function}: out is read-only. Give an array that may be written.")


# ---------------------------------------------------------------- the walk

cdef void add_axis(Axes *axes, isize n, isize x, isize out) noexcept nogil:
    """One more axis inside the others, merged with the last one where it continues it."""
    cdef int last = axes.count - 1
    if n == 1:
        return
    if last >= 0 and axes.x[last] == n * x and axes.out[last] == n * out:
        axes.n[last] *= n
        axes.x[last], axes.out[last] = x, out
    else:
        axes.n[last + 1], axes.x[last + 1], axes.out[last + 1] = n, x, out
        axes.count += 1


cdef void choose_run(Reducing *job) noexcept nogil:
    """Takes the kept axis that the kernels run along out of job.kept: one whose elements touch, or the last."""
    cdef int i, run = job.kept.count - 1
    job.n = job.n_x = job.n_out = job.outer = 1
    job.by_columns = job.x_step != 1
    for i in range(job.kept.count):
        if job.kept.x[i] == 1:
            run, job.by_columns = i, job.by_columns or job.count == 1
    if job.kept.count:
        job.n, job.n_x, job.n_out = job.kept.n[run], job.kept.x[run], job.kept.out[run]
        job.kept.count -= 1
        for i in range(run, job.kept.count):
            job.kept.n[i], job.kept.x[i], job.kept.out[i] = job.kept.n[i + 1], job.kept.x[i + 1], job.kept.out[i + 1]
    for i in range(job.kept.count):
        job.outer *= job.kept.n[i]


cdef void share_out(Reducing *job) noexcept nogil:
    """Units of `grain` results for the threads, and where these are too few, groups of chunks of the elements."""
    cdef isize grain = max(1, REDUCE_GRAIN // job.count), chunks = (job.count + REDUCE_CHUNK - 1) // REDUCE_CHUNK
    if job.by_columns:              # long pieces of rows are read faster
        grain = max(grain, job.n // (4 * fastnn_threads()))
        grain = (grain + REDUCE_PANEL - 1) // REDUCE_PANEL * REDUCE_PANEL
    job.grain = min(grain, job.n)
    job.panels = (job.n + job.grain - 1) // job.grain
    job.chunk_group, job.groups = chunks, 1
    if job.panels * job.outer < 4 * fastnn_threads() and job.kernel.join != NULL:
        job.chunk_group = max(1, REDUCE_GRAIN // (REDUCE_CHUNK * job.grain))
        job.groups = (chunks + job.chunk_group - 1) // job.chunk_group


cdef void call(const Reducing *job, const char *x, char *out, isize out_step, isize n, isize count) noexcept nogil:
    """n results of count elements each."""
    if job.by_columns:
        job.kernel.columns(x, job.x_step, out, out_step, count, n)
    else:
        job.kernel.rows(x, job.n_x, out, out_step, n, count)


cdef void place_unit(const Reducing *job, isize unit, const char **x, char **out, isize *n) noexcept nogil:
    """Where the results of a unit and their elements begin, and how many they are."""
    cdef isize outer = unit // job.panels, first = (unit - outer * job.panels) * job.grain, at, rest
    cdef isize x_at = first * job.n_x, out_at = first * job.n_out
    cdef int i
    n[0] = min(job.grain, job.n - first)
    for i in range(job.kept.count - 1, -1, -1):
        rest = outer // job.kept.n[i]
        at = outer - rest * job.kept.n[i]
        x_at += at * job.kept.x[i]
        out_at += at * job.kept.out[i]
        outer = rest
    x[0] = job.x + x_at * job.item
    out[0] = job.out + out_at * job.out_item


cdef void reduce_units(void *context, isize block, int worker) noexcept nogil:
    """The units of a block: all of their elements."""
    cdef const Reducing *job = <const Reducing *>context
    cdef isize per = max(1, REDUCE_GRAIN // (job.grain * job.count)), units = job.outer * job.panels, unit, n
    cdef const char *x
    cdef char *out
    for unit in range(block * per, min(units, (block + 1) * per)):
        place_unit(job, unit, &x, &out, &n)
        call(job, x, out, job.n_out, n, job.count)
        if job.mean:
            job.kernels.divide(out, job.n_out, n, job.count)


cdef void reduce_chunks(void *context, isize block, int worker) noexcept nogil:
    """A group of chunks of one unit, into `partial`."""
    cdef const Reducing *job = <const Reducing *>context
    cdef isize unit = block // job.groups, first = block % job.groups * job.chunk_group * REDUCE_CHUNK, n
    cdef isize last = min(job.count, first + job.chunk_group * REDUCE_CHUNK)
    cdef isize chunks = (job.count + REDUCE_CHUNK - 1) // REDUCE_CHUNK
    cdef isize step = (job.x_step if job.by_columns else 1) * job.item
    cdef const char *x
    cdef char *out
    cdef char *partial
    place_unit(job, unit, &x, &out, &n)
    while first < last:
        partial = job.partial + (unit * chunks * job.grain + first // REDUCE_CHUNK * n) * job.out_item
        call(job, x + first * step, partial, 1, n, min(REDUCE_CHUNK, job.count - first))
        first += REDUCE_CHUNK


cdef int run_reduction(Reducing *job) noexcept nogil:
    """The whole job; -1 where memory for partial results is wanting."""
    cdef isize elements = job.n * job.outer * job.count, units, unit, n, per
    cdef isize chunks = (job.count + REDUCE_CHUNK - 1) // REDUCE_CHUNK
    cdef const char *x
    cdef char *out
    if elements < REDUCE_ALONE or job.alone or fastnn_threads() == 1:
        job.grain, job.panels, job.groups = job.n, 1, 1
    else:
        share_out(job)
    units = job.outer * job.panels
    if job.groups == 1:
        per = max(1, REDUCE_GRAIN // (job.grain * job.count))
        run_blocks(reduce_units, job, (units + per - 1) // per, 0 if job.alone else elements)
        return 0
    job.partial = <char *>malloc(<size_t>(units * chunks * job.grain * job.out_item))
    if job.partial == NULL:
        return -1
    run_blocks(reduce_chunks, job, units * job.groups, elements)
    for unit in range(units):
        place_unit(job, unit, &x, &out, &n)
        job.kernel.join(job.partial + unit * chunks * job.grain * job.out_item, chunks, out, job.n_out, n)
        if job.mean:
            job.kernels.divide(out, job.n_out, n, job.count)
    free(job.partial)
    return 0


# ---------------------------------------------------------------- the call

cdef object scalar(void *data, int number):
    return PyArray_Scalar(data, np.PyArray_DescrFromType(number), None)


cdef object reduce_all_quickly(int kind, bint mean, np.ndarray x):
    """All of few elements that lie together: no axes to think of, nobody to share with."""
    cdef const fastnn_reductions *kernels = reductions_of(element_type(x))
    cdef isize n = np.PyArray_SIZE(x)
    cdef int64_t result
    cdef bint exact = mean and element_type(x) == INT64
    kernels.of[REDUCE_MEAN if exact else kind].rows(np.PyArray_DATA(x), n, &result, 1, 1, n)
    if mean and not exact:
        kernels.divide(&result, 1, 1, n)
    return scalar(&result, result_number(kind, mean, x))


cdef int no_elements(str function, int kind, bint mean, np.ndarray x, object result) except -1:
    """The result over axes without elements: 0 for sum, NaN for mean, and an error for the others."""
    if kind != REDUCE_SUM:
        raise ValueError(f"{function} of no elements is not defined: x has shape {(<object>x).shape}.")
    if mean:
        import warnings
        warnings.warn("Mean of empty slice: the result is NaN.", RuntimeWarning, stacklevel=2)
    result[...] = numpy.nan if mean else 0
    return 0


cdef object reduce_axes(str function, int kind, bint mean, object value, object axis, bint keepdims, object out):
    cdef np.ndarray x
    cdef bint reduced[MOST_AXES]
    cdef isize shape[MOST_AXES]
    cdef int i, ndim = 0, number
    if type(value) is np.ndarray and np.PyArray_ISBEHAVED_RO(<np.ndarray>value) and element_type(value) >= 0:
        x = value
        if (axis is None and out is None and not keepdims and np.PyArray_IS_C_CONTIGUOUS(x)
                and 0 < np.PyArray_SIZE(x) <= REDUCE_QUICK):
            return reduce_all_quickly(kind, mean, x)
    else:
        if is_traced(value):
            keywords = {"axis": axis, "keepdims": keepdims}
            if out is not None:
                keywords["out"] = out
            return value.__fastnn_operation__(function, (value,), keywords)
        x = reducible(function, value)
    mark_axes(function, kind, x, axis, reduced)
    for i in range(x.ndim):
        if keepdims or not reduced[i]:
            shape[ndim] = 1 if reduced[i] else x.shape[i]
            ndim += 1
    number = result_number(kind, mean, x)
    if out is None:
        result = np.PyArray_EMPTY(ndim, <np.npy_intp *>shape, number, 0)
    else:
        check_reduced(function, out, ndim, shape, number)
        result = out
        if not np.PyArray_ISALIGNED(out) or numpy.may_share_memory(out, x):
            result = np.PyArray_EMPTY(ndim, <np.npy_intp *>shape, number, 0)
    reduce_into(function, kind, mean, x, reduced, keepdims, result)
    if out is not None:
        if result is not out:
            out[...] = result
        return out
    return result if ndim else scalar(np.PyArray_DATA(result), number)


cdef int reduce_into(str function, int kind, bint mean, np.ndarray x, bint *reduced, bint keepdims,
                     np.ndarray result) except -1:
    """Fills result, whose axes are the kept ones of x, and with keepdims one of length 1 for each reduced one."""
    cdef Reducing job
    cdef Axes inner
    cdef int i, o = 0, failed, which = element_type(x)
    inner.count = job.kept.count = 0
    job.count, job.mean = 1, mean
    job.kernels = reductions_of(which)
    job.kernel = job.kernels.of[kind]
    if mean and which == INT64:         # whose sum may need more than 64 bits
        job.kernel, job.mean = job.kernels.of[REDUCE_MEAN], False
    job.item, job.out_item = np.PyArray_ITEMSIZE(x), np.PyArray_ITEMSIZE(result)
    for i in range(x.ndim):
        if reduced[i]:
            job.count *= x.shape[i]
            add_axis(&inner, x.shape[i], x.strides[i] // job.item, 0)
        else:
            add_axis(&job.kept, x.shape[i], x.strides[i] // job.item, result.strides[o] // job.out_item)
        o += keepdims or not reduced[i]
    if job.count == 0:
        return no_elements(function, kind, mean, x, result)
    if np.PyArray_SIZE(result) == 0:
        return 0
    job.x_step = inner.x[0] if inner.count else 1
    choose_run(&job)
    job.alone = np.PyArray_TYPE(x) == np.NPY_BOOL and fastnn_boolean_rows[kind] != NULL and not job.by_columns
    if job.alone:                       # stops at the first that decides
        job.kernel.rows = fastnn_boolean_rows[kind]
    if inner.count > 1 or job.by_columns and job.n_x != 1:
        return reduce_copy(function, kind, mean, x, reduced, result)
    job.x, job.out = <const char *>np.PyArray_DATA(x), <char *>np.PyArray_DATA(result)
    if np.PyArray_SIZE(x) <= REDUCE_QUICK:
        failed = run_reduction(&job)
    else:
        with nogil:
            failed = run_reduction(&job)
    if failed:
        raise MemoryError(f"{function}: no memory for the partial results.")
    return 0


cdef int reduce_copy(str function, int kind, bint mean, np.ndarray x, bint *reduced, np.ndarray result) except -1:
    """Where neither the elements of a result touch nor those of neighbouring results: a copy in which they do."""
    cdef bint last[MOST_AXES]
    cdef list kept = [i for i in range(x.ndim) if not reduced[i]], others = [i for i in range(x.ndim) if reduced[i]]
    cdef tuple shape = tuple([x.shape[i] for i in kept])
    cdef int i
    for i in range(len(kept)):
        last[i] = False
    last[len(kept)] = True
    rows = numpy.ascontiguousarray((<object>x).transpose(kept + others)).reshape(shape + (-1,))
    return reduce_into(function, kind, mean, rows, last, False, (<object>result).reshape(shape))


# ---------------------------------------------------------------- the functions of fastnn.ops

def sum_(x, axis=None, *, keepdims=False, out=None):
    """The sum of the elements of x over one axis, several, or all of them.

    x: an array, or what NumPy makes one of, of dtype float32, float64, int32, int64, uint8 or bool.
    axis: None for all axes, an integer (negative ones count from the end) or a tuple of integers.
    keepdims: reduced axes stay, with length 1, so that the result broadcasts against x.
    out: an array of the result's shape and dtype that takes the result.

    Returns an array without the reduced axes, or a NumPy scalar over all axes.  Its dtype is that of x for float32 and
    float64, uint64 for uint8, and int64 for the others; integers wrap as in NumPy.  The sum of no elements is 0.

    The elements of each result are added in one order that depends on their number alone, not on layout, threads or
    instruction set: element i of 4096 in lane i mod 32, the lanes by halving, and such chunks in index order.  So a
    float32 sum of n elements is off by at most about 128 + n / 4096 roundings of the sum of |x|, usually far less.

    Raises AxisError for an axis that is not there, ValueError for one named twice or out of the wrong shape, TypeError
    for other dtypes.

    >>> sum(np.array([[1, 2], [3, 4]]), axis=0)
    array([4, 6])
    """
    return reduce_axes("sum", REDUCE_SUM, False, x, axis, keepdims, out)


def mean(x, axis=None, *, keepdims=False, out=None):
    """The arithmetic mean of the elements of x over one axis, several, or all of them.

    Arguments and errors are those of sum.  The dtype is that of x for float32 and float64, and float64 for integers.
    It is the sum divided by the number of elements: of float32 in float32, of integers, whose sum is exact, in float64.
    The mean of no elements is NaN, with a RuntimeWarning.

    >>> mean(np.array([[1, 2], [3, 4]]), axis=1, keepdims=True)
    array([[1.5],
           [3.5]])
    """
    return reduce_axes("mean", REDUCE_SUM, True, x, axis, keepdims, out)


def max_(x, axis=None, *, keepdims=False, out=None):
    """The largest element of x over one axis, several, or all of them.

    Arguments and errors are those of sum.  The dtype is that of x.  NaN where there is a NaN among the elements; a zero
    is +0.0.  Over no elements, a ValueError.

    >>> max(np.array([[1, 5], [3, 4]]), axis=1)
    array([5, 4])
    """
    return reduce_axes("max", REDUCE_MAX, False, x, axis, keepdims, out)


def min_(x, axis=None, *, keepdims=False, out=None):
    """The smallest element of x over one axis, several, or all of them.

    Arguments and errors are those of sum.  The dtype is that of x.  NaN where there is a NaN among the elements; a zero
    is +0.0.  Over no elements, a ValueError.

    >>> min(np.array([[1, 5], [3, 4]]), axis=1)
    array([1, 3])
    """
    return reduce_axes("min", REDUCE_MIN, False, x, axis, keepdims, out)


def argmax(x, axis=None, *, keepdims=False, out=None):
    """The place of the largest element of x along an axis, or in the flattened array.

    axis: None or an integer; the other arguments and errors are those of sum.  The first of several largest, or the
    first NaN where there is one.  The dtype is int64.  Over no elements, a ValueError.

    >>> argmax(np.array([[0.1, 0.7, 0.2], [0.6, 0.3, 0.1]]), axis=-1)
    array([1, 0])
    """
    return reduce_axes("argmax", REDUCE_ARGMAX, False, x, axis, keepdims, out)


def argmin(x, axis=None, *, keepdims=False, out=None):
    """The place of the smallest element of x along an axis, or in the flattened array.

    axis: None or an integer; the other arguments and errors are those of sum.  The first of several smallest, or the
    first NaN where there is one.  The dtype is int64.  Over no elements, a ValueError.

    >>> argmin(np.array([[0.1, 0.7, 0.2], [0.6, 0.3, 0.1]]), axis=-1)
    array([0, 2])
    """
    return reduce_axes("argmin", REDUCE_ARGMIN, False, x, axis, keepdims, out)


for function, name in ((sum_, "sum"), (max_, "max"), (min_, "min")):    # min and max are Cython's own in this module
    function.__name__ = function.__qualname__ = name
del function, name
