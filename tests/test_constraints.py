"""Constraints: values by hand, what fit leaves of the weights by every way of training, files, messages."""
import numpy as np
import pytest

from fastnn import callbacks, constraints, layers, models, optimizers
from fastnn.utils import set_random_seed

X = np.random.default_rng(0).standard_normal((96, 6))
Y = np.random.default_rng(1).standard_normal((96, 3))


def norms(weight, axis=0):
    return np.sqrt((np.asarray(weight, "float64") ** 2).sum(axis, keepdims=True))


def scaled(weight, low, high, rate=1.0, axis=0):
    norm = norms(weight, axis)
    return weight * (rate * np.clip(norm, low, high) + (1 - rate) * norm) / (norm + 1e-7)


# a constraint, and its formula in NumPy
CONSTRAINTS = {
    "max_norm": (constraints.MaxNorm(0.7), lambda w: scaled(w, 0, 0.7)),
    "max_norm axis": (constraints.MaxNorm(0.7, axis=1), lambda w: scaled(w, 0, 0.7, axis=1)),
    "max_norm axes": (constraints.MaxNorm(1.7, axis=[0, 1]), lambda w: scaled(w, 0, 1.7, axis=(0, 1))),
    "min_max_norm": (constraints.MinMaxNorm(0.5, 0.9, 0.3), lambda w: scaled(w, 0.5, 0.9, 0.3)),
    "unit_norm": (constraints.UnitNorm(), lambda w: scaled(w, 1, 1)),
    "non_neg": (constraints.NonNeg(), lambda w: np.maximum(w, 0)),
    "function": (constraints.get(lambda w: np.clip(w, -0.2, 0.2)), lambda w: np.clip(w, -0.2, 0.2)),
}


class Sign(optimizers.Optimizer):
    def update_step(self, gradient, weight, slots):
        weight -= self.learning_rate * np.sign(gradient)


def model(kernel=None, bias=None, optimizer="sgd", dtype="float32", **words):
    set_random_seed(0)
    made = models.Sequential([
        layers.Dense(40, "tanh", input_shape=(6,), dtype=dtype, kernel_constraint=kernel, bias_constraint=bias,
                     **words), layers.Dense(3)])
    made.compile(optimizer, "mse")
    return made


@pytest.mark.parametrize("name", CONSTRAINTS)
@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (33, 97)])
def test_values(name, shape, dtype, isa):
    constraint, twin = CONSTRAINTS[name]
    weight = (np.random.default_rng(3).standard_normal(shape) / 2).astype(dtype)
    weight[:, 0] = 0
    expected = twin(weight.astype("float64"))
    found = constraint(weight)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected, 1e-5 if dtype == "float32" else 1e-12, 1e-12)
    constraints.Hold(constraint, weight)()
    np.testing.assert_array_equal(weight, found)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", optimizers.RMSprop(clipnorm=0.1), Sign(0.01)],
                         ids=["sgd", "adam", "clipped", "in Python"])
@pytest.mark.parametrize("name", ["max_norm", "unit_norm", "non_neg", "function"])
def test_a_step_is_the_plain_one_and_then_the_constraint(name, optimizer):
    constraint, twin = CONSTRAINTS[name]
    plain = model(optimizer=optimizers.get(optimizer).clone(), dtype="float64")
    held = model(constraint, constraint if name == "non_neg" else None, optimizers.get(optimizer).clone(), "float64")
    plain.train_on_batch(X, Y)
    held.train_on_batch(X, Y)
    expected = [twin(plain.weights[0]), twin(plain.weights[1]) if name == "non_neg" else plain.weights[1],
                *plain.weights[2:]]
    for found, wanted in zip(held.weights, expected, strict=True):
        np.testing.assert_allclose(found, wanted, 1e-12, 1e-15)


def test_fit_keeps_it_at_every_step_and_the_penalty_is_that_of_the_kept_weight():
    held = model("unit_norm", "non_neg", kernel_regularizer="l2")
    seen = []

    class Look(callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append((norms(held.weights[0]), held.weights[1].min()))

    held.fit(X, Y, batch_size=16, epochs=3, verbose=0, callbacks=[Look()])
    assert len(seen) == 18
    for norm, least in seen:
        np.testing.assert_allclose(norm, 1, 1e-6)
        assert least >= 0
    mse = ((held.predict(X.astype("float32")) - Y) ** 2).mean()
    np.testing.assert_allclose(held.evaluate(X, Y), mse + 0.01 * 40, 1e-5)


def test_a_frozen_layer_is_left_alone():
    held = model("unit_norm")
    held.layers[0].trainable = False
    before = held.get_weights()
    held.fit(X, Y, verbose=0)
    np.testing.assert_array_equal(held.weights[0], before[0])
    held.layers[0].trainable = True
    held.fit(X, Y, verbose=0)
    np.testing.assert_allclose(norms(held.weights[0]), 1, 1e-6)


def test_the_same_bits_on_any_threads_and_instruction_set(fma_isas, set_isa, set_threads):
    found = set()
    for isa in fma_isas:
        for threads in (1, 2, 3):
            set_isa(isa)
            set_threads(threads)
            held = model(constraints.MaxNorm(0.5), "non_neg", "adam")
            held.fit(X, Y, batch_size=16, epochs=2, verbose=0)
            found.add(b"".join(w.tobytes() for w in held.weights))
    assert len(found) == 1


def test_sparse_dense_takes_those_of_single_numbers():
    made = models.Sequential([layers.SparseDense(20, density=0.5, kernel_constraint="non_neg", input_shape=(6,)),
                              layers.Dense(3)])
    made.compile("sgd", "mse")
    made.fit(X, Y, verbose=0)
    assert made.layers[0].values.min() == 0
    with pytest.raises(ValueError, match="SparseDense keeps its weights as one row of values, in which a unit's norm"):
        layers.SparseDense(20, density=0.5, kernel_constraint="max_norm")


@pytest.mark.parametrize("suffix", ["fastnn", "keras"])
def test_files_hold_them(suffix, tmp_path):
    held = model(constraints.MinMaxNorm(0.1, 0.5, 0.5), "non_neg")
    held.save(tmp_path / f"a.{suffix}")
    again = models.load_model(tmp_path / f"a.{suffix}")
    assert again.layers[0].get_config() == held.layers[0].get_config()
    for one in (held, again):
        one.fit(X, Y, epochs=2, shuffle=False, verbose=0)
    for found, expected in zip(again.weights, held.weights, strict=True):
        np.testing.assert_array_equal(found, expected)
    copy = models.clone_model(held)
    assert copy.layers[0].get_config() == held.layers[0].get_config()


def test_names_classes_and_configurations_mean_the_same():
    for given in ("max_norm", "MaxNorm", constraints.MaxNorm, constraints.max_norm(), {
            "class_name": "MaxNorm", "config": {"max_value": 2, "axis": 0}}):
        assert constraints.get(given).get_config() == {"max_value": 2.0, "axis": 0}
    assert constraints.get(None) is None
    for constraint, _ in CONSTRAINTS.values():
        if type(constraint) is not constraints.FunctionConstraint:
            again = constraints.get(constraint.described())
            assert type(again) is type(constraint) and again.get_config() == constraint.get_config()


def test_a_function_cannot_be_saved(tmp_path):
    held = model(np.abs)
    with pytest.raises(TypeError, match="constraint 'absolute' is a Python function and cannot be saved"):
        held.save(tmp_path / "a.fastnn")
    held.save_weights(tmp_path / "a.fastnn")


def test_one_that_raises_ends_fit_after_the_step():
    armed = []
    held = model(lambda w: w / (0 if armed else 1))
    armed.append(True)
    before = held.get_weights()
    with pytest.raises(FloatingPointError), np.errstate(divide="raise", invalid="raise"):
        held.fit(X, Y, verbose=0)
    assert held.optimizer.iterations == 1
    assert not np.array_equal(held.weights[0], before[0])


@pytest.mark.parametrize(("make", "message"), [
    (lambda: model("max_nrm"), "Unknown constraint 'max_nrm'. Did you mean 'max_norm'? Available: max_norm, "),
    (lambda: constraints.MaxNorm(-1), "MaxNorm: max_value must be at least 0, received -1."),
    (lambda: constraints.MinMaxNorm(2, 1), "MinMaxNorm: max_value must be at least 2, received 1."),
    (lambda: constraints.MinMaxNorm(rate=2), "MinMaxNorm: rate must be from 0 to 1, received 2."),
    (lambda: constraints.UnitNorm(axis="0"), "UnitNorm: axis must be an integer, received '0'."),
    (lambda: model(lambda w: w[0]), "must return real numbers of the weight's shape (6, 40), it returned "
                                              "float32 of shape (40,)."),
    (lambda: model(constraints.MaxNorm(axis=2)), "axis 2 is out of range for an array of shape (6, 40)"),
    (lambda: model(bias=constraints.UnitNorm(axis=1)), "axis 1 is out of range for an array of shape (40,)"),
    (lambda: model(constraints.Constraint()), "Constraint must override __call__(weight)"),
])
def test_messages(make, message):
    with pytest.raises((TypeError, ValueError)) as error:
        make()
    assert message in str(error.value)
