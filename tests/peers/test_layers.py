"""Activations and layers against Keras: outputs, and the weights after 100 steps from the same weights and batches.

Tolerances are of float32: 1e-5 for outputs, 1e-3 relative and 2e-4 absolute for weights after 100 steps.
"""
import os

import numpy as np
import pytest

os.environ.setdefault("KERAS_BACKEND", "jax")
keras = pytest.importorskip("keras")

from fastnn import activations, layers, models, optimizers  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")     # in Keras itself
NAMES = sorted(activations.FUNCTIONS)
RNG = np.random.default_rng(0)
X = RNG.normal(1, 2, (160, 6)).astype("float32")
Y = RNG.normal(0, 1, (160, 3)).astype("float32")

APPROXIMATE = {"gelu_tanh": lambda x: keras.activations.gelu(x, approximate=True)}      # which has no name there

# name: the words of a layer between two Dense
BETWEEN = {
    "ReLU": {}, "ReLU max": {"max_value": 1.5, "negative_slope": 0.1, "threshold": 0.2}, "LeakyReLU": {},
    "LeakyReLU 0.1": {"negative_slope": 0.1}, "ELU": {"alpha": 0.7}, "Softmax": {},
    "Rescaling": {"scale": 0.5, "offset": 0.1},
    "BatchNormalization": {}, "BatchNormalization fast": {"momentum": 0.7, "epsilon": 0.01},
    "BatchNormalization plain": {"center": False, "scale": False}, "BatchNormalization scale": {"center": False},
    "BatchNormalization frozen": {"trainable": False},
    "LayerNormalization": {}, "LayerNormalization words": {"epsilon": 1e-5, "center": False},
    "LayerNormalization center": {"scale": False}, "LayerNormalization frozen": {"trainable": False},
}


def pair(between, dtype="float32"):
    """The same network here and in Keras with the same weights; between(layers module) gives its middle layers."""
    found = []
    for module, sequential in ((layers, models.Sequential), (keras.layers, keras.Sequential)):
        found.append(sequential([module.Input((6,)), *between(module), module.Dense(3)]))
    mine, theirs = found
    weights = [RNG.uniform(0.2, 1.2, w.shape) * (RNG.choice([-1, 1], w.shape) if w.ndim == 2 else 1)
               for w in mine.get_weights()]
    assert [w.shape for w in theirs.get_weights()] == [w.shape for w in weights]
    mine.set_weights(weights)
    theirs.set_weights(weights)
    return mine, theirs


def close_after_100_steps(mine, theirs, rate=0.02):
    np.testing.assert_allclose(mine.predict(X), theirs.predict(X, verbose=0), 1e-4, 1e-5)
    mine.compile(optimizers.SGD(rate), "mse")
    theirs.compile(keras.optimizers.SGD(rate), "mse")
    for model in (mine, theirs):
        model.fit(X, Y, batch_size=16, epochs=10, shuffle=False, verbose=0)
    for found, expected in zip(mine.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(found, expected, 1e-3, 2e-4)
    np.testing.assert_allclose(mine.evaluate(X, Y), theirs.evaluate(X, Y, verbose=0), 1e-3)
    np.testing.assert_allclose(mine.predict(X), theirs.predict(X, verbose=0), 1e-3, 1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_functions(name):
    x = np.concatenate([np.linspace(-12, 12, 481), RNG.normal(0, 1, 500)]).astype("float32").reshape(9, 109)
    theirs = APPROXIMATE.get(name) or keras.activations.get(name)
    expected = np.asarray(theirs(x))
    np.testing.assert_allclose(activations.FUNCTIONS[name](x), expected, 2e-5, 2e-6)


def test_words_of_functions():
    x = np.linspace(-3, 3, 100).astype("float32")
    for name, words in (("leaky_relu", {"negative_slope": 0.3}), ("elu", {"alpha": 0.5}),
                        ("relu", {"negative_slope": 0.1, "max_value": 2.0, "threshold": 0.5}),
                        ("relu", {"max_value": 1.0})):
        expected = np.asarray(getattr(keras.activations, name)(x, **words))
        np.testing.assert_allclose(getattr(activations, name)(x, **words), expected, 1e-5, 1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_activations_in_training(name):
    """exponential with small weights, which it needs."""
    mine, theirs = pair(lambda module: [module.Dense(
        8, activation=APPROXIMATE.get(name, name) if module is keras.layers else name)])
    if name == "exponential":
        for model in (mine, theirs):
            model.set_weights([w * 0.1 for w in model.get_weights()])
    close_after_100_steps(mine, theirs, 0.005)


@pytest.mark.parametrize("case", BETWEEN)
def test_layers_in_training(case):
    kind, words = case.split()[0], BETWEEN[case]
    close_after_100_steps(*pair(lambda module: [module.Dense(8), getattr(module, kind)(**words)]))


@pytest.mark.parametrize("kind", ["BatchNormalization", "LayerNormalization"])
def test_normalization_before_everything_and_of_samples_of_two_axes(kind):
    close_after_100_steps(*pair(lambda module: [getattr(module, kind)(), module.Dense(8, activation="tanh")]))
    close_after_100_steps(*pair(lambda module: [module.Dense(12), module.Reshape((4, -1)), getattr(module, kind)(),
                                                module.Flatten()]))


@pytest.mark.parametrize("words", [{"global_clipnorm": 0.1}, {"clipvalue": 0.01}, {"weight_decay": 0.1}], ids=str)
def test_normalization_under_the_words_of_optimizers(words):
    mine, theirs = pair(lambda module: [module.Dense(8), module.BatchNormalization(), module.LayerNormalization()])
    mine.compile(optimizers.Adam(0.005, **words), "mse")
    theirs.compile(keras.optimizers.Adam(0.005, **words), "mse")
    for model in (mine, theirs):
        model.fit(X, Y, batch_size=16, epochs=10, shuffle=False, verbose=0)
    for found, expected in zip(mine.get_weights()[2:], theirs.get_weights()[2:], strict=True):
        np.testing.assert_allclose(found, expected, 2e-3, 1e-3)


def test_adapted_normalization():
    mine, theirs = layers.Normalization(), keras.layers.Normalization()
    constant = np.concatenate([X, np.full((160, 1), 3.0, "float32")], 1)
    for layer in (mine, theirs):
        layer.adapt(constant)
    np.testing.assert_allclose(mine(constant), np.asarray(theirs(constant)), 1e-4, 1e-5)
    for words in ({"mean": [1.0, 2.0], "variance": [4.0, 0.25]}, {"axis": None, "mean": 3.0, "variance": 2.0}):
        mine, theirs = (module.Normalization(**words) for module in (layers, keras.layers))
        np.testing.assert_allclose(mine(X[:, :2]), np.asarray(theirs(X[:, :2])), 1e-5, 1e-6)


def test_configurations_are_those_of_keras():
    for name, words in {"Dropout": {"rate": 0.5, "seed": 3}, "BatchNormalization": {}, "LayerNormalization": {},
                        "ReLU": {}, "LeakyReLU": {}, "ELU": {}, "Softmax": {}, "Reshape": {"target_shape": (3, 2)},
                        "Rescaling": {"scale": 2.0}}.items():
        mine, theirs = getattr(layers, name)(**words).get_config(), getattr(keras.layers, name)(**words).get_config()
        for word in set(mine) & set(theirs) - {"name", "dtype", "beta_initializer", "gamma_initializer",
                                               "moving_mean_initializer", "moving_variance_initializer"}:
            assert mine[word] == theirs[word] or tuple(mine[word]) == tuple(theirs[word]), (name, word)
