"""Gradients of Python functions, by tracing them and walking back (reverse mode).

>>> import numpy as np
>>> gradient(lambda w: np.sum(w ** 2))(np.array([1.0, 2.0, 3.0]))
array([2., 4., 6.])
"""
from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from . import calls as calls  # fills the tables of operations
from .traces import LostGradient, Trace, Traced, at, backward, plain


def gradient(f: Callable[..., Any], argnums: int | tuple[int, ...] = 0) -> Callable[..., Any]:
    """The function that returns the gradient of f, by its first argument or those that argnums names.

    f takes arrays (n-d float32 or float64), Python floats, or lists, tuples and dicts of them, and returns one number.
    It is written as usual: fastnn.ops, the operators + - * / @ **, indexing and slicing, NumPy functions, and any
    control flow.  Each gradient has the shape and dtype of its argument.  With a tuple of argnums the result is a
    tuple.  f is called once, and its arithmetic, forward and back, is done by the compiled kernels.

    At kinks: relu'(0) = 0 and |x|'(0) = 0; equal maxima (np.maximum, max) share the gradient equally.

    Raises TypeError for whole numbers among those arguments, for an operation without a derivative, an array changed
    in place, and a traced array made a plain one (float(x), np.asarray(x)); ValueError for a result that is not one
    number.  The message names the operation and the line that called it.

    >>> gradient(lambda x: x ** 2)(3.0)
    6.0
    >>> step, W0, x, y = 0.1, np.zeros((2, 3)), np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0])
    >>> def loss(W):
    ...     return np.sum((np.dot(W, x) - y) ** 2)
    >>> W1 = W0 - step * gradient(loss)(W0)
    >>> W1
    array([[0.2, 0.4, 0.6],
           [0.4, 0.8, 1.2]])
    >>> gradient(gradient(lambda x: x ** 3))(2.0)
    12.0
    >>> gradient(lambda x, y: x * y, argnums=(0, 1))(2.0, 5.0)
    (5.0, 2.0)
    """
    both = value_and_gradient(f, argnums)

    @functools.wraps(f)
    def gradient_of_f(*args: Any, **options: Any) -> Any:
        return both(*args, **options)[1]
    return gradient_of_f


def value_and_gradient(f: Callable[..., Any], argnums: int | tuple[int, ...] = 0) -> Callable[..., Any]:
    """The function that returns f's value and its gradient, as a pair; arguments and errors as in gradient().

    >>> value, slope = value_and_gradient(lambda x: x ** 2)(3.0)
    >>> print(value, slope)
    9.0 6.0
    """
    numbers = checked(f, argnums)

    @functools.wraps(f)
    def value_and_gradient_of_f(*args: Any, **options: Any) -> Any:
        for i in numbers:
            if not -len(args) <= i < len(args):
                raise ValueError(f"gradient: argument {i} is asked for, but {len(args)} were given in the call. "
                                 "Pass it by position.")
        trace, given = Trace(), list(args)
        for i in numbers:
            given[i] = mapped(lambda x, i=i: leaf(x, i, trace), args[i])        # type: ignore[misc]
        try:
            result = f(*given, **options)
            if type(result) is Traced and result.trace is trace:
                require_scalar(result)
                backward(trace, result, one_like(result))
            else:
                require_number(f, result, trace)
        except ValueError as error:             # NumPy hides ours when an element of an array is set
            if isinstance(error.__cause__, LostGradient):
                raise error.__cause__ from None
            raise
        finally:
            trace.close()
        taken: set[int] = set()
        found = tuple(mapped(lambda x: collected(x, taken), given[i]) for i in numbers)
        value = result.value if type(result) is Traced and result.trace is trace else result
        value = value[()] if type(value) is np.ndarray else value
        return value, found if isinstance(argnums, tuple) else found[0]
    return value_and_gradient_of_f


def checked(f: Any, argnums: Any) -> tuple[int, ...]:
    if not callable(f):
        raise TypeError(f"gradient takes a function, received {type(f).__name__}. Write gradient(f)(x), not "
                        "gradient(f(x)).")
    numbers = argnums if isinstance(argnums, tuple) else (argnums,)
    if not numbers or any(isinstance(i, bool) or not isinstance(i, (int, np.integer)) for i in numbers):
        raise TypeError(f"argnums must be an integer or a tuple of integers, received {argnums!r}.")
    return numbers


def mapped(function: Callable[[Any], Any], tree: Any) -> Any:
    """function of each leaf in nested lists, tuples and dicts."""
    if isinstance(tree, dict):
        return {key: mapped(function, item) for key, item in tree.items()}
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(mapped(function, item) for item in tree))
    if isinstance(tree, (list, tuple)):
        return type(tree)(mapped(function, item) for item in tree)
    return function(tree)


def leaf(x: Any, number: int, trace: Trace) -> Traced:
    if isinstance(x, float) and not isinstance(x, np.generic) or type(x) is Traced:
        return Traced(x, trace)
    if not isinstance(x, (np.ndarray, np.generic)):
        if not isinstance(x, (bool, int, complex, str)) and hasattr(x, "__array__"):
            x = np.asarray(x)
        else:
            fix = f": {float(x)!r}" if isinstance(x, int) else "."
            raise TypeError(f"gradient: argument {number} holds {type(x).__name__} {x!r}, not floating-point numbers. "
                            f"Convert it to float{fix}")
    if x.dtype not in (np.float32, np.float64):
        raise TypeError(f"gradient: argument {number} has dtype {x.dtype}; only float32 and float64 have gradients. "
                        "Convert it to float first: x.astype('float64').")
    return Traced(x, trace)


def require_scalar(result: Traced) -> None:
    if result.shape != ():
        raise ValueError(f"gradient needs a function that returns one number, but its result has shape "
                         f"{result.shape}{at()}. Sum it or take the mean: np.sum(...), np.mean(...).")


def require_number(f: Any, result: Any, trace: Trace) -> None:
    """What does not depend on the arguments may be returned if it is a number: its gradient is zero."""
    code = getattr(f, "__code__", None)
    where = f" (at {code.co_filename}:{code.co_firstlineno})" if code else ""
    if isinstance(plain(result), (bool, np.bool_)) or getattr(plain(result), "dtype", None) == np.bool_:
        raise TypeError(f"The function{where} returns the result of a comparison"
                        f"{at(trace.compared) if trace.compared else ''}, which has no derivative. "
                        "Use comparisons to choose: np.where(x > 0, a, b).")
    if not isinstance(plain(result), (int, float, np.number, np.ndarray)):
        raise TypeError(f"gradient needs a function that returns one number, but the function{where} returned "
                        f"{type(result).__name__}. Return the loss alone.")
    if np.shape(plain(result)) != ():
        raise ValueError(f"gradient needs a function that returns one number, but the function{where} returned an "
                         f"array of shape {np.shape(plain(result))}. Sum it or take the mean.")


def one_like(result: Traced) -> Any:
    return np.ones((), result.dtype)


def collected(x: Traced, taken: set[int]) -> Any:
    """The gradient of a leaf in its type; an array is the caller's own."""
    dx, value = x.gradient, x.value
    x.gradient = None
    if type(dx) is Traced:
        return dx
    if dx is None:
        dx = np.zeros(x.shape, x.dtype)
    if type(plain(value)) is not np.ndarray:
        return type(plain(value))(dx)
    if type(dx) is not np.ndarray or dx.base is not None or not dx.flags.writeable or id(dx) in taken:
        dx = np.array(dx, copy=True, order="C")
    taken.add(id(dx))
    return dx


def with_pullback(f: Callable[[Any], Any], x: np.ndarray) -> tuple[Any, Callable[[Any], Any]]:
    """f(x), which may have any shape, and the function from the gradient by it to the gradient by x."""
    trace = Trace()
    given = Traced(x, trace)
    try:
        result = f(given)
    finally:
        trace.close()
    if type(result) is not Traced or result.trace is not trace:
        return plain(result), lambda dout: np.zeros_like(x)

    def pullback(dout: Any) -> Any:
        result.gradient = None
        backward(trace, result, dout)
        return collected(given, set())
    return result.value, pullback


class GradientCheck(NamedTuple):
    """The element whose gradient differs most from its central difference."""

    error: float
    argument: int
    position: tuple[int, ...]
    gradient: float
    difference: float


def check_gradient(f: Callable[..., Any], *args: Any, tolerance: float = 1e-5) -> GradientCheck:
    """Compare the gradient of f by every argument with central differences, in float64; returns the worst element.

    Arguments that are not floating-point arrays or floats are passed as they are.  The error of an element is
    |gradient - difference| / max(1, |gradient|, |difference|); AssertionError if the worst exceeds the tolerance.
    f is called twice for each element, so take small arrays, away from kinks such as relu's at 0.

    >>> check_gradient(lambda x: np.sum(np.exp(x)), np.array([0.0, 1.0])).error < 1e-8
    True
    """
    wide = [np.array(x, "float64") if is_real(x) else x for x in args]
    numbers = tuple(i for i, x in enumerate(args) if is_real(x))
    if not numbers:
        raise TypeError("check_gradient needs an argument that is a float or a float32 or float64 array.")
    found = gradient(f, numbers)(*wide)
    worst = GradientCheck(0.0, numbers[0], (), 0.0, 0.0)
    for i, dx in zip(numbers, found, strict=True):
        for index, difference in differences(f, wide, i):
            error = abs(dx[index] - difference) / max(1.0, abs(dx[index]), abs(difference))
            if not error <= worst.error:
                worst = GradientCheck(float(error), i, index, float(dx[index]), float(difference))
    if not worst.error <= tolerance:
        raise AssertionError(f"The gradient by argument {worst.argument} is {worst.gradient:.9g} at {worst.position}, "
                             f"but the central difference is {worst.difference:.9g}: an error of {worst.error:.3g}.")
    return worst


def is_real(x: Any) -> bool:
    return isinstance(x, float) or getattr(x, "dtype", None) in (np.float32, np.float64)


def differences(f: Callable[..., Any], args: list[Any], i: int) -> Iterator[tuple[tuple[int, ...], float]]:
    """(f(x + h) - f(x - h)) / 2h for each element of argument i, with h about the cube root of the rounding."""
    for index in np.ndindex(args[i].shape):
        h = 6e-6 * max(1.0, abs(float(args[i][index])))
        values = []
        for shift in (h, -h):
            moved = [x.copy() if k == i else x for k, x in enumerate(args)]
            moved[i][index] += shift
            values.append(float(f(*moved)))
        yield index, (values[0] - values[1]) / (2 * h)


__all__ = ["GradientCheck", "check_gradient", "gradient", "value_and_gradient"]
