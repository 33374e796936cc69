# Losses: how one is named, and one on arrays: checks, one allocation, one call.

cdef object LOSS_NAMES = {
    "mse": MSE, "mae": MAE, "mape": MAPE, "msle": MSLE, "huber": HUBER, "log_cosh": LOG_COSH,
    "kl_divergence": KL_DIVERGENCE, "poisson": POISSON, "hinge": HINGE, "squared_hinge": SQUARED_HINGE,
    "categorical_hinge": CATEGORICAL_HINGE, "cosine_similarity": COSINE_SIMILARITY,
    "binary_crossentropy": BINARY_CROSSENTROPY, "categorical_crossentropy": CATEGORICAL_CROSSENTROPY,
    "sigmoid_crossentropy": SIGMOID_CROSSENTROPY, "softmax_crossentropy": SOFTMAX_CROSSENTROPY,
    "binary_accuracy": BINARY_ACCURACY, "categorical_accuracy": CATEGORICAL_ACCURACY}
cdef object LOSS_NUMBERS = {HUBER: 1.0, COSINE_SIMILARITY: -1.0, BINARY_ACCURACY: 0.5}

cdef enum:
    CUSTOM = LOSSES             # a loss that is a Python function

# A kernel with its number, and what becomes of the truths before: t -> t * stretch + shift.
cdef struct Measure:
    int kind
    double number, stretch, shift


cdef Measure measure_of(object given) except *:
    """From the name of a kernel, or the name and its number."""
    name, number = given if isinstance(given, tuple) else (given, None)
    cdef int kind = LOSS_NAMES[name]
    return Measure(kind, LOSS_NUMBERS.get(kind, 0.0) if number is None else number, 1, 0)


cdef Measure smoothed(Measure measure, double smoothing, isize cols) noexcept nogil:
    """With truths moved towards their mean: by classes, or towards 1/2 where each column is a question of its own."""
    cdef bint classes = measure.kind == CATEGORICAL_CROSSENTROPY or measure.kind == SOFTMAX_CROSSENTROPY
    measure.stretch, measure.shift = 1 - smoothing, smoothing / cols if classes else 0.5 * smoothing
    return measure


cdef Measure fitted(Measure measure, int dtype, const char *y_true, isize n) noexcept nogil:
    """With truths 0 and 1 turned to -1 and 1 for a hinge, if all n of them are 0 or 1, as in Keras."""
    cdef isize i
    cdef double t
    if measure.kind == HINGE or measure.kind == SQUARED_HINGE:
        for i in range(n):
            t = (<const float *>y_true)[i] if dtype == FLOAT32 else (<const double *>y_true)[i]
            if t != 0 and t != 1:
                return measure
        measure.stretch, measure.shift = 2, -1
    return measure


cdef void move_truths(const Measure *measure, int dtype, const char *y_true, char *out, isize n) noexcept nogil:
    """out (n) = y_true * stretch + shift, rounded twice"""
    cdef float stretch = measure.stretch, shift = measure.shift
    cdef const void *factor = &stretch
    cdef const void *more = &shift
    if dtype == FLOAT64:
        factor, more = &measure.stretch, &measure.shift
    cdef fastnn_rows job = fastnn_rows(y_true, factor, out, 1, n, n, 0, n, 1, 0)
    elementwise_of(dtype).binary[MULTIPLY](&job)
    job.x, job.y = out, more
    elementwise_of(dtype).binary[ADD](&job)


def loss(name, y_pred, y_true, dout=None, double scale=1, double smoothing=0):
    """The loss of each row of y_pred (n, O) against y_true (n, O); dout takes the gradient of scale * their sum.

    name: of a kernel, or a pair of it and its number."""
    cdef np.ndarray p, t, result, gradient
    cdef int dtype
    cdef Measure measure = measure_of(name)
    cdef fastnn_loss job
    cdef str called = name if isinstance(name, str) else name[0]
    p, t, dtype = pair(called, y_pred, y_true)
    cdef tuple shape = (<object>p).shape
    if p.ndim != 2 or shape != (<object>t).shape:
        raise ValueError(f"{called} takes y_pred and y_true of one shape (n, outputs), received {shape} "
                         f"and {(<object>t).shape}.")
    p, result = p.copy(), empty((shape[0],), dtype)     # losses on logits turn y_pred into probabilities
    gradient = None if dout is None else output(called, dout, shape, dtype, (t,), False)
    measure = fitted(measure, dtype, <const char *>np.PyArray_DATA(t), np.PyArray_SIZE(t))
    if smoothing:
        measure = smoothed(measure, smoothing, p.shape[1])
    if measure.stretch != 1:
        y_true, t = t, empty(shape, dtype)
        move_truths(&measure, dtype, <const char *>np.PyArray_DATA(y_true), <char *>np.PyArray_DATA(t),
                    np.PyArray_SIZE(t))
    job.y_pred, job.y_true, job.loss = np.PyArray_DATA(p), np.PyArray_DATA(t), np.PyArray_DATA(result)
    job.dout, job.match = NULL, NULL
    if gradient is not None:
        job.dout = np.PyArray_DATA(gradient)
    job.scale, job.number, job.rows, job.cols = scale, measure.number, p.shape[0], p.shape[1]
    kernels_of(dtype).loss[measure.kind](&job)
    return result
