# Element-wise stages: activations on their own, and dropout.  Blocks of elements go to all threads, each with the
# derivative of the activation before while it is in the cache.

cdef object CURVE_NAMES = {"ramp": RAMP, "elu": ELU, "gelu": GELU, "silu": SILU, "softplus": SOFTPLUS,
                           "softsign": SOFTSIGN, "hard_sigmoid": HARD_SIGMOID, "hard_silu": HARD_SILU,
                           "exponential": EXPONENTIAL, "mish": MISH}

cdef enum:
    SOFTMAX = ACTIVATIONS       # the activations that are not element-wise, and those from their input
    LOG_SOFTMAX
    FIRST_CURVE
    ELEMENT_GRAIN = 4096        # elements of a block
    CURVE_WORK = 8              # multiply-adds that one element of a curve is worth
    DROPOUT_STREAMS = 1 << 16   # of random numbers: above those of parameters

cdef object OWN_NAMES = (ACTIVATION_NAMES | {"softmax": SOFTMAX, "log_softmax": LOG_SOFTMAX}
                         | {name: FIRST_CURVE + kind for name, kind in CURVE_NAMES.items()})


cdef struct Elements:
    # to (n) = f(x), or where dout is not NULL, dout times the slope of f at x, where f gives out
    const fastnn_kernels *kernels
    isize n, item
    int activation, derivative          # the derivative of the activation before, at x, multiplies the result
    const double *numbers
    bint drops
    uint64_t key
    double rate
    const char *x
    const char *out
    const char *dout
    char *to


cdef void some_elements(void *context, isize block, int worker) noexcept nogil:
    cdef Elements *job = <Elements *>context
    cdef isize first = block * ELEMENT_GRAIN, n = min(ELEMENT_GRAIN, job.n - first), at = first * job.item
    cdef const char *x = job.x + at
    cdef const char *dout = job.dout + at if job.dout != NULL else NULL
    cdef char *to = job.to + at
    if job.drops:
        job.kernels.dropout(job.key, job.rate, first, dout if dout != NULL else x, to, n)
    elif job.activation >= FIRST_CURVE:
        job.kernels.curve(job.activation - FIRST_CURVE, job.numbers, x, dout, to, n)
    elif dout == NULL:
        job.kernels.activate[job.activation](x, to, n)
    else:
        job.kernels.activate_backward[job.activation](job.out + at, dout, to, n)
    if job.derivative != LINEAR:
        job.kernels.activate_backward[job.derivative](x, to, to, n)


cdef void run_elements(Elements *job, isize work) noexcept nogil:
    """work: of one element."""
    run_blocks(some_elements, job, (job.n + ELEMENT_GRAIN - 1) // ELEMENT_GRAIN, job.n * work)


cdef Elements elements(int dtype, isize n, const char *x, const char *out, const char *dout, char *to) noexcept nogil:
    cdef Elements job
    memset(&job, 0, sizeof(job))
    job.kernels, job.item, job.n = kernels_of(dtype), item_size(dtype), n
    job.x, job.out, job.dout, job.to = x, out, dout, to
    return job


cdef void multiply_derivative(int dtype, int derivative, const char *x, char *dx, isize n) noexcept nogil:
    """dx (n) times the derivative of an activation that gave x."""
    cdef Elements job = elements(dtype, n, x, x, dx, dx)
    job.activation = derivative
    if derivative != LINEAR:
        run_elements(&job, 1)


cdef class Activation(Stage):
    """An activation as a stage of its own; numbers: those that it takes."""

    cdef isize axis             # the length that a softmax runs over: the samples' last axis
    cdef double numbers[3]

    def __init__(self, isize units, str activation, dtype, axis=None, tuple numbers=()):
        self.inputs = self.units = units
        self.axis = units if axis is None else axis
        self.dtype = DTYPE_NAMES.index(dtype)
        self.activation = OWN_NAMES[activation]
        for i, number in enumerate(numbers):
            self.numbers[i] = number

    cdef void forward(self, const char *x, char *out, isize rows, Pass *current) noexcept nogil:
        cdef Elements job = elements(self.dtype, rows * self.units, x, NULL, NULL, out)
        if self.activation == SOFTMAX:
            job.kernels.softmax(x, out, job.n // self.axis, self.axis)
        elif self.activation == LOG_SOFTMAX:
            job.kernels.log_softmax(x, out, job.n // self.axis, self.axis)
        else:
            job.activation, job.numbers = self.activation, self.numbers
            run_elements(&job, 1 if self.activation < SOFTMAX else CURVE_WORK)

    cdef void backward(self, const char *x, const char *out, const char *dout, char *dx, isize rows, int derivative,
                       const fastnn_rule *rule, Pass *current) noexcept nogil:
        cdef Elements job = elements(self.dtype, rows * self.units, x, out, dout, dx)
        if dx == NULL:
            return
        if self.activation == SOFTMAX:
            job.kernels.softmax_backward(out, dout, dx, job.n // self.axis, self.axis)
        elif self.activation == LOG_SOFTMAX:
            job.kernels.log_softmax_backward(out, dout, dx, job.n // self.axis, self.axis)
        else:
            job.activation, job.numbers, job.derivative = self.activation, self.numbers, derivative
            run_elements(&job, 1 if self.activation < SOFTMAX else CURVE_WORK)
            return
        multiply_derivative(self.dtype, derivative, x, dx, job.n)


cdef class Dropout(Stage):
    """In training, zeros with the probability `rate` and the others divided by 1 - rate: a function of the seed, the
    stage's number in its network, the step and the place in the batch (N10), which backward() computes again."""

    cdef double rate
    cdef bint seeded            # with its own seed in place of the network's
    cdef uint64_t own_seed

    def __init__(self, isize units, double rate, dtype, seed=None):
        self.inputs = self.units = units
        self.rate, self.dtype = rate, DTYPE_NAMES.index(dtype)
        self.seeded, self.own_seed = seed is not None, seed or 0

    cdef void pass_on(self, Elements *job, Pass *current) noexcept nogil:
        job.drops = current.training and self.rate > 0
        job.rate = self.rate
        job.key = fastnn_random_key(self.own_seed if self.seeded else current.seed, DROPOUT_STREAMS + self.number,
                                    current.step)
        run_elements(job, CURVE_WORK if job.drops else 1)

    cdef void forward(self, const char *x, char *out, isize rows, Pass *current) noexcept nogil:
        cdef Elements job = elements(self.dtype, rows * self.units, x, NULL, NULL, out)
        self.pass_on(&job, current)

    cdef void backward(self, const char *x, const char *out, const char *dout, char *dx, isize rows, int derivative,
                       const fastnn_rule *rule, Pass *current) noexcept nogil:
        cdef Elements job = elements(self.dtype, rows * self.units, x, out, dout, dx)
        job.derivative = derivative
        if dx != NULL:
            self.pass_on(&job, current)
