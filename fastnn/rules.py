"""The derivative of each operation on traced arrays.

A rule has one function for each operand: derivative(dout, out, *operands, **options) is the operand's share of the
gradient, in any shape that broadcasting made of it, or None for zero.  Rules use the operations that they describe,
so a gradient of a gradient works.  Conventions: relu'(0) = |x|'(0) = 0; equal maxima share the gradient equally, as
in PyTorch's amax and maximum.
"""
from __future__ import annotations

import builtins
from functools import partial
from typing import Any

import numpy as np

from . import _core
from .traces import KERNELS, LOCAL, RULES, Piece, Traced, apply, plain

Array = Any


def shape_of(x: Array) -> tuple[int, ...]:
    return getattr(x, "shape", ()) if not isinstance(x, (list, tuple)) else np.shape(x)


def operation(name: str) -> Any:
    """The operation of one or two operands, or more, by a shorter way where none is traced."""
    def unary_or_binary(x: Array, *others: Array) -> Array:
        if type(x) is not Traced and (not others or type(others[0]) is not Traced and len(others) == 1):
            return KERNELS[name](x, *others)
        return apply(name, (x, *others))
    return unary_or_binary


add, subtract, multiply, divide, power, negative = map(
    operation, ("add", "subtract", "multiply", "divide", "power", "negative"))
exp, log, absolute, sign, square, sqrt = map(operation, ("exp", "log", "absolute", "sign", "square", "sqrt"))
cos, sin, matmul, where, reshape, transpose, broadcast_to, astype = map(
    operation, ("cos", "sin", "matmul", "where", "reshape", "transpose", "broadcast_to", "astype"))
maximum, minimum, sigmoid, relu_backward, sigmoid_backward, tanh_backward = map(
    operation, ("maximum", "minimum", "sigmoid", "relu_backward", "sigmoid_backward", "tanh_backward"))


def sum(x: Array, axis: Any = None, *, keepdims: bool = False) -> Array:
    return apply("sum", (x,), {"axis": axis, "keepdims": keepdims})


def swapaxes(x: Array, axis1: int, axis2: int) -> Array:
    return apply("swapaxes", (x, axis1, axis2))


def flip(m: Array, axis: Any = None) -> Array:
    return apply("flip", (m, axis))


# Element-wise

def exponent_share(dout: Array, out: Array, x: Array, y: Array) -> Array:
    """x^y log(x); zero where x = 0, as in PyTorch"""
    safe = where(np.equal(plain(x), 0), 1.0, x)
    return multiply(dout, multiply(out, log(safe)))


def base_share(dout: Array, out: Array, x: Array, y: Array) -> Array:
    """y x^(y - 1); zero where y = 0"""
    if np.ndim(plain(y)) == 0 and type(y) is not Traced:
        return None if y == 0 else multiply(dout, multiply(power(x, subtract(y, 1)), y))
    return multiply(dout, multiply(y, power(x, where(np.equal(plain(y), 0), 1.0, subtract(y, 1)))))


def chosen_share(sign_of_chosen: int, mine: int) -> Any:
    """For maximum and minimum: all of dout where this operand is chosen, half of it where both are equal."""
    def derivative(dout: Array, out: Array, *operands: Array) -> Array:
        this, other = plain(operands[mine]), plain(operands[1 - mine])
        chosen = subtract(this, other) if sign_of_chosen > 0 else subtract(other, this)
        kept = relu_backward(chosen, dout)
        equal = np.equal(this, other)
        return where(equal, multiply(dout, 0.5), kept) if equal.any() else kept
    return derivative


def clip_share(dout: Array, out: Array, x: Array, low: Any, high: Any) -> Array:
    value = plain(x)
    low, high = -np.inf if low is None else low, np.inf if high is None else high
    inside = np.less_equal(low, value) & np.less_equal(value, high)
    return where(inside, dout, 0.0)


def softmax_out_share(ddx: Array, dx: Array, out: Array, dout: Array) -> Array:
    """Of dx = out (dout - sum(dout out)), by out."""
    along = partial(sum, axis=-1, keepdims=True)
    return subtract(subtract(multiply(ddx, dout), multiply(ddx, along(multiply(dout, out)))),
                    multiply(dout, along(multiply(ddx, out))))


def curve_backward(x: Array, dout: Array, name: str, numbers: Any, kind: str) -> Array:
    return apply("curve_backward", (x, dout, name, numbers, kind))


def mish_bend(x: Array, numbers: Any) -> Array:
    """2 t' + x t'' for t = w / d, w = e (e + 2), d = w + 2, e = exp(x)"""
    e = exp(minimum(x, 20.0))
    d, half = add(multiply(e, add(e, 2.0)), 2.0), multiply(e, add(e, 1.0))
    slope = divide(multiply(half, 4.0), square(d))
    more = divide(subtract(multiply(add(half, square(e)), d), multiply(square(half), 4.0)), multiply(square(d), d))
    return add(multiply(slope, 2.0), multiply(multiply(x, more), 4.0))


def silu_bend(x: Array, numbers: Any) -> Array:
    """s (1 - s) (2 du + x ((1 - 2 s) du^2 + ddu)) for s = sigmoid(u), u = x (c0 + c1 x^2)"""
    flat, cubic = numbers
    bent = multiply(square(x), cubic)
    s, du, ddu = sigmoid(multiply(x, add(bent, flat))), add(multiply(bent, 3.0), flat), multiply(x, 6.0 * cubic)
    within = add(multiply(subtract(1.0, multiply(s, 2.0)), square(du)), ddu)
    return multiply(multiply(s, subtract(1.0, s)), add(multiply(x, within), multiply(du, 2.0)))


# The second derivative of each curve that has one but zero.
BENDS: dict[str, Any] = {
    "elu": lambda x, numbers: where(plain(x) > 0, 0.0, multiply(exp(minimum(x, 0.0)), numbers[1])),
    "exponential": lambda x, numbers: exp(x),
    "gelu": lambda x, numbers: multiply(exp(multiply(square(x), -0.5)),
                                        multiply(subtract(2.0, square(x)), 0.3989422804014327)),
    "hard_silu": lambda x, numbers: where(np.abs(plain(x)) < 3, 1 / 3, 0.0),
    "mish": mish_bend,
    "silu": silu_bend,
    "softplus": lambda x, numbers: multiply(sigmoid(x), subtract(1.0, sigmoid(x))),
    "softsign": lambda x, numbers: divide(multiply(sign(x), -2.0), power(add(absolute(x), 1.0), 3)),
}


def bend_share(ddx: Array, dx: Array, x: Array, dout: Array, name: str, numbers: Any, kind: str) -> Array:
    bend = BENDS.get(kind or name)
    return None if bend is None else multiply(multiply(ddx, dout), bend(x, numbers))


softmax_backward = operation("softmax_backward")
RULES |= {
    "add": (lambda dout, out, x, y: dout, lambda dout, out, x, y: dout),
    "subtract": (lambda dout, out, x, y: dout, lambda dout, out, x, y: negative(dout)),
    "multiply": (lambda dout, out, x, y: multiply(dout, y), lambda dout, out, x, y: multiply(dout, x)),
    "divide": (lambda dout, out, x, y: divide(dout, y),
               lambda dout, out, x, y: negative(divide(multiply(dout, out), y))),
    "power": (base_share, exponent_share),
    "maximum": (chosen_share(1, 0), chosen_share(1, 1)),
    "minimum": (chosen_share(-1, 0), chosen_share(-1, 1)),
    "logaddexp": (lambda dout, out, x, y: multiply(dout, exp(subtract(x, out))),
                  lambda dout, out, x, y: multiply(dout, exp(subtract(y, out)))),
    "negative": (lambda dout, out, x: negative(dout),),
    "absolute": (lambda dout, out, x: multiply(dout, sign(x)),),
    "sign": (None,),
    "square": (lambda dout, out, x: multiply(dout, multiply(x, 2.0)),),
    "sqrt": (lambda dout, out, x: divide(dout, multiply(out, 2.0)),),
    "reciprocal": (lambda dout, out, x: negative(multiply(dout, square(out))),),
    "exp": (lambda dout, out, x: multiply(dout, out),),
    "expm1": (lambda dout, out, x: multiply(dout, add(out, 1.0)),),
    "log": (lambda dout, out, x: divide(dout, x),),
    "log1p": (lambda dout, out, x: divide(dout, add(x, 1.0)),),
    "log2": (lambda dout, out, x: divide(dout, multiply(x, float(np.log(2.0)))),),
    "log10": (lambda dout, out, x: divide(dout, multiply(x, float(np.log(10.0)))),),
    "sin": (lambda dout, out, x: multiply(dout, cos(x)),),
    "cos": (lambda dout, out, x: negative(multiply(dout, sin(x))),),
    "relu": (lambda dout, out, x: relu_backward(out, dout),),
    "sigmoid": (lambda dout, out, x: sigmoid_backward(out, dout),),
    "tanh": (lambda dout, out, x: tanh_backward(out, dout),),
    "relu_backward": (None, lambda ddx, dx, out, dout: relu_backward(out, ddx)),
    "sigmoid_backward": (
        lambda ddx, dx, out, dout: multiply(multiply(ddx, dout), subtract(1.0, multiply(out, 2.0))),
        lambda ddx, dx, out, dout: sigmoid_backward(out, ddx)),
    "tanh_backward": (
        lambda ddx, dx, out, dout: multiply(multiply(ddx, dout), multiply(out, -2.0)),
        lambda ddx, dx, out, dout: tanh_backward(out, ddx)),
    "softmax": (lambda dout, out, x: softmax_backward(out, dout),),
    "softmax_backward": (softmax_out_share, lambda ddx, dx, out, dout: softmax_backward(out, ddx)),
    "log_softmax": (lambda dout, out, x: subtract(dout, multiply(exp(out), sum(dout, -1, keepdims=True))),),
    "curve": (lambda dout, out, x, *which: curve_backward(x, dout, *which), None, None, None),
    "curve_backward": (bend_share, lambda ddx, dx, x, dout, *which: curve_backward(x, ddx, *which), None, None, None),
    "clip": (clip_share, None, None),
    "where": (None, lambda dout, out, mask, x, y: where(mask, dout, 0.0),
              lambda dout, out, mask, x, y: where(mask, 0.0, dout)),
    "astype": (lambda dout, out, x, dtype: dout, None),        # accumulate() casts it back
    "copy": (lambda dout, out, x: dout,),
}


# Reductions

def axes_of(axis: Any, ndim: int) -> tuple[int, ...]:
    if axis is None:
        return tuple(range(ndim))
    return tuple(sorted(a % ndim for a in (axis if isinstance(axis, tuple) else (axis,))))


def kept(y: Array, x: Array, axis: Any, keepdims: bool) -> Array:
    """A reduction's result y with the reduced axes of x as axes of length 1, so that it broadcasts with x."""
    shape = shape_of(x)
    if shape_of(y) == ():
        return y
    axes = axes_of(axis, len(shape))
    ones = tuple(1 if i in axes else n for i, n in enumerate(shape))
    return y if shape_of(y) == ones else reshape(y, ones)


def sum_share(dout: Array, out: Array, x: Array, axis: Any = None, keepdims: bool = False) -> Array:
    return broadcast_to(kept(dout, x, axis, keepdims), shape_of(x))


def mean_share(dout: Array, out: Array, x: Array, axis: Any = None, keepdims: bool = False) -> Array:
    shape = shape_of(x)
    each = divide(dout, float(np.prod([shape[a] for a in axes_of(axis, len(shape))])))
    return broadcast_to(kept(each, x, axis, keepdims), shape)


def extreme_share(dout: Array, out: Array, x: Array, axis: Any = None, keepdims: bool = False) -> Array:
    value, best = plain(x), np.reshape(plain(out), kept(plain(out), plain(x), axis, keepdims).shape)
    mask = np.equal(value, best)
    ties = np.maximum(np.sum(mask, axis=axis, keepdims=True), 1)
    each = kept(dout, x, axis, keepdims)
    return where(mask, each if (ties == 1).all() else divide(each, ties.astype(best.dtype)), 0.0)


def cumsum_share(dout: Array, out: Array, x: Array, axis: Any = None) -> Array:
    back = flip(apply("cumsum", (flip(dout, axis),), {"axis": axis}), axis)
    return reshape(back, shape_of(x))


RULES |= {"sum": (sum_share,), "mean": (mean_share,), "max": (extreme_share,), "min": (extreme_share,),
          "cumsum": (cumsum_share,)}


# Products

def turned(x: Array) -> Array:
    return x.T if len(shape_of(x)) == 2 else swapaxes(x, -1, -2)


def at_matrices(share: Any) -> Any:
    """The rule of matmul for matrices, told the operands' and dout's missing axes where an operand is a vector."""
    def derivative(dout: Array, out: Array, x: Array, y: Array) -> Array:
        shape_x, shape_y, shape = shape_of(x), shape_of(y), shape_of(dout)
        if len(shape_x) > 1 and len(shape_y) > 1:
            return share(dout, x, y)
        if len(shape_x) == len(shape_y) == 1:
            return multiply(dout, y if share is x_share else x)
        if len(shape_x) == 1:
            x, shape = reshape(x, (1, *shape_x)), (*shape[:-1], 1, *shape[-1:])
        if len(shape_y) == 1:
            y, shape = reshape(y, (*shape_y, 1)), (*shape, 1)
        dx = share(reshape(dout, shape), x, y)
        return dx if share is x_share or len(shape_y) > 1 else reshape(dx, shape_of(dx)[:-1])
    return derivative


def x_share(dout: Array, x: Array, y: Array) -> Array:
    return matmul(dout, turned(y))


def y_share(dout: Array, x: Array, y: Array) -> Array:
    return matmul(turned(x), dout)


def contracted(axes: Any, ndim_x: int, ndim_y: int) -> tuple[list[int], list[int]]:
    if isinstance(axes, (int, np.integer)):
        return list(range(ndim_x - axes, ndim_x)), list(range(axes))
    pair = [[a] if isinstance(a, (int, np.integer)) else list(a) for a in axes]
    return [int(a) % ndim_x for a in pair[0]], [int(a) % ndim_y for a in pair[1]]


def tensordot_share(dout: Array, out: Array, x: Array, y: Array, axes: Any, mine: int = 0) -> Array:
    """dout . the other operand over the other's free axes, its axes then put where they are in this operand."""
    operands, both = (x, y), contracted(axes, len(shape_of(x)), len(shape_of(y)))
    free = [[a for a in range(len(shape_of(operand))) if a not in used]
            for operand, used in zip(operands, both, strict=True)]
    theirs, first = 1 - mine, len(free[0])
    out_axes = list(range(first, len(shape_of(dout)))) if mine == 0 else list(range(first))
    dx = apply("tensordot", (dout, operands[theirs], (out_axes, free[theirs])))
    order = [*free[mine], *(both[mine][both[theirs].index(a)] for a in sorted(both[theirs]))]
    return transpose(dx, tuple(int(a) for a in np.argsort(order)))


RULES |= {
    "matmul": (at_matrices(x_share), at_matrices(y_share)),
    "dot": (at_matrices(x_share), at_matrices(y_share)),       # of vectors and matrices; others become tensordot
    "tensordot": (partial(tensordot_share, mine=0), partial(tensordot_share, mine=1), None),
    "outer": (lambda dout, out, x, y: matmul(dout, y), lambda dout, out, x, y: matmul(turned(dout), x)),
}


# Shapes and selections

def repeated(shape: tuple[int, ...], n: int, axis: int) -> tuple[int, ...]:
    return (*shape[:axis + 1], n, *shape[axis + 1:])


def spread(x: Array, shape: tuple[int, ...]) -> np.ndarray:
    """x as a view of the shape; of one number, sooner than NumPy makes it."""
    if shape_of(x) != () or not hasattr(x, "dtype"):
        return np.broadcast_to(x, shape)
    out: np.ndarray = np.ndarray(shape, x.dtype, x, strides=(0,) * len(shape))
    out.flags.writeable = False
    return out


class Each:
    """The rule of an operation on any number of arrays: share(number of the operand, dout, out, *operands)."""

    def __init__(self, share: Any):
        self.share = share

    def __getitem__(self, i: int) -> Any:
        return partial(self.share, i)


def concatenate_share(i: int, dout: Array, out: Array, *operands: Array, axis: int = 0) -> Array:
    lengths = [shape_of(x)[axis] for x in operands]
    first = builtins.sum(lengths[:i])
    return dout[(slice(None),) * (axis % len(shape_of(out))) + (slice(first, first + lengths[i]),)]


def stack_share(i: int, dout: Array, out: Array, *operands: Array, axis: int = 0) -> Array:
    return dout[(slice(None),) * (axis % len(shape_of(out))) + (i,)]


def getitem_share(dout: Array, out: Array, x: Array, index: Any) -> Any:
    if type(dout) is Traced:
        return apply("scatter", (dout, index, shape_of(x)))
    return Piece(dout, index, shape_of(x))


def scatter(dout: np.ndarray, index: Any, shape: tuple[int, ...]) -> np.ndarray:
    """An array of the shape with dout added at the index of zeros."""
    dx = np.zeros(shape, dout.dtype)
    Piece(dout, index, shape).add_to(dx)
    return dx


RULES |= {
    "reshape": (lambda dout, out, x, shape: reshape(dout, shape_of(x)), None),
    "transpose": (lambda dout, out, x, axes: transpose(dout, tuple(int(a) for a in np.argsort(
        [a % len(axes) for a in axes])) if axes else None), None),
    "swapaxes": (lambda dout, out, x, a, b: swapaxes(dout, a, b), None, None),
    "flip": (lambda dout, out, x, axis: flip(dout, axis), None),
    "broadcast_to": (lambda dout, out, x, shape: dout, None),  # accumulate() sums it back
    "repeat": (lambda dout, out, x, n, axis: sum(reshape(dout, repeated(shape_of(x), n, axis)), axis + 1), None, None),
    "concatenate": Each(concatenate_share),
    "stack": Each(stack_share),
    "getitem": (getitem_share, None),
    "scatter": (lambda ddx, dx, dout, index, shape: ddx[index], None, None),
}
LOCAL |= {
    "relu_backward": partial(_core.activate_backward, "relu"),
    "sigmoid_backward": partial(_core.activate_backward, "sigmoid"),
    "tanh_backward": partial(_core.activate_backward, "tanh"),
    "softmax_backward": _core.softmax_backward,
    "curve": _core.curve,
    "curve_backward": _core.curve_backward,
    "astype": lambda x, dtype: x.astype(dtype) if hasattr(x, "astype") else dtype.type(x),
    "copy": np.copy,
    "broadcast_to": spread,
    "getitem": lambda x, index: x[index],
    "scatter": scatter,
    "concatenate": lambda *operands, axis=0: np.concatenate(operands, axis),
    "stack": lambda *operands, axis=0: np.stack(operands, axis),
}
