"""The tensor operations of the course as plain Python loops: what each one computes, element by element.

They are for reading, and for comparing with NumPy and with ``fastnn.ops``, which return the same numbers much
sooner. Nothing but the benchmarks uses them. Wrong shapes raise AssertionError, the inputs are never changed, and
the dtypes are the course's: ``naive_relu`` and the additions keep x's, the products of matrices are float64.

>>> naive_matrix_dot(np.array([[1, 2], [3, 4]]), np.array([[5, 6], [7, 8]]))
array([[19., 22.],
       [43., 50.]])
"""

from __future__ import annotations

from typing import Any

import numpy as np


def naive_relu(x: np.ndarray) -> np.ndarray:
    """Return max(x, 0) of each element; x and the result are (B, I)."""
    assert len(x.shape) == 2

    x = x.copy()
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            x[i, j] = max(x[i, j], 0)
    return x


def naive_add(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return x + y, element by element; x, y and the result are (B, I)."""
    assert len(x.shape) == 2
    assert x.shape == y.shape

    x = x.copy()
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            x[i, j] += y[i, j]
    return x


def naive_add_matrix_and_vector(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return x with y added to each of its rows (broadcasting); x and the result are (B, I), y is (I,)."""
    assert len(x.shape) == 2
    assert len(y.shape) == 1
    assert x.shape[1] == y.shape[0]

    x = x.copy()
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            x[i, j] += y[j]
    return x


def naive_vector_dot(x: np.ndarray, y: np.ndarray) -> Any:
    """Return the dot product of two vectors, one number; x and y are (n,)."""
    assert len(x.shape) == 1
    assert len(y.shape) == 1
    assert x.shape[0] == y.shape[0]

    z = 0
    for i in range(x.shape[0]):
        z += x[i] * y[i]
    return z


def naive_matrix_vector_dot(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the dot product of each row of x with y; x is (m, k), y is (k,), the result is (m,)."""
    assert len(x.shape) == 2
    assert len(y.shape) == 1
    assert x.shape[1] == y.shape[0]

    z = np.zeros(x.shape[0])
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            z[i] += x[i, j] * y[j]
    return z


def naive_matrix_dot(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the dot product of x's rows with y's columns; x is (m, k), y is (k, n), the result is (m, n)."""
    assert len(x.shape) == 2
    assert len(y.shape) == 2
    assert x.shape[1] == y.shape[0]

    z = np.zeros((x.shape[0], y.shape[1]))
    for i in range(x.shape[0]):
        for j in range(y.shape[1]):
            row_x = x[i, :]
            column_y = y[:, j]
            z[i, j] = naive_vector_dot(row_x, column_y)
    return z
