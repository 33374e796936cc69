# The derivatives of activations on arrays of their own, for gradients: the kernels that the stages use.

cdef enum:
    BACKWARD_GRAIN = 16384      # elements of a block

cdef struct Backward:
    binary_kernel kernel
    const char *out
    const char *dout
    char *dx
    isize n, item


cdef void backward_some(void *context, isize block, int worker) noexcept nogil:
    cdef Backward *job = <Backward *>context
    cdef isize first = block * BACKWARD_GRAIN, at = first * job.item
    job.kernel(job.out + at, job.dout + at, job.dx + at, min(BACKWARD_GRAIN, job.n - first))


cdef tuple out_and_dout(str function, object out, object dout):
    """Both C-contiguous, of one shape and out's dtype, with a new array for dx."""
    cdef np.ndarray a = out if isinstance(out, numpy.ndarray) else numpy.asarray(out)
    cdef np.ndarray b = dout if isinstance(dout, numpy.ndarray) else numpy.asarray(dout)
    cdef int dtype = real_dtype(a)
    if dtype < 0 or (<object>a).shape != (<object>b).shape:
        raise ValueError(f"{function} takes out and dout, float32 or float64, of one shape; received "
                         f"{(<object>a).shape} of {a.dtype} and {(<object>b).shape}.")
    if not np.PyArray_ISCARRAY_RO(a):
        a = numpy.require(a, None, "CA").reshape((<object>a).shape)
    if real_dtype(b) != dtype or not np.PyArray_ISCARRAY_RO(b):
        b = numpy.require(b, a.dtype, "CA").reshape((<object>b).shape)
    return a, b, np.PyArray_EMPTY(a.ndim, a.shape, np.PyArray_TYPE(a), 0)


def activate_backward(str activation, out, dout):
    """dout times the activation's derivative, from its result out: any shape, both the same."""
    cdef np.ndarray a, b, dx
    a, b, dx = out_and_dout(activation, out, dout)
    cdef int dtype = real_dtype(a)
    cdef isize n = np.PyArray_SIZE(a)
    cdef Backward job = Backward(kernels_of(dtype).activate_backward[<int>ACTIVATION_NAMES[activation]],
                                 <const char *>np.PyArray_DATA(a), <const char *>np.PyArray_DATA(b),
                                 <char *>np.PyArray_DATA(dx), n, item_size(dtype))
    with nogil:
        run_blocks(backward_some, &job, (n + BACKWARD_GRAIN - 1) // BACKWARD_GRAIN, n)
    return dx


def softmax_backward(out, dout):
    """out * (dout - sum(dout * out)) along the last axis: the gradient of softmax, from its result out."""
    cdef np.ndarray a, b, dx
    a, b, dx = out_and_dout("softmax", out, dout)
    cdef int dtype = real_dtype(a)
    cdef isize cols = a.shape[a.ndim - 1] if a.ndim else 1, rows = np.PyArray_SIZE(a) // cols if cols else 0
    cdef void *from_ = np.PyArray_DATA(a)
    cdef void *over = np.PyArray_DATA(b)
    cdef void *to = np.PyArray_DATA(dx)
    with nogil:
        kernels_of(dtype).softmax_backward(from_, over, to, rows, cols)
    return dx


cdef tuple as_reals(str function, object x):
    """x as a C-contiguous array of float32 or float64, as NumPy's exp would compute it; and its element type."""
    cdef np.ndarray a = as_array(x)
    cdef int element = element_of(a)
    if element == INT32 or element == INT64:
        return np.PyArray_Cast(a, np.NPY_FLOAT64), FLOAT64
    if element < 0 or element == UINT8:
        a = a.astype(computed_in(function, numpy.exp, ("x",), (a,)))
    return numpy.require(a, None, "C").reshape((<object>a).shape), element_of(a)


def curve(x, str name, tuple numbers=(), str kind=None):
    """The activation `kind` of CURVE_NAMES with its numbers, which users know by `name`; any shape."""
    result = traced("curve", (x, name, numbers, kind), {})
    if result is not NotImplemented:
        return result
    cdef np.ndarray a, out
    a, element = as_reals(name, x)
    out = np.PyArray_EMPTY(a.ndim, a.shape, np.PyArray_TYPE(a), 0)
    run_curve(element, kind or name, numbers, a, None, out)
    return out if out.ndim else out[()]


def curve_backward(x, dout, str name, tuple numbers=(), str kind=None):
    """dout times the slope of the activation at x, both of one shape."""
    cdef np.ndarray a, b, dx
    a, b, dx = out_and_dout(name, x, dout)
    run_curve(real_dtype(a), kind or name, numbers, a, b, dx)
    return dx


cdef void run_curve(int dtype, str kind, tuple numbers, np.ndarray x, np.ndarray dout, np.ndarray out):
    cdef double[3] all_numbers = [0, 0, 0]
    cdef Elements job = elements(dtype, np.PyArray_SIZE(x), <const char *>np.PyArray_DATA(x), NULL,
                                 <const char *>np.PyArray_DATA(dout) if dout is not None else NULL,
                                 <char *>np.PyArray_DATA(out))
    for i, number in enumerate(numbers):
        all_numbers[i] = number
    job.numbers, job.activation = all_numbers, FIRST_CURVE + <int>CURVE_NAMES[kind]
    with nogil:
        run_elements(&job, CURVE_WORK)
