# Sparse rows: the array of them, and the gathering of a batch of them.

cdef class SparseRows:
    """n rows of `inputs` numbers: row r has value[i] at index[i] for i from start[r] to start[r + 1] - 1, in increasing
    index, and zeros elsewhere.  Slices share index and value."""
    cdef readonly np.ndarray start, index, value
    cdef readonly isize inputs

    def __init__(self, np.ndarray start, np.ndarray index, np.ndarray value, isize inputs):
        cdef isize most = min(len(index), len(value))
        if start.dtype != "int64" or index.dtype != "int32" or value.dtype not in ("uint8", "float32", "float64") \
                or not all([x.ndim == 1 and x.flags.c_contiguous and x.flags.aligned for x in (start, index, value)]):
            raise ValueError("SparseRows takes C-contiguous start (n + 1) of int64, index of int32 and value of uint8, "
                             "float32 or float64.")
        if len(start) == 0 or start.min() < 0 or start.max() > most or (start[1:] < start[:len(start) - 1]).any():
            raise ValueError(f"The starts of the rows must rise from 0 to at most {most}, the number of values.")
        if len(index) and not 0 <= index.min() <= index.max() < inputs:
            raise ValueError(f"Column indices must be from 0 to {inputs - 1}, received {index.min()} to {index.max()}.")
        self.start, self.index, self.value, self.inputs = start, index, value, inputs

    def __len__(self):
        return len(self.start) - 1

    def __getitem__(self, rows):
        first, last, _ = rows.indices(len(self))
        return SparseRows(self.start[first:max(first, last) + 1], self.index, self.value, self.inputs)


cdef struct EntryGathering:
    const fastnn_kernels *kernels
    const Source *source
    const int64_t *index
    const fastnn_entries *out
    isize rows, item, first


cdef inline isize row_of(const int64_t *order, isize row) noexcept nogil:
    return order[row] if order != NULL else row


cdef void gather_some_entries(void *context, isize block, int worker) noexcept nogil:
    cdef EntryGathering *job = <EntryGathering *>context
    cdef const Source *source = job.source
    cdef isize row, start, count, at
    for row in range(block * ROW_GRAIN, min((block + 1) * ROW_GRAIN, job.rows)):
        at, start = job.out.start[row], source.start[row_of(job.index, job.first + row)]
        count = job.out.start[row + 1] - at
        memcpy(job.out.index + at, source.index + start, <size_t>count * sizeof(int32_t))
        job.kernels.gather[source.kind](source.data + start * source.item, NULL,
                                        <char *>job.out.value + at * job.item, source.scale, 1, count)
