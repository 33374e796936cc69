# One stage of a network: forward, and its neighbour backward with the mirrored names.
# x is (B, I), weight is (I, O), bias is (O), out is (B, O).  The dout that a stage receives has the derivative of its
# own activation applied already: by the stage after it, in the epilogue of its input gradient, or by the network.

cdef object ACTIVATION_NAMES = {"linear": LINEAR, "relu": RELU, "sigmoid": SIGMOID, "tanh": TANH}

cdef enum:
    COLUMN_GRAIN = 64           # columns of a block of lists, as many as column_steps takes together
    SAMPLED_ROWS = 256          # by which columns are judged to be worth listing
    SKIP_UNITS = 32             # layers of fewer units gain less from a list of zeros than it costs

cdef const double DENSE_SHARE = 0.8     # share of steps that remain above which nothing is skipped


cdef struct Pass:
    # what the stages share while a batch passes through them
    fastnn_steps rows, columns
    const char *listed          # the array whose rows are listed already, as it was gathered
    fastnn_entries row_entries, column_entries      # of the batch, where its rows are sparse
    char *turned[2]             # room for the strips of SparseDense, of its inputs and of its outputs
    char *kept                  # the same for the inputs of all that there are, on the way back; NULL in predict()
    bint training
    int64_t step                # of training: the number of the update that this pass is for, from 0
    uint64_t seed               # of what is random in the stages


cdef class Stage:
    """Maps (B, inputs) to (B, units).  x is NULL where the batch is sparse: the pass has its entries, for Dense alone.

    parameters: the arrays that training moves, at most two, None for one that is left out.  frozen: they stay, and have
    no part in the backward pass nor in the penalty.
    """
    cdef readonly isize inputs, units
    cdef isize number               # of the stage in its network
    cdef int dtype, activation
    cdef list parameters, slots
    cdef fastnn_parameter at[2]     # the parameters with their slots, where they are
    cdef readonly list gradients    # of the parameters: where gradients go when there is no rule
    cdef void *gradient_at[2]
    cdef isize sizes[2]
    cdef public bint frozen
    cdef bint adapts                # a step moves more than the parameters

    def hold(self, list parameters):
        """Names the parameters."""
        self.parameters = parameters
        for i, parameter in enumerate(parameters):
            self.sizes[i] = 0 if parameter is None else parameter.size
        self.bind([[] for p in parameters if p is not None])

    def learned(self):
        """The parameters that there are."""
        return [p for p in self.parameters or () if p is not None]

    def bind(self, list slots, list lasting=None):
        """Take the optimizer's slots: a list for each parameter there is; lasting: whether weight decay spares it."""
        cdef int i
        cdef fastnn_parameter before
        self.slots = slots
        left = iter(zip(slots, lasting or [False] * len(slots)))
        for i, parameter in enumerate(self.parameters):
            if parameter is not None:
                before, (its_slots, stays) = self.at[i], next(left)
                self.at[i] = as_parameter(parameter, its_slots)
                self.at[i].l1, self.at[i].l2, self.at[i].lasting = before.l1, before.l2, stays

    def regularize(self, list regularizers):
        """Add to the loss what each regularizer, with factors l1 and l2, or None, asks for the parameter there."""
        cdef int i
        for i, regularizer in enumerate(regularizers):
            if regularizer is not None and self.parameters[i] is not None:
                self.at[i].l1, self.at[i].l2 = regularizer.l1, regularizer.l2
        return self

    cdef double penalty(self) noexcept nogil:
        """What the parameters add to the loss."""
        cdef double total = 0, absolute, square
        cdef int i
        for i in range(2):
            if not self.frozen and (self.at[i].l1 != 0 or self.at[i].l2 != 0):
                sizes_of(self.dtype, self.at[i].weight, self.sizes[i], &absolute, &square)
                total += self.at[i].l1 * absolute + self.at[i].l2 * square
        return total

    cdef void penalize_gradients(self) noexcept nogil:
        """Gradients that are kept take the share of the penalty, as a rule would add it."""
        cdef fastnn_rule plain
        cdef int i
        memset(&plain, 0, sizeof(plain))
        plain.scale = 1
        for i in range(2):
            if not self.frozen and (self.at[i].l1 != 0 or self.at[i].l2 != 0):
                kernels_of(self.dtype).prepare(&plain, &self.at[i], self.gradient_at[i], self.sizes[i])

    cdef double gradient_square(self, int i) noexcept nogil:
        if self.frozen or self.at[i].weight == NULL:
            return 0
        return square_sum(self.dtype, self.gradient_at[i], self.sizes[i])

    cdef void step_with(self, int i, const fastnn_rule *rule) noexcept nogil:
        """Parameter i takes its step with the gradient that is kept, in which its penalty is."""
        cdef fastnn_parameter parameter = self.at[i]
        cdef Updating job = Updating(self.dtype, rule, &parameter, <const char *>self.gradient_at[i], self.sizes[i])
        parameter.l1 = parameter.l2 = 0
        if not self.frozen and parameter.weight != NULL:
            run_blocks(update_some, &job, (job.n + UPDATE_GRAIN - 1) // UPDATE_GRAIN, job.n)

    def keep_gradients(self):
        """Allocate the arrays that receive the gradients of a step without a rule."""
        cdef int i
        if self.gradients is None:
            self.gradients = [numpy.empty_like(p) for p in self.learned()]
            left = iter(self.gradients)
            for i, parameter in enumerate(self.parameters):
                self.gradient_at[i] = np.PyArray_DATA(next(left)) if parameter is not None else NULL

    cdef void forward(self, const char *x, char *out, isize rows, Pass *current) noexcept nogil:
        pass

    cdef void backward(self, const char *x, const char *out, const char *dout, char *dx, isize rows, int derivative,
                       const fastnn_rule *rule, Pass *current) noexcept nogil:
        """dx unless it is NULL, times the derivative of activation `derivative` at x; then the parameters' step."""


cdef struct Gradients:
    Product weight, bias


cdef void gradient_block(void *context, isize block, int worker) noexcept nogil:
    cdef Gradients *job = <Gradients *>context
    if block < job.weight.blocks:
        product_block(&job.weight, block, worker)
    else:
        product_block(&job.bias, block - job.weight.blocks, worker)


cdef float ONE32 = 1
cdef double ONE64 = 1


cdef class Dense(Stage):
    """out = activation(x . weight + bias), with an element-wise activation."""
    cdef np.ndarray weight, bias

    def __init__(self, np.ndarray weight, np.ndarray bias, str activation):
        self.weight, self.bias = weight, bias
        self.dtype = real_dtype(weight)
        for x in (weight, bias):
            if x is not None and (self.dtype < 0 or real_dtype(x) != self.dtype or not np.PyArray_ISCARRAY(x)
                                  or x.shape[x.ndim - 1] != weight.shape[1] or x.ndim != (2 if x is weight else 1)):
                raise ValueError("Dense needs a weight (I, O) and a bias (O,) that are writable C-contiguous float32 "
                                 "or float64 arrays of one dtype.")
        self.inputs, self.units = weight.shape[0], weight.shape[1]
        self.activation = ACTIVATION_NAMES[activation]
        self.hold([weight, bias])

    cdef Product product(self, const char *a, const void *b, void *out) noexcept nogil:
        cdef Product job
        memset(&job, 0, sizeof(job))
        job.kernels, job.item = kernels_of(self.dtype), item_size(self.dtype)
        job.whole.a, job.whole.b, job.whole.out = a, b, out
        return job

    cdef void forward(self, const char *x, char *out, isize rows, Pass *current) noexcept nogil:
        cdef Product job = self.product(x, np.PyArray_DATA(self.weight), out)
        job.whole.rows, job.whole.k, job.whole.cols = rows, self.inputs, self.units
        job.whole.a_row, job.whole.a_step, job.whole.b_row, job.whole.out_row = self.inputs, 1, self.units, self.units
        job.whole.init = self.at[1].weight
        job.activation = self.activation
        cdef double share = 1
        if x == NULL:
            share = share_of_entries(&current.row_entries, rows, self.inputs)
            job.whole.entries = &current.row_entries
        elif self.units >= SKIP_UNITS:
            if current.listed == x:
                share = share_of(&current.rows, (rows + SKIP_ROWS - 1) // SKIP_ROWS, self.inputs)
            else:
                share = list_rows(job.kernels, x, rows, self.inputs, &current.rows)
            if share < DENSE_SHARE:
                skip_zeros(&job.whole, &current.rows)
        run_product(&job, <isize>(share * rows * self.inputs * self.units))

    cdef void backward(self, const char *x, const char *out, const char *dout, char *dx, isize rows, int derivative,
                       const fastnn_rule *rule, Pass *current) noexcept nogil:
        if dx != NULL:
            self.backward_x(x, dout, dx, rows, derivative)
        if not self.frozen:
            self.backward_parameters(x, dout, rows, rule, current)

    cdef void backward_x(self, const char *x, const char *dout, char *dx, isize rows, int derivative) noexcept nogil:
        """dx (B, I) = dout . weight^T, times the derivative of the activation before"""
        cdef Product job = self.product(dout, np.PyArray_DATA(self.weight), dx)
        job.whole.rows, job.whole.k, job.whole.cols = rows, self.units, self.inputs
        job.whole.a_row, job.whole.a_step, job.whole.b_row, job.whole.out_row = self.units, 1, self.units, self.inputs
        job.transposed_b = True
        job.derivative, job.activated = derivative, x
        run_product(&job, rows * self.inputs * self.units)

    cdef void backward_parameters(self, const char *x, const char *dout, isize rows, const fastnn_rule *rule,
                                  Pass *current) noexcept nogil:
        """Both gradients at once: the blocks of the bias beside those of the weight."""
        cdef Gradients job
        cdef double share = self.backward_weight(&job.weight, x, dout, rows, current)
        cdef isize work = <isize>(share * rows * self.inputs * self.units) + self.inputs * self.units
        self.step_or_store(&job.weight, 0, rule)
        cut(&job.weight, work)
        job.bias.blocks = 0
        if self.at[1].weight != NULL:
            self.backward_bias(&job.bias, dout, rows)
            self.step_or_store(&job.bias, 1, rule)
            job.bias.blocks, job.bias.row_blocks, job.bias.row_height, job.bias.col_width = 1, 1, 1, self.units
        run_blocks(gradient_block, &job, job.weight.blocks + job.bias.blocks, work + rows * self.units)

    cdef void backward_bias(self, Product *job, const char *dout, isize rows) noexcept nogil:
        """dbias (O) = ones (B) . dout"""
        cdef const void *one = <const void *>&ONE32 if self.dtype == FLOAT32 else <const void *>&ONE64
        job[0] = self.product(<const char *>one, dout, NULL)
        job.whole.rows, job.whole.k, job.whole.cols = 1, rows, self.units
        job.whole.b_row = job.whole.out_row = self.units

    cdef double backward_weight(self, Product *job, const char *x, const char *dout, isize rows,
                                Pass *current) noexcept nogil:
        """dweight (I, O) = x^T . dout; returns the share of its steps that zeros leave."""
        cdef double share = 1
        job[0] = self.product(x, dout, NULL)
        job.whole.rows, job.whole.k, job.whole.cols = self.inputs, rows, self.units
        job.whole.a_row, job.whole.a_step, job.whole.b_row, job.whole.out_row = 1, self.inputs, self.units, self.units
        if x == NULL:
            share = share_of_entries(&current.row_entries, rows, self.inputs)
            job.kernels.column_entries(&current.row_entries, rows, self.inputs, &current.column_entries)
            job.whole.entries = &current.column_entries
        elif self.units >= SKIP_UNITS:
            share = list_columns(job.kernels, x, rows, self.inputs, &current.columns)
            if share < DENSE_SHARE:
                skip_zeros(&job.whole, &current.columns)
        return share

    cdef void step_or_store(self, Product *job, int which, const fastnn_rule *rule) noexcept nogil:
        if rule != NULL:
            job.rule, job.parameter = rule, self.at[which]
        else:
            job.whole.out = self.gradient_at[which]


# The zero lists of a matrix, by blocks on all threads.  A sample decides first whether it is worth the while.

cdef struct Listing:
    const fastnn_kernels *kernels
    const char *x
    isize rows, cols, item, grain
    const fastnn_steps *steps


cdef void list_some_rows(void *context, isize block, int worker) noexcept nogil:
    cdef Listing *job = <Listing *>context
    cdef isize row = block * job.grain
    cdef fastnn_steps steps = steps_at(job.steps, row, job.item)
    job.kernels.row_steps(job.x + row * job.cols * job.item, min(job.grain, job.rows - row), job.cols, &steps)


cdef void skip_zeros(fastnn_product *p, const fastnn_steps *steps) noexcept nogil:
    """p takes the lists and their values of its a."""
    p.steps, p.a, p.a_row = steps, steps.value, steps.pitch


cdef fastnn_steps steps_at(const fastnn_steps *steps, isize row, isize item) noexcept nogil:
    cdef fastnn_steps at = steps[0]
    at.index += row // SKIP_ROWS * at.pitch
    at.count += row // SKIP_ROWS
    if at.mark != NULL:
        at.mark += row // SKIP_ROWS * at.marks
    at.value = <char *>at.value + row * at.pitch * item
    return at


cdef void list_some_columns(void *context, isize block, int worker) noexcept nogil:
    cdef Listing *job = <Listing *>context
    cdef isize first = block * COLUMN_GRAIN
    job.kernels.column_steps(job.x, job.rows, job.cols, first, min(first + COLUMN_GRAIN, job.cols), job.steps)


cdef double share_of(const fastnn_steps *steps, isize blocks, isize most) noexcept nogil:
    cdef isize total = 0, i
    for i in range(blocks):
        total += steps.count[i]
    return <double>total / <double>(max(blocks, 1) * max(most, 1))


cdef double share_of_entries(const fastnn_entries *entries, isize rows, isize cols) noexcept nogil:
    return <double>entries.start[rows] / (<double>rows * cols)


cdef bint worth_listing(const fastnn_kernels *kernels, const char *x, isize rows, isize cols,
                        fastnn_steps *steps) noexcept nogil:
    """Whether the first rows have zeros to skip."""
    steps.pitch, steps.marks = cols + STEPS_MARGIN, (cols + MARK - 1) // MARK
    kernels.row_steps(x, min(SKIP_ROWS, rows), cols, steps)
    return share_of(steps, 1, cols) < DENSE_SHARE


cdef double list_rows(const fastnn_kernels *kernels, const char *x, isize rows, isize cols,
                      fastnn_steps *steps) noexcept nogil:
    """The share of steps that remain, from lists for all rows, or from a sample that showed no use in them."""
    cdef isize item = 4 if kernels == kernels_of(FLOAT32) else 8, grain = grain_of(rows)
    cdef Listing job = Listing(kernels, x, rows, cols, item, grain, steps)
    if not worth_listing(kernels, x, rows, cols, steps):
        return 1
    run_blocks(list_some_rows, &job, (rows + grain - 1) // grain, rows * cols)
    return share_of(steps, (rows + SKIP_ROWS - 1) // SKIP_ROWS, cols)


cdef double list_columns(const fastnn_kernels *kernels, const char *x, isize rows, isize cols,
                         fastnn_steps *steps) noexcept nogil:
    cdef isize item = 4 if kernels == kernels_of(FLOAT32) else 8, sampled = min(rows, SAMPLED_ROWS)
    cdef Listing job = Listing(kernels, x, rows, cols, item, COLUMN_GRAIN, steps)
    cdef isize middle = cols // 2 // SKIP_ROWS * SKIP_ROWS, last = min(middle + 16 * SKIP_ROWS, cols)
    steps.pitch = rows + STEPS_MARGIN
    kernels.column_steps(x, sampled, cols, middle, last, steps)
    cdef fastnn_steps seen = steps[0]
    seen.count += middle // SKIP_ROWS
    if share_of(&seen, (last - middle + SKIP_ROWS - 1) // SKIP_ROWS, sampled) > 0.9:
        return 1
    run_blocks(list_some_columns, &job, (cols + COLUMN_GRAIN - 1) // COLUMN_GRAIN, rows * cols)
    return share_of(steps, (cols + SKIP_ROWS - 1) // SKIP_ROWS, rows)
