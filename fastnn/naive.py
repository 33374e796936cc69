"""The tensor operations of the course as plain Python loops: what each one computes, element by element.

They are for reading, and for comparing with NumPy and with ``fastnn.ops``, which return the same numbers much
sooner. Nothing but the benchmarks uses them. Wrong shapes raise AssertionError, the inputs are never changed, and
the dtypes are the course's: ``naive_relu`` and the element-wise ones keep x's, as do those that move elements; the
products of matrices, softmax and the gradient are float64.

>>> naive_matrix_dot(np.array([[1, 2], [3, 4]]), np.array([[5, 6], [7, 8]]))
array([[19., 22.],
       [43., 50.]])
"""

from __future__ import annotations

import math
from collections.abc import Callable
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


def naive_subtract(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return x - y, element by element; x, y and the result are (B, I)."""
    assert len(x.shape) == 2
    assert x.shape == y.shape

    x = x.copy()
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            x[i, j] -= y[i, j]
    return x


def naive_multiply(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return x * y, element by element (not the dot product); x, y and the result are (B, I)."""
    assert len(x.shape) == 2
    assert x.shape == y.shape

    x = x.copy()
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            x[i, j] *= y[i, j]
    return x


def naive_maximum(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the larger of x and y, element by element; x, y and the result are (B, I)."""
    assert len(x.shape) == 2
    assert x.shape == y.shape

    x = x.copy()
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            x[i, j] = max(x[i, j], y[i, j])
    return x


def naive_softmax(x: np.ndarray) -> np.ndarray:
    """Return exp(x) / sum(exp(x)) of each row, numbers from 0 to 1 that sum to 1; x and the result are (B, O)."""
    assert len(x.shape) == 2

    z = np.zeros(x.shape)
    for i in range(x.shape[0]):
        largest, total = max(x[i]), 0.0
        for j in range(x.shape[1]):
            z[i, j] = math.exp(x[i, j] - largest)
            total += z[i, j]
        for j in range(x.shape[1]):
            z[i, j] /= total
    return z


def naive_broadcast(y: np.ndarray, n: int) -> np.ndarray:
    """Return y (I,) repeated along a new first axis of length n: (n, I)."""
    assert len(y.shape) == 1

    z = np.zeros((n, y.shape[0]), y.dtype)
    for i in range(n):
        for j in range(y.shape[0]):
            z[i, j] = y[j]
    return z


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


def naive_reshape(x: np.ndarray, m: int, n: int) -> np.ndarray:
    """Return x's elements, row after row, in m rows of n: (m, n)."""
    assert len(x.shape) == 2
    assert x.shape[0] * x.shape[1] == m * n

    z = np.zeros((m, n), x.dtype)
    for i in range(m):
        for j in range(n):
            k = i * n + j
            z[i, j] = x[k // x.shape[1], k % x.shape[1]]
    return z


def naive_transpose(x: np.ndarray) -> np.ndarray:
    """Return x with rows and columns exchanged; x is (m, n), the result is (n, m)."""
    assert len(x.shape) == 2

    z = np.zeros((x.shape[1], x.shape[0]), x.dtype)
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            z[j, i] = x[i, j]
    return z


def naive_derivative(f: Callable[[float], float], x: float, epsilon_x: float = 1e-6) -> float:
    """Return the slope a of f at x, from f(x + epsilon_x) = f(x) + a * epsilon_x."""
    epsilon_y = f(x + epsilon_x) - f(x)
    return epsilon_y / epsilon_x


def naive_gradient(f: Callable[[np.ndarray], float], w: np.ndarray, epsilon: float = 1e-6) -> np.ndarray:
    """Return the slope of f along each element of w, from a step to both sides; w and the result are (m, n)."""
    assert len(w.shape) == 2

    z = np.zeros(w.shape)
    for i in range(w.shape[0]):
        for j in range(w.shape[1]):
            after, before = w.copy(), w.copy()
            after[i, j] += epsilon
            before[i, j] -= epsilon
            z[i, j] = (f(after) - f(before)) / (2 * epsilon)
    return z


def naive_momentum(
    w: np.ndarray, past_velocity: np.ndarray, gradient: np.ndarray, learning_rate: float, momentum: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return w after one step of SGD with momentum, and the new velocity; all are (m, n)."""
    assert len(w.shape) == 2
    assert w.shape == past_velocity.shape == gradient.shape

    w, velocity = w.copy(), past_velocity.copy()
    for i in range(w.shape[0]):
        for j in range(w.shape[1]):
            velocity[i, j] = past_velocity[i, j] * momentum - learning_rate * gradient[i, j]
            w[i, j] += momentum * velocity[i, j] - learning_rate * gradient[i, j]
    return w, velocity
