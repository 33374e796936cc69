# Losses on arrays: checks, one allocation, one call.

def loss(str name, y_pred, y_true, dout=None, double scale=1):
    """The loss of each row of y_pred (n, O) against y_true (n, O); dout takes the gradient of scale * their sum."""
    cdef np.ndarray p, t, result, gradient
    cdef int dtype
    p, t, dtype = pair(name, y_pred, y_true)
    cdef tuple shape = (<object>p).shape
    if p.ndim != 2 or shape != (<object>t).shape:
        raise ValueError(f"{name} takes y_pred and y_true of one shape (n, outputs), received {shape} "
                         f"and {(<object>t).shape}.")
    p, result = p.copy(), empty((shape[0],), dtype)     # losses on logits turn y_pred into probabilities
    gradient = None if dout is None else output(name, dout, shape, dtype, (t,), False)
    kernels_of(dtype).loss[<int>LOSS_NAMES[name]](
        np.PyArray_DATA(p), np.PyArray_DATA(t), np.PyArray_DATA(result),
        NULL if gradient is None else np.PyArray_DATA(gradient), NULL, scale, p.shape[0], p.shape[1])
    return result
