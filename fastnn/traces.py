"""Traced arrays: values that remember the operations that made them, for fastnn.gradient.

Each operation on a traced array computes its value with the compiled kernels, leaves one `Traced` on the tape of its
trace, and nothing else.  `calls` fills CALLS, what users may call; `rules` fills RULES, the derivatives.
"""
from __future__ import annotations

import linecache
import os
import sys
from collections.abc import Callable
from itertools import count
from types import FrameType
from typing import Any

import numpy as np

from . import _core, ops

RULES: dict[str, Any] = {}                  # operation -> the derivative for each operand
CALLS: dict[str, Callable[..., Any]] = {}   # name in NumPy and fastnn.ops -> what it does to traced arrays
LOCAL: dict[str, Callable[..., Any]] = {}   # operations that neither fastnn.ops nor NumPy has under that name
INSIDE = tuple(os.path.dirname(os.path.abspath(module.__file__ or "")) + os.sep for module in (_core, np))
NO_OPTIONS: dict[str, Any] = {}
levels = count(1)


class Kernels(dict[str, Callable[..., Any]]):
    """What computes each operation: fastnn.ops, and NumPy for views and selections that have no kernel."""

    def __missing__(self, name: str) -> Callable[..., Any]:
        if name in LOCAL:
            self[name] = LOCAL[name]
        else:
            homes = (ops,) if name in getattr(ops, "OPERATIONS", ()) else (np, _core)
            self[name] = next(getattr(home, name) for home in homes if hasattr(home, name))
        return self[name]


KERNELS = Kernels()


class Trace:
    """One call of a differentiated function: where its operations go.  An inner trace has the higher level."""

    __slots__ = ("level", "tape", "record", "compared")

    def __init__(self) -> None:
        self.level = next(levels)
        self.tape: list[Traced] = []
        self.record: Callable[[Traced], None] = self.tape.append
        self.compared: tuple[str, int] | None = None   # where two values were compared last

    def close(self) -> None:
        self.record = finished


def finished(node: Traced) -> None:
    raise RuntimeError("A traced array is used after the function that gradient() was taken of has returned"
                       f"{at()}. Return what you need from it, or keep x.value, the plain array.")


def apply(name: str, operands: Any, options: dict[str, Any] = NO_OPTIONS) -> Any:
    """The operation on its operands, recorded on the innermost trace among them, if any of them is traced."""
    trace = None
    for x in operands:
        if type(x) is Traced and (trace is None or x.trace is not trace and x.trace.level > trace.level):
            trace = x.trace
    if trace is None:
        return KERNELS[name](*operands, **options)
    values = [x.value if type(x) is Traced and x.trace is trace else x for x in operands]
    for x in values:
        if type(x) is Traced:               # of an outer trace
            value = apply(name, values, options)
            break
    else:
        value = KERNELS[name](*values, **options)
    node = Traced(value, trace, RULES[name], operands, values, options)
    trace.record(node)
    return node


def backward(trace: Trace, result: Traced, dresult: Any) -> None:
    """Leave in each leaf's `gradient` the sum of its paths to the result, or None.  The tape is used up."""
    result.gradient = dresult
    tape = trace.tape
    while tape:
        node = tape.pop()
        dout = node.gradient
        if dout is None:
            continue
        for i, operand in enumerate(node.operands):
            if type(operand) is Traced and operand.trace is trace:
                derivative = node.rule[i]
                dx = None if derivative is None else derivative(dout, node.value, *node.values, **node.options)
                if dx is not None:
                    accumulate(operand, dx)
        node.gradient = None


def accumulate(operand: Traced, dx: Any) -> None:
    """Add dx to the operand's gradient, in the operand's shape and dtype."""
    if type(dx) is Piece:
        return accumulate_piece(operand, dx)
    value, before = operand.value, operand.gradient
    shape, dtype = getattr(value, "shape", ()), getattr(value, "dtype", None)
    if getattr(dx, "shape", ()) != shape:
        dx = sum_back(dx, shape)
    if dtype is not None and dx.dtype != dtype:
        dx = apply("astype", (dx, dtype))
    if before is None:
        operand.gradient = dx
    elif operand.owned and type(dx) is not Traced:
        KERNELS["add"](before, dx, out=before)
    else:
        operand.gradient = apply("add", (before, dx))
        operand.owned = type(operand.gradient) is np.ndarray


def sum_back(dx: Any, shape: tuple[int, ...]) -> Any:
    """dx summed over the axes along which an operand of `shape` was broadcast."""
    extra = len(dx.shape) - len(shape)
    stretched = [i for i, n in enumerate(shape, extra) if n == 1 != dx.shape[i]]
    axes = (*range(extra), *stretched)
    if axes:
        dx = apply("sum", (dx,), {"axis": axes})
    return apply("reshape", (dx, shape)) if stretched or dx.shape != shape else dx


class Piece:
    """The gradient of x[index]: dout where the index points, zero elsewhere, without the zeros."""

    __slots__ = ("dout", "index", "shape")

    def __init__(self, dout: Any, index: Any, shape: tuple[int, ...]):
        self.dout, self.index, self.shape = dout, index, shape

    def add_to(self, dx: np.ndarray) -> None:
        if is_basic(self.index):
            view = dx[(*self.index, ...) if type(self.index) is tuple and ... not in self.index else self.index]
            if type(view) is not np.ndarray:
                view = dx[self.index, ...]
            np.add(view, self.dout, out=view)
        else:
            np.add.at(dx, self.index, self.dout)


def is_basic(index: Any) -> bool:
    """Whether index selects a view, each element at most once."""
    parts = index if type(index) is tuple else (index,)
    return all(part is None or part is ... or isinstance(part, (int, slice, np.integer)) for part in parts) \
        and not any(isinstance(part, (bool, np.bool_)) for part in parts)


def accumulate_piece(operand: Traced, piece: Piece) -> None:
    before = operand.gradient
    if not operand.owned:
        dx = np.zeros(piece.shape, operand.value.dtype) if before is None or type(before) is Traced else before.copy()
    else:
        dx = before
    piece.add_to(dx)
    operand.owned = type(before) is not Traced
    operand.gradient = dx if operand.owned else apply("add", (before, dx))


def plain(x: Any) -> Any:
    """x, or the plain array inside a traced one, also within lists, tuples and dicts."""
    while type(x) is Traced:
        x = x.value
    if type(x) in (list, tuple):
        return type(x)(plain(item) for item in x)
    return {key: plain(item) for key, item in x.items()} if type(x) is dict else x


# Messages

def place() -> tuple[str, int]:
    """File and line of the call that came from outside the package."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(INSIDE):
        frame = frame.f_back
    return (frame.f_code.co_filename, frame.f_lineno) if frame is not None else ("", 0)


def at(found: tuple[str, int] | None = None) -> str:
    """' (at file.py:12: the line)', for messages."""
    file, number = found or place()
    if not file:
        return ""
    line = linecache.getline(file, number).strip()
    return f" (at {file}:{number}: {line})" if line else f" (at {file}:{number})"


def no_derivative(name: str) -> TypeError:
    return TypeError(f"{name} has no derivative{at()}. Use one that has, or take its result as a constant: "
                     f"{name}(x.value), of the plain array.")


def in_place(what: str) -> TypeError:
    return TypeError(f"{what} changes an array in place, which gradient() cannot follow{at()}. "
                     "Use the array that the operation returns, or np.where, np.concatenate and np.stack.")


class LostGradient(TypeError):
    """A traced array was made a plain one."""


def converted(what: str) -> LostGradient:
    return LostGradient(f"{what} takes a plain value out of a traced array, so its gradient would be lost{at()}. Keep "
                        "the array: np.exp(x), not math.exp(x); np.stack for a list of them; x.value for a constant.")


def call(name: str, *args: Any, **options: Any) -> Any:
    """What NumPy or fastnn.ops means by name(*args, **options), on traced arrays."""
    if options.pop("out", None) is not None:
        raise in_place(f"{name}(..., out=...)")
    function = CALLS.get(name)
    if function is None:
        raise no_derivative(name)
    try:
        return function(*args, **options)
    except TypeError as error:
        if "unexpected keyword" in str(error):
            raise TypeError(f"Inside gradient(), {error}{at()}. Leave it out.") from None
        raise


def operator(name: str) -> Callable[[Any, Any], Any]:
    return lambda self, other: apply(name, (self, other))


def reflected(name: str) -> Callable[[Any, Any], Any]:
    return lambda self, other: apply(name, (other, self))


def comparison(function: Callable[..., Any]) -> Callable[[Any, Any], Any]:
    def compare(self: Traced, other: Any) -> Any:
        self.trace.compared = place()
        return function(plain(self), plain(other))
    return compare


def method(name: str) -> Callable[..., Any]:
    def bound(self: Traced, *args: Any, **options: Any) -> Any:
        return call(name, self, *args, **options)
    bound.__name__ = name
    return bound


class Traced:
    """An array inside a function that gradient() is taken of; made by gradient(), used like the array it stands for.

    value: the plain array, which counts as a constant.
    """

    __slots__ = ("value", "trace", "rule", "operands", "values", "options", "gradient", "owned")

    def __init__(self, value: Any, trace: Trace, rule: Any = None, operands: Any = (), values: Any = (),
                 options: dict[str, Any] = NO_OPTIONS):
        self.value, self.trace, self.rule = value, trace, rule
        self.operands, self.values, self.options = operands, values, options
        self.gradient: Any = None
        self.owned = False                  # the gradient is an array that nobody else refers to

    shape = property(lambda self: getattr(self.value, "shape", ()))
    dtype = property(lambda self: self.value.dtype if hasattr(self.value, "dtype") else np.dtype("float64"))
    ndim = property(lambda self: len(self.shape))
    size = property(lambda self: int(np.size(plain(self))))
    T = property(lambda self: call("transpose", self))
    mT = property(lambda self: call("swapaxes", self, -1, -2))
    real = property(lambda self: self)

    __add__, __radd__ = operator("add"), reflected("add")
    __sub__, __rsub__ = operator("subtract"), reflected("subtract")
    __mul__, __rmul__ = operator("multiply"), reflected("multiply")
    __truediv__, __rtruediv__ = operator("divide"), reflected("divide")
    __matmul__, __rmatmul__ = operator("matmul"), reflected("matmul")
    __rpow__ = reflected("power")
    __lt__, __le__ = comparison(np.less), comparison(np.less_equal)
    __gt__, __ge__ = comparison(np.greater), comparison(np.greater_equal)
    __eq__, __ne__ = comparison(np.equal), comparison(np.not_equal)     # type: ignore[assignment]
    __hash__ = object.__hash__

    sum, mean, max, min = method("sum"), method("mean"), method("max"), method("min")
    var, std, prod, cumsum = method("var"), method("std"), method("prod"), method("cumsum")
    argmax, argmin, argsort, round = method("argmax"), method("argmin"), method("argsort"), method("round")
    dot, squeeze, ravel, flatten = method("dot"), method("squeeze"), method("ravel"), method("ravel")
    clip, swapaxes, repeat, astype = method("clip"), method("swapaxes"), method("repeat"), method("astype")
    copy, conj, take = method("copy"), method("copy"), method("take")
    sort, fill, put, itemset = method("sort"), method("fill"), method("put"), method("itemset")

    def __pow__(self, exponent: Any) -> Any:
        square = type(exponent) in (int, float) and exponent == 2
        return apply("square", (self,)) if square else apply("power", (self, exponent))

    def __neg__(self) -> Any:
        return apply("negative", (self,))

    def __pos__(self) -> Any:
        return self

    def __abs__(self) -> Any:
        return apply("absolute", (self,))

    def __len__(self) -> int:
        return len(plain(self))

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: Any) -> Any:
        return apply("getitem", (self, index))

    def reshape(self, *shape: Any) -> Any:
        return call("reshape", self, shape[0] if len(shape) == 1 else shape)

    def transpose(self, *axes: Any) -> Any:
        return call("transpose", self, axes[0] if len(axes) == 1 else axes or None)

    # What would lose the gradient

    def __setitem__(self, index: Any, value: Any) -> None:
        raise in_place("x[...] = value")

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise converted("Converting to a plain array")

    def __float__(self) -> float:
        raise converted("float()")

    def __int__(self) -> int:
        raise converted("int()")

    __index__ = __int__

    def item(self, *_: Any) -> float:
        raise converted("item()")

    def tolist(self) -> Any:
        raise converted("tolist()")

    def __bool__(self) -> bool:
        return bool(plain(self))

    def __floordiv__(self, other: Any) -> Any:
        raise no_derivative("floor_divide")

    def __mod__(self, other: Any) -> Any:
        raise no_derivative("remainder")

    __rfloordiv__, __rmod__ = __floordiv__, __mod__

    def __repr__(self) -> str:
        return f"Traced({plain(self)!r})"

    def __format__(self, form: str) -> str:
        return format(plain(self), form)

    # What NumPy and fastnn.ops ask

    def __array_ufunc__(self, ufunc: np.ufunc, how: str, *inputs: Any, out: Any = None, **options: Any) -> Any:
        name = ufunc.__name__
        if out is not None and any(x is not None for x in out):
            raise in_place(f"{name}(..., out=...)")
        if how == "at":
            raise in_place(f"{name}.at")
        if how == "reduce" and name in REDUCTIONS:
            return call(REDUCTIONS[name], *inputs, **{"axis": 0} | options)
        if how == "outer" and name == "multiply":
            name, how = "outer", "__call__"
        if how != "__call__":
            raise no_derivative(f"{name}.{how}")
        if name in PLAIN:
            self.trace.compared = place()
            return ufunc(*map(plain, inputs), **plain(options))
        return call(name, *inputs, **options)

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        name = function.__name__
        if name in PLAIN:
            return function(*map(plain, args), **plain(options))
        if name in IN_PLACE:
            raise in_place(f"np.{name}")
        return call(name, *args, **options)

    def __fastnn_operation__(self, name: str, args: Any, options: Any) -> Any:
        return call(name, *args, **options)


REDUCTIONS = {"add": "sum", "maximum": "max", "minimum": "min"}
IN_PLACE = {"copyto", "put", "place", "putmask", "put_along_axis", "fill_diagonal"}
# Functions whose result is no function of the numbers, or tells only where they lie: they see the plain arrays.
PLAIN = {
    "less", "less_equal", "greater", "greater_equal", "equal", "not_equal", "isnan", "isinf", "isfinite", "signbit",
    "logical_and", "logical_or", "logical_not", "logical_xor", "shape", "ndim", "size", "zeros_like", "ones_like",
    "full_like", "empty_like", "array_equal", "array_equiv", "allclose", "isclose", "all", "any", "result_type",
    "iscomplexobj", "isrealobj", "array_repr", "array_str", "array2string", "may_share_memory", "shares_memory",
    "can_cast", "count_nonzero", "nonzero", "flatnonzero", "argwhere",
}
