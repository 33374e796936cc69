# The walk over batch axes: out = a . b for each index of them, on the pool.  An element of a matrix product is a chain
# over k (N1); a product with a vector on the right is row by row the dot of vectors (N6).

cdef enum:
    SMALL_WORK = 20000          # multiply-adds under which the interpreter's lock is kept
    SUM_CHUNK = 4096            # elements of a chunk of a vector dot (N6)
    SERIAL_BYTES = 1 << 18      # of vectors and matrices that meet a vector, under which the caller does it alone
    PARTIALS = 1024             # chunks whose dots wait together to be added


cdef struct Operand:
    char *data
    isize rows, cols, row, col          # the last two axes: lengths and strides

# Strides are bytes, but out_row is elements.
cdef struct Products:
    const fastnn_kernels *kernels
    bint integers, inner                # inner: b is one vector, each result the dot of a row with it
    isize item, rows, cols, k
    isize a_row, a_col, b_row, b_col, out_row
    char *a
    char *b
    char *out
    int axes
    isize shape[MOST_AXES]
    isize a_stride[MOST_AXES]
    isize b_stride[MOST_AXES]
    isize out_stride[MOST_AXES]
    isize blocks, block_rows            # of one product, or of the batch


cdef void run_products(Products *job) noexcept:
    cdef isize count = 1
    cdef int i
    for i in range(job.axes):
        count *= job.shape[i]
    if count == 0 or job.rows == 0 or job.cols == 0:
        return
    cdef isize work = job.rows * job.cols * (job.k + 1) * count
    if work < SMALL_WORK:
        walk(job, count, work)
    else:
        with nogil:
            walk(job, count, work)


cdef void walk(Products *job, isize count, isize work) noexcept nogil:
    if job.axes == 0:
        one_product(job, job.a, job.b, job.out)
        return
    job.block_rows = count          # products of a block
    if work >= SERIAL_WORK and count >= fastnn_threads():
        job.block_rows = max(1, count // (BLOCKS_PER_THREAD * fastnn_threads()))
    job.blocks = (count + job.block_rows - 1) // job.block_rows
    if job.blocks == 1:
        batch_block(job, 0, 0)
    else:
        fastnn_parallel(batch_block, job, job.blocks)


cdef void batch_block(void *context, isize block, int worker) noexcept nogil:
    cdef Products *job = <Products *>context
    cdef isize item, rest, at, count = 1
    cdef const char *a
    cdef const char *b
    cdef char *out
    cdef int i
    for i in range(job.axes):
        count *= job.shape[i]
    for item in range(block * job.block_rows, min(count, (block + 1) * job.block_rows)):
        a, b, out, rest = job.a, job.b, job.out, item
        for i in range(job.axes - 1, -1, -1):
            at = rest % job.shape[i]
            rest //= job.shape[i]
            a, b, out = a + at * job.a_stride[i], b + at * job.b_stride[i], out + at * job.out_stride[i]
        one_product(job, a, b, out)


cdef void one_product(const Products *job, const char *a, const char *b, char *out) noexcept nogil:
    if job.inner:
        inner_products(job, a, b, out)
    else:
        matrix_product(job, a, b, out)


cdef void matrix_product(const Products *job, const char *a, const char *b, char *out) noexcept nogil:
    cdef Product p
    cdef isize item = job.item, work = job.rows * job.cols * job.k
    cdef bint column = (job.cols == 1 and job.out_row == 1 and not job.integers
                        and (job.a_row == item or job.a_col == item))
    memset(&p, 0, sizeof(p))
    p.kernels, p.integers, p.item = job.kernels, job.integers, item
    p.whole.rows, p.whole.cols, p.whole.k, p.whole.out = job.rows, job.cols, job.k, out
    p.whole.a, p.whole.a_row, p.whole.a_step = a, job.a_row // item, job.a_col // item
    p.whole.b, p.whole.out_row = b, job.out_row
    p.transposed_b = job.b_col != item
    p.whole.b_row = (job.b_col if p.transposed_b else job.b_row) // item
    if column:                  # a column is a row of the transposed product
        p.transposed_b = job.a_row != item
        p.whole.a, p.whole.a_step, p.whole.b = b, job.b_row // item, a
        p.whole.b_row = (job.a_row if p.transposed_b else job.a_col) // item
        p.whole.rows, p.whole.cols = 1, job.rows
    if p.whole.rows == 1 and not job.integers:
        p.col_width = p.whole.cols
        if work >= SERIAL_WORK and fastnn_threads() > 1:
            p.col_width = job.kernels.panel * max(1, p.whole.cols // (job.kernels.panel * fastnn_threads()))
        run_blocks(row_block, &p, (p.whole.cols + p.col_width - 1) // p.col_width, work)
    else:
        run_product(&p, work)


cdef void row_block(void *context, isize block, int worker) noexcept nogil:
    cdef Product *job = <Product *>context
    cdef fastnn_product p = job.whole
    cdef isize col = block * job.col_width
    p.b = <const char *>p.b + col * (p.b_row if job.transposed_b else 1) * job.item
    p.out, p.cols = <char *>p.out + col * job.item, min(job.col_width, p.cols - col)
    if job.transposed_b:
        job.kernels.vecmat_transposed(&p)
    else:
        job.kernels.vecmat(&p)


cdef struct Inner:
    const fastnn_kernels *kernels
    bint integers, transposed
    const char *x
    const char *y
    char *out
    isize item, x_row, y_row, out_row, rows, n, height


cdef void inner_products(const Products *job, const char *a, const char *b, char *out) noexcept nogil:
    cdef Inner p
    cdef isize item = job.item, grain = job.kernels.panel
    p.kernels, p.integers, p.item, p.x, p.y, p.out = job.kernels, job.integers, item, a, b, out
    p.rows, p.n, p.y_row, p.transposed = job.rows, job.k, 0, job.a_col != item
    p.x_row = (job.a_col if p.transposed else job.a_row) // item
    if p.rows == 1 and p.n > SUM_CHUNK and not p.integers:
        long_dot(&p)
        return
    run_inner(&p, grain)


cdef void run_inner(Inner *p, isize grain) noexcept nogil:
    cdef isize work = p.rows * p.n, least
    p.height = p.rows
    if work * p.item < SERIAL_BYTES:
        work = 0
    elif fastnn_threads() > 1:
        least = max(1, SERIAL_WORK // 4 // (p.n + 1))
        p.height = max(least, p.rows // (BLOCKS_PER_THREAD * fastnn_threads()))
        grain = grain if p.transposed else 1 if p.y_row else 8
        p.height = (p.height + grain - 1) // grain * grain
        if not p.transposed and p.height * fastnn_threads() > p.rows:       # few long rows: as many for each
            p.height = (p.rows + fastnn_threads() - 1) // fastnn_threads()
    run_blocks(inner_block, p, (p.rows + p.height - 1) // p.height, work)


cdef void inner_block(void *context, isize block, int worker) noexcept nogil:
    cdef Inner *p = <Inner *>context
    cdef isize row = block * p.height, rows = min(p.height, p.rows - row), item = p.item
    cdef const char *x = p.x + row * item * (1 if p.transposed else p.x_row)
    cdef const char *y = p.y + row * item * p.y_row
    cdef char *out = p.out + row * item
    if p.integers:
        p.kernels.matvec_whole(x, p.x_row, y, out, rows, p.n)
    elif p.transposed:
        p.kernels.matvec_transposed(x, p.x_row, y, out, rows, p.n)
    else:
        p.kernels.matvec(x, p.x_row, y, p.y_row, out, rows, p.n)


cdef void long_dot(Inner *p) noexcept nogil:
    """The dot of two long vectors: its chunks as rows, then their dots added in order, as a product with ones."""
    cdef double[PARTIALS] partial
    cdef double one = 1
    cdef float one32 = 1
    cdef fastnn_product total
    cdef isize left = p.n, item = p.item
    memset(&total, 0, sizeof(total))
    total.a = &one32 if item == 4 else <void *>&one
    total.b, total.b_row, total.out, total.rows, total.cols = partial, 1, p.out, 1, 1
    p.out, p.x_row, p.y_row = <char *>partial, SUM_CHUNK, SUM_CHUNK
    while left:
        total.k = p.rows = min(PARTIALS, left // SUM_CHUNK)
        p.n = SUM_CHUNK
        if p.rows == 0:
            total.k, p.rows, p.n = 1, 1, left
        run_inner(p, 1)
        p.kernels.vecmat(&total)
        total.init = total.out
        p.x, p.y, left = p.x + p.rows * p.n * item, p.y + p.rows * p.n * item, left - p.rows * p.n
