"""The activations that are stages of their own: against NumPy in float64, by central differences, and bit for bit.

x of any shape for functions, (B, O) for layers.
"""
import numpy as np
import pytest
from scipy import special
from watch import Watch

from fastnn import _core, activations, gradient, layers, models
from fastnn.layers import ELU, Activation, Dense, LeakyReLU, ReLU, Softmax
from fastnn.utils import set_random_seed

SCALE, ALPHA = 1.0507009873554805, 1.6732632423543772
INF, NAN = np.inf, np.nan


def softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def sigmoid(x):
    return np.where(x < 0, np.exp(np.minimum(x, 0)), 1) / (1 + np.exp(-np.abs(x)))


def ramp(x, most=INF, slope=0.0, start=0.0):
    return np.where(x > most, most, np.where(x >= start, x, slope * (x - start)))


# name: the function in NumPy, in x's precision; its error in ulp
TWINS = {
    "leaky_relu": (lambda x: ramp(x, slope=x.dtype.type(0.2)), 1),
    "relu6": (lambda x: ramp(x, 6), 0),
    "elu": (lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))), 3),
    "selu": (lambda x: np.where(x > 0, SCALE * x, SCALE * ALPHA * np.expm1(np.minimum(x, 0))), 3),
    "gelu": (lambda x: x * special.erfc(-x / np.sqrt(2.0)) / 2, 4),
    "gelu_tanh": (lambda x: x * sigmoid(x * np.sqrt(8 / np.pi) * (1 + 0.044715 * x**2)), 120),     # of exp(-87)
    "silu": (lambda x: x * sigmoid(x), 3),
    "softplus": (softplus, 3),
    "softsign": (lambda x: x / (1 + np.abs(x)), 2),
    "hard_sigmoid": (lambda x: np.clip((x + 3) / 6, 0, 1), 2),
    "hard_silu": (lambda x: x * np.clip((x + 3) / 6, 0, 1), 2),
    "exponential": (np.exp, 2),
    "mish": (lambda x: x * np.tanh(softplus(x)), 4),
}
LAYERS = {
    **{name: (lambda name=name: Activation(name), twin) for name, (twin, _) in TWINS.items()},
    "ReLU": (lambda: ReLU(2.0, 0.1, 0.5), lambda x: ramp(x, 2, x.dtype.type(0.1), 0.5)),
    "LeakyReLU": (LeakyReLU, lambda x: ramp(x, slope=x.dtype.type(0.3))),
    "ELU": (lambda: ELU(0.7), lambda x: np.where(x > 0, x, x.dtype.type(0.7) * np.expm1(np.minimum(x, 0)))),
}


def samples(dtype, n=4001):
    rng = np.random.default_rng(3)
    return np.concatenate([np.linspace(-20, 20, n), rng.normal(0, 1, n), rng.normal(0, 1e-3, n)]).astype(dtype)


@pytest.mark.parametrize("name", TWINS)
def test_floats_are_within_their_ulps(isa, name):
    x = samples("float32")
    twin, ulps = TWINS[name]
    exact = twin(x.astype("float64"))
    if name == "leaky_relu":
        exact = np.where(x > 0, x, np.float32(0.2).astype("float64") * x)
    out = getattr(activations, name)(x)
    assert out.dtype == "float32" and out.shape == x.shape
    unit = np.spacing(np.maximum(np.abs(exact), 1e-35).astype("float32"))
    assert (np.abs(out - exact) / unit).max() <= ulps + 0.01


@pytest.mark.parametrize("name", TWINS)
def test_doubles_agree_with_numpy(isa, name):
    x = samples("float64")
    tolerance = 2e-13 if "gelu" in name else 1e-14          # NumPy rounds what it takes exp of, which is down to -700
    np.testing.assert_allclose(getattr(activations, name)(x), TWINS[name][0](x), tolerance, 1e-300)


@pytest.mark.parametrize(("name", "x", "expected"), [
    ("leaky_relu", [-INF, -2, 0, INF, NAN], [-INF, -0.4, 0, INF, NAN]),
    ("relu6", [-INF, -1, 7, INF, NAN], [0, 0, 6, 6, NAN]),
    ("elu", [-INF, INF, NAN], [-1, INF, NAN]),
    ("selu", [-INF, INF, NAN], [-SCALE * ALPHA, INF, NAN]),
    ("gelu", [-40, 0, INF, NAN], [0, 0, INF, NAN]),
    ("gelu_tanh", [-1e30, -40, 0, 1e30, INF, NAN], [0, 0, 0, 1e30, INF, NAN]),
    ("silu", [-1000, 0, INF, NAN], [0, 0, INF, NAN]),
    ("softplus", [-INF, -1000, 0, INF, NAN], [0, 0, np.log(2), INF, NAN]),
    ("softsign", [-1e30, 1e30, NAN], [-1, 1, NAN]),
    ("hard_sigmoid", [-INF, -3, 0, 3, INF, NAN], [0, 0, 0.5, 1, 1, NAN]),
    ("hard_silu", [-4, 4, INF, NAN], [0, 4, INF, NAN]),
    ("exponential", [-INF, 0, INF, NAN], [0, 1, INF, NAN]),
    ("mish", [-1000, 0, 1000, INF, NAN], [0, 0, 1000, INF, NAN]),
])
def test_special_values(isa, dtype, name, x, expected):
    out = getattr(activations, name)(np.array(x, dtype))
    np.testing.assert_allclose(out, np.array(expected, dtype), 1e-6)


@pytest.mark.parametrize("name", TWINS)
@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, 31, 97])
def test_any_shape_and_type(dtype, name, n):
    f = getattr(activations, name)
    x = np.linspace(-3, 3, n).astype(dtype)
    assert f(x).shape == (n,) and f(x).dtype == dtype
    np.testing.assert_array_equal(f(np.stack([x, x])[:, ::-1].T), np.stack([f(x), f(x)])[:, ::-1].T)
    assert f(np.arange(-2, 3)).dtype == "float64"
    assert np.ndim(f(1.5)) == 0


@pytest.mark.parametrize("name", [*TWINS, "log_softmax"])
def test_gradient_of_functions(name):
    x = np.random.default_rng(1).normal(0, 2, (3, 5))
    weight = np.random.default_rng(2).normal(0, 1, (3, 5))
    f, h = getattr(activations, name), 1e-6
    found = gradient(lambda x: (f(x) * weight).sum())(x)
    by_differences = np.empty_like(x)
    for i in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[i] = h
        by_differences[i] = ((f(x + step) - f(x - step)) * weight).sum() / (2 * h)
    np.testing.assert_allclose(found, by_differences, 1e-6, 1e-8)


def test_approximate_gelu_is_within_what_the_paper_says(isa, dtype):
    x = samples(dtype)
    np.testing.assert_array_equal(activations.gelu(x, approximate=True), activations.gelu_tanh(x))
    assert 1e-4 < np.abs(activations.gelu(x, True) - activations.gelu(x)).max() < 5e-4
    near = x[np.abs(x) < 1].astype("float64")
    exact, found = TWINS["gelu_tanh"][0](near), activations.gelu_tanh(near.astype(dtype))
    assert (np.abs(found - exact) <= 4 * np.spacing(np.abs(exact).astype(dtype))).all()


@pytest.mark.parametrize("name", LAYERS)
def test_layers_and_their_gradients(isa, name):
    """The layer between two Dense, against the chain rule in float64 with a slope by central differences."""
    make, twin = LAYERS[name]
    rng = np.random.default_rng(5)
    model = models.Sequential([Dense(7, input_shape=(6,), dtype="float64"), make(), Dense(2)])
    model.compile(Watch(), "mse")
    x, y = rng.normal(0, 2, (9, 6)), rng.normal(0, 1, (9, 2))
    first, bias, last, end = (w.copy() for w in model.weights)
    z = x @ first + bias
    out = twin(z)
    np.testing.assert_allclose(model.layers[1](z), out, 1e-13, 1e-14)
    dout = 2 * (out @ last + end - y) / y.size @ last.T
    dz = dout * (twin(z + 1e-6) - twin(z - 1e-6)) / 2e-6
    model.train_on_batch(x, y)
    for found, expected in zip(model.optimizer.found[:2], [x.T @ dz, dz.sum(0)], strict=True):
        np.testing.assert_allclose(found, expected, 1e-6, 1e-8)


@pytest.mark.parametrize("name", ["gelu", "leaky_relu", "log_softmax", "softplus"])
def test_dense_takes_them_by_name_with_the_same_bits_as_a_layer(name, fma_isas, set_isa, set_threads):
    rng = np.random.default_rng(7)
    x, y = rng.normal(0, 1, (70, 20)).astype("float32"), rng.normal(0, 1, (70, 3)).astype("float32")
    found = []
    for isa in fma_isas:
        for threads in (1, 2, 3):
            for stacked in (False, True):
                set_isa(isa)
                set_threads(threads)
                set_random_seed(1)
                hidden = [Dense(150), Activation(name)] if stacked else [Dense(150, activation=name)]
                model = models.Sequential([layers.Input((20,)), *hidden, Dense(3)])
                model.compile("adam", "mse")
                model.fit(x, y, epochs=3, batch_size=32, verbose=0, shuffle=False)
                found.append(b"".join(w.tobytes() for w in model.weights) + model.predict(x).tobytes())
                assert model.predict(x[:1]).tobytes() == model.predict(x)[:1].tobytes()
    assert len(set(found)) == 1


def test_names_and_aliases():
    assert Dense(1, activation="swish").activation == "silu"
    assert Dense(1, activation=activations.gelu).activation == "gelu"
    assert {"hard_swish", "relu6", "log_softmax"} <= set(activations.FUNCTIONS)


def test_softmax_layer_gives_its_place_to_a_fused_loss():
    x, y = np.array([[1000.0, -1000.0]], "float32"), np.array([[0.0, 1.0]])
    model = models.Sequential([Dense(2, input_shape=(2,)), Softmax()])
    model.layers[0].weight = np.eye(2)
    model.compile("sgd", "categorical_crossentropy")
    assert model.evaluate(x, y) == 2000


@pytest.mark.parametrize(("make", "message"), [
    (lambda: LeakyReLU(-1), "LeakyReLU: negative_slope must be at least 0, received -1."),
    (lambda: ReLU("a"), "ReLU: max_value must be a finite number, received 'a'."),
    (lambda: models.Sequential([Softmax(axis=1, input_shape=(2, 3))]), "Softmax runs along the last axis"),
])
def test_messages(make, message):
    with pytest.raises((TypeError, ValueError)) as error:
        make()
    assert message in str(error.value)


@pytest.mark.parametrize("layer", [ReLU(6, 0.1, 0.2), LeakyReLU(0.1), ELU(0.5), Softmax(), Activation("gelu")])
def test_configurations(layer):
    again = layers.get({"class_name": type(layer).__name__, "config": layer.get_config()})
    assert type(again) is type(layer) and again.get_config() == layer.get_config()


def test_the_functions_are_those_of_the_table():
    assert set(TWINS) == set(activations.CURVES)
    assert _core.curve(np.ones(3), "gelu").shape == (3,)
