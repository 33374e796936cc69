"""Every loss against Keras from the same weights and batches: values, training with weights of samples and classes,
smoothing and logits."""
import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import numpy as np
import pytest

from fastnn import layers, losses, models, optimizers

keras = pytest.importorskip("keras")
pytestmark = pytest.mark.filterwarnings("ignore")        # Keras' own

RNG = np.random.default_rng(0)
X = RNG.standard_normal((320, 6)).astype("float32")
NUMBERS = RNG.standard_normal((320, 3)).astype("float32")
POSITIVE = RNG.random((320, 3)).astype("float32") + 0.1
LABELS = RNG.integers(0, 3, 320)
ONE_HOT = np.eye(3, dtype="float32")[LABELS]
BITS = RNG.integers(0, 2, (320, 3)).astype("float32")
WEIGHTS = RNG.random(320).astype("float32") * 2
CASES = {  # class, words, activation of the last layer, y
    "mse": ("MeanSquaredError", {}, "linear", NUMBERS),
    "mae": ("MeanAbsoluteError", {}, "linear", NUMBERS),
    "mape": ("MeanAbsolutePercentageError", {}, "linear", POSITIVE),
    "msle": ("MeanSquaredLogarithmicError", {}, "sigmoid", POSITIVE),
    "huber": ("Huber", {}, "linear", NUMBERS),
    "huber 0.3": ("Huber", {"delta": 0.3}, "linear", NUMBERS),
    "log_cosh": ("LogCosh", {}, "linear", NUMBERS),
    "kl": ("KLDivergence", {}, "softmax", POSITIVE / 3),
    "poisson": ("Poisson", {}, "sigmoid", POSITIVE),
    "hinge": ("Hinge", {}, "tanh", BITS),
    "hinge -1 1": ("Hinge", {}, "tanh", 2 * BITS - 1),
    "squared_hinge": ("SquaredHinge", {}, "tanh", BITS),
    "categorical_hinge": ("CategoricalHinge", {}, "softmax", ONE_HOT),
    "cosine": ("CosineSimilarity", {}, "linear", NUMBERS),
    "binary": ("BinaryCrossentropy", {}, "sigmoid", BITS),
    "binary smooth": ("BinaryCrossentropy", {"label_smoothing": 0.2}, "sigmoid", BITS),
    "binary logits": ("BinaryCrossentropy", {"from_logits": True}, "linear", BITS),
    "binary both": ("BinaryCrossentropy", {"from_logits": True, "label_smoothing": 0.1}, "linear", BITS),
    "categorical": ("CategoricalCrossentropy", {}, "softmax", ONE_HOT),
    "categorical smooth": ("CategoricalCrossentropy", {"label_smoothing": 0.2}, "softmax", ONE_HOT),
    "categorical logits": ("CategoricalCrossentropy", {"from_logits": True}, "linear", ONE_HOT),
    "categorical both": ("CategoricalCrossentropy", {"from_logits": True, "label_smoothing": 0.1}, "linear", ONE_HOT),
    "sparse": ("SparseCategoricalCrossentropy", {}, "softmax", LABELS),
    "sparse logits": ("SparseCategoricalCrossentropy", {"from_logits": True}, "linear", LABELS),
}
METRICS = {"SparseCategoricalCrossentropy": ["accuracy"], "CategoricalCrossentropy": ["accuracy"],
           "BinaryCrossentropy": ["binary_accuracy"]}


def pair(name, last, metrics, weighted=()):
    """The model in both libraries, from the same weights."""
    kind, words, _, _ = CASES[name]
    mine = models.Sequential([layers.Dense(8, activation="tanh", input_shape=(6,)), layers.Dense(3, activation=last)])
    theirs = keras.Sequential([keras.Input((6,)), keras.layers.Dense(8, activation="tanh"),
                               keras.layers.Dense(3, activation=last)])
    theirs.set_weights(mine.get_weights())
    rate = 1e-5 if name == "mape" else 0.05         # gradients of hundreds that change sign
    mine.compile(optimizers.SGD(rate), getattr(losses, kind)(**words), metrics=metrics, weighted_metrics=weighted)
    theirs.compile(keras.optimizers.SGD(rate), getattr(keras.losses, kind)(**words), metrics=list(metrics),
                   weighted_metrics=list(weighted))
    return mine, theirs


@pytest.mark.parametrize("weighting", [None, "sample_weight", "class_weight"])
@pytest.mark.parametrize("name", CASES)
def test_100_steps_equal_keras(name, weighting):
    """Losses and metrics of 10 epochs of 10 steps within 2e-5, weights and outputs within 1e-4 (float32)."""
    kind, _, last, y = CASES[name]
    if weighting == "class_weight" and not (y is ONE_HOT or y is LABELS):
        pytest.skip("needs classes")
    words = {None: {}, "sample_weight": {"sample_weight": WEIGHTS}, "class_weight": {"class_weight": {0: 0.3, 2: 2.5}}}
    mine, theirs = pair(name, last, METRICS.get(kind, ["mse"]))
    options = {"batch_size": 32, "epochs": 10, "shuffle": False, "verbose": 0, **words[weighting]}
    found, right = mine.fit(X, y, **options).history, theirs.fit(X, y, **options).history
    assert set(found) == set(right)
    for key in right:
        np.testing.assert_allclose(found[key], right[key], rtol=2e-5, atol=1e-6, err_msg=key)
    for a, b in zip(mine.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(mine.predict(X), theirs.predict(X, verbose=0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", CASES)
def test_values_equal_keras(name):
    """The object's value, and the function's for each sample, within 1e-6."""
    kind, words, last, y = CASES[name]
    p = {"linear": NUMBERS[::-1], "tanh": np.tanh(NUMBERS[::-1]), "sigmoid": POSITIVE[::-1] / 1.2,
         "softmax": POSITIVE[::-1] / POSITIVE[::-1].sum(1, keepdims=True)}[last]
    mine, theirs = getattr(losses, kind)(**words), getattr(keras.losses, kind)(**words)
    assert mine(y, p) == pytest.approx(float(theirs(y, p)), rel=1e-5, abs=1e-6)
    assert mine(y, p, WEIGHTS) == pytest.approx(float(theirs(y, p, WEIGHTS)), rel=1e-5, abs=1e-6)
    function = keras.losses.get(type(mine).name if kind != "Huber" else "huber")
    rows = getattr(losses, type(mine).name)(y, p, **words)
    np.testing.assert_allclose(rows, np.asarray(function(y, p, **words)), rtol=2e-5, atol=2e-6)
    assert set(mine.get_config()) >= set(words)


def test_weighted_metrics_and_validation_equal_keras():
    mine, theirs = pair("sparse", "softmax", ["accuracy"], ["accuracy", "sparse_categorical_crossentropy"])
    options = {"batch_size": 32, "epochs": 4, "shuffle": False, "verbose": 0, "sample_weight": WEIGHTS,
               "validation_data": (X[:99], LABELS[:99], WEIGHTS[:99]), "validation_freq": 2}
    found, right = mine.fit(X, LABELS, **options).history, theirs.fit(X, LABELS, **options).history
    assert set(found) == set(right)
    for key in right:
        np.testing.assert_allclose(found[key], right[key], rtol=2e-5, err_msg=key)
    found = mine.evaluate(X, LABELS, sample_weight=WEIGHTS, return_dict=True)
    right = theirs.evaluate(X, LABELS, sample_weight=WEIGHTS, return_dict=True, verbose=0)
    assert found == pytest.approx(right, rel=2e-5)


def test_a_loss_of_ones_own_equals_keras():
    def mine(y_true, y_pred):
        return np.mean(np.abs(y_pred - y_true) ** 3, axis=-1)

    def theirs(y_true, y_pred):
        return keras.ops.mean(keras.ops.abs(y_pred - y_true) ** 3, axis=-1)

    a, b = pair("mse", "linear", ["mse"])
    a.compile(optimizers.SGD(0.05), mine, metrics=["mse"])
    b.compile(keras.optimizers.SGD(0.05), theirs, metrics=["mse"])
    for weights in (None, WEIGHTS):
        options = {"batch_size": 32, "epochs": 5, "shuffle": False, "verbose": 0, "sample_weight": weights}
        found, right = a.fit(X, NUMBERS, **options).history, b.fit(X, NUMBERS, **options).history
        for key in right:
            np.testing.assert_allclose(found[key], right[key], rtol=2e-5, err_msg=key)
