# Kernels on arrays, for fastnn.ops and the tests: checks, one allocation, one call.

cdef np.ndarray unary(str function, unary_kernel kernel32, unary_kernel kernel64, object x, object out):
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
