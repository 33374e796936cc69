"""Models as ONNX: checked by its checker, and computed by its reference in NumPy."""

import sys

import numpy as np
import pytest
from exported import LAYERS

from fastnn import activations, layers, models, utils

onnx = pytest.importorskip("onnx")


def run(path, x):
    from onnx.reference import ReferenceEvaluator

    onnx.checker.check_model(str(path), full_check=True)
    return ReferenceEvaluator(str(path)).run(None, {"input": x})[0]


def assert_close(found, expected, dtype):
    assert found.dtype == dtype and found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-5 if dtype == "float32" else 1e-7,      # attributes are float32
                               atol=2e-6 if dtype == "float32" else 1e-7)


@pytest.mark.parametrize("activation", activations.FUNCTIONS)
def test_every_activation(activation, dtype, tmp_path):
    utils.set_random_seed(1)
    model = models.Sequential([
        layers.Dense(7, activation, input_shape=(5,), dtype=dtype), layers.Dense(9, use_bias=False),
        layers.Activation(activation), layers.Dense(4, activation)])
    model.export(tmp_path / "模型.onnx")
    for count in (1, 6):                    # the batch is dynamic
        x = np.random.default_rng(0).normal(size=(count, 5)).astype(dtype)
        assert_close(run(tmp_path / "模型.onnx", x), model.predict(x), dtype)


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer(name, dtype, tmp_path):
    utils.set_random_seed(2)
    listed = LAYERS[name]()
    listed[0].dtype = dtype
    model = models.Sequential(listed)
    model.export(tmp_path / "a.onnx")
    x = np.random.default_rng(0).normal(size=(6, *model.input_shape[1:])).astype(dtype)
    assert_close(run(tmp_path / "a.onnx", x), model.predict(x), dtype)


def test_names_shapes_and_version(tmp_path):
    model = models.Sequential([layers.Flatten(input_shape=(2, 3)), layers.Dense(4, "relu", name="hidden")])
    model.export(tmp_path / "a.onnx")
    graph = (made := onnx.load(tmp_path / "a.onnx")).graph
    sizes = [[d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim] for value in
             (graph.input[0], graph.output[0])]
    assert sizes == [["batch", 2, 3], ["batch", 4]]
    assert (graph.input[0].name, graph.output[0].name) == ("input", "output")
    assert made.opset_import[0].version == 17
    assert {array.name for array in graph.initializer} >= {"hidden.weight", "hidden.bias"}


def test_what_onnx_cannot_have_is_refused(tmp_path, monkeypatch):
    with pytest.raises(TypeError, match="is a Lambda, which cannot be exported as ONNX. These can: .*Dense"):
        models.Sequential([layers.Lambda(lambda x: x, input_shape=(3,))]).export(tmp_path / "a.onnx")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r'needs onnx. Install it with: pip install "fastnn-cpu\[onnx\]"'):
        models.Sequential([layers.Dense(3, input_shape=(2,))]).export(tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())
