"""Models as C: compiled by the C compiler of this machine, they give the bits of predict()."""

import ctypes
import platform
import re
import shutil
import subprocess

import numpy as np
import pytest
from exported import LAYERS

from fastnn import activations, layers, models, utils
from fastnn.saving import c_source

COMPILER = shutil.which("gcc") or shutil.which("cc")
WARNINGS = ["-Wall", "-Wextra", "-Werror", "-pedantic"]
FMA = ["-mfma"] if platform.machine() == "x86_64" else []
BUILDS = [["-std=c99", "-O0"], ["-std=c99", "-O2"], ["-std=c99", "-O3"], ["-std=c11", "-O2", "-fPIC", *FMA],
          ["-std=gnu11", "-O3", "-ffp-contract=fast", *FMA]]                 # which the file undoes
pytestmark = [pytest.mark.skipif(COMPILER is None, reason="no C compiler"), pytest.mark.usefixtures("fma_isas")]


def compiled(model, path, flags=BUILDS[1]):
    """predict(x) of the exported model."""
    model.export(path)
    library = path.with_suffix(".so")
    subprocess.run([COMPILER, *flags, *WARNINGS, "-shared", "-fPIC", path, "-o", library, "-lm"], check=True)
    loaded = ctypes.CDLL(str(library))
    name, outputs = c_source.c_name(path.stem), int(np.prod(model.output_shape[1:]))

    def predict(x, function=f"{name}_predict", scratch=()):
        out = np.full((len(x), outputs), np.nan, model.dtype)
        for row, to in zip(x.reshape(len(x), -1), out, strict=True):
            loaded[function](*(array.ctypes.data_as(ctypes.c_void_p) for array in (*scratch, row, to)))
        return out

    return predict


def samples(inputs, dtype, count=400):
    """Normal numbers of all sizes, zeros of both signs, infinities, NaN, and subnormal ones."""
    random = np.random.default_rng(0)
    x = random.standard_normal((count, inputs)) * 10.0 ** random.uniform(-3, 3, (count, 1))
    x[random.random(x.shape) < 0.3] = 0
    x[:20].flat[::7], x[10:30].flat[::11], x[20:40].flat[::13], x[40:50] = np.inf, -np.inf, np.nan, -0.0
    x[50:70] *= np.finfo(dtype).tiny
    x[70:90] *= np.finfo(dtype).max / 1e5
    return x.astype(dtype)


def assert_same_bits(found, expected):
    """NaN is NaN, whatever its sign."""
    expected = np.asarray(expected).reshape(found.shape)
    whole = f"u{found.dtype.itemsize}"
    same = (found.view(whole) == expected.view(whole)) | np.isnan(found) & np.isnan(expected)
    assert same.all(), f"{(~same).sum()} of {same.size} differ"
    assert np.isfinite(expected).mean() > 0.5


@pytest.mark.parametrize("activation", activations.FUNCTIONS)
def test_every_activation_has_the_bits_of_predict(activation, dtype, tmp_path):
    utils.set_random_seed(1)
    model = models.Sequential([
        layers.Dense(37, activation, input_shape=(21,), dtype=dtype), layers.Dense(45, use_bias=False),
        layers.Activation(activation), layers.Dense(10, activation)])
    x = samples(21, dtype)
    assert_same_bits(compiled(model, tmp_path / "net.c")(x), model.predict(x))


@pytest.mark.parametrize("flags", BUILDS, ids=" ".join)
def test_every_build_has_the_bits_of_predict(flags, dtype, tmp_path):
    utils.set_random_seed(2)
    model = models.Sequential([layers.Dense(33, "tanh", input_shape=(17,), dtype=dtype), layers.Dense(40, "sigmoid"),
                               layers.Dense(70, "softmax")])
    x = samples(17, dtype)
    assert_same_bits(compiled(model, tmp_path / "net.c", flags)(x), model.predict(x))


MORE = {
    "a long softmax": lambda: [layers.Dense(5000, "softmax", input_shape=(4,))],
    "one unit": lambda: [layers.Dense(1, "sigmoid", input_shape=(1,))],
    "frozen": lambda: [layers.Dense(3, "relu", input_shape=(4,), trainable=False)],
}


@pytest.mark.parametrize("name", [*LAYERS, *MORE])
def test_every_layer_has_the_bits_of_predict(name, dtype, tmp_path):
    utils.set_random_seed(3)
    listed = (LAYERS | MORE)[name]()
    listed[0].dtype = dtype
    model = models.Sequential(listed)
    x = samples(int(np.prod(model.input_shape[1:])), dtype, 100).reshape(-1, *model.input_shape[1:])
    assert_same_bits(compiled(model, tmp_path / "net.c")(x), model.predict(x))


SPARSE = {
    "random": np.random.default_rng(0).random((30, 20)) < 0.2,
    "alike": np.repeat(np.random.default_rng(0).random((30, 5)) < 0.3, (4, 9, 1, 5, 1), axis=1),
    "some without inputs": np.arange(600).reshape(30, 20) % 4 == 0,
    "none": np.zeros((30, 20), bool), "wide": np.arange(70_000)[:, None] % 9_999 == np.arange(20),
}


@pytest.mark.parametrize("mask", SPARSE)
@pytest.mark.parametrize("use_bias", [True, False])
def test_sparse_layers_keep_what_they_have(mask, use_bias, dtype, tmp_path):
    mask = SPARSE[mask]
    model = models.Sequential([layers.SparseDense(20, "relu", use_bias, mask=mask, input_shape=mask.shape[:1],
                                                  dtype=dtype, bias_initializer="he_normal"), layers.Dense(3)])
    x = samples(len(mask), dtype, 90)
    assert_same_bits(compiled(model, tmp_path / "net.c")(x), model.predict(x))
    text = (tmp_path / "net.c").read_text("utf-8")
    assert f"weight_0[{max(1, mask.sum())}]" in text and ("uint32_t place" in text) == (len(mask) > 0xffff)


def test_units_alike_share_their_indices(tmp_path):
    model = models.Sequential([layers.SparseDense(512, density=0.1, input_shape=(784,))])
    model.export(tmp_path / "net.c")
    assert "index_1[4992]" in (tmp_path / "net.c").read_text("utf-8")       # 64 groups of 78 inputs


def test_every_layer_has_its_row_in_each_format():
    from fastnn.saving import keras_words, onnx, torch

    every = set(layers.LAYERS.values()) - {layers.Lambda}
    assert c_source.STEPS.keys() == onnx.NODES.keys() == every
    assert torch.MODULES == every - {layers.SparseDense, layers.Rescaling, layers.Normalization}
    assert set(keras_words.LAYERS.values()) == every - {layers.SparseDense}


def test_special_weights(tmp_path):
    model = models.Sequential([layers.Dense(4, input_shape=(3,))])
    model.layers[0].weight[...] = [[np.inf, 1e-45, -0.0, 1], [1, -np.inf, 3.4e38, 2], [0, 1, 2, np.nan]]
    x = 1 + np.random.default_rng(0).random((20, 3)).astype("float32")
    found, expected = compiled(model, tmp_path / "net.c")(x), model.predict(x)
    assert np.array_equal(found, expected, equal_nan=True)


def test_a_zero_has_the_sign_that_predict_gives_it(tmp_path):
    model = models.Sequential([layers.Dense(2, input_shape=(3,))])
    model.layers[0].weight[...], model.layers[0].bias[...] = 1, -0.0
    x = np.full((1, 3), -0.0, "float32")
    assert_same_bits(compiled(model, tmp_path / "net.c")(x), model.predict(x))
    assert not np.signbit(model.predict(x)).any()


def test_working_space_of_the_callers(tmp_path):
    model = models.Sequential([layers.Dense(9, "tanh", input_shape=(3,)), layers.Dense(2)])
    predict = compiled(model, tmp_path / "net.c")
    size = int(re.search(r"NET_SCRATCH (\d+)", (tmp_path / "net.h").read_text())[1])
    scratch = np.full(size + 8, np.nan, "float32")
    x = samples(3, "float32")[100:]
    assert_same_bits(predict(x, "net_predict_in", (scratch,)), model.predict(x))
    assert np.isnan(scratch[size:]).all()


def test_names_and_files(tmp_path):
    model = models.Sequential([layers.Dense(2, input_shape=(3,))])
    for stem, name in {"模型": "model", "my-net 2": "my_net_2", "2x": "model_2x", "a": "a"}.items():
        model.export(tmp_path / f"{stem}.c")
        header = (tmp_path / f"{stem}.h").read_text("utf-8")
        assert f"void {name}_predict(const float x[{name.upper()}_INPUTS]" in header
        subprocess.run([COMPILER, "-std=c99", *WARNINGS, "-c", f"{stem}.c", "-o", "net.o"], check=True, cwd=tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} == {".c", ".h", ".o"}
    with pytest.raises(FileExistsError, match="a.c"):
        model.export(tmp_path / "a.c", overwrite=False)


def test_a_program_in_c_and_in_cpp_can_use_it(tmp_path):
    model = models.Sequential([layers.Dense(1, input_shape=(2,))])
    model.layers[0].weight[...], model.layers[0].bias[...] = [[2], [3]], [0.5]
    model.export(tmp_path / "net.c")
    (tmp_path / "main.c").write_text(
        '#include "net.h"\n#include <stdio.h>\nint main(void) {\n    float x[NET_INPUTS] = {1, 10}, out[NET_OUTPUTS];\n'
        '    net_predict(x, out);\n    printf("%g\\n", out[0]);\n    return 0;\n}\n')
    for compiler in (COMPILER, shutil.which("g++")):
        if compiler:
            subprocess.run([COMPILER, "-std=c99", "-c", "net.c", "-o", "net.o"], check=True, cwd=tmp_path)
            subprocess.run([compiler, "main.c", "-c", "-o", "main.o"], check=True, cwd=tmp_path)
            subprocess.run([COMPILER, "main.o", "net.o", "-o", "main", "-lm"], check=True, cwd=tmp_path)
            assert subprocess.run([tmp_path / "main"], capture_output=True, text=True).stdout == "32.5\n"


def test_no_memory_is_allocated_and_nothing_else_is_needed(tmp_path):
    model = models.Sequential([layers.Dense(9, "tanh", input_shape=(3,)), layers.Dense(9, "softmax")])
    model.export(tmp_path / "net.c")
    subprocess.run([COMPILER, "-std=c99", "-O2", "-c", "net.c", "-o", "net.o"], check=True, cwd=tmp_path)
    found = subprocess.run(["nm", "-u", tmp_path / "net.o"], capture_output=True, text=True, check=True)
    names = set(found.stdout.split()) - {"U", "_GLOBAL_OFFSET_TABLE_"}
    assert names <= {"fmaf", "memcpy", "memset", "memmove", "__stack_chk_fail"}


def test_what_c_cannot_have_is_refused(tmp_path):
    with pytest.raises(TypeError, match="is a Lambda, which cannot be exported as C. These can: .*Dense"):
        models.Sequential([layers.Lambda(lambda x: x, input_shape=(3,))]).export(tmp_path / "net.c")
    with pytest.raises(RuntimeError, match="no weights yet"):
        models.Sequential([layers.Dense(3)]).export(tmp_path / "net.c")
    with pytest.raises(ValueError, match=r"Models are exported as .c or .onnx files, received .*net.tflite"):
        models.Sequential([layers.Dense(3, input_shape=(2,))]).export(tmp_path / "net.tflite")
    assert not list(tmp_path.iterdir())
