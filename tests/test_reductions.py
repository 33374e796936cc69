"""sum, mean, max, min, argmax and argmin against NumPy: axes x layout x dtype x special values, and their one order."""

import inspect
import itertools
import re
from typing import Any, NamedTuple

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fastnn import ops


class Reduction(NamedTuple):
    call: Any
    numpy: Any
    several: bool = True  # takes a tuple of axes
    exact: bool = True  # gives a number of x itself or its place


REDUCTIONS = {
    "sum": Reduction(ops.sum, np.sum, exact=False),
    "mean": Reduction(ops.mean, np.mean, exact=False),
    "max": Reduction(ops.max, np.max),
    "min": Reduction(ops.min, np.min),
    "argmax": Reduction(ops.argmax, np.argmax, several=False),
    "argmin": Reduction(ops.argmin, np.argmin, several=False),
}
DTYPES = ["float32", "float64", "int32", "int64", "uint8", "bool"]
SIZES = [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 97, 127, 128, 129, 1000, 4095, 4096, 4097, 8200]
SHAPES = [(n,) for n in SIZES] + [(), (1, 1), (3, 1, 5), (2, 3, 4), (40, 33), (33, 130), (10, 700), (700, 10),
                                  (5, 6, 7, 2), (9000, 3), (3, 9000), (2, 5000, 4), (1, 600, 1, 33)]


def normal(shape, dtype, seed=0):
    rng = np.random.default_rng([seed, *shape])
    if np.dtype(dtype).kind == "f":
        return np.asarray(3 * rng.standard_normal(shape)).astype(dtype)
    low, high = {"bool": (0, 2), "uint8": (0, 256), "int32": (-(2**31), 2**31), "int64": (-(2**63), 2**63 - 1)}[dtype]
    return np.asarray(rng.integers(low, high, shape, dtype="uint8" if dtype == "bool" else dtype)).astype(dtype)


def all_axes(ndim, several=True):
    """None, every axis from both ends, and every set of axes."""
    found = [None, *range(-ndim, ndim)]
    return found + [axes for n in range(ndim + 1) for axes in itertools.combinations(range(ndim), n)] * several


def check(name, x, axis, keepdims=False, out=None):
    """The result has NumPy's type, dtype and shape, and its value exactly, or within (lanes + chunks) roundings."""
    reduction = REDUCTIONS[name]
    expected = reduction.numpy(x, axis=axis, keepdims=keepdims)
    got = reduction.call(x, axis, keepdims=keepdims, out=out)
    note = f"{name} of {x.dtype} {x.shape} {x.strides} axis={axis}"
    if out is not None:
        assert got is out, note
    else:
        assert type(got) is type(expected), note
    assert got.shape == expected.shape and got.dtype == expected.dtype, note
    if reduction.exact or name == "sum" and x.dtype.kind != "f":
        np.testing.assert_array_equal(got, expected, note)
        return
    with np.errstate(all="ignore"):
        exact = reduction.numpy(x, axis=axis, keepdims=keepdims, dtype="longdouble")
        size = reduction.numpy(np.abs(x, dtype="longdouble"), axis=axis, keepdims=keepdims)
        roundings = 128 + max(1, x.size // 4096)
        bad = np.abs(got - exact) > roundings * np.finfo(got.dtype).eps * size
        bad |= np.isnan(got) != np.isnan(exact)
        bad &= ~((got == exact) | np.isinf(size) & np.isinf(got))
    assert not np.any(bad), f"{note}: {got} for {exact}"


def layouts(x):
    """x as it is, and views of other strides with its shape."""
    yield x
    yield np.asfortranarray(x)
    wide = np.zeros(tuple(2 * n for n in x.shape), x.dtype)
    wide[...] = 1
    view = wide[tuple(slice(None, None, 2) for _ in x.shape)]
    view[...] = x
    yield view
    back = x[tuple(slice(None, None, -1) for _ in x.shape)].copy()
    yield back[tuple(slice(None, None, -1) for _ in x.shape)]
    memory = np.zeros(x.nbytes + 1, "uint8")
    moved = memory[1:].view(x.dtype).reshape(x.shape)  # misaligned
    moved[...] = x
    yield moved


# ---------------------------------------------------------------- values


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_equals_numpy_on_every_shape_and_axis(name, dtype, isa):
    for shape in SHAPES:
        x = normal(shape, dtype)
        for axis in all_axes(len(shape), REDUCTIONS[name].several):
            if not shape and axis == ():
                continue
            check(name, x, axis)


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_layouts_give_the_same_bits(name, dtype):
    for shape in [(7,), (5000,), (40, 33), (3, 1, 5), (6, 33, 5), (9000, 2)]:
        for axis in all_axes(len(shape), REDUCTIONS[name].several):
            x = normal(shape, dtype)
            expected = REDUCTIONS[name].call(x, axis)
            for view in layouts(x):
                got = REDUCTIONS[name].call(view, axis)
                assert got.tobytes() == expected.tobytes(), f"{name} {dtype} {shape} {view.strides} axis={axis}"
                check(name, view, axis, keepdims=True)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_equals_numpy_on_drawn_arrays(data):
    name, dtype = data.draw(st.sampled_from(list(REDUCTIONS))), data.draw(st.sampled_from(DTYPES))
    shape = data.draw(arrays.array_shapes(min_dims=0, max_dims=5, min_side=1, max_side=6))
    numbers = None
    if dtype.startswith("float"):
        numbers = st.one_of(st.sampled_from([0.0, -0.0, np.nan, np.inf, -np.inf, 1.0, -1.0]),
                            st.floats(-1e6, 1e6, width=int(dtype[5:])))
    x = data.draw(arrays.arrays(dtype, shape, elements=numbers))
    for axis in range(x.ndim):
        step = data.draw(st.sampled_from([1, -1, 2, 0]))
        if step == 0:
            x = np.broadcast_to(x.take([0], axis), x.shape[:axis] + (3,) + x.shape[axis + 1:])
        else:
            x = x[(slice(None),) * axis + (slice(None, None, step),)]
    x = x.transpose(data.draw(st.permutations(range(x.ndim))))
    axes = [axis for axis in all_axes(x.ndim, REDUCTIONS[name].several) if x.ndim or axis is None]
    with np.errstate(all="ignore"):
        check(name, x, data.draw(st.sampled_from(axes)), data.draw(st.booleans()))


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("number", [np.nan, -np.nan, np.inf, -np.inf])
def test_nan_and_infinity_anywhere(name, number, dtype, isa):
    for n in (1, 5, 31, 40, 130, 1000, 4100, 9000):
        for place in {0, n // 2, n - 1}:
            x = normal((n,), dtype)
            x[place] = number
            check(name, x, None)
            check(name, np.stack([x, x[::-1], x], axis=1), 0)
            check(name, np.stack([x, x[::-1], x]), 1)
            x[-1] = np.nan  # argmax finds the first one
            check(name, x, None)
            check(name, np.stack([x, x[::-1]], axis=1), 0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["argmax", "argmin"])
def test_the_first_of_equals(name, dtype, isa):
    for n in (1, 15, 63, 64, 100, 4096, 4097, 20000):
        x = (np.arange(n) % 7 == 3).astype(dtype)
        check(name, x, None)
        check(name, np.ones_like(x), None)
        check(name, np.stack([x, 1 - x.astype("uint8").astype(dtype), x], axis=1), 0)


def test_booleans_stop_at_the_first_that_decides(isa):
    for n in (1, 7, 8, 9, 63, 64, 65, 130, 5000):
        for at in {0, 1, 7, 8, 62, 63, 64, 65, n - 1, n}:       # n: nowhere
            x = np.arange(n) == at
            both = np.vstack([x, ~x])
            for name in ("max", "min", "argmax", "argmin"):
                check(name, both, -1)
                check(name, x, None)
                check(name, ~x, 0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_first_of_equal_ones_wins_in_columns_of_any_width(dtype, isa):
    rng = np.random.default_rng(0)
    for rows, cols in [(64, 1), (131, 3), (1000, 10), (257, 33), (40, 130), (5, 2), (63, 15), (65, 16), (1, 17)]:
        x = rng.integers(0, 2, (rows, cols)).astype(dtype)
        for name in ("argmax", "argmin"):
            check(name, x, 0)
            check(name, x[:, ::-1], 0)
            check(name, x, 1)
            check(name, x[::2], 1)
            if x.dtype.kind == "f":
                x[rng.integers(0, rows, 3), rng.integers(0, cols, 3)] = np.nan
                check(name, x, 0)
                check(name, x, 1)


def test_means_of_int64_are_exact_before_they_are_rounded(isa):
    x = normal((4200, 7), "int64")
    for axis, lines in ((0, x.T), (1, x)):
        expected = [float(sum(map(int, line))) / len(line) for line in lines]
        assert ops.mean(x, axis).tolist() == expected
        assert ops.mean(np.asfortranarray(x), axis).tolist() == expected
    assert ops.mean(x) == float(sum(map(int, x.flat))) / x.size
    assert ops.mean(x[:50]) == float(sum(map(int, x[:50].flat))) / 350


def test_integers_wrap_and_their_means_do_not():
    big = np.full(3, np.iinfo("int64").max)
    assert ops.sum(big) == np.sum(big) == np.iinfo("int64").max - 2
    assert ops.mean(big) == 2.0**63
    assert ops.mean(np.full((5, 3), 2**31 - 1, "int32"), 0).tolist() == [2.0**31 - 1] * 3
    assert ops.sum(np.full(10**5, 255, "uint8")) == 255 * 10**5


def test_zero_is_positive():
    """N8: the sign of a zero does not depend on the order."""
    zeros = np.array([-0.0, 0.0, -0.0])
    for reduce in (ops.sum, ops.mean, ops.max, ops.min):
        assert not np.signbit(reduce(zeros)) and not np.signbit(reduce(np.tile(-zeros, (40, 2)), 0)).any()


# ---------------------------------------------------------------- the one order (N6)


def test_sum_is_in_32_lanes_and_chunks_of_4096(isa):
    for n in SIZES:
        x = normal((n, 3), "float32")
        expected = np.array([reference.lanes(column.astype("float64")) for column in x.T])
        rows = x.T.copy()
        for got in (ops.sum(x, 0), ops.sum(rows, 1), ops.sum(rows.T, 0), ops.sum(x.reshape(n, 1, 3), (0, 1)),
                    [ops.sum(column) for column in x.T]):
            assert np.array_equal(got, expected), n


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_same_bits_on_any_threads_and_isa(name, dtype, fma_isas, set_isa, set_threads):
    for shape in [(200_000,), (70_000, 3), (3, 70_000), (300, 500), (20, 90, 100), (70_000, 1, 2)]:
        x = normal(shape, dtype)
        for axis in [None, *range(len(shape))]:
            found = set()
            for isa, threads in [*((isa, 1) for isa in fma_isas), (fma_isas[-1], 2), (fma_isas[-1], 4)]:
                set_isa(isa)
                set_threads(threads)
                found.add(REDUCTIONS[name].call(x, axis).tobytes())
            assert len(found) == 1, f"{name} {dtype} {shape} axis={axis}"
            check(name, x, axis)


# ---------------------------------------------------------------- arguments


@pytest.mark.parametrize("name", REDUCTIONS)
def test_out_takes_the_result(name):
    x = normal((6, 33, 5), "float32")
    for axis, keepdims in itertools.product([None, 0, 1, 2], [False, True]):
        expected = REDUCTIONS[name].numpy(x, axis=axis, keepdims=keepdims)
        out = np.full(expected.shape, 99, expected.dtype)
        check(name, x, axis, keepdims, out)
        wide = np.full(tuple(3 * n for n in expected.shape), 99, expected.dtype)
        check(name, x, axis, keepdims, wide[(..., *(slice(None, None, 3) for _ in expected.shape))])
        if wide.size > 1:
            assert (wide == 99).sum() >= wide.size - expected.size
    if name in ("max", "sum"):
        square = normal((5, 5), "float32")
        expected = REDUCTIONS[name].call(square, 0)
        assert np.array_equal(REDUCTIONS[name].call(square, 0, out=square[1]), expected)  # overlaps x


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("shape, axis", [((0,), None), ((0, 3), 0), ((3, 0), 1), ((2, 0, 3), 1), ((2, 0, 3), None),
                                         ((0, 0), 0)])
def test_over_no_elements(name, shape, axis):
    x = np.zeros(shape)
    if name == "sum":
        check(name, x, axis)
    elif name == "mean":
        with pytest.warns(RuntimeWarning, match="Mean of empty slice"):
            got = ops.mean(x, axis)
        assert got.shape == np.sum(x, axis).shape and np.isnan(got).all()
    else:
        with pytest.raises(ValueError, match=f"^{name} of no elements .* shape {re.escape(str(shape))}"):
            REDUCTIONS[name].call(x, axis)


@pytest.mark.parametrize("name", REDUCTIONS)
def test_no_results(name):
    for shape, axis in [((0, 3), 1), ((3, 0), 0), ((2, 0, 3), -1), ((2, 0, 3), 0)]:
        check(name, np.zeros(shape), axis)


def read_only(x):
    x.setflags(write=False)
    return x


REFUSED = [  # arguments, keywords, error, part of the message
    ((np.ones((2, 3)), 2), {}, np.exceptions.AxisError, r"axis 2 is out of range .*\(2, 3\)"),
    ((np.ones((2, 3)), -3), {}, np.exceptions.AxisError, "axis -3"),
    ((np.ones(()), 1), {}, np.exceptions.AxisError, "no axes"),
    ((np.ones((2, 3)), 1.0), {}, TypeError, "axis must be None, an integer"),
    ((np.ones((2, 3)), [0]), {}, TypeError, r"received \[0\]"),
    ((np.ones((2, 3)), "0"), {}, TypeError, "received '0'"),
    ((np.array(["a"]),), {}, TypeError, "dtype <U1"),
    ((np.array([1j]),), {}, TypeError, "complex128"),
    ((np.array([None]),), {}, TypeError, "object"),
    ((np.ones(3, "float16"),), {}, TypeError, "float16"),
    ((np.ones((2, 3)), 0), {"out": np.ones(2)}, ValueError, r"shape \(3,\), received \(2,\)"),
    ((np.ones((2, 3)), 0), {"out": np.ones(3, "float16")}, TypeError, "received float16"),
    ((np.ones((2, 3)), 0), {"out": [0, 0, 0]}, TypeError, "received list"),
]


@pytest.mark.parametrize("name", REDUCTIONS)
def test_refusals_name_what_was_received(name):
    for arguments, keywords, error, message in REFUSED:
        with pytest.raises(error, match=f"^{name}.*{message}"):
            REDUCTIONS[name].call(*arguments, **keywords)
    with pytest.raises(ValueError, match="read-only"):
        x = np.ones((2, 3))
        REDUCTIONS[name].call(x, 0, out=read_only(REDUCTIONS[name].call(x, 0)))
    if REDUCTIONS[name].several:
        with pytest.raises(ValueError, match="axis -2 is named twice"):
            REDUCTIONS[name].call(np.ones((2, 3)), (0, -2))
    else:
        with pytest.raises(TypeError, match="axis must be"):
            REDUCTIONS[name].call(np.ones((2, 3)), (0, 1))


def test_lists_numbers_and_other_byte_orders():
    assert ops.sum([1, 2, 3]) == 6 and ops.sum(2.5) == 2.5 and ops.mean([[1, 2], [3, 4]], 0).tolist() == [2, 3]
    assert ops.sum(memoryview(b"\x01\x02")) == 3
    assert ops.sum(np.arange(5, dtype=">f4")) == 10
    assert ops.sum(np.array(3.0), 0) == 3 and ops.sum(np.array(3.0), -1) == 3
    assert ops.sum(np.ones((2, 3)), np.int64(1)).tolist() == [3, 3]


def test_traced_values_answer_themselves():
    class Traced:
        def __fastnn_operation__(self, name, args, kwargs):
            return name, args, kwargs

    x = Traced()
    for name, reduction in REDUCTIONS.items():
        assert reduction.call(x, 1) == (name, (x,), {"axis": 1, "keepdims": False})


@pytest.mark.parametrize("name", REDUCTIONS)
def test_help_reads_well(name):
    function = getattr(ops, name)
    assert function.__name__ == name and ">>>" in function.__doc__
    assert str(inspect.signature(function)) == "(x, axis=None, *, keepdims=False, out=None)"
