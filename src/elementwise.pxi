# Element-wise operations with broadcasting.  The axes of all operands are put in the order of memory and those that
# touch are joined; the last one is the inner loop of a kernel, the last two are one call of it.  An operand that does
# not lie together, or is of another type than the one computed in, is converted through the thread's scratch, some
# thousand elements at a time.  Nothing but the result is allocated.

cdef enum:
    CHUNK = 2048                # elements that are brought together at a time
    TILE_COLS = 128             # of them side by side, where an operand lies down the rows,
    LINES_DOWN = 16             # and a multiple of these rows
    NO_Y = 2                    # the operands of a unary operation are X and OUT
    HOLD_GIL = 4096             # elements up to which other Python threads wait

cdef enum:
    X, Y, OUT, OPERANDS

cdef tuple UNARY_NAMES = ("linear", "relu", "sigmoid", "tanh", "exp", "log", "sqrt", "negative", "absolute", "square",
                          "sign")
cdef tuple BINARY_NAMES = ("add", "subtract", "multiply", "divide", "maximum", "minimum")

cdef isize[UNARIES + BINARIES] PARALLEL_FROM    # elements from which the threads are worth waking


cdef void fill_thresholds():
    cdef int i
    for i in range(UNARIES + BINARIES):
        PARALLEL_FROM[i] = 1 << 16 if i >= UNARIES or i in (RELU, NEGATIVE, ABSOLUTE, SQUARE, SIGN) else 1 << 14


fill_thresholds()

cdef struct Loop:
    const fastnn_elementwise *kernels       # of the type computed in, which is also out's
    bint binary
    int operation
    int axes
    isize[MOST_AXES] shape
    isize[OPERANDS][MOST_AXES] step         # in bytes
    char *data[OPERANDS]
    int[OPERANDS] element
    bint[OPERANDS] buffered
    double[2] constant                      # the memory of Python numbers
    isize col_blocks, col_width, row_height, rows
    bint watch_zeros                        # among integers that divide
    bint found_zero


# ---- running: rows are all axes but the last, in order

ctypedef void (*transposition)(const void *x, isize x_row, void *out, isize out_row, isize rows,
                               isize cols) noexcept nogil


cdef inline transposition transpose_of(isize item) noexcept nogil:
    return fastnn_transpose_bytes if item == 1 else kernels_of(FLOAT32 if item == 4 else FLOAT64).transpose


cdef void bring(const Loop *loop, int k, const char **x, isize *row, isize *step, isize rows, isize cols,
                char *buffer) noexcept nogil:
    """Puts rows x cols elements of operand k together in the buffer, in the type computed in, if they are not so where
    *x points; *x, *row and *step then tell where they are, in elements."""
    cdef int element = loop.element[k], last = loop.axes - 1
    cdef isize item = ITEMS[element], width = ITEMS[loop.element[OUT]], i
    cdef isize across = loop.step[k][last] // item, down = loop.step[k][last - 1] // item if last else 0
    cdef char *spare = buffer
    row[0], step[0] = down, across
    if not loop.buffered[k]:
        return
    rows, cols = rows if down else 1, cols if across or k == X else 1
    row[0], step[0] = cols if down else 0, 1 if across or k == X else 0
    if cols == 1:
        rows, cols, across = 1, rows, down
    if rows > 1 and down == 1:          # it lies down the rows
        if element != loop.element[OUT]:
            spare += CHUNK * sizeof(double)
        transpose_of(item)(x[0], across, spare, cols, cols, rows)
        if spare != buffer:
            loop.kernels.convert[element](spare, 1, buffer, rows * cols)
    elif down == cols * across:
        loop.kernels.convert[element](x[0], across, buffer, rows * cols)
    else:
        for i in range(rows):
            loop.kernels.convert[element](x[0] + i * down * item, across, buffer + i * cols * width, cols)
    x[0] = buffer


cdef void run_tile(const Loop *loop, const char *x, const char *y, char *out, isize rows, isize cols) noexcept nogil:
    """rows x cols <= CHUNK elements of the last two axes, at least one operand being buffered."""
    cdef char *buffer = <char *>fastnn_scratch()
    cdef char *to = buffer + 4 * CHUNK * sizeof(double) if loop.buffered[OUT] else out
    cdef isize width = ITEMS[loop.element[OUT]], i, last = loop.axes - 1
    cdef isize out_row = loop.step[OUT][last - 1] if last else 0, out_step = loop.step[OUT][last] // width
    cdef fastnn_rows p = fastnn_rows(x, y, to, rows, cols, 0, 0, out_row // width if to == out else cols, 0, 0)
    bring(loop, X, <const char **>&p.x, &p.x_row, &p.x_step, rows, cols, buffer)
    if loop.binary:
        bring(loop, Y, <const char **>&p.y, &p.y_row, &p.y_step, rows, cols, buffer + 2 * CHUNK * sizeof(double))
        if loop.watch_zeros and kernels_of(FLOAT64).has_zero(p.y, (rows if p.y_row else 1) * (cols if p.y_step else 1)):
            (<Loop *>loop).found_zero = True
        if p.x_row == cols and p.y_row == cols and p.out_row == cols:
            p.rows, p.cols = 1, rows * cols
        loop.kernels.binary[loop.operation](&p)
    else:
        for i in range(rows):
            loop.kernels.unary[loop.operation](<const char *>p.x + i * p.x_row * width, to + i * p.out_row * width,
                                               cols)
    for i in range(rows if loop.buffered[OUT] else 0):
        loop.kernels.scatter(to + i * cols * width, out + i * out_row, out_step, cols)


cdef void run_tiles(const Loop *loop, char **at, isize rows, isize cols, isize width) noexcept nogil:
    """In tiles of `width` columns and so many rows that whole cache lines of what lies down them are used at once."""
    cdef isize height = CHUNK // width, r = 0, c, last = loop.axes - 1, before = max(last - 1, 0)
    if height > LINES_DOWN:
        height -= height % LINES_DOWN
    while r < rows:
        c = 0
        while c < cols:
            run_tile(loop, at[X] + r * loop.step[X][before] + c * loop.step[X][last],
                     at[Y] + r * loop.step[Y][before] + c * loop.step[Y][last],
                     at[OUT] + r * loop.step[OUT][before] + c * loop.step[OUT][last],
                     min(height, rows - r), min(width, cols - c))
            c += width
        r += height


cdef void run_together(const Loop *loop, char **at, isize rows, isize cols) noexcept nogil:
    """rows of the last axis but one, cols of the last one."""
    cdef isize r, last = loop.axes - 1, before = max(last - 1, 0), width = CHUNK
    cdef fastnn_rows p
    cdef int k
    if loop.buffered[X] or loop.buffered[OUT] or loop.binary and loop.buffered[Y]:
        for k in range(2 if loop.binary else 1):
            if rows > 1 and loop.buffered[k] and loop.step[k][before] == ITEMS[loop.element[k]]:
                width = TILE_COLS
        run_tiles(loop, at, rows, cols, min(width, cols))
    elif loop.binary:
        p = fastnn_rows(at[X], at[Y], at[OUT], rows, cols, loop.step[X][before] // ITEMS[loop.element[X]],
                        loop.step[Y][before] // ITEMS[loop.element[Y]],
                        loop.step[OUT][before] // ITEMS[loop.element[OUT]],
                        loop.step[X][last] != 0, loop.step[Y][last] != 0)
        loop.kernels.binary[loop.operation](&p)
    else:
        for r in range(rows):
            loop.kernels.unary[loop.operation](at[X] + r * loop.step[X][before], at[OUT] + r * loop.step[OUT][before],
                                               cols)


cdef void run_rows(const Loop *loop, isize row, isize rows, isize col, isize cols) noexcept nogil:
    cdef isize[MOST_AXES] index
    cdef char *at[OPERANDS]
    cdef isize run
    cdef int k, axis, last = loop.axes - 1
    for k in range(OPERANDS):
        at[k] = loop.data[k] + col * loop.step[k][last]
    for axis in range(last - 1, -1, -1):
        index[axis] = row % loop.shape[axis]
        row //= loop.shape[axis]
        for k in range(OPERANDS):
            at[k] += index[axis] * loop.step[k][axis]
    if last == 0:
        run_together(loop, at, 1, cols)
        return
    while rows > 0:
        run = min(rows, loop.shape[last - 1] - index[last - 1])
        run_together(loop, at, run, cols)
        rows -= run
        index[last - 1] += run
        for k in range(OPERANDS):
            at[k] += run * loop.step[k][last - 1]
        axis = last - 1
        while axis > 0 and index[axis] == loop.shape[axis]:     # carry
            for k in range(OPERANDS):
                at[k] += loop.step[k][axis - 1] - index[axis] * loop.step[k][axis]
            index[axis] = 0
            axis -= 1
            index[axis] += 1


cdef void run_loop_block(void *context, isize block, int worker) noexcept nogil:
    cdef const Loop *loop = <const Loop *>context
    cdef isize row = block // loop.col_blocks * loop.row_height, col = block % loop.col_blocks * loop.col_width
    run_rows(loop, row, min(loop.row_height, loop.rows - row), col,
             min(loop.col_width, loop.shape[loop.axes - 1] - col))


cdef void run_loop(Loop *loop, isize n) noexcept nogil:
    """n elements, in blocks on all threads if there are enough."""
    cdef isize cols = loop.shape[loop.axes - 1], least = PARALLEL_FROM[loop.operation + loop.binary * UNARIES]
    cdef isize grain
    if ITEMS[loop.element[OUT]] == 1:
        least *= 4
    grain = max(least // 4, n // (BLOCKS_PER_THREAD * fastnn_threads()))
    loop.rows = n // cols
    if n < least or fastnn_threads() == 1:
        run_rows(loop, 0, loop.rows, 0, cols)
        return
    loop.col_width = min(cols, grain)
    loop.col_blocks = (cols + loop.col_width - 1) // loop.col_width
    loop.row_height = max(1, grain // loop.col_width)
    fastnn_parallel(run_loop_block, loop, (loop.rows + loop.row_height - 1) // loop.row_height * loop.col_blocks)


# ---- planning

cdef bint broadcast(Loop *loop, int operand, np.ndarray x) noexcept:
    """Joins the operand's shape to the loop's; False if they do not fit."""
    cdef int i, axis, skipped = loop.axes - np.PyArray_NDIM(x)
    cdef isize length
    loop.data[operand] = <char *>np.PyArray_DATA(x)
    for axis in range(skipped):
        loop.step[operand][axis] = 0
    for i in range(np.PyArray_NDIM(x)):
        axis, length = skipped + i, np.PyArray_DIMS(x)[i]
        loop.step[operand][axis] = 0 if length == 1 else np.PyArray_STRIDES(x)[i]
        if length != 1:
            if loop.shape[axis] == 1:
                loop.shape[axis] = length
            elif loop.shape[axis] != length:
                return False
    return True


cdef inline isize magnitude(isize step) noexcept nogil:
    return -step if step < 0 else step


cdef int memory_order(const Loop *loop, int outer, int inner, bint with_out) noexcept nogil:
    """1 if memory has the outer axis outside, -1 if inside, 0 if it does not say; 1 where they disagree."""
    cdef isize a, b
    cdef int k, order = 0
    for k in range(OPERANDS):
        if k == OUT and not with_out or k == Y and not loop.binary:
            continue
        a, b = magnitude(loop.step[k][outer]), magnitude(loop.step[k][inner])
        if a and b:
            if a >= b:
                return 1
            order = -1
    return order


cdef void exchange(isize *values, int i) noexcept nogil:
    values[i], values[i + 1] = values[i + 1], values[i]


cdef void sort_axes(Loop *loop, int *axes, bint with_out) noexcept nogil:
    """Insertion sort by memory, the nearest last; axes[i] tells which one it was."""
    cdef int i, j, k, place, order
    for i in range(loop.axes - 2, -1, -1):
        place = i
        for j in range(i + 1, loop.axes):
            order = memory_order(loop, i, j, with_out)
            if order > 0:
                break
            if order < 0:
                place = j
        for j in range(i, place):
            axes[j], axes[j + 1] = axes[j + 1], axes[j]
            exchange(loop.shape, j)
            for k in range(OPERANDS):
                exchange(loop.step[k], j)


cdef void join_axes(Loop *loop) noexcept nogil:
    """Drops axes of length 1 and makes one axis of neighbours that every operand steps through as one."""
    cdef int axis, k, kept = 0
    cdef bint joined
    for axis in range(loop.axes):
        if loop.shape[axis] == 1:
            continue
        joined = kept > 0
        for k in range(OPERANDS):
            joined = joined and loop.step[k][kept - 1] == loop.step[k][axis] * loop.shape[axis]
        kept -= joined
        loop.shape[kept] = loop.shape[axis] * (loop.shape[kept] if joined else 1)
        for k in range(OPERANDS):
            loop.step[k][kept] = loop.step[k][axis]
        kept += 1
    if kept == 0:
        loop.shape[0] = kept = 1
        for k in range(OPERANDS):
            loop.step[k][0] = ITEMS[loop.element[k]]
    loop.axes = kept


cdef void choose_buffers(Loop *loop, int computing) noexcept nogil:
    cdef int k, last = loop.axes - 1
    cdef isize step
    for k in range(OPERANDS):
        step = loop.step[k][last]
        loop.buffered[k] = loop.element[k] != computing or step != ITEMS[computing] and (step != 0 or k == OUT)
    if not loop.binary:
        loop.buffered[X] = loop.buffered[X] or loop.step[X][last] == 0
    elif loop.step[X][last] == 0 and loop.step[Y][last] == 0:
        loop.buffered[X] = True


cdef np.ndarray new_result(int nd, isize *shape, int *axes, int element):
    """A new array whose strides have the order of the axes; axes is NULL for C order."""
    cdef isize[MOST_AXES] steps
    cdef isize step = ITEMS[element]
    cdef int i
    if axes == NULL:
        return np.PyArray_EMPTY(nd, <np.npy_intp *>shape, TYPE_NUMBERS[element], 0)
    for i in range(nd - 1, -1, -1):
        steps[axes[i]] = step
        step *= max(1, shape[axes[i]])
    return np.PyArray_New(np.ndarray, nd, <np.npy_intp *>shape, TYPE_NUMBERS[element], <np.npy_intp *>steps, NULL, 0,
                          0, None)


# ---- out=

cdef void extent(np.ndarray x, size_t *low, size_t *high) noexcept:
    """The first byte of x and the one after its last."""
    cdef size_t first = <size_t>np.PyArray_DATA(x), end = first + <size_t>np.PyArray_ITEMSIZE(x)
    cdef isize far
    cdef int i
    for i in range(np.PyArray_NDIM(x)):
        far = (np.PyArray_DIMS(x)[i] - 1) * np.PyArray_STRIDES(x)[i]
        if far < 0:
            first += <size_t>far
        else:
            end += <size_t>far
    low[0], high[0] = first, end


cdef bint same_memory(np.ndarray x, np.ndarray out) noexcept:
    """Whether each element of x lies exactly where out's element of the same index does."""
    cdef int i
    if (np.PyArray_DATA(x) != np.PyArray_DATA(out) or np.PyArray_NDIM(x) != np.PyArray_NDIM(out)
            or np.PyArray_TYPE(x) != np.PyArray_TYPE(out)):
        return False
    for i in range(np.PyArray_NDIM(x)):
        if (np.PyArray_DIMS(x)[i] != np.PyArray_DIMS(out)[i] or np.PyArray_STRIDES(x)[i] != np.PyArray_STRIDES(out)[i]):
            return False
    return True


cdef np.ndarray apart(np.ndarray x, object out):
    """x, or a copy of it where writing to out would change elements of x that are still to be read."""
    cdef size_t low, high, out_low, out_high
    if x is None or np.PyArray_SIZE(x) == 0 or np.PyArray_SIZE(out) == 0:
        return x
    extent(x, &low, &high)
    extent(out, &out_low, &out_high)
    return x if high <= out_low or out_high <= low or same_memory(x, out) else x.copy()


cdef bint check_out(str function, object out, int nd, isize *shape, int element) except -1:
    """Whether the result can be written to out as it lies; an error where it cannot be written there at all."""
    cdef int i
    cdef bint fits
    if not isinstance(out, numpy.ndarray):
        raise TypeError(f"{function}: out must be a numpy array, received {type(out).__name__}.")
    fits = np.PyArray_NDIM(out) == nd
    for i in range(nd):
        fits = fits and np.PyArray_DIMS(out)[i] == shape[i]
    if not fits:
        raise ValueError(f"{function}: out must have the result's shape {tuple([shape[i] for i in range(nd)])}, "
                         f"received {out.shape}.")
    if out.dtype != ELEMENT_NAMES[element]:
        raise TypeError(f"{function}: out must have the result's dtype {ELEMENT_NAMES[element]}, received {out.dtype}. "
                        "Leave it out, and convert the result.")
    if not np.PyArray_ISWRITEABLE(out):
        raise ValueError(f"{function}: out is read-only. Leave it out, or give a copy.")
    return element_of(out) >= 0


# ---- one operation

cdef bint join_shapes(Loop *loop, np.ndarray x, np.ndarray y) noexcept:
    """The common shape and the steps of x and y, None being the loop's constant; False if they do not fit."""
    cdef int axis
    loop.axes = 0 if x is None else np.PyArray_NDIM(x)
    if y is not None:
        loop.axes = max(loop.axes, np.PyArray_NDIM(y))
    for axis in range(loop.axes):
        loop.shape[axis] = 1
        loop.step[X][axis] = loop.step[Y][axis] = 0
    return (x is None or broadcast(loop, X, x)) and (y is None or broadcast(loop, Y, y))


cdef np.ndarray run(Loop *loop, str function, np.ndarray x, np.ndarray y, int computing, object out):
    """x and y are arrays of the element types, or None for the loop's constant; out's type is the one computed in."""
    cdef isize[MOST_AXES] shape
    cdef int[MOST_AXES] axes
    cdef int i, nd
    cdef isize n = 1
    cdef bint ordered = (out is None and (x is None or np.PyArray_IS_C_CONTIGUOUS(x))
                         and (y is None or np.PyArray_IS_C_CONTIGUOUS(y)))
    cdef np.ndarray result
    if out is not None and isinstance(out, numpy.ndarray):
        x, y = apart(x, out), apart(y, out)
    if not join_shapes(loop, x, y):
        raise_shapes(function, ((<object>x).shape, (<object>y).shape))
    nd = loop.axes
    for i in range(nd):
        shape[i], axes[i] = loop.shape[i], i
        n *= shape[i]
    if out is not None:
        if not check_out(function, out, nd, shape, computing):      # out is not aligned
            out[...] = run(loop, function, x, y, computing, None)
            return out
        result = out
        for i in range(nd):
            loop.step[OUT][i] = np.PyArray_STRIDES(result)[i]
        sort_axes(loop, axes, True)
    else:
        if not ordered:
            sort_axes(loop, axes, False)
        result = new_result(nd, shape, NULL if ordered else axes, computing)
    for i in range(nd):
        loop.step[OUT][i] = np.PyArray_STRIDES(result)[axes[i]]
    if n == 0:
        return result
    loop.data[OUT], loop.element[OUT] = <char *>np.PyArray_DATA(result), computing
    loop.kernels, loop.found_zero = elementwise_of(computing), False
    join_axes(loop)
    choose_buffers(loop, computing)
    if n <= HOLD_GIL:
        run_loop(loop, n)
    else:
        with nogil:
            run_loop(loop, n)
    if loop.found_zero:
        warn_of_zeros(result)
    return result


cdef void warn_of_zeros(np.ndarray quotient):
    """NumPy's warnings, as numpy.errstate wants them, for integers divided by zero."""
    if numpy.isinf(quotient).any():
        numpy.divide(1, 0)
    if numpy.isnan(quotient).any():
        numpy.divide(0, 0)


cdef str computed_in(str function, object ufunc, tuple names, tuple values):
    """The name of the type that NumPy's ufunc computes values in; arrays, or Python's int and float, which are weak."""
    dtypes = tuple([getattr(value, "dtype", type(value)) for value in values])
    result = None
    try:
        result = ufunc.resolve_dtypes((*dtypes, None))[2 if ufunc.nin == 2 else 1]
    except TypeError:
        pass
    if result is None or result.name not in ELEMENT_NAMES or any(
            [dtype.kind not in "biuf" for dtype in dtypes if isinstance(dtype, numpy.dtype)]):
        given = [(name, dtype) for name, dtype in zip(names, dtypes) if isinstance(dtype, numpy.dtype)]
        raise refusal(function, tuple([name for name, _ in given]), tuple([dtype for _, dtype in given]), result)
    return result.name


cdef object settled(str function, object value, str computing, bint weak_other):
    """The value as an array of an element type, or as a number that `computing` can hold."""
    if not isinstance(value, numpy.ndarray):
        if type(value) is int and computing in ("float32", "float64"):
            return float(value)
        if type(value) is int and not numpy.iinfo(computing).min <= value <= numpy.iinfo(computing).max:
            raise OverflowError(f"{function}: {value} is out of bounds for {computing}. Convert the array to a wider "
                                "dtype first.")
        return value
    if element_of(value) >= 0:
        return value
    if value.dtype == "bool" and not weak_other:
        return value.view("uint8")      # the same numbers
    return value.astype(computing)


cdef int weak(object value, int other, double *place) except -2:
    """Puts a Python number where an array of type `other` meets it, and returns its type; -1 if it cannot be."""
    cdef int element = other, overflow = 0
    cdef long long whole = 0
    cdef double real
    if PyFloat_CheckExact(value):
        real = PyFloat_AS_DOUBLE(value)
        element = min(other, <int>FLOAT64)
    elif PyLong_CheckExact(value):
        whole = PyLong_AsLongLongAndOverflow(value, &overflow)
        real = <double>whole
    else:
        return -1
    if overflow:
        return -1
    if element == FLOAT32:
        (<float *>place)[0] = <float>real
    elif element == FLOAT64:
        place[0] = real
    elif element == INT64:
        (<int64_t *>place)[0] = whole
    elif element == INT32:
        (<int32_t *>place)[0] = <int32_t>whole
        return -1 if <int32_t>whole != whole else element
    else:
        (<unsigned char *>place)[0] = <unsigned char>whole
        return -1 if <unsigned char>whole != whole else element
    return element


cdef object binary(int operation, object x, object y, object out):
    cdef Loop loop
    cdef int computing
    cdef bint x_array = np.PyArray_CheckExact(x), y_array = np.PyArray_CheckExact(y)
    loop.element[X] = element_of(x) if x_array else -1
    loop.element[Y] = element_of(y) if y_array else -1
    if x_array and not y_array and loop.element[X] >= 0:
        loop.element[Y], loop.data[Y] = weak(y, loop.element[X], &loop.constant[Y]), <char *>&loop.constant[Y]
    elif y_array and not x_array and loop.element[Y] >= 0:
        loop.element[X], loop.data[X] = weak(x, loop.element[Y], &loop.constant[X]), <char *>&loop.constant[X]
    if loop.element[X] < 0 or loop.element[Y] < 0:
        return binary_of_any(operation, x, y, out)
    computing = promoted[loop.element[X]][loop.element[Y]]
    loop.watch_zeros = operation == DIVIDE and computing > FLOAT64
    if loop.watch_zeros:
        computing = FLOAT64
    loop.binary, loop.operation = True, operation
    return run(&loop, BINARY_NAMES[operation], x if x_array else None, y if y_array else None, computing, out)


cdef object binary_of_any(int operation, object x, object y, object out):
    cdef str function = BINARY_NAMES[operation], computing
    result = traced(function, (x, y), {} if out is None else {"out": out})
    if result is not NotImplemented:
        return result
    x = x if type(x) in (int, float) else as_array(x)
    y = y if type(y) in (int, float) else as_array(y)
    if not isinstance(x, numpy.ndarray) and not isinstance(y, numpy.ndarray):
        x, y = as_array(x), as_array(y)
    computing = computed_in(function, getattr(numpy, function), ("x", "y"), (x, y))
    weak_x, weak_y = not isinstance(x, numpy.ndarray), not isinstance(y, numpy.ndarray)
    return binary(operation, settled(function, x, computing, weak_y), settled(function, y, computing, weak_x), out)


cdef object unary(int operation, object x, object out):
    cdef Loop loop
    cdef int computing = -1
    if np.PyArray_CheckExact(x):
        computing = element_of(x)
        loop.element[X] = computing
        if computing > FLOAT64 and elementwise_of(computing).unary[operation] == NULL:
            computing = FLOAT64 if computing != UINT8 else -1       # NumPy: float16 from uint8
    if computing < 0:
        return unary_of_any(operation, x, out)
    loop.binary, loop.operation, loop.watch_zeros = False, operation, False
    loop.element[Y], loop.data[Y] = computing, NULL
    return run(&loop, UNARY_NAMES[operation], x, None, computing, out)


cdef object unary_of_any(int operation, object x, object out):
    cdef str function = UNARY_NAMES[operation], computing
    result = traced(function, (x,), {} if out is None else {"out": out})
    if result is not NotImplemented:
        return result
    x = as_array(x)
    if operation == RELU:
        computing = computed_in(function, numpy.maximum, ("x", "0"), (x, 0))
    else:
        computing = computed_in(function, numpy.exp if operation == SIGMOID else getattr(numpy, function), ("x",), (x,))
    return unary(operation, settled(function, x, computing, True), out)


cdef object raise_shapes(str function, tuple shapes):
    """Aligns the shapes at their last axes and names the axis that does not fit."""
    cdef int nd = max([len(shape) for shape in shapes]), axis
    padded = [(1,) * (nd - len(shape)) + shape for shape in shapes]
    axis = max([axis for axis in range(nd) if len({shape[axis] for shape in padded if shape[axis] != 1}) > 1])
    texts = [", ".join(map(str, shape)) for shape in shapes]
    lines = "".join([f"\n    {text:>{max(map(len, texts))}}" for text in texts])
    raise ValueError(f"{function}: the shapes {' and '.join(map(str, shapes))} do not fit. Aligned at the last axis:"
                     f"{lines}\n"
                     f"Axis {axis - nd} has the lengths {' and '.join([str(shape[axis]) for shape in padded])}; "
                     "lengths must be equal, or 1.")


def broadcast_shapes(*shapes):
    """The shape of operands of these shapes together: aligned at the last axis, lengths are equal or 1.

    Shapes are tuples or ints.  Shapes that do not fit raise ValueError, which names the axis.

    >>> broadcast_shapes((64, 3, 32, 10), (32, 10))
    (64, 3, 32, 10)
    """
    tuples = tuple([tuple(map(int, shape)) if isinstance(shape, (tuple, list)) else (int(shape),) for shape in shapes])
    try:
        return numpy.broadcast_shapes(*tuples)
    except ValueError:
        raise_shapes("broadcast_shapes", tuples)


# ---- fastnn.ops

def relu(x, out=None):
    """max(x, 0) of each element; NaN stays NaN.  Any shape, every dtype.

    >>> relu(np.array([-1.0, 0.0, 2.0]))
    array([0., 0., 2.])
    """
    return unary(RELU, x, out)


def exp(x, out=None):
    """e to the power of each element, within 2 ulp; integers give float64.  Too large numbers give inf, silently.

    >>> exp(np.array([0.0, 1.0]))
    array([1.        , 2.71828183])
    """
    return unary(EXP, x, out)


def log(x, out=None):
    """The natural logarithm of each element, within 2 ulp; integers give float64.  log(0) is -inf and that of negative
    numbers NaN, silently.

    >>> log(np.array([1.0, 10.0]))
    array([0.        , 2.30258509])
    """
    return unary(LOG, x, out)


def tanh(x, out=None):
    """The hyperbolic tangent of each element, within 2 ulp; integers give float64.

    >>> tanh(np.array([0.0, 1.0]))
    array([0.        , 0.76159416])
    """
    return unary(TANH, x, out)


def sigmoid(x, out=None):
    """1 / (1 + exp(-x)) of each element, within 2 ulp; integers give float64.

    >>> sigmoid(np.array([0.0, 2.0]))
    array([0.5       , 0.88079708])
    """
    return unary(SIGMOID, x, out)


def sqrt(x, out=None):
    """The square root of each element, correctly rounded; integers give float64.  Negative numbers give NaN, silently.

    >>> sqrt(np.array([4.0, 9.0]))
    array([2., 3.])
    """
    return unary(SQRT, x, out)


def negative(x, out=None):
    """-x of each element; uint8 wraps.

    >>> negative(np.array([1, -2]))
    array([-1,  2])
    """
    return unary(NEGATIVE, x, out)


def absolute(x, out=None):
    """|x| of each element.

    >>> absolute(np.array([-1.5, 2.0]))
    array([1.5, 2. ])
    """
    return unary(ABSOLUTE, x, out)


def square(x, out=None):
    """x * x of each element; integers wrap.

    >>> square(np.array([3, -4]))
    array([ 9, 16])
    """
    return unary(SQUARE, x, out)


def sign(x, out=None):
    """-1, 0 or 1 by the sign of each element; NaN stays NaN.

    >>> sign(np.array([-2.5, 0.0, 3.0]))
    array([-1.,  0.,  1.])
    """
    return unary(SIGN, x, out)


def add(x, y, out=None):
    """x + y, broadcast; integers wrap.

    >>> add(np.array([[1, 2], [3, 4]]), np.array([10, 20]))
    array([[11, 22],
           [13, 24]])
    """
    return binary(ADD, x, y, out)


def subtract(x, y, out=None):
    """x - y, broadcast; integers wrap.

    >>> subtract(np.array([5, 7]), 2)
    array([3, 5])
    """
    return binary(SUBTRACT, x, y, out)


def multiply(x, y, out=None):
    """x * y, broadcast; integers wrap.

    >>> multiply(np.array([1.0, 2.0]), np.array([[1.0], [10.0]]))
    array([[ 1.,  2.],
           [10., 20.]])
    """
    return binary(MULTIPLY, x, y, out)


def divide(x, y, out=None):
    """x / y, broadcast; of integers in float64.  Integers divided by zero give NumPy's RuntimeWarning; floating-point
    numbers give inf or NaN silently.

    >>> divide(np.array([1, 2]), 4)
    array([0.25, 0.5 ])
    """
    return binary(DIVIDE, x, y, out)


def maximum(x, y, out=None):
    """The larger of x and y, broadcast; NaN where either is NaN.

    >>> maximum(np.array([1.0, 5.0]), 3.0)
    array([3., 5.])
    """
    return binary(MAXIMUM, x, y, out)


def minimum(x, y, out=None):
    """The smaller of x and y, broadcast; NaN where either is NaN.

    >>> minimum(np.array([1.0, 5.0]), 3.0)
    array([1., 3.])
    """
    return binary(MINIMUM, x, y, out)
