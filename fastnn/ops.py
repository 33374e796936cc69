"""The compiled kernels on arrays: any memory layout; out= takes the result."""
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ._core import add, dot, matmul, outer, relu, softmax, tensordot

__all__ = ["OPERATIONS", "Operation", "add", "dot", "matmul", "outer", "relu", "softmax", "tensordot"]


class Operation(NamedTuple):
    """One operation.  kind: unary, binary, reduction, product, rows (along an axis) or shape.  dtypes: of the
    arguments.  reference: the function of NumPy, or of it composed, that defines the result."""

    name: str
    kind: str
    formula: str
    dtypes: tuple[str, ...]
    reference: Callable[..., Any]


ALL = ("float32", "float64", "int32", "int64", "uint8")
PRODUCTS = [
    Operation("dot", "product", "out[..., j] = sum over i of x[..., i] * y[i, j]", ALL, np.dot),
    Operation("matmul", "product", "out[b, r, c] = sum over i of x[b, r, i] * y[b, i, c]", ALL, np.matmul),
    Operation("outer", "product", "out[i, j] = x[i] * y[j]", ALL, np.outer),
    Operation("tensordot", "product", "out[r, c] = sum over the paired axes of x * y", ALL, np.tensordot),
]
OPERATIONS = {operation.name: operation for operation in PRODUCTS}
