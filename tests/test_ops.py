"""fastnn.ops against NumPy, over its registry: operation x dtype x shape x layout x instruction set x threads."""

import array
import ast
import doctest
import inspect
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import mutually_broadcastable_shapes
from numpy.exceptions import AxisError

import fastnn
from fastnn import ops

ALL = ops.OPERATIONS
UNARY, BINARY, ROWS = ([op for op in ALL.values() if op.kind == kind] for kind in ("unary", "binary", "rows"))
WITHIN_ULPS = {"exp": 2, "log": 2, "tanh": 2, "sigmoid": 2}  # the others are exact
WIDER = {"float32": "float64", "float64": "longdouble"}
SPECIAL = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan]
LAYOUTS = {
    "C": lambda x: x,
    "Fortran": np.asfortranarray,
    "reversed": lambda x: x[::-1] if x.ndim else x,
    "last axis reversed": lambda x: x[..., ::-1] if x.ndim else x,
    "transposed": lambda x: np.ascontiguousarray(x.T).T,
    "axes swapped": lambda x: np.ascontiguousarray(x.swapaxes(0, -1)).swapaxes(0, -1) if x.ndim else x,
    "every second": lambda x: np.repeat(x, 2, axis=-1)[..., ::2] if x.ndim else x,
    "repeated": lambda x: np.broadcast_to(x[:1], x.shape) if x.ndim else x,
    "inside": lambda x: np.pad(x, 1)[(slice(1, -1),) * x.ndim],
    "read-only": lambda x: np.frombuffer(x.tobytes(), x.dtype).reshape(x.shape),
    "at an odd byte": lambda x: np.frombuffer(b"?" + x.tobytes(), x.dtype, offset=1).reshape(x.shape),
    "big-endian": lambda x: x.astype(x.dtype.newbyteorder(">")),
}
SIZES = [0, 1, 2, 7, 15, 16, 17, 31, 33, 63, 65, 97, 511, 512, 513, 1100]


@pytest.fixture(autouse=True)
def quiet():
    with np.errstate(all="ignore"):
        yield


def numbers(rng, shape, dtype, special=True):
    """Random numbers of a dtype over its whole sense, with the ends and the special values among them."""
    if np.dtype(dtype).kind != "f":
        ends = np.iinfo(dtype)
        x = rng.integers(max(ends.min, -50), 50, shape).astype(dtype)
        picked = rng.random(shape) < 0.2
        return np.where(picked, rng.choice([ends.min, ends.max, 0], shape), x).astype(dtype)
    x = (rng.standard_normal(shape) * 5).astype(dtype)
    return np.where((rng.random(shape) < 0.2) & special, rng.choice(SPECIAL, shape), x).astype(dtype)


def within(got, expected, ulps, note):
    """The same dtype and shape, and values within some ulp of a wider result; NaN and inf at the same places."""
    assert isinstance(got, np.ndarray), note
    dtype = got.dtype
    rounded = np.asarray(expected).astype(dtype)
    assert got.shape == rounded.shape, note
    same = (got == rounded) | (np.isnan(got) & np.isnan(rounded))
    spacing = np.spacing(np.abs(np.where(np.isfinite(rounded), rounded, 1)))
    near = np.isfinite(got) & (np.abs(got.astype(np.asarray(expected).dtype) - expected) <= ulps * spacing)
    bad = ~(same | near)
    assert not bad.any(), f"{note}: {got[bad][:3]} for {rounded[bad][:3]}"


def agrees(operation, got, *arguments, note=""):
    """got is what NumPy's reference gives: dtype, shape and values."""
    expected = np.asarray(operation.reference(*arguments))
    assert got.dtype == expected.dtype, f"{operation.name} {note}: {got.dtype}, not {expected.dtype}"
    if operation.name in WITHIN_ULPS:
        expected = operation.reference(*(np.asarray(x).astype(WIDER[got.dtype.name]) for x in arguments))
    within(got, expected, WITHIN_ULPS.get(operation.name, 0), f"{operation.name} {note}")


def same_bits(got, expected, note=""):
    assert got.dtype == expected.dtype and got.shape == expected.shape, note
    whole = f"u{got.dtype.itemsize}"
    got, expected = np.ascontiguousarray(got), np.ascontiguousarray(expected)
    differ = got.view(whole) != expected.view(whole)
    if got.dtype.kind == "f":
        differ &= ~(np.isnan(got) & np.isnan(expected))
    assert not differ.any(), f"{note}: {differ.sum()} of {differ.size} differ"


def ids(operation):
    return operation.name


# ---------------------------------------------------------------- values


@pytest.mark.parametrize("operation", UNARY, ids=ids)
def test_unary_on_every_layout(operation, isa):
    for dtype in operation.dtypes:
        for n in SIZES:
            x = numbers(np.random.default_rng(n), n, dtype)
            agrees(operation, operation.function(x), x, note=f"{dtype} {n}")
        for shape in [(), (1,), (3, 7), (33, 5), (2, 3, 4), (5, 600), (0, 3), (3, 0)]:
            for name, layout in LAYOUTS.items():
                x = layout(numbers(np.random.default_rng(0), shape, dtype))
                agrees(operation, operation.function(x), x, note=f"{dtype} {shape} {name}")


@pytest.mark.parametrize("operation", BINARY, ids=ids)
def test_binary_on_every_pair_of_dtypes_and_layouts(operation):
    rng = np.random.default_rng(0)
    for x_dtype in operation.dtypes:
        for y_dtype in operation.dtypes:
            for name, layout in LAYOUTS.items():
                x, y = layout(numbers(rng, (5, 40), x_dtype)), numbers(rng, (5, 40), y_dtype)
                agrees(operation, operation.function(x, y), x, y, note=f"{x_dtype} {y_dtype} {name}")
                agrees(operation, operation.function(y, x), y, x, note=f"{y_dtype} {x_dtype} {name}")


@pytest.mark.parametrize("operation", BINARY, ids=ids)
@pytest.mark.parametrize("shape", [(37, 300), (3000, 2), (2, 3000), (261, 41), (129, 130)], ids=str)
def test_operands_that_lie_down_the_rows(operation, shape, isa):
    rng = np.random.default_rng(0)
    for x_dtype in operation.dtypes:
        for y_dtype in dict.fromkeys((x_dtype, "uint8")):
            x, y = numbers(rng, shape[::-1], x_dtype).T, numbers(rng, shape, y_dtype)
            for pair in ((x, y), (y, x), (x[::-1], y[:1]), (y[:, :1], x[:, ::-1]), (x, np.repeat(y, 2, 1)[:, ::2])):
                agrees(operation, operation.function(*pair), *pair, note=f"{x_dtype} {y_dtype}")
                out = np.empty(shape[::-1], np.result_type(operation.reference(*pair))).T
                assert operation.function(*pair, out=out) is out
                agrees(operation, out, *pair, note=f"{x_dtype} {y_dtype} out")


BROADCASTS = [
    ((64, 3, 32, 10), (32, 10)), ((5, 7), (7,)), ((7,), (5, 7)), ((5, 7), (5, 1)), ((5, 1), (1, 7)),
    ((5, 1, 600), (4, 1)),
    ((), (5, 7)), ((5, 7), (1, 1)), ((3, 1, 5), (2, 1)), ((0, 3), (3,)), ((1, 0), (4, 1)),
    ((2, 1, 3, 1, 2), (4, 1, 5, 1)),
    ((1100,), (1,)), ((4, 1100), (4, 1)), ((4, 1100), (1100,)), ((1,) * 20, (2, 3)),
]  # fmt: skip


@pytest.mark.parametrize("operation", BINARY, ids=ids)
def test_broadcasting(operation, isa):
    rng = np.random.default_rng(0)
    for dtype in operation.dtypes:
        for shapes in BROADCASTS:
            x, y = (numbers(rng, shape, dtype) for shape in shapes)
            got = operation.function(x, y)
            agrees(operation, got, x, y, note=f"{dtype} {shapes}")
            assert ops.broadcast_shapes(*shapes) == got.shape
            x, y = (np.asfortranarray(part) for part in (x, y))
            agrees(operation, operation.function(x, y), x, y, note=f"{dtype} {shapes} Fortran")


@given(data=st.data())
@settings(max_examples=250, deadline=None)
def test_any_operation_on_any_operands(data):
    operation = data.draw(st.sampled_from(UNARY + BINARY), "operation")
    count = 1 if operation.kind == "unary" else 2
    shapes = data.draw(mutually_broadcastable_shapes(num_shapes=count, min_side=0, max_side=40, max_dims=4), "shapes")
    if np.prod(shapes.result_shape, dtype=float) > 1e5:
        return
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32), "seed"))
    operands = []
    for shape in shapes.input_shapes:
        dtype, layout = data.draw(st.sampled_from(operation.dtypes)), data.draw(st.sampled_from(list(LAYOUTS)))
        operands.append(LAYOUTS[layout](numbers(rng, shape, dtype)))
    got, expected = operation.function(*operands), np.asarray(operation.reference(*operands))
    agrees(operation, got, *operands)
    order = [[stride for stride, length in zip(x.strides, x.shape, strict=True) if length > 1] for x in (got, expected)]
    assert order[0] == order[1] or got.size == 0  # memory in the order that NumPy gives it
    out = np.full_like(got, 7, order="F")
    assert operation.function(*operands, out=out) is out
    same_bits(out, got)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64", "uint8"])
def test_long_results_that_begin_anywhere_in_a_line_of_memory(dtype, isa):
    rng = np.random.default_rng(0)
    n, item = 33_003, np.dtype(dtype).itemsize
    x, y = (rng.integers(1, 100, n).astype(dtype) for _ in range(2))
    for offset in range(0, 64, item * max(1, 8 // item)):
        memory = np.full(n * item + 192, 77, "uint8")
        start = -memory.ctypes.data % 64 + 64 + offset
        out = memory[start:start + n * item].view(dtype)
        for name in ("square", "add", "maximum"):
            given = (x,) if name == "square" else (x, y)
            note = f"{name} {offset}"
            np.testing.assert_array_equal(getattr(ops, name)(*given, out=out), getattr(np, name)(*given), note)
        ops.add(out, 1, out=out)
        np.testing.assert_array_equal(out, np.maximum(x, y) + np.dtype(dtype).type(1))
        assert (memory[:start] == 77).all() and (memory[start + n * item:] == 77).all()


def test_axes_of_the_result_lie_in_memory_as_numpy_has_them():
    x = np.zeros((4, 5, 6), "float32").transpose(1, 2, 0)
    assert ops.add(x, x).strides == np.add(x, x).strides and ops.exp(x).strides == np.exp(x).strides


SPECIAL_RESULTS = [  # what NumPy's own code may leave open between instruction sets
    ("maximum", [np.nan, 1.0], [1.0, np.nan], [np.nan, np.nan]),
    ("minimum", [np.nan, 1.0], [1.0, np.nan], [np.nan, np.nan]),
    ("maximum", [np.inf, -np.inf], [1.0, 1.0], [np.inf, 1.0]),
    ("divide", [1.0, -1.0, 0.0], [0.0, 0.0, 0.0], [np.inf, -np.inf, np.nan]),
    ("multiply", [0.0, np.inf], [np.nan, 0.0], [np.nan, np.nan]),
]  # fmt: skip


@pytest.mark.parametrize("name, x, y, expected", SPECIAL_RESULTS)
def test_special_values(name, x, y, expected, dtype, isa):
    for n in (1, 7, 97):
        left, right, result = (np.resize(np.array(values, dtype), n) for values in (x, y, expected))
        np.testing.assert_array_equal(ALL[name].function(left, right), result)


def test_integers_wrap():
    top = np.array([2**31 - 1], "int32")
    assert ops.add(top, top).tolist() == [-2] and ops.multiply(top, top).tolist() == [1]
    assert ops.subtract(np.uint8([1]), np.uint8([2])).tolist() == [255]
    assert ops.negative(np.uint8([1])).tolist() == [255]
    assert ops.absolute(np.array([-(2**63)], "int64")).tolist() == [-(2**63)]


# ---------------------------------------------------------------- rows


@pytest.mark.parametrize("operation", ROWS, ids=ids)
def test_rows_along_every_axis(operation, isa):
    rng = np.random.default_rng(0)
    for dtype in operation.dtypes:
        for shape in [(5,), (97, 10), (3, 4), (16, 1), (40, 33), (19, 100), (2, 4097), (2, 3, 4), (7, 5, 2), (0, 3)]:
            for name in ("C", "Fortran", "every second"):
                x = LAYOUTS[name](numbers(rng, shape, dtype, special=False))
                x = np.minimum(np.maximum(x, -50), 50)
                for axis in range(-x.ndim, x.ndim):
                    got = operation.function(x, axis=axis)
                    kind = "float64" if got.dtype == "float32" else "longdouble"
                    exact = operation.reference(x.astype(kind), axis) if x.size else np.zeros(shape, kind)
                    assert got.dtype == (dtype if dtype[0] == "f" else "float64") and got.shape == x.shape
                    bound = 32 * np.finfo(got.dtype).eps * np.maximum(np.abs(exact), operation.name == "log_softmax")
                    assert (np.abs(got - exact) <= bound).all(), (operation.name, dtype, shape, axis)
                    out = np.full_like(x, 7, got.dtype)
                    assert operation.function(x, axis=axis, out=out) is out
                    same_bits(out, got, (operation.name, shape, axis))


@pytest.mark.parametrize("operation", ROWS, ids=ids)
def test_rows_do_not_depend_on_their_neighbours(operation, dtype, isa):
    for cols in (1, 3, 10, 16, 17, 31, 32, 33):
        x = numbers(np.random.default_rng(cols), (37, cols), dtype)
        whole = operation.function(x)
        for row in range(37):
            same_bits(operation.function(x[row]), whole[row], (cols, row))


def test_softmax_of_extreme_rows(dtype, isa):
    for cols in (4, 10, 40):
        x = np.zeros((20, cols), dtype)
        x[0], x[1, 0], x[2, 0], x[3] = -np.inf, np.nan, np.inf, -1e4
        got, logs = ops.softmax(x), ops.log_softmax(x)
        assert np.isnan(got[:3]).all() and np.isnan(logs[:3]).all()
        np.testing.assert_array_equal(got[3:], np.full((17, cols), 1 / np.array(cols, dtype)))
        np.testing.assert_allclose(logs[3:], np.full((17, cols), -np.log(cols)), rtol=1e-6)


# ---------------------------------------------------------------- the same bits everywhere


@pytest.mark.parametrize("operation", UNARY + BINARY + ROWS, ids=ids)
def test_same_bits_on_every_fma_isa_and_any_number_of_threads(operation, fma_isas, set_isa, set_threads):
    rng = np.random.default_rng(0)
    for dtype in operation.dtypes:
        if operation.kind == "binary":
            operands = [(numbers(rng, (3, 50_000), dtype), numbers(rng, (3, 50_000), dtype)),
                        (numbers(rng, (300, 501), dtype)[:, ::2], numbers(rng, (251,), "uint8")),
                        (numbers(rng, (90_001,), dtype), numbers(rng, (), dtype))]
        else:
            operands = [(numbers(rng, (90_001,), dtype),), (numbers(rng, (300, 501), dtype)[:, ::2],),
                        (numbers(rng, (4000, 10), dtype),)]
        for given_ in operands:
            set_threads(1)
            first = operation.function(*given_)
            for isa in fma_isas:
                set_isa(isa)
                for threads in (1, 2, 4):
                    set_threads(threads)
                    same_bits(operation.function(*given_), first, (operation.name, dtype, isa, threads))


# ---------------------------------------------------------------- numbers, and arrays of other kinds

WEAK = [2, -3, 0, 2.5, -0.0, 1e40, float("nan"), 2**40, 2**70, True, np.float32(3), np.float64(2.5), np.int64(-7),
        [1, 2, 3]]


@pytest.mark.parametrize("operation", BINARY, ids=ids)
@pytest.mark.parametrize("number", WEAK, ids=repr)
def test_numbers_of_python_are_weak_as_in_numpy(operation, number):
    for dtype in operation.dtypes:
        x = np.array([1, 2, 3], dtype)
        for arguments in ((x, number), (number, x)):
            try:
                operation.reference(*arguments)
            except OverflowError:
                with pytest.raises(OverflowError, match=f"{operation.name}: {number} is out of bounds for {dtype}"):
                    operation.function(*arguments)
                continue
            agrees(operation, operation.function(*arguments), *arguments, note=f"{dtype} {number}")


def test_two_numbers():
    for x, y in [(1, 2), (1.5, 2), (2, 2.5)]:
        for operation in BINARY:
            agrees(operation, operation.function(x, y), x, y)
    assert ops.relu(-1.5) == 0 and ops.relu([[-1.0, 2.0]]).tolist() == [[0.0, 2.0]] and ops.exp(1).dtype == "float64"


OTHER = ["?", *"bBhHiIqQefdgFDGO", "S3", "U3", "V4", "M8[s]", "m8[s]"]


@pytest.mark.parametrize("operation", UNARY + BINARY, ids=ids)
def test_other_dtypes_follow_numpy_or_are_refused_by_name(operation):
    for x_dtype in OTHER:
        for y_dtype in OTHER if operation.kind == "binary" else ["d"]:
            arguments = [np.ones(3, x_dtype), np.ones(3, y_dtype)][: 1 + (operation.kind == "binary")]
            try:
                expected = operation.reference(*arguments)
            except TypeError:
                expected = None
            foreign = any(x.dtype.kind in "mMc" for x in arguments)
            if foreign or expected is None or expected.dtype.name not in ops.NUMBERS:
                with pytest.raises(TypeError, match="(?s)received x of dtype .*Convert it first: [xy].(astype|real)"):
                    operation.function(*arguments)
            else:
                got = operation.function(*arguments)
                assert got.dtype == expected.dtype
                if operation.name != "sigmoid":  # the reference negates, and unsigned integers wrap
                    np.testing.assert_allclose(got, expected, rtol=1e-6)


class Protocol:
    """Something that has one of the protocols for arrays, and nothing else."""

    def __init__(self, x, name):
        self.x, self.name = x, name

    def __getattr__(self, name):
        if name.startswith(f"__{self.name}"):
            return getattr(self.x, name)
        raise AttributeError(name)


class Array:
    def __array__(self, dtype=None, copy=None):
        return np.array([1.0, -2.0], dtype)


class Matrix(np.ndarray):
    pass


@pytest.mark.parametrize("value", [
    array.array("d", [1.0, -2.0]), memoryview(np.array([1.0, -2.0])), Array(),
    Protocol(np.array([1.0, -2.0]), "dlpack"),
    np.array([1.0, -2.0]).view(Matrix), (1.0, -2.0),
], ids=["array", "memoryview", "__array__", "DLPack", "subclass", "tuple"])  # fmt: skip
def test_array_protocols(value):
    for got, expected in [(ops.relu(value), [1, 0]), (ops.add(value, value), [2, -4]), (ops.subtract(1, value), [0, 3]),
                          (ops.softmax(value), ops.softmax([1.0, -2.0])), (ops.reshape(value, (2, 1)), [[1], [-2]])]:
        assert type(got) is np.ndarray and got.dtype == "float64"
        np.testing.assert_array_equal(got, expected)
    assert ops.add(bytearray(b"\1\2"), np.uint8(3)).tolist() == [4, 5]


def test_tensors_of_torch():
    torch = pytest.importorskip("torch")
    x = torch.tensor([[1.0, -2.0]])
    assert ops.relu(x).tolist() == [[1.0, 0.0]] and ops.add(x, x).dtype == "float32"


class Traced:
    def __fastnn_operation__(self, name, args, kwargs):
        return name, len(args), kwargs


def test_traced_values_get_the_call():
    value, x = Traced(), np.ones(3)
    assert ops.add(x, value) == ("add", 2, {}) and ops.exp(value, out=x) == ("exp", 1, {"out": x})
    assert ops.softmax(value, axis=0)[0] == "softmax" and ops.reshape(value, (3,)) == ("reshape", 2, {})
    assert ops.concatenate([x, value])[0] == "concatenate"


# ---------------------------------------------------------------- out=


def test_in_place(dtype):
    for operation in UNARY + BINARY:
        x, y = numbers(np.random.default_rng(1), (2, 3, 700), dtype)
        for others in [(y,), (y[0],), (2.0,)] if operation.kind == "binary" else [()]:
            expected, out = operation.function(x, *others), x.copy()
            assert operation.function(out, *others, out=out) is out
            same_bits(out, expected, operation.name)


OVERLAPS = {  # inputs and out from one buffer (8, 8)
    "one row on": lambda b: ([b[:-1]], b[1:]),
    "one row back": lambda b: ([b[1:]], b[:-1]),
    "one element on": lambda b: ([b.ravel()[:-1]], b.ravel()[1:]),
    "reversed": lambda b: ([b[::-1]], b),
    "transposed": lambda b: ([b.T], b),
    "a row of out": lambda b: ([b, b[3]], b),
    "a column of out": lambda b: ([b, b[:, 3:4]], b),
    "an element of out": lambda b: ([b[3, 3], b], b),
    "both": lambda b: ([b[:-1], b[1:]], b[:-1]),
    "as integers": lambda b: ([b.view("int64")], b),
}


@pytest.mark.parametrize("name", OVERLAPS)
def test_an_overlapping_out_gets_the_right_result(name):
    for operation in UNARY + BINARY:
        buffer = np.random.default_rng(0).random((8, 8))
        inputs, out = OVERLAPS[name](buffer)
        inputs = inputs * 2 if operation.kind == "binary" and len(inputs) == 1 else inputs
        if operation.kind == "unary" and len(inputs) == 2:
            continue
        expected = operation.function(*(x.copy() for x in inputs))
        if expected.dtype == out.dtype:
            same_bits(operation.function(*inputs, out=out), expected, operation.name)


def test_out_in_any_layout(dtype):
    x = numbers(np.random.default_rng(0), (5, 7), dtype)
    for operation in UNARY + BINARY + ROWS:
        arguments = [x, x[0]] if operation.kind == "binary" else [x]
        expected = operation.function(*arguments)
        for layout in ("Fortran", "reversed", "every second", "inside"):
            out = LAYOUTS[layout](np.full((5, 7), np.nan, dtype))
            assert operation.function(*arguments, out=out) is out
            same_bits(out, expected, f"{operation.name} {layout}")
        odd = np.ndarray((5, 7), dtype, bytearray(8 * 35 + 1), 1)
        same_bits(operation.function(*arguments, out=odd), expected, operation.name)


# ---------------------------------------------------------------- warnings and messages


def test_integers_divided_by_zero_warn_as_numpy():
    for dtype in ("int32", "int64", "uint8"):
        for n in (1, 5, 5000, 200_000):
            x, y = np.arange(n).astype(dtype), np.ones(n, dtype)
            y[-1] = 0
            with np.errstate(all="warn"):
                with pytest.warns(RuntimeWarning, match="divide by zero encountered" if x[-1] else "invalid value"):
                    got = ops.divide(x, y)
                np.testing.assert_array_equal(got, np.where(y == 0, np.inf if x[-1] else np.nan, x))
                ops.divide(y, np.ones_like(y))  # nothing to warn of
            with np.errstate(all="raise"), pytest.raises(FloatingPointError):
                ops.divide(x, 0)
    x, y = np.ones((100, 50), "int64"), np.ones((50, 100), "uint8").T
    y[77, 3] = 0
    with np.errstate(all="warn"), pytest.warns(RuntimeWarning, match="divide by zero encountered"):
        assert np.isinf(ops.divide(x, y)).sum() == 1


X, ROW = np.ones((3, 4)), np.ones(3)
FROZEN = np.frombuffer(X.tobytes()).reshape(3, 4)
MESSAGES = [
    (lambda: ops.add(X, ROW), ValueError,
     "add: the shapes (3, 4) and (3,) do not fit. Aligned at the last axis:\n    3, 4\n       3\n"
     "Axis -1 has the lengths 4 and 3; lengths must be equal, or 1."),
    (lambda: ops.broadcast_shapes((2, 1), (8, 4, 3), 3), ValueError, "Axis -2 has the lengths 2 and 4 and 1"),
    (lambda: ops.exp(np.uint8([1])), TypeError,
     "exp computes in float32, float64, int32, int64 and uint8, received x of dtype uint8; NumPy's result is float16. "
     "Convert it first: x.astype('float32')."),
    (lambda: ops.add(X, X.astype("float16").astype("complex64")), TypeError, "y of dtype complex64"),
    (lambda: ops.add(X > 0, X > 0), TypeError,
     "x of dtype bool and y of dtype bool. Convert it first: x.astype('uint8')."),
    (lambda: ops.relu(X, out=[1.0]), TypeError, "relu: out must be a numpy array, received list."),
    (lambda: ops.exp(X, out=np.ones(12)), ValueError, "exp: out must have the result's shape (3, 4), received (12,)."),
    (lambda: ops.tanh(X, out=X.astype("float32")), TypeError,
     "tanh: out must have the result's dtype float64, received float32. Leave it out, and convert the result."),
    (lambda: ops.tanh(X, out=X.astype(">f8")), TypeError, "received >f8"),
    (lambda: ops.log(X, out=FROZEN), ValueError, "log: out is read-only. Leave it out, or give a copy."),
    (lambda: ops.softmax(X, out=FROZEN), ValueError, "softmax: out is read-only."),
    (lambda: ops.softmax(1.0), AxisError, "softmax takes an array of at least one axis, received a scalar."),
    (lambda: ops.softmax(X, axis=2), AxisError, "softmax: axis 2 is out of range for an array of 2 axes."),
    (lambda: ops.log_softmax(X, axis=-3), AxisError, "log_softmax: axis -3 is out of range"),
    (lambda: ops.add(np.uint8([1]), 300), OverflowError, "add: 300 is out of bounds for uint8. Convert the array"),
    (lambda: ops.one_hot([0.5], 3), TypeError, "one_hot takes integer labels, received dtype float64."),
    (lambda: ops.one_hot([0, 3], 3), ValueError, "labels must be from 0 to num_classes - 1 = 2, received 0 to 3."),
    (lambda: ops.one_hot([-1], 3), ValueError, "received -1 to -1."),
    (lambda: ops.one_hot([], -1), (ValueError, TypeError), "one_hot"),
    (lambda: ops.one_hot([1], 3, dtype="int32"), TypeError,
     "one_hot gives float32 or float64, received dtype='int32'."),
]  # fmt: skip


@pytest.mark.parametrize("call, error, message", MESSAGES, ids=[row[2][:40] for row in MESSAGES])
def test_refusals_say_what_is_wrong(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert message in str(caught.value)
    assert (X == 1).all() and (FROZEN == 1).all()  # nothing was written


# ---------------------------------------------------------------- shapes


def test_shape_operations_are_numpys_views():
    x = np.arange(24.0).reshape(2, 3, 4)
    calls = [("reshape", (x, (6, 4))), ("reshape", (x, -1)), ("transpose", (x,)), ("transpose", (x, (1, 0, 2))),
             ("expand_dims", (x, 1)), ("squeeze", (x[:1],)), ("squeeze", (x[:1], 0))]
    for name, arguments in calls:
        got = ALL[name].function(*arguments)
        np.testing.assert_array_equal(got, ALL[name].reference(*arguments))
        assert np.shares_memory(got, x)
    for axis in (0, 1, -1):
        np.testing.assert_array_equal(ops.concatenate([x, x], axis=axis), np.concatenate([x, x], axis=axis))


def test_one_hot():
    for dtype in ("int32", "int64", "uint8", "int8"):
        labels = np.array([[0, 2], [1, 1]], dtype)
        np.testing.assert_array_equal(ops.one_hot(labels, 3), ALL["one_hot"].reference(labels, 3))
    assert ops.one_hot([1], 2, dtype="float64").dtype == "float64" and ops.one_hot(np.int64(1), 3).tolist() == [0, 1, 0]
    assert ops.one_hot(np.zeros(0, int), 0).shape == (0, 0)


# ---------------------------------------------------------------- the registry


def test_registry_names_every_operation():
    public = set(ops.__all__) - {"OPERATIONS", "Operation", "broadcast_shapes"}
    assert public == set(ALL)
    for operation in ALL.values():
        assert operation.function is getattr(ops, operation.name) and operation.formula
        assert operation.kind in ("unary", "binary", "reduction", "product", "rows", "shape")
        assert set(operation.dtypes) <= {*ops.NUMBERS, "bool"}


def test_stubs_name_every_parameter():
    stubs = Path(fastnn.__file__).with_name("_core.pyi").read_text(encoding="utf-8")
    found = {node.name: node.args for node in ast.parse(stubs).body if isinstance(node, ast.FunctionDef)}
    for name in (*ALL, "broadcast_shapes"):
        parameters = list(inspect.signature(getattr(ops, name)).parameters)
        arguments = found.get(name) or found[f"{name}_"]        # sum, max and min are Python's own names
        every = (*arguments.args, *filter(None, [arguments.vararg]), *arguments.kwonlyargs)
        names = [argument.arg for argument in every]
        assert names == parameters, name


def test_docstrings_show_what_they_say():
    finder, runner = doctest.DocTestParser(), doctest.DocTestRunner()
    for name in (*ALL, "broadcast_shapes"):
        examples = finder.get_doctest(getattr(ops, name).__doc__, {"np": np, **vars(ops)}, name, None, 0)
        assert examples.examples, name
        runner.run(examples)
    assert runner.failures == 0
