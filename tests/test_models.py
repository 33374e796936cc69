"""Sequential: building, training, asking, callbacks, and the promises about bits, threads, signals and memory.

Expected numbers come from the NumPy twins of reference.py, composed to a network below, or from hand calculation.
The file is long because the class has one test for each of its promises; they are in the order of the class.
"""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import reference

import fastnn
from fastnn import activations, layers, losses, metrics, models, optimizers, utils
from fastnn.callbacks import Callback, History
from fastnn.datasets import mnist

INPUTS, CLASSES = 12, 4
ACTIVATIONS = list(reference.ACTIVATIONS)
LOSSES = ["mse", "mae", "binary_crossentropy", "categorical_crossentropy", "sparse_categorical_crossentropy"]
OPTIMIZERS = [
    optimizers.SGD(0.1), optimizers.SGD(0.1, momentum=0.9), optimizers.SGD(0.1, momentum=0.9, nesterov=True),
    optimizers.RMSprop(0.01), optimizers.Adagrad(0.01), optimizers.Adam(0.01),
]
OPTIMIZER_NAMES = ["sgd", "momentum", "nesterov", "rmsprop", "adagrad", "adam"]


def fresh(optimizer):
    """An optimizer of the same class and numbers, which belongs to no model yet."""
    options = optimizer.numbers()
    if isinstance(optimizer, optimizers.SGD):
        options["nesterov"] = optimizer.nesterov
    return type(optimizer)(**options)


def samples(n=50, inputs=INPUTS, classes=CLASSES, dtype="float32"):
    """x (n, inputs), half of it zeros, one-hot y (n, classes) and labels (n,)."""
    rng = np.random.default_rng(n)
    x = np.maximum(rng.standard_normal((n, inputs)), 0).astype(dtype)
    labels = rng.integers(0, classes, n)
    return x, np.eye(classes)[labels], labels


def network(*hidden, optimizer="sgd", loss="categorical_crossentropy", last="softmax", metrics=(), dtype=None, seed=7,
            inputs=INPUTS, classes=CLASSES):
    """A compiled model with tanh layers of `hidden` units; the same seed gives the same weights."""
    utils.set_random_seed(seed)
    units = [*((units, "tanh") for units in hidden or (9,)), (classes, last)]
    stack = [layers.Dense(n, activation=activation) for n, activation in units]
    model = models.Sequential([layers.Input((inputs,), dtype=dtype), *stack])
    model.compile(optimizer=optimizer, loss=loss, metrics=metrics)
    return model


def digest(model):
    return hashlib.sha256(b"".join(weight.tobytes() for weight in model.get_weights())).hexdigest()


def twin_step(weights, activations, loss, x, y):
    """float64: the loss of each row (B,), y_pred (B, O), and the gradients of the mean loss."""
    pairs, outs, gradients = list(zip(weights[::2], weights[1::2], strict=True)), [np.asarray(x, "float64")], []
    for (weight, bias), name in zip(pairs, activations, strict=True):
        outs.append(reference.ACTIVATIONS[name][0](outs[-1] @ weight.astype("float64") + bias))
    row_losses, dout = reference.LOSSES[loss](outs[-1], np.asarray(y, "float64"))
    dout = dout / len(x)
    for i in range(len(pairs) - 1, -1, -1):
        dout = reference.ACTIVATIONS[activations[i]][1](outs[i + 1], dout)
        gradients[:0] = [outs[i].T @ dout, dout.sum(0)]
        dout = dout @ pairs[i][0].T
    return row_losses, outs[-1], gradients


def twin_fit(weights, activations, loss, x, y, batch_size, epochs, learning_rate):
    """Plain SGD in the rows' own order: the history, as means over samples, and the final weights."""
    history, weights = {"loss": [], "accuracy": []}, [w.astype("float64") for w in weights]
    for _ in range(epochs):
        row_losses, right = [], []
        for at in range(0, len(x), batch_size):
            batch = x[at:at + batch_size], y[at:at + batch_size]
            batch_losses, y_pred, gradients = twin_step(weights, activations, loss, *batch)
            row_losses += [*batch_losses]
            right += [*reference.categorical_accuracy(y_pred, batch[1])]
            weights = [w - learning_rate * g for w, g in zip(weights, gradients, strict=True)]
        history["loss"].append(np.mean(row_losses))
        history["accuracy"].append(np.mean(right))
    return history, weights


class Recorder(optimizers.Optimizer):
    """Keeps the gradients and moves nothing."""

    def __init__(self):
        super().__init__(learning_rate=0.0)
        self.gradients = []

    def update_step(self, gradient, weight, slots):
        self.gradients.append(gradient.copy())


class Hooks(Callback):
    """Writes down each hook that is called, and what it was given."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def note(self, hook, *arguments):
        self.calls.append((hook, *arguments))

    def on_train_begin(self, logs=None):
        self.note("train_begin")

    def on_train_end(self, logs=None):
        self.note("train_end", *(logs or ()))

    def on_epoch_begin(self, epoch, logs=None):
        self.note("epoch_begin", epoch)

    def on_epoch_end(self, epoch, logs=None):
        self.note("epoch_end", epoch, *logs)

    def on_train_batch_begin(self, batch, logs=None):
        self.note("batch_begin", batch)

    def on_train_batch_end(self, batch, logs=None):
        self.note("batch_end", batch, *logs)

    def on_test_begin(self, logs=None):
        self.note("test_begin")

    def on_test_end(self, logs=None):
        self.note("test_end", *logs)


class Stop(Exception):
    """Raised by the tests' own callbacks."""


class StopAfter(Callback):
    """Raises Stop when so many steps are done."""

    def __init__(self, steps):
        super().__init__()
        self.steps = steps

    def on_train_batch_end(self, batch, logs=None):
        self.steps -= 1
        if self.steps == 0:
            raise Stop


def run_python(script, **environment):
    """Run `script` in a new Python, which finds fastnn in the checkout and in a wheel's environment alike."""
    path = os.pathsep.join(filter(None, [str(Path(fastnn.__file__).parent.parent), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", **environment}
    return subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60)


# Building

D = layers.Dense


def by_add():
    model = models.Sequential()
    model.add(D(9, activation="tanh", input_dim=INPUTS))
    model.add(D(CLASSES, activation="softmax"))
    return model


def by_build():
    model = BUILDERS["deferred"]()
    model.build((None, INPUTS))
    return model


BUILDERS = {
    "input_shape": lambda: models.Sequential([D(9, "tanh", input_shape=(INPUTS,)), D(CLASSES, "softmax")]),
    "input_shape-number": lambda: models.Sequential([D(9, "tanh", input_shape=INPUTS), D(CLASSES, "softmax")]),
    "input_dim-add": by_add,
    "Input": lambda: models.Sequential([layers.Input((INPUTS,)), D(9, "tanh"), D(CLASSES, "softmax")]),
    "Input-shape": lambda: models.Sequential([fastnn.Input(shape=(INPUTS,)), D(9, "tanh"), D(CLASSES, "softmax")]),
    "deferred": lambda: models.Sequential([D(9, "tanh"), D(CLASSES, "softmax")]),
    "build": by_build,
    "functions": lambda: models.Sequential(
        [D(9, activations.tanh, input_shape=(INPUTS,)), D(CLASSES, activations.softmax)]),
}


@pytest.mark.parametrize("name", BUILDERS)
def test_every_way_to_build_gives_the_same_model(name):
    expected = network()
    utils.set_random_seed(7)
    model = BUILDERS[name]()
    assert model.built == (name != "deferred")
    model.compile(optimizer="sgd", loss="categorical_crossentropy")
    x, y, _ = samples()
    for each in (expected, model):
        each.fit(x, y, verbose=0)
    assert model.built
    assert (model.input_shape, model.output_shape) == ((None, INPUTS), (None, CLASSES))
    assert digest(model) == digest(expected)


def test_initial_weights_are_glorot_uniform_and_zeros():
    model = network(300, inputs=200, classes=10)
    weight, bias, weight_1, bias_1 = model.get_weights()
    assert [w.shape for w in model.get_weights()] == [(200, 300), (300,), (300, 10), (10,)]
    assert not bias.any() and not bias_1.any()
    for w in (weight, weight_1):
        limit = np.sqrt(6 / sum(w.shape))
        assert 0.99 * limit < np.abs(w).max() <= limit
        assert abs(w.std() - limit / np.sqrt(3)) < 0.03 * limit
    assert len(np.intersect1d(weight, weight_1)) < 10


def test_names_are_numbered_by_class():
    model = models.Sequential([
        layers.Flatten(input_shape=(2, 3)), D(3), layers.Activation("relu"), D(3, name="mine"), D(3),
        layers.Activation("tanh"),
    ], name="pupil")
    names = ["flatten", "dense", "activation", "mine", "dense_2", "activation_1"]
    assert [layer.name for layer in model.layers] == names
    assert model.name == "pupil" and models.Sequential().name == "sequential"


def test_summary_of_the_course_network(capsys):
    model = models.Sequential([layers.Flatten(input_shape=(28, 28)), D(512, "relu"), D(10, "softmax")])
    model.summary()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == 'Model: "sequential"'
    assert [line.split("  ")[0] for line in lines if "(None" in line] == [
        "flatten (Flatten)", "dense (Dense)", "dense_1 (Dense)"]
    for line, rest in zip([line for line in lines if "(None" in line],
                          [["(None, 784)", "0"], ["(None, 512)", "401,920"], ["(None, 10)", "5,130"]], strict=True):
        assert re.split(r"\s{2,}", line)[1:] == rest
    assert lines[-3:] == ["Total params: 407,050 (1.55 MB)",           # 784 * 512 + 512 + 512 * 10 + 10
                          "Trainable params: 407,050 (1.55 MB)", "Non-trainable params: 0 (0.00 B)"]
    assert model.count_params() == 407050
    kept = []
    model.summary(print_fn=kept.append)
    assert kept == lines and capsys.readouterr().out == ""


def test_summary_before_the_model_is_built():
    kept = []
    models.Sequential([D(3)]).summary(print_fn=kept.append)
    assert any(re.fullmatch(r"dense \(Dense\)  +\?  +0 \(unbuilt\)", line) for line in kept)


def test_summary_counts_what_moves_and_the_optimizer_s_slots():
    model, kept = network(3, optimizer="adam"), []
    x, y, _ = samples()
    model.fit(x, y, verbose=0)
    model.get_layer("dense").trainable = False
    model.summary(show_trainable=True, print_fn=kept.append)
    first, last = INPUTS * 3 + 3, 3 * CLASSES + CLASSES
    assert kept[-4:-1] == [f"Total params: {first + last} ({4 * (first + last):.2f} B)",
                           f"Trainable params: {last} ({4 * last:.2f} B)",
                           f"Non-trainable params: {first} ({4 * first:.2f} B)"]
    assert kept[-1].startswith(f"Optimizer params: {2 * (first + last)} (")
    assert [line[-1] for line in kept if "(None" in line] [-2:] == ["N", "Y"]


@pytest.mark.parametrize("columns", [30, 40, 60, 100])
@pytest.mark.parametrize("by", ["line_length", "terminal"])
def test_summary_fits_the_terminal_or_the_length(columns, by, monkeypatch):
    model = models.Sequential([layers.Flatten(input_shape=(28, 28, 3)), D(5, name="a_name_without_an_end_" * 3),
                               D(5, name="二維的層")], name="m")
    kept = []
    if by == "terminal":
        monkeypatch.setenv("COLUMNS", str(columns + 1))
        model.summary(print_fn=kept.append)
    else:
        model.summary(columns, print_fn=kept.append)
        assert max(map(len, kept[1:-3])) == columns
    table = kept[1:-3]
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in "二維的層")
    assert all(len(line) <= columns for line in table) and wide == 4
    text = "".join(line[:line.find("  ")] if "  " in line else line for line in table)
    assert "a_name_without_an_end_" * 3 in text.replace("=", "") or columns < 40
    assert any(line.endswith("11,765") for line in table)       # 28 * 28 * 3 * 5 + 5


def test_get_layer_and_pop():
    model = models.Sequential([D(4, input_shape=(3,)), D(2, name="last")])
    assert model.get_layer("last") is model.get_layer(index=1) is model.get_layer(index=-1) is model.layers[1]
    for given, message in (({"name": "x"}, "no layer 'x'. There are: dense, last"), ({"index": 2}, "the model has 2"),
                           ({}, "a name or an index"), ({"name": "last", "index": 1}, "a name or an index")):
        with pytest.raises(ValueError, match=message):
            model.get_layer(**given)
    x = np.ones((2, 3), "float32")
    hidden = model.layers[0](x)
    assert model.pop().name == "last" and model.output_shape == (None, 4)
    np.testing.assert_array_equal(model.predict(x), hidden)
    model.add(D(5))
    assert model.predict(x).shape == (2, 5)
    with pytest.raises(ValueError, match="no layers to take off"):
        models.Sequential().pop()


def test_a_layer_s_weights_are_got_and_set():
    layer = D(2, input_shape=(3,))
    model = models.Sequential([layer])
    layer.set_weights([np.ones((3, 2)), np.array([1, 2])])
    np.testing.assert_array_equal(model.predict(np.ones((1, 3), "float32")), [[4, 5]])
    copies = layer.get_weights()
    copies[0][...] = 0
    assert (layer.weight == 1).all()
    with pytest.raises(ValueError, match=r"set_weights expects arrays of shapes \[\(3, 2\), \(2,\)\], received \[\]"):
        layer.set_weights([])


def test_get_and_set_weights():
    model, other = network(seed=1), network(seed=2)
    x, _, _ = samples()
    kept = model.get_weights()
    other.set_weights(kept)
    np.testing.assert_array_equal(other.predict(x), model.predict(x))
    kept[0][:] = np.nan                                         # copies in both directions
    assert np.isfinite(model.predict(x)).all() and np.isfinite(other.predict(x)).all()
    model.set_weights([w.astype("float64").tolist() for w in other.weights])
    assert digest(model) == digest(other) and model.dtype == "float32"


def test_weights_may_be_written_in_place():
    model = models.Sequential([D(2, input_shape=(3,))])
    model.predict(np.ones((1, 3)))
    model.layers[0].weight[...] = [[1, 2], [3, 4], [5, 6]]
    model.layers[0].bias[...] = [10, 20]
    assert model.layers[0].kernel is model.layers[0].weight
    np.testing.assert_array_equal(model.predict([[1, 0, 2]]), [[21, 34]])    # 1 + 10 + 10, 2 + 12 + 20


def test_flatten_takes_images():
    images, labels = mnist.load_sample()[1]
    images = images.astype("float32") / 255
    utils.set_random_seed(0)
    flat = models.Sequential([D(9, "relu", input_shape=(784,)), D(10, "softmax")])
    utils.set_random_seed(0)
    model = models.Sequential([layers.Flatten(), D(9, "relu"), D(10, "softmax")])
    for each in (flat, model):
        each.compile("rmsprop", "sparse_categorical_crossentropy")
    flat.fit(images.reshape(1000, 784), labels, verbose=0)
    model.fit(images, labels, verbose=0)
    assert (model.input_shape, model.output_shape) == ((None, 28, 28), (None, 10))
    assert digest(model) == digest(flat)
    np.testing.assert_array_equal(model.predict(images), flat.predict(images.reshape(1000, 784)))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_layer_is_the_activation_of_dense(name):
    x, y, _ = samples()
    found = []
    for stack in ([D(9, name), D(CLASSES, name)],
                  [D(9), layers.Activation(name), D(CLASSES), layers.Activation(name)]):
        utils.set_random_seed(3)
        model = models.Sequential([layers.Input((INPUTS,)), *stack])
        model.compile("rmsprop", "mse")
        model.fit(x, y, epochs=2, verbose=0)
        found.append(digest(model))
    assert found[0] == found[1]


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_works_along_the_last_axis_of_samples_of_two(name):
    x = np.random.default_rng(0).standard_normal((2, 4, 5)).astype("float32")
    model = models.Sequential([layers.Input((4, 5)), layers.Activation(name), layers.Flatten()])
    out = reference.ACTIVATIONS[name][0](x.reshape(8, 5).astype("float64")).reshape(2, 20)
    assert model.output_shape == (None, 20)
    np.testing.assert_allclose(model.predict(x), out, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("loss", ["mse", "categorical_crossentropy"])
def test_a_loss_of_samples_of_two_axes_is_keras_mean_over_positions_or_refused(loss):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((6, 4, 5)), np.eye(5)[rng.integers(0, 5, (6, 4))]
    model = models.Sequential([layers.Input((4, 5)), layers.Activation("softmax")])
    model.compile("sgd", loss)
    expected = reference.LOSSES[loss](reference.softmax(x.reshape(24, 5)), y.reshape(24, 5))[0].mean()
    try:
        assert model.evaluate(x, y) == pytest.approx(expected, rel=1e-6)
    except ValueError as error:
        assert "4, 5)" in str(error)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_layers_may_be_called_on_arrays(shape):
    x = np.random.default_rng(0).standard_normal((5, *shape))
    np.testing.assert_array_equal(layers.Activation("relu")(x), np.maximum(x, 0))
    np.testing.assert_array_equal(layers.Flatten()(x), x.reshape(5, -1))


# Losses and gradients of whole models


def float64_model(hidden, last, loss, variant):
    if variant == "dense":
        stack = [D(5, hidden, input_shape=(6,)), D(3, last)]
    else:
        stack = [layers.Flatten(input_shape=(2, 3)), D(5), layers.Activation(hidden), D(3), layers.Activation(last)]
    stack[0].dtype = "float64"
    model = models.Sequential(stack)
    model.compile(Recorder(), loss)
    rng = np.random.default_rng(5)
    for weight in model.weights:
        weight[...] = rng.uniform(-0.4, 0.4, weight.shape)
    model.weights[-1][...] += 0.6           # outputs well inside (0, 1), where no loss clips and no relu is at rest
    x, labels = rng.standard_normal((4, 6)), np.array([2, 0, 1, 1])
    y = labels if loss.startswith("sparse") else np.eye(3)[labels]
    return model, x.reshape(4, *model.input_shape[1:]), y


@pytest.mark.parametrize("variant", ["dense", "layers"])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("last", ACTIVATIONS)
def test_gradients_equal_finite_differences_in_float64(last, loss, variant):
    for hidden in ACTIVATIONS:
        model, x, y = float64_model(hidden, last, loss, variant)
        assert {w.dtype for w in model.weights} == {np.dtype("float64")} == {model.predict(x).dtype}
        one_hot = np.eye(3)[y] if y.ndim == 1 else y
        expected, _, _ = twin_step(
            model.weights, [hidden, last], loss.removeprefix("sparse_"), x.reshape(4, 6), one_hot)
        assert model.evaluate(x, y) == pytest.approx(expected.mean(), rel=1e-13)
        assert model.train_on_batch(x, y) == pytest.approx(expected.mean(), rel=1e-13)
        for weight, gradient in zip(model.weights, model.optimizer.gradients, strict=True):
            slopes, flat = np.empty_like(weight), weight.reshape(-1)
            for i, value in enumerate(flat):
                flat[i] = value + 1e-5
                up = model.evaluate(x, y)
                flat[i] = value - 1e-5
                slopes.flat[i] = (up - model.evaluate(x, y)) / 2e-5
                flat[i] = value
            np.testing.assert_allclose(gradient, slopes, rtol=1e-6, atol=1e-9)


def test_gradients_without_a_bias():
    model = models.Sequential([D(5, "tanh", use_bias=False, input_shape=(6,), dtype="float64"), D(3, use_bias=False)])
    model.compile(Recorder(), "mse")
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((4, 6)), rng.standard_normal((4, 3))
    model.train_on_batch(x, y)
    weight, weight_1 = model.get_weights()
    _, _, gradients = twin_step([weight, np.zeros(5), weight_1, np.zeros(3)], ["tanh", "linear"], "mse", x, y)
    for found, expected in zip(model.optimizer.gradients, gradients[::2], strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-15)


FUSED = [("softmax", "categorical_crossentropy"), ("sigmoid", "binary_crossentropy")]


@pytest.mark.parametrize("last, loss", FUSED)
def test_fused_losses_equal_the_unfused(last, loss, dtype):
    """A Flatten at the end keeps the loss from taking over the activation; both follow the float64 twin."""
    x, y, _ = samples(dtype=dtype)
    tolerance = {"rtol": 2e-5, "atol": 1e-7} if dtype == "float32" else {"rtol": 1e-11, "atol": 1e-15}
    for tail in ([], [layers.Flatten()]):
        model = network(last=last, loss=loss, dtype=dtype, optimizer=Recorder())
        for layer in tail:
            model.add(layer)
        row_losses, y_pred, gradients = twin_step(model.get_weights(), ["tanh", last], loss, x, y)
        np.testing.assert_allclose(model.train_on_batch(x, y), row_losses.mean(), **tolerance)
        np.testing.assert_allclose(model.predict(x), y_pred, **tolerance)
        for found, expected in zip(model.optimizer.gradients, gradients, strict=True):
            np.testing.assert_allclose(found, expected, **tolerance)


@pytest.mark.parametrize("last, loss, logits, y, expected, dlogits", [
    ("softmax", "categorical_crossentropy", [1000, -1000], [0, 1], 2000, [1, -1]),
    ("softmax", "categorical_crossentropy", [1000, -1000], [1, 0], 0, [0, 0]),
    ("sigmoid", "binary_crossentropy", [1000, -1000], [0, 1], 1000, [0.5, -0.5]),
    ("sigmoid", "binary_crossentropy", [-300, 300], [0, 1], 0, [0, 0]),
])
def test_fused_losses_stand_extreme_logits(last, loss, logits, y, expected, dlogits):
    model = models.Sequential([D(2, last, input_shape=(1,))])
    model.compile(Recorder(), loss)
    model.set_weights([[[0, 0]], logits])
    assert model.train_on_batch([[1]], [y]) == expected
    np.testing.assert_array_equal(model.optimizer.gradients[1], dlogits)


# fit


@pytest.mark.parametrize("batch_size", [1, 7, 32, 50, 51, sys.maxsize, pytest.param(10**30, id="huge"), None])
def test_fit_without_shuffling_follows_the_twin(batch_size):
    """Also: the partial last batch counts by its samples, batch_size > n is one batch, None is 32."""
    x, y, _ = samples(50, dtype="float64")
    model = network(optimizer=optimizers.SGD(0.5), metrics=["accuracy"], dtype="float64")
    expected, weights = twin_fit(model.get_weights(), ["tanh", "softmax"], "categorical_crossentropy", x, y,
                                 min(batch_size or 32, 50), 3, 0.5)
    history = model.fit(x, y, batch_size=batch_size, epochs=3, shuffle=False, verbose=0)
    assert isinstance(history, History) and history.epoch == [0, 1, 2]
    np.testing.assert_allclose(history.history["loss"], expected["loss"], rtol=1e-9)
    np.testing.assert_allclose(history.history["accuracy"], expected["accuracy"], rtol=1e-12)
    for found, weight in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_allclose(found, weight, rtol=1e-8, atol=1e-9)
    assert model.optimizer.iterations == 3 * -(-50 // min(batch_size or 32, 50))


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=OPTIMIZER_NAMES)
def test_optimizers_train_as_their_formulas_say(optimizer, request):
    x, y, _ = samples(dtype="float64")
    model, name = network(optimizer=fresh(optimizer), dtype="float64"), request.node.callspec.id
    weights = model.get_weights()
    model.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0)
    first = 0.1 if name == "adagrad" else 0.0
    slots = [[np.full_like(w, first) for _ in optimizer.slot_names] for w in weights]
    numbers = {k: v for k, v in optimizer.numbers().items() if name != "sgd" or k == "learning_rate"}
    for step in range(14):
        batch = slice(step % 7 * 8, step % 7 * 8 + 8)
        _, _, gradients = twin_step(weights, ["tanh", "softmax"], "categorical_crossentropy", x[batch], y[batch])
        for i, gradient in enumerate(gradients):
            weights[i], *slots[i] = reference.RULES[name](gradient, step + 1, weights[i], *slots[i], **numbers)
    for found, weight in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_allclose(found, weight, rtol=1e-8, atol=1e-10)


def test_shuffling_visits_every_sample_once_an_epoch_in_new_orders():
    """With learning rate 0 and batches of one, each batch's loss tells which sample it was."""
    n, seen = 40, []
    y = 1 + np.sqrt(np.arange(n))                           # the outputs are all 1: (1 - y)^2 is the sample's number

    class Watch(Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(logs["loss"] * (batch + 1))         # the running mean over the samples so far

    model = network(inputs=1, classes=1, last="linear", loss="mse", optimizer=optimizers.SGD(0))
    model.set_weights([np.ones((1, 9)), np.zeros(9), np.zeros((9, 1)), np.ones(1)])
    model.fit(np.zeros((n, 1)), y, batch_size=1, epochs=2, verbose=0, callbacks=[Watch()])
    orders = [np.rint(np.diff(seen[at:at + n], prepend=0)).astype(int).tolist() for at in (0, n)]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(n))
    assert orders[0] != orders[1] != list(range(n)) != orders[0]


@pytest.mark.parametrize("names", [[], ["accuracy"], ["acc"], ["mse", "mae"], ["mean_squared_error", "acc"], "acc"])
def test_history_has_keras_keys(names):
    x, y, _ = samples()
    model = network(metrics=names)
    keys = ["loss", *([names] if isinstance(names, str) else names)]
    history = model.fit(x, y, epochs=2, verbose=0).history
    assert list(history) == keys == model.metrics_names
    history = model.fit(x, y, epochs=2, verbose=0, validation_data=(x, y)).history
    assert list(history) == [*keys, *(f"val_{key}" for key in keys)]
    assert all(type(value) is float for values in history.values() for value in values)
    assert {len(values) for values in history.values()} == {2}


def test_metrics_follow_their_formulas():
    x, y, _ = samples()
    objects = [metrics.Accuracy(), metrics.MeanSquaredError(name="error"), metrics.MeanAbsoluteError]
    model = network(metrics=objects, loss=losses.CategoricalCrossentropy(), optimizer=optimizers.RMSprop)
    y_pred = model.predict(x).astype("float64")
    expected = {"accuracy": np.mean(y_pred.argmax(1) == y.argmax(1)), "error": np.mean((y_pred - y) ** 2),
                "mean_absolute_error": np.mean(np.abs(y_pred - y))}
    found = model.evaluate(x, y, return_dict=True)
    del found["loss"]
    assert found == pytest.approx(expected, rel=1e-5)
    binary = network(classes=1, last="sigmoid", loss="binary_crossentropy", metrics=["accuracy"])
    truth = (np.arange(50) % 3 == 0).astype("float32")
    assert binary.evaluate(x, truth)[1] == pytest.approx(np.mean((binary.predict(x)[:, 0] > 0.5) == truth))


def test_accuracy_of_several_labels_a_sample_is_keras_categorical_one():
    """Keras goes by the shape of y, not by the loss; 'binary_accuracy' compares each output with 0.5."""
    x, _, _ = samples()
    y = (np.random.default_rng(1).random((50, CLASSES)) > 0.5).astype("float32")
    model = network(last="sigmoid", loss="binary_crossentropy", metrics=["accuracy", "binary_accuracy"])
    y_pred = model.predict(x)
    expected = [np.mean(y_pred.argmax(1) == y.argmax(1)), np.mean((y_pred > 0.5) == y)]
    assert model.evaluate(x, y)[1:] == pytest.approx(expected, rel=1e-6)


def test_validation_data_is_evaluated_after_each_epoch():
    x, y, _ = samples(60)
    model = network(metrics=["accuracy"])
    alone = network(metrics=["accuracy"])
    for epoch in range(2):
        history = model.fit(x[:40], y[:40], validation_data=[x[40:], y[40:]], epochs=epoch + 1, initial_epoch=epoch,
                            verbose=0).history
        alone.fit(x[:40], y[:40], epochs=epoch + 1, initial_epoch=epoch, verbose=0)
        assert digest(model) == digest(alone)
        assert [history["val_loss"][0], history["val_accuracy"][0]] == alone.evaluate(x[40:], y[40:])


@pytest.mark.parametrize("n, share, kept", [(50, 0.2, 40), (7, 0.3, 4), (50, 0.5, 25)])
def test_validation_split_takes_the_last_rows_before_shuffling(n, share, kept):
    x, y, _ = samples(n)
    y = np.eye(CLASSES)[np.arange(n) % 2]                   # so that no class occurs only in the last rows
    model, expected = network(), network()
    found = model.fit(x, y, validation_split=share, epochs=2, verbose=0)
    wanted = expected.fit(x[:kept], y[:kept], validation_data=(x[kept:], y[kept:]), epochs=2, verbose=0)
    assert found.history == wanted.history and digest(model) == digest(expected)


SPLIT_LABELS = np.repeat([0, 1], [40, 10])


@pytest.mark.parametrize("loss, last, classes, y, warns", [
    ("categorical_crossentropy", "softmax", 2, np.eye(2)[SPLIT_LABELS], True),
    ("sparse_categorical_crossentropy", "softmax", 2, SPLIT_LABELS, True),
    ("binary_crossentropy", "sigmoid", 1, SPLIT_LABELS, True),
    ("categorical_crossentropy", "softmax", 2, np.eye(2)[SPLIT_LABELS[::-1]], False),   # class 1 only in training
    ("mse", "linear", 1, np.arange(50.0), False),
    ("mse", "linear", 2, np.stack([39.5 - np.arange(50), np.zeros(50)], axis=1), False),
])
def test_validation_split_warns_of_a_class_that_occurs_only_there(loss, last, classes, y, warns, recwarn):
    network(loss=loss, last=last, classes=classes, optimizer=optimizers.SGD(1e-6)).fit(
        samples(50)[0], y, validation_split=0.2, verbose=0)
    found = [(str(warning.message), warning.filename) for warning in recwarn]
    assert bool(found) == warns
    for message, file in found:
        assert "class 1 occurs only there" in message and "Shuffle x and y together first" in message
        assert file == __file__


def test_two_fits_of_one_epoch_equal_one_fit_of_two():
    x, y, _ = samples()
    one, two, resumed = (network(optimizer="adam") for _ in range(3))
    one.fit(x, y, epochs=2, verbose=0)
    for _ in range(2):
        two.fit(x, y, verbose=0)
    resumed.fit(x, y, epochs=1, verbose=0)
    history = resumed.fit(x, y, epochs=2, initial_epoch=1, verbose=0)
    assert digest(one) == digest(two) == digest(resumed)
    assert history.epoch == [1]


@pytest.mark.parametrize("epochs, initial_epoch", [(0, 0), (2, 2), (2, 5)])
def test_no_epochs_is_no_change(epochs, initial_epoch):
    model = network()
    before = digest(model)
    history = model.fit(*samples()[:2], epochs=epochs, initial_epoch=initial_epoch, verbose=0)
    assert (history.history, history.epoch, digest(model)) == ({}, [], before)


@pytest.mark.parametrize("verbose, lines", [(0, 0), (1, 2), (2, 2), ("auto", 2)])
def test_fit_prints_a_line_an_epoch_where_there_is_no_terminal(verbose, lines, capsys):
    history = network(metrics=["accuracy"]).fit(*samples()[:2], epochs=2, verbose=verbose).history
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == lines
    for epoch, line in enumerate(printed):
        assert line.startswith(f"Epoch {epoch + 1}/2 - ")
        assert f"loss: {history['loss'][epoch]:.4f} - accuracy: {history['accuracy'][epoch]:.4f}" in line


def test_evaluate_prints_a_line_when_asked(capsys):
    model = network(metrics=["accuracy"])
    loss, accuracy = model.evaluate(*samples()[:2], verbose=1)
    line, = capsys.readouterr().out.splitlines()
    assert f"loss: {loss:.4f} - accuracy: {accuracy:.4f}" in line
    model.evaluate(*samples()[:2])
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("call", [
    lambda fit: fit(batch_size=np.int64(8), epochs=np.int32(1), initial_epoch=np.uint8(0)),
    lambda fit: fit(validation_split=np.float32(0.5)),
    lambda fit: optimizers.SGD(np.float32(0.5), momentum=np.float64(0.5)),
    lambda fit: optimizers.SGD(np.int64(1)),
    lambda fit: D(np.int64(3), input_shape=(np.int64(3),)),
    lambda fit: fastnn.set_num_threads(np.int64(fastnn.info()["threads"])),
], ids=["integers", "validation_split", "learning_rate", "whole-learning_rate", "units", "threads"])
def test_numpy_s_numbers_are_numbers(call):
    call(lambda **options: network().fit(*samples()[:2], verbose=0, **options))


# One batch, and asking


def test_evaluate_gives_a_list_a_number_or_a_dict():
    x, y, _ = samples()
    model = network()
    row_losses, y_pred, _ = twin_step(model.get_weights(), ["tanh", "softmax"], "categorical_crossentropy", x, y)
    loss, accuracy = row_losses.mean(), reference.categorical_accuracy(y_pred, y).mean()
    assert type(model.evaluate(x, y)) is float
    assert model.evaluate(x, y) == pytest.approx(loss, rel=1e-6)
    model.compile("sgd", "categorical_crossentropy", metrics=["accuracy"])
    for batch_size in (None, 1, 7, 50, 10**30):
        assert model.evaluate(x, y, batch_size=batch_size) == pytest.approx([loss, accuracy], rel=1e-6)
    assert model.evaluate(x, y, return_dict=True) == pytest.approx({"loss": loss, "accuracy": accuracy}, rel=1e-6)
    assert model.test_on_batch(x, y) == pytest.approx([loss, accuracy], rel=1e-6)
    assert model.test_on_batch(x, y, return_dict=True) == pytest.approx({"loss": loss, "accuracy": accuracy}, rel=1e-6)


def test_train_on_batch_is_one_step_and_reports_the_loss_before_it():
    x, y, _ = samples(20)
    model, fitted = network(optimizer="adam", metrics=["acc"]), network(optimizer="adam", metrics=["acc"])
    before = model.evaluate(x, y, batch_size=20)
    digest_before = digest(model)
    assert model.test_on_batch(x, y) == before and digest(model) == digest_before
    assert model.train_on_batch(x, y) == before and model.optimizer.iterations == 1
    fitted.fit(x, y, batch_size=20, shuffle=False, verbose=0)
    assert digest(model) == digest(fitted) != digest_before
    assert model.train_on_batch(x, y, return_dict=True) == dict(
        zip(["loss", "acc"], fitted.evaluate(x, y), strict=True))


def test_a_model_without_weights_can_be_evaluated():
    x, y, _ = samples(20, inputs=CLASSES)
    model = models.Sequential([layers.Input((CLASSES,)), layers.Activation("softmax")])
    model.compile("sgd", "categorical_crossentropy")
    expected = reference.softmax_crossentropy(x.astype("float64"), y)[0].mean()
    for form in (x, x.astype("float64")):
        assert model.evaluate(form, y) == pytest.approx(expected, rel=1e-6)


def test_predict_in_all_its_spellings():
    x, y, _ = samples()
    model = network()
    expected = twin_step(model.get_weights(), ["tanh", "softmax"], "categorical_crossentropy", x, y)[1]
    found = model.predict(x)
    assert found.shape == (50, CLASSES) and found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
    out = np.full((50, CLASSES), np.nan, "float32")
    assert model.predict(x, out=out) is out
    for other in (out, model(x), model.predict_on_batch(x), model.predict(x, batch_size=7, verbose=1)):
        np.testing.assert_array_equal(other, found)
    assert model.predict(x[:0]).shape == (0, CLASSES)
    assert model.predict(np.empty((0, INPUTS))).dtype == np.float32


@pytest.mark.parametrize("shift", [0, 1])
def test_predict_into_its_own_input_is_right_or_refused(shift):
    room = np.random.default_rng(0).standard_normal((201, 100)).astype("float32")
    x, out = room[:200], room[shift:200 + shift]
    model = models.Sequential([D(100, "tanh", input_shape=(100,))])
    expected, before = model.predict(x), room.copy()
    try:
        np.testing.assert_array_equal(model.predict(x, out=out), expected)
    except ValueError:
        np.testing.assert_array_equal(room, before)


# Callbacks


def test_hooks_come_in_keras_order():
    x, y, _ = samples(20)
    hooks = Hooks()
    network(metrics=["acc"]).fit(x, y, batch_size=16, epochs=2, initial_epoch=1, validation_data=(x, y), verbose=0,
                                 callbacks=hooks)
    validation = ["val_loss", "val_acc"]
    assert hooks.calls == [
        ("train_begin",), ("epoch_begin", 1),
        ("batch_begin", 0), ("batch_end", 0, "loss", "acc"), ("batch_begin", 1), ("batch_end", 1, "loss", "acc"),
        ("test_begin",), ("test_end", "loss", "acc"),
        ("epoch_end", 1, "loss", "acc", *validation), ("train_end", "loss", "acc", *validation),
    ]
    assert {"epochs": 2, "steps": 2, "verbose": 0}.items() <= hooks.params.items()


def test_every_hook_is_given_logs():
    """Keras hands them over always, so a pupil's hook may ask for them without a default."""

    class Strict(Callback):
        def hook(self, logs):
            called.append(logs)

        def batch_hook(self, number, logs):
            called.append(logs)

        on_train_begin = on_train_end = on_test_begin = on_test_end = hook
        on_epoch_begin = on_epoch_end = on_train_batch_begin = on_train_batch_end = batch_hook

    called = []
    x, y, _ = samples(20)
    network().fit(x, y, validation_data=(x, y), verbose=0, callbacks=[Strict()])
    assert len(called) == 8


def test_batch_hooks_change_no_bits_and_see_the_running_mean():
    x, y, _ = samples()
    plain, watched = network(optimizer="adam"), network(optimizer="adam")

    class Watch(Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(logs["loss"])

    seen = []
    expected = plain.fit(x, y, batch_size=8, epochs=2, verbose=0).history
    assert watched.fit(x, y, batch_size=8, epochs=2, verbose=0, callbacks=[Watch()]).history == expected
    assert digest(plain) == digest(watched)
    assert seen[6::7] == expected["loss"]


def test_stop_training_ends_the_epoch_s_loop():
    class StopAtTwo(Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 1

    model = network()
    assert model.fit(*samples()[:2], epochs=9, verbose=0, callbacks=[StopAtTwo()]).epoch == [0, 1]
    assert model.fit(*samples()[:2], epochs=1, verbose=0).epoch == [0]


def test_stop_training_in_a_batch_hook_ends_that_epoch_at_once():
    class StopAtTwo(Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = batch == 1

    model = network()
    history = model.fit(*samples()[:2], batch_size=5, epochs=9, verbose=0, callbacks=[StopAtTwo()])
    assert (history.epoch, model.optimizer.iterations) == ([0], 2)


def test_a_learning_rate_set_by_a_callback_takes_effect():
    class Freeze(Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 2:
                self.model.optimizer.learning_rate = 0.0

    x, y, _ = samples(40)
    model, expected = network(), network()
    model.fit(x, y, batch_size=8, shuffle=False, verbose=0, callbacks=[Freeze()])
    expected.fit(x[:24], y[:24], batch_size=8, shuffle=False, verbose=0)
    assert digest(model) == digest(expected) and model.optimizer.iterations == 5


@pytest.mark.parametrize("hook", [name for name in dir(Callback) if name.startswith("on_") and "predict" not in name])
def test_an_exception_in_a_callback_leaves_the_model_usable(hook):
    def fail(self, *arguments):
        raise Stop

    x, y, _ = samples(20)
    model, expected = network(optimizer="adam"), network(optimizer="adam")
    failing = type("Failing", (Callback,), {hook: fail})()
    with pytest.raises(Stop):
        model.fit(x, y, batch_size=5, validation_data=(x, y), verbose=0, callbacks=[failing])
    steps = {"on_train_begin": 0, "on_epoch_begin": 0, "on_train_batch_begin": 0, "on_train_batch_end": 1,
             "on_batch_begin": 0, "on_batch_end": 1}.get(hook, 4)
    assert model.optimizer.iterations == steps
    if steps:
        with pytest.raises(Stop):
            expected.fit(x, y, batch_size=5, verbose=0, callbacks=[StopAfter(steps)])
    assert digest(model) == digest(expected)
    assert model.fit(x, y, epochs=2, verbose=0).epoch == [0, 1]


# Optimizers at work


class InPython(optimizers.Optimizer):
    """A Python optimizer that hands each gradient to the element-wise kernel of a compiled rule."""

    def __init__(self, rule):
        super().__init__(rule.learning_rate)
        self.inner, self.slot_names = rule, rule.slot_names

    def first_slot(self, weight):
        return self.inner.first_slot(weight)

    def update_step(self, gradient, weight, slots):
        self.inner.iterations = self.iterations
        self.inner.update_step(gradient, weight, slots)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=OPTIMIZER_NAMES)
def test_an_update_fused_into_the_gradient_equals_one_after_it(optimizer, dtype):
    x, y, _ = samples(dtype=dtype)
    fused = network(40, 9, optimizer=fresh(optimizer), dtype=dtype)
    unfused = network(40, 9, optimizer=InPython(fresh(optimizer)), dtype=dtype)
    histories = [model.fit(x, y, batch_size=8, epochs=2, verbose=0).history for model in (fused, unfused)]
    assert histories[0] == histories[1] and digest(fused) == digest(unfused)
    assert fused.optimizer.iterations == unfused.optimizer.iterations == 14


class PupilsSGD(optimizers.Optimizer):
    def update_step(self, gradient, weight, slots):
        weight -= self.learning_rate * gradient


def test_a_pupil_s_own_sgd_equals_the_compiled_one():
    x, y, _ = samples()
    compiled, own = network(optimizer=optimizers.SGD(0.1)), network(optimizer=PupilsSGD(0.1))
    for model in (compiled, own):
        model.fit(x, y, epochs=2, verbose=0)
    assert digest(compiled) == digest(own)


def test_an_update_step_overridden_in_a_compiled_optimizer_is_called():
    class Half(optimizers.SGD):
        def update_step(self, gradient, weight, slots):
            weight -= self.learning_rate / 2 * gradient

    x, y, _ = samples()
    model, expected = network(optimizer=Half(0.5)), network(optimizer=optimizers.SGD(0.25))
    for each in (model, expected):
        each.fit(x, y, verbose=0)
    assert digest(model) == digest(expected)


def test_one_optimizer_belongs_to_one_model():
    x, y, _ = samples()
    optimizer = optimizers.Adam()
    first, second = network(optimizer=optimizer, seed=1), network(optimizer=optimizer, seed=2)
    first.fit(x, y, verbose=0)
    first.compile(optimizer, "mse")                         # the same weights again: allowed
    first.fit(x, y, verbose=0)
    before, steps = digest(second), optimizer.iterations
    for train in (lambda: second.fit(x, y, verbose=0), lambda: second.train_on_batch(x, y)):
        with pytest.raises(ValueError, match="Give each model an optimizer of its own"):
            train()
    assert (digest(second), optimizer.iterations) == (before, steps)


@pytest.mark.parametrize("kind", [optimizers.SGD, optimizers.RMSprop, optimizers.Adagrad, optimizers.Adam])
def test_lr_is_learning_rate(kind):
    assert kind(lr=0.25).learning_rate == kind(learning_rate=0.25).learning_rate == kind(0.25).learning_rate == 0.25


# The promise about bits


def test_a_seed_fixes_weights_and_order():
    x, y, _ = samples()
    found = []
    for seed in (3, 3, 4):
        utils.set_random_seed(seed)
        pair = [models.Sequential([D(9, input_shape=(INPUTS,)), D(CLASSES)]) for _ in range(2)]
        for model in pair:
            model.compile("sgd", "mse")
            model.fit(x, y, batch_size=8, verbose=0)
        found.append([digest(model) for model in pair])
    assert found[0] == found[1]
    assert len({*found[0], *found[2]}) == 4


@pytest.mark.parametrize("optimizer", ["rmsprop", "adam"])
def test_threads_and_instruction_sets_change_no_bits(optimizer, fma_isas, set_isa, set_threads):
    x, y, _ = samples(333, inputs=97, classes=10)
    found = set()
    for isa in fma_isas:
        for threads in (1, 2, 4):
            set_isa(isa)
            set_threads(threads)
            model = network(131, 31, optimizer=optimizer, inputs=97, classes=10, metrics=["mse"])
            history = model.fit(x, y, batch_size=64, epochs=2, validation_split=0.1, verbose=0).history
            found.add((digest(model), model.predict(x).tobytes(), str(history)))
    assert len(found) == 1


def test_batches_change_no_bits_of_a_prediction(isa, set_threads):
    x = mnist.load_sample()[1][0].reshape(1000, 784).astype("float32") / 255
    x[500:] += 0.5                                          # half of the rows with zeros to skip, half without
    model = network(128, inputs=784, classes=10)
    expected = model.predict(x)
    for batch in (1, 2, 7, 32, 1000):
        rows = [model.predict(x[at:at + batch]) for at in range(0, 1000, batch)]
        np.testing.assert_array_equal(np.concatenate(rows), expected)


def strided(x):
    return np.repeat(np.repeat(x, 2, axis=0), 3, axis=1)[::2, ::3]


def unaligned(x):
    return np.frombuffer(b"." + x.tobytes(), dtype=x.dtype, offset=1).reshape(x.shape)


def read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


def in_a_file(x, folder):
    mapped = np.memmap(folder / "x.bin", mode="w+", dtype=x.dtype, shape=x.shape)
    mapped[...] = x
    return mapped


FORMS = {
    **{name: lambda x, _, name=name: x.astype(name)
       for name in ("float64", "float16", "uint8", "bool", "int8", "uint16", "int64", ">f4", ">f8", ">i4")},
    "list": lambda x, _: x.tolist(),
    "rows": lambda x, _: list(x),
    "strided": lambda x, _: strided(x),
    "reversed": lambda x, _: np.ascontiguousarray(x[::-1, ::-1])[::-1, ::-1],
    "fortran": lambda x, _: np.asfortranarray(x),
    "fortran-float64": lambda x, _: np.asfortranarray(x, "float64"),
    "strided-uint8": lambda x, _: strided(x.astype("uint8")),
    "unaligned": lambda x, _: unaligned(x),
    "read-only": lambda x, _: read_only(x),
    "memmap": in_a_file,
}


@pytest.mark.parametrize("form", FORMS)
def test_the_form_of_x_changes_no_bits(form, tmp_path):
    _, y, _ = samples()
    x = (samples()[0] > 0.3).astype("float32")              # zeros and ones, which every dtype holds
    given = FORMS[form](x, tmp_path)
    plain, model = network(), network()
    np.testing.assert_array_equal(model.predict(given), plain.predict(x))
    assert model.evaluate(given, y) == plain.evaluate(x, y)
    assert model.train_on_batch(given, y) == plain.train_on_batch(x, y)
    options = {"batch_size": 8, "validation_split": 0.5, "epochs": 2, "verbose": 0}
    assert model.fit(given, y, **options).history == plain.fit(x, y, **options).history
    assert digest(model) == digest(plain)


@pytest.mark.parametrize("form", [form for form in FORMS if form != "float16"])
def test_the_form_of_y_changes_no_bits(form, tmp_path):
    x, y, _ = samples()
    given = FORMS[form](y.astype("float32"), tmp_path)
    plain, model = network(), network()
    for each, targets in ((plain, y.astype("float32")), (model, given)):
        for shuffle in (True, False):
            each.fit(x, targets, batch_size=8, shuffle=shuffle, verbose=0)
    assert model.evaluate(x, given) == plain.evaluate(x, y)
    assert digest(model) == digest(plain)


@pytest.mark.parametrize("given", [
    lambda labels: labels.astype("uint8"), lambda labels: labels.astype(">i4"), lambda labels: labels.astype("float32"),
    lambda labels: labels[:, None], lambda labels: labels.tolist(), lambda labels: np.repeat(labels, 2)[::2], read_only,
], ids=["uint8", "big-endian", "float32", "column", "list", "strided", "read-only"])
def test_sparse_labels_equal_one_hot_rows(given):
    x, y, labels = samples()
    plain, model = network(metrics=["acc"]), network(loss="sparse_categorical_crossentropy", metrics=["acc"])
    options = {"batch_size": 8, "validation_split": 0.2, "epochs": 2, "verbose": 0}
    assert model.fit(x, given(labels), **options).history == plain.fit(x, y, **options).history
    assert digest(model) == digest(plain)


# Threads, processes, signals


def test_many_threads_may_predict_at_once():
    x = np.random.default_rng(0).standard_normal((400, 200)).astype("float32")
    model = network(150, inputs=200)
    slices = [slice(at % 300, at % 300 + 1 + at % 90) for at in range(0, 4000, 17)]
    expected = [model.predict(x[rows]) for rows in slices]
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(lambda rows: model.predict(x[rows]), slices * 4)
        for out, want in zip(found, expected * 4, strict=True):
            np.testing.assert_array_equal(out, want)


def test_many_threads_may_evaluate_at_once():
    data = [samples(300 + i)[:2] for i in range(8)]
    model = network(60)
    expected = [model.evaluate(*part) for part in data]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda part: model.evaluate(*part), data * 5)) == expected * 5


def test_a_fit_during_another_is_refused():
    x, y, _ = samples()

    class FitAgain(Callback):
        def on_epoch_end(self, epoch, logs=None):
            before = digest(self.model)
            for submit in (lambda f: f(), lambda f: pool.submit(f).result(10)):
                with pytest.raises(RuntimeError, match=r"This model is in another fit\(\)"):
                    submit(lambda: self.model.fit(x, y, verbose=0))
            refused.append(digest(self.model) == before)
            self.model.evaluate(x, y)                       # asking is allowed
            self.model.predict(x)

    refused, model, expected = [], network(), network()
    with ThreadPoolExecutor(1) as pool:
        model.fit(x, y, epochs=2, verbose=0, callbacks=[FitAgain()])
    assert refused == [True, True]
    expected.fit(x, y, epochs=2, verbose=0)
    assert digest(model) == digest(expected)
    model.fit(x, y, verbose=0)


@pytest.mark.parametrize("by_batch", [False, True])
def test_ctrl_c_leaves_the_weights_of_a_completed_step(by_batch):
    x, y, _ = samples(200)
    model, again = network(32, optimizer="adam"), network(32, optimizer="adam")
    timer = threading.Timer(0.03, os.kill, (os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        timer.start()
        began = time.monotonic()
        model.fit(x, y, batch_size=16, epochs=10**6, verbose=0, callbacks=[Hooks()] if by_batch else [])
    assert time.monotonic() - began < 1
    steps = model.optimizer.iterations
    if steps:
        with pytest.raises(Stop):
            again.fit(x, y, batch_size=16, epochs=10**6, verbose=0, callbacks=[StopAfter(steps)])
    assert digest(model) == digest(again)
    assert model.fit(x, y, verbose=0).epoch == [0]


FORK = """
import os, sys, time
import numpy as np
import fastnn
from fastnn import layers, models, utils
import warnings
warnings.simplefilter("ignore", DeprecationWarning)     # Python 3.12 warns of forks in a process with threads
utils.set_random_seed(0)
fastnn.set_num_threads(2)
x = np.random.default_rng(0).standard_normal((256, 200)).astype("float32")
model = models.Sequential([layers.Dense(300, "relu", input_shape=(200,)), layers.Dense(10, "softmax")])
model.compile("rmsprop", "sparse_categorical_crossentropy")
for turn in range(20):
    model.fit(x, np.arange(256) % 10, batch_size=128, verbose=0)
    want = model.predict(x)
    child = os.fork()
    if not child:
        os._exit(0 if np.array_equal(model.predict(x), want) else 3)
    assert np.array_equal(model.predict(x), want), "the parent predicts otherwise"
    until = time.monotonic() + 2
    while not (ended := os.waitpid(child, os.WNOHANG))[0]:
        if time.monotonic() > until:
            os.kill(child, 9)
            sys.exit("the child hangs")
        time.sleep(1e-3)
    assert ended[1] == 0, ended
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_parent_and_child_predict_after_a_fork():
    run = run_python(FORK)
    assert run.returncode == 0, run.stderr


# Memory, and what import does


MEMORY = """
import re
import numpy as np
from fastnn import layers, models
memory = lambda name: 1024 * int(re.search(name + r":\\s*(\\d+) kB", open("/proc/self/status").read())[1])
x = np.ones((40000, 784), "float32")
y = np.arange(40000) % 10
model = models.Sequential([layers.Dense(64, "relu", input_shape=(784,)), layers.Dense(10, "softmax")])
model.compile("rmsprop", "sparse_categorical_crossentropy", metrics=["accuracy"])
before = memory("VmRSS")
model.fit(x, y, batch_size=128, validation_split=0.1, verbose=0)
print(x.nbytes, memory("VmHWM") - before)
"""
needs_proc = pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="reads memory from /proc")


@needs_proc
def test_fit_makes_no_copy_of_the_training_set():
    run = run_python(MEMORY)
    assert run.returncode == 0, run.stderr
    size, grown = map(int, run.stdout.split())
    assert grown < 40e6 < size


@needs_proc
def test_memory_is_flat_over_many_predictions():
    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")

    x, y, _ = samples(5)
    model = network()
    for n in (1000, 10_000):
        before = resident()
        for _ in range(n):
            model.predict(x)
        for _ in range(n // 10):
            model.train_on_batch(x, y)
    assert resident() - before < 1 << 20


IMPORT = """
import os, sys, threading
import numpy
opened = []
def watch(event, arguments):
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        opened.append(arguments[0])
    elif event in ("os.mkdir", "os.rename", "os.remove", "socket.connect", "subprocess.Popen"):
        opened.append(event)
sys.addaudithook(watch)
tasks = lambda: len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else threading.active_count()
before, environment, known = tasks(), dict(os.environ), set(sys.modules)
import fastnn
new = {name.partition(".")[0] for name in set(sys.modules) - known}
strange = {name for name in new - set(sys.stdlib_module_names) - {"numpy", "fastnn"} if "cython_" not in name}
heavy = {"tqdm", "pooch", "PIL", "scipy", "matplotlib"} & set(sys.modules)
print(tasks() - before, opened, dict(os.environ) == environment, sorted(strange), sorted(heavy))
"""


def test_import_starts_no_thread_writes_no_file_and_takes_only_numpy():
    run = run_python(IMPORT)
    assert (run.stdout, run.stderr) == ("0 [] True [] []\n", "")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rescaling_trains_on_bytes_as_on_their_scaled_numbers(dtype, recwarn):
    """x * scale is one product in the model's dtype, so scaling first gives the same bits; no warning of bytes."""
    rng = np.random.default_rng(0)
    images, y = rng.integers(0, 256, (70, 4, 5)).astype("uint8"), rng.integers(0, 3, 70)
    scaled = images.astype(dtype) * np.asarray(1 / 255, dtype)
    built = []
    for x, rescaling in ((images, [layers.Rescaling(1 / 255)]), (scaled, [])):
        fastnn.utils.set_random_seed(3)
        model = models.Sequential([layers.Input((4, 5), dtype=dtype), *rescaling, layers.Flatten(),
                                   D(9, "relu"), D(3, "softmax")])
        model.compile("rmsprop", "sparse_categorical_crossentropy")
        model.fit(x, y, epochs=3, batch_size=16, verbose=0)
        built.append((model.get_weights(), model.predict(x), model.evaluate(x, y)))
    for a, b in zip(built[0][0], built[1][0], strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(built[0][1], built[1][1])
    assert built[0][2] == built[1][2] and not recwarn.list


def test_rescaling_by_no_number():
    with pytest.raises(ValueError, match="scale must be a finite number, received nan"):
        layers.Rescaling(float("nan"))


@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "adagrad", "adam"])
def test_parameters_and_slots_begin_at_a_cache_line(optimizer):
    model = models.Sequential([layers.Dense(5, input_shape=(3,)), layers.Dense(300), layers.Dense(1)])
    model.compile(optimizer, "mse")
    model.train_on_batch(np.ones((2, 3), "float32"), np.ones((2, 1), "float32"))
    slots = [slot for slots in model.optimizer.slots for slot in slots]
    assert [array.ctypes.data % 64 for array in (*model.weights, *slots)] == [0] * (6 + len(slots))


def test_architecture_as_plain_data():
    model = models.Sequential([layers.Rescaling(1 / 255, input_shape=(2, 3)), layers.Flatten(),
                               layers.Dense(4, "tanh", kernel_initializer="zeros", name="first"),
                               layers.Dense(2, use_bias=False, dtype="float32"), layers.Activation("softmax")], "two")
    config = model.get_config()
    assert json.loads(json.dumps(config)) == json.loads(json.dumps(models.Sequential.from_config(config).get_config()))
    assert config["layers"][2]["config"] == {
        "units": 4, "activation": "tanh", "use_bias": True, "kernel_initializer": "zeros", "bias_initializer": "zeros",
        "kernel_regularizer": None, "bias_regularizer": None, "kernel_constraint": None, "bias_constraint": None,
        "name": "first",
        "dtype": "float32", "input_shape": (6,), "trainable": True}
    copy = models.clone_model(model)
    assert [w.shape for w in copy.weights] == [w.shape for w in model.weights] and copy.name == "two"
    for made in (optimizers.SGD(0.1, momentum=0.5), losses.MeanSquaredError(), metrics.BinaryAccuracy()):
        again = type(made).from_config(made.get_config())
        assert again.get_config() == made.get_config()
    with pytest.raises(ValueError, match="Unknown layer 'Conv2D'. Available: activation, batchnormalization, dense"):
        models.Sequential.from_config({"layers": [{"class_name": "Conv2D", "config": {}}]})


def test_words_of_keras_compile_that_change_nothing():
    found = []
    for words in ({}, {"jit_compile": True, "run_eagerly": False, "steps_per_execution": 8, "auto_scale_loss": True,
                       "loss_weights": None}):
        utils.set_random_seed(3)
        model = models.Sequential([layers.InputLayer(shape=(4,)), layers.Dense(3)])
        model.compile("sgd", "mse", **words)
        model.fit(np.ones((8, 4)), np.ones((8, 3)), verbose=0)
        found.append(model.get_weights())
    np.testing.assert_array_equal(*(weights[0] for weights in found))
