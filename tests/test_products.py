"""dot, matmul, outer and tensordot against NumPy: shapes, layouts, dtypes, out, refusals, the rules of summation."""
import itertools

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.exceptions import AxisError

from fastnn import ops

FLOATS, INTEGERS = ("float32", "float64"), ("int32", "int64", "uint8")
DTYPES = FLOATS + INTEGERS
SHAPES = [(), (1,), (0,), (3,), (40,), (3, 40), (40, 3), (40, 1), (1, 40), (0, 3), (3, 0), (2, 3, 40), (2, 40, 3),
          (1, 40, 5), (5, 1, 3, 40), (2, 1, 1), (2, 2, 40, 7)]


def strided(x, step):
    wide = np.zeros((*x.shape[:-1], x.shape[-1] * abs(step)), x.dtype)
    wide[..., ::step] = x
    return wide[..., ::step]


def shifted(x):
    """x one byte past where its elements belong."""
    moved = np.zeros(x.nbytes + 1, "uint8")[1:].view(x.dtype).reshape(x.shape)
    moved[...] = x
    return moved


LAYOUTS = {
    "C": lambda x: x,
    "Fortran": np.asfortranarray,
    "transposed": lambda x: np.ascontiguousarray(x.swapaxes(-1, -2)).swapaxes(-1, -2) if x.ndim > 1 else x,
    "reversed": lambda x: x[::-1].copy()[::-1] if x.ndim else x,
    "every second": lambda x: strided(x, 2) if x.ndim else x,
    "backwards": lambda x: strided(x, -1) if x.ndim else x,
    "big-endian": lambda x: x.astype(x.dtype.newbyteorder(">")),
    "unaligned": lambda x: shifted(x) if x.ndim else x,
}


def numbers(rng, shape, dtype):
    if dtype in FLOATS:
        return rng.standard_normal(shape).astype(dtype)
    return rng.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def assert_equal_to_numpy(function, x, y, note, **kwargs):
    """The result of numpy.<function>: exactly for integers, within 16 eps sum|x||y| for floats (NaN nowhere)."""
    twin, call = getattr(np, function), getattr(ops, function)
    try:
        expected = twin(x, y, **kwargs)
    except (ValueError, IndexError) as error:
        with pytest.raises(type(error)):
            call(x, y, **kwargs)
        return
    got = call(x, y, **kwargs)
    assert type(got) is type(expected) and got.dtype == expected.dtype and got.shape == expected.shape, note
    if got.dtype.kind in "iu":
        assert np.array_equal(got, expected), note
    else:
        exact, size = (np.asarray(twin(a, b, **kwargs)) for a, b in ((wide(x), wide(y)), (abs(wide(x)), abs(wide(y)))))
        assert (abs(got - exact) <= 16 * np.finfo(got.dtype).eps * size).all(), note


def wide(x):
    return np.asarray(x, "longdouble" if x.dtype == "float64" else "float64")


def assert_same_bits(got, expected, note=""):
    got, expected = np.asarray(got), np.asarray(expected)
    assert got.dtype == expected.dtype and got.shape == expected.shape, note
    assert got.tobytes() == expected.tobytes(), note


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("function", ["dot", "matmul"])
def test_every_pair_of_shapes(function, dtype):
    rng = np.random.default_rng(0)
    for shape, other in itertools.product(SHAPES, SHAPES):
        x, y = numbers(rng, shape, dtype), numbers(rng, other, dtype)
        assert_equal_to_numpy(function, x, y, (shape, other))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("function", ["dot", "matmul"])
def test_every_pair_of_layouts(function, dtype, isa):
    """The numbers of NumPy and the bits of the C-contiguous arrays."""
    rng = np.random.default_rng(1)
    for shape, other in [((40,), (40,)), ((70, 40), (40,)), ((40,), (40, 70)), ((9, 40), (40, 70)),
                         ((2, 3, 40), (40, 5)), ((2, 9, 40), (2, 40, 7)), ((1, 9), (9, 1)), ((70, 9), (9, 1)),
                         ((2, 5000), (5000,))]:
        x, y = numbers(rng, shape, dtype), numbers(rng, other, dtype)
        expected = getattr(ops, function)(x, y)
        for left, right in itertools.product(LAYOUTS, LAYOUTS):
            a, b = LAYOUTS[left](x), LAYOUTS[right](y)
            note = (shape, other, left, right)
            assert_same_bits(getattr(ops, function)(a, b), expected, note)
        assert_equal_to_numpy(function, x, y, (shape, other))


sides = st.integers(0, 9)


@st.composite
def operands(draw):
    """Two arrays that matmul takes: up to three batch axes that broadcast, any of them 1 or missing."""
    m, k, n = draw(sides), draw(sides), draw(sides)
    batch = draw(st.lists(st.integers(0, 3), max_size=3))
    shapes = []
    for core in ((m, k), (k, n)):
        lead = [side if draw(st.booleans()) else 1 for side in batch][draw(st.integers(0, len(batch))):]
        shapes.append((*lead, *core))
    dtypes = draw(st.sampled_from(DTYPES)), draw(st.sampled_from(DTYPES))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    return [LAYOUTS[draw(st.sampled_from(list(LAYOUTS)))](numbers(rng, shape, dtype))
            for shape, dtype in zip(shapes, dtypes, strict=True)]


@settings(max_examples=120, deadline=None)
@given(operands())
def test_batches_layouts_and_mixed_dtypes(arrays):
    x, y = arrays
    for function in ("matmul", "dot"):
        assert_equal_to_numpy(function, x, y, (function, x.shape, y.shape))
    assert_equal_to_numpy("matmul", x, y, "out", out=np.full(np.matmul(x, y).shape, 77, np.result_type(x, y)))


@pytest.mark.parametrize("x_dtype", [*DTYPES, "int16", "bool", "float16", "uint32"])
@pytest.mark.parametrize("y_dtype", DTYPES)
def test_dtypes_are_promoted_as_in_numpy(x_dtype, y_dtype):
    x, y = (np.arange(6).reshape(2, 3) % 2).astype(x_dtype), np.arange(1, 4).astype(y_dtype)
    if np.result_type(x, y).name in DTYPES:
        for function in ("dot", "matmul"):
            assert_equal_to_numpy(function, x, y, function)
    else:
        with pytest.raises(TypeError, match="Convert it first: x.astype"):
            ops.dot(x, y)


def test_numbers_lists_and_buffers():
    import array

    assert ops.dot(2, 3) == 6 and ops.dot(2.0, [1, 2]).tolist() == [2.0, 4.0]
    assert ops.matmul([[1, 2]], [3, 4]).tolist() == [11] and ops.dot([1, 2], [3, 4]) == 11
    assert ops.dot(array.array("d", [1, 2]), memoryview(np.ones(2))) == 3
    x = np.ones((3, 4), "float32")
    assert ops.dot(x, 2.0).dtype == np.dot(x, 2.0).dtype
    for number in (ops.dot(x[0], x[0]), ops.matmul(x[0], x[0])):
        assert isinstance(number, np.float32)


class Exported:
    """An array that offers DLPack and nothing else."""

    def __init__(self, x):
        self.x = x

    def __dlpack__(self, **kwargs):
        return self.x.__dlpack__(**kwargs)

    def __dlpack_device__(self):
        return self.x.__dlpack_device__()


def test_arrays_of_other_libraries():
    x = np.arange(6.0).reshape(2, 3)
    assert_same_bits(ops.dot(Exported(x), Exported(x.T)), ops.dot(x, x.T))
    torch = pytest.importorskip("torch")
    assert_same_bits(ops.matmul(torch.from_numpy(x), torch.from_numpy(x.T)), ops.matmul(x, x.T))


class Traced:
    """What fastnn.gradient hands to the operations."""

    def __fastnn_operation__(self, name, args, kwargs):
        return name, len(args), kwargs


def test_traced_values_get_the_call():
    x, traced = np.ones((2, 2)), Traced()
    assert ops.dot(x, traced) == ("dot", 2, {})
    assert ops.matmul(traced, x, transpose_y=True) == ("matmul", 2, {"transpose_x": False, "transpose_y": True})
    assert ops.outer(x, traced) == ("outer", 2, {})
    assert ops.tensordot(traced, x, 1) == ("tensordot", 2, {"axes": 1})


@pytest.mark.parametrize("dtype", DTYPES)
def test_outer_and_tensordot(dtype):
    rng = np.random.default_rng(2)
    x, y = numbers(rng, (3, 4, 5), dtype), numbers(rng, (5, 4, 2), dtype)
    for a, b in ((x, y), (x[0, 0], y[0]), (x[:0], y), (x[0, 0, :1], y[::-1, 0, ::2])):
        assert_equal_to_numpy("outer", a, b, (a.shape, b.shape))
    for axes in (0, 1, 2, 3, -1, ([1, 2], [1, 0]), ([2, 1], [0, 1]), (2, 0), ([-1], [0]), (-1, -3), ([], []),
                 ([0], [0])):
        assert_equal_to_numpy("tensordot", x, y, axes, axes=axes)
    assert_equal_to_numpy("tensordot", x, x, "all", axes=3)
    out = np.full((3, 2), 77, dtype)
    assert ops.tensordot(x, y, ([1, 2], [1, 0]), out) is out
    assert np.array_equal(out, ops.tensordot(x, y, ([1, 2], [1, 0])))


# ---------------------------------------------------------------- out


@pytest.mark.parametrize("dtype", DTYPES)
def test_out_takes_the_result_in_any_layout(dtype):
    rng = np.random.default_rng(3)
    x, y = numbers(rng, (5, 9, 4), dtype), numbers(rng, (5, 4, 7), dtype)
    expected = ops.matmul(x, y)
    for name in ("C", "Fortran", "reversed", "every second", "backwards"):
        out = LAYOUTS[name](np.full_like(expected, 77))
        assert ops.matmul(x, y, out=out) is out
        assert_same_bits(np.ascontiguousarray(out), expected, name)
    number = np.full((), 77, dtype)
    assert ops.dot(x[0, 0], y[0, :, 0], out=number) is number and number == ops.dot(x[0, 0], y[0, :, 0])
    scaled = np.full((5, 9, 4), 77, dtype)
    assert ops.dot(x, y[0, 0, 0], out=scaled) is scaled and np.array_equal(scaled, np.dot(x, y[0, 0, 0]))


@pytest.mark.parametrize("dtype", DTYPES)
def test_out_may_overlap_the_inputs(dtype):
    square = numbers(np.random.default_rng(4), (8, 8), dtype)
    for call, out in ((lambda b, out=None: ops.matmul(b, b, out), lambda b: b),
                      (lambda b, out=None: ops.matmul(b, b, out), lambda b: b.T),
                      (lambda b, out=None: ops.dot(b, b[0], out), lambda b: b[0]),
                      (lambda b, out=None: ops.dot(b, b[0], out), lambda b: b[1]),
                      (lambda b, out=None: ops.dot(b[0], b, out), lambda b: b[:, 2]),
                      (lambda b, out=None: ops.outer(b[0], b[1], out), lambda b: b)):
        buffer = square.copy()
        expected = call(square)
        assert_same_bits(call(buffer, out(buffer)).copy(), expected)


A, B, V = np.ones((3, 4)), np.ones((4, 5)), np.ones(3)
FROZEN = np.frombuffer(np.zeros((3, 5)).tobytes()).reshape(3, 5)
REFUSALS = [
    (lambda: ops.dot(A, V), ValueError, "dot: x has 4 columns (the last axis) and y has 3 rows (the second-last, or "
     "only, axis), which must be equal; received (3, 4) and (3,)."),
    (lambda: ops.matmul(A, A), ValueError, "matmul: x has 4 columns (the last axis) and y has 3 rows"),
    (lambda: ops.matmul(A, A, transpose_x=True, transpose_y=True), ValueError,
     "(3, 4) and (3, 4), transposed as asked."),
    (lambda: ops.matmul(V, A, transpose_x=True), ValueError,
     "transpose_x and transpose_y are for arrays of two or more"),
    (lambda: ops.matmul(A, 2.0), ValueError, "matmul takes arrays of at least one axis, received (3, 4) and ()."),
    (lambda: ops.matmul(np.ones((2, 3, 4)), np.ones((3, 4, 5))), ValueError,
     "matmul: the batch axes of (2, 3, 4) and (3, 4, 5) do not broadcast: 2 against 3."),
    (lambda: ops.dot(A, B, out=np.ones((5, 3))), ValueError, "dot: out must have shape (3, 5), received (5, 3)."),
    (lambda: ops.dot(A, B, out=np.ones((3, 5), "float32")), ValueError,
     "out must have dtype float64, received float32."),
    (lambda: ops.matmul(A, B, out=np.ones((3, 5), "int32")), TypeError, "out must have dtype float64, received int32."),
    (lambda: ops.outer(V, V, out=np.ones((3, 3), "int32")), TypeError, "out must have dtype float64, received int32."),
    (lambda: ops.matmul(A, B, out=[1.0]), TypeError, "matmul: out must be a numpy array, received list."),
    (lambda: ops.matmul(A, B, out=FROZEN), ValueError, "matmul: out is read-only."),
    (lambda: ops.dot(A, 2.0, out=np.ones(3)), ValueError, "dot: out must have shape (3, 4), received (3,)."),
    (lambda: ops.dot(A.astype(complex), B), TypeError,
     "received x of dtype complex128. Convert it first: x.astype('float64')"),
    (lambda: ops.dot(A, B.astype(object)), TypeError, "received y of dtype object. Convert it first"),
    (lambda: ops.dot(V > 0, V > 0), TypeError, "received x of dtype bool. Convert it first: x.astype('int64')"),
    (lambda: ops.dot(["a"], ["b"]), TypeError, "received x of dtype <U1. Convert it first"),
    (lambda: ops.dot(None, V), TypeError, "received x of dtype object."),
    (lambda: ops.tensordot(A, B), ValueError, "the paired axes must have equal lengths; axes=2 pairs [0, 1] of (3, 4) "
     "with [0, 1] of (4, 5)."),
    (lambda: ops.tensordot(A, B, ([1], [5])), AxisError,
     "tensordot: y of shape (4, 5) has no axis 5; axes=([1], [5])."),
    (lambda: ops.tensordot(A, B, 3), AxisError, "tensordot: x of shape (3, 4) has no axis -3"),
    (lambda: ops.tensordot(A, A, ([0, 0], [0, 1])), ValueError, "tensordot: an axis of x is named twice in axes="),
    (lambda: ops.tensordot(A, B, 1, out=np.ones(3)), ValueError,
     "tensordot: out must have shape (3, 5), received (3,)."),
]


@pytest.mark.parametrize("call, error, message", REFUSALS, ids=[row[2][:50] for row in REFUSALS])
def test_refusals_say_what_is_wrong(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert message in str(caught.value)
    assert (A == 1).all() and (B == 1).all() and (FROZEN == 0).all()


# ---------------------------------------------------------------- the rules of summation


LARGE = [((64, 300), (300, 130)), ((300,), (300, 1000)), ((1000, 300), (300,)), ((1000, 70), (70, 1)),
         ((3, 5000), (5000,)), ((200_003,), (200_003,)), ((5_000_000,), (5_000_000,)), ((9, 30, 40), (9, 40, 50)),
         ((9, 30, 40), (40, 50)),
         ((600, 300), (300, 257)),
         ((7, 4100), (4100, 2100)), ((70, 300), (300, 4))]


def test_bits_are_the_same_on_every_fma_isa_and_thread_count(dtype, fma_isas, set_isa, set_threads):
    rng = np.random.default_rng(5)
    for shape, other in LARGE:
        x, y, expected = rng.random(shape, dtype) - 0.5, rng.random(other, dtype) - 0.5, None
        for isa, threads in [(isa, threads) for isa in fma_isas for threads in (1, 2, 4)]:
            set_isa(isa)
            set_threads(threads)
            got = ops.matmul(x, y)
            expected = got if expected is None else expected
            assert_same_bits(got, expected, (shape, other, isa, threads))
            if threads == 2:
                a, b = (np.asfortranarray(z) for z in (x, y))
                assert_same_bits(ops.matmul(a, b), expected, (shape, other, isa, "Fortran"))


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_integers_on_every_isa_and_thread_count(dtype, isa, set_threads):
    rng = np.random.default_rng(6)
    for shape, other in [((65, 131), (131, 70)), ((130, 65), (65,)), ((9, 5, 7), (9, 7, 67)),
                         ((3, 4100), (4100, 2050))]:
        x, y = numbers(rng, shape, dtype), numbers(rng, other, dtype)
        expected = (x @ y) if x.size < 10000 else None
        for threads in (1, 2, 4):
            set_threads(threads)
            got = ops.matmul(x, y)
            expected = got if expected is None else expected
            assert np.array_equal(got, expected)
        some = np.s_[..., :3]
        assert np.array_equal(got[some] if y.ndim > 1 else got, x @ (y[some] if y.ndim > 1 else y))


def test_products_are_chains_and_products_with_a_vector_are_lanes(fma_isas, set_isa):
    rng = np.random.default_rng(7)
    x, y = rng.standard_normal((21, 75)).astype("float32"), rng.standard_normal((75, 40)).astype("float32")
    chains, vector = reference.fma_chains(x, y), rng.standard_normal(9000).astype("float32")
    matrix = rng.standard_normal((9, 9000)).astype("float32")
    lanes = np.array([reference.lanes(row.astype("float64") * vector) for row in matrix], "float32")
    for isa in fma_isas:
        set_isa(isa)
        for product in (ops.dot(x, y), np.stack([ops.dot(row, y) for row in x]), ops.tensordot(x, y, 1),
                        np.concatenate([ops.matmul(x, y[:, j:j + 1]) for j in range(40)], axis=1),
                        ops.matmul(x, np.stack([y, y]))[1], ops.dot(np.stack([x, x]), np.stack([y, y]))[1, :, 1]):
            assert_same_bits(product, chains, isa)
        assert_same_bits(ops.dot(matrix, vector), lanes, isa)
        assert_same_bits(ops.dot(np.asfortranarray(matrix), vector), lanes, isa)
        assert_same_bits(np.stack([ops.dot(row, vector) for row in matrix]), lanes, isa)


def test_products_of_bytes_wrap():
    for n in (0, 1, 7, 8, 9, 70_001):
        x = np.full(n, 255, "uint8")
        x[::3] = 254
        for left, right in [(x, x), (x[::-1], x), (x[::2], x[::2])]:
            found = ops.dot(left, right)
            assert type(found) is np.uint8 and found == np.dot(left, right), n
            assert ops.dot(left, right, out=np.zeros((), "uint8")) == found
    np.testing.assert_array_equal(ops.matmul(x[:20].reshape(4, 5), x[:5]), np.matmul(x[:20].reshape(4, 5), x[:5]))


@pytest.mark.parametrize("rows", [1, 7, 16, 17, 33, 130, 600])
def test_layouts_change_no_bits_of_a_product_with_a_vector(rows, dtype, isa):
    rng = np.random.default_rng(9)
    for n in (1, 2, 15, 16, 31, 33, 100, 513, 4097):
        x, v = rng.standard_normal((rows, n)).astype(dtype), rng.standard_normal(n).astype(dtype)
        down = np.ascontiguousarray(x.T)
        assert_same_bits(ops.dot(v, x.T), ops.dot(v, down), n)
        assert_same_bits(ops.dot(x[::-1], v[:, None])[::-1, 0], ops.dot(v, down), n)
        assert_same_bits(ops.dot(down.T, v), ops.dot(x, v), n)


@pytest.mark.parametrize("transposed", [False, True])
def test_a_row_has_the_same_bits_alone_and_in_any_batch(transposed, dtype, isa):
    rng = np.random.default_rng(8)
    x, y, v = (rng.standard_normal(shape).astype(dtype) for shape in ((100, 97), (97, 70), 97))
    x = np.asfortranarray(x) if transposed else x
    whole, vector = ops.matmul(x, y), ops.dot(x, v)
    for rows in (1, 2, 3, 7, 8, 9, 50):
        for first in (0, 3, 100 - rows):
            part = slice(first, first + rows)
            assert_same_bits(ops.matmul(x[part], y), whole[part], (rows, first))
            assert_same_bits(ops.dot(x[part], v), vector[part], (rows, first))
            assert_same_bits(ops.matmul(x[part].reshape(rows, 1, 97), y)[:, 0], whole[part], (rows, first))


def test_nothing_is_skipped_and_no_zero_is_negative(dtype, isa):
    zero, nan = np.zeros((70, 40), dtype), np.full((40, 70), np.nan, dtype)
    for result in (ops.dot(zero, nan), ops.dot(zero, nan[:, 0]), ops.dot(zero[0], nan), ops.dot(zero[0], nan[:, 0]),
                   ops.dot(np.asfortranarray(zero), nan[:, 0].copy()), ops.outer(zero[0], nan[0])):
        assert np.isnan(result).all()
    tiny = np.full((70, 40), np.finfo(dtype).tiny, dtype)
    for result in (ops.dot(tiny, -tiny.T), ops.dot(tiny, -tiny[0]), ops.dot(tiny[0], -tiny.T),
                   ops.dot(tiny[0], -tiny[0]), ops.dot(np.asfortranarray(tiny), -tiny[0]),
                   ops.outer(tiny[0], -tiny[0])):
        assert not np.signbit(result).any() and not np.any(result)
