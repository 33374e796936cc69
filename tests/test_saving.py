"""fastnn.saving: what is saved comes back, training goes on to the same bits, and no save leaves a torn file."""

import copy
import errno
import json
import os
import pathlib
import pickle
import stat
import subprocess
import sys

import numpy as np
import pytest
from safetensors import safe_open

import fastnn
from fastnn import layers, losses, metrics, models, optimizers, regularizers, saving, utils
from fastnn.saving import files, native

X = np.random.default_rng(0).normal(size=(50, 6)).astype("float32")
Y = np.eye(3)[np.arange(50) % 3]
OPTIMIZERS = {
    "sgd": lambda: optimizers.SGD(0.1), "momentum": lambda: optimizers.SGD(0.1, momentum=0.9),
    "nesterov": lambda: optimizers.SGD(0.1, momentum=0.9, nesterov=True), "rmsprop": lambda: optimizers.RMSprop(0.01),
    "adagrad": lambda: optimizers.Adagrad(0.1), "adam": lambda: optimizers.Adam(0.01),
    "adamw": lambda: optimizers.AdamW(0.01, clipvalue=0.1), "nadam": lambda: optimizers.Nadam(0.01, clipnorm=0.5),
    "amsgrad": lambda: optimizers.AdamW(0.01, amsgrad=True),
    "scheduled": lambda: optimizers.SGD(optimizers.schedules.CosineDecay(0.1, 20), global_clipnorm=1.0),
    "decaying": lambda: spared(optimizers.RMSprop(0.01, weight_decay=0.1))}


def spared(optimizer):
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    return optimizer


def network(optimizer="adam", dtype=None, seed=3):
    utils.set_random_seed(seed)
    model = models.Sequential([layers.Dense(5, "tanh", input_shape=(6,), dtype=dtype, kernel_regularizer="l1_l2"),
                               layers.Dense(3, "softmax", bias_regularizer=regularizers.L2(0.5))])
    model.compile(OPTIMIZERS[optimizer](), "categorical_crossentropy", metrics=["acc", "mse"], weighted_metrics=["mae"])
    return model


def fit(model, **options):
    return model.fit(X, Y, batch_size=8, verbose=0, **options).history


def bits(model):
    """Weights, slots and counts: all that training goes on from."""
    slots = [slot.tobytes() for row in model.optimizer.slots or [] for slot in row]
    return [w.tobytes() for w in model.weights], slots, model.optimizer.iterations, model._seed, model._epochs


def run_python(script, *arguments):
    run = subprocess.run([sys.executable, "-c", script, *map(str, arguments)], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout


# What comes back


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_loaded_model_is_the_one_that_was_saved(optimizer, dtype, tmp_path):
    model = network(optimizer, dtype)
    fit(model, epochs=2)
    model.save(tmp_path / "a.fastnn")
    loaded = models.load_model(tmp_path / "a.fastnn")
    assert bits(loaded) == bits(model)
    assert loaded.get_config() == model.get_config()
    assert loaded.optimizer.get_config() == model.optimizer.get_config()
    assert loaded.metrics_names == model.metrics_names == ["loss", "acc", "mse", "mae"]
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    assert loaded.evaluate(X, Y) == model.evaluate(X, Y)


RESUME = """
import sys
import numpy as np
sys.path.insert(0, sys.argv[2])
from test_saving import bits, fit
from fastnn import models
model = models.load_model(sys.argv[1])
history = fit(model, epochs=int(sys.argv[3]), initial_epoch=model._epochs)
model.save(sys.argv[1])
print(history)
"""


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_training_goes_on_in_a_new_process_as_if_never_interrupted(optimizer, tmp_path):
    model, twin = network(optimizer), network(optimizer)
    fit(model, epochs=2)
    model.save(tmp_path / "a.fastnn")
    printed = run_python(RESUME, tmp_path / "a.fastnn", os.path.dirname(__file__), 4)
    history = fit(twin, epochs=4)
    assert bits(models.load_model(tmp_path / "a.fastnn")) == bits(twin)
    assert printed.strip() == str({name: values[2:] for name, values in history.items()})


EVERY_LAYER = {
    "Input": [], "Rescaling": [layers.Rescaling(0.5), layers.Dense(4), layers.Rescaling(2.0, 1.0)],
    "Flatten": [layers.Reshape((2, 3)), layers.Flatten()], "Reshape": [layers.Reshape((3, -1)), layers.Reshape((6,))],
    "Dense": [layers.Dense(4, use_bias=False, name="甲", trainable=False, kernel_initializer="zeros")],
    "Activation": [layers.Activation("gelu")], "ReLU": [layers.ReLU(6.0, 0.1, 0.5)], "ELU": [layers.ELU(0.5)],
    "LeakyReLU": [layers.LeakyReLU(0.2)], "Softmax": [layers.Softmax()],
    "Dropout": [layers.Dropout(0.5), layers.Dense(5), layers.Dropout(0.25, seed=3)],
    "BatchNormalization": [layers.Dense(4), layers.BatchNormalization(momentum=0.5, center=False)],
    "LayerNormalization": [layers.LayerNormalization(gamma_regularizer="l2")],
    "Normalization": [layers.Normalization(mean=np.linspace(-0.1, 0.3, 6), variance=np.geomspace(1, 1 / 3, 6))]}


if hasattr(layers, "SparseDense"):
    EVERY_LAYER["SparseDense"] = [layers.SparseDense(8, density=0.5, activation="relu"),
                                  layers.SparseDense(5, mask=np.arange(40).reshape(8, 5) % 3 == 0)]


def test_every_layer_is_listed_here():
    assert set(EVERY_LAYER) == set(layers.LAYERS) - {"Lambda"}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", EVERY_LAYER)
def test_every_layer_is_saved_and_trains_on(kind, dtype):
    """Before and after a training step, the model in its file is the one that was saved."""
    def make():
        utils.set_random_seed(2)
        fresh = [layer.clone() for layer in EVERY_LAYER[kind]]
        model = models.Sequential([layers.Input((6,), dtype=dtype), *fresh, layers.Dense(3, "softmax")], "二")
        model.compile("adam", "categorical_crossentropy")
        return model

    model, twin = make(), make()
    for _ in range(3):
        model = saving.from_bytes(saving.to_bytes(model))
        assert json.dumps(model.get_config()) == json.dumps(twin.get_config())
        np.testing.assert_array_equal(model.predict(X), twin.predict(X))
        fit(model)
        fit(twin)
        assert bits(model) == bits(twin)


def test_long_parts_of_a_configuration_are_tensors(tmp_path):
    """Moments of 100,000 features, which would not fit into the header, come back as they were."""
    moments = np.random.default_rng(0).random((2, 100_000))
    model = models.Sequential([layers.Normalization(mean=moments[0], variance=moments[1], input_shape=(100_000,)),
                               layers.Dense(1)])
    model.save(tmp_path / "a.fastnn")
    loaded = models.load_model(tmp_path / "a.fastnn")
    assert (loaded.layers[0].mean, loaded.layers[0].variance) == tuple(moments.tolist())
    with safe_open(tmp_path / "a.fastnn", "np") as file:
        assert sorted(file.keys()) == ["1.dense.bias", "1.dense.weight", "config.0", "config.1"]
    model.pop()
    model.layers[0] = layers.Normalization(mean=np.zeros(200_000), variance=np.ones(200_000))
    with pytest.raises(ValueError, match="more than 262144 numbers"):
        model.save(tmp_path / "b.fastnn")


def test_weights_spared_from_decay_by_identity_are_spared_after_loading():
    model, twin = network("decaying"), network("decaying")
    for each in (model, twin):
        each.optimizer.exclude_from_weight_decay([each.weights[2]], ["bias"])
    fit(model, epochs=1)
    loaded = saving.from_bytes(saving.to_bytes(model))
    fit(loaded, epochs=1)
    fit(twin, epochs=2)
    assert bits(loaded) == bits(twin)


def test_frozen_layers_stay_frozen_and_learn_on_when_they_are_freed():
    model, twin = network(), network()
    for each in (model, twin):
        fit(each, epochs=1)
        each.layers[0].trainable = False
        fit(each, epochs=1)
    model = saving.from_bytes(saving.to_bytes(model))
    assert not model.layers[0].trainable
    for each in (model, twin):
        fit(each, epochs=1)
        each.layers[0].trainable = True
        fit(each, epochs=1)
    assert bits(model) == bits(twin)


@pytest.mark.parametrize("loss", sorted({cls.__name__ for cls in losses.LOSSES.values()}))
def test_every_loss_and_metric_is_saved(loss):
    model = models.Sequential([layers.Dense(3, "softmax", input_shape=(6,))])
    known = {cls.__name__: cls for cls in losses.LOSSES.values()}
    every = list({cls.__name__: cls for cls in metrics.METRICS.values()}.values())
    model.compile("sgd", known[loss](), metrics=[cls() for cls in every])
    loaded = saving.from_bytes(saving.to_bytes(model))
    assert type(loaded.loss) is known[loss] and [type(metric) for metric in loaded.metrics] == every
    assert loaded.metrics_names == model.metrics_names


def test_a_model_that_is_not_built_yet():
    loaded = saving.from_bytes(saving.to_bytes(models.Sequential([layers.Dense(2)])))
    assert not loaded.built and loaded.get_config()["layers"][0]["config"]["units"] == 2


def test_the_model_may_be_left_not_compiled():
    model = network()
    fit(model)
    loaded = saving.from_bytes(saving.to_bytes(model))
    assert loaded.loss is not None
    for given in (native.write(model), native.write(model, include_optimizer=False)):
        assert native.read(memoryview(given), "it", compile=False).loss is None
    assert native.read(memoryview(given), "it").loss is None


def test_numbers_of_numpy_are_numbers():
    model = models.Sequential([layers.Dense(np.int64(2), input_shape=(np.int32(3),)), layers.Activation("relu")])
    model.compile(optimizers.SGD(np.float32(0.1)), "mse")
    loaded = saving.from_bytes(saving.to_bytes(model))
    assert loaded.optimizer.learning_rate == float(np.float32(0.1))


def test_the_learning_rate_of_the_day_is_saved():
    model = network()
    model.optimizer.learning_rate = 0.125
    assert saving.from_bytes(saving.to_bytes(model)).optimizer.learning_rate == 0.125


def test_equal_models_have_equal_bytes_and_safetensors_reads_them(tmp_path):
    model, twin = network(), network()
    assert saving.to_bytes(model) == saving.to_bytes(twin)
    fit(model)
    model.save(tmp_path / "a.fastnn")
    with safe_open(tmp_path / "a.fastnn", "np") as file:
        assert json.loads(file.metadata()["fastnn"])["weights"] == [
            "0.dense.weight", "0.dense.bias", "1.dense_1.weight", "1.dense_1.bias"]
        np.testing.assert_array_equal(file.get_tensor("0.dense.weight"), model.layers[0].weight)
        np.testing.assert_array_equal(file.get_tensor("0.dense.weight.v"), model.optimizer.slots[0][1])


def test_copies_and_pickles_go_through_the_same_bytes():
    model = network()
    fit(model)
    for twin in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model), copy.copy(model)):
        assert bits(twin) == bits(model)
        fit(twin)
        assert bits(twin) != bits(model)


def test_loaded_weights_are_the_model_s_own(tmp_path):
    """Aligned, writable, and still there when the file is not."""
    path = tmp_path / "a.fastnn"
    model = network()
    model.save(path)
    loaded = models.load_model(path)
    path.write_bytes(bytes(path.stat().st_size))
    assert bits(loaded) == bits(model)
    assert all(w.flags.writeable and w.ctypes.data % 64 == 0 for w in loaded.weights)
    loaded.weights[0][...] = 1


def test_loading_takes_no_seed_from_the_models_after_it():
    data = saving.to_bytes(network(seed=1))
    utils.set_random_seed(5)
    saving.from_bytes(data)
    after = models.Sequential([layers.Dense(2, input_shape=(3,))]).get_weights()
    utils.set_random_seed(5)
    np.testing.assert_array_equal(after[0], models.Sequential([layers.Dense(2, input_shape=(3,))]).get_weights()[0])


# Weights alone, JSON, clones


def with_lambda():
    utils.set_random_seed(3)
    return models.Sequential([layers.Dense(4, input_shape=(6,)), layers.Lambda(np.tanh), layers.Dense(3)])


def test_weights_alone_of_any_model(tmp_path):
    model = with_lambda()
    model.save_weights(tmp_path / "w.fastnn")
    other = with_lambda()
    for weight in other.weights:
        weight[...] = 0
    other.load_weights(tmp_path / "w.fastnn")
    np.testing.assert_array_equal(other.predict(X), model.predict(X))
    with pytest.raises(fastnn.FormatError, match="holds weights without a model. Build the model with its code"):
        models.load_model(tmp_path / "w.fastnn")


def test_weights_are_loaded_from_a_whole_model_too_if_the_shapes_fit(tmp_path):
    model, other = network(), network(seed=8)
    model.save(tmp_path / "a.fastnn")
    other.load_weights(tmp_path / "a.fastnn")
    assert bits(other)[0] == bits(model)[0]
    before = (wide := with_lambda()).get_weights()
    with pytest.raises(ValueError, match=r"a.fastnn holds weights of shapes \[\(6, 5\).*the model has \[\(6, 4\)"):
        wide.load_weights(tmp_path / "a.fastnn")
    assert all((a == b).all() for a, b in zip(before, wide.weights, strict=True))


@pytest.mark.parametrize("call", ["save_weights", "load_weights"])
def test_a_model_that_is_not_built_has_no_weights(call, tmp_path):
    with pytest.raises(RuntimeError, match="no weights yet: give its first layer input_shape="):
        getattr(models.Sequential([layers.Dense(2)]), call)(tmp_path / "w.fastnn")


def test_json_holds_the_architecture():
    model = network()
    text = model.to_json(indent=1)
    assert json.loads(text)["class_name"] == "Sequential"
    assert models.model_from_json(text).get_config() == model.get_config()
    with pytest.raises(ValueError, match="layer 0 is 'Conv2D', which is not one of Activation"):
        models.model_from_json(text.replace('"Dense"', '"Conv2D"'))


def test_a_clone_shares_python_functions_and_has_new_weights():
    model = with_lambda()
    clone = models.clone_model(model)
    assert clone.layers[1].function is np.tanh and clone.layers[1] is not model.layers[1]
    assert [w.shape for w in clone.weights] == [w.shape for w in model.weights]
    assert (clone.weights[0] != model.weights[0]).any()
    with_input = models.clone_model(models.Sequential([layers.Input((2, 3)), layers.Flatten(), layers.Dense(2)]))
    assert with_input.input_shape == (None, 2, 3)


# What a file cannot hold


class OwnLayer(layers.Dense):
    pass


class OwnSGD(optimizers.Optimizer):
    def __init__(self):
        super().__init__(0.1)

    def update_step(self, gradient, weight, slots):
        weight -= self.learning_rate * gradient


class OwnLoss(losses.MeanSquaredError):
    pass


def compiled(optimizer="sgd", loss="mse", layer=None):
    model = models.Sequential([layer or layers.Dense(3, input_shape=(6,))])
    model.compile(optimizer, loss)
    return model


def shared():
    layer = layers.Dense(6, input_shape=(6,))
    return models.Sequential([layer, layer])


@pytest.mark.parametrize(("make", "exception", "message"), [
    (with_lambda, TypeError, r"Layer 'lambda' is a Python function .* Save the weights alone with save_weights\(\)"),
    (lambda: compiled(layer=OwnLayer(3, input_shape=(6,))), TypeError, "layer 'own_layer' is or holds a OwnLayer"),
    (lambda: compiled(optimizer=OwnSGD()), TypeError, r"the optimizer is or holds a OwnSGD, .* save_weights\(\)"),
    (lambda: compiled(loss=OwnLoss()), TypeError, "the loss is or holds a OwnLoss"),
    (lambda: compiled(layer=layers.Dense(3, input_shape=(6,), kernel_initializer=lambda shape, *_: np.ones(shape))),
     TypeError, "layer 'dense': config: kernel_initializer is <function"),
    (shared, ValueError, "one layer at two places"),
    (lambda: models.Sequential([layers.Activation("relu") for _ in range(1001)]), ValueError, "1001 layers"),
], ids=["lambda", "layer", "optimizer", "loss", "initializer", "shared", "long"])
def test_what_a_file_cannot_hold_is_refused_before_anything_is_written(make, exception, message, tmp_path):
    path = tmp_path / "a.fastnn"
    path.write_text("old")
    with pytest.raises(exception, match=message):
        make().save(path)
    assert path.read_text() == "old" and len(list(tmp_path.iterdir())) == 1


# Names of files


@pytest.mark.parametrize("name", ["模型.fastnn", "a b.FASTNN", "'\"&.fastnn", "x" * 248 + ".fastnn"])
@pytest.mark.parametrize("kind", [str, pathlib.Path, os.fsencode])
def test_names_of_all_kinds(name, kind, tmp_path):
    path = kind(str(tmp_path / name))
    model = network()
    model.save(path)
    assert bits(models.load_model(path)) == bits(model)
    assert os.listdir(tmp_path) == [name]


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    network().save("~/a.fastnn")
    assert os.listdir(tmp_path) == ["a.fastnn"]
    models.load_model("~/a.fastnn")


@pytest.mark.parametrize(("call", "message"), [
    (lambda p: network().save(p / "a.npz"), r"Models are saved as .*\.fastnn.* files, received '.*a\.npz'"),
    (lambda p: models.load_model(p / "a"), r"Models are loaded from .*\.fastnn.* files, received '.*a'"),
    (lambda p: network().save_weights(p / "a.txt"), r"Weights are saved as .*received '.*a\.txt'"),
])
def test_other_suffixes_are_refused(call, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        call(tmp_path)


def test_overwrite_false_keeps_the_file(tmp_path):
    model = network()
    model.save(tmp_path / "a.fastnn", overwrite=False)
    with pytest.raises(FileExistsError, match="overwrite is False.*a.fastnn"):
        model.save(tmp_path / "a.fastnn", overwrite=False)
    with pytest.raises(FileExistsError):
        model.save_weights(tmp_path / "a.fastnn", overwrite=False)


@pytest.mark.parametrize(("name", "exception", "message"), [
    ("none/a.fastnn", FileNotFoundError, "the folder .*none does not exist. Make it first.*a.fastnn"),
    ("folder.fastnn", IsADirectoryError, "Is a directory.*folder.fastnn"),
    ("file/a.fastnn", NotADirectoryError, "Not a directory.*a.fastnn"),
])
def test_where_no_file_can_be_is_an_oserror_with_the_path(name, exception, message, tmp_path):
    (tmp_path / "folder.fastnn").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(exception, match=message):
        network().save(tmp_path / name)
    with pytest.raises(exception, match=name):
        models.load_model(tmp_path / name)


def test_a_link_stays_and_permissions_do(tmp_path):
    (tmp_path / "real.fastnn").touch(mode=0o600)
    (tmp_path / "link.fastnn").symlink_to("real.fastnn")
    network().save(tmp_path / "link.fastnn")
    assert (tmp_path / "link.fastnn").is_symlink()
    assert stat.S_IMODE((tmp_path / "real.fastnn").stat().st_mode) == 0o600
    models.load_model(tmp_path / "real.fastnn")


# Whole or not at all


@pytest.mark.parametrize("call", ["write", "fsync", "replace", "fchmod", "folder"])
def test_a_save_that_fails_anywhere_keeps_the_old_file(call, tmp_path, monkeypatch):
    """A full disk at the first write, at the second, at each sync; no permission to replace."""
    path = tmp_path / "a.fastnn"
    network(seed=1).save(path)
    old = path.read_bytes()
    if call == "write":
        monkeypatch.setattr(files, "open", lambda *_, **__: FullDisk(*_, **__), raising=False)
    elif call == "folder":
        monkeypatch.setattr(files, "_sync_folder", failing)
    else:
        monkeypatch.setattr(os, call, failing)
    with pytest.raises(OSError, match=r"Cannot save: No space left on device.*a\.fastnn") as caught:
        network(seed=2).save(path)
    assert caught.value.errno == errno.ENOSPC and caught.value.filename == str(path)
    assert os.listdir(tmp_path) == ["a.fastnn"]
    if call != "folder":                    # the new file is in its place then, but may not survive a loss of power
        assert path.read_bytes() == old
    models.load_model(path)


def failing(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class FullDisk:
    """A file that takes 100 bytes at a time, and no more than 300."""

    def __init__(self, *arguments, **options):
        self.file, self.written = open(*arguments, **options), 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def fileno(self):
        return self.file.fileno()

    def write(self, data):
        self.written += 100
        return self.file.write(data[:100]) if self.written <= 300 else failing()


LIMITED = """
import resource, sys
from fastnn import layers, models
model = models.Sequential([layers.Dense(100, input_shape=(100,))])
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    model.save(sys.argv[1])
except OSError as error:
    print(type(error).__name__, error)
"""


def test_a_file_that_may_not_grow(tmp_path):
    path = tmp_path / "a.fastnn"
    network().save(path)
    old = path.read_bytes()
    assert "File too large" in run_python(LIMITED, path) and path.read_bytes() == old
    assert os.listdir(tmp_path) == ["a.fastnn"]


FORBIDDEN = """
import os, tempfile
from fastnn import layers, models
with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "a.fastnn")
    model = models.Sequential([layers.Dense(2, input_shape=(3,))])
    model.save(path)
    models.load_model(path)
    os.chmod(path, 0)
    os.chmod(folder, 0o555)
    if os.geteuid() == 0:
        os.seteuid(65534)
    for call in (model.save, models.load_model):
        try:
            call(path)
        except PermissionError as error:
            print(str(error).replace(folder, "folder"))
    print(os.listdir(folder))
    os.seteuid(os.getuid())
    os.chmod(folder, 0o755)
"""


def test_a_folder_and_a_file_without_permission():
    assert run_python(FORBIDDEN).splitlines() == [
        "[Errno 13] Cannot save: Permission denied: 'folder/a.fastnn'",
        "[Errno 13] Permission denied: 'folder/a.fastnn'", "['a.fastnn']"]


KILLED = """
import os, random, signal, sys, time
from fastnn import layers, models
path, rng = sys.argv[1], random.Random(0)
seen, began = set(), time.perf_counter()
first = models.Sequential([layers.Dense(200, input_shape=(200,), kernel_initializer="zeros")])
first.save(path)
took = time.perf_counter() - began
for kill in range(100):
    child = os.fork()
    if not child:
        while True:
            model = models.Sequential([layers.Dense(200, input_shape=(200,))])
            model.weights[0][...] = kill
            model.save(path)
    time.sleep(rng.uniform(0, 3 * took))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    weight = models.load_model(path).weights[0]
    assert (weight == weight[0, 0]).all()
    seen.add(float(weight[0, 0]))
print("whole", len(seen) > 10)
"""


def test_kill_9_leaves_a_whole_file(tmp_path):
    assert run_python(KILLED, tmp_path / "a.fastnn") == "whole True\n"


def test_ctrl_c_during_a_save_leaves_no_litter(tmp_path, monkeypatch):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        network().save(tmp_path / "a.fastnn")
    assert os.listdir(tmp_path) == []


# Files of releases


def test_a_file_of_0_1_0_loads_and_trains_on():
    """Made by 0.1.0: weights, moving moments, a schedule, slots; every later version must read it."""
    model = models.load_model(pathlib.Path(__file__).parent / "golden" / "0.1.0.fastnn")
    np.testing.assert_allclose(model.predict(X[:2]), [[0.34024, 0.316077, 0.343683], [0.303618, 0.425323, 0.271058]],
                               atol=2e-6)
    assert model.layers[1].name == "第一層"
    assert (model.optimizer.iterations, model.optimizer.weight_decay, model._epochs) == (14, 0.001, 2)
    assert model.optimizer.schedule.get_config()["initial_learning_rate"] == 0.01
    fit(model, epochs=1)
    np.testing.assert_allclose(model.evaluate(X, Y), [1.129386, 0.4], atol=1e-4)
