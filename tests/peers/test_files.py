"""Files of Keras and PyTorch themselves: both ways, the same predictions, and training goes on.

Tolerances are for float32: 5e-7 for a prediction, 2e-6 for weights after 40 steps of the same batches.
"""

import itertools
import os

import numpy as np
import pytest

os.environ.setdefault("KERAS_BACKEND", "jax")
keras = pytest.importorskip("keras")

from fastnn import FormatError, layers, models, saving, utils  # noqa: E402

pytestmark = [pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),     # in Keras itself
              pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")]

X = np.random.default_rng(0).normal(size=(64, 6)).astype("float32")
Y = np.eye(3, dtype="float32")[np.random.default_rng(1).integers(0, 3, 64)]
FIT = {"batch_size": 16, "epochs": 10, "shuffle": False, "verbose": 0}


def cosine(module):
    return module.schedules.CosineDecay(0.01, 100, warmup_target=0.02, warmup_steps=5)


OPTIMIZERS = {
    "sgd": lambda m: m.SGD(0.1), "momentum": lambda m: m.SGD(0.1, momentum=0.9),
    "nesterov": lambda m: m.SGD(0.1, momentum=0.9, nesterov=True), "rmsprop": lambda m: m.RMSprop(0.002, rho=0.8),
    "adagrad": lambda m: m.Adagrad(0.05), "adam": lambda m: m.Adam(0.003, beta_1=0.8, weight_decay=0.01),
    "adamw": lambda m: m.AdamW(0.003), "amsgrad": lambda m: m.AdamW(0.003, amsgrad=True),
    "nadam": lambda m: m.Nadam(0.003), "clipnorm": lambda m: m.Adam(clipnorm=0.1),
    "global_clipnorm": lambda m: m.SGD(0.1, global_clipnorm=0.2), "clipvalue": lambda m: m.SGD(0.1, clipvalue=0.01),
    "schedule": lambda m: m.Adam(cosine(m))}


def of_keras(optimizer="adam", extra=()):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([
        keras.layers.Input((6,)), keras.layers.Dense(8, "tanh", kernel_regularizer=keras.regularizers.L2(0.01)), *extra,
        keras.layers.Dense(3, "softmax", name="out")])
    model.compile(OPTIMIZERS[optimizer](keras.optimizers), "categorical_crossentropy", metrics=[
        "accuracy", keras.metrics.MeanAbsoluteError(name="m")])
    return model


def of_fastnn(optimizer="adam"):
    from fastnn import metrics, optimizers, regularizers

    utils.set_random_seed(0)
    model = models.Sequential([
        layers.Dense(8, "tanh", kernel_regularizer=regularizers.L2(0.01), input_shape=(6,)),
        layers.Dense(3, "softmax", name="out")])
    model.compile(OPTIMIZERS[optimizer](optimizers), "categorical_crossentropy", metrics=[
        "accuracy", metrics.MeanAbsoluteError(name="m")])
    return model


def assert_trains_alike(mine, theirs, epochs=10):
    """Both from here on, on the same batches."""
    ours, history = (model.fit(X, Y, **{**FIT, "epochs": epochs}).history for model in (mine, theirs))
    assert ours.keys() == history.keys()
    for name, values in history.items():
        np.testing.assert_allclose(ours[name], values, rtol=2e-5, atol=2e-6)
    for a, b in zip(mine.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=5e-6)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_file_of_keras_predicts_equal_and_trains_on(optimizer, tmp_path):
    theirs = of_keras(optimizer)
    theirs.fit(X, Y, **FIT)
    theirs.save(tmp_path / "a.keras")
    mine = models.load_model(tmp_path / "a.keras")
    np.testing.assert_allclose(mine.predict(X), theirs.predict(X, verbose=0), atol=5e-7)
    assert mine.optimizer.iterations == 40 and mine.metrics_names == ["loss", "accuracy", "m"]
    assert_trains_alike(mine, keras.models.load_model(tmp_path / "a.keras"))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_file_of_ours_loads_in_keras_and_trains_on(optimizer, tmp_path):
    mine = of_fastnn(optimizer)
    mine.fit(X, Y, **FIT)
    mine.save(tmp_path / "a.keras")
    theirs = keras.models.load_model(tmp_path / "a.keras")
    np.testing.assert_allclose(mine.predict(X), theirs.predict(X, verbose=0), atol=5e-7)
    assert int(theirs.optimizer.iterations) == 40
    assert_trains_alike(mine, theirs)


def test_a_file_of_ours_that_has_not_trained(tmp_path):
    mine = of_fastnn("adam")
    mine.save(tmp_path / "a.keras")
    assert_trains_alike(mine, keras.models.load_model(tmp_path / "a.keras"))


def test_weights_alone_both_ways(tmp_path):
    mine, theirs = of_fastnn(), of_keras()
    mine.fit(X, Y, **FIT)
    theirs.fit(X, Y, **FIT)                 # Keras warns where its optimizer has no slots yet
    mine.save_weights(tmp_path / "mine.weights.h5")
    theirs.load_weights(tmp_path / "mine.weights.h5")
    assert all((a == b).all() for a, b in zip(mine.get_weights(), theirs.get_weights(), strict=True))
    theirs.fit(X, Y, **FIT)
    theirs.save_weights(tmp_path / "theirs.weights.h5")
    mine.load_weights(tmp_path / "theirs.weights.h5")
    assert all((a == b).all() for a, b in zip(mine.get_weights(), theirs.get_weights(), strict=True))
    assert mine.optimizer.iterations == int(theirs.optimizer.iterations)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_older_files_of_keras(optimizer, tmp_path):
    theirs = of_keras(optimizer)
    theirs.fit(X, Y, **FIT)
    theirs.save(tmp_path / "a.keras")       # Keras' own .h5 does not train on under JAX
    theirs.save(tmp_path / "a.h5")
    mine = models.load_model(tmp_path / "a.h5")
    np.testing.assert_allclose(mine.predict(X), theirs.predict(X, verbose=0), atol=5e-7)
    assert_trains_alike(mine, keras.models.load_model(tmp_path / "a.keras"))


def test_functional_models_of_one_chain(tmp_path):
    keras.utils.set_random_seed(0)
    start = keras.Input((2, 3))
    x = keras.layers.Flatten()(start)
    x = keras.layers.Dense(5, "relu")(x)
    theirs = keras.Model(start, keras.layers.Dense(2)(x))
    theirs.save(tmp_path / "a.keras")
    mine = models.load_model(tmp_path / "a.keras")
    data = X.reshape(-1, 2, 3)
    np.testing.assert_allclose(mine.predict(data), theirs.predict(data, verbose=0), atol=5e-7)
    keras.Model(start, [x, theirs.output]).save(tmp_path / "b.keras")
    with pytest.raises(FormatError, match="one chain"):
        models.load_model(tmp_path / "b.keras")


def l1_l2():
    return keras.regularizers.L1L2(0.01, 0.02)


EVERY_LAYER = {
    "batch normalization": lambda: [keras.layers.BatchNormalization(momentum=0.8)],
    "without a scale": lambda: [keras.layers.BatchNormalization(scale=False, epsilon=0.01)],
    "frozen": lambda: [keras.layers.BatchNormalization(trainable=False), keras.layers.Dense(4, trainable=False)],
    "layer normalization": lambda: [keras.layers.LayerNormalization(), keras.layers.LayerNormalization(center=False)],
    "shapes": lambda: [keras.layers.Reshape((2, 4)), keras.layers.LayerNormalization(), keras.layers.Flatten()],
    "activations": lambda: [keras.layers.Activation(name) for name in (
        "elu", "gelu", "silu", "softplus", "mish", "leaky_relu", "selu")],
    "layers of activations": lambda: [keras.layers.ReLU(6, 0.1, 0.2), keras.layers.LeakyReLU(), keras.layers.ELU(0.5)],
    "rescaling": lambda: [keras.layers.Rescaling(0.5, 0.1)],
    "dropout": lambda: [keras.layers.Dropout(0.0)],
    "regularizers": lambda: [keras.layers.Dense(4, bias_regularizer="l1", kernel_regularizer=l1_l2())],
    "constraints": lambda: [keras.layers.Dense(4, kernel_constraint=keras.constraints.MaxNorm(1.1),
                                               bias_constraint="non_neg")],
    "softmax": lambda: [keras.layers.Softmax()],
    "initializers": lambda: [keras.layers.Dense(4, kernel_initializer="zeros", bias_initializer="ones")]}


@pytest.mark.parametrize("name", EVERY_LAYER)
def test_every_layer_both_ways(name, tmp_path):
    theirs = of_keras("momentum", EVERY_LAYER[name]())
    theirs.fit(X, Y, **FIT)
    theirs.save(tmp_path / "a.keras")
    mine = models.load_model(tmp_path / "a.keras")
    np.testing.assert_allclose(mine.predict(X), theirs.predict(X, verbose=0), atol=5e-7)
    mine.save(tmp_path / "b.keras")
    again = keras.models.load_model(tmp_path / "b.keras")
    assert [type(layer) for layer in again.layers] == [type(layer) for layer in theirs.layers]
    assert_trains_alike(mine, again, epochs=3)


def test_normalization_both_ways(tmp_path):
    first = keras.layers.Normalization()
    first.adapt(X * 3 + 1)
    theirs = keras.Sequential([keras.layers.Input((6,)), first, keras.layers.Dense(2),
                               keras.layers.Normalization(mean=[1.0, 2.0], variance=[3.0, 4.0])])
    theirs.save(tmp_path / "a.keras")
    mine = models.load_model(tmp_path / "a.keras")
    np.testing.assert_allclose(mine.predict(X), theirs.predict(X, verbose=0), atol=5e-7)
    mine.save(tmp_path / "b.keras")
    again = keras.models.load_model(tmp_path / "b.keras")
    np.testing.assert_allclose(mine.predict(X), again.predict(X, verbose=0), atol=5e-7)


REFUSED = {
    "Conv2D": lambda: keras.layers.Conv2D(3, 2), "Lambda": lambda: keras.layers.Lambda(lambda x: x),
    "Embedding": lambda: keras.layers.Embedding(5, 3)}


@pytest.mark.parametrize("name", REFUSED)
def test_layers_that_fastnn_lacks(name, tmp_path):
    model = keras.Sequential([keras.layers.Input((4, 4, 1) if name == "Conv2D" else (4,)), REFUSED[name]()])
    model.save(tmp_path / "a.keras")
    with pytest.raises(FormatError, match=rf"layer 1 \('[a-z0-9_]+', {name}\) is not supported in fastnn, which"):
        models.load_model(tmp_path / "a.keras")


# Losses and metrics

LOSSES = ["mse", "mae", "huber", "log_cosh", "kl_divergence", "poisson", "hinge", "binary_crossentropy"]


@pytest.mark.parametrize("loss", LOSSES)
def test_losses_both_ways(loss, tmp_path):
    theirs = keras.Sequential([keras.layers.Input((6,)), keras.layers.Dense(3, "sigmoid")])
    theirs.compile("sgd", keras.losses.get(loss) if loss == "mse" else loss)
    theirs.save(tmp_path / "a.keras")
    mine = models.load_model(tmp_path / "a.keras")
    mine.save(tmp_path / "b.keras")
    again = keras.models.load_model(tmp_path / "b.keras")
    assert mine.evaluate(X, Y) == pytest.approx(theirs.evaluate(X, Y, verbose=0), rel=1e-5)
    assert again.evaluate(X, Y, verbose=0) == pytest.approx(theirs.evaluate(X, Y, verbose=0), rel=1e-6)


def test_options_of_losses_and_metrics(tmp_path):
    theirs = keras.Sequential([keras.layers.Input((6,)), keras.layers.Dense(3, "softmax")])
    theirs.compile("sgd", keras.losses.CategoricalCrossentropy(label_smoothing=0.1), metrics=[
        keras.metrics.CategoricalCrossentropy(from_logits=True), keras.metrics.BinaryAccuracy(threshold=0.2),
        keras.metrics.Precision(thresholds=0.3), keras.metrics.AUC(num_thresholds=50), keras.metrics.F1Score("macro"),
        keras.metrics.TopKCategoricalAccuracy(k=2), keras.metrics.R2Score()])
    theirs.save(tmp_path / "a.keras")
    mine = models.load_model(tmp_path / "a.keras")
    mine.save(tmp_path / "b.keras")
    again = keras.models.load_model(tmp_path / "b.keras")
    expected = theirs.evaluate(X, Y, verbose=0)
    np.testing.assert_allclose(mine.evaluate(X, Y), expected, rtol=1e-4)
    np.testing.assert_allclose(again.evaluate(X, Y, verbose=0), expected, rtol=1e-5)


# PyTorch

def test_modules_of_pytorch_that_normalize():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.BatchNorm1d(8), torch.nn.ReLU(), torch.nn.Dropout(0.5),
                              torch.nn.Linear(8, 5), torch.nn.GELU(), torch.nn.LayerNorm(5), torch.nn.Linear(5, 3))
    net(torch.from_numpy(X))                # moves the moments
    net.eval()
    mine = saving.torch.from_state_dict(net.state_dict(), activation=["relu", "gelu", None])
    np.testing.assert_allclose(mine.predict(X), net(torch.from_numpy(X)).detach().numpy(), atol=1e-6)
    mine.compile("adam", "mse")
    mine.fit(X, Y, verbose=0)
    net.load_state_dict({name: torch.from_numpy(array) for name, array in renumbered(mine).items()})
    np.testing.assert_allclose(mine.predict(X), net(torch.from_numpy(X)).detach().numpy(), atol=1e-6)


def renumbered(model):
    """The state of the model without its Dropout, which a state does not tell."""
    numbers = {"3": "4", "5": "6", "6": "7"}
    return {numbers.get(name[0], name[0]) + name[1:]: a for name, a in saving.torch.to_state_dict(model).items()}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_pytorch_both_ways(dtype, tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file, save_file

    torch.manual_seed(0)
    nets = [torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.Linear(8, 5, bias=False),
                                torch.nn.ReLU(), torch.nn.Linear(5, 3), torch.nn.Softmax(-1)).to(getattr(torch, dtype))
            for _ in range(2)]
    x = X.astype(dtype)

    def predicted(net):
        return net(torch.from_numpy(x)).detach().numpy()

    atol = 5e-7 if dtype == "float32" else 1e-14
    mine = saving.torch.from_state_dict(nets[0].state_dict(), activation=["tanh", "relu", "softmax"])
    np.testing.assert_allclose(mine.predict(x), predicted(nets[0]), atol=atol)
    mine.compile("adam", "categorical_crossentropy")
    mine.fit(x, Y, verbose=0)
    nets[1].load_state_dict({name: torch.from_numpy(a) for name, a in saving.torch.to_state_dict(mine).items()})
    np.testing.assert_allclose(mine.predict(x), predicted(nets[1]), atol=atol)
    mine.save_weights(tmp_path / "a.safetensors")
    nets[0].load_state_dict(load_file(tmp_path / "a.safetensors"))
    assert all((a == b).all() for a, b in itertools.zip_longest(nets[0].parameters(), nets[1].parameters()))
    save_file(nets[0].state_dict(), tmp_path / "b.safetensors")
    again = saving.torch.from_state_dict(tmp_path / "b.safetensors", activation=["tanh", "relu", "softmax"])
    assert (again.predict(x) == mine.predict(x)).all()
