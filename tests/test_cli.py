"""fastnn.cli: train, evaluate, predict, info and bench as a student calls them, and what they say when it goes wrong.

Nothing here touches the user's caches or the network: the default data are asked for with FASTNN_DATA or a stand-in.
"""

import hashlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import fastnn
from fastnn import cli, layers, models, pictures, utils
from fastnn.datasets import mnist

REPO = Path(fastnn.__file__).parent.parent     # where the fastnn under test is imported from
QUICK = ("train", "--data", "sample", "--epochs", "1", "--hidden", "32")


@pytest.fixture
def run(capsys):
    """Call the command line here; returns exit code, standard output, standard error."""

    def call(*argv):
        code = cli.main([str(argument) for argument in argv])
        return code, *capsys.readouterr()

    return call


def start(*argv, **options):
    """The same in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(REPO), **options.pop("env", {})}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.Popen([sys.executable, "-m", "fastnn", *map(str, argv)], env=environment, **pipes)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a trained model, under names that a Chinese student gives."""
    folder = tmp_path_factory.mktemp("fastnn") / "作業一"
    folder.mkdir()
    argv = ("train", "--data", "sample", "--epochs", "6", "--hidden", "128", "--save", str(folder / "模型.fastnn"))
    assert cli.main([*argv, "--verbose", "0"]) == 0
    return folder


@pytest.fixture(scope="module")
def digits():
    """Ten images of the sample's test set, one a digit."""
    x_test, y_test = mnist.load_sample()[1]
    return x_test[[int(np.flatnonzero(y_test == digit)[3]) for digit in range(10)]]


def save_picture(file, array, size=None, mode=None):
    image = pytest.importorskip("PIL.Image").fromarray(array)
    image = image.resize(size) if size else image
    (image.convert(mode) if mode else image).save(file)
    return file


def answers(out):
    """The digits that the lines of predict name."""
    matches = [re.search(r": (\d) \(([\d.]+) %\)$", line) for line in out.splitlines()]
    assert all(matches), out
    return [int(match[1]) for match in matches]


# train


def test_train_shows_the_epochs_and_the_test_accuracy(run):
    code, out, err = run(*QUICK)
    lines = out.splitlines()
    assert (code, err, len(lines)) == (0, "", 3)
    assert re.fullmatch(r"Epoch 1/1 - \d+s \d+[um]s/step - loss: \d\.\d{4} - accuracy: 0\.\d{4}", lines[0])
    assert re.fullmatch(r"Test accuracy: 0\.\d{4}, loss: \d\.\d{4} \(1000 test images of sample\)", lines[1])
    assert re.fullmatch(r"Weights: sha256 [0-9a-f]{64}", lines[2])


def test_train_json_is_one_object_with_all_the_numbers(run, tmp_path):
    file = tmp_path / "m.fastnn"
    code, out, err = run(*QUICK, "--epochs", "2", "--hidden", "32", "16", "--optimizer", "sgd", "--learning-rate", ".1",
                         "--batch-size", "100", "--seed", "7", "--threads", "1", "--save", file, "--json")
    assert (code, err, out.count("\n")) == (0, "", 1)
    result = json.loads(out)
    given = {"data": "sample", "hidden": [32, 16], "optimizer": "sgd", "learning_rate": 0.1, "batch_size": 100,
             "epochs": 2, "seed": 7, "threads": 1, "save": str(file), "isa": fastnn.info()["isa"]}
    assert {name: result[name] for name in given} == given
    for name in ("loss", "accuracy", "seconds"):
        assert len(result[name]) == 2
        assert all(isinstance(value, float) and value > 0 for value in result[name])
    assert 0.2 < result["test_accuracy"] <= 1
    weights = models.load_model(file).get_weights()
    assert len(weights) == 6
    assert hashlib.sha256(b"".join(weight.tobytes() for weight in weights)).hexdigest() == result["weights_sha256"]


def test_the_seed_decides_the_weights_and_the_threads_do_not(run):
    def digest(*options):
        return json.loads(run(*QUICK, "--json", *options)[1])["weights_sha256"]

    before = fastnn.info()["threads"]
    assert digest("--threads", "1") == digest("--threads", "2") == digest("--seed", "0") != digest("--seed", "1")
    assert fastnn.info()["threads"] == before


@pytest.mark.parametrize(("data", "epochs"), [("sample", 10), (None, 5)])
def test_the_sample_gets_ten_epochs_and_other_data_five(run, monkeypatch, data, epochs):
    monkeypatch.setattr(mnist, "load_data", mnist.load_sample)
    result = json.loads(run("train", *(["--data", data] if data else []), "--hidden", "8", "--json")[1])
    assert (result["data"], result["epochs"]) == (data or "mnist", epochs)


@pytest.mark.parametrize("error", [ImportError("needs pooch.\nLooked in: ..."), ConnectionError("no network.\nLooked")])
def test_train_takes_the_sample_where_mnist_cannot_be_had(run, monkeypatch, error):
    def load_data():
        raise error

    monkeypatch.setattr(mnist, "load_data", load_data)
    monkeypatch.delenv("FASTNN_DATA", raising=False)
    code, out, err = run("train", "--epochs", "1", "--hidden", "8", "--json")
    assert (code, json.loads(out)["data"]) == (0, "sample")
    reason = str(error).splitlines()[0]
    assert err == f"fastnn: training on the sample of 5,000 images instead of MNIST: {reason}\n"
    code, out, err = run("train", "--data", "mnist")
    assert (code, out) == (2, "")
    assert err.startswith(f"fastnn: error: {reason} Looked")


def test_train_on_data_of_ones_own(run, tmp_path):
    rng = np.random.default_rng(0)
    x = rng.random((300, 3, 2))
    y = (x[:, 0, 0] > 0.5).astype(int) + 2
    file, model = tmp_path / "資料.npz", tmp_path / "模型.fastnn"
    np.savez(file, x_train=x[:200], y_train=y[:200], x_test=x[200:], y_test=y[200:])
    code, out, _ = run("train", "--data", file, "--epochs", "20", "--batch-size", "8", "--save", model, "--json")
    assert (code, json.loads(out)["data"]) == (0, str(file))
    assert json.loads(out)["test_accuracy"] > 0.9
    code, out, _ = run("evaluate", model, "--data", file)
    assert (code, out[:16]) == (0, "Test accuracy: 0") or out.startswith("Test accuracy: 1")
    np.save(tmp_path / "x.npy", np.zeros((28, 28)))
    code, _, err = run("predict", model, tmp_path / "x.npy")
    assert code == 2
    assert "for inputs of shape (6,); an image here has 784 pixels" in err


# save, evaluate, predict


def test_a_saved_model_evaluates_to_the_same_numbers(run, tmp_path):
    file = tmp_path / "m.fastnn"
    trained = json.loads(run(*QUICK, "--save", file, "--json")[1])
    code, out, err = run("evaluate", file, "--data", "sample", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == {"model": str(file), "data": "sample", "test_loss": trained["test_loss"],
                               "test_accuracy": trained["test_accuracy"]}


def test_a_model_saved_in_python_is_evaluated_and_predicts(run, digits, tmp_path):
    """One-hot targets and samples of two axes, as in the course."""
    (x, y), test = mnist.load_sample()
    model = models.Sequential([layers.Flatten(input_shape=(28, 28)), layers.Dense(10, "softmax")])
    model.compile("adam", "categorical_crossentropy", metrics=["acc"])
    model.fit(x / 255, utils.to_categorical(y), epochs=2, verbose=0)
    model.save(tmp_path / "m.fastnn")
    code, out, err = run("evaluate", tmp_path / "m.fastnn", "--data", "sample")
    loss, accuracy = model.evaluate(test[0].astype("float32") / 255, utils.to_categorical(test[1]))
    assert (code, err, out) == (
        0, "", f"Test accuracy: {accuracy:.4f}, loss: {loss:.4f} ({len(test[0])} test images of sample)\n")
    np.save(tmp_path / "x.npy", digits)
    code, out, err = run("predict", tmp_path / "m.fastnn", tmp_path / "x.npy")
    assert (code, err) == (0, "")
    assert answers(out) == model.predict(digits / np.float32(255)).argmax(1).tolist()
    models.Sequential([layers.Dense(10, input_shape=(784,))]).save(tmp_path / "m.fastnn")
    assert "is not compiled, so it has no loss" in run("evaluate", tmp_path / "m.fastnn", "--data", "sample")[2]
    models.Sequential([layers.Dense(10)]).save(tmp_path / "m.fastnn")
    assert "does not know the shape of its input" in run("predict", tmp_path / "m.fastnn", tmp_path / "x.npy")[2]


def test_save_replaces_the_file_and_leaves_no_other(run, tmp_path):
    file = tmp_path / "m.fastnn"
    file.write_bytes(b"old")
    code, out, _ = run(*QUICK, "--save", file)
    assert (code, out.splitlines()[-1]) == (0, f"Saved: {file}")
    assert os.listdir(tmp_path) == ["m.fastnn"]
    model = models.load_model(file)
    assert [(layer.units, layer.activation) for layer in model.layers[1:]] == [(32, "relu"), (10, "softmax")]


def test_a_save_that_fails_keeps_the_old_file(run, tmp_path, monkeypatch):
    file = tmp_path / "m.fastnn"
    file.write_bytes(b"old")

    def replace(*_):
        raise OSError(28, "No space left on device", str(file))

    monkeypatch.setattr(os, "replace", replace)
    code, _, err = run(*QUICK, "--save", file)
    assert (code, err) == (2, f"fastnn: error: {file}: Cannot save: No space left on device\n")
    assert os.listdir(tmp_path) == ["m.fastnn"]
    assert file.read_bytes() == b"old"


@pytest.mark.parametrize("make", [
    lambda x: x, lambda x: x.reshape(10, 784), lambda x: x / 255, lambda x: (x / 255).astype("float16"),
    lambda x: x.astype("int64"), lambda x: 255 - x, lambda x: x > 127,
], ids=["bytes", "rows", "floats", "halves", "integers", "black on white", "booleans"])
def test_predict_reads_array_files(run, folder, digits, tmp_path, make):
    file = tmp_path / "數字.npy"
    np.save(file, make(digits))
    code, out, err = run("predict", folder / "模型.fastnn", file)
    assert (code, err) == (0, "")
    assert [line.split(": ")[0] for line in out.splitlines()] == [f"{file}[{i}]" for i in range(10)]
    assert sum(found == digit for digit, found in enumerate(answers(out))) >= 8


def test_predict_json(run, folder, digits, tmp_path):
    np.savez(tmp_path / "one.npz", digits[0])
    code, out, err = run("predict", folder / "模型.fastnn", tmp_path / "one.npz", "--json")
    assert (code, err) == (0, "")
    result = json.loads(out)
    (row,) = result["predictions"]
    assert (result["model"], row["image"]) == (str(folder / "模型.fastnn"), str(tmp_path / "one.npz"))
    assert row["probability"] == max(row["probabilities"]) == row["probabilities"][row["digit"]]
    assert abs(sum(row["probabilities"]) - 1) < 1e-5


def test_predict_takes_an_image_of_28_x_28_pixels_as_it_is(run, folder, digits, tmp_path):
    np.save(tmp_path / "d.npy", digits[4])
    expected = run("predict", folder / "模型.fastnn", tmp_path / "d.npy")[1].split(": ")[1]
    for name, array in (("dark.png", digits[4]), ("light.png", 255 - digits[4])):
        picture = save_picture(tmp_path / name, array)
        assert run("predict", folder / "模型.fastnn", picture)[1] == f"{picture}: {expected}"


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "CMYK", "LA", "I", "1"])
def test_predict_reads_pictures_of_any_mode(run, folder, digits, tmp_path, mode):
    name = "picture.tif" if mode in ("CMYK", "I") else "picture.png"
    picture = save_picture(tmp_path / name, digits[1] // 128 * 255, (140, 140), mode)
    assert answers(run("predict", folder / "模型.fastnn", picture)[1]) == [1]


def test_predict_finds_the_digit_in_a_photograph(run, folder, digits, tmp_path):
    """Dark on light, anywhere, in any size, with grain and a shadow, not square."""
    image_module = pytest.importorskip("PIL.Image")
    rng, files = np.random.default_rng(0), []
    for i, digit in enumerate(digits):
        size = 120 + 10 * i
        sheet = np.zeros((300, 420))
        sheet[20 + i:20 + i + size, 170 - 9 * i:170 - 9 * i + size] = image_module.fromarray(digit).resize((size, size))
        sheet = 215 - sheet * 0.6 + 8 * rng.standard_normal(sheet.shape) + np.linspace(-25, 25, 420)
        files.append(save_picture(tmp_path / f"{i}.png", np.clip(sheet, 0, 255).astype("uint8")))
    code, out, _ = run("predict", folder / "模型.fastnn", *files)
    assert code == 0
    assert sum(found == digit for digit, found in enumerate(answers(out))) >= 8


def test_transparent_is_white_and_invert_can_be_forced(run, folder, digits, tmp_path):
    black = np.zeros((28, 28, 4), np.uint8)
    black[..., 3] = digits[1]  # a black digit on nothing
    picture = save_picture(tmp_path / "p.png", black)
    for invert, same in (("auto", True), ("yes", True), ("no", False)):
        image = cli._read_images(str(picture), invert)[0]
        assert np.allclose(image, digits[1] / 255, atol=0.01) is same


def test_pictures_with_hardly_anything_on_them():
    assert pictures.fit_digit(np.ones((50, 40), "float32"), "auto").max() == 0
    assert pictures.fit_digit(np.zeros((1, 1), "float32"), "auto").max() == 0
    assert pictures.fit_digit(np.eye(2, 900, dtype="float32"), "auto").max() == 1
    assert pictures.fit_digit(np.eye(900, 2, dtype="float32"), "auto").max() == 1


def test_a_fitted_digit_lies_as_those_of_mnist_do():
    image = np.ones((90, 300), "float32")
    image[10:80, 200:210] = 0.2
    fitted = pictures.fit_digit(image, "auto")
    rows, columns = np.flatnonzero(fitted.any(1)), np.flatnonzero(fitted.any(0))
    assert (rows[0], rows[-1]) == (4, 23)
    assert 13 <= columns.mean() <= 14
    assert fitted.max() == 1


# info, bench


def test_info(run):
    facts = fastnn.info()
    code, out, err = run("info", "--json")
    assert (code, err, json.loads(out)) == (0, "", facts)
    code, out, err = run("info")
    assert (code, err) == (0, "")
    for fact in (facts["version"], facts["numpy"], f"instruction set: {facts['isa']} ", f"threads: {facts['threads']}"):
        assert fact in out
    assert all(place in out for place in [*facts["isas"], *facts["data"]])


def test_info_of_a_model(run, folder):
    file = folder / "模型.fastnn"
    code, out, err = run("info", file)
    assert (code, err) == (0, "")
    assert re.search(r"dense \(Dense\) +\(None, 128\) +100,480\n", out)
    assert out.splitlines()[-1] == "Compiled: rmsprop, sparse_categorical_crossentropy; trained for 192 steps"
    result = json.loads(run("info", file, "--json")[1])
    assert (result["model"], result["params"], result["loss"]) == (str(file), 101770, "sparse_categorical_crossentropy")
    assert [layer["class_name"] for layer in result["config"]["layers"]] == ["Input", "Dense", "Dense"]


def test_bench_hands_its_options_over(run, monkeypatch):
    seen = []
    monkeypatch.setattr("fastnn.benchmark.main", lambda *options: seen.append(options) or 0)
    assert run("bench", "--quick", "--threads", "2") == (0, "", "")
    assert run("bench", "--json", "--only", "relu,add", "--fma-peak", "117") == (0, "", "")
    assert seen == [(2, True, False, (), None), (None, False, True, ["relu", "add"], 117.0)]


@pytest.mark.parametrize("command", ["", "train", "evaluate", "predict", "info", "bench"])
def test_help(run, command):
    code, out, err = run(*command.split(), "--help")
    assert (code, err) == (0, "")
    assert out.startswith(f"usage: fastnn {command}".rstrip())
    assert out.isascii()


# Errors: one line that says what to change, exit code 2


def bad_files(folder):
    """Files as they should not be."""
    def npz(name, **arrays):
        np.savez(folder / name, **arrays)

    x, y = np.zeros((4, 3)), np.zeros(4, int)
    (folder / "text.npz").write_text("no zip")
    (folder / "text.png").write_text("no picture")
    (folder / "pickle.npy").write_bytes(b"\x80\x04N.")
    np.save(folder / "shape.npy", np.zeros((28, 27)))
    np.save(folder / "empty.npy", np.zeros((0, 28, 28)))
    np.save(folder / "range.npy", np.full((28, 28), 255.0))
    np.save(folder / "nan.npy", np.full((28, 28), np.nan))
    np.save(folder / "text.npy", np.full((28, 28), "a"))
    npz("lacks.npz", x_train=x, y_train=y)
    npz("length.npz", x_train=x, y_train=y[:3], x_test=x, y_test=y)
    npz("differ.npz", x_train=x, y_train=y, x_test=x[:, :2], y_test=y)
    npz("labels.npz", x_train=x, y_train=y + 0.5, x_test=x, y_test=y)
    (folder / "text.fastnn").write_text("no model")


def test_errors_are_one_line_and_exit_code_2(run, folder, tmp_path):
    bad_files(tmp_path)
    model = folder / "模型.fastnn"

    def data(name):
        return "train", "--data", tmp_path / name

    cases = [
        ((), "required: COMMAND (see fastnn --help)"),
        (("fly",), "invalid choice: 'fly'"),
        (("train", "--epochs", "0"), "--epochs: expected a whole number, 1 or more, received '0'"),
        (("train", "--hidden", "x"), "--hidden: expected a whole number, 1 or more, received 'x'"),
        (("train", "--optimizer", "rmspop"), "Unknown optimizer 'rmspop'. Did you mean 'rmsprop'?"),
        (("train", "--learning-rate", "-1"), "learning_rate"),
        (("train", "--data", "sample", "--seed", "-1"), "seed"),
        (("train", "--save", tmp_path / "no" / "m.fastnn"), f"{tmp_path / 'no'} exists"),
        (("train", "--save", tmp_path / "m.txt"), "has to end in .fastnn"),
        (data("nope.npz"), "nope.npz: No such file"),
        (data("text.npz"), "text.npz is damaged, or not an .npy or .npz file"),
        (data("lacks.npz"), "must hold x_test"),
        (data("length.npz"), "Received: x_train (4, 3) float64, y_train (3,) int64"),
        (data("differ.npz"), "in one shape"),
        (data("labels.npz"), "integer labels"),
        (("evaluate", tmp_path / "nope.fastnn"), "nope.fastnn: No such file"),
        (("evaluate", tmp_path / "text.fastnn"), "text.fastnn cannot be loaded: it is no .fastnn file"),
        (("info", tmp_path / "lacks.npz"), "Models are loaded from .fastnn"),
        (("evaluate", model, "--data", tmp_path / "nope.npz"), "nope.npz: No such file"),
        (("predict", model), "required: FILE"),
        (("predict", tmp_path / "text.fastnn", "x.png"), "text.fastnn cannot be loaded"),
        (("predict", model, tmp_path / "nope.npy"), "nope.npy: No such file"),
        (("predict", model, tmp_path), "Is a directory" if os.name == "posix" else ""),
        (("predict", model, tmp_path / "pickle.npy"), "pickle.npy is damaged, or not"),
        (("predict", model, tmp_path / "shape.npy"), "Received: (28, 27) float64 from 0 to 0."),
        (("predict", model, tmp_path / "empty.npy"), "Received: (0, 28, 28) float64."),
        (("predict", model, tmp_path / "range.npy"), "from 255 to 255"),
        (("predict", model, tmp_path / "nan.npy"), "from nan to nan"),
        (("predict", model, tmp_path / "text.npy"), "Received: (28, 28) <U1"),
        (("predict", model, tmp_path / "lacks.npz"), "must hold one array"),
    ]
    for argv, part in cases:
        code, out, err = run(*argv)
        assert (code, out) == (2, ""), argv
        assert err.startswith("fastnn: error: "), argv
        assert err.count("\n") == 1, argv
        assert part in err, argv
    assert not list(tmp_path.glob("m.*"))


def test_errors_of_pillow(run, folder, tmp_path, monkeypatch):
    pytest.importorskip("PIL")
    (tmp_path / "text.png").write_text("no picture")
    for name, part in (("text.png", "cannot be read as an image"), ("nope.png", "nope.png: No such file")):
        code, out, err = run("predict", folder / "模型.fastnn", tmp_path / name)
        assert (code, out) == (2, "")
        assert part in err
    monkeypatch.setitem(sys.modules, "PIL", None)
    code, out, err = run("predict", folder / "模型.fastnn", tmp_path / "nope.png")
    assert (code, out) == (2, "")
    assert err == (
        'fastnn: error: Reading image files needs pillow. Install it with: pip install "fastnn-cpu[app]"\n'
    )


def test_a_wrong_fastnn_data_is_an_error(run, monkeypatch, tmp_path):
    monkeypatch.setenv("FASTNN_DATA", str(tmp_path / "nope"))
    code, out, err = run("train")
    assert (code, out) == (2, "")
    assert err.startswith("fastnn: error: FASTNN_DATA is set to")
    assert err.count("\n") == 1


def test_a_loss_that_is_not_finite_is_an_error(run, tmp_path):
    code, _, err = run(*QUICK, "--optimizer", "sgd", "--learning-rate", "1e30", "--save", tmp_path / "m.fastnn")
    assert code == 2
    assert err.startswith("fastnn: error: The loss is not finite at epoch 1")
    assert os.listdir(tmp_path) == []


# As a process: terminals, pipes, encodings, Ctrl-C


@pytest.mark.parametrize("environment", [
    {"PYTHONIOENCODING": "cp950"}, {"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C"},
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
], ids=["cp950", "ascii", "C", "C without UTF-8"])
def test_chinese_paths_in_any_encoding(folder, digits, tmp_path, environment):
    np.save(folder / "數字ἀ.npy", digits[1])
    process = start("predict", "模型.fastnn", "數字ἀ.npy", cwd=folder, env=environment)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, b"")
    assert re.fullmatch(rb".+\.npy: 1 \([\d.]+ %\)\r?\n", out)
    if environment.get("PYTHONIOENCODING") == "cp950":
        assert out.startswith("數字?.npy".encode("cp950"))
    process = start("evaluate", "沒有.fastnn", cwd=folder, env=environment)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, b"")
    assert err.startswith(b"fastnn: error: ")
    assert b"Traceback" not in err


def test_a_pipe_closed_early_does_not_stop_the_training(tmp_path):
    process = start(*QUICK, "--epochs", "3", "--save", tmp_path / "m.fastnn")
    assert process.stdout.readline().startswith(b"Epoch 1/3")
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert (process.wait(60), err) == (0, b"")
    assert (tmp_path / "m.fastnn").is_file()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_an_error():
    with open("/dev/full", "wb") as full:
        process = start("info", "--json", stdout=full)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (2, b"fastnn: error: No space left on device\n")


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
def test_ctrl_c_is_exit_code_130_without_a_traceback(tmp_path):
    process = start(*QUICK, "--epochs", "100000", "--save", tmp_path / "m.fastnn")
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, b"fastnn: interrupted\n")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("tqdm", [True, False], ids=["tqdm", "no tqdm"])
@pytest.mark.parametrize("columns", [80, 40])
def test_the_bar_on_a_terminal(tmp_path, columns, tqdm):
    pty = pytest.importorskip("pty")
    (tmp_path / "tqdm.py").write_text("raise ImportError('blocked')")
    path = f"{REPO}" if tqdm else f"{tmp_path}{os.pathsep}{REPO}"
    terminal, end = pty.openpty()
    process = start(*QUICK, "--epochs", "2", stdout=end, env={"PYTHONPATH": path, "COLUMNS": str(columns)})
    os.close(end)
    shown = b""
    while True:
        try:
            piece = os.read(terminal, 4096)
        except OSError:  # how Linux says that the other end is closed
            piece = b""
        if not piece:
            break
        shown += piece
    os.close(terminal)
    assert process.wait(60) == 0
    assert process.stderr.read() == b""
    process.stderr.close()
    check_screen(shown.decode("ascii"), columns)


def check_screen(shown, columns):
    epochs = shown[:shown.index("Test accuracy")].replace("\r\n", "\n")
    assert "\r" in epochs, "the line was never rewritten"
    assert all(len(row) < columns for row in re.split("[\r\n]", epochs))
    lines = [line.split("\r")[-1] for line in epochs.split("\n")]
    numbers = r" - \d+s \d+[um]s/step - loss: \d\.\d{4}"
    accuracy = r" - accuracy: 0\.\d{4}"
    for epoch in (1, 2):
        assert lines.pop(0) == f"Epoch {epoch}/2"
        line = lines.pop(0) + (lines.pop(0)[1:] if columns == 40 else "")
        match = re.fullmatch(rf"32/32( \[=+\])?{numbers}{accuracy}", line)
        assert match, line
        assert bool(match[1]) is (columns == 80)
    assert lines == [""]


def test_info_is_quick_and_imports_no_extras():
    code = "import sys; from fastnn import cli; cli.main(['info']); print(*sys.modules, file=sys.stderr)"
    begin = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(REPO)},
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert time.perf_counter() - begin < 10
    assert not {"tqdm", "PIL", "pooch", "requests", "fastnn.benchmark"} & set(done.stderr.split())


def test_main_without_streams(monkeypatch):
    for stream in (None, io.StringIO()):
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.setattr(sys, "stderr", None)
        assert cli.main(["info"]) == 0
        assert cli.main(["evaluate", "nope.fastnn"]) == 2
