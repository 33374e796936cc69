"""The compiled kernels on arrays: float32 and float64, any memory layout; out= takes the result."""
from ._core import add, argmax, argmin, dot, matmul, mean, relu, softmax
from ._core import max_ as max
from ._core import min_ as min
from ._core import sum_ as sum

__all__ = ["add", "argmax", "argmin", "dot", "matmul", "max", "mean", "min", "relu", "softmax", "sum"]
