"""The compiled kernels on arrays: float32 and float64, reductions also of integers; any memory layout; out= takes the
result."""
import numpy as np

from ._core import add, argmax, argmin, dot, matmul, mean, relu, softmax
from ._core import max_ as max
from ._core import min_ as min
from ._core import sum_ as sum

__all__ = ["add", "argmax", "argmin", "dot", "matmul", "max", "mean", "min", "relu", "softmax", "sum"]

REDUCED = ("float32", "float64", "int32", "int64", "uint8", "bool")
REDUCTIONS = [      # name, kind, formula, dtypes, reference
    ("sum", "reduction", "x[0] + x[1] + ... over axis", REDUCED, np.sum),
    ("mean", "reduction", "sum(x) / n over axis", REDUCED, np.mean),
    ("max", "reduction", "the largest of x over axis", REDUCED, np.max),
    ("min", "reduction", "the smallest of x over axis", REDUCED, np.min),
    ("argmax", "reduction", "the place of the largest of x along axis", REDUCED, np.argmax),
    ("argmin", "reduction", "the place of the smallest of x along axis", REDUCED, np.argmin),
]
