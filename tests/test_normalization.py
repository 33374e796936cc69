"""BatchNormalization, LayerNormalization, Normalization and Rescaling: against NumPy, by central differences, bit
for bit; the moving moments by hand.  x is (B, ..., C)."""
import numpy as np
import pytest
from scipy import sparse
from watch import Watch

from fastnn import layers, models, optimizers, saving
from fastnn.layers import BatchNormalization, Dense, Dropout, Input, LayerNormalization, Normalization, Rescaling
from fastnn.utils import set_random_seed

SHAPES = [(1,), (7,), (16,), (97,), (3, 5), (2, 3, 33)]


def by_columns(x, gamma, beta, epsilon, mean=None, variance=None):
    axes = tuple(range(x.ndim - 1))
    mean = x.mean(axes) if mean is None else mean
    variance = x.var(axes) if variance is None else variance
    return (x - mean) / np.sqrt(variance + epsilon) * gamma + beta


def by_rows(x, gamma, beta, epsilon):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + epsilon) * gamma + beta


TWINS = {BatchNormalization: by_columns, LayerNormalization: by_rows}


def filled(model, seed=1):
    """The model with weights away from where they start; variances stay positive."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        weight[...] = rng.uniform(0.5, 1.5, weight.shape)
    return model


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("cls", TWINS)
def test_outputs(isa, dtype, cls, shape):
    rng = np.random.default_rng(2)
    x = rng.normal(3, 2, (11, *shape)).astype(dtype)
    model = filled(models.Sequential([cls(epsilon=0.01, input_shape=shape, dtype=dtype)]))
    weights = [w.astype("float64") for w in model.weights]
    expected = TWINS[cls](x.astype("float64"), *weights[:2], 0.01, *weights[2:])
    np.testing.assert_allclose(model.predict(x), expected, *((1e-5, 1e-5) if dtype == "float32" else (1e-13, 1e-13)))
    assert model.predict(x[:1]).tobytes() == model.predict(x)[:1].tobytes()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("words", [{}, {"center": False}, {"scale": False}, {"center": False, "scale": False}], ids=str)
@pytest.mark.parametrize("cls", TWINS)
def test_gradients_against_central_differences(cls, shape, words, set_threads):
    """Of the layer between two Dense, by every weight; the loss of training is that of the batch's own moments."""
    set_threads(2)
    size = int(np.prod(shape))
    set_random_seed(1)
    model = models.Sequential([Input((5,), dtype="float64"), Dense(size, activation="tanh"), layers.Reshape(shape),
                               cls(epsilon=0.02, **words), layers.Flatten(), Dense(2)])
    model.compile(Watch(), "mse")
    rng = np.random.default_rng(3)
    x, y = rng.normal(0, 1, (6, 5)), rng.normal(0, 1, (6, 2))
    trained = [weight for layer in model.layers for weight in layer.trainable_weights]
    for weight in trained[2:-2]:
        weight[...] = rng.uniform(0.5, 1.5, weight.shape)

    def loss():
        first, bias, *middle, last, end = trained
        h = np.tanh(x @ first + bias).reshape(6, *shape)
        gamma = middle.pop(0) if words.get("scale", True) else 1.0
        h = TWINS[cls](h, gamma, middle.pop(0) if words.get("center", True) else 0.0, 0.02)
        return (((h.reshape(6, -1) @ last + end) - y) ** 2).mean()

    np.testing.assert_allclose(model.train_on_batch(x, y), loss(), 1e-12)
    gradients = model.optimizer.step(model, x, y)
    assert len(gradients) == len(trained)
    for weight, gradient in zip(trained, gradients, strict=True):
        for at in rng.permutation(weight.size)[:6]:
            kept, sides = weight.flat[at], []
            for step in (1e-6, -1e-6):
                weight.flat[at] = kept + step
                sides.append(loss())
            weight.flat[at] = kept
            np.testing.assert_allclose(gradient.flat[at], (sides[0] - sides[1]) / 2e-6, 1e-5, 2e-8)


@pytest.mark.parametrize("cls", TWINS)
def test_as_the_first_layer_it_trains(cls, isa):
    x, y = np.random.default_rng(0).normal(5, 3, (40, 9)), np.random.default_rng(1).normal(0, 1, (40, 1))
    model = models.Sequential([cls(input_shape=(9,), dtype="float64"), Dense(1)])
    model.compile(Watch(), "mse")
    out = TWINS[cls](x, 1.0, 0.0, 1e-3)
    dout = 2 * (out @ model.weights[-2] - y) / 40 @ model.weights[-2].T
    dgamma, dbeta = model.optimizer.step(model, x, y)[:2]
    np.testing.assert_allclose(dgamma, (dout * out).sum(0), 1e-10, 1e-13)
    np.testing.assert_allclose(dbeta, dout.sum(0), 1e-10, 1e-13)


@pytest.mark.parametrize("there", [True, False])
def test_moving_moments_follow_the_batches_and_evaluation_uses_them(there):
    rng = np.random.default_rng(4)
    x, y = rng.normal(3, 2, (50, 6)), rng.normal(0, 1, (50, 2))
    layer = BatchNormalization(-1, 0.9, center=there, scale=there, input_shape=(6,), dtype="float64")
    model = models.Sequential([layer, Dense(2)])
    model.compile("sgd", "mse")
    model.fit(x, y, batch_size=20, epochs=2, shuffle=False, verbose=0)
    mean, variance = np.zeros(6), np.ones(6)
    for batch in [x[:20], x[20:40], x[40:]] * 2:
        mean, variance = 0.9 * mean + 0.1 * batch.mean(0), 0.9 * variance + 0.1 * batch.var(0)
    np.testing.assert_allclose(layer.moving_mean, mean, 1e-13)
    np.testing.assert_allclose(layer.moving_variance, variance, 1e-13)
    kept = [w.copy() for w in model.weights]
    gamma, beta = (layer.gamma, layer.beta) if there else (1.0, 0.0)
    out = by_columns(x, gamma, beta, 1e-3, mean, variance) @ model.layers[1].weight + model.layers[1].bias
    np.testing.assert_allclose(model.evaluate(x, y), ((out - y) ** 2).mean(), 1e-12)
    assert all((a == b).all() for a, b in zip(kept, model.weights, strict=True))


def test_a_loss_that_is_not_finite_leaves_the_moments():
    model = models.Sequential([BatchNormalization(input_shape=(3,)), Dense(1)])
    model.compile("sgd", "mse")
    with pytest.raises(RuntimeError, match="not finite"):
        model.fit(np.full((4, 3), np.nan), np.ones(4), verbose=0)
    assert not model.layers[0].moving_mean.any() and (model.layers[0].moving_variance == 1).all()


def test_an_optimizer_in_python_that_raises_leaves_the_moments():
    class Broken(optimizers.Optimizer):
        def update_step(self, gradient, weight, slots):
            raise KeyError("broken")

    model = models.Sequential([BatchNormalization(input_shape=(3,)), Dense(1)])
    model.compile(Broken(0.1), "mse")
    with pytest.raises(KeyError, match="broken"):
        model.fit(np.ones((4, 3)), np.ones(4), verbose=0)
    assert not model.layers[0].moving_mean.any() and (model.layers[0].moving_variance == 1).all()


def test_words_and_weights():
    layer = BatchNormalization(input_shape=(3,))
    layer.build((3,))
    assert [w.tolist() for w in layer.weights] == [[1] * 3, [0] * 3, [0] * 3, [1] * 3]
    assert layer.weights[0] is layer.gamma and layer.weights[3] is layer.moving_variance
    assert [id(w) for w in layer.trainable_weights] == [id(layer.gamma), id(layer.beta)]
    assert [id(w) for w in layer.non_trainable_weights] == [id(layer.moving_mean), id(layer.moving_variance)]
    layer.trainable = False
    assert layer.trainable_weights == [] and len(layer.non_trainable_weights) == 4
    for made in (BatchNormalization(momentum=0.5, scale=False), LayerNormalization(epsilon=1e-6, center=False),
                 Normalization(mean=[1.0, 2.0], variance=[3.0, 4.0]), Rescaling(2.0, 1.0)):
        again = layers.get({"class_name": type(made).__name__, "config": made.get_config()})
        assert type(again) is type(made) and again.get_config() == made.get_config()


def network():
    set_random_seed(5)
    model = models.Sequential([Input((40,)), Dense(200), BatchNormalization(), layers.Activation("relu"), Dropout(0.3),
                               Dense(70, activation="relu"), LayerNormalization(), Dense(3)])
    model.compile("adam", "mse")
    return model


def trained(model, epochs, initial_epoch=0):
    rng = np.random.default_rng(0)
    x, y = rng.normal(0, 1, (300, 40)).astype("float32"), rng.normal(0, 1, (300, 3)).astype("float32")
    model.fit(x, y, epochs=epochs, batch_size=128, verbose=0, initial_epoch=initial_epoch)
    return b"".join(w.tobytes() for w in model.weights) + model.predict(x).tobytes()


def test_the_same_bits_on_any_threads_and_sets(fma_isas, set_isa, set_threads):
    found = set()
    for isa in fma_isas:
        for threads in (1, 2, 3):
            set_isa(isa)
            set_threads(threads)
            found.add(trained(network(), 2))
    assert len(found) == 1


def test_saved_and_resumed():
    model = network()
    trained(model, 2)
    again = saving.from_bytes(saving.to_bytes(model))
    whole = trained(network(), 4)
    assert trained(model, 4, 2) == whole
    assert trained(again, 4, 2) == whole


# Normalization and Rescaling

@pytest.mark.parametrize("make", [np.asarray, sparse.csr_array, lambda x: x.astype("uint8"), lambda x: x.tolist()],
                         ids=["array", "csr", "uint8", "list"])
def test_adapt(make, monkeypatch):
    rng = np.random.default_rng(6)
    x = rng.integers(0, 200, (20001, 5)) * (rng.random((20001, 5)) < 0.3)
    for axis, over in ((-1, 0), (None, None)):
        layer = Normalization(axis=axis)
        layer.adapt(make(x))
        np.testing.assert_allclose(layer.mean, x.mean(over), 1e-12)
        np.testing.assert_allclose(layer.variance, x.var(over), 1e-12)
        found = layer(x.astype("float64"))
        np.testing.assert_allclose(found, (x - x.mean(over)) / x.std(over), 1e-10, 1e-10)


def test_adapt_of_images_memory_mapped_and_far_from_zero(tmp_path):
    x = np.random.default_rng(7).normal(1e6, 1, (9000, 4, 3))
    np.save(tmp_path / "x.npy", x)
    layer = Normalization()
    layer.adapt(np.load(tmp_path / "x.npy", mmap_mode="r"))
    np.testing.assert_allclose(layer.variance, x.reshape(-1, 3).var(0), 1e-8)


def test_normalization_in_a_model_before_and_after_it_is_built():
    x, y = np.random.default_rng(8).normal(20, 5, (60, 4)), np.ones((60, 1))
    late = Normalization(input_shape=(4,), dtype="float64")
    model = models.Sequential([late, Dense(1)])
    with pytest.raises(RuntimeError, match=r"'normalization' has no moments. Call its adapt\(data\)"):
        model.predict(x)
    late.adapt(x)
    hidden = (x - x.mean(0)) / x.std(0)
    np.testing.assert_allclose(model.predict(x), hidden @ model.weights[0] + model.weights[1], 1e-11)
    late.adapt(x * 2)
    np.testing.assert_allclose(model.predict(x * 2), hidden @ model.weights[0] + model.weights[1], 1e-11)
    model.compile("sgd", "mse")
    model.fit(x, y, verbose=0)
    assert late.mean == (x * 2).mean(0).tolist()
    again = models.Sequential.from_config(model.get_config())
    assert again.layers[0].mean == late.mean


def test_rescaling_anywhere_with_an_offset(isa, dtype):
    x = np.arange(12, dtype="uint8").reshape(4, 3)
    model = models.Sequential([Rescaling(0.5, input_shape=(3,), dtype=dtype), Rescaling(2.0, -1.0),
                               Dense(2, activation="tanh"), Rescaling(3.0), Dense(1)])
    first, bias, last, end = (w.astype("float64") for w in model.weights)
    out = np.tanh((x - 1.0) @ first + bias) * 3.0
    np.testing.assert_allclose(model.predict(x), out @ last + end, 1e-5)
    np.testing.assert_array_equal(model.layers[1](x), x * 2.0 - 1.0)
    np.testing.assert_array_equal(model.layers[0](x), x * 0.5)
    model.compile(Watch(), "mse")
    for _ in range(20):
        np.random.default_rng(0).normal(0, 1, 3).astype(dtype)          # takes memory that is free
    dlast = model.optimizer.step(model, x, np.zeros((4, 1)))[2]
    np.testing.assert_allclose(model.evaluate(x, np.zeros((4, 1))), ((out @ last + end) ** 2).mean(), 1e-5)
    np.testing.assert_allclose(dlast, out.T @ (out @ last + end) * 2 / 4, 1e-4)


@pytest.mark.parametrize(("make", "message"), [
    (lambda: BatchNormalization(axis=1, input_shape=(2, 3)).build((2, 3)),
     "BatchNormalization works along the last axis, received axis=1 for samples of shape (2, 3). Use axis=-1."),
    (lambda: BatchNormalization(momentum=1.5), "BatchNormalization: momentum must be from 0 to 1, received 1.5."),
    (lambda: LayerNormalization(epsilon=-1), "LayerNormalization: epsilon must be at least 0, received -1."),
    (lambda: Normalization(mean=1.0), "Normalization takes both mean and variance, or neither"),
    (lambda: Normalization(mean=[1.0], variance=[-1.0]), "the variance 0 or more"),
    (lambda: Normalization().adapt(np.full((3, 2), np.nan)), "data holds NaN or infinity"),
    (lambda: Normalization().adapt(np.ones((0, 2))), "data holds no samples"),
    (lambda: models.Sequential([Normalization(mean=[1, 2], variance=[1, 2], input_shape=(3,))]), "moments of 2 places"),
    (lambda: Rescaling("1"), "Rescaling: scale must be a finite number, received '1'."),
    (lambda: models.Sequential([Rescaling(2, 1, input_shape=(3,)), Dense(1)]).predict(sparse.csr_array((2, 3))),
     "Only a Dense layer reads sparse rows"),
])
def test_messages(make, message):
    with pytest.raises((TypeError, ValueError)) as error:
        make()
    assert message in str(error.value)
