"""The course's loops: the results printed in its slides, then NumPy's on awkward sizes."""

import numpy as np
import pytest

from fastnn.naive import (
    naive_add,
    naive_add_matrix_and_vector,
    naive_broadcast,
    naive_derivative,
    naive_gradient,
    naive_matrix_dot,
    naive_matrix_vector_dot,
    naive_maximum,
    naive_momentum,
    naive_multiply,
    naive_relu,
    naive_reshape,
    naive_softmax,
    naive_subtract,
    naive_transpose,
    naive_vector_dot,
)

# (function, NumPy's word for it, arguments, the result in the slides)
SLIDES = [
    (naive_relu, lambda x: np.maximum(x, 0), ([[-1, -2], [3, -4]],), [[0, 0], [3, 0]]),
    (naive_add, np.add, ([[1, 2], [3, 4]], [[6, 7], [8, 9]]), [[7, 9], [11, 13]]),
    (naive_multiply, np.multiply, ([[1, 2], [3, 4]], [[6, 7], [8, 9]]), [[6, 14], [24, 36]]),
    (naive_maximum, np.maximum, ([[-1, -2], [3, -4]], [[0, 0], [0, 0]]), [[0, 0], [3, 0]]),
    (naive_subtract, np.subtract, ([[6, 7], [8, 9]], [[1, 2], [3, 4]]), [[5, 5], [5, 5]]),
    (naive_transpose, np.transpose, ([[1, 2, 3], [4, 5, 6]],), [[1, 4], [2, 5], [3, 6]]),
    (naive_add_matrix_and_vector, np.add, ([[1, 2], [3, 4]], [6, 7]), [[7, 9], [9, 11]]),
    (naive_vector_dot, np.dot, ([1, 2], [5, 9]), 23),
    (naive_matrix_vector_dot, np.dot, ([[1, 2], [3, 4]], [5, 9]), [23.0, 51.0]),
    (naive_matrix_dot, np.dot, ([[1, 2, 3], [4, 5, 6]], [[1, 2], [3, 4], [5, 6]]), [[22.0, 28], [49.0, 64]]),
]
KEEPS_DTYPE = (naive_relu, naive_add, naive_multiply, naive_maximum, naive_subtract, naive_transpose,
               naive_add_matrix_and_vector)
name = [row[0].__name__ for row in SLIDES]


@pytest.mark.parametrize("function, _, arguments, printed", SLIDES, ids=name)
def test_slides(function, _, arguments, printed):
    result = function(*map(np.array, arguments))
    np.testing.assert_array_equal(result, printed)
    if function in KEEPS_DTYPE:
        assert result.dtype == np.array([1]).dtype
    elif function is not naive_vector_dot:
        assert result.dtype == np.float64


def shapes_for(function, m, k, n):
    return {
        naive_relu: [(m, k)],
        naive_add: [(m, k), (m, k)],
        naive_multiply: [(m, k), (m, k)],
        naive_maximum: [(m, k), (m, k)],
        naive_subtract: [(m, k), (m, k)],
        naive_transpose: [(m, k)],
        naive_add_matrix_and_vector: [(m, k), (k,)],
        naive_vector_dot: [(k,), (k,)],
        naive_matrix_vector_dot: [(m, k), (k,)],
        naive_matrix_dot: [(m, k), (k, n)],
    }[function]


@pytest.mark.parametrize("m, k, n", [(1, 1, 1), (2, 5, 3), (7, 2, 9), (3, 31, 8), (0, 4, 2), (4, 0, 2)])
@pytest.mark.parametrize("dtype", ["int64", "float32", "float64"])
@pytest.mark.parametrize("function, twin, _arguments, _printed", SLIDES, ids=name)
def test_equals_numpy_and_leaves_the_inputs_alone(function, twin, _arguments, _printed, dtype, m, k, n):
    rng = np.random.default_rng(m + 10 * k + 100 * n)
    arrays = [(10 * rng.standard_normal(shape)).astype(dtype) for shape in shapes_for(function, m, k, n)]
    for array in arrays:
        array.flags.writeable = False
    result = function(*arrays)
    expected = twin(*arrays)
    assert np.shape(result) == np.shape(expected)
    if function in KEEPS_DTYPE:
        assert result.dtype == dtype
        np.testing.assert_array_equal(result, expected)
    else:
        bound = 16 * np.finfo("float64" if dtype != "float32" else dtype).eps * twin(*map(np.abs, arrays))
        assert np.all(np.abs(result - expected) <= bound)


def test_relu_is_the_plain_max():
    result = naive_relu(np.array([[np.nan, -0.0, 0.0, -np.inf, np.inf]]))
    np.testing.assert_array_equal(result, [[np.nan, 0.0, 0.0, 0.0, np.inf]])
    np.testing.assert_array_equal(np.signbit(result[0, 1:]), [True, False, False, False])


@pytest.mark.parametrize(
    "function, shapes",
    [
        (naive_relu, [(3,)]),
        (naive_relu, [(2, 2, 2)]),
        (naive_add, [(2,), (2,)]),
        (naive_add, [(2, 3), (3, 2)]),
        (naive_add, [(2, 3), (1, 3)]),
        (naive_multiply, [(2, 3), (3,)]),
        (naive_maximum, [(2, 3), (2, 2)]),
        (naive_subtract, [(2, 3), (3, 2)]),
        (naive_transpose, [(3,)]),
        (naive_softmax, [(3,)]),
        (lambda x: naive_broadcast(x, 2), [(2, 3)]),
        (lambda x: naive_reshape(x, 2, 2), [(2, 3)]),
        (lambda w: naive_gradient(np.sum, w), [(3,)]),
        (lambda w, g: naive_momentum(w, w, g, 0.1, 0.9), [(2, 3), (3, 2)]),
        (naive_add_matrix_and_vector, [(2, 3), (2,)]),
        (naive_add_matrix_and_vector, [(3,), (3,)]),
        (naive_add_matrix_and_vector, [(2, 3), (1, 3)]),
        (naive_vector_dot, [(2,), (3,)]),
        (naive_vector_dot, [(2, 2), (2,)]),
        (naive_vector_dot, [(2,), (2, 2)]),
        (naive_matrix_vector_dot, [(2, 3), (2,)]),
        (naive_matrix_vector_dot, [(3,), (3,)]),
        (naive_matrix_vector_dot, [(2, 3), (3, 1)]),
        (naive_matrix_dot, [(2, 3), (2, 3)]),
        (naive_matrix_dot, [(3,), (3, 2)]),
        (naive_matrix_dot, [(2, 3), (3,)]),
    ],
)
def test_wrong_shapes_are_asserted(function, shapes):
    with pytest.raises(AssertionError):
        function(*map(np.zeros, shapes))


def test_softmax_broadcast_and_reshape_equal_numpy():
    x = np.random.default_rng(0).standard_normal((3, 8))
    e = np.exp(x - x.max(1, keepdims=True))
    np.testing.assert_allclose(naive_softmax(x), e / e.sum(1, keepdims=True), rtol=1e-14)
    np.testing.assert_array_equal(naive_softmax(np.array([[0, 0, 0, 0]])), [[0.25] * 4])
    np.testing.assert_array_equal(naive_broadcast(x[0], 5), np.broadcast_to(x[0], (5, 8)))
    for m, n in ((8, 3), (1, 24), (24, 1), (3, 8), (4, 6)):
        np.testing.assert_array_equal(naive_reshape(x, m, n), x.reshape(m, n))
    assert naive_broadcast(np.array([1, 2]), 3).dtype == naive_reshape(np.array([[1, 2]]), 2, 1).dtype == np.int64


def test_the_slope_and_the_gradient():
    assert naive_derivative(lambda x: x * x, 3.0) == pytest.approx(6.0, abs=1e-5)
    w, x = np.random.default_rng(0).standard_normal((2, 3)), np.array([1.0, -2.0, 0.5])
    np.testing.assert_allclose(naive_gradient(lambda w: np.sum((w @ x) ** 2), w), 2 * np.outer(w @ x, x), rtol=1e-6)


def test_the_momentum_step_by_hand():
    w, velocity = naive_momentum(np.array([[1.0]]), np.array([[0.5]]), np.array([[2.0]]), 0.1, 0.5)
    assert velocity == pytest.approx(0.5 * 0.5 - 0.1 * 2) and w == pytest.approx(1 + 0.5 * 0.05 - 0.1 * 2)


def test_nothing_is_printed(capsys):
    for function, _, arguments, _ in SLIDES:
        function(*map(np.array, arguments))
    assert capsys.readouterr() == ("", "")
