"""Keras' files: hand-made ones are read, ours come back and have Keras' layout, and hostile ones are refused.

tests/peers/test_files.py does the same with Keras itself."""

import io
import json
import random
import sys
import time
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

import fastnn
from fastnn import layers, models, optimizers, utils
from fastnn.saving import keras_files, keras_h5

h5py = pytest.importorskip("h5py")
GOLDEN = Path(__file__).parent / "golden"
X = np.random.default_rng(0).normal(size=(40, 4)).astype("float32")
Y = np.eye(2)[np.arange(40) % 2]
KERNEL, BIAS = np.arange(12, dtype="float32").reshape(4, 3) / 8, np.array([1, -1, 0.5], "float32")
OPTIMIZERS = {
    "sgd": lambda: optimizers.SGD(0.1), "momentum": lambda: optimizers.SGD(0.1, momentum=0.9, nesterov=True),
    "rmsprop": lambda: optimizers.RMSprop(0.01), "adagrad": lambda: optimizers.Adagrad(0.1),
    "adam": lambda: optimizers.Adam(0.01)}


def network(optimizer="adam", dtype=None):
    utils.set_random_seed(3)
    model = models.Sequential([layers.Dense(3, "relu", input_shape=(4,), dtype=dtype), layers.Dense(2, "softmax")])
    model.compile(OPTIMIZERS[optimizer](), "categorical_crossentropy", metrics=["accuracy", "mse"])
    return model


def fit(model):
    return model.fit(X, Y, batch_size=8, epochs=2, shuffle=False, verbose=0).history


def bits(model):
    """Weights, and the slots of those that train."""
    moves = {id(w) for w in model.trainable_weights}
    return [w.tobytes() for w in model.weights], [
        slot.tobytes() for w, row in zip(model.optimizer._weights, model.optimizer.slots or [], strict=True)
        if id(w) in moves for slot in row]


# Files by hand, as Keras has them


def entry(kind, **config):
    return {"module": "keras.layers", "class_name": kind, "config": config, "registered_name": None}


INPUT = entry("InputLayer", batch_shape=[None, 4], dtype="float32", sparse=False, name="input_layer")
DENSE = entry("Dense", name="dense", units=3, activation="relu")


def sequential(*listed, **words):
    return {"module": "keras", "class_name": "Sequential", "config": {"name": "s", "layers": list(listed), **words}}


MODEL = sequential(INPUT, DENSE)
WEIGHTS = {"layers/dense/vars/0": KERNEL, "layers/dense/vars/1": BIAS}


def hdf5(datasets=WEIGHTS, attributes=(), edit=lambda file: None):
    made = io.BytesIO()
    with h5py.File(made, "w") as file:
        for path, array in dict(datasets).items():
            file.create_dataset(path, data=array)
        for path, name, value in attributes:
            file.require_group(path).attrs[name] = value
        edit(file)
    return made.getvalue()


def zipped(files, compression=zipfile.ZIP_STORED):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, contents in files:
            archive.writestr(zipfile.ZipInfo(name), contents, compression)
    return made.getvalue()


def keras_file(config=MODEL, weights=None, more=(), text=None):
    weights = hdf5() if weights is None else weights
    return zipped([("metadata.json", '{"keras_version": "3.0.0"}'), ("config.json", text or json.dumps(config)),
                   ("model.weights.h5", weights), *more])


def h5_file(config=MODEL, training=None, more=(), paths=("dense/kernel:0", "dense/bias:0"), edit=lambda file: None,
            datasets=()):
    texts = [("/", "model_config", config if isinstance(config, (str, bytes)) else json.dumps(config)),
             ("model_weights/dense", "weight_names", np.array([p.encode() for p in paths])), *more]
    if training:
        texts.append(("/", "training_config", json.dumps(training)))
    arrays = {f"model_weights/dense/{path}": array for path, array in zip(paths, (KERNEL, BIAS), strict=False)}
    return hdf5(arrays | dict(datasets), texts, edit)


def read(data, suffix=".keras", compile=True):
    form = keras_h5 if suffix == ".h5" else keras_files
    if suffix == ".weights.h5":
        model = models.Sequential([layers.Dense(3, "relu", input_shape=(4,))])
        form.read_weights(model, memoryview(data), "a.weights.h5")
        return model
    return form.read(memoryview(data), f"a{suffix}", compile)


def check_hand_made(model):
    np.testing.assert_allclose(model.predict(X), np.maximum(X.astype(float) @ KERNEL + BIAS, 0), atol=1e-5)
    assert [w.flags.writeable for w in model.weights] == [True, True]


POLICY = {"module": "keras", "class_name": "DTypePolicy", "config": {"name": "float32"}, "registered_name": None}
SEEDED = {"module": "keras.initializers", "class_name": "GlorotUniform", "registered_name": None,
          "config": {"seed": None, "input_axes": None, "output_axes": None}}
VARIANTS = {
    "minimal": MODEL,
    "the batch axis of Keras 2": sequential({**INPUT, "config": {"batch_input_shape": [None, 4], "name": "i"}}, DENSE),
    "the shape on the first layer": sequential(entry("Dense", **DENSE["config"], batch_input_shape=[None, 4])),
    "the shape as a tuple": sequential(entry("InputLayer", batch_shape={"class_name": "__tuple__", "items": [None, 4]}),
                                       DENSE),
    "the shape on the model": sequential(DENSE, build_input_shape=[None, 4]),
    "a batch of 32": sequential(entry("InputLayer", batch_shape=[32, 4]), DENSE),
    "a policy of dtype": sequential(INPUT, entry("Dense", **DENSE["config"], dtype=POLICY), dtype=POLICY),
    "all options": sequential(INPUT, entry(
        "Dense", **DENSE["config"], trainable=True, use_bias=True, kernel_initializer=SEEDED, bias_regularizer=None,
        bias_initializer={"class_name": "Zeros", "config": {}}, kernel_constraint=None, quantization_config=None)),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_hand_made_models_are_read(name):
    check_hand_made(read(keras_file(VARIANTS[name])))
    check_hand_made(read(h5_file(VARIANTS[name]), ".h5"))


def test_names_and_shapes_come_from_the_file():
    model = read(keras_file())
    assert (model.name, model.layers[0].name, model.input_shape) == ("s", "dense", (None, 4))


def test_float64():
    config = sequential(entry("InputLayer", batch_shape=[None, 4], dtype="float64"),
                        entry("Dense", **DENSE["config"], dtype="float64"))
    model = read(keras_file(config, hdf5({path: array.astype(">f8") for path, array in WEIGHTS.items()})))
    assert model.dtype == "float64" and (model.weights[0] == KERNEL).all()


def test_the_paths_of_keras_2_12():
    check_hand_made(read(keras_file(weights=hdf5({path.replace("layers", "_layer_checkpoint_dependencies"): array
                                                  for path, array in WEIGHTS.items()}))))


def node(*names):
    """Inbound nodes of Keras 3."""
    tensors = [{"class_name": "__keras_tensor__", "config": {"shape": [None, 4], "keras_history": [n, 0, 0]}}
               for n in names]
    return [{"args": tensors, "kwargs": {"training": None}}]


def functional(*listed, outputs=None):
    """A Functional model of (entry, inbound nodes)."""
    listed = [{**layer, "name": layer["config"]["name"], "inbound_nodes": nodes} for layer, nodes in listed]
    return {"class_name": "Functional", "config": {
        "name": "f", "layers": listed, "input_layers": [["input_layer", 0, 0]],
        "output_layers": outputs or [[listed[-1]["name"], 0, 0]]}}


SECOND = entry("Dense", name="second", units=3)


@pytest.mark.parametrize("nodes", [node("input_layer"), [[["input_layer", 0, 0, {}]]]], ids=["keras 3", "keras 2"])
def test_a_functional_model_of_one_chain_is_a_sequential_one(nodes):
    check_hand_made(read(keras_file(functional((INPUT, []), (DENSE, nodes)))))
    check_hand_made(read(keras_file(functional((DENSE, nodes), (INPUT, []), outputs=[["dense", 0, 0]]))))


BRANCHES = {
    "two layers of one input": functional((INPUT, []), (DENSE, node("input_layer")), (SECOND, node("input_layer"))),
    "a sum": functional((INPUT, []), (DENSE, node("input_layer", "input_layer"))),
    "a layer used twice": functional((INPUT, []), (DENSE, node("input_layer") + node("dense"))),
    "two inputs": functional((INPUT, []), (entry("InputLayer", batch_shape=[None, 4], name="b"), []),
                             (DENSE, node("input_layer"))),
    "two outputs": functional((INPUT, []), (DENSE, node("input_layer")), (SECOND, node("dense")),
                              outputs=[["dense", 0, 0], ["second", 0, 0]]),
    "an output in the middle": functional((INPUT, []), (DENSE, node("input_layer")), (SECOND, node("dense")),
                                          outputs=[["dense", 0, 0]]),
    "a ring": functional((INPUT, []), (DENSE, node("second")), (SECOND, node("dense"))),
}


@pytest.mark.parametrize("name", BRANCHES)
def test_functional_models_of_other_forms_are_refused(name):
    with pytest.raises(fastnn.FormatError, match="one chain"):
        read(keras_file(BRANCHES[name]))


COMPILED = {"optimizer": {"class_name": "Adam", "config": {"name": "adam", "learning_rate": 0.0010000000474974513,
                                                           "beta_1": 0.5, "use_ema": False, "ema_momentum": 0.99,
                                                           "amsgrad": False, "clipnorm": None}},
            "loss": {"class_name": "MeanSquaredError", "config": {"name": "mean_squared_error",
                                                                  "reduction": "sum_over_batch_size"}},
            "loss_weights": None, "weighted_metrics": None, "jit_compile": True, "steps_per_execution": 1,
            "metrics": [["accuracy", {"class_name": "MeanAbsoluteError", "config": {"name": "m", "dtype": "float32"}}]]}


def test_compile_words_and_optimizer_state():
    state = {"0": np.int64(7), "1": np.float32(0.001), "2": KERNEL + 1, "3": KERNEL + 2, "4": BIAS + 3, "5": BIAS + 4}
    arrays = WEIGHTS | {f"optimizer/vars/{name}": value for name, value in state.items()}
    data = keras_file({**MODEL, "compile_config": COMPILED}, hdf5(arrays))
    model = read(data)
    assert model.optimizer.learning_rate == 0.001 and model.optimizer.beta_1 == 0.5
    assert model.metrics_names == ["loss", "accuracy", "m"] and model.loss.name == "mean_squared_error"
    assert model.optimizer.iterations == 7
    assert [float((slot - weight).max()) for row, weight in zip(model.optimizer.slots, model.weights, strict=True)
            for slot in row] == [1, 2, 3, 4]
    assert read(data, compile=False).optimizer is None


def test_state_of_another_optimizer_is_left_with_a_warning():
    data = keras_file({**MODEL, "compile_config": COMPILED}, hdf5(WEIGHTS | {
        "optimizer/vars/0": np.int32(7), "optimizer/vars/1": np.float32(0.1), "optimizer/vars/2": KERNEL}))
    with pytest.warns(UserWarning, match="3 variables of an optimizer, and Adam 6: its state is not loaded"):
        model = read(data)
    assert model.optimizer.iterations == 0


@pytest.mark.parametrize("interleaved", [True, False], ids=["with the learning rate", "slot by slot"])
def test_optimizer_state_of_older_files(interleaved):
    values = [np.int64(7), np.float32(0.001), KERNEL + 1, KERNEL + 2, BIAS + 3, BIAS + 4]
    names = ["iteration", "learning_rate", "a", "b", "c", "d"]
    if not interleaved:
        values, names = [values[i] for i in (0, 2, 4, 3, 5)], ["Adam/iter:0", "a", "c", "b", "d"]
    training = {"optimizer_config": COMPILED["optimizer"], "loss": "mse", "metrics": [
        [{"class_name": "MeanMetricWrapper", "config": {"name": "acc", "dtype": "float32", "fn": "binary_accuracy"}}]]}
    model = read(h5_file(training=training, more=[("optimizer_weights", "weight_names", names)],
                         datasets={f"optimizer_weights/{n}": v for n, v in zip(names, values, strict=True)}), ".h5")
    assert model.metrics_names == ["loss", "acc"] and model.optimizer.iterations == 7
    assert [float((slot - weight).max()) for row, weight in zip(model.optimizer.slots, model.weights, strict=True)
            for slot in row] == [1, 2, 3, 4]


# What comes back


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_training_goes_on_from_a_file(optimizer, dtype, tmp_path):
    model = network(optimizer, dtype)
    fit(model)
    model.save(tmp_path / "模型.keras")
    again = models.load_model(tmp_path / "模型.keras")
    assert bits(again) == bits(model) and again.optimizer.iterations == model.optimizer.iterations
    assert again.optimizer.get_config() == model.optimizer.get_config()
    assert fit(again) == fit(model) and bits(again) == bits(model)


def test_every_layer_comes_back(tmp_path):
    model = models.Sequential([
        layers.Input((4, 5)), layers.Rescaling(1 / 2), layers.Flatten(), layers.Dense(6, "tanh", use_bias=False),
        layers.Activation("sigmoid"), layers.Dense(3, kernel_initializer="zeros", name="last", trainable=False)])
    model.save(tmp_path / "a.keras")
    again = models.load_model(tmp_path / "a.keras")
    x = np.random.default_rng(1).normal(size=(7, 4, 5)).astype("float32")
    assert (again.predict(x) == model.predict(x)).all()
    assert again.layers[-1].name == "last" and not again.layers[-1].trainable and again.loss is None


def test_every_layer_that_normalizes_comes_back(dtype, tmp_path):
    utils.set_random_seed(5)
    model = models.Sequential([
        layers.Normalization(input_shape=(4,), dtype=dtype), layers.Dense(6), layers.BatchNormalization(momentum=0.9),
        layers.ReLU(6.0, 0.1), layers.Dropout(0.25, seed=3), layers.Reshape((2, -1)), layers.LayerNormalization(),
        layers.LeakyReLU(), layers.Flatten(), layers.Dense(4, "gelu", kernel_regularizer="l2"), layers.ELU(0.5),
        layers.BatchNormalization(scale=False, trainable=False), layers.Rescaling(0.5, 1.0), layers.Dense(2),
        layers.Softmax()])
    model.layers[0].adapt(X * 3 + 1)
    model.compile(optimizers.Adam(optimizers.schedules.CosineDecay(0.01, 50)), "categorical_crossentropy")
    fit(model)
    model.save(tmp_path / "a.keras")
    again = models.load_model(tmp_path / "a.keras")
    assert (again.predict(X) == model.predict(X)).all() and bits(again) == bits(model)
    for layer, other in zip(model.layers, again.layers, strict=True):
        words, others = layer.get_config(), other.get_config()
        for word in ("input_shape", "mean", "variance"):        # the moments are rounded to the model's dtype
            words.pop(word, None), others.pop(word, None)
        assert type(layer) is type(other) and words == others
    again._seed = model._seed               # which Keras' files do not keep, and Dropout follows
    assert fit(again) == fit(model) and bits(again) == bits(model)
    model.save_weights(tmp_path / "a.weights.h5")
    twin = models.clone_model(model)
    twin.load_weights(tmp_path / "a.weights.h5")
    assert (twin.predict(X) == model.predict(X)).all()


def test_weights_alone(tmp_path):
    model, other = network(), network("sgd")
    fit(model)
    model.save_weights(tmp_path / "a.weights.h5")
    with pytest.warns(UserWarning, match="10 variables of an optimizer, and SGD 2"):
        other.load_weights(tmp_path / "a.weights.h5")
    assert bits(other)[0] == bits(model)[0]
    twin = network()
    twin.load_weights(tmp_path / "a.weights.h5")
    assert bits(twin) == bits(model)
    wide = models.Sequential([layers.Dense(3, input_shape=(4,)), layers.Dense(5)])
    before = wide.get_weights()
    with pytest.raises(fastnn.FormatError, match=r"a.weights.h5 cannot be loaded: its /layers/dense_1/vars/0 is "
                       r"float32 of shape \(3, 2\), expected f4 of shape \(3, 5\)"):
        wide.load_weights(tmp_path / "a.weights.h5")
    assert all((a == b).all() for a, b in zip(before, wide.get_weights(), strict=True))


def test_the_layout_is_that_of_keras(tmp_path):
    model = models.Sequential([layers.Flatten(input_shape=(2, 2)), layers.Dense(3), layers.Dense(2)])
    model.compile("adam", "mse", metrics=["acc"])
    model.save(tmp_path / "a.keras")
    with zipfile.ZipFile(tmp_path / "a.keras") as archive:
        assert archive.namelist() == ["metadata.json", "config.json", "model.weights.h5"]
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        config = json.loads(archive.read("config.json"))
        found = {}
        with h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as file:
            file.visititems(lambda name, thing: found.update({name: getattr(thing, "shape", None)}))
    assert [layer["class_name"] for layer in config["config"]["layers"]] == ["InputLayer", "Flatten", "Dense", "Dense"]
    assert config["config"]["layers"][0]["config"]["batch_shape"] == [None, 2, 2]
    assert config["compile_config"]["metrics"] == ["acc"]
    assert config["compile_config"]["optimizer"]["config"]["learning_rate"] == 0.001
    shapes = {"layers/dense/vars/0": (4, 3), "layers/dense/vars/1": (3,), "layers/dense_1/vars/0": (3, 2),
              "optimizer/vars/0": (), "optimizer/vars/1": (), "optimizer/vars/2": (4, 3), "optimizer/vars/4": (3,)}
    assert found.items() >= shapes.items() and "layers/flatten/vars" in found and "optimizer/vars/9" in found


def test_without_the_optimizer(tmp_path):
    model = network()
    model.save(tmp_path / "a.keras", include_optimizer=False)
    assert models.load_model(tmp_path / "a.keras").loss is None


def test_what_keras_does_not_have_is_refused_before_anything_is_written(tmp_path):
    class Own(optimizers.Optimizer):
        def update_step(self, gradient, weight, slots):
            pass

    model = network()
    model.compile(Own(0.1), "mse")
    with pytest.raises(TypeError, match="Own is not one of Keras' optimizers: "):
        model.save(tmp_path / "a.keras")
    odd = models.Sequential([layers.Lambda(lambda x: x, input_shape=(3,))])
    with pytest.raises(TypeError, match="is a Lambda, which Keras does not have"):
        odd.save(tmp_path / "a.keras")
    odd = models.Sequential([layers.Dense(2, "gelu_tanh", input_shape=(3,))])
    with pytest.raises(TypeError, match="activation='gelu_tanh', which Keras knows no name of"):
        odd.save(tmp_path / "a.keras")
    with pytest.raises(ValueError, match="older format .h5 is only read. Save as .keras"):
        network().save(tmp_path / "a.h5")
    with pytest.raises(ValueError, match="give its first layer input_shape="):
        models.Sequential([layers.Dense(3)]).save(tmp_path / "a.keras")
    assert not list(tmp_path.iterdir())


def test_writing_without_h5py_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r'needs h5py. Install it with: pip install "fastnn-cpu\[keras\]"'):
        network().save(tmp_path / "a.keras")


def test_reading_needs_no_library(tmp_path, monkeypatch):
    data = keras_file()
    monkeypatch.setitem(sys.modules, "h5py", None)
    check_hand_made(read(data))


def test_golden_files(tmp_path):
    """Files that Keras 3.15 has written, which every version reads."""
    with zipfile.ZipFile(GOLDEN / "keras.zip") as archive:
        archive.extractall(tmp_path)
    x = np.linspace(-1, 1, 8, dtype="float32").reshape(2, 4)
    expected = json.loads((tmp_path / "keras.json").read_text())
    for name in ("model.keras", "model.h5"):
        model = models.load_model(tmp_path / name)
        np.testing.assert_allclose(model.predict(x), expected["outputs"], atol=5e-7)
        assert model.optimizer.iterations == expected["iterations"]
    other = models.load_model(tmp_path / "model.keras", compile=False)
    for weight in other.weights:
        weight[...] = 0
    other.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_allclose(other.predict(x), expected["outputs"], atol=5e-7)


# Options


def with_option(**words):
    return sequential(INPUT, entry("Dense", **{**DENSE["config"], **words}))


REFUSED = {
    "an unsupported layer": (sequential(INPUT, DENSE, entry("Conv2D", name="conv2d", filters=3)),
                             r"layer 2 \('conv2d', Conv2D\) is not supported in fastnn, which reads: .*Dense"),
    "a constraint": (with_option(kernel_constraint={"class_name": "Mine", "config": {}}),
                     "kernel_constraint 'Mine' is not supported in fastnn, which reads: MaxNorm, MinMaxNorm, NonNeg"),
    "a constraint of normalization": (sequential(INPUT, entry("BatchNormalization", name="b", gamma_constraint={
        "class_name": "NonNeg", "config": {}})), "gamma_constraint="),
    "lora": (with_option(lora_rank=4), "lora_rank=4, which fastnn does not have"),
    "a renormalization": (sequential(INPUT, entry("BatchNormalization", name="b", renorm=True)), "renorm=True"),
    "an axis that is not the last": (sequential(entry("InputLayer", batch_shape=[None, 3, 4]), entry(
        "BatchNormalization", name="b", axis=1)), "last axis"),
    "a normalization backwards": (sequential(INPUT, entry("Normalization", name="n", invert=True)), "invert=True"),
    "a shape of dropout": (sequential(INPUT, entry("Dropout", name="d", rate=0.5, noise_shape=[1, 4])), "noise_shape"),
    "two axes": (sequential(INPUT, entry("LayerNormalization", name="n", axis=[1, 2])), "axis"),
    "an unknown initializer": (with_option(kernel_initializer={"class_name": "Mine", "config": {}}), "'Mine' is not"),
    "an unknown regularizer": (with_option(kernel_regularizer={"class_name": "Mine", "config": {}}), "'Mine' is not"),
    "channels first": (sequential(INPUT, entry("Flatten", name="f", data_format="channels_first")), "channels_first"),
    "mixed precision": (with_option(dtype={"class_name": "DTypePolicy", "config": {"name": "mixed_float16"}}),
                        "dtype 'mixed_float16', fastnn has float32 and float64"),
    "an unknown activation": (with_option(activation="my_own"), r"layer 1 \('dense', Dense\): Unknown activation"),
    "a model in a model": (sequential(INPUT, {**MODEL, "config": {**MODEL["config"], "name": "inner"}}),
                           r"layer 1 \('inner', Sequential\) is not supported"),
    "another kind of model": ({**MODEL, "class_name": "MyModel"}, "model is a 'MyModel'"),
    "no input": (sequential(DENSE), "saved before it knew its input"),
    "an unknown length": (sequential(entry("InputLayer", batch_shape=[None, None, 4]), DENSE), "must be known"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_fastnn_does_not_have_is_named(name):
    config, message = REFUSED[name]
    with pytest.raises(fastnn.FormatError, match=f"^a.keras cannot be loaded: .*{message}"):
        read(keras_file(config))


@pytest.mark.parametrize("word, value", [
    ("loss", {"class_name": "CTC", "config": {}}), ("loss", "my_loss"), ("loss_weights", [0.5]),
    ("optimizer", {"class_name": "Lion", "config": {}}), ("metrics", ["my_metric"]),
    ("metrics", [{"class_name": "Accuracy", "config": {"name": "accuracy"}}]), ("loss", None),
    ("optimizer", {"class_name": "RMSprop", "config": {"centered": True}}),
    ("optimizer", {"class_name": "SGD", "config": {"use_ema": True}})])
def test_compile_words_that_fastnn_lacks(word, value):
    data = keras_file({**MODEL, "compile_config": {**COMPILED, word: value}})
    with pytest.raises(fastnn.FormatError, match="compile=False"):
        read(data)
    check_hand_made(read(data, compile=False))


# Hostile and damaged files


def lambda_layer(**function):
    return sequential(INPUT, entry("Lambda", name="lambda", **function))


CODE = {"class_name": "__lambda__", "config": {"code": "4wEAAAAAAAAA", "defaults": None, "closure": None}}


def injected(module, name):
    return {"module": module, "class_name": name, "config": {"name": "x"}, "registered_name": name}


def linked(target):
    def edit(file):
        del file["layers/dense/vars/0"]
        file["layers/dense/vars/0"] = target

    return hdf5(edit=edit)


def replaced(**options):
    """The kernel stored in another way."""
    def edit(file):
        del file["layers/dense/vars/0"]
        file["layers/dense/vars"].create_dataset("0", **{"shape": (4, 3), "dtype": "f4", **options})

    return hdf5(edit=edit)


def virtual(file):
    del file["layers/dense/vars/0"]
    layout = h5py.VirtualLayout((4, 3), "f4")
    layout[...] = h5py.VirtualSource("/etc/passwd", "x", (4, 3))
    file["layers/dense/vars"].create_virtual_dataset("0", layout)


def changed_size(data, by):
    """A zip whose list says other sizes."""
    at = data.rindex(b"PK\1\2")
    size = int.from_bytes(data[at + 24:at + 28], "little") + by
    return data[:at + 20] + size.to_bytes(4, "little") * 2 + data[at + 28:]


WHOLE = keras_file()
JSON = json.dumps(MODEL)
ENTRIES = [("metadata.json", "{}"), ("config.json", JSON), ("model.weights.h5", hdf5())]
LEGACY = h5_file()
HOSTILE = {
    # By the numbers that Keras' own got
    "CVE-2024-3660, a Lambda of marshalled code": (keras_file(lambda_layer(function=CODE)), "Lambda.* not supported"),
    "CVE-2025-1550, a module and a function": (keras_file(sequential(INPUT, injected("builtins", "eval"))), "not supp"),
    "CVE-2025-1550, in place of an activation": (
        keras_file(with_option(activation={"module": "subprocess", "class_name": "function", "config": "Popen",
                                           "registered_name": "function"})), "activation="),
    "CVE-2025-1550, in place of an initializer": (
        keras_file(with_option(kernel_initializer={"module": "os", "class_name": "system", "config": {}})), "'system'"),
    "CVE-2025-1550, in place of the model": (keras_file(injected("builtins", "exec")), "its model is a 'exec'"),
    "CVE-2025-8747, get_file": (keras_file(sequential(INPUT, injected("keras.utils", "get_file"))), "not supported"),
    "CVE-2025-9905, a Lambda in .h5": (h5_file(lambda_layer(function=CODE)), "Lambda.* not supported"),
    "CVE-2025-9906, safe mode off": (
        keras_file(sequential(injected("keras.config", "enable_unsafe_deserialization"), INPUT)), "not supported"),
    "CVE-2025-12058, a vocabulary to read": (
        keras_file(sequential(INPUT, entry("StringLookup", name="s", vocabulary="/etc/passwd"))), "not supported"),
    "CVE-2025-12060, a path out of the folder": (keras_file(more=[("../../evil.py", "x")]), "it holds ../../evil.py"),
    "CVE-2026-0897, a huge shape": (keras_file(weights=replaced(shape=(2**40, 3))), "expected f4 of shape"),
    "CVE-2026-0897, in the configuration too": (
        keras_file(sequential(entry("InputLayer", batch_shape=[None, 2**40]), DENSE), replaced(shape=(2**40, 3))),
        "the file does not hold"),
    "CVE-2026-1669, an array in another file": (
        keras_file(weights=replaced(external=[("/etc/passwd", 0, 48)])), "lies in another file"),
    "CVE-2026-1669, an external link": (keras_file(weights=linked(h5py.ExternalLink("/etc/passwd", "x"))), "links"),
    # Configurations
    "a billion units": (keras_file(with_option(units=10**9)), r"expected f4 of shape \(4, 1000000000\)"),
    "units of 2^80": (keras_file(with_option(units=2**80)), "expected f4"),
    "no units": (keras_file(sequential(INPUT, entry("Dense", name="dense"))), "units"),
    "negative units": (keras_file(with_option(units=-3)), "units must be at least 1"),
    "units as text": (keras_file(with_option(units="3")), "units must be an integer"),
    "a name that is a list": (keras_file(with_option(name=["x"])), "where a name is expected"),
    "a class that is a number": (keras_file(sequential(INPUT, {"class_name": 3, "config": {}})), "name is expected"),
    "a layer that is a number": (keras_file(sequential(INPUT, 3)), "no class_name and config"),
    "words that are a list": (keras_file(sequential(INPUT, {"class_name": "Dense", "config": []})), "no class_name"),
    "layers that are a number": (keras_file({**MODEL, "config": {"name": "s", "layers": 3}}), "no list of up to 1000"),
    "no layers": (keras_file(sequential()), "no list of up to 1000 layers"),
    "5,000 layers": (keras_file(sequential(*[DENSE] * 5000)), "values|layers"),
    "a list": (keras_file(text="[]"), "describes no model"),
    "not JSON": (keras_file(text="{a}"), "Expecting property name"),
    "a word twice": (keras_file(text=JSON.replace('"class_name"', '"config": {}, "class_name"', 1)), "twice"),
    "NaN": (keras_file(text=JSON.replace("3,", "NaN,", 1)), "the number NaN"),
    "deep JSON": (keras_file(text='{"a":' + "[" * 30_000 + "]" * 30_000 + "}"), "recursion|nested"),
    "JSON of many values": (keras_file(text="[" + "[]," * 10**6 + "[]]"), "values"),
    "JSON of 3 MB": (keras_file(text=JSON + " " * 3 * 10**6), "bytes"),
    "half a character": (keras_file(text=JSON.replace("dense", "\\ud800")), "surrogate"),
    "many digits": (keras_file(text=JSON.replace("3,", "3" * 5000 + ",", 1)), "cannot be loaded"),
    "an optimizer that is a function": (
        keras_file({**MODEL, "compile_config": {**COMPILED, "optimizer": injected("builtins", "print")}}), "print"),
    "a schedule that is a function": (
        keras_file({**MODEL, "compile_config": {**COMPILED, "optimizer": {
            "class_name": "SGD", "config": {"learning_rate": injected("builtins", "print")}}}}), "learning_rate"),
    "compile words that are a list": (keras_file({**MODEL, "compile_config": [1]}), "not a dictionary"),
    "an infinite learning rate": (
        keras_file({**MODEL, "compile_config": {**COMPILED, "optimizer": {
            "class_name": "SGD", "config": {"learning_rate": -1}}}}), "learning_rate"),
    # Archives
    "nothing": (b"", "no zip archive"),
    "no zip": (b"x" * 1000, "no zip archive"),
    "half a file": (WHOLE[:len(WHOLE) // 2], "no zip archive"),
    "an entry twice": (
        keras_file(more=[("config.jsoN", "{}")]).replace(b"jsoN", b"json"), "'config.json' is there twice"),
    "another entry": (keras_file(more=[("assets/vocabulary.txt", "x")]), "it holds assets/vocabulary.txt"),
    "no weights": (zipped(ENTRIES[:2]), "it holds config.json, metadata.json, but"),
    "2,000 entries": (zipped([(str(i), "") for i in range(2000)]), "list of 2000 entries"),
    "a compressed bomb": (zipped([*ENTRIES[:2], ("model.weights.h5", bytes(10**7))],
                                 compression=zipfile.ZIP_DEFLATED), "compressed"),
    "a compressed file": (zipped(ENTRIES, compression=zipfile.ZIP_DEFLATED), "is compressed or encrypted"),
    "an entry longer than the file": (changed_size(WHOLE, 10**6), "damaged or cut short"),
    "an entry shorter than it is": (changed_size(WHOLE, -8), "damaged or cut short"),
    "a flipped bit in the weights": (WHOLE.replace(BIAS.tobytes(), (BIAS * 2).tobytes()), "damaged"),
    "text after the end": (WHOLE + b"x", "no zip archive"),
    # HDF5
    "weights that are no HDF5": (keras_file(weights=b"x" * 5000), "no HDF5 file"),
    "weights cut short": (keras_file(weights=hdf5()[:-100]), "cut short"),
    "weights of the newest layout": (keras_file(weights=b"\x89HDF\r\n\x1a\n\3" + bytes(500)), "layout"),
    "a soft link": (keras_file(weights=linked(h5py.SoftLink("/layers/dense/vars/1"))), "soft link"),
    "a virtual array": (keras_file(weights=hdf5(edit=virtual)), "chunks, compressed or virtual"),
    "a compressed array": (keras_file(weights=replaced(chunks=(4, 3), compression="gzip")), "chunks, compressed"),
    "an array in chunks": (keras_file(weights=replaced(chunks=(2, 3))), "chunks, compressed or virtual"),
    "an array that is not there": (keras_file(weights=replaced(fillvalue=1)), "which the file does not hold"),
    "integers": (keras_file(weights=replaced(dtype="i4")), "is int32 of shape"),
    "halves": (keras_file(weights=replaced(dtype="f2")), "no number"),
    "doubles": (keras_file(weights=replaced(dtype="f8")), "is float64 of shape"),
    "text": (keras_file(weights=replaced(dtype=h5py.string_dtype())), "no number"),
    "another shape": (keras_file(weights=replaced(shape=(3, 4))), r"of shape \(3, 4\), expected f4 of shape \(4, 3\)"),
    "a missing array": (keras_file(weights=hdf5({"layers/dense/vars/0": KERNEL})), "it has no /layers/dense/vars/1"),
    "one array more": (keras_file(weights=hdf5({**WEIGHTS, "layers/dense/vars/2": BIAS})), "has 2 arrays, .* 3"),
    "one layer more": (keras_file(weights=hdf5({**WEIGHTS, "layers/dense_1/vars/0": BIAS})), "does not have: dense_1"),
    "no layers there": (keras_file(weights=hdf5({"a": BIAS})), "no group of layers"),
    "a group in place of an array": (keras_file(weights=hdf5({"layers/dense/vars/0/x": KERNEL})), "not an array"),
    "an array in place of a group": (keras_file(weights=hdf5({"layers/dense/vars": KERNEL})), "is no group"),
}
LEGACY_HOSTILE = {
    "a list": (h5_file("[]"), "describes no model"),
    "weights alone": (hdf5(), "weights without a model"),
    "a configuration that is a number": (hdf5({}, [("/", "model_config", 3)]), "not text"),
    "a configuration of 3 MB": (h5_file("x" * 3 * 10**6), "bytes"),
    "a million names": (h5_file(more=[("model_weights/dense", "weight_names", ["x"] * 4000)]), "not text of at most 8"),
    "names of other layers": (h5_file(paths=("dense/kernel:0",)), "1 arrays for layer 'dense', which needs more"),
    "a name too many": (h5_file(more=[("model_weights/dense", "weight_names",
                                       ["dense/kernel:0", "dense/bias:0", "x"])]),
                        "3 arrays for layer 'dense', which has 2"),
    "a path to elsewhere": (h5_file(more=[("model_weights/dense", "weight_names", ["../../model_weights", "x"])]),
                            "it has no /model_weights/dense/"),
    "no weights": (hdf5({}, [("/", "model_config", JSON)]), "no /model_weights"),
    "half a file": (LEGACY[:len(LEGACY) // 2], "cut short"),
    "an unsupported layer": (h5_file(sequential(INPUT, entry("Conv2D", name="c"))), r"layer 1 \('c', Conv2D\)"),
}


def check_refused(data, suffix, message):
    tracemalloc.start()
    start = time.perf_counter()
    try:
        with pytest.raises(fastnn.FormatError, match=message) as caught:
            read(data, suffix)
        assert str(caught.value).startswith(f"a{suffix} cannot be loaded: ")
        assert time.perf_counter() - start < 1
        assert tracemalloc.get_traced_memory()[1] < len(data) + 2**24
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused(name):
    data, message = HOSTILE[name]
    check_refused(data, ".h5" if data.startswith(b"\x89HDF") else ".keras", message)


@pytest.mark.parametrize("name", LEGACY_HOSTILE)
def test_hostile_older_files_are_refused(name):
    check_refused(LEGACY_HOSTILE[name][0], ".h5", LEGACY_HOSTILE[name][1])


def test_a_group_that_holds_itself():
    def edit(file):
        file["layers/dense/vars/0/x"] = KERNEL
        file["layers/dense/vars/0/y"] = file["layers"]

    check_refused(keras_file(weights=hdf5({}, edit=edit)), ".keras", "not an array")


def test_strings_that_share_one_heap_object():
    """A small file must not become large: many names in one long string."""
    long = "x" * 4_000_000
    data = h5_file(more=[("model_weights/dense", "weight_names", [long] * 8)])
    check_refused(data, ".h5", "damaged, or of more than|is missing|no /model_weights")


@pytest.mark.parametrize("suffix, data", [(".keras", WHOLE), (".h5", LEGACY), (".weights.h5", hdf5())])
def test_every_truncation_is_refused(suffix, data):
    for length in range(0, len(data), 37):
        with pytest.raises(fastnn.FormatError):
            read(data[:length], suffix)


@pytest.mark.parametrize("suffix, data", [(".keras", WHOLE), (".h5", LEGACY), (".weights.h5", hdf5())])
def test_random_changes_are_read_or_refused(suffix, data):
    """There is no digest in these formats: changed numbers load, and nothing else happens."""
    generator = random.Random(1)
    for _ in range(3000):
        changed = bytearray(data)
        for _ in range(generator.choice([1, 1, 2, 8])):
            place = generator.randrange(len(data))
            changed[place] = generator.choice([0, 255, generator.randrange(256), changed[place] ^ 1])
        try:
            read(bytes(changed), suffix)
        except fastnn.FormatError as error:
            assert str(error).startswith(f"a{suffix} cannot be loaded")


def test_random_changes_of_configurations():
    """Those whose check sums are right."""
    config = sequential(
        INPUT, DENSE, entry("Dropout", name="d", rate=0.5, seed=3), entry("ReLU", name="r", max_value=6.0),
        entry("Reshape", name="s", target_shape=[3, -1]), entry("Flatten", name="f", data_format="channels_last"),
        entry("Rescaling", name="x", scale=0.5, offset=1.0), entry("Normalization", name="n", mean=[1, 2, 3],
                                                                  variance=[1, 1, 1], axis=[-1]),
        entry("Softmax", name="y", axis=-1))
    compiled = {**COMPILED, "optimizer": {"class_name": "SGD", "config": {"learning_rate": {
        "class_name": "CosineDecay", "config": {"initial_learning_rate": 0.1, "decay_steps": 100}}, "clipnorm": 1.0}}}
    data = keras_file({**config, "compile_config": compiled})
    assert len(read(data).layers) == 8
    generator, text = random.Random(2), json.dumps({**config, "compile_config": compiled})
    parts = ["null", "true", "-1", "1e999", "[]", "{}", '"x"', '"Dense"', '"__tuple__"', "0", "[[1]]", "9" * 30]
    words = [text[i:] for i in range(len(text)) if text[i] in '"[{tfn0123456789']
    for _ in range(2000):
        word = generator.choice(words)
        try:
            end = json.JSONDecoder().raw_decode(word)[1]
        except ValueError:
            continue
        start = len(text) - len(word)
        try:
            read(keras_file(text=text[:start] + generator.choice(parts) + text[start + end:]))
        except fastnn.FormatError:
            pass


def test_nothing_is_run():
    """Neither imports of code, nor exec, nor sockets, nor processes, nor other files."""
    read(WHOLE), read(LEGACY, ".h5")
    events = []
    watched = ("import", "exec", "compile", "marshal.loads", "pickle.find_class", "socket.connect", "subprocess.Popen",
               "os.system", "open")
    active = [True]
    sys.addaudithook(lambda event, _: events.append(event) if active[0] and event in watched else None)
    for data, _ in [*HOSTILE.values(), (WHOLE, "")]:
        try:
            read(data, ".h5" if data.startswith(b"\x89HDF") else ".keras")
        except fastnn.FormatError:
            pass
    active[0] = False
    assert not events




def test_training_goes_on_to_the_same_bits_from_a_keras_file(tmp_path):
    """Seed and place in the stream of permutations are kept beside what Keras reads."""
    def make():
        utils.set_random_seed(4)
        model = models.Sequential([layers.Dense(8, "relu", input_shape=(4,)), layers.Dropout(0.5), layers.Dense(2)])
        model.compile(optimizers.Adam(0.003), "mse")
        return model

    x, y = np.random.default_rng(0).random((30, 4)), np.random.default_rng(1).random((30, 2))
    whole, half = make(), make()
    whole.fit(x, y, epochs=4, batch_size=8, verbose=0)
    half.fit(x, y, epochs=2, batch_size=8, verbose=0)
    half.save(tmp_path / "a.keras")
    again = models.load_model(tmp_path / "a.keras")
    again.fit(x, y, epochs=4, initial_epoch=2, batch_size=8, verbose=0)
    for found, expected in zip(again.weights, whole.weights, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("own", [3, {"seed": 1}, {"seed": -1, "epochs": 0}, {"seed": 1, "epochs": 2**60},
                                 {"seed": "1", "epochs": 0}])
def test_a_wrong_seed_is_a_format_error(own, tmp_path):
    model = models.Sequential([layers.Dense(2, input_shape=(3,))])
    model.save(tmp_path / "a.keras")
    with zipfile.ZipFile(tmp_path / "a.keras") as file:
        entries = {name: file.read(name) for name in file.namelist()}
    entries["metadata.json"] = json.dumps({"keras_version": "3.0.0", "fastnn": own}).encode()
    with zipfile.ZipFile(tmp_path / "a.keras", "w") as file:
        for name, data in entries.items():
            file.writestr(name, data)
    with pytest.raises(fastnn.FormatError, match=r"a\.keras cannot be loaded: "):
        models.load_model(tmp_path / "a.keras")
