"""Optimizers, schedules and regularizers beside Keras and PyTorch: the same weights and the same losses, from the same
initial weights and the same batches.  Needs keras (KERAS_BACKEND=jax or torch) or torch; skips without."""

import numpy as np
import pytest

from fastnn import constraints, layers, models, optimizers, regularizers
from fastnn.optimizers import schedules

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")     # in Keras itself

INPUTS, HIDDEN, CLASSES, BATCH, STEPS = 20, 16, 5, 32, 100

# Both compute in float32; 100 steps let differences in the last place grow.  Measured: at most 3e-6 absolute.
WEIGHTS = {"rtol": 1e-4, "atol": 2e-5}
LOSSES = {"rtol": 2e-5}

OPTIMIZERS = {
    "sgd": ("SGD", {"learning_rate": 0.1}),
    "momentum": ("SGD", {"learning_rate": 0.05, "momentum": 0.9}),
    "nesterov": ("SGD", {"learning_rate": 0.05, "momentum": 0.9, "nesterov": True}),
    "rmsprop": ("RMSprop", {"learning_rate": 0.002}),
    "adagrad": ("Adagrad", {"learning_rate": 0.05}),
    "adam": ("Adam", {"learning_rate": 0.005}),
    "adamw": ("AdamW", {"learning_rate": 0.005}),
    "amsgrad": ("Adam", {"learning_rate": 0.005, "beta_2": 0.9, "amsgrad": True}),
    "nadam": ("Nadam", {"learning_rate": 0.005}),
}
WORDS = {
    "plain": {},
    "weight_decay": {"weight_decay": 0.02},
    "clipnorm": {"clipnorm": 0.05},
    "global_clipnorm": {"global_clipnorm": 0.08},
    "clipvalue": {"clipvalue": 0.01},
}
SCHEDULES = {
    "cosine": ("CosineDecay", {"initial_learning_rate": 0.1, "decay_steps": 130, "alpha": 0.1}),
    "cosine warm-up": ("CosineDecay", {"initial_learning_rate": 0.01, "decay_steps": 90, "alpha": 0.05,
                                       "warmup_target": 0.2, "warmup_steps": 21}),
    "restarts": ("CosineDecayRestarts", {"initial_learning_rate": 0.1, "first_decay_steps": 30.5, "t_mul": 1.5,
                                         "m_mul": 0.8, "alpha": 0.02}),
    "equal restarts": ("CosineDecayRestarts", {"initial_learning_rate": 0.1, "first_decay_steps": 37.5, "t_mul": 1.0,
                                               "m_mul": 0.5}),
    "exponential": ("ExponentialDecay", {"initial_learning_rate": 0.1, "decay_steps": 50, "decay_rate": 0.7}),
    "stairs": ("ExponentialDecay", {"initial_learning_rate": 0.1, "decay_steps": 50, "decay_rate": 0.7,
                                    "staircase": True}),
    "inverse time": ("InverseTimeDecay", {"initial_learning_rate": 0.1, "decay_steps": 20, "decay_rate": 0.5}),
    "inverse stairs": ("InverseTimeDecay", {"initial_learning_rate": 0.1, "decay_steps": 20, "decay_rate": 0.5,
                                            "staircase": True}),
    "piecewise": ("PiecewiseConstantDecay", {"boundaries": [30, 70, 150], "values": [0.1, 0.05, 0.2, 0.01]}),
    "polynomial": ("PolynomialDecay", {"initial_learning_rate": 0.1, "decay_steps": 120, "end_learning_rate": 0.01,
                                       "power": 2.0}),
    "cycles": ("PolynomialDecay", {"initial_learning_rate": 0.1, "decay_steps": 32, "end_learning_rate": 0.01,
                                   "power": 0.5, "cycle": True}),
}
REGULARIZERS = {
    "l1": ("L1", {"l1": 0.003}), "l2": ("L2", {"l2": 0.02}), "l1_l2": ("L1L2", {"l1": 0.002, "l2": 0.01}),
}


CONSTRAINTS = {
    "max_norm": ("MaxNorm", {"max_value": 1.2}), "max_norm rows": ("MaxNorm", {"max_value": 1.2, "axis": 1}),
    "min_max_norm": ("MinMaxNorm", {"min_value": 0.5, "max_value": 1.5, "rate": 0.7}), "unit_norm": ("UnitNorm", {}),
    "non_neg": ("NonNeg", {}),
}


@pytest.fixture(scope="module")
def keras():
    return pytest.importorskip("keras")


def data():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((BATCH * 25, INPUTS)).astype("float32")
    y = np.eye(CLASSES, dtype="float32")[(x @ rng.standard_normal((INPUTS, CLASSES))).argmax(1)]
    weights = [0.4 * rng.standard_normal(shape).astype("float32")
               for shape in ((INPUTS, HIDDEN), (HIDDEN,), (HIDDEN, CLASSES), (CLASSES,))]
    return x, y, weights


def trained(library, make_optimizer, make_regularizer=lambda: None, bias=False, **words):
    """The weights after 100 steps in the rows' own order, the losses of the epochs, and that of an evaluation."""
    x, y, weights = data()
    words |= {"kernel_regularizer": make_regularizer(), "bias_regularizer": make_regularizer() if bias else None}
    model = library.Sequential([
        library.layers.Input((INPUTS,)), library.layers.Dense(HIDDEN, activation="tanh", **words),
        library.layers.Dense(CLASSES, activation="softmax", **words)])
    model.compile(make_optimizer(), "categorical_crossentropy")
    model.set_weights(weights)
    losses = model.fit(x, y, batch_size=BATCH, epochs=STEPS // 25, shuffle=False, verbose=0).history["loss"]
    return model.get_weights(), [*losses, model.evaluate(x, y, batch_size=BATCH, verbose=0)]


class Fastnn:
    Sequential, layers, optimizers, regularizers = models.Sequential, layers, optimizers, regularizers
    constraints = constraints


def assert_equal(ours, theirs):
    for found, expected in zip(ours[0], theirs[0], strict=True):
        np.testing.assert_allclose(found, expected, **WEIGHTS)
    np.testing.assert_allclose(ours[1], theirs[1], **LOSSES)


@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_weights_after_100_steps_are_those_of_keras(name, words, keras):
    kind, options = OPTIMIZERS[name]
    options = {**options, **WORDS[words]}
    assert_equal(*(trained(library, lambda library=library: getattr(library.optimizers, kind)(**options))
                   for library in (Fastnn, keras)))


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_are_those_of_keras(name, keras):
    kind, options = SCHEDULES[name]
    ours, theirs = (getattr(library.schedules, kind)(**options) for library in (optimizers, keras.optimizers))
    rates = np.array([[ours(step), float(theirs(step))] for step in range(200)])
    np.testing.assert_allclose(rates[:, 0], rates[:, 1], rtol=2e-5, atol=1e-8)

    def made(library):
        return library.optimizers.SGD(getattr(library.optimizers.schedules, kind)(**options), 0.5, weight_decay=0.01)

    assert_equal(*(trained(library, lambda library=library: made(library)) for library in (Fastnn, keras)))


def named(library, optimizer, **clipping):
    """The optimizer of that name, or SGD that is clipped so."""
    if optimizer == "clipped":
        return library.optimizers.SGD(0.1, **clipping)
    return getattr(library.optimizers, optimizer)(0.05 if optimizer == "SGD" else 0.005)


@pytest.mark.parametrize("optimizer", ["SGD", "Adam", "clipped"])
@pytest.mark.parametrize("name", REGULARIZERS)
def test_regularized_weights_and_losses_are_those_of_keras(name, optimizer, keras):
    kind, options = REGULARIZERS[name]

    assert_equal(*(trained(library, lambda library=library: named(library, optimizer, global_clipnorm=0.1),
                           lambda library=library: getattr(library.regularizers, kind)(**options), True)
                   for library in (Fastnn, keras)))


@pytest.mark.parametrize("optimizer", ["SGD", "Adam", "clipped"])
@pytest.mark.parametrize("name", CONSTRAINTS)
def test_constrained_weights_and_losses_are_those_of_keras(name, optimizer, keras):
    kind, options = CONSTRAINTS[name]

    def result(library):
        constraint = getattr(library.constraints, kind)(**options)
        return trained(library, lambda: named(library, optimizer, clipnorm=0.1), kernel_constraint=constraint,
                       bias_constraint=library.constraints.NonNeg())

    assert_equal(result(Fastnn), result(keras))


def test_weights_spared_from_decay_are_those_of_keras(keras):
    def made(library):
        optimizer = library.optimizers.AdamW(0.005, weight_decay=0.05)
        optimizer.exclude_from_weight_decay(var_names=["bias"])
        return optimizer

    assert_equal(*(trained(library, lambda library=library: made(library)) for library in (Fastnn, keras)))


def test_a_frozen_layer_trains_as_in_keras(keras):
    x, y, weights = data()
    results = []
    for library in (Fastnn, keras):
        model = library.Sequential([
            library.layers.Input((INPUTS,)), library.layers.Dense(HIDDEN, activation="tanh", kernel_regularizer="l2"),
            library.layers.Dense(CLASSES, activation="softmax", kernel_regularizer="l2")])
        model.layers[-2].trainable = False
        model.compile(library.optimizers.RMSprop(0.005), "categorical_crossentropy")
        model.set_weights(weights)
        losses = model.fit(x, y, batch_size=BATCH, epochs=4, shuffle=False, verbose=0).history["loss"]
        results.append((model.get_weights(), [*losses, model.evaluate(x, y, verbose=0)]))
        np.testing.assert_array_equal(results[-1][0][0], weights[0])
    assert_equal(*results)


@pytest.mark.parametrize("name", ["AdamW", "SGD"])
def test_adamw_and_momentum_are_those_of_pytorch(name):
    """PyTorch adds epsilon after its own bias correction, which epsilon = 1e-12 makes no difference, and decays first
    too.  Its NAdam differs from Keras' in when the product of momenta is taken, so it is left out."""
    torch = pytest.importorskip("torch")
    x, y, weights = data()
    hidden, last = torch.nn.Linear(INPUTS, HIDDEN), torch.nn.Linear(HIDDEN, CLASSES)
    net = torch.nn.Sequential(hidden, torch.nn.Tanh(), last)
    with torch.no_grad():
        for parameter, weight in zip(net.parameters(), weights, strict=True):
            parameter.copy_(torch.from_numpy(weight.T if weight.ndim == 2 else weight))
    if name == "AdamW":
        theirs = torch.optim.AdamW(net.parameters(), lr=0.005, weight_decay=0.05, eps=1e-12)
        ours = optimizers.AdamW(0.005, weight_decay=0.05, epsilon=1e-12)
    else:
        theirs = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
        ours = optimizers.SGD(0.05, momentum=0.9)
    for step in range(STEPS):
        rows = slice(step % 25 * BATCH, step % 25 * BATCH + BATCH)
        theirs.zero_grad()
        torch.nn.functional.cross_entropy(net(torch.from_numpy(x[rows])), torch.from_numpy(y[rows])).backward()
        theirs.step()
    found = trained(Fastnn, lambda: ours)[0]
    for weight, parameter in zip(found, net.parameters(), strict=True):
        expected = parameter.detach().numpy()
        np.testing.assert_allclose(weight, expected.T if weight.ndim == 2 else expected, **WEIGHTS)


def test_every_schedule_is_compared():
    assert {kind for kind, _ in SCHEDULES.values()} == set(schedules.SCHEDULES)
