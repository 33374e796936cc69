# Stages that normalize: columns by the moments of the batch, rows by their own.  x is (rows, cols); samples of more
# axes are that many more rows.

cdef enum:
    NORM_COLUMNS = 64           # of a block
    NORM_ROWS = 16
    NORM_WORK = 4               # multiply-adds that one element is worth

cdef struct Normalizing:
    const fastnn_kernels *kernels
    fastnn_normalization whole
    isize item
    normalization_kernel first, then    # of each block, one after the other; `then` may be NULL


cdef inline void move(void *pointer, isize bytes) noexcept nogil:
    """Moves the pointer that is at `pointer`, unless it is NULL."""
    cdef char **at = <char **>pointer
    if at[0] != NULL:
        at[0] += bytes


cdef void some_columns(void *context, isize block, int worker) noexcept nogil:
    cdef Normalizing *job = <Normalizing *>context
    cdef fastnn_normalization p = job.whole
    cdef isize column = block * NORM_COLUMNS, bytes = column * job.item
    p.n = min(NORM_COLUMNS, p.cols - column)
    move(&p.x, bytes)
    move(&p.dout, bytes)
    move(&p.out, bytes)
    move(&p.dx, bytes)
    move(&p.gamma, bytes)
    move(&p.beta, bytes)
    move(&p.mean, bytes)
    move(&p.variance, bytes)
    move(&p.dgamma, bytes)
    move(&p.dbeta, bytes)
    job.first(&p)
    if job.then != NULL:
        job.then(&p)


cdef void some_rows(void *context, isize block, int worker) noexcept nogil:
    cdef Normalizing *job = <Normalizing *>context
    cdef fastnn_normalization p = job.whole
    cdef isize row = block * NORM_ROWS, bytes = row * p.cols * job.item
    p.rows = min(NORM_ROWS, p.rows - row)
    move(&p.x, bytes)
    move(&p.dout, bytes)
    move(&p.out, bytes)
    move(&p.dx, bytes)
    job.first(&p)


cdef void run_columns(Normalizing *job, normalization_kernel first, normalization_kernel then) noexcept nogil:
    job.first, job.then = first, then
    run_blocks(some_columns, job, (job.whole.cols + NORM_COLUMNS - 1) // NORM_COLUMNS,
               job.whole.rows * job.whole.cols * NORM_WORK)


cdef void run_rows_of(Normalizing *job, normalization_kernel kernel) noexcept nogil:
    job.first = kernel
    run_blocks(some_rows, job, (job.whole.rows + NORM_ROWS - 1) // NORM_ROWS,
               job.whole.rows * job.whole.cols * NORM_WORK)


cdef class Normalization(Stage):
    """What both have: gamma and beta (cols), either may be None, and room for four rows of the batch's numbers."""
    cdef np.ndarray room                # (4, cols): mean, variance, dgamma, dbeta
    cdef tuple kept                     # gamma and beta, also where they are fixed
    cdef double epsilon
    cdef isize cols

    def __init__(self, isize inputs, isize cols, dtype, gamma, beta, double epsilon):
        self.inputs = self.units = inputs
        self.cols, self.epsilon, self.dtype = cols, epsilon, DTYPE_NAMES.index(dtype)
        self.room = numpy.zeros((4, cols), dtype)
        for name, x in (("gamma", gamma), ("beta", beta)):
            self.check(name, x)
        self.kept = gamma, beta
        self.hold([gamma, beta])

    def check(self, name, x):
        if x is not None and (x.shape != (self.cols,) or real_dtype(x) != self.dtype or not np.PyArray_ISCARRAY(x)):
            raise ValueError(f"A normalization of {self.cols} columns needs {name} as a writable C-contiguous array of "
                             f"as many {DTYPE_NAMES[self.dtype]}.")

    cdef Normalizing normalizing(self, const char *x, isize rows) noexcept nogil:
        cdef Normalizing job
        cdef isize pitch = self.cols * item_size(self.dtype)
        cdef char *room = <char *>np.PyArray_DATA(self.room)
        memset(&job, 0, sizeof(job))
        job.kernels, job.item = kernels_of(self.dtype), item_size(self.dtype)
        job.whole.rows, job.whole.cols = rows * (self.inputs // self.cols), self.cols
        job.whole.x, job.whole.epsilon = x, self.epsilon
        job.whole.gamma, job.whole.beta = self.at[0].weight, self.at[1].weight
        job.whole.mean, job.whole.variance = room, room + pitch
        job.whole.dgamma, job.whole.dbeta = room + 2 * pitch, room + 3 * pitch
        return job

    cdef void step_or_store(self, const Normalizing *job, const fastnn_rule *rule) noexcept nogil:
        """gamma and beta take their step, or their gradients go where they are kept."""
        cdef const void *gradient[2]
        cdef int i
        gradient[0], gradient[1] = job.whole.dgamma, job.whole.dbeta
        for i in range(2):
            if self.at[i].weight != NULL:
                if rule != NULL:
                    job.kernels.update(rule, &self.at[i], gradient[i], self.cols)
                else:
                    memcpy(self.gradient_at[i], gradient[i], <size_t>(self.cols * job.item))


cdef class BatchNormalization(Normalization):
    """out = (x - mean) gamma / sqrt(variance + epsilon) + beta: in training of the batch's own moments, which are
    blended into the moving ones as the step is taken; else, and where it is frozen, of the moving ones.

    momentum: None for moments that are fixed.
    """
    cdef np.ndarray moving_mean, moving_variance
    cdef double momentum
    cdef bint fixed

    def __init__(self, isize inputs, dtype, gamma, beta, np.ndarray moving_mean, np.ndarray moving_variance,
                 double epsilon, momentum=None):
        super().__init__(inputs, moving_mean.shape[0], dtype, gamma, beta, epsilon)
        self.check("moving_mean", moving_mean)
        self.check("moving_variance", moving_variance)
        self.moving_mean, self.moving_variance = moving_mean, moving_variance
        self.fixed, self.momentum = momentum is None, momentum or 0
        self.adapts = not self.fixed
        if self.fixed:
            self.parameters = None

    cdef bint by_batch(self, Pass *current) noexcept nogil:
        return current.training and not self.frozen and not self.fixed

    cdef void take_moving(self, Normalizing *job) noexcept nogil:
        job.whole.mean, job.whole.variance = np.PyArray_DATA(self.moving_mean), np.PyArray_DATA(self.moving_variance)

    cdef void forward(self, const char *x, char *out, isize rows, Pass *current) noexcept nogil:
        cdef Normalizing job = self.normalizing(x, rows)
        job.whole.out = out
        if self.by_batch(current):
            run_columns(&job, job.kernels.column_moments, job.kernels.normalize_columns)
        else:
            self.take_moving(&job)
            run_columns(&job, job.kernels.normalize_columns, NULL)

    cdef void backward(self, const char *x, const char *out, const char *dout, char *dx, isize rows, int derivative,
                       const fastnn_rule *rule, Pass *current) noexcept nogil:
        cdef Normalizing job = self.normalizing(x, rows)
        job.whole.dout, job.whole.dx = dout, dx
        if self.by_batch(current):
            run_columns(&job, job.kernels.column_gradients, job.kernels.columns_backward if dx != NULL else NULL)
            self.step_or_store(&job, rule)
            job.kernels.blend(job.whole.mean, self.momentum, np.PyArray_DATA(self.moving_mean), self.cols)
            job.kernels.blend(job.whole.variance, self.momentum, np.PyArray_DATA(self.moving_variance), self.cols)
        elif dx != NULL:
            self.take_moving(&job)
            job.whole.dgamma = NULL
            run_columns(&job, job.kernels.columns_backward, NULL)
        if dx != NULL:
            multiply_derivative(self.dtype, derivative, x, dx, rows * self.inputs)


cdef class LayerNormalization(Normalization):
    """out = (x - mean) gamma / sqrt(variance + epsilon) + beta, of the moments of each row of `cols` numbers."""

    cdef void forward(self, const char *x, char *out, isize rows, Pass *current) noexcept nogil:
        cdef Normalizing job = self.normalizing(x, rows)
        job.whole.out = out
        run_rows_of(&job, job.kernels.normalize_rows)

    cdef void backward(self, const char *x, const char *out, const char *dout, char *dx, isize rows, int derivative,
                       const fastnn_rule *rule, Pass *current) noexcept nogil:
        """The stage after this one is done with out, which takes the normal rows."""
        cdef Normalizing job = self.normalizing(x, rows)
        job.whole.out, job.whole.dout, job.whole.dx = <char *>out, dout, dx
        run_rows_of(&job, job.kernels.rows_backward)
        if not self.frozen:
            job.whole.x, job.whole.mean = out, NULL
            run_columns(&job, job.kernels.column_gradients, NULL)
            self.step_or_store(&job, rule)
        if dx != NULL:
            multiply_derivative(self.dtype, derivative, x, dx, rows * self.inputs)
