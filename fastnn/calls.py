"""What users call on traced arrays, by its name in NumPy and fastnn.ops: NumPy's signatures, then the operation."""
from __future__ import annotations

import builtins
from typing import Any

import numpy as np

from .rules import (
    Array,
    absolute,
    axes_of,
    divide,
    flip,
    maximum,
    minimum,
    multiply,
    operation,
    reshape,
    shape_of,
    sqrt,
    square,
    subtract,
    sum,
    swapaxes,
    transpose,
    where,
)
from .traces import CALLS, Traced, apply, no_derivative, plain


def mean(x: Array, axis: Any = None, *, keepdims: bool = False) -> Array:
    return apply("mean", (x,), {"axis": axis, "keepdims": keepdims})


def var(x: Array, axis: Any = None, *, ddof: int = 0, keepdims: bool = False) -> Array:
    axes = axes_of(axis, len(shape_of(x)))
    count = float(np.prod([shape_of(x)[a] for a in axes]) - ddof)
    return divide(sum(square(subtract(x, mean(x, axis, keepdims=True))), axis, keepdims=keepdims), count)


def std(x: Array, axis: Any = None, *, ddof: int = 0, keepdims: bool = False) -> Array:
    return sqrt(var(x, axis, ddof=ddof, keepdims=keepdims))


def norm(x: Array, ord: Any = None, axis: Any = None, *, keepdims: bool = False) -> Array:
    if ord == 1 and (axis is not None or len(shape_of(x)) == 1):
        return sum(absolute(x), axis, keepdims=keepdims)
    if ord not in (None, 2, "fro") or ord == 2 and axis is None and len(shape_of(x)) != 1:
        raise no_derivative(f"norm with ord={ord!r}")
    return sqrt(sum(square(x), axis, keepdims=keepdims))


def extreme(name: str) -> Any:
    def reduce(x: Array, axis: Any = None, *, keepdims: bool = False) -> Array:
        return apply(name, (x,), {"axis": axis, "keepdims": keepdims})
    return reduce


def along(name: str) -> Any:
    def rows(x: Array, axis: int = -1) -> Array:
        if axis in (-1, len(shape_of(x)) - 1):
            return apply(name, (x,))
        return swapaxes(apply(name, (swapaxes(x, axis, -1),)), axis, -1)
    return rows


def cumsum(x: Array, axis: Any = None) -> Array:
    return apply("cumsum", (x,), {"axis": axis})


def dot(x: Array, y: Array) -> Array:
    ndim_x, ndim_y = len(shape_of(x)), len(shape_of(y))
    if not ndim_x or not ndim_y:
        return multiply(x, y)
    if ndim_x <= 2 and ndim_y <= 2:
        return apply("dot", (x, y))
    return tensordot(x, y, ([ndim_x - 1], [builtins.max(ndim_y - 2, 0)]))


def tensordot(x: Array, y: Array, axes: Any = 2) -> Array:
    return apply("tensordot", (x, y, axes))


def outer(x: Array, y: Array) -> Array:
    return apply("outer", (ravel(x), ravel(y)))


def shaped(x: Array, shape: Any) -> Array:
    shape = tuple(shape) if np.iterable(shape) else (shape,)
    return reshape(x, tuple(map(int, shape)))


def ravel(x: Array) -> Array:
    return x if len(shape_of(x)) == 1 else reshape(x, (-1,))


def transposed(x: Array, axes: Any = None) -> Array:
    return transpose(x, axes if axes is None else tuple(axes))


def moveaxis(x: Array, source: Any, destination: Any) -> Array:
    order = np.moveaxis(np.empty((1,) * len(shape_of(x))), source, destination)     # checks the axes
    sources, places = ([a % order.ndim for a in np.atleast_1d(axes)] for axes in (source, destination))
    axes = [a for a in range(order.ndim) if a not in sources]
    for place, axis in sorted(zip(places, sources, strict=True)):
        axes.insert(place, axis)
    return transpose(x, tuple(int(a) for a in axes))


def expand_dims(x: Array, axis: Any) -> Array:
    return reshape(x, np.expand_dims(np.broadcast_to(0, shape_of(x)), axis).shape)


def squeeze(x: Array, axis: Any = None) -> Array:
    return reshape(x, np.squeeze(np.broadcast_to(0, shape_of(x)), axis).shape)


def concatenate(arrays: Any, axis: Any = 0) -> Array:
    if axis is None:
        arrays, axis = [ravel(x) for x in arrays], 0
    return apply("concatenate", tuple(arrays), {"axis": axis})


def stack(arrays: Any, axis: int = 0) -> Array:
    return apply("stack", tuple(arrays), {"axis": axis})


def at_least(x: Array, ndim: int) -> Array:
    return reshape(x, (1,) * (ndim - len(shape_of(x))) + shape_of(x)) if len(shape_of(x)) < ndim else x


def vstack(tup: Any) -> Array:
    return concatenate([at_least(x, 2) for x in tup])


def hstack(tup: Any) -> Array:
    arrays = [at_least(x, 1) for x in tup]
    return concatenate(arrays, 0 if len(shape_of(arrays[0])) == 1 else 1)


def select(condition: Any, x: Array = None, y: Array = None) -> Array:
    if x is None or y is None:
        raise no_derivative("where(condition) without values")
    return where(plain(condition), x, y)


def clip(x: Array, a_min: Any = None, a_max: Any = None, min: Any = None, max: Any = None) -> Array:
    low, high = a_min if min is None else min, a_max if max is None else max
    if type(low) is Traced or type(high) is Traced:
        x = x if low is None else maximum(x, low)
        return x if high is None else minimum(x, high)
    return apply("clip", (x, low, high))


def repeat(x: Array, repeats: int, axis: Any = None) -> Array:
    if np.ndim(repeats):
        raise no_derivative("repeat with an array of numbers")
    x, axis = (ravel(x), 0) if axis is None else (x, axis)
    return apply("repeat", (x, repeats, axis % len(shape_of(x))))


def cast(x: Array, dtype: Any, copy: bool = True) -> Array:
    dtype = np.dtype(dtype)
    if dtype.kind != "f":
        raise no_derivative(f"astype({dtype.name!r})")
    return apply("astype", (x, dtype))


def prod(x: Array, axis: Any = None, *, keepdims: bool = False) -> Array:
    raise no_derivative("prod")


ELEMENTWISE = (
    "add", "subtract", "multiply", "divide", "maximum", "minimum", "logaddexp", "power", "negative", "absolute", "sign",
    "square", "sqrt", "reciprocal", "exp", "expm1", "log", "log1p", "log2", "log10", "sin", "cos", "relu", "sigmoid",
    "tanh", "matmul")
CALLS |= {name: operation(name) for name in ELEMENTWISE} | {
    "true_divide": divide, "expit": operation("sigmoid"), "positive": operation("copy"),
    "softmax": along("softmax"), "log_softmax": along("log_softmax"), "clip": clip, "where": select,
    "curve": lambda x, name, numbers, kind: apply("curve", (x, name, numbers, kind)),
    "astype": cast, "copy": operation("copy"), "sum": sum, "mean": mean, "var": var, "std": std, "norm": norm,
    "max": extreme("max"), "min": extreme("min"), "amax": extreme("max"), "amin": extreme("min"), "cumsum": cumsum,
    "dot": dot, "tensordot": tensordot, "outer": outer, "vdot": lambda x, y: dot(ravel(x), ravel(y)),
    "reshape": shaped, "ravel": ravel, "transpose": transposed, "swapaxes": swapaxes, "moveaxis": moveaxis,
    "matrix_transpose": lambda x: swapaxes(x, -1, -2), "flip": flip, "expand_dims": expand_dims, "squeeze": squeeze,
    "broadcast_to": lambda x, shape: apply("broadcast_to", (x, tuple(shape) if np.iterable(shape) else (shape,))),
    "concatenate": concatenate, "stack": stack, "vstack": vstack, "hstack": hstack, "repeat": repeat,
    "atleast_1d": lambda x: at_least(x, 1), "atleast_2d": lambda x: at_least(x, 2),
    "take": lambda x, indices, axis=None: x[(slice(None),) * axis + (indices,)] if axis else x[indices]
    if axis == 0 else ravel(x)[indices],
}
