# The stage of a layer of which only some connections are there, and the dealing of connections at random.

cdef enum:
    STRIP = 64                  # rows of a strip of the batch, or half of it
    STRIP_BYTES = 524288        # of a turned strip of the inputs or outputs: half of a usual L2
    MOST_APART = 4              # threads up to which each turns small inputs for itself: sooner done than fetched
    UNIT_GRAIN = 64             # units of a block: their outputs for a strip fit the scratch
    MOST_ALIKE = 8              # units whose inputs are turned back together
    PACKED = 128                # their inputs at a time
    FEWER = 64                  # of them in a product for more than one unit


cdef struct Strips:
    # a pass of SparseDense over a batch of `rows` rows, cut into strips of `width`
    const fastnn_kernels *kernels
    fastnn_connections weight
    isize rows, width, strips, inputs, units, item, unit_blocks
    int activation, derivative
    const void *bias
    const char *x               # (rows, inputs)
    char *out                   # (rows, units); dout on the way back
    char *dx
    char *turned_x              # strips of (inputs, width), in training kept for the way back
    isize apart                 # bytes from a thread's own to the next one's, or 0; begins with whether they are turned
    char *turned_dx
    char *turned_out            # strips of (units, width), of dout
    const fastnn_rule *rule
    fastnn_parameter parameter
    char *gradient              # of the connections, where there is no rule
    int32_t[STRIP] steps        # 0, 1, ...
    Product bias_gradient


cdef inline isize in_strips(isize rows) noexcept nogil:
    """Rows with those that fill the last strip."""
    return (rows + STRIP - 1) // STRIP * STRIP


cdef inline isize bytes_apart(isize inputs, isize rows, isize item) noexcept nogil:
    return in_strips(rows) * inputs * item + 64


cdef tuple turned_bytes(list stages, isize rows, isize item):
    """Of the SparseDense among the stages: what they keep, and the most of one's inputs and of its outputs."""
    cdef list found = [stage for stage in stages if isinstance(stage, SparseDense)]
    inputs, units = [stage.inputs for stage in found], [stage.units for stage in found]
    return (sum([MOST_APART * bytes_apart(n, rows, item) for n in inputs]),
            rounded(in_strips(rows) * <isize>max(inputs, default=0) * item),
            rounded(in_strips(rows) * <isize>max(units, default=0) * item))


cdef inline isize width_of(const Strips *job, isize strip) noexcept nogil:
    """The columns of a turned strip: the last one may be half as wide as the others."""
    return STRIP // 2 if job.rows - strip * job.width <= STRIP // 2 else job.width


cdef void turn(const Strips *job, const char *x, isize cols, isize first, isize last, isize strip,
               char *out) noexcept nogil:
    """Columns first .. last - 1 of a strip of x (rows, cols) as out (cols, width), with zeros past the last row."""
    cdef isize width = width_of(job, strip), row = strip * job.width, rows = min(width, job.rows - row)
    out += (row * cols + first * width) * job.item
    if rows < width:
        memset(out, 0, <size_t>((last - first) * width * job.item))
    job.kernels.transpose(x + (row * cols + first) * job.item, cols, out, width, rows, last - first)


cdef void turn_strip(void *context, isize strip, int worker) noexcept nogil:
    cdef Strips *job = <Strips *>context
    turn(job, job.x, job.inputs, 0, job.inputs, strip, job.turned_x)


cdef char *turned_by(const Strips *job, int worker) noexcept nogil:
    """The turned inputs: those of all, or a thread's own."""
    cdef char *own = job.turned_x + worker * job.apart
    cdef isize strip
    if job.apart == 0:
        return job.turned_x
    if not own[0]:
        for strip in range(job.strips):
            turn(job, job.x, job.inputs, 0, job.inputs, strip, own + 64)
        own[0] = 1
    return own + 64


cdef void connect_apart(void *context, isize block, int worker) noexcept nogil:
    """Units of all strips: a thread that keeps to its units finds their weights in its cache on the way back."""
    cdef Strips *job = <Strips *>context
    cdef isize strip
    for strip in range(job.strips):
        connect_some_units(context, strip * job.unit_blocks + block, worker)


cdef void connect_strip(void *context, isize strip, int worker) noexcept nogil:
    """A strip while it is in the cache."""
    cdef Strips *job = <Strips *>context
    cdef isize block
    turn_strip(context, strip, worker)
    for block in range(strip * job.unit_blocks, (strip + 1) * job.unit_blocks):
        connect_some_units(context, block, worker)


cdef void connect_some_units(void *context, isize block, int worker) noexcept nogil:
    cdef Strips *job = <Strips *>context
    cdef isize strip = block // job.unit_blocks, first = block % job.unit_blocks * UNIT_GRAIN
    cdef isize last = min(first + UNIT_GRAIN, job.units), width = width_of(job, strip), row = strip * job.width
    cdef isize rows = min(width, job.rows - row)
    cdef char *scratch = <char *>fastnn_scratch()
    job.kernels.connect(&job.weight, turned_by(job, worker) + row * job.inputs * job.item, job.bias, scratch, width,
                        first, last)
    if job.activation != LINEAR:
        job.kernels.activate[job.activation](scratch, scratch, (last - first) * width)
    job.kernels.transpose(scratch, width, job.out + (row * job.units + first) * job.item, job.units, last - first, rows)


cdef void connect_strip_back(void *context, isize strip, int worker) noexcept nogil:
    """dx of a strip, and its dout turned."""
    cdef Strips *job = <Strips *>context
    cdef isize width = width_of(job, strip), row = strip * job.width, rows = min(width, job.rows - row)
    cdef isize at = row * job.inputs * job.item
    turn(job, job.out, job.units, 0, job.units, strip, job.turned_out)
    memset(job.turned_dx + at, 0, <size_t>(job.inputs * width * job.item))
    job.kernels.connect_back(&job.weight, job.turned_out + row * job.units * job.item, job.turned_dx + at, width,
                             job.units)
    job.kernels.transpose(job.turned_dx + at, width, job.dx + at, job.inputs, job.inputs, rows)
    if job.derivative != LINEAR:
        job.kernels.activate_backward[job.derivative](job.x + at, job.dx + at, job.dx + at, rows * job.inputs)


cdef void learn_some_units(void *context, isize block, int worker) noexcept nogil:
    """Their connections' and biases' step, or gradient; with dout turned first, unless dx has needed that."""
    cdef Strips *job = <Strips *>context
    cdef isize unit = block * UNIT_GRAIN, last = min(unit + UNIT_GRAIN, job.units), run, col, strip
    if job.dx == NULL:
        for strip in range(job.strips):
            turn(job, job.out, job.units, unit, last, strip, job.turned_out)
    if job.bias_gradient.whole.k:
        product_block(&job.bias_gradient, block, worker)
    while unit < last:
        run, col = min(<isize>job.weight.alike[unit], last - unit), 0
        while col < job.weight.start[unit + 1] - job.weight.start[unit]:
            learn_columns(job, turned_by(job, worker), unit, run, col)
            col += PACKED
        unit += run


cdef void learn_columns(Strips *job, const char *x, isize unit, isize run, isize col) noexcept nogil:
    """dvalue (run, cols) = dout (B, run)^T . x (B, cols), for up to PACKED of the inputs that `run` units share.

    In panels of k that resume from `sums` (N2); a panel is a strip, whose x is turned back in the scratch.
    """
    cdef isize item = job.item, start = job.weight.start[unit], count = job.weight.start[unit + 1] - start
    cdef isize cols = min(PACKED, count - col), strip, row
    cdef double[MOST_ALIKE * PACKED] room
    cdef char *sums = <char *>room
    cdef fastnn_parameter parameter
    if job.rule == NULL:
        sums = job.gradient + (start + col) * item
    for strip in range(job.strips):
        learn_strip(job, x, unit, run, job.weight.index + start + col, cols, strip, sums,
                    cols if job.rule != NULL else count)
    if job.rule == NULL:
        return
    if cols == count:           # the units' are one after the other
        run, cols = 1, run * count
    for row in range(run):
        parameter = moved(&job.parameter, (start + row * count + col) * item)
        job.kernels.update(job.rule, &parameter, sums + row * cols * item, cols)


cdef void learn_strip(Strips *job, const char *x, isize unit, isize run, const int32_t *index, isize cols, isize strip,
                      char *sums, isize sums_row) noexcept nogil:
    """sums (run, cols) += what a strip adds, in tiles of eight chains or more: else their latency would show."""
    cdef isize item = job.item, first = strip * job.width, width = width_of(job, strip), row, height, col = 0
    cdef isize packed_row = (cols + LIST_GRAIN - 1) // LIST_GRAIN * LIST_GRAIN
    cdef int32_t steps = <int32_t>min(width, job.rows - first)
    cdef fastnn_steps listed
    cdef char *packed = <char *>fastnn_scratch()
    cdef fastnn_product p
    memset(&p, 0, sizeof(p))
    memset(&listed, 0, sizeof(listed))
    listed.pitch, listed.index, listed.count = STRIP, &job.steps[0], &steps
    p.k, p.a_row, p.a_step, p.b_row, p.out_row, p.init_row = steps, width, 1, packed_row, sums_row, sums_row
    job.kernels.turn_rows(x + first * job.inputs * item, width, index, cols, packed, packed_row)
    while col < cols:
        p.cols, p.b, row = min(FEWER, cols - col), packed + col * item, 0
        height = 8 if p.cols * item <= 64 else 4
        if run == 1:            # tiles with a list of steps are the widest
            p.cols, p.steps = cols, &listed
        while row < run:
            p.rows, p.a = min(height, run - row), job.turned_out + (first * job.units + (unit + row) * width) * item
            p.out = sums + (row * sums_row + col) * item
            p.init = p.out if strip else NULL
            job.kernels.product(&p)
            row += height
        col += p.cols


cdef class SparseDense(Dense):
    """out = activation(x . weight + bias), where weight has the numbers `values` at some places and no others.

    start (O + 1) int64 and index int32: the values of unit u are start[u] to start[u + 1] - 1, from inputs `index`,
    which rise.  x is (B, I).
    """
    cdef np.ndarray start, index, alike
    cdef isize count            # of connections
    cdef isize before, order    # inputs, and number, of stages of this kind before it in its network

    def __init__(self, np.ndarray values, np.ndarray start, np.ndarray index, isize inputs, np.ndarray bias,
                 str activation):
        self.weight, self.start, self.index, self.bias = values, start, index, bias
        self.inputs, self.units, self.count = inputs, len(start) - 1, len(values)
        self.dtype = real_dtype(values)
        for x, dtype in ((values, values.dtype), (start, "int64"), (index, "int32"), (bias, values.dtype)):
            if x is not None and (self.dtype < 0 or x.ndim != 1 or x.dtype != dtype or not np.PyArray_ISCARRAY_RO(x)):
                raise ValueError("SparseDense needs values and bias that are C-contiguous float32 or float64 arrays of "
                                 "one dtype, start of int64 and index of int32, each of one axis.")
        if len(index) != self.count or bias is not None and len(bias) != self.units or not in_order(
                <const int64_t *>np.PyArray_DATA(start), <const int32_t *>np.PyArray_DATA(index), self.units,
                self.count, inputs):
            raise ValueError(f"start and index must name {self.count} connections of {inputs} inputs, unit by unit "
                             "with rising inputs, and the bias be as long as there are units.")
        self.alike = units_alike(start, index)
        self.activation = ACTIVATION_NAMES[activation]
        self.hold([values, bias])

    cdef Strips strips(self, const char *x, char *out, isize rows, Pass *current) noexcept nogil:
        cdef Strips job
        cdef int32_t step
        memset(&job, 0, sizeof(job))
        job.kernels, job.item = kernels_of(self.dtype), item_size(self.dtype)
        job.weight.start = <const int64_t *>np.PyArray_DATA(self.start)
        job.weight.index = <const int32_t *>np.PyArray_DATA(self.index)
        job.weight.alike = <const uint8_t *>np.PyArray_DATA(self.alike)
        job.weight.value = self.at[0].weight
        job.rows, job.inputs, job.units, job.x, job.out = rows, self.inputs, self.units, x, out
        job.unit_blocks = (self.units + UNIT_GRAIN - 1) // UNIT_GRAIN
        job.turned_x, job.turned_dx, job.turned_out = current.turned[0], current.turned[0], current.turned[1]
        if current.kept != NULL:
            job.turned_x = current.kept + MOST_APART * (in_strips(rows) * self.before * job.item + 64 * self.order)
            if (1 < fastnn_threads() <= min(<isize>MOST_APART, job.unit_blocks)
                    and bytes_apart(self.inputs, rows, job.item) <= STRIP_BYTES):
                job.apart = bytes_apart(self.inputs, rows, job.item)
        job.width = STRIP
        if rows <= STRIP // 2 * fastnn_threads() or max(self.inputs, self.units) * STRIP * job.item > STRIP_BYTES:
            job.width = STRIP // 2
        for step in range(STRIP):
            job.steps[step] = step
        job.strips = (rows + job.width - 1) // job.width
        return job

    cdef void forward(self, const char *x, char *out, isize rows, Pass *current) noexcept nogil:
        cdef Strips job = self.strips(x, out, rows, current)
        cdef isize work = rows * (self.count + self.inputs + self.units)
        cdef isize thread
        job.activation, job.bias = self.activation, self.at[1].weight
        if job.apart:
            for thread in range(MOST_APART):
                job.turned_x[thread * job.apart] = 0
            run_blocks(connect_apart, &job, job.unit_blocks, work)
        elif job.strips >= fastnn_threads():
            run_blocks(connect_strip, &job, job.strips, work)
        else:
            run_blocks(turn_strip, &job, job.strips, rows * self.inputs)
            run_blocks(connect_some_units, &job, job.strips * job.unit_blocks, work)

    cdef void backward(self, const char *x, const char *out, const char *dout, char *dx, isize rows, int derivative,
                       const fastnn_rule *rule, Pass *current) noexcept nogil:
        cdef Strips job = self.strips(x, <char *>dout, rows, current)
        cdef isize work = rows * (self.count + self.inputs + self.units)
        job.derivative, job.dx = derivative, dx
        job.rule, job.parameter, job.gradient = rule, self.at[0], <char *>self.gradient_at[0]
        if dx != NULL:
            run_blocks(connect_strip_back, &job, job.strips, work)
        if self.frozen:
            return
        if self.at[1].weight != NULL:
            self.backward_bias(&job.bias_gradient, dout, rows)
            self.step_or_store(&job.bias_gradient, 1, rule)
            job.bias_gradient.row_blocks, job.bias_gradient.row_height, job.bias_gradient.col_width = 1, 1, UNIT_GRAIN
        run_blocks(learn_some_units, &job, job.unit_blocks, work)


cdef bint in_order(const int64_t *start, const int32_t *index, isize units, isize count, isize inputs) noexcept nogil:
    """Whether start and index name `count` connections, each once and in their order."""
    cdef isize unit, i
    if units < 0 or start[0] != 0 or start[units] != count:
        return False
    for unit in range(units):
        if not start[unit] <= start[unit + 1] <= count:
            return False
        for i in range(start[unit], start[unit + 1]):
            if not 0 <= index[i] < inputs or i > start[unit] and index[i] <= index[i - 1]:
                return False
    return True


cdef np.ndarray units_alike(np.ndarray start, np.ndarray index):
    """uint8 (O): how many units from each one on see the inputs that it sees, up to MOST_ALIKE."""
    cdef isize units = np.PyArray_DIM(start, 0) - 1, unit, count
    cdef np.ndarray alike = numpy.ones(units, "uint8")
    cdef const int64_t *at = <const int64_t *>np.PyArray_DATA(start)
    cdef const int32_t *input_of = <const int32_t *>np.PyArray_DATA(index)
    cdef uint8_t *found = <uint8_t *>np.PyArray_DATA(alike)
    for unit in range(units - 2, -1, -1):
        count = at[unit + 1] - at[unit]
        if count == at[unit + 2] - at[unit + 1] and memcmp(input_of + at[unit], input_of + at[unit + 1],
                                                           <size_t>(count * sizeof(int32_t))) == 0:
            found[unit] = <uint8_t>min(<isize>found[unit + 1] + 1, <isize>MOST_ALIKE)
    return alike


def deal(isize inputs, isize hands, isize count, seed):
    """int32 (hands, count): `count` different inputs for each hand, in rising order, each input about as often."""
    cdef np.ndarray found = numpy.empty((hands, count), "int32"), work = numpy.empty(3 * inputs, "int64")
    fastnn_deal(seed, inputs, hands, count, <int32_t *>np.PyArray_DATA(found), <int64_t *>np.PyArray_DATA(work))
    found.sort(axis=1)
    return found
