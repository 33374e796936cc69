# A stage that is a Python function: the network calls it with the GIL, on copies, which the function may keep.

cdef extern from "numpy/arrayobject.h":
    object PyArray_SimpleNewFromData(int ndim, np.npy_intp *shape, int type_number, void *data)


cdef class Function(Stage):
    """forward(x (B, *shape)) gives out (B, *out_shape); backward(x, dout) gives dx.  Neither may change x."""
    cdef object apply, pull
    cdef tuple shape, out_shape

    def __init__(self, forward, backward, tuple shape, tuple out_shape, dtype):
        self.apply, self.pull, self.shape, self.out_shape = forward, backward, shape, out_shape
        self.inputs, self.units = numpy.prod(shape, dtype="int64"), numpy.prod(out_shape, dtype="int64")
        self.dtype = DTYPE_NAMES.index(dtype)

    cdef object rows_of(self, const char *data, isize rows, tuple shape):
        cdef np.npy_intp length = rows * <isize>numpy.prod(shape, dtype="int64")
        number = np.NPY_FLOAT32 if self.dtype == FLOAT32 else np.NPY_FLOAT64
        array = PyArray_SimpleNewFromData(1, &length, number, <void *>data).reshape(rows, *shape).copy()
        array.flags.writeable = False
        return array

    cdef int store(self, object found, char *to, isize rows, tuple shape) except -1:
        if numpy.shape(found) != (rows, *shape):
            raise ValueError(f"The function of a Lambda layer must return an array of shape {(rows, *shape)}, "
                             f"received {numpy.shape(found)}. Keep the first axis, one row a sample.")
        cdef np.ndarray values = numpy.ascontiguousarray(found)
        if real_dtype(values) != self.dtype:
            raise TypeError(f"The function of a Lambda layer must return {DTYPE_NAMES[self.dtype]}, as it is given, "
                            f"but returned {values.dtype}. Convert its arrays: .astype({DTYPE_NAMES[self.dtype]!r}).")
        memcpy(to, np.PyArray_DATA(values), <size_t>values.nbytes)
        return 0

    cdef int call(self, const char *x, char *out, isize rows) except -1:
        """out (rows, units) from x (rows, inputs)"""
        return self.store(self.apply(self.rows_of(x, rows, self.shape)), out, rows, self.out_shape)

    cdef int call_back(self, const char *x, const char *dout, char *dx, isize rows, int derivative) except -1:
        """dx from x and dout, times the derivative of the activation before"""
        found = self.pull(self.rows_of(x, rows, self.shape), self.rows_of(dout, rows, self.out_shape))
        self.store(found, dx, rows, self.shape)
        if derivative != LINEAR:
            kernels_of(self.dtype).activate_backward[derivative](x, dx, dx, rows * self.inputs)
        return 0
