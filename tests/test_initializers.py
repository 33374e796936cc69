"""Initializers: bits, moments and bounds, names, seeds; functions of the user's own."""
import json
import math

import numpy as np
import pytest
import reference

from fastnn import _core, initializers, layers, models, utils

SHAPE = (300, 200)
N = math.prod(SHAPE)
# The deviation that each asks for, and the most that a value may be, for inputs 300, units 200.
SPREAD = {
    "glorot_uniform": ((2 / 500) ** 0.5, (6 / 500) ** 0.5), "he_uniform": ((2 / 300) ** 0.5, (6 / 300) ** 0.5),
    "lecun_uniform": ((1 / 300) ** 0.5, (3 / 300) ** 0.5), "random_uniform": (0.1 / 12**0.5, 0.05),
    "glorot_normal": ((2 / 500) ** 0.5, 2 * (2 / 500) ** 0.5 / 0.87962566103423978),
    "he_normal": ((2 / 300) ** 0.5, 2 * (2 / 300) ** 0.5 / 0.87962566103423978),
    "lecun_normal": ((1 / 300) ** 0.5, 2 * (1 / 300) ** 0.5 / 0.87962566103423978),
    "truncated_normal": (0.05 * 0.87962566103423978, 0.1), "random_normal": (0.05, math.inf),
    "variance_scaling": ((1 / 300) ** 0.5, 2 * (1 / 300) ** 0.5 / 0.87962566103423978),
}


@pytest.mark.parametrize("name", SPREAD)
def test_moments_and_bounds(name):
    deviation, most = SPREAD[name]
    x = initializers.get(name)(SHAPE, 5, 2)
    assert x.shape == SHAPE and x.dtype == np.float64
    assert abs(x.mean()) < 4 * deviation / N**0.5                       # four standard errors
    assert x.std() == pytest.approx(deviation, rel=4 * (0.5 / N) ** 0.5)
    assert np.abs(x).max() <= most and (most == math.inf or np.abs(x).max() > 0.98 * most)
    assert abs(np.corrcoef(x[:-1].ravel(), x[1:].ravel())[0, 1]) < 4 / N**0.5
    assert len(np.unique(x)) == N


@pytest.mark.parametrize("mode, fan", [("fan_in", 300), ("fan_out", 200), ("fan_avg", 250)])
@pytest.mark.parametrize("distribution", ["uniform", "truncated_normal", "untruncated_normal", "normal"])
def test_variance_scaling(mode, fan, distribution):
    x = initializers.VarianceScaling(3.0, mode, distribution)(SHAPE, 1)
    assert x.var() == pytest.approx(3 / fan, rel=0.02)
    most = {"uniform": 3**0.5, "untruncated_normal": 6}.get(distribution, 2 / 0.87962566103423978) * (3 / fan) ** 0.5
    assert np.abs(x).max() <= most


@pytest.mark.parametrize("truncated", [False, True])
def test_normals_are_quantiles_to_the_bit(truncated, isa):
    """The twin is of Python's own sums, products, quotients and roots: no machine has others."""
    found = _core.normal((5000,), truncated, 7, 3)
    np.testing.assert_array_equal(found, reference.normal(5000, truncated, reference.random_key(7, 3, 1)))
    assert np.abs(found).max() <= (2 if truncated else 5)


def test_the_quantiles_are_those_of_scipy():
    special = pytest.importorskip("scipy.special")
    p = np.concatenate([np.linspace(0.001, 0.999, 999), 0.5**np.arange(1, 53), 1 - 0.5 ** np.arange(1, 53)])
    found = np.array([reference.normal_quantile(each) for each in p.tolist()])
    np.testing.assert_allclose(found, special.ndtri(p), rtol=1e-14, atol=1e-15)


def test_glorot_uniform_has_the_bits_that_it_had():
    limit = (6 / sum(SHAPE)) ** 0.5
    expected = np.array(reference.uniform(N, -limit, limit, reference.random_key(5, 2, 1))).reshape(SHAPE)
    np.testing.assert_array_equal(initializers.get("glorot_uniform")(SHAPE, 5, 2), expected)


@pytest.mark.parametrize("shape", [(7, 4), (4, 7), (5, 5), (1, 6), (6, 1), (120, 90), (3, 4, 5)])
def test_orthogonal(shape, isa):
    x = initializers.Orthogonal(gain=2.0)(shape, 3).reshape(-1, shape[-1])
    product = x @ x.T if x.shape[0] <= x.shape[1] else x.T @ x
    np.testing.assert_allclose(product, 4 * np.eye(min(x.shape)), atol=1e-13)
    tall = _core.normal((min(x.shape), max(x.shape)), False, 3, 1).T
    q, r = np.linalg.qr(tall)
    q *= np.sign(np.diag(r))
    np.testing.assert_allclose(x if x.shape[0] > x.shape[1] else x.T, 2 * q, atol=1e-12)


def test_orthogonal_has_the_same_bits_on_every_machine(fma_isas, set_isa, set_threads):
    found = set()
    for isa in fma_isas:
        for threads in (1, 2):
            set_isa(isa)
            set_threads(threads)
            found.add(initializers.Orthogonal()((150, 333), 3).tobytes())
    assert len(found) == 1


def test_plain_ones():
    np.testing.assert_array_equal(initializers.Zeros()((2, 3)), np.zeros((2, 3)))
    np.testing.assert_array_equal(initializers.ones()((2, 3)), np.ones((2, 3)))
    np.testing.assert_array_equal(initializers.Constant(0.5)((2,)), [0.5, 0.5])
    np.testing.assert_array_equal(initializers.Identity(2)((2, 3)), [[2, 0, 0], [0, 2, 0]])
    assert initializers.GlorotUniform(seed=1)((2, 2), dtype="float32").dtype == np.float32


def test_seeds():
    def weights(initializer, seed=7):
        utils.set_random_seed(seed)
        model = models.Sequential([layers.Dense(4, kernel_initializer=initializer, input_shape=(4,)),
                                   layers.Dense(4, kernel_initializer=initializer)])
        return model.layers[0].weight, model.layers[1].weight

    for name in set(SPREAD) | {"orthogonal"}:
        kind = initializers.INITIALIZERS[name]
        (a, b), (c, d), (e, f) = weights(name), weights(kind()), weights(kind, 8)
        np.testing.assert_array_equal([a, b], [c, d])       # the model's seed
        assert (a != b).any() and (a != e).any() and (b != f).any()
        (a, b), (c, d) = weights(kind(seed=5)), weights(kind(seed=5), 8)
        np.testing.assert_array_equal([a, a, a], [b, c, d])  # its own
        assert (a != weights(kind(seed=6))[0]).any()
        x, y = kind()((4, 4)), kind()((4, 4))                # on their own: new numbers each time
        assert (x != y).any()


def test_names_classes_and_plain_data():
    for name, kind in initializers.INITIALIZERS.items():
        made = [initializers.get(given) for given in (name, kind.__name__, kind, kind(), name.upper()
                                                      if "_" not in name else name)]
        assert {type(one) for one in made} == {kind} and getattr(initializers, name) is kind
        assert made[0].described() == name
    assert type(initializers.get("normal")) is initializers.RandomNormal
    layer = layers.Dense(3, kernel_initializer=initializers.RandomNormal(stddev=0.2, seed=3), bias_initializer="ones",
                         input_shape=(2,))
    model = models.Sequential([layer])
    config = json.loads(json.dumps(model.get_config()))
    assert config["layers"][0]["config"]["kernel_initializer"] == {
        "class_name": "RandomNormal", "config": {"mean": 0.0, "stddev": 0.2, "seed": 3}}
    assert config["layers"][0]["config"]["bias_initializer"] == "ones"
    again = models.Sequential.from_config(config)
    np.testing.assert_array_equal(again.weights[0], layer.weight)


def test_functions_of_the_user_s_own():
    def mine(shape, seed, stream):
        return np.full(shape, seed + stream)

    def keras(shape, dtype=None):
        assert dtype == "float64"
        return np.ones(shape, dtype)

    class Own(initializers.Initializer):
        def values(self, shape, seed, stream):
            return np.full(shape, 0.25)

    for given, expected in ((mine, 11), (keras, 1), (np.ones, 1), (Own(), 0.25), (lambda shape, *_: np.ones(shape), 1)):
        layer = layers.Dense(3, kernel_initializer=given)
        layer.build((2,), "float64", seed=10, stream=1)
        np.testing.assert_array_equal(layer.weight, np.full((2, 3), expected))


@pytest.mark.parametrize("make, kind, message", [
    (lambda: initializers.RandomNormal(stddev=-1), ValueError,
     "RandomNormal: stddev must be a finite number, 0 or more, received -1."),
    (lambda: initializers.RandomUniform(1, 0), ValueError, "maxval must be a finite number, 1 or more, received 0."),
    (lambda: initializers.Constant("1"), ValueError, "Constant: value must be a finite number, received '1'."),
    (lambda: initializers.VarianceScaling(0), ValueError, "VarianceScaling: scale must be above 0, received 0."),
    (lambda: initializers.VarianceScaling(mode="fan"), ValueError, "mode must be one of fan_in, fan_out, fan_avg"),
    (lambda: initializers.VarianceScaling(distribution="flat"), ValueError, "received 'flat'."),
    (lambda: initializers.HeNormal(seed=1.5), TypeError, "HeNormal: seed must be an integer, received 1.5."),
    (lambda: initializers.get("glorot"), ValueError, "Unknown initializer 'glorot'. Did you mean 'glorot_normal'?"),
    (lambda: initializers.Identity()((3,)), ValueError, "Identity takes shapes of two axes, received (3,)."),
    (lambda: initializers.Orthogonal()((3,)), ValueError, "Orthogonal takes shapes of two axes or more"),
    (lambda: initializers.Initializer()((3,)), TypeError, "Initializer must override values(shape, seed, stream)."),
])
def test_refusals(make, kind, message):
    with pytest.raises(kind) as error:
        make()
    assert message in str(error.value)
