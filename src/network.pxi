# The list of stages and the one loop that runs it: batches of training and evaluation, and prediction.

cdef enum:
    MOST_METRICS = 16
    LOSS_WORK = 50              # multiply-adds that one element of a loss is worth
    PREDICT_ELEMENTS = 131072   # of the widest stage's output in one chunk of rows

cdef isize rounded(isize bytes) noexcept nogil:
    return (bytes + 63) // 64 * 64


cdef char *place_steps(fastnn_steps *steps, char *at, isize rows, isize most, isize item) noexcept nogil:
    """Cuts the arrays for lists of up to `most` steps from memory at `at`; returns the end of them."""
    cdef isize lists = (rows + SKIP_ROWS - 1) // SKIP_ROWS, pitch = most + STEPS_MARGIN
    steps.value, at = at, at + rounded(lists * SKIP_ROWS * pitch * item)
    steps.index, at = <int32_t *>at, at + rounded(lists * pitch * 4)
    steps.count, at = <int32_t *>at, at + rounded(lists * 4)
    steps.mark, at = <int32_t *>at, at + rounded(lists * ((most + MARK - 1) // MARK) * 4)
    return at


cdef isize steps_bytes(isize rows, isize most, isize item) noexcept nogil:
    cdef fastnn_steps steps
    return place_steps(&steps, NULL, rows, most, item) - <char *>NULL


cdef class Workspace:
    """The buffers of one pass over up to `rows` rows: one block of memory, cut up."""
    cdef readonly isize rows
    cdef readonly bint training, sparse
    cdef char *memory
    cdef char *entries          # index and value of the batch's entries; grows with them
    cdef isize most_entries, item
    cdef char **value           # value[0] is the batch, value[i + 1] the output of stage i
    cdef char *gradient[2]
    cdef char *targets
    cdef char *weights          # of the rows
    cdef const char *y_true     # the batch's: targets, or where they are; and its weights
    cdef const char *row_weights
    cdef char *losses
    cdef char *matches
    cdef int64_t *labels
    cdef Pass current

    def __cinit__(self, Network network, isize rows, bint training, bint sparse=False):
        cdef isize item = item_size(network.dtype), count = len(network.stages) + 1, total, i
        cdef list widths = [0 if sparse else network.inputs] + [stage.units for stage in network.stages]
        cdef isize widest = max(widths)
        cdef isize side = rounded(rows * widest * item)
        cdef isize row_starts = rounded((rows + 1) * 8) if sparse else 0
        cdef isize column_starts = rounded((network.inputs + 1) * 8) if sparse and training else 0
        kept, turned_x, turned_out = turned_bytes(network.stages, rows, item)
        self.rows, self.training, self.sparse, self.item = rows, training, sparse, item
        if float(rows) * widest * item * (2 * count + 8) > 2.0**62:
            raise MemoryError(f"A batch of {rows} rows of {widest} numbers does not fit in memory.")
        total = sum([rounded(rows * width * item) for width in widths]) + steps_bytes(rows, widest, item) + 64 \
            + row_starts + column_starts + turned_x
        if training:
            total += kept + turned_out + 3 * side + 3 * rounded(rows * item) + rounded(rows * 8) \
                + steps_bytes(widest, rows, item)
        self.value = <char **>malloc(count * sizeof(char *))
        self.memory = <char *>aligned_alloc(64, total)
        if self.memory == NULL or self.value == NULL:
            raise MemoryError(f"No memory for {total} bytes of buffers. Use a smaller batch_size.")
        cdef char *at = self.memory
        for i in range(count):
            self.value[i] = at
            at += rounded(rows * <isize>widths[i] * item)
        at = place_steps(&self.current.rows, at, rows, widest, item)
        self.current.row_entries.start, at = <int64_t *>at, at + row_starts
        self.current.column_entries.start, at = <int64_t *>at, at + column_starts
        self.current.turned[0], at = at, at + <isize>turned_x
        if training:
            self.current.turned[1], at = at, at + <isize>turned_out
            self.current.kept, at = at, at + <isize>kept
            self.gradient[0], self.gradient[1], self.targets, at = at, at + side, at + 2 * side, at + 3 * side
            self.losses, at = at, at + rounded(rows * item)
            self.matches, at = at, at + rounded(rows * item)
            self.weights, at = at, at + rounded(rows * item)
            self.labels, at = <int64_t *>at, at + rounded(rows * 8)
            place_steps(&self.current.columns, at, widest, rows, item)
            self.current.columns.mark = NULL

    cdef int reserve(self, isize count) except -1 nogil:
        """Room for `count` entries by rows and, in training, by columns."""
        cdef fastnn_entries *rows = &self.current.row_entries
        cdef fastnn_entries *columns = &self.current.column_entries
        cdef isize most = count + count // 4, values = rounded(most * self.item), indices = rounded(most * 4)
        if self.entries != NULL and count <= self.most_entries:
            return 0
        free(self.entries)
        self.entries = <char *>aligned_alloc(64, <size_t>((values + indices) * (2 if self.training else 1) + 64))
        if self.entries == NULL:
            raise MemoryError(f"No memory for the {count} entries of a batch. Use a smaller batch_size.")
        self.most_entries = most
        rows.value, rows.index = self.entries, <int32_t *>(self.entries + values)
        if self.training:
            columns.value = self.entries + values + indices
            columns.index = <int32_t *>(self.entries + 2 * values + indices)
        return 0

    def __dealloc__(self):
        free(self.memory)
        free(self.entries)
        free(self.value)


cdef struct Source:
    # rows of an array, taken by index
    const char *data
    isize cols, item
    int kind                    # FROM_*, or SOURCES for int64 labels
    double scale
    const int64_t *start        # of sparse rows, with index; data holds their values
    const int32_t *index


cdef Source source_of(object rows, double scale=1):
    cdef SparseRows sparse = rows if isinstance(rows, SparseRows) else None
    cdef np.ndarray x = rows if sparse is None else sparse.value
    cdef int number = np.PyArray_TYPE(x)
    cdef Source source
    memset(&source, 0, sizeof(source))
    if sparse is not None:
        source.start = <const int64_t *>np.PyArray_DATA(sparse.start)
        source.index = <const int32_t *>np.PyArray_DATA(sparse.index)
    source.data, source.item, source.scale = <const char *>np.PyArray_DATA(x), x.itemsize, scale
    source.cols = np.PyArray_SIZE(x) // x.shape[0] if x.ndim > 1 and x.shape[0] else 1
    if sparse is not None:
        source.cols = sparse.inputs
    source.kind = (FROM_UINT8 if number == np.NPY_UINT8 else FROM_FLOAT32 if number == np.NPY_FLOAT32
                   else FROM_FLOAT64 if number == np.NPY_FLOAT64 else SOURCES)
    return source


cdef struct Gathering:
    const fastnn_kernels *kernels
    const Source *source
    const int64_t *index
    char *out
    isize rows, item, first, grain
    const fastnn_steps *steps   # lists of what was gathered, unless NULL


cdef void gather_some_rows(void *context, isize block, int worker) noexcept nogil:
    cdef Gathering *job = <Gathering *>context
    cdef const Source *source = job.source
    cdef isize row = block * job.grain, rows = min(job.grain, job.rows - row)
    cdef const char *data = source.data
    cdef const int64_t *index = NULL
    cdef char *out = job.out + row * source.cols * job.item
    cdef fastnn_steps steps
    if job.index != NULL:
        index = job.index + job.first + row
    else:
        data += (job.first + row) * source.cols * source.item
    job.kernels.gather[source.kind](data, index, out, source.scale, rows, source.cols)
    if job.steps != NULL:
        steps = steps_at(job.steps, row, job.item)
        job.kernels.row_steps(out, rows, source.cols, &steps)


cdef struct Measuring:
    const fastnn_kernels *kernels
    Measure measure
    char *y_pred
    const char *y_true
    char *truths                # takes them, where they are moved
    char *logits                # takes a copy of y_pred, which becomes probabilities there, unless NULL
    const char *weights         # of the rows, or NULL
    char *losses
    char *dout
    char *matches               # taken by the loss on its way, where that is not NULL
    isize rows, cols, item, grain
    int dtype
    int derivative              # of this activation, whose result y_pred is, multiplies dout


cdef void measure_some_rows(void *context, isize block, int worker) noexcept nogil:
    cdef Measuring *job = <Measuring *>context
    cdef isize row = block * job.grain, rows = min(job.grain, job.rows - row), at = row * job.cols * job.item
    cdef char *matches = job.matches + row * job.item if job.matches != NULL else NULL
    cdef char *dout = job.dout + at if job.dout != NULL else NULL
    cdef fastnn_loss loss = fastnn_loss(job.y_pred + at, job.y_true + at, job.losses + row * job.item, dout, matches,
                                        1.0 / job.rows, job.measure.number, rows, job.cols)
    if job.logits != NULL:
        loss.y_pred = memcpy(job.logits + at, job.y_pred + at, <size_t>(rows * job.cols * job.item))
    if job.measure.stretch != 1:
        loss.y_true = job.truths + at
        move_truths(&job.measure, job.dtype, job.y_true + at, job.truths + at, rows * job.cols)
    job.kernels.loss[job.measure.kind](&loss)
    if job.weights != NULL:
        weigh(job.dtype, job.weights + row * job.item, job.losses + row * job.item, rows, 1)
        if dout != NULL:
            weigh(job.dtype, job.weights + row * job.item, dout, rows, job.cols)
    if job.derivative != LINEAR:
        job.kernels.activate_backward[job.derivative](job.y_pred + at, dout, dout, rows * job.cols)


cdef void weigh(int dtype, const char *weights, void *x, isize rows, isize cols) noexcept nogil:
    """x (rows, cols) *= weights (rows)"""
    cdef fastnn_rows job = fastnn_rows(x, weights, x, rows, cols, cols, 1, cols, 1, 0)
    elementwise_of(dtype).binary[MULTIPLY](&job)


cdef class Network:
    """Stages in a row, and a loss on the last one's output.

    stages: list of Stage; the units of each are the inputs of the next.
    loss: one of LOSS_NAMES, a pair of it and its number, a function, or None; the two *_crossentropy losses on logits
    replace the last stage's activation, unless from_logits: then it computes them.  A function takes y_true, y_pred and
    the rows' weights or None and gives the losses (B,) and dout (B, units), the gradient of their mean.
    metrics: names of LOSS_NAMES, or such pairs.  scale: multiplies the inputs as they are gathered.
    smoothing: of the truths that the loss sees.
    seed: of what is random in training, 0 until it is set.
    after_step: functions that are called, without arguments, after each step of a rule.
    """
    cdef readonly list stages
    cdef list idle, idle_training   # workspaces for predict() and for run(), one for each call under way at once
    cdef Workspace last         # of the last batch that was run
    cdef readonly isize inputs, units, widest
    cdef int dtype, metric_count
    cdef Measure loss
    cdef object criterion       # a loss that is a function
    cdef Measure metrics[MOST_METRICS]
    cdef bint from_logits
    cdef double scale
    cdef public uint64_t seed
    cdef public list after_step
    cdef isize trained          # stages that run before the loss
    cdef int finishing          # the activation of the last of them, which no stage after it derives
    cdef bint counts            # the loss counts the matches of categorical accuracy on its way
    cdef bint skips             # the first stage skips zeros
    cdef isize turned           # inputs of the stages that are SparseDense
    cdef isize last_rows

    def __init__(self, list stages, loss=None, metrics=(), double scale=1, double smoothing=0,
                 bint from_logits=False):
        self.scale = scale
        self.stages, self.idle, self.idle_training, self.after_step = stages, [], [], []
        self.inputs, self.units = stages[0].inputs, stages[len(stages) - 1].units
        self.widest = max([self.inputs] + [stage.units for stage in stages])
        self.dtype = (<Stage>stages[0]).dtype
        self.criterion, self.from_logits = loss, from_logits
        self.loss.kind = CUSTOM
        if isinstance(loss, (str, tuple)):
            self.loss = measure_of(loss)
            if smoothing:
                self.loss = smoothed(self.loss, smoothing, self.units)
        cdef bint fused = self.loss.kind == SOFTMAX_CROSSENTROPY or self.loss.kind == SIGMOID_CROSSENTROPY
        self.trained = len(stages) - (fused and not from_logits)
        self.metric_count = len(metrics)
        self.skips = type(stages[0]) is Dense and (<Stage>stages[0]).units >= SKIP_UNITS
        cdef isize order = 0
        for i, stage in enumerate(stages):
            (<Stage>stage).number = i
            if isinstance(stage, SparseDense):
                (<SparseDense>stage).before, (<SparseDense>stage).order = self.turned, order
                self.turned, order = self.turned + (<SparseDense>stage).inputs, order + 1
        for before, after in zip(stages, stages[1:]):
            if before.units != after.inputs or (<Stage>before).dtype != (<Stage>after).dtype:
                raise ValueError(f"A stage gives {before.units} numbers a sample, the next takes {after.inputs}; "
                                 "and all must be of one dtype.")
        self.counts = (self.loss.kind == SOFTMAX_CROSSENTROPY and self.loss.stretch == 1
                       and "categorical_accuracy" in metrics)
        if self.trained == 0:
            raise ValueError(f"{loss} needs a stage before the activation that it replaces.")
        if isinstance(stages[self.trained - 1], Dense):
            self.finishing = (<Stage>stages[self.trained - 1]).activation
        if self.metric_count > MOST_METRICS:
            raise ValueError(f"At most {MOST_METRICS} metrics, received {self.metric_count}.")
        for i, name in enumerate(metrics):
            self.metrics[i] = measure_of(name)

    cdef Stage stage(self, isize i):
        return <Stage>self.stages[i]

    def fits(self, x):
        """Whether x can be handed to predict as it stands: C-contiguous (n, inputs) of the network's dtype."""
        return (isinstance(x, numpy.ndarray) and (<np.ndarray>x).ndim == 2 and (<np.ndarray>x).shape[1] == self.inputs
                and real_dtype(x) == self.dtype and np.PyArray_ISCARRAY_RO(x))

    cdef bint is_sparse(self, x) except -1:
        """Whether x is SparseRows, which only a first Dense stage of as many inputs takes."""
        if not isinstance(x, SparseRows):
            return False
        if type(self.stages[0]) is not Dense or (<SparseRows>x).inputs != self.inputs:
            raise ValueError(f"Sparse rows of {(<SparseRows>x).inputs} columns need a first stage Dense of as many "
                             f"inputs, received {type(self.stages[0]).__name__} of {self.inputs}. Pass a dense array.")
        return True

    def predict(self, x, out=None):
        """(n, units), or out, from x (n, inputs): SparseRows, or uint8, float32 or float64, C-contiguous."""
        cdef bint sparse = self.is_sparse(x)
        cdef isize n = len(x), widest = max([stage.units for stage in self.stages]) if sparse else self.widest
        out = output("predict", out, (n, self.units), self.dtype, (x.value if sparse else x,), False)
        cdef isize item = item_size(self.dtype), count = len(self.stages)
        cdef isize grain = STRIP if self.turned else ROW_GRAIN, rows, first
        cdef isize most = max(grain, PREDICT_ELEMENTS // widest // grain * grain)
        cdef Source source = source_of(x, self.scale)
        cdef Workspace space = None
        if self.idle:
            space = self.idle.pop()
        if space is None or space.rows < min(n, most) or space.sparse != sparse:
            space = Workspace(self, min(max(n, 1), most), False, sparse)
        cdef char *to = <char *>np.PyArray_DATA(out)
        for first in range(0, n, most):
            rows = min(most, n - first)
            self.load(space, &source, NULL, first, rows, space.value[0])
            self.forward(space, self.batch_of(space, &source, NULL, first), rows, count, to + first * self.units * item)
            if n > most:
                PyErr_CheckSignals()
        self.idle.append(space)
        return out

    cdef bint direct(self, const Source *source, const int64_t *order) noexcept nogil:
        """Whether rows can be read where they are."""
        cdef int kind = FROM_FLOAT32 if self.dtype == FLOAT32 else FROM_FLOAT64
        return order == NULL and source.start == NULL and source.scale == 1 and source.kind == kind

    cdef const char *batch_of(self, Workspace space, const Source *source, const int64_t *order,
                              isize first) noexcept nogil:
        if source.start != NULL:
            return NULL
        return source.data + first * source.cols * source.item if self.direct(source, order) \
            else <const char *>space.value[0]

    cdef int load(self, Workspace space, const Source *source, const int64_t *order, isize first, isize rows,
                  char *out) except -1 nogil:
        """The batch's rows of source into out, unless they can stay where they are; sparse ones into the lists."""
        cdef Gathering job
        cdef isize r
        if source.kind == SOURCES:
            for r in range(rows):
                space.labels[r] = (<const int64_t *>source.data)[order[first + r] if order != NULL else first + r]
            kernels_of(self.dtype).one_hot(space.labels, out, rows, self.units)
        elif source.start != NULL:
            self.load_entries(space, source, order, first, rows)
        elif not self.direct(source, order):
            job = Gathering(kernels_of(self.dtype), source, order, out, rows, item_size(self.dtype), first,
                            grain_of(rows), NULL)
            if out == space.value[0]:
                self.list_ahead(space, &job)
            run_blocks(gather_some_rows, &job, (rows + job.grain - 1) // job.grain, rows * source.cols)
        return 0

    cdef void list_ahead(self, Workspace space, Gathering *job) noexcept nogil:
        """Has the rows listed as they are gathered, if the first stage skips zeros and the first rows have some."""
        cdef Gathering sample = job[0]
        space.current.listed = NULL
        if self.skips and job.rows > 0:
            sample.rows = sample.grain = min(SKIP_ROWS, job.rows)
            gather_some_rows(&sample, 0, 0)
            if worth_listing(job.kernels, job.out, sample.rows, job.source.cols, &space.current.rows):
                job.steps, space.current.listed = &space.current.rows, job.out

    cdef int load_entries(self, Workspace space, const Source *source, const int64_t *order, isize first,
                          isize rows) except -1 nogil:
        cdef fastnn_entries *out = &space.current.row_entries
        cdef EntryGathering job = EntryGathering(kernels_of(self.dtype), source, order, out, rows,
                                                 item_size(self.dtype), first)
        cdef isize r, row
        out.start[0] = 0
        for r in range(rows):
            row = row_of(order, first + r)
            out.start[r + 1] = out.start[r] + source.start[row + 1] - source.start[row]
        space.reserve(out.start[rows])
        run_blocks(gather_some_entries, &job, (rows + ROW_GRAIN - 1) // ROW_GRAIN, out.start[rows])
        return 0

    cdef int forward(self, Workspace space, const char *x, isize rows, isize count, char *last) except -1:
        """Through the first `count` stages; the last one writes to `last`."""
        cdef Stage stage
        cdef char *out
        cdef isize i
        for i in range(count):
            stage = self.stage(i)
            out = last if i == count - 1 else space.value[i + 1]
            if isinstance(stage, Function):
                (<Function>stage).call(x, out, rows)
            else:
                with nogil:
                    stage.forward(x, out, rows, &space.current)
            x = out
        return 0

    cdef int backward(self, Workspace space, const char *x, isize rows, const fastnn_rule *rule,
                      isize lowest) except -1:
        """From gradient[0], last stage to `lowest`, the first that learns and computes no dx, each taking its step."""
        cdef Stage stage, before
        cdef const char *stage_x
        cdef int side = 0, derivative
        cdef isize i
        for i in range(self.trained - 1, lowest - 1, -1):
            stage = self.stage(i)
            stage_x = <const char *>space.value[i] if i else x
            derivative = LINEAR
            if i:
                before = self.stage(i - 1)
                derivative = before.activation if isinstance(before, Dense) else LINEAR
            if isinstance(stage, Function) and i > lowest:
                (<Function>stage).call_back(stage_x, space.gradient[side], space.gradient[1 - side], rows, derivative)
            elif not isinstance(stage, Function):
                with nogil:
                    stage.backward(stage_x, space.value[i + 1], space.gradient[side],
                                   space.gradient[1 - side] if i > lowest else NULL, rows, derivative, rule,
                                   &space.current)
                    if rule == NULL:
                        stage.penalize_gradients()
            side = 1 - side
        return 0

    cdef isize lowest(self):
        """The first stage that learns, or the number of all before the loss."""
        cdef isize i
        for i in range(self.trained):
            if (self.stage(i).learned() or self.stage(i).adapts) and not self.stage(i).frozen:
                return i
        return self.trained

    cdef double penalty(self):
        """What the parameters add to the loss of each batch."""
        cdef double total = 0
        for stage in self.stages:
            total += (<Stage>stage).penalty()
        return total

    cdef int step_by_norm(self, Rule rule, fastnn_rule *numbers) except -1:
        """Every parameter takes its step with the gradient that is kept, after all of them have been measured."""
        cdef double total = 0
        cdef int i
        cdef Stage stage
        for stage in self.stages:
            for i in range(2):
                total += stage.gradient_square(i)
        for stage in self.stages:
            for i in range(2):
                numbers.scale = rule.scale_of(stage.gradient_square(i) if rule.clipnorm > 0 else 0, total)
                stage.step_with(i, numbers)
        return 0

    cdef double measure(self, Workspace space, isize rows, const Measure *what, bint weighted, char *dout,
                        char *matches) noexcept nogil:
        """Sum over the batch's rows of a metric, or of the loss, and the gradient of its mean into dout unless that is
        NULL."""
        cdef isize grain = grain_of(rows)
        cdef bint loss = what == &self.loss
        cdef Measuring job = Measuring(
            kernels_of(self.dtype), fitted(what[0], self.dtype, space.y_true, rows * self.units),
            space.value[self.trained], space.y_true, space.gradient[1], NULL, NULL, space.losses, dout, matches,
            rows, self.units, item_size(self.dtype), grain, self.dtype, LINEAR)
        if loss:
            job.truths = space.gradient[0]
            job.logits = space.gradient[1] if self.from_logits else NULL
        if weighted:
            job.weights = space.row_weights
        if dout != NULL:
            job.derivative = self.finishing
        run_blocks(measure_some_rows, &job, (rows + grain - 1) // grain, rows * self.units * LOSS_WORK)
        return self.sum_of(space.losses, rows)

    cdef double measure_by_call(self, Workspace space, isize rows, y_true, weights) except? -1:
        """The same of a loss that is a function, of the batch's own rows."""
        cdef isize item = item_size(self.dtype)
        cdef np.ndarray y_pred = empty((rows, self.units), self.dtype), losses, dout
        memcpy(np.PyArray_DATA(y_pred), space.value[self.trained], <size_t>(rows * self.units * item))
        y_pred.flags.writeable = False
        losses, dout = self.criterion(y_true, y_pred, weights)
        memcpy(space.losses, np.PyArray_DATA(losses), <size_t>(rows * item))
        memcpy(space.gradient[0], np.PyArray_DATA(dout), <size_t>(rows * self.units * item))
        kernels_of(self.dtype).activate_backward[self.finishing](space.value[self.trained], space.gradient[0],
                                                                 space.gradient[0], rows * self.units)
        return self.sum_of(space.losses, rows)

    cdef double sum_of(self, const char *x, isize n) noexcept nogil:
        cdef double sum64
        cdef float sum32
        if self.dtype == FLOAT32:
            kernels_of(FLOAT32).sum(x, &sum32, n)
            return sum32
        kernels_of(FLOAT64).sum(x, &sum64, n)
        return sum64

    def run(self, x, np.ndarray y, np.ndarray order, isize first, isize last, isize batch_size,
            np.ndarray totals, Rule rule=None, bint training=False, double seconds=1e30, isize step=0,
            np.ndarray weights=None, np.ndarray outputs=None):
        """Batches first .. last - 1 of x (n, inputs), an array or SparseRows, and y (n, units) or labels (n,), in
        `order` (n,) if given.

        training takes a step with `rule`, or without one, for step number `step`, leaves the gradients in the stages.
        totals (1 + metrics) float64 gains the sums over samples of the loss, each times the sample's of weights (n,)
        if given, and of the metrics.  outputs (rows, units) takes the network's, batch by batch.
        Returns the number of the batch reached, after about `seconds` at the most, and whether the last loss was
        finite; a batch whose loss is not finite takes no step.
        """
        cdef bint sparse = self.is_sparse(x), weighted = weights is not None
        cdef isize n = len(x), rows, i, start = first, lowest = self.lowest()
        cdef bint whole = rule is None or rule.whole      # gradients are kept
        cdef Source inputs = source_of(x, self.scale), targets = source_of(y)
        cdef Source weighing = source_of(weights) if weighted else targets
        cdef const int64_t *index = <const int64_t *>np.PyArray_DATA(order) if order is not None else NULL
        cdef double *sums = <double *>np.PyArray_DATA(totals)
        cdef double loss, penalty = self.penalty(), until = fastnn_seconds() + seconds
        cdef fastnn_rule numbers
        cdef const char *batch
        cdef Workspace space = self.workspace(min(batch_size, n), sparse)
        self.last = space
        space.current.training, space.current.seed = training, self.seed
        while first < last:
            space.current.step = step if rule is None else rule.step
            rows = self.last_rows = min(batch_size, n - first * batch_size)
            with nogil:
                self.load(space, &inputs, index, first * batch_size, rows, space.value[0])
                if self.loss.kind != CUSTOM or self.metric_count:
                    space.y_true = self.rows_of(space, &targets, index, first * batch_size, rows, space.targets)
                if weighted:
                    space.row_weights = self.rows_of(space, &weighing, index, first * batch_size, rows, space.weights)
                batch = self.batch_of(space, &inputs, index, first * batch_size)
            self.forward(space, batch, rows, self.trained, space.value[self.trained])
            if self.loss.kind == CUSTOM:
                chosen = slice(first * batch_size, first * batch_size + rows)
                chosen = order[chosen] if order is not None else chosen
                loss = self.measure_by_call(space, rows, y[chosen], weights[chosen] if weighted else None)
            else:
                with nogil:
                    loss = self.measure(space, rows, &self.loss, weighted, space.gradient[0] if training else NULL,
                                        space.matches if self.counts else NULL)
            loss += penalty * rows
            if training and not isfinite(loss):
                return first, False
            sums[0] += loss
            self.add_metrics(space, rows, sums + 1)
            if outputs is not None:
                memcpy(<char *>np.PyArray_DATA(outputs) + (first - start) * batch_size * self.units * space.item,
                       space.value[self.trained], <size_t>(rows * self.units * space.item))
            if training:
                if rule is not None:
                    rule.fill(&numbers, rule.step + 1)
                self.backward(space, batch, rows, NULL if whole else &numbers, lowest)
                if rule is not None:
                    if whole:
                        self.step_by_norm(rule, &numbers)
                    rule.step += 1
                    for hold in self.after_step:
                        hold()
                penalty = self.penalty()
            first += 1
            PyErr_CheckSignals()
            if fastnn_seconds() > until:
                break
        self.idle_training.append(space)
        return first, True

    cdef Workspace workspace(self, isize rows, bint sparse):
        """An idle one for training and measuring that fits, or a new one."""
        cdef Workspace space = self.idle_training.pop() if self.idle_training else None
        if space is None or space.rows < rows or space.sparse != sparse:
            space = Workspace(self, max(rows, 1), True, sparse)
        return space

    cdef void add_metrics(self, Workspace space, isize rows, double *sums) noexcept nogil:
        cdef isize i
        for i in range(self.metric_count):
            if self.counts and self.metrics[i].kind == CATEGORICAL_ACCURACY:
                sums[i] += self.sum_of(space.matches, rows)
            else:
                sums[i] += self.measure(space, rows, &self.metrics[i], False, NULL, NULL)

    cdef const char *rows_of(self, Workspace space, const Source *source, const int64_t *order, isize first, isize rows,
                             char *room) except NULL nogil:
        """The batch's rows of source: where they are, or in `room`."""
        if self.direct(source, order):
            return source.data + first * source.cols * source.item
        self.load(space, source, order, first, rows, room)
        return room

    def outputs(self):
        """What each stage before the loss gave in the last batch that was run: (B, units) copies."""
        cdef list found = []
        cdef np.ndarray copy
        for i in range(self.trained):
            copy = empty((self.last_rows, self.stage(i).units), self.dtype)
            memcpy(np.PyArray_DATA(copy), self.last.value[i + 1], <size_t>(copy.nbytes))
            found.append(copy)
        return found


def permutation(isize n, seed, epoch):
    """The order of an epoch's samples: 0 .. n - 1 shuffled, int64."""
    cdef np.ndarray order = numpy.empty(n, "int64")
    fastnn_permutation(fastnn_random_key(seed, 0, epoch), <int64_t *>np.PyArray_DATA(order), n)
    return order


def uniform(shape, double low, double high, seed, stream):
    """float64 in [low, high), the numbers of stream (seed, stream)."""
    cdef np.ndarray out = numpy.empty(shape, "float64")
    fastnn_random_uniform(fastnn_random_key(seed, stream, 1), low, high, <double *>np.PyArray_DATA(out),
                          np.PyArray_SIZE(out))
    return out


def normal(shape, bint truncated, seed, stream):
    """float64, normal of mean 0 and deviation 1, the numbers of stream (seed, stream); truncated: within [-2, 2]."""
    cdef np.ndarray out = numpy.empty(shape, "float64")
    fastnn_random_normal(fastnn_random_key(seed, stream, 1), truncated, <double *>np.PyArray_DATA(out),
                         np.PyArray_SIZE(out))
    return out
