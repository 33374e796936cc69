"""Every message: what is wrong, what was received, the fix; and that a refused call has changed nothing."""

import hashlib
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import fastnn
from fastnn import layers, losses, models, optimizers, regularizers, utils
from fastnn.callbacks import Callback

INPUTS, CLASSES, N = 6, 3, 20
RNG = np.random.default_rng(0)
X = RNG.random((N, INPUTS), dtype="float32")
LABELS = np.arange(N) % CLASSES
Y = np.eye(CLASSES)[LABELS]
LABELS_NAN = np.where(LABELS == 0, np.nan, LABELS)


# The models that are refused something


def network(loss="categorical_crossentropy", last="softmax", units=CLASSES, optimizer=None):
    """A compiled model that has taken one step."""
    utils.set_random_seed(1)
    model = models.Sequential([layers.Dense(5, "relu", input_shape=(INPUTS,)), layers.Dense(units, last)])
    model.compile(optimizer or optimizers.Adam(), loss)
    model.train_on_batch(X, targets(model))
    return model


def targets(model):
    units = model.output_shape[1]
    return LABELS if model.loss.name.startswith("sparse") else np.eye(units)[LABELS % units]


def state(model):
    arrays = [*model.weights, *(slot for slots in model.optimizer.slots for slot in slots)]
    return model.optimizer.iterations, hashlib.sha256(b"".join(a.tobytes() for a in arrays)).hexdigest()


def sparse():
    return network("sparse_categorical_crossentropy")


class OwnLayer(layers.Layer):
    def call(self, x):
        return x * x


class OwnModel(models.Sequential):
    def train_step(self, data):
        return {}


class OwnPenalty(regularizers.Regularizer):
    def __call__(self, weight):
        return 1.0


def one_unit():
    return network("binary_crossentropy", "sigmoid", 1)


def fit(make=network, x=X, y=Y, **options):
    """A row's call: (the model, what is done to it)."""
    return make, lambda model: model.fit(x, y, verbose=0, **options)


def ask(call, make=network):
    return make, call


# (id, the call, exception, message: the whole of it, or a list of parts that it must hold)
ROWS = [
    # shapes of x
    ("x images", fit(x=np.zeros((N, 2, 3))), ValueError,
     "Dense expects inputs of shape (batch, 6), received (20, 2, 3). "
     "Reshape first: x = x.reshape(20, 6), or start with layers.Flatten()."),
    ("x width", fit(x=X[:, :5]), ValueError, ["Dense expects inputs of shape (batch, 6), received (20, 5)."]),
    ("x scalar", fit(x=3.0), ValueError, ["Dense expects inputs of shape (batch, 6), received ()."]),
    ("predict width", ask(lambda m: m.predict(X[:, :5])), ValueError, ["(batch, 6), received (20, 5)."]),
    ("predict one", ask(lambda m: m.predict(X[0])), ValueError,
     ["Dense expects inputs of shape (batch, 6), received (6,).", "For one sample, pass x[None]."]),
    ("call one", ask(lambda m: m(X[0])), ValueError, ["For one sample, pass x[None]."]),
    ("evaluate width", ask(lambda m: m.evaluate(X[:, :5], Y)), ValueError, ["(batch, 6), received (20, 5)."]),
    ("train width", ask(lambda m: m.train_on_batch(X[:, :5], Y)), ValueError, ["(batch, 6), received (20, 5)."]),
    ("ragged x", fit(x=[[1, 2], [3]]), ValueError, ["inhomogeneous"]),
    ("out shape", ask(lambda m: m.predict(X, out=np.empty((N, 4), "float32"))), ValueError,
     "predict: out must have shape (20, 3) and dtype float32, received (20, 4) and float32."),
    ("out dtype", ask(lambda m: m.predict(X, out=np.empty((N, 3)))), ValueError,
     ["float32, received (20, 3) and float64."]),
    ("out order", ask(lambda m: m.predict(X, out=np.empty((3, N), "float32").T)), ValueError,
     ["out must be a writable C-contiguous array."]),
    ("out list", ask(lambda m: m.predict(X, out=[])), TypeError, ["out must be a numpy array, received list."]),

    # formats of y
    ("y labels", fit(y=LABELS), ValueError,
     "y has shape (20,) with integer labels 0-2, but loss='categorical_crossentropy' expects one row per sample with "
     "3 columns. Use y = to_categorical(y), or loss='sparse_categorical_crossentropy'."),
    ("y label column", fit(y=LABELS[:, None]), ValueError,
     ["y has shape (20, 1) with integer labels 0-2", "Use y = to_categorical(y)"]),
    ("y float labels", fit(y=LABELS.astype("float32")), ValueError, ["y has shape (20,)", "Use y = to_categorical(y)"]),
    ("y columns", fit(y=Y[:, :2]), ValueError, ["y has shape (20, 2), but the model's output is (20, 3)"]),
    ("y rows for one unit", fit(one_unit), ValueError, ["y has shape (20, 3), but the model's output is (20, 1)"]),
    ("y one-hot for sparse", fit(sparse), ValueError,
     "y has shape (20, 3), one row per sample, but loss='sparse_categorical_crossentropy' expects integer labels of "
     "shape (n,). Use y = y.argmax(1), or loss='categorical_crossentropy'."),
    ("labels too large", fit(sparse, y=LABELS + 5), ValueError,
     "y holds labels 5 to 7, but the model's 3 outputs stand for labels 0 to 2. Change y, or give the last layer "
     "8 units."),
    ("labels negative", fit(sparse, y=LABELS - 1), ValueError,
     ["y holds labels -1 to 1", "the model's 3 outputs stand for labels 0 to 2.", "Change y"]),
    ("labels evaluate", ask(lambda m: m.evaluate(X, LABELS + 1), sparse), ValueError, ["y holds labels 1 to 3"]),
    ("labels train", ask(lambda m: m.train_on_batch(X, LABELS + 1), sparse), ValueError, ["y holds labels 1 to 3"]),
    ("labels fractions", fit(sparse, y=LABELS + 0.5), ValueError, ["y must hold integer labels", "not whole"]),
    ("labels NaN", fit(sparse, y=LABELS_NAN), ValueError, ["y must hold integer labels", "not whole"]),

    # dtypes
    *((f"x {x.dtype.kind}", fit(x=x), TypeError,
       [f"x must hold real numbers, received dtype {x.dtype}.", "np.asarray(x"])
      for x in (X.astype(object), X.astype(complex), X.astype(str), X.astype("M8[s]"))),
    *((f"y {y.dtype.kind}", fit(y=y), TypeError,
       [f"y must hold real numbers, received dtype {y.dtype}.", "np.asarray(y"])
      for y in (Y.astype(object), Y.astype(complex), Y.astype(str))),
    ("predict str", ask(lambda m: m.predict(X.astype(str))), TypeError, ["x must hold real numbers, received"]),
    ("labels str", fit(sparse, y=LABELS.astype(str)), TypeError, ["y must hold integer labels, received dtype <U"]),
    ("labels object", fit(sparse, y=LABELS.astype(object)), TypeError, ["received dtype object"]),

    # how much, and of what
    ("no x", ask(lambda m: m.fit()), ValueError, "x is missing: pass the samples, one row each."),
    ("no y", ask(lambda m: m.fit(X)), ValueError, "y is missing: pass the targets, one for each row of x."),
    ("empty", fit(x=X[:0], y=Y[:0]), ValueError, "x holds no samples: its shape is (0, 6)."),
    ("empty evaluate", ask(lambda m: m.evaluate(X[:0], Y[:0])), ValueError, ["x holds no samples"]),
    ("empty train", ask(lambda m: m.train_on_batch(X[:0], Y[:0])), ValueError, ["x holds no samples"]),
    ("lengths", fit(y=Y[:19]), ValueError, "x and y must have the same number of samples, received 20 and 19."),
    ("y scalar", fit(y=1.0), ValueError, ["x and y must have the same number of samples, received 20 and"]),
    *((f"batch_size {size!r}", fit(batch_size=size), ValueError, f"batch_size must be at least 1, received {size}.")
      for size in (0, -1)),
    *((f"batch_size {size!r}", fit(batch_size=size), TypeError, f"batch_size must be an integer, received {size!r}.")
      for size in (2.5, True, "32")),
    ("evaluate batch_size", ask(lambda m: m.evaluate(X, Y, batch_size=0)), ValueError,
     "batch_size must be at least 1, received 0."),
    ("epochs", fit(epochs=-1), ValueError, "epochs must be at least 0, received -1."),
    ("epochs 1.5", fit(epochs=1.5), TypeError, "epochs must be an integer, received 1.5."),
    ("initial_epoch", fit(initial_epoch=-1), ValueError, "initial_epoch must be at least 0, received -1."),
    *((f"validation_split {share!r}", fit(validation_split=share), ValueError,
       f"validation_split must be a number between 0 and 1, received {share!r}.")
      for share in (1.0, -0.1, 2, True, "a")),
    ("validation_split all", fit(validation_split=0.99), ValueError,
     ["validation_split=0.99 of 20 samples leaves no sample on one side.", "validation_data=(x, y)"]),
    ("validation_data x", fit(validation_data=X), ValueError,
     ["validation_data must be a pair (x, y), (x, y, sample_weight), or batches"]),
    ("validation_data lengths", fit(validation_data=(X, Y[:3])), ValueError,
     ["validation_data", "x and y must have the same number of samples, received 20 and 3."]),
    ("validation_data shape", fit(validation_data=(X[:, :5], Y)), ValueError, ["validation_data", "received (20, 5)"]),
    ("callbacks class", fit(callbacks=[Callback]), TypeError, ["callbacks", "Callback"]),
    ("callbacks str", fit(callbacks=["history"]), TypeError, ["callbacks", "'history'"]),

    # weights and layers
    ("set_weights none", ask(lambda m: m.set_weights([])), ValueError,
     "set_weights expects arrays of shapes [(6, 5), (5,), (5, 3), (3,)], received []."),
    ("set_weights shape", ask(lambda m: m.set_weights([w.T for w in m.weights])), ValueError,
     ["[(6, 5), (5,), (5, 3), (3,)], received [(5, 6), (5,), (3, 5), (3,)]."]),
    ("set_weights dtype", ask(lambda m: m.set_weights([*m.get_weights()[:3], np.ones(3, complex)])), TypeError,
     "set_weights expects real numbers, received dtype complex128."),
    ("add", ask(lambda m: m.add("relu")), TypeError,
     "A model is made of layers, received 'relu'. Use layers.Dense(...) or another layer."),
    ("add Input", ask(lambda m: m.add(layers.Input((3,)))), ValueError, "Input must be the first layer."),
    ("add shape", ask(lambda m: m.add(layers.Dense(3, input_shape=(5,)))), ValueError,
     "The layer expects inputs of shape (5,), but the layer before gives (3,)."),
    ("add dtype", ask(lambda m: m.add(layers.Dense(3, dtype="float64"))), ValueError,
     ["All layers of a model share one dtype", "asks for float64, the layers before are float32."]),

    # compile, with what was chosen before still in force
    ("compile optimizer", ask(lambda m: m.compile("rmspop", "mse")), ValueError,
     "Unknown optimizer 'rmspop'. Did you mean 'rmsprop'? Available: adagrad, adam, adamw, nadam, rmsprop, sgd."),
    ("compile loss", ask(lambda m: m.compile("sgd", "categorical_crossentrop")), ValueError,
     ["Unknown loss 'categorical_crossentrop'. Did you mean 'categorical_crossentropy'? Available: bce, binary_"]),
    ("compile metric", ask(lambda m: m.compile("sgd", "mse", metrics=["acuracy"])), ValueError,
     ["Unknown metric 'acuracy'. Did you mean 'accuracy'? Available: acc, accuracy,"]),
    ("compile far off", ask(lambda m: m.compile("zzz", "mse")), ValueError,
     "Unknown optimizer 'zzz'. Available: adagrad, adam, adamw, nadam, rmsprop, sgd."),
    ("compile no loss", ask(lambda m: m.compile("sgd")), ValueError,
     "compile() needs a loss, for example loss='categorical_crossentropy'."),
    ("learning_rate", ask(lambda m: setattr(m.optimizer, "learning_rate", float("nan")) or m.fit(X, Y, verbose=0)),
     ValueError, "Adam: learning_rate must be a finite number, 0 or more, received nan."),
]


def check(error, message):
    if isinstance(message, str):
        assert str(error.value) == message
    else:
        for part in message:
            assert part in str(error.value)


@pytest.mark.parametrize("case, exception, message", [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_a_refused_call_says_why_and_changes_nothing(case, exception, message, capsys):
    make, call = case
    model = make()
    before, parts = state(model), (model.optimizer, model.loss, model.metrics, [*model.layers])
    with pytest.raises(exception) as error:
        call(model)
    check(error, message)
    assert state(model) == before
    assert (model.optimizer, model.loss, model.metrics, model.layers) == parts
    assert capsys.readouterr() == ("", "")
    model.optimizer.learning_rate = 0.01
    model.fit(X, targets(model), verbose=0)                 # and the model is as good as before


Dense, Sequential = layers.Dense, models.Sequential
ELSEWHERE = [
    ("fit before compile", lambda: Sequential([Dense(1, input_shape=(6,))]).fit(X, LABELS), RuntimeError,
     "Call compile(...) before fit()."),
    ("evaluate before compile", lambda: Sequential([Dense(1, input_shape=(6,))]).evaluate(X, LABELS), RuntimeError,
     "Call compile(...) before evaluate()."),
    ("train before compile", lambda: Sequential([Dense(1, input_shape=(6,))]).train_on_batch(X, LABELS), RuntimeError,
     "Call compile(...) before train_on_batch()."),
    ("test before compile", lambda: Sequential([Dense(1, input_shape=(6,))]).test_on_batch(X, LABELS), RuntimeError,
     "Call compile(...) before test_on_batch()."),
    ("predict before build", lambda: Sequential([Dense(1)]).predict(X), RuntimeError,
     ["does not know its input", "input_shape="]),
    ("predict without layers", lambda: Sequential().predict(X), RuntimeError, ["The model has no layers"]),
    ("x of one axis", lambda: one_input().fit(np.arange(5.0), np.arange(5.0), verbose=0), ValueError,
     ["Dense expects inputs of shape (batch, 1), received (5,).", "x = x.reshape(5, 1)"]),
    ("x of one axis, deferred", lambda: deferred().fit(np.arange(5.0), np.arange(5.0), verbose=0), ValueError,
     ["received (5,)", "reshape(5, 1)"]),
    ("Flatten", lambda: Sequential([layers.Flatten(input_shape=(2, 3))]).predict(X), ValueError,
     "Flatten expects inputs of shape (batch, 2, 3), received (20, 6). Reshape first: x = x.reshape(20, 2, 3)."),
    ("Dense after images", lambda: Sequential([Dense(3, input_shape=(28, 28))]), ValueError,
     "Dense takes samples of one axis, received samples of shape (28, 28). Put layers.Flatten() before it."),
    ("activation", lambda: Dense(3, "rleu"), ValueError,
     ["Unknown activation 'rleu'. Did you mean 'relu'? Available: elu, exponential, gelu, ", ", swish, tanh."]),
    ("Activation", lambda: layers.Activation("soft_max"), ValueError, ["Did you mean 'softmax'?"]),
    ("activation of one's own", lambda: Dense(3, activation=np.tanh), ValueError,
     "Unknown activation <ufunc 'tanh'>. A layer takes one of fastnn.activations; for a function of your own, put "
     "layers.Lambda(function) after the layer."),
    ("regularizer of one's own", lambda: Dense(3, kernel_regularizer=np.sum), ValueError,
     ["Unknown regularizer <function sum", "A penalty on weights is l1, l2 or both: use L1, L2 or L1L2 of"]),
    ("regularizer class of one's own", lambda: Dense(3, kernel_regularizer=OwnPenalty), ValueError,
     ["Unknown regularizer <class ", "A penalty on weights is l1, l2 or both"]),
    ("word misspelt", lambda: Dense(3, activaton="relu"), TypeError,
     "Dense has no argument 'activaton'. Did you mean 'activation'?"),
    ("word unknown", lambda: layers.Flatten(data_format="channels_first"), TypeError,
     "Flatten has no argument 'data_format'. It takes: name, dtype, input_shape, trainable."),
    ("batch_input_shape", lambda: Dense(3, batch_input_shape=(None, 3)), TypeError,
     "Dense has no argument 'batch_input_shape'. Give input_shape=, without the batch axis."),
    ("noise_shape", lambda: layers.Dropout(0.5, noise_shape=(1,)), TypeError,
     "Dropout has no argument 'noise_shape'. Leave it out: Dropout draws for each number by itself."),
    ("decay", lambda: optimizers.Adam(decay=1e-6), TypeError, ["Adam has no argument 'decay'. Give learning_rate a"]),
    ("axis of a loss", lambda: losses.CategoricalCrossentropy(axis=1), TypeError,
     "CategoricalCrossentropy has no argument 'axis'. The classes are the outputs' last axis."),
    ("ignore_class", lambda: losses.SparseCategoricalCrossentropy(ignore_class=0), TypeError,
     "SparseCategoricalCrossentropy has no argument 'ignore_class'. Give those samples the sample_weight 0."),
    ("loss_weights", lambda: one_input().compile("sgd", "mse", loss_weights=[2]), ValueError,
     "compile(): a model has one output, so loss_weights have nothing to weigh. Leave them out, or change the learning "
     "rate."),
    ("word of compile", lambda: one_input().compile("sgd", "mse", metric=["mae"]), TypeError,
     "compile() has no argument 'metric'. It takes optimizer, loss, metrics and weighted_metrics."),
    ("layer of one's own", lambda: Sequential([Dense(3, input_shape=(6,)), OwnLayer()]), TypeError,
     "OwnLayer computes in call(), which fastnn never runs. Write what it does as a function without weights, in "
     "layers.Lambda(function)."),
    ("model of one's own", lambda: OwnModel([Dense(3)]), TypeError,
     "OwnModel overrides train_step(), which fastnn never calls. Put a function between layers as "
     "layers.Lambda(function), and what training minimises into a loss of your own."),
    ("custom_objects", lambda: models.load_model("a.keras", custom_objects={"Own": None}), ValueError,
     ["load_model() makes objects of fastnn's own classes alone, so it has no use for custom_objects (Own). Load with "
      "compile=False"]),
    ("initializer", lambda: Dense(3, kernel_initializer="glorot"), ValueError,
     "Unknown initializer 'glorot'. Did you mean 'glorot_normal'? Available: constant, glorot_normal, "
     "glorot_uniform, he_normal, he_uniform, identity, lecun_normal, lecun_uniform, ones, orthogonal, random_normal, "
     "random_uniform, truncated_normal, variance_scaling, zeros."),
    ("optimizer None", lambda: optimizers.get(None), ValueError, ["Unknown optimizer None. Available: adagrad,"]),
    *((f"units {units!r}", lambda units=units: Dense(units), ValueError,
       f"Dense: units must be at least 1, received {units}.") for units in (0, -1)),
    *((f"units {units!r}", lambda units=units: Dense(units), TypeError,
       f"Dense: units must be an integer, received {units!r}.") for units in (2.5, True, "10", None)),
    ("input_shape 0", lambda: Dense(3, input_shape=(0,)), ValueError,
     "Each length in input_shape must be at least 1, received 0."),
    ("input_shape None", lambda: Dense(3, input_shape=(None, 6)), TypeError,
     "Each length in input_shape must be an integer, received None."),
    ("dtype", lambda: Dense(3, dtype="float16"), ValueError,
     "A layer's dtype must be 'float32' or 'float64', received 'float16'."),
    ("layers class", lambda: Sequential([Dense]), TypeError, ["A model is made of layers, received <class"]),
    *((f"learning_rate {rate!r}", lambda rate=rate: optimizers.SGD(rate), ValueError,
       f"SGD: learning_rate must be a finite number, 0 or more, received {rate!r}.")
      for rate in (-1, "a", None, float("nan"), float("inf"))),
    ("momentum", lambda: optimizers.SGD(momentum=1.5), ValueError, "SGD: momentum must be from 0 to 1, received 1.5."),
    ("rho", lambda: optimizers.RMSprop(rho=1.5), ValueError, ["RMSprop: rho must be", "received 1.5."]),
    ("beta_1", lambda: optimizers.Adam(beta_1=1.0), ValueError, "Adam: beta_1 must be below 1, received 1.0."),
    ("epsilon", lambda: optimizers.Adam(epsilon=-1), ValueError, ["Adam: epsilon must be a finite number, 0 or more"]),
    ("to_categorical", lambda: utils.to_categorical([0, 3], 3), ValueError,
     "Labels must be from 0 to num_classes - 1 = 2, received 0 to 3."),
    ("to_categorical negative", lambda: utils.to_categorical([-1, 2]), ValueError, ["received -1 to 2."]),
    ("to_categorical str", lambda: utils.to_categorical(["a"]), TypeError, ["y must hold integer labels, received"]),
    ("to_categorical rows", lambda: utils.to_categorical(Y), ValueError,
     "y must hold one integer label per sample, shape (n,), received shape (20, 3)."),
    *((f"seed {seed!r}", lambda seed=seed: utils.set_random_seed(seed), ValueError,
       f"The seed must be an integer, 0 or more, received {seed!r}.") for seed in (-1, 1.5, None, True)),
    *((f"threads {n!r}", lambda n=n: fastnn.set_num_threads(n), ValueError,
       f"The number of threads must be an integer from 1 to 256, received {n!r}.")
      for n in (0, -1, 257, 2.0, "2", None, True)),
]


def one_input():
    model = Sequential([Dense(1, input_shape=(1,))])
    model.compile("sgd", "mse")
    return model


def deferred():
    model = Sequential([Dense(3)])
    model.compile("sgd", "mse")
    return model


@pytest.mark.parametrize("call, exception, message", [row[1:] for row in ELSEWHERE], ids=[row[0] for row in ELSEWHERE])
def test_messages_without_a_trained_model(call, exception, message):
    threads = fastnn.info()["threads"]
    with pytest.raises(exception) as error:
        call()
    check(error, message)
    assert fastnn.info()["threads"] == threads


@pytest.mark.parametrize("x, y", [
    (X, Y[:, :2]), (X, Y[:19]), (X.astype(str), Y), (X[:0], Y[:0]), (X, None), (X[:, :4].reshape(N, 2, 2), Y),
], ids=["columns", "lengths", "dtype", "empty", "no y", "images"])
def test_a_refused_first_fit_leaves_an_unbuilt_model_unbuilt(x, y):
    """Otherwise it would stay tied to the shape of the wrong x."""
    model = deferred()
    with pytest.raises((ValueError, TypeError)):
        model.fit(x, y, verbose=0)
    assert not model.built and not model.weights
    model.fit(X[:, :5], Y, verbose=0)
    assert model.input_shape == (None, 5)


# A loss that is not finite


@pytest.mark.parametrize("watched", [False, True])
@pytest.mark.parametrize("where, blame", [("x", "first in the output of layer 'dense'"), ("y", "the loss itself")])
def test_a_loss_that_is_not_finite_stops_at_that_step(where, blame, watched):
    """Row 13 spoils batch 4 of 4 samples; a fit of the 3 batches before it has the same weights and slots."""
    x, y = X.copy(), Y.copy()
    (x if where == "x" else y)[13] = np.nan
    model, stopped_before = network("mse", "linear"), network("mse", "linear")
    watch = type("Watch", (Callback,), {"on_train_batch_end": lambda self, batch, logs: None})()
    with pytest.raises(RuntimeError) as error:
        model.fit(x, y, batch_size=4, epochs=3, shuffle=False, verbose=0, callbacks=[watch] if watched else [])
    check(error, [f"The loss is not finite at epoch 1, batch 4 ({blame}), with learning_rate=0.001.",
                  "The weights are those of the last finite step.", "Use a smaller learning rate"])
    stopped_before.fit(X[:12], Y[:12], batch_size=4, shuffle=False, verbose=0)
    assert state(model) == state(stopped_before)
    model.fit(X, Y, verbose=0)


class PupilsSGD(optimizers.Optimizer):
    def update_step(self, gradient, weight, slots):
        weight -= self.learning_rate * gradient


@pytest.mark.parametrize("optimizer", [optimizers.SGD, PupilsSGD])
def test_an_exploding_fit_is_blamed_on_the_layer_and_the_learning_rate_of_the_day(optimizer):
    """Epoch 2 takes one enormous step from a finite loss, and the outputs of epoch 3 overflow."""
    class Faster(Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                before.extend([state(self.model)])
                self.model.optimizer.learning_rate = 1e30

    before, model = [], network("mse", "linear", optimizer=optimizer(0.01))
    with pytest.raises(RuntimeError) as error:
        model.fit(X, Y, batch_size=N, epochs=5, verbose=0, callbacks=[Faster()])
    check(error, ["at epoch 3, batch 1 (first in the output of layer 'dense", "with learning_rate=1e+30."])
    assert state(model)[0] == before[0][0] + 1              # the step of epoch 2, whose loss was finite, was taken


def test_train_on_batch_refuses_a_loss_that_is_not_finite():
    model = network()
    before = state(model)
    with pytest.raises(RuntimeError, match="The loss is not finite"):
        model.train_on_batch(np.full_like(X, np.nan), Y)
    assert state(model) == before


@pytest.mark.parametrize("where", ["weight", "bias"])
def test_a_spoilt_weight_is_found_in_its_layer(where):
    model = network()
    getattr(model.layers[1], where)[...] = np.nan
    with pytest.raises(RuntimeError, match="first in the output of layer 'dense_1'"):
        model.fit(X, Y, verbose=0)


# Warnings


def test_bytes_are_warned_of_once_a_fit():
    images, model = (X * 255).astype("uint8"), network()
    for _ in range(2):
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            model.fit(images, Y, epochs=2, validation_data=(images, Y), verbose=0)
        assert [(w.category, w.filename) for w in found] == [(UserWarning, __file__)]   # the line of the user's fit
        assert re.search(r"uint8 values .*x = x.astype\('float32'\) / 255", str(found[0].message))


@pytest.mark.parametrize("x", [X, X * 255, (X > 0.5).astype("uint8"), X > 0.5, (X * 255).astype("int64")],
                         ids=["small", "float", "uint8 0 and 1", "bool", "int64"])
def test_other_numbers_are_not_warned_of(x, recwarn):
    network().fit(x, Y, verbose=0)
    assert not recwarn.list


def test_asking_with_bytes_is_not_warned_of(recwarn):
    model, images = network(), (X * 255).astype("uint8")
    model.predict(images)
    model.evaluate(images, Y)
    assert not recwarn.list


# The environment and threads


def import_with(**environment):
    path = os.pathsep.join(filter(None, [str(Path(fastnn.__file__).parent.parent), os.environ.get("PYTHONPATH")]))
    script = "import fastnn; print(fastnn.info()['isa'], fastnn.info()['threads'])"
    run = subprocess.run([sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": path, **environment},
                         capture_output=True, text=True, timeout=60)
    return run.stdout.strip() or run.stderr.strip().splitlines()[-1]


def test_the_environment_is_obeyed():
    assert import_with(FASTNN_ISA="baseline", FASTNN_NUM_THREADS="3") == "baseline 3"
    here = import_with(FASTNN_ISA="", FASTNN_NUM_THREADS="")
    assert here.split()[0] in fastnn.info()["isas"]


@pytest.mark.parametrize("value, most", [("1", 1), (" 1,2", 1), ("999", None), ("", None), ("0", None), ("all", None)])
def test_no_more_threads_than_openmp_is_told(value, most):
    allowed = import_with(FASTNN_NUM_THREADS="", OMP_NUM_THREADS="").split()[1]
    assert import_with(FASTNN_NUM_THREADS="", OMP_NUM_THREADS=value).split()[1] == str(most or allowed)
    assert import_with(FASTNN_NUM_THREADS="3", OMP_NUM_THREADS=value).split()[1] == "3"


@pytest.mark.parametrize("name, value, parts", [
    ("FASTNN_ISA", "avx9", ["ValueError", "'avx9' is not available", "Available: baseline", "Unset FASTNN_ISA"]),
    ("FASTNN_NUM_THREADS", "two", ["ValueError: FASTNN_NUM_THREADS must be", "received 'two'. Unset it"]),
    ("FASTNN_NUM_THREADS", "0", ["ValueError: FASTNN_NUM_THREADS must be", "from 1 to 256", "received", "0"]),
    ("FASTNN_NUM_THREADS", "-2", ["ValueError: FASTNN_NUM_THREADS must be", "received '-2'"]),
    ("FASTNN_NUM_THREADS", "300", ["ValueError: FASTNN_NUM_THREADS must be", "from 1 to 256", "received", "300"]),
])
def test_a_bad_environment_is_named(name, value, parts):
    message = import_with(**{name: value})
    for part in parts:
        assert part in message


def test_threads_are_restored_after_an_exception():
    before = fastnn.info()["threads"]
    with pytest.raises(KeyError):
        with fastnn.threads(before + 1):
            assert fastnn.info()["threads"] == before + 1
            raise KeyError
    assert fastnn.info()["threads"] == before
    with pytest.raises(ValueError, match="received 0"):
        with fastnn.threads(0):
            pytest.fail("unreachable")
    assert fastnn.info()["threads"] == before
