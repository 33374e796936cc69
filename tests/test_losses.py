"""Losses: words, values by hand, smoothing, logits, the weights of samples, and losses of one's own."""
import numpy as np
import pytest
import reference

from fastnn import _core, layers, losses, models, ops

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((70, 5)), RNG.standard_normal((70, 3))
WEIGHTS = RNG.random(70) * 2
LABELS = RNG.integers(0, 3, 70)


def model(loss, dtype="float64", last="linear", units=3, metrics=(), optimizer="sgd"):
    made = models.Sequential([layers.Dense(4, activation="tanh", input_shape=(5,), dtype=dtype),
                              layers.Dense(units, activation=last, dtype=dtype)])
    start = np.random.default_rng(1)
    made.set_weights([start.standard_normal(w.shape) / 2 for w in made.weights])
    made.compile(optimizer, loss, metrics=metrics)
    return made


@pytest.mark.parametrize("cls", losses.CLASSES)
def test_names_classes_functions_and_configurations_mean_the_same(cls):
    made = cls()
    for given in (cls, cls(), cls.name, cls.__name__, getattr(losses, cls.name),
                  {"class_name": cls.__name__, "config": made.get_config()}):
        assert type(losses.get(given)) is cls
        assert losses.get(given).get_config() == made.get_config()


@pytest.mark.parametrize("alias, name", [
    ("mse", "mean_squared_error"), ("MAE", "mean_absolute_error"), ("mape", "mean_absolute_percentage_error"),
    ("msle", "mean_squared_logarithmic_error"), ("kld", "kl_divergence"), ("logcosh", "log_cosh"),
    ("bce", "binary_crossentropy")])
def test_aliases(alias, name):
    assert losses.get(alias).name == name


@pytest.mark.parametrize("loss, y_true, y_pred, value", [
    (losses.Huber(), [[0.0, 0.0]], [[0.5, 3.0]], (0.125 + 2.5) / 2),
    (losses.Huber(delta=2.0), [[0.0, 0.0]], [[1.0, 3.0]], (0.5 + 4) / 2),
    (losses.LogCosh(), [[0.0]], [[1.0]], np.log(np.cosh(1))),
    (losses.LogCosh(), [[0.0]], [[-900.0]], 900 - np.log(2)),
    (losses.KLDivergence(), [[0.25, 0.75]], [[0.5, 0.5]], 0.25 * np.log(0.5) + 0.75 * np.log(1.5)),
    (losses.Poisson(), [[2.0]], [[3.0]], 3 - 2 * np.log(3 + 1e-7)),
    (losses.Hinge(), [[0.0, 1.0]], [[0.5, 0.25]], (1.5 + 0.75) / 2),
    (losses.Hinge(), [[-1.0, 1.0]], [[0.5, 4.0]], 0.75),
    (losses.Hinge(), [[2.0, 1.0]], [[0.25, 0.5]], 0.5),
    (losses.SquaredHinge(), [[0, 1]], [[0.5, 0.0]], (2.25 + 1) / 2),
    (losses.CategoricalHinge(), [[0, 1, 0]], [[0.5, 0.25, 0.125]], 0.5 - 0.25 + 1),
    (losses.CosineSimilarity(), [[3.0, 4.0]], [[4.0, 3.0]], -24 / 25),
    (losses.CosineSimilarity(), [[3.0, 4.0]], [[0.0, 0.0]], 0),
    (losses.MeanAbsolutePercentageError(), [[2.0, 4.0]], [[1.0, 5.0]], (50 + 25) / 2),
    (losses.MeanSquaredLogarithmicError(), [[np.e - 1]], [[-3.0]], (1 - np.log(1 + 1e-7)) ** 2),
    (losses.BinaryCrossentropy(label_smoothing=0.5), [[1.0]], [[0.5]], np.log(2)),
    (losses.BinaryCrossentropy(from_logits=True, label_smoothing=0.5), [[1.0]], [[1.0]],
     0.75 * np.log1p(np.exp(-1)) + 0.25 * np.log1p(np.exp(1))),
    (losses.CategoricalCrossentropy(label_smoothing=0.3), [[0, 1, 0]], [[0.25, 0.5, 0.25]],
     -(0.8 * np.log(0.5) + 0.2 * np.log(0.25))),
    (losses.SparseCategoricalCrossentropy(from_logits=True), [1], [[0.0, np.log(3)]], -np.log(0.75)),
    (losses.MeanSquaredError(), [1.0, 2.0], [1.0, 4.0], 2.0),
])
def test_values_by_hand(loss, y_true, y_pred, value):
    assert loss(np.array(y_true), np.array(y_pred)) == pytest.approx(value, rel=1e-12, abs=1e-15)


def test_reductions_and_weights_of_an_object():
    y_true, y_pred = np.zeros((2, 2)), np.array([[1.0, 3.0], [2.0, 0.0]])
    assert losses.MeanSquaredError()(y_true, y_pred, [2, 1]) == (2 * 5 + 2) / 2
    assert losses.MeanSquaredError(reduction="sum")(y_true, y_pred) == 7
    np.testing.assert_array_equal(losses.MeanSquaredError(reduction="none")(y_true, y_pred, [[2], [1]]), [10, 2])
    np.testing.assert_array_equal(losses.mean_squared_error(y_true, y_pred), [5, 2])
    np.testing.assert_array_equal(losses.huber(y_true, y_pred, 2.0), [(0.5 + 4) / 2, 1])


@pytest.mark.parametrize("make, message", [
    (lambda: losses.Huber(delta=0), "Huber: delta must be a finite number above 0, received 0"),
    (lambda: losses.CategoricalCrossentropy(label_smoothing=1.5), "must be a number from 0 to 1, received 1.5"),
    (lambda: losses.CosineSimilarity(axis=0), "along the last axis, received axis=0. Use axis=-1"),
    (lambda: losses.Hinge(reduction="avg"), "reduction must be one of .*received 'avg'"),
    (lambda: losses.MeanSquaredError()(np.zeros((2, 3)), np.zeros((2, 4))), r"received \(2, 3\) and \(2, 4\)"),
    (lambda: model(losses.Huber(reduction="sum")), "loss='huber' has reduction='sum'. Leave reduction out"),
    (lambda: losses.get("hubert"), "Unknown loss 'hubert'. Did you mean 'huber'"),
])
def test_wrong_words_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


SMOOTHED = [("binary", losses.BinaryCrossentropy, "sigmoid", RNG.integers(0, 2, (70, 3)) * 1.0),
            ("categorical", losses.CategoricalCrossentropy, "softmax", np.eye(3)[LABELS])]


@pytest.mark.parametrize("logits", [False, True])
@pytest.mark.parametrize("name, cls, last, y", SMOOTHED, ids=["binary", "categorical"])
def test_smoothing_trains_as_on_truths_that_are_moved(name, cls, last, y, logits):
    moved = 0.8 * y + (0.1 if name == "binary" else 0.2 / 3)
    made = [model(cls(from_logits=logits, label_smoothing=s), last="linear" if logits else last) for s in (0.2, 0)]
    for m, truth in zip(made, (y, moved), strict=True):
        m.fit(X, truth, batch_size=16, epochs=3, shuffle=False, verbose=0)
    for a, b in zip(*(m.get_weights() for m in made), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)
    assert made[0].evaluate(X, y) == pytest.approx(made[1].evaluate(X, moved), rel=1e-12)


@pytest.mark.parametrize("name, cls, last, y", SMOOTHED, ids=["binary", "categorical"])
def test_logits_train_as_the_activation_does_and_are_predicted(name, cls, last, y):
    metrics = ["accuracy", "mse", "binary_accuracy"]
    on_logits, fused = model(cls(from_logits=True), metrics=metrics), model(cls(), last=last, metrics=metrics)
    logits = on_logits.predict(X)
    shares = on_logits.evaluate(X, y, return_dict=True)
    assert shares["mse"] == pytest.approx(np.mean((logits - y) ** 2))
    assert shares["binary_accuracy"] == pytest.approx(np.mean((logits > 0.5) == y))
    for m in (on_logits, fused):
        m.fit(X, y, batch_size=16, epochs=3, shuffle=False, verbose=0)
    for a, b in zip(on_logits.weights, fused.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(getattr(_core, last)(on_logits.predict(X)), fused.predict(X), rtol=1e-12)


def test_logits_of_a_softmax_are_warned_of():
    with pytest.warns(UserWarning, match="gives no logits: it ends in 'softmax'"):
        model(losses.CategoricalCrossentropy(from_logits=True), last="softmax").evaluate(X, np.eye(3)[LABELS])


@pytest.mark.parametrize("name", ["mse", "hinge", "cosine_similarity", "categorical_crossentropy"])
def test_whole_weights_count_samples_as_often(name, dtype):
    """A sample of weight 2 is one that stands there twice, of weight 0 one that does not; the mean is by samples."""
    last, y = ("softmax", np.eye(3)[LABELS]) if name.startswith("cat") else ("tanh", Y)
    weights = RNG.integers(0, 3, 70)
    repeated = np.repeat(np.arange(70), weights)
    a, b = model(name, dtype, last), model(name, dtype, last)
    assert a.train_on_batch(X, y, sample_weight=weights) == pytest.approx(
        b.evaluate(X[repeated], y[repeated], batch_size=1000) * len(repeated) / 70, rel=1e-5)
    b.optimizer.learning_rate *= len(repeated) / 70
    b.train_on_batch(X[repeated], y[repeated])
    for one, other in zip(a.weights, b.weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_weights_of_one_change_no_bits():
    a, b = (model("mse", "float32") for _ in range(2))
    a.fit(X, Y, epochs=2, shuffle=False, verbose=0)
    b.fit(X, Y, epochs=2, shuffle=False, verbose=0, sample_weight=np.ones(70))
    for one, other in zip(a.weights, b.weights, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("loss", [losses.Huber(0.5), losses.Hinge(), losses.CosineSimilarity(), "msle",
                                  losses.CategoricalCrossentropy(label_smoothing=0.1),
                                  losses.BinaryCrossentropy(True, 0.1)], ids=lambda loss: getattr(loss, "name", loss))
def test_threads_and_instruction_sets_change_no_bits(loss, fma_isas, set_isa, set_threads):
    x, weights = np.tile(X, (20, 1)).astype("float32"), np.tile(WEIGHTS, 20)
    y, last = np.tile(np.eye(3, dtype="float32")[LABELS], (20, 1)), "softmax"
    expected = None
    for isa in fma_isas:
        for threads in (1, 2, 3):
            set_isa(isa)
            set_threads(threads)
            end = "linear" if getattr(loss, "from_logits", False) else last
            m = model(loss, "float32", end, metrics=["mae", "huber"])
            history = m.fit(x, y, batch_size=400, epochs=2, sample_weight=weights, shuffle=False, verbose=0).history
            found = [*m.weights, *map(np.array, history.values())]
            expected = expected or found
            for a, b in zip(found, expected, strict=True):
                np.testing.assert_array_equal(a, b)


# Losses of one's own

class Fourth(losses.Loss):
    def call(self, y_true, y_pred):
        return np.mean((y_pred - y_true) ** 4, axis=-1)

    def gradient(self, y_true, y_pred):
        return 4 * (y_pred - y_true) ** 3 / y_pred.shape[-1]


def fourth(y_true, y_pred):
    return np.mean((y_pred - y_true) ** 4, axis=-1)


def test_a_function_and_an_explicit_pair_train_alike():
    made = [model(fourth), model(Fourth()), model(Fourth)]
    found = [m.fit(X, Y, epochs=3, sample_weight=WEIGHTS, shuffle=False, verbose=0).history["loss"] for m in made]
    for m, history in zip(made, found, strict=True):
        assert history == pytest.approx(found[0], rel=1e-10)
        for a, b in zip(m.weights, made[0].weights, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9)


@pytest.mark.parametrize("own, compiled", [
    (lambda t, p: np.mean((p - t) ** 2, axis=-1), "mse"), (lambda t, p: np.mean((p - t) ** 2), "mse"),
    (lambda t, p: (p - t) ** 2, "mse"), (lambda t, p: losses.huber(t, p), "huber"),
    (lambda t, p: ops.mean(ops.absolute(ops.subtract(p, t)), axis=-1), "mae"),
], ids=["by sample", "one number", "by element", "a compiled one", "ops"])
def test_a_function_equals_the_compiled_loss(own, compiled, dtype):
    a, b = model(own, dtype, metrics=["mae"]), model(compiled, dtype, metrics=["mae"])
    weights = WEIGHTS if np.ndim(own(Y, Y)) else None
    options = {"batch_size": 16, "epochs": 3, "verbose": 0, "shuffle": False, "sample_weight": weights}
    found, right = (m.fit(X, Y, **options).history for m in (a, b))
    for key in right:
        np.testing.assert_allclose(found[key], right[key], rtol=1e-5, err_msg=key)
    for one, other in zip(a.weights, b.weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_a_function_may_take_labels_of_its_own_shape():
    def crossentropy(labels, p):
        assert labels.shape == (len(p),)
        return -np.log(p[np.arange(len(p)), labels.astype(int)])

    a = model(crossentropy, last="softmax", metrics=["accuracy"])
    b = model("sparse_categorical_crossentropy", last="softmax", metrics=["accuracy"])
    for m in (a, b):
        m.fit(X, LABELS, epochs=3, shuffle=False, verbose=0)
    assert a.evaluate(X, LABELS) == pytest.approx(b.evaluate(X, LABELS), rel=1e-6)


def own_shape(y_true, y_pred):
    return np.zeros(7)


def constant(y_true, y_pred):
    return np.mean(y_true ** 2, axis=-1)


@pytest.mark.parametrize("loss, message", [
    (lambda t, p: np.mean((p - t) ** 2, axis=0), "must return the loss of each sample.*mean over the last axis"),
    (constant, "loss 'constant' does not depend on y_pred"),
    (lambda t, p: float(p[0, 0]), "float"),
])
def test_a_function_that_cannot_be_a_loss_is_named_and_changes_nothing(loss, message):
    m = model(loss)
    before = m.get_weights()
    with pytest.raises((ValueError, TypeError), match=message):
        m.fit(X, Y, batch_size=16, verbose=0)
    for a, b in zip(m.weights, before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_function_is_no_plain_data():
    with pytest.raises(TypeError, match="'fourth' is a Python function and cannot be saved"):
        losses.get(fourth).get_config()


@pytest.mark.parametrize("name", reference.LOSSES)
def test_evaluate_equals_the_twin(name):
    if name in ("sigmoid_crossentropy", "softmax_crossentropy"):
        pytest.skip("reached through the activations")
    last, y = ("softmax", np.eye(3)[LABELS]) if "categorical" in name else ("sigmoid", np.abs(Y) / 4)
    m = model(name, last="sigmoid" if last == "sigmoid" else "softmax")
    right = reference.LOSSES[name](m.predict(X), y)[0]
    assert m.evaluate(X, y) == pytest.approx(right.mean(), rel=1e-6)
    assert m.evaluate(X, y, sample_weight=WEIGHTS) == pytest.approx((right * WEIGHTS).mean(), rel=1e-6)


@pytest.mark.parametrize("columns", [3, 40])
def test_a_logit_of_minus_infinity_costs_nothing_where_the_target_is_zero(columns, isa, dtype):
    """0 log(0) is 0: masked classes; where the target is not, the loss is infinite.  Side by side and row by row."""
    z = np.full((2, columns), -np.inf, dtype)
    z[:, :2] = [[1.0, 2.0]]
    exact = np.log1p(np.exp(-1.0))
    t, dout = np.eye(columns, dtype=dtype)[[1, columns - 1]], np.empty_like(z)
    found = losses.CategoricalCrossentropy(from_logits=True).call(t, z)
    np.testing.assert_allclose(found, [exact, np.inf], 1e-6)
    sparse = losses.SparseCategoricalCrossentropy(from_logits=True)
    np.testing.assert_array_equal(sparse.call([1, columns - 1], z), found)
    _core.loss("softmax_crossentropy", z, t, dout)
    np.testing.assert_allclose(dout[0, :3], [1 - np.exp(-exact), np.exp(-exact) - 1, 0], 1e-5)
    infinite = np.array([[-np.inf], [np.inf], [-np.inf], [np.inf], [np.nan]], dtype)
    found = losses.BinaryCrossentropy(from_logits=True).call(np.array([[0.0], [1], [1], [0], [0]]), infinite)
    np.testing.assert_array_equal(found, np.array([0, 0, np.inf, np.inf, np.nan], dtype))


def test_a_masked_class_in_training(set_threads):
    """The bias of -inf takes a class away: the others train as if there were no other."""
    found = []
    for classes in (3, 4):
        made = model("sparse_categorical_crossentropy", last="softmax", units=classes)
        weights = [w.copy() for w in made.weights]
        weights[2][:, :3], weights[3][:] = np.arange(12).reshape(4, 3) / 10, [0, 0, 0, -np.inf][:classes]
        made.set_weights(weights)
        made.fit(X, LABELS, epochs=3, shuffle=False, verbose=0)
        found.append([made.evaluate(X, LABELS), made.weights[2][:, :3], made.weights[0]])
    for masked, plain in zip(*found, strict=True):
        np.testing.assert_allclose(masked, plain, 1e-12)
