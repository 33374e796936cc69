"""PyTorch's state_dict as arrays and .safetensors files; tests/peers/test_files.py has it with PyTorch itself."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import fastnn
from fastnn import layers, models, saving, utils


def network(dtype=None):
    utils.set_random_seed(4)
    return models.Sequential([layers.Dense(5, "relu", input_shape=(4,), dtype=dtype), layers.Dense(3, use_bias=False),
                              layers.Activation("tanh"), layers.Dense(2, "softmax")])


X = np.random.default_rng(0).normal(size=(9, 4)).astype("float32")


def test_names_and_shapes_are_those_of_nn_sequential():
    model = network()
    state = saving.torch.to_state_dict(model)
    assert {name: array.shape for name, array in state.items()} == {
        "0.weight": (5, 4), "0.bias": (5,), "2.weight": (3, 5), "4.weight": (2, 3), "4.bias": (2,)}
    assert (state["0.weight"] == model.weights[0].T).all()
    state["0.weight"][...] = 0              # a copy
    assert model.weights[0].any()


def test_there_and_back(dtype, tmp_path):
    model, other = network(dtype), network(dtype)
    other.set_weights([w * 0 for w in other.weights])
    assert saving.torch.from_state_dict(saving.torch.to_state_dict(model), model=other) is other
    assert all((a == b).all() for a, b in zip(model.weights, other.weights, strict=True))
    model.save_weights(tmp_path / "模型.safetensors")
    assert load_file(tmp_path / "模型.safetensors")["0.weight"].dtype == dtype
    other.set_weights([w * 0 for w in other.weights])
    other.load_weights(tmp_path / "模型.safetensors")
    assert all((a == b).all() for a, b in zip(model.weights, other.weights, strict=True))


@pytest.mark.parametrize("from_file", [True, False])
def test_a_model_of_a_state_alone(from_file, tmp_path):
    state = {f"layers.{i}.{word}": array for i, scale in ((0, 1), (2, 2), (10, 3)) for word, array in {
        "weight": np.full((4, 4), scale / 8, "float32"), "bias": np.full(4, -scale, "float32")}.items()}
    if from_file:
        save_file(state, tmp_path / "a.safetensors")
    model = saving.torch.from_state_dict(tmp_path / "a.safetensors" if from_file else state, activation="relu")
    assert [layer.activation for layer in model.layers] == ["relu", "relu", "linear"]
    expected = X.astype(float)
    for scale in (1, 2, 3):                 # '10' after '2'
        expected = expected @ np.full((4, 4), scale / 8) - scale
        expected = np.maximum(expected, 0) if scale < 3 else expected
    np.testing.assert_allclose(model.predict(X), expected, atol=1e-5)
    assert saving.torch.from_state_dict(state, ["relu", None, "softmax"]).layers[2].activation == "softmax"


def test_modules_that_normalize(tmp_path):
    model = models.Sequential([layers.Dense(5, input_shape=(4,)), layers.BatchNormalization(epsilon=1e-5),
                               layers.Activation("relu"), layers.Dropout(0.5), layers.Dense(3, "tanh"),
                               layers.LayerNormalization(epsilon=1e-5), layers.Dense(2)])
    for i, weight in enumerate(model.weights):
        weight[...] = np.random.default_rng(i).uniform(0.5, 2, weight.shape)
    state = saving.torch.to_state_dict(model)
    assert list(state) == ["0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var", "4.weight",
                           "4.bias", "6.weight", "6.bias", "7.weight", "7.bias"]
    assert (state["1.running_var"] == model.layers[1].moving_variance).all()
    state["1.num_batches_tracked"] = np.int64(7)
    made = saving.torch.from_state_dict(state, ["relu", "tanh", None])
    assert [type(layer).__name__ for layer in made.layers] == [
        "Dense", "BatchNormalization", "Activation", "Dense", "LayerNormalization", "Dense"]
    dense = [layer.activation for layer in made.layers if isinstance(layer, layers.Dense)]
    assert dense == ["linear", "tanh", "linear"]
    assert (made.predict(X) == model.predict(X)).all()


def test_names_without_numbers_keep_their_order():
    state = {"out.weight": np.ones((3, 4), "float32"), "last.weight": np.ones((2, 3), "float32")}
    assert saving.torch.from_state_dict(state).output_shape == (None, 2)


def ones(*shape):
    return np.ones(shape, "float32")


@pytest.mark.parametrize("state, options, message", [
    ({}, {}, "it is empty"),
    ({"0.weight": ones(3)}, {}, r"does not begin with the weight \(outputs, inputs\) of an nn.Linear: '0.weight'"),
    ({"0.weight": ones(8, 3, 3, 3)}, {}, "does not begin with the weight"),
    ({"0.weight": ones(3, 4), "1.weight": ones(2, 5)}, {}, "'1.weight' takes 5 inputs, the layer before gives 3"),
    ({"0.weight": ones(3, 4), "1.weight_hh": ones(2, 5)}, {}, "Module '1' with weight_hh is not one that"),
    ({"0.weight": ones(3, 4)}, {"activation": ["relu", "relu"]}, "has 1 linear layers, activation= 2"),
    ({"0.weight": ones(3, 4)}, {"activation": ["reluu"]}, "Did you mean 'relu'"),
    ({"0.weight": ones(3, 4)}, {"activation": "relu", "model": network()}, "not both"),
    ({"0.weight": ones(5, 4), "0.bias": ones(5)}, {"model": network()}, "has 1 modules with parameters, the model 3"),
])
def test_messages(state, options, message):
    with pytest.raises(ValueError, match=message):
        saving.torch.from_state_dict(state, **options)


def test_a_state_that_does_not_fit_changes_nothing():
    model = network()
    before, state = model.get_weights(), saving.torch.to_state_dict(network())
    for name, array, message in (("4.weight", ones(3, 2), r"float32 of shape \(3, 2\); .* float32 of shape \(2, 3"),
                                 ("4.bias", np.ones(2), "'4.bias' is float64 of shape")):
        with pytest.raises(ValueError, match=message):
            saving.torch.from_state_dict({**state, "0.bias": ones(5), name: array}, model=model)
    del state["4.bias"]
    with pytest.raises(ValueError, match="Module '4' has weight; the layer in its place needs weight, bias"):
        saving.torch.from_state_dict(state, model=model)
    assert all((a == b).all() for a, b in zip(before, model.weights, strict=True))
    with pytest.raises(TypeError, match="weights are float16, fastnn has float32 and float64"):
        saving.torch.from_state_dict({"0.weight": ones(3, 4).astype("float16")})
    with pytest.raises(TypeError, match="'rescaling' is a Rescaling, which has no module in PyTorch"):
        saving.torch.to_state_dict(models.Sequential([layers.Rescaling(2, input_shape=(3,)), layers.Dense(1)]))


@pytest.mark.parametrize("data", [b"", b"x", b"\xff" * 100, b"\x08" + bytes(7) + b'{"a":3} ', b"\x80\x04pickle" * 9])
def test_damaged_files(data, tmp_path):
    (tmp_path / "a.safetensors").write_bytes(data)
    with pytest.raises(fastnn.FormatError, match="a.safetensors cannot be loaded"):
        network().load_weights(tmp_path / "a.safetensors")
    with pytest.raises(fastnn.FormatError, match="a.safetensors cannot be loaded"):
        saving.torch.from_state_dict(tmp_path / "a.safetensors")


def test_golden_file():
    """A file that PyTorch 2 and safetensors have written, which every version reads."""
    model = saving.torch.from_state_dict(Path(__file__).parent / "golden" / "torch.safetensors", activation="relu")
    x = np.linspace(-1, 1, 8, dtype="float32").reshape(2, 4)
    expected = [[0.47942468523979187, -0.11881878226995468], [0.4995512366294861, -0.14098821580410004]]
    np.testing.assert_allclose(model.predict(x), expected, atol=5e-7)
