# Kernels on arrays, for fastnn.ops and the tests: checks, one allocation, one call.

cdef inline bint is_traced(object value):
    return not isinstance(value, numpy.ndarray) and hasattr(type(value), "__fastnn_operation__")


cdef object traced(str name, tuple args, object out):
    """What a traced value among the args makes of the operation (fastnn.gradient)."""
    for x in args:
        if is_traced(x):
            return x.__fastnn_operation__(name, args, {} if out is None else {"out": out})


cdef object unary(str function, unary_kernel kernel32, unary_kernel kernel64, object x, object out):
    if is_traced(x):
        return traced(function, (x,), out)
    cdef np.ndarray a = as_real(function, "x", x), result
    cdef int dtype = real_dtype(a)
    result = output(function, out, (<object>a).shape, dtype, (a,))
    cdef isize n = np.PyArray_SIZE(a)
    cdef unary_kernel kernel = kernel32 if dtype == FLOAT32 else kernel64
    cdef const void *from_ = np.PyArray_DATA(a)
    cdef void *to = np.PyArray_DATA(result)
    with nogil:
        kernel(from_, to, n)
    return result


def relu(x, out=None):
    return unary("relu", kernels_of(FLOAT32).relu, kernels_of(FLOAT64).relu, x, out)


def exp(x, out=None):
    return unary("exp", kernels_of(FLOAT32).exp, kernels_of(FLOAT64).exp, x, out)


def log(x, out=None):
    return unary("log", kernels_of(FLOAT32).log, kernels_of(FLOAT64).log, x, out)


def tanh(x, out=None):
    return unary("tanh", kernels_of(FLOAT32).tanh, kernels_of(FLOAT64).tanh, x, out)


def sigmoid(x, out=None):
    return unary("sigmoid", kernels_of(FLOAT32).sigmoid, kernels_of(FLOAT64).sigmoid, x, out)


def softmax(x, out=None):
    if is_traced(x):
        return traced("softmax", (x,), out)
    cdef np.ndarray a = as_real("softmax", "x", x), result
    cdef int dtype = real_dtype(a)
    if a.ndim == 0:
        raise ValueError("softmax takes an array of at least one axis, received a scalar.")
    result = output("softmax", out, (<object>a).shape, dtype, (a,))
    cdef isize cols = a.shape[a.ndim - 1], rows = np.PyArray_SIZE(a) // cols if cols else 0
    cdef const fastnn_kernels *kernels = kernels_of(dtype)
    cdef void *from_ = np.PyArray_DATA(a)
    cdef void *to = np.PyArray_DATA(result)
    with nogil:
        kernels.softmax(from_, to, rows, cols)
    return result


def add(x, y, out=None):
    if is_traced(x) or is_traced(y):
        return traced("add", (x, y), out)
    cdef np.ndarray a, b, result
    cdef int dtype
    a, b, dtype = pair("add", x, y)
    cdef tuple x_shape = (<object>a).shape, y_shape = (<object>b).shape
    cdef isize rows = 1, cols = np.PyArray_SIZE(b)
    if x_shape != y_shape:
        if b.ndim != 1 or a.ndim < 1 or x_shape[a.ndim - 1] != y_shape[0]:
            raise ValueError(f"add takes two arrays of one shape, or (..., n) and (n,); received {x_shape} "
                             f"and {y_shape}.")
        rows = np.PyArray_SIZE(a) // cols if cols else 0
    result = output("add", out, x_shape, dtype, (a, b))
    cdef const fastnn_kernels *kernels = kernels_of(dtype)
    cdef void *left = np.PyArray_DATA(a)
    cdef void *right = np.PyArray_DATA(b)
    cdef void *to = np.PyArray_DATA(result)
    with nogil:
        kernels.add_row(left, right, to, rows, cols)
    return result


def dot(x, y, out=None):
    if is_traced(x) or is_traced(y):
        return traced("dot", (x, y), out)
    cdef np.ndarray a, b, result
    cdef int dtype
    a, b, dtype = pair("dot", x, y)
    if a.ndim == 2 and b.ndim == 2:
        return matmul(a, b, out)
    cdef isize rows = a.shape[0] if a.ndim == 2 else 1, n = np.PyArray_SIZE(b)
    if b.ndim != 1 or a.ndim not in (1, 2) or a.shape[a.ndim - 1] != n:
        raise ValueError(f"dot takes (n) and (n), (m, n) and (n), or (m, k) and (k, n); received {(<object>a).shape} "
                         f"and {(<object>b).shape}.")
    result = output("dot", out, (rows,) if a.ndim == 2 else (), dtype, (a, b), False)
    cdef const fastnn_kernels *kernels = kernels_of(dtype)
    cdef void *left = np.PyArray_DATA(a)
    cdef void *right = np.PyArray_DATA(b)
    cdef void *to = np.PyArray_DATA(result)
    with nogil:
        kernels.matvec(left, right, to, rows, n)
    return result if a.ndim == 2 or out is not None else result[()]


def matmul(x, y, out=None, bint transpose_x=False, bint transpose_y=False):
    """x (m, k) times y (k, n); transpose_x takes x as (k, m), transpose_y takes y as (n, k)."""
    if is_traced(x) or is_traced(y):
        return traced("matmul", (x, y), out)
    cdef np.ndarray a, b, result
    cdef int dtype
    a, b, dtype = pair("matmul", x, y)
    cdef tuple x_shape = (<object>a).shape, y_shape = (<object>b).shape
    if a.ndim != 2 or b.ndim != 2 or a.shape[0 if transpose_x else 1] != b.shape[1 if transpose_y else 0]:
        raise ValueError(f"matmul takes (m, k) and (k, n), received {x_shape} and {y_shape}.")
    cdef Product job
    memset(&job, 0, sizeof(job))
    job.kernels, job.item, job.transposed_b = kernels_of(dtype), item_size(dtype), transpose_y
    job.whole.rows = a.shape[1 if transpose_x else 0]
    job.whole.k = a.shape[0 if transpose_x else 1]
    job.whole.cols = b.shape[0 if transpose_y else 1]
    result = output("matmul", out, (job.whole.rows, job.whole.cols), dtype, (a, b), False)
    job.whole.a, job.whole.b, job.whole.out = np.PyArray_DATA(a), np.PyArray_DATA(b), np.PyArray_DATA(result)
    job.whole.a_row = 1 if transpose_x else a.shape[1]
    job.whole.a_step = a.shape[1] if transpose_x else 1
    job.whole.b_row, job.whole.out_row = b.shape[1], job.whole.cols
    with nogil:
        run_product(&job, job.whole.rows * job.whole.cols * job.whole.k)
    return result


def sum_all(x):
    """The sum of all elements (N6), as a float."""
    cdef np.ndarray a = as_real("sum", "x", x), result = empty((), real_dtype(a))
    kernels_of(real_dtype(a)).sum(np.PyArray_DATA(a), np.PyArray_DATA(result), np.PyArray_SIZE(a))
    return float(result)


def loss(str name, y_pred, y_true, dout=None, double scale=1):
    """The loss of each row of y_pred (n, O) against y_true (n, O); dout takes the gradient of scale * their sum."""
    cdef np.ndarray p, t, result, gradient
    cdef int dtype
    p, t, dtype = pair(name, y_pred, y_true)
    cdef tuple shape = (<object>p).shape
    if p.ndim != 2 or shape != (<object>t).shape:
        raise ValueError(f"{name} takes y_pred and y_true of one shape (n, outputs), received {shape} "
                         f"and {(<object>t).shape}.")
    p, result = p.copy(), empty((shape[0],), dtype)     # losses on logits turn y_pred into probabilities
    gradient = None if dout is None else output(name, dout, shape, dtype, (t,), False)
    kernels_of(dtype).loss[<int>LOSS_NAMES[name]](
        np.PyArray_DATA(p), np.PyArray_DATA(t), np.PyArray_DATA(result),
        NULL if gradient is None else np.PyArray_DATA(gradient), NULL, scale, p.shape[0], p.shape[1])
    return result
