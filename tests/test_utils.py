"""Rows of length 1."""
import numpy as np
import pytest

from fastnn.utils import normalize


@pytest.mark.parametrize("order", [1, 2, np.inf])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_normalize(axis, order, dtype):
    x = np.random.default_rng(0).standard_normal((5, 4)).astype(dtype)
    x[2], x[:, 1] = 0, 0
    found = normalize(x, axis, order)
    assert found.dtype == dtype
    lengths = np.linalg.norm(found.astype("float64"), order, axis)
    np.testing.assert_allclose(lengths, np.linalg.norm(x, order, axis) > 0, 1e-6)
    np.testing.assert_allclose(found * np.linalg.norm(x, order, axis, keepdims=True), x, 1e-5, 1e-7)


def test_normalize_bytes():
    np.testing.assert_allclose(normalize(np.array([[3, 4], [0, 0]], "uint8")), [[0.6, 0.8], [0, 0]])
