"""Gradients: every rule against central differences in float64, compositions, messages, and PyTorch where it is."""

import inspect
import math
import operator
import threading

import numpy as np
import pytest

import fastnn
from fastnn import activations, check_gradient, gradient, losses, ops, value_and_gradient
from fastnn.traces import CALLS, IN_PLACE, PLAIN, RULES, Traced, apply

A, B = (3, 4), (4,)


def numbers(shape, seed=0, low=None):
    """Standard normal, away from kinks and ties; above `low` if it is given."""
    x = np.random.default_rng(seed).standard_normal(shape)
    return x if low is None else low + np.abs(x)


def named(name, *arguments, **options):
    """The call of fastnn's rules by its name, whoever offers it to users."""
    return lambda *operands: CALLS[name](*operands, *arguments, **options)


MASK = np.array([True, False, True, True])
INDEX = np.array([0, 2, 2, 1])
# (operation of the table of rules, function of its arrays, the arrays)
CASES = [
    ("by_sample", lambda p: losses.mean_squared_error(np.ones((3, 4)), p), [A]),
    ("by_sample", lambda p: losses.categorical_crossentropy(np.eye(3, 4), p, from_logits=True), [A]),
    ("add", operator.add, [A, A]), ("add", operator.add, [A, B]), ("add", operator.add, [(3, 1), (1, 4)]),
    ("add", operator.add, [(), A]), ("add", lambda x: x + x, [A]), ("add", lambda x: x + x + x + x, [A]),
    ("add", lambda x: 1.5 + x + 2, [A]),
    ("subtract", operator.sub, [A, B]), ("subtract", lambda x: 1 - x, [A]),
    ("multiply", operator.mul, [A, B]), ("multiply", operator.mul, [A, (3, 1)]), ("multiply", lambda x: 2 * x * x, [A]),
    ("multiply", operator.mul, [(2, 3, 4), (3, 1)]), ("multiply", np.multiply.outer, [(3,), (4,)]),
    ("divide", operator.truediv, [A, numbers(B, 1, 0.5)]), ("divide", lambda x: 1 / x, [numbers(A, 1, 0.5)]),
    ("power", lambda x: x ** 3, [A]), ("power", lambda x: x ** 0, [A]),
    ("power", operator.pow, [numbers(A, 1, 0.5), B]),
    ("power", lambda x: 2.0 ** x, [A]),
    ("power", lambda x: np.power(x, np.array([0.0, 1, 2, 3])), [numbers(A, 1, 0.5)]),
    ("maximum", np.maximum, [A, B]), ("maximum", lambda x: np.maximum(x, 0), [A]),
    ("minimum", np.minimum, [A, B]), ("minimum", lambda x: np.minimum(0.0, x), [A]),
    ("logaddexp", np.logaddexp, [A, B]),
    ("negative", operator.neg, [A]), ("absolute", abs, [A]), ("absolute", np.abs, [A]), ("sign", np.sign, [A]),
    ("square", np.square, [A]), ("square", lambda x: x ** 2, [A]), ("sqrt", np.sqrt, [numbers(A, 1, 0.5)]),
    ("reciprocal", np.reciprocal, [numbers(A, 1, 0.5)]), ("exp", np.exp, [A]), ("expm1", np.expm1, [A]),
    ("log", np.log, [numbers(A, 1, 0.5)]), ("log1p", np.log1p, [numbers(A, 1, 0.5)]),
    ("log2", np.log2, [numbers(A, 1, 0.5)]), ("log10", np.log10, [numbers(A, 1, 0.5)]),
    ("sin", np.sin, [A]), ("cos", np.cos, [A]), ("tanh", np.tanh, [A]),
    ("relu", ops.relu, [A]), ("sigmoid", named("sigmoid"), [A]), ("softmax", ops.softmax, [A]),
    ("softmax", named("softmax"), [B]), ("log_softmax", named("log_softmax"), [A]),
    ("log_softmax", named("log_softmax", axis=0), [A]), ("softmax", named("softmax", axis=0), [A]),
    ("relu_backward", lambda x, y: apply("relu_backward", (x, y)), [A, A]),
    ("sigmoid_backward", lambda x, y: apply("sigmoid_backward", (x, y)), [A, A]),
    ("tanh_backward", lambda x, y: apply("tanh_backward", (x, y)), [A, A]),
    ("softmax_backward", lambda x, y: apply("softmax_backward", (x, y)), [A, A]),
    *(("curve", getattr(activations, name), [A]) for name in activations.CURVES),
    *(("curve", lambda x, name=name: getattr(activations, name)(x * 2), [A]) for name in activations.CURVES),
    ("curve", lambda x: activations.elu(x, 0.3), [A]),
    ("curve_backward", lambda x, y: apply("curve_backward", (x, y, "gelu", (), None)), [A, A]),
    ("clip", lambda x: np.clip(x, -0.5, 0.5), [A]), ("clip", lambda x: x.clip(0, None), [A]),
    ("clip", lambda x, y: np.clip(x, y, 2.0), [A, B]),
    ("where", lambda x, y: np.where(MASK, x, y), [A, B]), ("where", lambda x: np.where(x > 0, x, 0.1 * x), [A]),
    ("astype", lambda x: x.astype("float64"), [A]), ("copy", lambda x: np.copy(x) * x.copy(), [A]),
    ("sum", np.sum, [A]), ("sum", lambda x: np.sum(x, axis=0), [A]), ("sum", lambda x: x.sum(-1, keepdims=True), [A]),
    ("sum", lambda x: x.sum((0, 2)), [(2, 3, 4)]), ("sum", lambda x: np.add.reduce(x, axis=1), [A]),
    ("sum", lambda x: np.add.reduce(x), [A]),
    ("mean", np.mean, [A]), ("mean", lambda x: x.mean(axis=1), [A]),
    ("mean", lambda x: x.mean((0, 1), keepdims=True), [(2, 3, 4)]),
    ("mean", np.var, [A]), ("mean", lambda x: np.std(x, axis=0, ddof=1), [A]),
    ("max", np.max, [A]), ("max", lambda x: x.max(axis=1), [A]), ("max", lambda x: x.max(0, keepdims=True), [A]),
    ("max", lambda x: np.maximum.reduce(x), [A]),
    ("min", np.amin, [A]), ("min", lambda x: x.min(axis=(0, 2)), [(2, 3, 4)]),
    ("cumsum", lambda x: np.cumsum(x, axis=1), [A]), ("cumsum", np.cumsum, [A]),
    ("dot", np.dot, [(4,), (4,)]), ("dot", np.dot, [A, B]), ("dot", np.dot, [(3,), A]), ("dot", np.dot, [A, (4, 2)]),
    ("dot", ops.dot, [A, (4, 2)]), ("dot", np.dot, [(), A]), ("dot", np.vdot, [A, A]),
    ("tensordot", np.dot, [(2, 3, 4), (5, 4, 2)]), ("tensordot", np.dot, [(2, 3, 4), B]),
    ("tensordot", np.dot, [B, (2, 4, 3)]),
    ("tensordot", lambda x, y: np.tensordot(x, y, axes=2), [(2, 3, 4), (3, 4, 5)]),
    ("tensordot", lambda x, y: np.tensordot(x, y, axes=([0, 2], [3, 1])), [(2, 3, 4), (5, 4, 6, 2)]),
    ("tensordot", lambda x, y: np.tensordot(x, y, 0), [(2,), (3,)]),
    ("tensordot", lambda x, y: np.tensordot(x, y, (1, 0)), [A, (4, 2)]),
    ("outer", np.outer, [(3,), (4,)]), ("outer", np.outer, [(3, 2), (4,)]),
    ("matmul", operator.matmul, [A, (4, 2)]), ("matmul", ops.matmul, [A, (4, 2)]), ("matmul", operator.matmul, [B, B]),
    ("matmul", operator.matmul, [(2, 3, 4), (4, 5)]), ("matmul", operator.matmul, [(3, 4), (2, 4, 5)]),
    ("matmul", operator.matmul, [(2, 1, 3, 4), (5, 4, 2)]), ("matmul", operator.matmul, [(2, 3, 4), B]),
    ("matmul", operator.matmul, [(3,), (2, 3, 4)]), ("matmul", operator.matmul, [(3,), A]),
    ("matmul", operator.matmul, [A, B]),
    ("reshape", lambda x: x.reshape(2, 6), [A]), ("reshape", lambda x: np.reshape(x, (-1, 2)), [A]),
    ("reshape", lambda x: x.reshape((12,)), [A]), ("reshape", np.ravel, [A]), ("reshape", lambda x: x.flatten(), [A]),
    ("reshape", lambda x: np.expand_dims(x, 1) * np.squeeze(x[:, None, :]).sum(), [A]),
    ("reshape", lambda x: np.atleast_2d(x), [B]),
    ("transpose", lambda x: x.T, [A]), ("transpose", lambda x: np.transpose(x, (1, 2, 0)), [(2, 3, 4)]),
    ("transpose", lambda x: x.transpose(2, 0, 1), [(2, 3, 4)]), ("transpose", lambda x: x.transpose(), [A]),
    ("transpose", lambda x: np.moveaxis(x, 0, -1), [(2, 3, 4)]),
    ("swapaxes", lambda x: np.swapaxes(x, 0, 2), [(2, 3, 4)]), ("swapaxes", lambda x: x.mT, [(2, 3, 4)]),
    ("flip", np.flip, [A]), ("flip", lambda x: np.flip(x, 1), [A]),
    ("broadcast_to", lambda x: np.broadcast_to(x, (3, 4)), [B]),
    ("broadcast_to", lambda x: np.broadcast_to(x, (2, 3, 4)), [(3, 1)]),
    ("repeat", lambda x: np.repeat(x, 3, axis=0), [A]), ("repeat", lambda x: np.repeat(x, 2), [A]),
    ("concatenate", lambda x, y: np.concatenate([x, y]), [A, (2, 4)]),
    ("concatenate", lambda x, y: np.concatenate((x, np.ones((3, 1)), y), axis=-1), [A, (3, 2)]),
    ("concatenate", lambda x, y: np.concatenate([x, y], axis=None), [A, B]),
    ("concatenate", lambda x, y: np.vstack([x, y]), [A, B]),
    ("concatenate", lambda x, y: np.hstack([x, y]), [A, (3, 2)]),
    ("stack", lambda x, y: np.stack([x, y, x], axis=1), [A, A]),
    ("stack", lambda x: np.stack([x[0] * x[1], x[2]]), [B]),
    ("getitem", lambda x: x[1] * x[0], [A]), ("getitem", lambda x: x[:, 1:3], [A]), ("getitem", lambda x: x[1, 2], [A]),
    ("getitem", lambda x: x[..., None, ::2], [A]), ("getitem", lambda x: x[INDEX], [A]),
    ("getitem", lambda x: x[:, MASK], [A]),
    ("getitem", lambda x: x[[0, 1], [1, 1]] + x[0, ...][:2], [A]), ("getitem", lambda x: x[x > 0], [A]),
    ("getitem", lambda x: np.take(x, INDEX, axis=1), [A]), ("getitem", lambda x: sum(row * row[0] for row in x), [A]),
    ("getitem", lambda x: (x * 2)[0] + x[1] + x[1] + x.sum(0), [A]),
    ("scatter", lambda x: apply("scatter", (x, (slice(None), 1), (3, 4))), [(3,)]),
]
IDS = [f"{name}-{number}" for number, (name, *_) in enumerate(CASES)]


def arrays(shapes):
    return [x if isinstance(x, np.ndarray) else numbers(x, seed) for seed, x in enumerate(shapes)]


def weighted(f):
    """f's result as one number: its elements weighted by fixed numbers, so that no error cancels."""
    def one_number(*operands):
        out = f(*operands)
        return np.sum(out * numbers(out.shape, 99)) if np.shape(out) else out * 1.5
    return one_number


@pytest.mark.parametrize("name, f, shapes", CASES, ids=IDS)
def test_rules_against_central_differences(name, f, shapes):
    operands = arrays(shapes)
    assert check_gradient(weighted(f), *operands).error < 1e-6
    found = gradient(weighted(f), tuple(range(len(operands))))(*operands)
    for x, dx in zip(operands, found, strict=True):
        assert type(dx) is np.ndarray and dx.shape == x.shape and dx.dtype == x.dtype
        assert dx.flags.c_contiguous and dx.flags.writeable


@pytest.mark.parametrize("name, f, shapes", CASES, ids=IDS)
def test_second_derivatives_against_central_differences(name, f, shapes):
    """Of a sum of squares of the gradient, so that every rule is differentiated itself."""
    operands = arrays(shapes)

    def of_gradient(*operands):
        slopes = gradient(weighted(lambda *xs: np.sin(f(*xs))), tuple(range(len(operands))))(*operands)
        return sum(np.sum(slope * slope) for slope in slopes)

    if name == "by_sample":
        with pytest.raises(TypeError, match="second derivative"):
            gradient(of_gradient)(*operands)
        return
    assert check_gradient(of_gradient, *operands).error < 1e-5


@pytest.mark.parametrize("name, f, shapes", CASES, ids=IDS)
def test_float32_stays_float32(name, f, shapes):
    if inspect.isfunction(f) and "float64" in inspect.getsource(f):
        pytest.skip("the case itself converts to float64")
    operands = [x.astype("float32") for x in arrays(shapes)]
    wide = gradient(weighted(f))(*(x.astype("float64") for x in operands))
    found = gradient(lambda *xs: np.sum(f(*xs) * numbers(np.shape(f(*operands)), 99).astype("float32"))
                     if np.shape(f(*operands)) else f(*xs) * 1.5)(*operands)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wide, rtol=1e-4, atol=1e-4)


def test_every_rule_has_a_case():
    assert {name for name, *_ in CASES} == set(RULES)


def test_every_call_reaches_a_rule_or_refuses():
    assert not set(CALLS) & (PLAIN | IN_PLACE)


# Compositions

def random_function(seed):
    """A random composition of up to 12 operations on a matrix and a vector, smooth almost everywhere."""
    def f(x, y):
        rng = np.random.default_rng(seed)
        values = [x, y]
        unary = [np.tanh, np.sin, np.exp, lambda z: np.log(z * z + 1), lambda z: np.sqrt(np.abs(z) + 0.5), ops.softmax,
                 ops.relu, np.square, lambda z: -z, lambda z: z - z.mean(-1, keepdims=True), lambda z: z[..., ::-1],
                 lambda z: z.T.T, lambda z: z / (1 + np.abs(z)), lambda z: np.maximum(z, 0.1 * z), np.cumsum]
        binary = [operator.add, operator.sub, operator.mul, lambda a, b: a / (b * b + 1), np.maximum, np.minimum,
                  lambda a, b: np.where(a > 0.05, a, b * a), lambda a, b: np.dot(a, b.T) if b.ndim == 2 else a * b,
                  lambda a, b: np.concatenate([a.reshape(-1), b.reshape(-1)])[:4]]
        for _ in range(rng.integers(3, 12)):
            if rng.random() < 0.5:
                values.append(unary[rng.integers(len(unary))](np.tanh(values[rng.integers(len(values))])))
                continue
            a, b = (values[rng.integers(len(values))] for _ in range(2))
            if a.ndim < b.ndim:
                a, b = b, a
            if a.shape[-1] == b.shape[-1] and (b.ndim == 1 or a.shape == b.shape):
                values.append(binary[rng.integers(len(binary))](a, b))
        return sum(np.mean(value * (i + 1)) for i, value in enumerate(values))
    return f


@pytest.mark.parametrize("seed", range(200))
def test_random_compositions(seed):
    x, y = numbers((3, 4), seed), numbers(4, seed + 1000)
    assert check_gradient(random_function(seed), x, y).error < 1e-6


def test_control_flow():
    def f(x):
        total = 0.0
        for i in range(len(x)):
            if x[i] > 0:
                total = total + x[i] ** 2
            elif x[i] < -1:
                total += np.exp(x[i])
        while total < 100:
            total = total * 2
        return total

    assert check_gradient(f, np.array([1.0, -2.0, 0.5, -0.5])).error < 1e-6
    assert gradient(lambda x: x if x > 0 else 0.0)(-1.0) == 0.0


def test_a_function_written_for_numpy_differentiates_as_it_stands():
    rng = np.random.default_rng(0)
    x, y = rng.random((5, 6)), np.eye(3)[[0, 1, 2, 0, 1]]

    def loss(w1, b1, w2, b2):
        hidden = np.maximum(np.dot(x, w1) + b1, 0)
        logits = hidden.dot(w2) + b2
        e = np.exp(logits - np.max(logits, axis=1, keepdims=True))
        p = e / np.sum(e, axis=1, keepdims=True)
        return -np.sum(y * np.log(p)) / len(x)

    operands = [rng.standard_normal(shape) for shape in ((6, 4), (4,), (4, 3), (3,))]
    assert check_gradient(loss, *operands).error < 1e-6


# The interface

def test_numbers_and_types():
    assert gradient(lambda x: x ** 2)(3.0) == 6.0 and type(gradient(lambda x: x ** 2)(3.0)) is float
    assert value_and_gradient(lambda x: x ** 2)(3.0) == (9.0, 6.0)
    assert type(gradient(lambda x: x * x)(np.float32(3))) is np.float32
    assert gradient(lambda x: x * x)(np.array(3.0)).shape == ()
    assert gradient(gradient(gradient(lambda x: x ** 4)))(2.0) == 48.0
    assert gradient(lambda x, y: x * y, argnums=1)(2.0, 5.0) == 2.0
    assert gradient(lambda x, y: x * y, argnums=(0,))(2.0, 5.0) == (5.0,)
    assert gradient(lambda x, y: x * y, argnums=(-1, 0))(2.0, 5.0) == (2.0, 5.0)
    assert gradient(lambda x, scale=1.0: x * scale)(2.0, scale=4.0) == 4.0


def test_inner_and_outer_traces_are_told_apart():
    assert gradient(lambda x: x * gradient(lambda y: x * y)(2.0))(3.0) == 6.0
    assert gradient(lambda x: gradient(lambda y: y * x)(x) * x)(3.0) == 6.0
    f = gradient(lambda x: np.sum(gradient(lambda y: np.sum(np.tanh(x * y)))(x)))
    x = np.array([0.3, -0.7])
    np.testing.assert_allclose(f(x), 1 - np.tanh(x * x) ** 2 - 4 * x * x * np.tanh(x * x) * (1 - np.tanh(x * x) ** 2))


def test_lists_tuples_and_dicts_of_arrays():
    parameters = {"layers": [(np.ones((2, 2)), np.zeros(2))], "scale": 2.0}

    def f(p):
        (w, b), = p["layers"]
        return p["scale"] * np.sum(np.array([1.0, 2.0]) @ w + b)

    found = gradient(f)(parameters)
    np.testing.assert_array_equal(found["layers"][0][0], [[2, 2], [4, 4]])
    np.testing.assert_array_equal(found["layers"][0][1], [2, 2])
    assert found["scale"] == 6.0 and isinstance(found["layers"][0], tuple)


def test_an_argument_without_influence_has_a_zero_gradient():
    x, y = np.ones(3, "float32"), np.ones(2)
    found = gradient(lambda x, y: np.sum(y), (0, 1))(x, y)
    np.testing.assert_array_equal(found[0], np.zeros(3))
    assert found[0].dtype == np.float32
    assert gradient(lambda x: 3.0)(2.0) == 0.0


def test_gradients_are_arrays_of_their_own():
    x, y = np.ones(3), np.ones(3)
    dx, dy = gradient(lambda x, y: np.sum(x + y), (0, 1))(x, y)
    dx += 1
    np.testing.assert_array_equal(dy, np.ones(3))
    dx, dy = gradient(lambda x, y: np.sum((x + y) ** 2), (0, 1))(x, y)
    assert not np.may_share_memory(dx, dy)


@pytest.mark.parametrize("layout", ["C", "F", "reversed", "readonly"])
def test_any_layout_and_inputs_stay_as_they_are(layout):
    x = numbers((4, 3))
    given = {"C": x, "F": np.asfortranarray(x), "reversed": x[::-1, ::-1][::-1, ::-1], "readonly": x.copy()}[layout]
    given.flags.writeable = False
    before = given.copy()
    np.testing.assert_allclose(gradient(lambda x: np.sum(np.tanh(x) @ x.T))(given),
                               gradient(lambda x: np.sum(np.tanh(x) @ x.T))(x.copy()), rtol=1e-13)
    np.testing.assert_array_equal(given, before)


def test_kinks():
    assert gradient(ops.relu)(np.array(0.0)) == 0 and gradient(abs)(0.0) == 0
    np.testing.assert_array_equal(gradient(np.max)(np.array([2.0, 1, 2])), [0.5, 0, 0.5])
    np.testing.assert_array_equal(gradient(lambda x: np.sum(np.maximum(x, 0)))(np.array([-1.0, 0, 1])), [0, 0.5, 1])


def test_mixed_precision_comes_back_in_the_dtype_of_the_argument():
    x, y = numbers(3).astype("float32"), numbers(3)
    dx, dy = gradient(lambda x, y: np.sum(x * y), (0, 1))(x, y)
    assert (dx.dtype, dy.dtype) == (np.float32, np.float64)
    assert gradient(lambda x: np.sum(x.astype("float64") ** 2))(x).dtype == np.float32


def test_threads_do_not_meet():
    results = {}

    def work(k):
        results[k] = [gradient(lambda x: np.sum(np.sin(x) * k))(np.full(50, 0.5)).sum() for _ in range(20)]

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k, found in results.items():
        np.testing.assert_allclose(found, 50 * k * np.cos(0.5))


def test_what_only_looks_at_an_array_sees_the_plain_one():
    def f(x):
        assert np.shape(x) == (3,) and np.allclose(x, V) and np.array_equal(np.ones_like(x), np.ones(3))
        assert type(x > 1) is np.ndarray and bool(np.all(np.isfinite(x))) and x[0]
        return np.sum(np.zeros_like(x) + x * (x > 1))

    np.testing.assert_array_equal(gradient(f)(V), [0, 1, 1])


def test_printing_inside_the_function(capsys):
    def f(x):
        print(x, f"{x[0]:.2f}", np.shape(x), x.ndim, x.size, x.dtype, len(x))
        return x.sum()

    gradient(f)(np.array([1.0, 2.0]))
    assert capsys.readouterr().out == "Traced(array([1., 2.])) 1.00 (2,) 1 2 float64 2\n"


def test_check_gradient_reports_the_worst_element():
    def wrong(x):
        return np.sum(x * x.value)

    with pytest.raises(AssertionError, match=r"argument 0 is 3 at \(1,\), but the central difference is 6"):
        check_gradient(lambda x: wrong(x) if isinstance(x, Traced) else np.sum(x * x), np.array([1.0, 3.0]))
    found = check_gradient(lambda x, n: np.sum(x ** n), np.array([1.0, 2.0], "float32"), 3)
    assert found.error < 1e-6 and found.argument == 0 and len(found.position) == 1
    with pytest.raises(TypeError, match="needs an argument that is a float"):
        check_gradient(lambda n: n, 3)


# Messages

V = np.array([1.0, 2.0, 3.0])


def sets_an_element(x):
    x[0] = 1.0
    return np.sum(x)


def writes_to_out(x):
    return np.sum(np.add(x, 1, out=np.zeros(3)))


def adds_into_an_array(x):
    total = np.zeros(3)
    total += x
    return np.sum(total)


def fills_an_array(x):
    total = np.zeros(3)
    total[0] = x[0]
    return np.sum(total)


MESSAGES = [
    ("not one number", lambda x: x * 2, ValueError, ["one number", "(3,)", "np.sum(...)"]),
    ("argmax", lambda x: np.argmax(x), TypeError, ["argmax has no derivative", "x.value"]),
    ("argmax method", lambda x: x.argmax(), TypeError, ["argmax has no derivative"]),
    ("floor", lambda x: np.sum(np.floor(x)), TypeError, ["floor has no derivative"]),
    ("round", lambda x: np.sum(np.round(x)), TypeError, ["round has no derivative"]),
    ("remainder", lambda x: np.sum(x % 2), TypeError, ["remainder has no derivative"]),
    ("floor_divide", lambda x: np.sum(x // 2), TypeError, ["floor_divide has no derivative"]),
    ("sort", lambda x: np.sum(np.sort(x)), TypeError, ["sort has no derivative"]),
    ("prod", lambda x: np.prod(x), TypeError, ["prod has no derivative"]),
    ("det", lambda x: np.linalg.det(x), TypeError, ["det has no derivative"]),
    ("to integers", lambda x: np.sum(x.astype("int64")), TypeError, ["astype('int64') has no derivative"]),
    ("multiply.reduce", lambda x: np.multiply.reduce(x), TypeError, ["multiply.reduce has no derivative"]),
    ("comparison", lambda x: x[0] > 0, TypeError, ["the result of a comparison", "np.where"]),
    ("all", lambda x: np.all(x > 0), TypeError, ["the result of a comparison"]),
    ("set", sets_an_element, TypeError, ["x[...] = value changes an array in place"]),
    ("out", writes_to_out, TypeError, ["add(..., out=...) changes an array in place"]),
    ("ops out", lambda x: np.sum(ops.relu(x, out=np.zeros(3))), TypeError, ["relu(..., out=...) changes an array"]),
    ("+=", adds_into_an_array, TypeError, ["add(..., out=...) changes an array in place"]),
    ("copyto", lambda x: np.copyto(np.zeros(3), x), TypeError, ["np.copyto changes an array in place"]),
    ("add.at", lambda x: np.add.at(x, [0], 1.0), TypeError, ["add.at changes an array in place"]),
    ("fill", lambda x: fills_an_array(x), TypeError, ["takes a plain value out of a traced array"]),
    ("float", lambda x: float(x[0]), TypeError, ["float() takes a plain value out"]),
    ("math", lambda x: math.exp(x[0]), TypeError, ["float() takes a plain value out", "np.exp(x), not math.exp"]),
    ("item", lambda x: x[0].item(), TypeError, ["item() takes a plain value out"]),
    ("asarray", lambda x: np.sum(np.asarray(x)), TypeError, ["Converting to a plain array takes"]),
    ("array of", lambda x: np.sum(np.array([x[0], x[1]])), TypeError, ["np.stack"]),
    ("index", lambda x: np.sum(V[x[0]]), (TypeError, IndexError), []),
    ("where=", lambda x: np.sum(x, where=[True, False, True]), TypeError, ["unexpected keyword argument 'where'"]),
    ("nothing", lambda x: None, TypeError, ["returned NoneType"]),
]


@pytest.mark.parametrize("f, exception, parts", [row[1:] for row in MESSAGES], ids=[row[0] for row in MESSAGES])
def test_messages_name_the_operation_and_the_line(f, exception, parts):
    with pytest.raises(exception) as caught:
        gradient(f)(V.copy())
    message = str(caught.value)
    assert all(part in message for part in parts), message
    assert not parts or __file__ in message or "one number" in message, message


def test_the_line_in_a_message_is_the_one_that_called():
    with pytest.raises(TypeError) as caught:
        gradient(sets_an_element)(V)
    line = inspect.getsourcelines(sets_an_element)[1] + 1
    assert f"{__file__}:{line}: x[0] = 1.0" in str(caught.value)


@pytest.mark.parametrize("call, exception, part", [
    (lambda: gradient(lambda x: x)(3), TypeError, "Convert it to float: 3.0"),
    (lambda: gradient(np.sum)(np.arange(3)), TypeError, "dtype int64"),
    (lambda: gradient(np.sum)(np.ones(3, "float16")), TypeError, "dtype float16"),
    (lambda: gradient(np.sum)(np.ones(3, "complex128")), TypeError, "dtype complex128"),
    (lambda: gradient(lambda p: p[0])([1.0, 2]), TypeError, "argument 0 holds int 2"),
    (lambda: gradient(3.0), TypeError, "takes a function"),
    (lambda: gradient(np.sum, argnums=1.0), TypeError, "argnums must be an integer"),
    (lambda: gradient(np.sum, argnums=2)(V), ValueError, "argument 2 is asked for"),
], ids=range(8))
def test_messages_about_arguments(call, exception, part):
    with pytest.raises(exception) as caught:
        call()
    assert part in str(caught.value)


def test_a_traced_array_does_not_outlive_its_function():
    kept = []
    gradient(lambda x: (kept.append(x), np.sum(x))[1])(V)
    with pytest.raises(RuntimeError, match="after the function"):
        kept[0] + 1
    np.testing.assert_array_equal(kept[0].value, V)


def test_an_error_inside_the_function_passes_through():
    with pytest.raises(ZeroDivisionError):
        gradient(lambda x: 1 // 0)(1.0)
    assert gradient(lambda x: x * x)(1.0) == 2.0


# Against PyTorch

def test_pytorch_agrees():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x, y = rng.random((16, 20), "float32"), np.eye(5, dtype="float32")[rng.integers(0, 5, 16)]
    w1, w2 = (rng.standard_normal(shape).astype("float32") for shape in ((20, 12), (12, 5)))

    def loss(w1, w2, m, relu, softmax):
        return -m.sum(y_m(m) * m.log(softmax(relu(x_m(m) @ w1) @ w2))) / 16

    def x_m(m):
        return x if m is np else torch.tensor(x)

    def y_m(m):
        return y if m is np else torch.tensor(y)

    ours = gradient(lambda a, b: loss(a, b, np, ops.relu, ops.softmax), (0, 1))(w1, w2)
    t1, t2 = (torch.tensor(w, requires_grad=True) for w in (w1, w2))
    loss(t1, t2, torch, torch.relu, lambda z: torch.softmax(z, 1)).backward()
    for found, theirs in zip(ours, (t1.grad, t2.grad), strict=True):
        np.testing.assert_allclose(found, theirs.numpy(), rtol=1e-4, atol=1e-5)
    ties = torch.tensor([2.0, 1.0, 2.0], requires_grad=True)
    ties.amax().backward()
    np.testing.assert_array_equal(gradient(np.max)(np.array([2.0, 1.0, 2.0])), ties.grad.numpy())


TWINS = [
    # (ours, PyTorch's, shapes)
    ("softmax", lambda m, x: m.softmax(x), lambda m, x: m.softmax(x, -1), [A]),
    ("relu", lambda m, x: m.relu(x - x), lambda m, x: m.relu(x - x), [A]),
    ("maximum", lambda m, x, y: np.maximum(x, y), lambda m, x, y: m.maximum(x, y), [A, B]),
    ("equal operands", lambda m, x: np.minimum(x * 0, -x * 0), lambda m, x: m.minimum(x * 0, -x * 0), [A]),
    ("amax", lambda m, x: np.max(x * 0 + 1, axis=1), lambda m, x: m.amax(x * 0 + 1, 1), [A]),
    ("matmul", lambda m, x, y: x @ y, lambda m, x, y: x @ y, [(2, 1, 3, 4), (5, 4, 2)]),
    ("tensordot", lambda m, x, y: np.tensordot(x, y, 2), lambda m, x, y: m.tensordot(x, y, 2), [(2, 3, 4), (3, 4, 5)]),
    ("std", lambda m, x: np.std(x, axis=0), lambda m, x: m.std(x, 0, correction=0), [A]),
    ("abs", lambda m, x: np.abs(x * 0), lambda m, x: m.abs(x * 0), [A]),
    ("power", lambda m, x, y: np.abs(x) ** y, lambda m, x, y: m.abs(x) ** y, [A, B]),
    ("index", lambda m, x: x[[0, 2, 2]] * x[1], lambda m, x: x[[0, 2, 2]] * x[1], [A]),
    ("logaddexp", lambda m, x, y: np.logaddexp(x, y), lambda m, x, y: m.logaddexp(x, y), [A, B]),
]


@pytest.mark.parametrize("ours, theirs, shapes", [row[1:] for row in TWINS], ids=[row[0] for row in TWINS])
def test_pytorch_agrees_on_operations_and_conventions(ours, theirs, shapes):
    torch = pytest.importorskip("torch")
    operands = arrays(shapes)
    tensors = [torch.tensor(x, requires_grad=True) for x in operands]
    theirs(torch, *tensors).sin().sum().backward()
    found = gradient(lambda *xs: np.sum(np.sin(ours(ops, *xs))), tuple(range(len(operands))))(*operands)
    for dx, tensor in zip(found, tensors, strict=True):
        np.testing.assert_allclose(dx, tensor.grad.numpy(), rtol=1e-10, atol=1e-12)


def test_importing_fastnn_does_not_import_gradients():
    import subprocess
    import sys

    code = "import sys, fastnn; assert 'fastnn.gradients' not in sys.modules; fastnn.gradient; fastnn.check_gradient"
    subprocess.run([sys.executable, "-P", "-c", code], check=True)
    assert fastnn.gradient is gradient
