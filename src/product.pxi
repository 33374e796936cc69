# The driver of every product: blocks of outputs for the threads (never a split over k, N3), and panels of k that
# resume from the output (N2).

cdef enum:
    SERIAL_WORK = 60000         # multiply-adds, or elements, under which the caller does the work alone
    SERIAL_PRODUCT = 200000     # the same where rows pass b that another thread would have to fetch
    BLOCKS_PER_THREAD = 4
    COPYING_PER_THREAD = 2      # of those that copy a panel of b for their rows
    ROW_GRAIN = 24              # a multiple of every tile height
    FEW_ROWS = 8                # of a block, where few rows and columns are all there is
    LIST_GRAIN = 16             # a multiple of SKIP_ROWS and of every number of lanes
    CLOSE_BYTES = 16384         # half of L1
    FAR_ROW = 4096              # bytes from a row of b to the next at which its panel is copied together first

cdef struct Product:
    const fastnn_kernels *kernels
    fastnn_product whole
    isize item                  # bytes of an element
    bint integers               # the elements are integers of the kernels' width
    bint transposed_b           # b is given as (n, k) with row stride b_row
    isize blocks, row_blocks, row_height, col_width
    isize stray                 # a last panel of no more columns is joined to the one before
    bint across                 # blocks go along the rows, so that each thread keeps to its own, not down the panels
    int activation              # applied to the result
    int derivative              # of this activation, at `activated`, multiplies the result
    const char *activated
    const fastnn_rule *rule     # the result is a gradient that updates `parameter` instead of being stored
    fastnn_parameter parameter


cdef void run_product(Product *job, isize work) noexcept nogil:
    """`work` is the number of multiply-adds that will really be done."""
    cut(job, work)
    run_blocks(product_block, job, job.blocks, work)


cdef isize grain_of(isize rows) noexcept nogil:
    """Rows of a block where the threads share out work on whole rows."""
    cdef isize shares = BLOCKS_PER_THREAD * fastnn_threads()
    return (rows + shares * LIST_GRAIN - 1) // (shares * LIST_GRAIN) * LIST_GRAIN


cdef void cut(Product *job, isize work) noexcept nogil:
    """Into blocks: panels of columns, and of rows where those are too few for all threads."""
    cdef isize panel = (job.kernels.panel if job.whole.steps == NULL else job.kernels.list_panel if job.rule == NULL
                        else job.kernels.update_panel)
    cdef isize rows = job.whole.rows, cols = job.whole.cols, grain = ROW_GRAIN, most
    job.blocks = 0
    if rows == 0 or cols == 0:
        return
    job.stray = 0 if job.rule == NULL or job.whole.steps == NULL else min(panel // 4, job.kernels.list_panel - panel)
    cdef isize panels = max(1, (cols - job.stray + panel - 1) // panel), threads = fastnn_threads(), share
    cdef isize wanted = BLOCKS_PER_THREAD * threads
    job.across = job.rule != NULL and panels < 2 * threads
    job.row_blocks, job.row_height, job.col_width = 1, rows, cols
    if work < (SERIAL_WORK if rows < ROW_GRAIN else SERIAL_PRODUCT) or threads == 1:
        if job.transposed_b or job.rule != NULL or job.whole.b_row * job.item >= FAR_ROW:
            job.col_width = panel
    else:
        job.col_width = panel
        if rows < ROW_GRAIN * threads * BLOCKS_PER_THREAD and panels < threads:
            grain = FEW_ROWS
        most, share = (rows + grain - 1) // grain, threads if job.across else 1
        panels *= share
        if job.whole.steps != NULL and job.rule == NULL:
            wanted = COPYING_PER_THREAD * threads
        job.row_blocks = min(most, max(1, (wanted + panels - 1) // panels * share))
        job.row_height = ((rows + job.row_blocks - 1) // job.row_blocks + grain - 1) // grain * grain
        job.row_blocks = (rows + job.row_height - 1) // job.row_height
    job.blocks = max(1, (cols - job.stray + job.col_width - 1) // job.col_width) * job.row_blocks


cdef void run_blocks(fastnn_task fn, void *context, isize blocks, isize work) noexcept nogil:
    """Every block, on all threads if `work`, in multiply-adds or elements touched, is worth waking them."""
    cdef isize block
    if work < SERIAL_WORK:
        for block in range(blocks):
            fn(context, block, 0)
    else:
        fastnn_parallel(fn, context, blocks)


cdef struct Part:
    # of a product, with what it points to
    fastnn_product p
    fastnn_steps steps
    fastnn_entries entries


cdef void part_of(Part *part, const fastnn_product *whole, isize row, isize rows, isize item) noexcept nogil:
    """Up to `rows` rows from `row` on."""
    part.p = whole[0]
    part.p.rows = min(rows, whole.rows - row)
    part.p.a = <const char *>whole.a + row * whole.a_row * item
    if whole.out != NULL:
        part.p.out = <char *>whole.out + row * whole.out_row * item
    if whole.init != NULL:
        part.p.init = <const char *>whole.init + row * whole.init_row * item
    if whole.steps != NULL:
        part.steps = steps_at(whole.steps, row, item)
        part.p.steps = &part.steps
    if whole.entries != NULL:
        part.entries = whole.entries[0]
        part.entries.start += row
        part.p.entries = &part.entries


cdef void product_block(void *context, isize block, int worker) noexcept nogil:
    cdef Product *job = <Product *>context
    cdef isize item = job.item, panels = job.blocks // job.row_blocks
    cdef isize row = (block // panels if job.across else block % job.row_blocks) * job.row_height
    cdef isize col = (block % panels if job.across else block // job.row_blocks) * job.col_width
    cdef isize at = (row * job.whole.out_row + col) * item
    cdef Part part
    cdef fastnn_product *p = &part.p
    cdef fastnn_parameter parameter
    part_of(&part, &job.whole, row, job.row_height, item)
    p.cols = p.cols - col if p.cols - col <= job.col_width + job.stray else job.col_width
    p.b = <const char *>p.b + col * (p.b_row if job.transposed_b else 1) * item
    if p.init != NULL:
        p.init = <const char *>p.init + col * item
    if job.rule != NULL:
        parameter = moved(&job.parameter, at)
        if p.rows > ROW_GRAIN and p.k * p.cols * item <= FASTNN_SCRATCH_BYTES:
            copy_panel(p, <const char *>p.b, p.b_row, item)
        job.kernels.product_update(p, job.rule, &parameter)
        return
    p.out = <char *>p.out + col * item
    if job.transposed_b or (p.steps == NULL and p.entries == NULL and p.rows > ROW_GRAIN
                            and p.b_row * item >= FAR_ROW):
        panels_of_k(job, p, at)
    else:
        finished_rows(job, p, at)


cdef void finished_rows(const Product *job, const fastnn_product *whole, isize at) noexcept nogil:
    """The product, or its last panel of k, and its element-wise end, while few rows at a time are in L1 if b is."""
    cdef isize row = 0, rows = whole.rows, item = job.item
    cdef Part part
    if job.activation == LINEAR and job.derivative == LINEAR:
        tiles(job, whole)
        return
    if whole.k * whole.cols * item <= CLOSE_BYTES:
        rows = (CLOSE_BYTES // (whole.cols * item * ROW_GRAIN) + 1) * ROW_GRAIN
    while row < whole.rows:
        part_of(&part, whole, row, rows, item)
        tiles(job, &part.p)
        finish(job, &part.p, at + row * whole.out_row * item)
        row += rows


cdef inline void tiles(const Product *job, const fastnn_product *p) noexcept nogil:
    if job.integers:
        job.kernels.product_whole(p)
    else:
        job.kernels.product(p)


cdef void copy_panel(fastnn_product *p, const char *b, isize b_row, isize item) noexcept nogil:
    """Takes b's first k rows together from the thread's scratch, where they do not drive each other out of L1."""
    cdef char *scratch = <char *>fastnn_scratch()
    cdef isize step, bytes = p.cols * item
    for step in range(p.k):
        memcpy(scratch + step * bytes, b + step * b_row * item, <size_t>bytes)
    p.b, p.b_row = scratch, p.cols


cdef fastnn_parameter moved(const fastnn_parameter *parameter, isize offset) noexcept nogil:
    cdef fastnn_parameter at = parameter[0]
    cdef int i
    at.weight = <char *>at.weight + offset
    for i in range(3):
        if at.slot[i] != NULL:
            at.slot[i] = <char *>at.slot[i] + offset
    return at


cdef void panels_of_k(const Product *job, fastnn_product *whole, isize at) noexcept nogil:
    """The product with b copied, panel by panel of k, into the thread's scratch; one panel of columns at a time."""
    cdef fastnn_product p = whole[0]
    cdef isize depth = FASTNN_SCRATCH_BYTES // (job.kernels.panel * job.item), item = job.item, k = 0
    cdef char *scratch = <char *>fastnn_scratch()
    cdef const char *b = <const char *>whole.b
    p.b, p.b_row = scratch, p.cols
    while True:
        p.k = min(depth, whole.k - k)
        p.a = <const char *>whole.a + k * whole.a_step * item
        if job.transposed_b:
            job.kernels.transpose(b + k * item, whole.b_row, scratch, p.cols, p.cols, p.k)
        else:
            copy_panel(&p, b + k * whole.b_row * item, whole.b_row, item)
        k += depth
        if k >= whole.k:
            finished_rows(job, &p, at)
            return
        tiles(job, &p)
        p.init, p.init_row = p.out, p.out_row


cdef void finish(const Product *job, const fastnn_product *p, isize at) noexcept nogil:
    """The element-wise end of a block, while it is in the cache: whole if its rows touch, else row by row."""
    cdef isize runs = 1 if p.cols == p.out_row else p.rows, n = p.rows * p.cols // runs
    cdef isize offset, r
    cdef char *out
    for r in range(runs):
        offset = r * p.out_row * job.item
        out = <char *>p.out + offset
        if job.activation != LINEAR:
            job.kernels.activate[job.activation](out, out, n)
        if job.derivative != LINEAR:
            job.kernels.activate_backward[job.derivative](job.activated + at + offset, out, out, n)
