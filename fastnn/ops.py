"""Tensor operations in compiled kernels: arrays in, ndarrays out, with NumPy's rules for dtypes and broadcasting.

Arguments are arrays of any memory layout, Python's numbers and lists, and whatever has the buffer protocol,
``__array__`` or DLPack (torch's tensors on the CPU).  Element types are float32, float64, int32, int64 and uint8; where
NumPy computes in another one, the error names the conversion.  ``out=`` takes the result: an array of exactly its
shape and dtype, which may be one of the arguments.  Integers wrap as in NumPy; floating-point operations give inf and
NaN without a warning.

``OPERATIONS`` is the list of all of them, with the formula, the element types and the function of NumPy that
defines the result.
"""
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ._core import (
    absolute,
    add,
    argmax,
    argmin,
    broadcast_shapes,
    concatenate,
    divide,
    dot,
    exp,
    expand_dims,
    log,
    log_softmax,
    matmul,
    maximum,
    mean,
    minimum,
    multiply,
    negative,
    one_hot,
    outer,
    relu,
    reshape,
    sigmoid,
    sign,
    softmax,
    sqrt,
    square,
    squeeze,
    subtract,
    tanh,
    tensordot,
    transpose,
)
from ._core import max_ as max
from ._core import min_ as min
from ._core import sum_ as sum

__all__ = ["OPERATIONS", "Operation", "absolute", "add", "argmax", "argmin", "broadcast_shapes", "concatenate",
           "divide", "dot", "exp", "expand_dims", "log", "log_softmax", "matmul", "max", "maximum", "mean", "min",
           "minimum", "multiply", "negative", "one_hot", "outer", "relu", "reshape", "sigmoid", "sign", "softmax",
           "sqrt", "square", "squeeze", "subtract", "sum", "tanh", "tensordot", "transpose"]


class Operation(NamedTuple):
    """One operation.  kind: unary, binary, reduction, product, rows (along an axis) or shape.  dtypes: the arguments'.
    reference: the function of NumPy, or of it composed, that defines the result."""

    name: str
    kind: str
    formula: str
    dtypes: tuple[str, ...]
    reference: Callable[..., Any]

    @property
    def function(self) -> Callable[..., Any]:
        """The operation itself."""
        return globals()[self.name]


FLOATS = ("float32", "float64")
NUMBERS = (*FLOATS, "int32", "int64", "uint8")
REDUCED = (*NUMBERS, "bool")
SIGNED = NUMBERS[:-1]       # NumPy computes the exp of a uint8 in float16


def _softmax(x: Any, axis: int = -1) -> Any:
    powers = np.exp(x - np.max(x, axis=axis, keepdims=True))
    return powers / np.sum(powers, axis=axis, keepdims=True)


def _log_softmax(x: Any, axis: int = -1) -> Any:
    shifted = x - np.max(x, axis=axis, keepdims=True)
    return shifted - np.log(np.sum(np.exp(shifted), axis=axis, keepdims=True))


def _one_hot(labels: Any, num_classes: int) -> Any:
    return np.eye(num_classes, dtype="float32")[np.asarray(labels)]


OPERATIONS: dict[str, Operation] = {operation.name: operation for operation in itertools.starmap(Operation, [
    ("relu", "unary", "max(x, 0)", NUMBERS, lambda x: np.maximum(x, 0)),
    ("negative", "unary", "-x", NUMBERS, np.negative),
    ("absolute", "unary", "|x|", NUMBERS, np.absolute),
    ("square", "unary", "x * x", NUMBERS, np.square),
    ("sign", "unary", "-1, 0 or 1", NUMBERS, np.sign),
    ("sqrt", "unary", "x ** 0.5", SIGNED, np.sqrt),
    ("exp", "unary", "e ** x", SIGNED, np.exp),
    ("log", "unary", "log(x)", SIGNED, np.log),
    ("tanh", "unary", "tanh(x)", SIGNED, np.tanh),
    ("sigmoid", "unary", "1 / (1 + exp(-x))", SIGNED, lambda x: 1 / (1 + np.exp(np.negative(x)))),
    ("add", "binary", "x + y", NUMBERS, np.add),
    ("subtract", "binary", "x - y", NUMBERS, np.subtract),
    ("multiply", "binary", "x * y", NUMBERS, np.multiply),
    ("divide", "binary", "x / y", NUMBERS, np.divide),
    ("maximum", "binary", "max(x, y)", NUMBERS, np.maximum),
    ("minimum", "binary", "min(x, y)", NUMBERS, np.minimum),
    ("sum", "reduction", "x[0] + x[1] + ... over axis", REDUCED, np.sum),
    ("mean", "reduction", "sum(x) / n over axis", REDUCED, np.mean),
    ("max", "reduction", "the largest of x over axis", REDUCED, np.max),
    ("min", "reduction", "the smallest of x over axis", REDUCED, np.min),
    ("argmax", "reduction", "the place of the largest of x along axis", REDUCED, np.argmax),
    ("argmin", "reduction", "the place of the smallest of x along axis", REDUCED, np.argmin),
    ("dot", "product", "out[..., j] = sum over i of x[..., i] * y[i, j]", NUMBERS, np.dot),
    ("matmul", "product", "out[b, r, c] = sum over i of x[b, r, i] * y[b, i, c]", NUMBERS, np.matmul),
    ("outer", "product", "out[i, j] = x[i] * y[j]", NUMBERS, np.outer),
    ("tensordot", "product", "out[r, c] = sum over the paired axes of x * y", NUMBERS, np.tensordot),
    ("softmax", "rows", "exp(x - max) / sum(exp(x - max))", SIGNED, _softmax),
    ("log_softmax", "rows", "x - max - log(sum(exp(x - max)))", SIGNED, _log_softmax),
    ("reshape", "shape", "the same elements in another shape", NUMBERS, np.reshape),
    ("transpose", "shape", "axes reversed, or in the order given", NUMBERS, np.transpose),
    ("expand_dims", "shape", "a new axis of length 1", NUMBERS, np.expand_dims),
    ("squeeze", "shape", "without axes of length 1", NUMBERS, np.squeeze),
    ("concatenate", "shape", "one after the other along an axis", NUMBERS, np.concatenate),
    ("one_hot", "shape", "rows of the identity matrix", ("int32", "int64", "uint8"), _one_hot),
])}
