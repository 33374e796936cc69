"""Lambda: a Python function as a layer, trained through its gradient."""

import numpy as np
import pytest

import fastnn
from fastnn import layers, models, ops, utils

RNG = np.random.default_rng(0)
X, Y = RNG.random((90, 6), "float32"), np.eye(3)[RNG.integers(0, 3, 90)]


def trained(between, dtype="float32", optimizer="rmsprop", first=None):
    utils.set_random_seed(0)
    model = models.Sequential([first or layers.Dense(8, "relu", input_shape=(6,), dtype=dtype), between,
                               layers.Dense(3), layers.Activation("softmax")])
    model.compile(optimizer, "categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(X, Y, epochs=3, batch_size=32, verbose=0)
    return model, history.history


@pytest.mark.parametrize("name, function", [("tanh", np.tanh), ("relu", ops.relu), ("relu", lambda x: np.maximum(x, 0)),
                                            ("softmax", ops.softmax), ("linear", lambda x: x)])
def test_a_function_trains_as_the_layer_that_it_spells(name, function, dtype):
    ours, history = trained(layers.Lambda(function), dtype)
    theirs, expected = trained(layers.Activation(name), dtype)
    tolerance = 1e-4 if dtype == "float32" else 1e-10
    np.testing.assert_allclose(history["loss"], expected["loss"], rtol=tolerance)
    for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(ours.evaluate(X, Y), theirs.evaluate(X, Y), rtol=tolerance)


def test_gradients_through_the_layer_are_those_of_the_whole_function(dtype):
    """One step of SGD against fastnn.gradient of the model written out; the derivative of the Dense before included."""
    utils.set_random_seed(1)
    model = models.Sequential([layers.Dense(5, "sigmoid", input_shape=(6,), dtype=dtype),
                               layers.Lambda(lambda x: np.concatenate([x * x, np.sin(x)], axis=1)), layers.Dense(3)])
    model.compile("sgd", "mse")
    x, y, before = X.astype(dtype), Y.astype(dtype), model.get_weights()

    def loss(parameters):
        w1, b1, w2, b2 = parameters
        hidden = 1 / (1 + np.exp(-(x @ w1 + b1)))
        return np.mean((np.concatenate([hidden * hidden, np.sin(hidden)], axis=1) @ w2 + b2 - y) ** 2)

    slopes = fastnn.gradient(loss)(before)
    model.train_on_batch(x, y)
    for w, slope, after in zip(before, slopes, model.get_weights(), strict=True):
        np.testing.assert_allclose(w - 0.01 * slope, after, rtol=1e-5, atol=1e-7)


def test_shapes():
    layer = layers.Lambda(lambda x: x.reshape(len(x), -1)[:, :5])
    layer.build((2, 4))
    assert layer.output_shape == (5,) and layer.count_params() == 0
    assert layer(np.ones((3, 2, 4), "float32")).shape == (3, 5)
    told = layers.Lambda(lambda x: x[:, :2], output_shape=2)
    model, _ = trained(told)
    assert told.output_shape == (2,) and model.predict(X).shape == (90, 3)
    images = models.Sequential([layers.Lambda(lambda x: x / 2, input_shape=(2, 3)), layers.Flatten(), layers.Dense(1)])
    np.testing.assert_allclose(images.predict(np.ones((4, 2, 3))), images.layers[2](np.full((4, 6), 0.5, "float32")))


def test_the_first_and_the_last_layer():
    model, _ = trained(layers.Dense(8, "relu"), first=layers.Lambda(lambda x: x - 0.5, input_shape=(6,)))
    assert np.isfinite(model.predict(X)).all()
    last = models.Sequential([layers.Dense(3, input_shape=(6,)), layers.Lambda(lambda x: np.tanh(x) * 0.5 + 0.5)])
    last.compile("sgd", "mse")
    history = last.fit(X, Y, epochs=5, verbose=0).history["loss"]
    assert history[-1] < history[0]


def test_the_same_bits_for_any_batch_size_and_number_of_threads(set_threads):
    model, _ = trained(layers.Lambda(np.tanh))
    whole = model.predict(X)
    set_threads(1)
    np.testing.assert_array_equal(np.concatenate([model.predict(X[i:i + 1]) for i in range(90)]), whole)


def explodes(x):
    if len(x) > 2:
        raise KeyError("inside")
    return x


@pytest.mark.parametrize("function, exception, part", [
    (explodes, KeyError, "inside"),
    (lambda x: x.sum(1), ValueError, "takes samples of one axis"),
    (lambda x: x.sum(), ValueError, "one row a sample"),
    (lambda x: x[:2], ValueError, "Keep the first axis"),
    (lambda x: x * np.ones(8), TypeError, "returned float64"),
    (lambda x: np.floor(x), TypeError, f"floor has no derivative (at {__file__}:"),
], ids=["raises", "loses an axis", "one number", "loses rows", "wider", "no derivative"])
def test_messages(function, exception, part):
    with pytest.raises(exception) as caught:
        trained(layers.Lambda(function))
    assert part in str(caught.value)


def test_refusals_and_saving():
    with pytest.raises(TypeError, match="takes a function"):
        layers.Lambda(3)
    with pytest.raises(TypeError, match="'mine' is a Python function and cannot be saved as data"):
        layers.Lambda(np.tanh, name="mine").get_config()


def test_what_the_function_keeps_stays_what_it_was():
    seen = []
    model, _ = trained(layers.Lambda(lambda x: (seen.append(x), x * 1)[1], output_shape=8))
    model.predict(X[:4])
    kept, copy = seen[-1], seen[-1].copy()
    model.predict(X[50:54])
    np.testing.assert_array_equal(kept, copy)
    with pytest.raises(ValueError, match="read-only"):
        kept[0] = 1
