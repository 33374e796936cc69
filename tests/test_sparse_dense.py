"""SparseDense: the bits of Dense with zeros where nothing is connected, and nothing kept or computed for them."""
import json
import tracemalloc

import numpy as np
import pytest
import reference
from scipy import sparse

from fastnn import _core, layers, models, optimizers, saving, utils
from fastnn.datasets import mnist

INPUTS, UNITS = 37, 21
OPTIMIZERS = {
    "sgd": lambda: optimizers.SGD(0.1), "momentum": lambda: optimizers.SGD(0.1, momentum=0.9),
    "nesterov": lambda: optimizers.SGD(0.1, momentum=0.9, nesterov=True), "rmsprop": lambda: optimizers.RMSprop(0.01),
    "adagrad": lambda: optimizers.Adagrad(0.01), "adam": lambda: optimizers.Adam(0.01),
}


def random_mask(inputs=INPUTS, units=UNITS, density=0.3, seed=0):
    """With inputs and units, the first and the last among them, that are connected to nothing."""
    mask = np.random.default_rng(seed).random((inputs, units)) < density
    mask[::9] = mask[-1] = False
    mask[:, ::7] = mask[:, -1] = False
    return mask


def alike_mask(inputs=INPUTS, units=UNITS, most=9, seed=0):
    """Runs of 1, 2, ..., most units that see the same inputs."""
    runs = np.repeat(np.arange(units), np.arange(units) % most + 1)[:units]
    return random_mask(inputs, units, 0.5, seed)[:, runs]


MASKS = {"random": random_mask(), "alike": alike_mask(), "all": np.ones((INPUTS, UNITS), bool),
         "none": np.zeros((INPUTS, UNITS), bool), "one": np.eye(INPUTS, UNITS, dtype=bool),
         "one input": random_mask(1, UNITS, 0.6), "one unit": random_mask(INPUTS, 2, 0.6)[:, 1:],
         "long": alike_mask(203, 70)}


def pair(mask, dtype="float32", activation="tanh", optimizer="sgd", before="relu", use_bias=True):
    """Compiled models that begin alike: with SparseDense, and with Dense of the same weights and zeros elsewhere."""
    made = []
    for kind in (layers.SparseDense, layers.Dense):
        utils.set_random_seed(3)
        options = {"mask": mask} if kind is layers.SparseDense else {}
        model = models.Sequential([
            layers.Input((5,), dtype=dtype), layers.Dense(mask.shape[0], activation=before),
            kind(mask.shape[1], activation, use_bias, **options), layers.Dense(3)])
        model.compile(OPTIMIZERS[optimizer](), "mse")
        made.append(model)
    first, second = made
    rng = np.random.default_rng(5)
    first.layers[2].values = rng.standard_normal(first.layers[2].values.shape)
    if use_bias:
        first.layers[2].bias = second.layers[2].bias = rng.standard_normal(mask.shape[1])
    second.layers[2].weight = first.layers[2].weight
    for layer in (1, 3):
        second.layers[layer].weight = first.layers[layer].weight
    return first, second


def samples(n, dtype="float32", inputs=5, outputs=3):
    rng = np.random.default_rng(n)
    return rng.standard_normal((n, inputs)).astype(dtype), rng.standard_normal((n, outputs)).astype(dtype)


def state(model):
    """Every weight, of the layer in the middle where it is connected alone, with no sign at a zero."""
    arrays = [layer.weight for layer in model.layers[1:]] + [layer.bias for layer in model.layers[1:]]
    return b"".join((array + 0).tobytes() for array in arrays if array is not None)


def train_both(first, second, mask, x, y, steps=3):
    """Steps of both, the missing weights of Dense being set to zero again."""
    for _ in range(steps):
        first.train_on_batch(x, y)
        second.train_on_batch(x, y)
        second.layers[2].weight = second.layers[2].weight * mask


# The bits of Dense


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("n", [1, 31, 33, 64, 100, 300])
def test_bits_of_dense_with_zeros(mask, n, dtype, isa):
    first, second = pair(MASKS[mask], dtype)
    x, y = samples(n, dtype)
    assert first.predict(x).tobytes() == second.predict(x).tobytes()
    train_both(first, second, MASKS[mask], x, y)
    assert state(first) == state(second)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_bits_of_every_rule(optimizer, dtype):
    mask = MASKS["alike"]
    first, second = pair(mask, dtype, optimizer=optimizer)
    train_both(first, second, mask, *samples(50, dtype))
    assert state(first) == state(second)


@pytest.mark.parametrize("activation", ["linear", "relu", "sigmoid", "softmax"])
@pytest.mark.parametrize("before", ["sigmoid", "tanh", "linear"])
def test_bits_of_activations(activation, before):
    mask = MASKS["random"]
    first, second = pair(mask, "float32", activation, before=before)
    train_both(first, second, mask, *samples(50))
    assert state(first) == state(second)


def test_bits_without_a_bias():
    mask = MASKS["alike"]
    first, second = pair(mask, use_bias=False)
    train_both(first, second, mask, *samples(50))
    assert [w.shape for w in first.layers[2].weights] == [(mask.sum(),)]
    assert state(first) == state(second)


class InPython(optimizers.SGD):
    """Has no compiled rule: gradients are stored, and applied one by one."""

    def update_step(self, gradient, weight, slots):
        super().update_step(gradient, weight, slots)


@pytest.mark.parametrize("n", [40, 600])
def test_stored_gradients_give_the_bits_of_the_rule(n):
    results = []
    for optimizer in (InPython(0.1), optimizers.SGD(0.1)):
        model, _ = pair(MASKS["alike"])
        model.compile(optimizer, "mse")
        for _ in range(3):
            model.train_on_batch(*samples(n))
        results.append(state(model))
    assert results[0] == results[1]


def test_threads_instruction_sets_and_batches_do_not_show(fma_isas, set_isa, set_threads):
    x, y = samples(500)
    expected = None
    for isa in fma_isas:
        set_isa(isa)
        for threads in (1, 2, 3, 5):
            set_threads(threads)
            model, _ = pair(alike_mask(203, 170))
            alone = np.concatenate([model.predict(x[i:i + 1]) for i in range(40)])
            some = np.concatenate([model.predict(x[i:i + 33]) for i in range(0, 500, 33)])
            whole = model.predict(x)
            assert alone.tobytes() == whole[:40].tobytes() and some.tobytes() == whole.tobytes()
            model.fit(x, y, batch_size=128, epochs=2, verbose=0)
            results = whole.tobytes(), state(model)
            expected = expected or results
            assert results == expected, (isa, threads)


def test_stacked_layers_have_the_bits_of_dense_with_any_threads(set_threads):
    masks = [alike_mask(60, 130), random_mask(130, 200, seed=4), alike_mask(200, 3, seed=2)]
    x, y = samples(200, inputs=60)
    expected = None
    for threads, kind in ((1, layers.Dense), (1, layers.SparseDense), (2, layers.SparseDense), (3, layers.SparseDense)):
        set_threads(threads)
        utils.set_random_seed(0)
        sparse_ones = models.Sequential([layers.SparseDense(mask.shape[1], "tanh", mask=mask) for mask in masks])
        sparse_ones.build((60,))
        model = sparse_ones
        if kind is layers.Dense:
            model = models.Sequential([layer.to_dense() for layer in sparse_ones.layers])
        model.compile("adam", "mse")
        for part in (slice(0, 128), slice(128, 200), slice(0, 90)):
            model.train_on_batch(x[part], y[part])
            if kind is layers.Dense:
                for layer, mask in zip(model.layers, masks, strict=True):
                    layer.weight = layer.weight * mask
        found = b"".join((layer.weight + 0).tobytes() + (layer.bias + 0).tobytes() for layer in model.layers)
        expected = expected or found
        assert found == expected, (threads, kind)


def test_bytes_are_gathered_and_scaled():
    mask = random_mask(60, 20)
    x = np.random.default_rng(0).integers(0, 256, (90, 60), "uint8")
    y, results = np.ones((90, 20)), []
    for kind in (layers.SparseDense, layers.Dense):
        utils.set_random_seed(1)
        options = {"mask": mask} if kind is layers.SparseDense else {}
        model = models.Sequential([layers.Rescaling(1 / 255, input_shape=(60,)), kind(20, "relu", **options)])
        model.compile("sgd", "mse")
        model.layers[1].weight = np.arange(1200).reshape(60, 20) % 7 * mask
        model.fit(x, y, batch_size=90, verbose=0)
        results.append((model.layers[1].weight * mask + 0).tobytes() + model.layers[1].bias.tobytes())
    assert results[0] == results[1]


# The formula


def twin(layer, x, dout, activation):
    """float64: out (B, O) and the gradients dx, dvalues, dbias."""
    forward, backward = reference.ACTIVATIONS[activation]
    weight = layer.weight.astype("float64")
    out = forward(x.astype("float64") @ weight + layer.bias)
    dout = backward(out, dout)
    dweight = x.T.astype("float64") @ dout
    return out, dout @ weight.T, dweight.T[layer.mask.T], dout.sum(0)


@pytest.mark.parametrize("mask", ["random", "alike", "long"])
@pytest.mark.parametrize("activation", ["linear", "relu", "sigmoid", "tanh"])
def test_forward_and_gradients_by_the_formula(mask, activation, dtype, isa):
    mask = MASKS[mask]
    model = models.Sequential([layers.Activation("linear", input_shape=mask.shape[:1], dtype=dtype),
                               layers.SparseDense(mask.shape[1], activation, mask=mask)])
    layer, optimizer = model.layers[1], InPython(1.0)
    optimizer.momentum = 0
    model.compile(optimizer, "mse")
    x, y = samples(45, dtype, *mask.shape)
    out = model.predict(x)
    expected, _, dvalues, dbias = twin(layer, x, 2 * (out - y) / out.size, activation)
    tolerance = 2e-5 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(out, expected, rtol=tolerance, atol=tolerance)
    before = [w.copy() for w in layer.weights]
    model.train_on_batch(x, y)
    for old, new, gradient in zip(before, layer.weights, (dvalues, dbias), strict=True):
        np.testing.assert_allclose(old - new, gradient, rtol=tolerance * 10, atol=tolerance)


@pytest.mark.parametrize("mask", ["random", "alike", "one"])
def test_gradients_by_central_differences(mask):
    model, _ = pair(MASKS[mask], "float64", "tanh", before="tanh")
    optimizer = InPython(1.0)
    model.compile(optimizer, "mse")
    x, y = samples(9, "float64")
    before = model.get_weights()
    model.train_on_batch(x, y)
    gradients = [old - new for old, new in zip(before, model.get_weights(), strict=True)]
    model.set_weights(before)
    for weight, gradient in zip(model.weights, gradients, strict=True):
        for at in list(np.ndindex(weight.shape))[::7]:
            old, losses = weight[at], []
            for step in (1e-5, -1e-5):
                weight[at] = old + step
                losses.append(model.test_on_batch(x, y))
            weight[at] = old
            np.testing.assert_allclose(gradient[at], (losses[0] - losses[1]) / 2e-5, rtol=1e-4, atol=1e-8)


# The pattern


@pytest.mark.parametrize("inputs, units, density", [(784, 512, 0.1), (100, 10, 0.5), (7, 3, 0.01), (10, 40, 1),
                                                    (50, 33, 0.73), (1, 1, 0.5)])
def test_density_gives_each_unit_and_each_input_as_many(inputs, units, density):
    layer = layers.SparseDense(units, density=density)
    layer.build((inputs,), seed=5)
    seen = max(1, round(density * inputs))
    alike = min(8, max(1, units // 16))
    np.testing.assert_array_equal(layer.mask.sum(0), seen)
    assert layer.values.shape == (seen * units,) and layer.count_params() == seen * units + units
    groups = layer.mask[:, ::alike]
    for first in range(alike):
        columns = layer.mask[:, first::alike]
        np.testing.assert_array_equal(columns, groups[:, :columns.shape[1]])
    often = groups.sum(1)
    assert often.max() - often.min() <= 1


def test_pattern_follows_the_seeds():
    def mask(seed=None, model_seed=1, stream=1):
        layer = layers.SparseDense(20, density=0.3, seed=seed)
        layer.build((50,), seed=model_seed, stream=stream)
        return layer.mask

    assert (mask() == mask()).all() and (mask(7, 1) == mask(7, 2)).all()
    for other in (mask(model_seed=2), mask(stream=3), mask(7)):
        assert (other != mask()).any()


def test_dealing_by_hand():
    found = _core.deal(5, 4, 3, 9)
    decks = [reference.permutation(5, reference.random_key(9, deck, 2)) for deck in range(3)]
    hands, deck = [], []
    for _ in range(4):
        hand = []
        while len(hand) < 3:
            if not deck:
                deck = decks.pop(0)
                deck = [card for card in deck if card not in hand] + [card for card in deck if card in hand]
            hand.append(deck.pop(0))
        hands.append(sorted(hand))
    np.testing.assert_array_equal(found, hands)


def test_order_of_the_values():
    mask = MASKS["random"]
    layer = layers.SparseDense(UNITS, mask=mask)
    layer.build((INPUTS,))
    layer.values = np.arange(mask.sum())
    unit, from_input = np.nonzero(mask.T)
    np.testing.assert_array_equal(layer.weight[from_input, unit], np.arange(mask.sum()))
    np.testing.assert_array_equal(layer.mask, mask)
    copy = layer.weight
    copy[...] = 5
    assert (layer.values == np.arange(mask.sum())).all()
    layer.weight = mask * 2.0
    np.testing.assert_array_equal(layer.values, 2)
    np.testing.assert_array_equal(layer.kernel, mask * 2)


def test_sparse_masks_are_never_made_dense():
    rng = np.random.default_rng(0)
    mask = sparse.coo_array((np.ones(3000, bool), (rng.integers(0, 30000, 3000), rng.integers(0, 20000, 3000))),
                            (30000, 20000))
    tracemalloc.start()
    model = models.Sequential([layers.SparseDense(20000, mask=mask, input_shape=(30000,))])
    model.compile("adam", "mse")
    model.train_on_batch(np.ones((2, 30000), "float32"), np.ones((2, 20000), "float32"))
    used = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert used < 8 << 20
    assert [slot.shape for slot in model.optimizer.slots[0]] == [model.layers[0].values.shape] * 2
    small = random_mask()
    layer = layers.SparseDense(UNITS, mask=sparse.csr_matrix(small))
    layer.build((INPUTS,))
    np.testing.assert_array_equal(layer.mask, small)


def test_initial_values_vary_as_much_as_those_of_dense():
    outs = []
    for layer in (layers.SparseDense(400, density=0.1), layers.Dense(400)):
        layer.build((900,), seed=1)
        outs.append(layer(np.random.default_rng(0).standard_normal((200, 900)).astype("float32")).std())
    np.testing.assert_allclose(outs[0], outs[1], rtol=0.05)
    layer = layers.SparseDense(400, density=0.1)
    layer.build((900,))
    np.testing.assert_allclose(abs(layer.values).max(), (6 / (90 + 40)) ** 0.5, rtol=1e-3)


# As plain data and in files


@pytest.mark.parametrize("mask", MASKS)
def test_masks_as_plain_data(mask):
    layer = layers.SparseDense(MASKS[mask].shape[1], "relu", mask=MASKS[mask], name="few")
    for given in (layer.get_config(), json.loads(json.dumps(layer.get_config()))):
        copy = layers.SparseDense.from_config(given)
        assert copy.get_config() == layer.get_config()
        copy.build(MASKS[mask].shape[:1])
        np.testing.assert_array_equal(copy.mask, MASKS[mask])
        assert copy.get_config()["mask"] == layer.get_config()["mask"]


@pytest.mark.parametrize("density", [0.5, 0.1, 0.01, 0.0005])
def test_a_mask_as_plain_data_is_short(density):
    mask = np.random.default_rng(0).random((784, 512)) < density
    layer = layers.SparseDense(512, mask=mask)
    assert len(json.dumps(layer.get_config())) < 2 * mask.sum() + mask.size / 150 + 500
    copy = layers.SparseDense.from_config(layer.get_config())
    copy.build((784,))
    np.testing.assert_array_equal(copy.mask, mask)


def test_a_clone_has_the_pattern():
    model = models.Sequential([layers.SparseDense(30, density=0.2, input_shape=(40,)), layers.SparseDense(
        3, mask=random_mask(30, 3))])
    clone = models.clone_model(model)
    clone.set_weights(model.get_weights())
    x = samples(7, inputs=40)[0]
    assert clone.predict(x).tobytes() == model.predict(x).tobytes()


def test_saved_and_loaded_it_trains_on(tmp_path):
    x, y = samples(100, inputs=40)
    utils.set_random_seed(0)
    model = models.Sequential([layers.SparseDense(30, "relu", density=0.2, input_shape=(40,)), layers.SparseDense(
        3, mask=random_mask(30, 3))])
    model.compile("adam", "mse")
    model.fit(x, y, verbose=0)
    model.save(tmp_path / "model.fastnn")
    loaded = models.load_model(tmp_path / "model.fastnn")
    for both in (model, loaded):
        both.fit(x, y, epochs=2, verbose=0)
    for ours, theirs in zip(model.weights, loaded.weights, strict=True):
        assert ours.tobytes() == theirs.tobytes()
    np.testing.assert_array_equal(loaded.layers[0].mask, model.layers[0].mask)


def test_to_dense_for_files_of_others(tmp_path):
    model = models.Sequential([layers.SparseDense(30, "softmax", density=0.2, input_shape=(40,)), layers.SparseDense(
        3, use_bias=False, kernel_regularizer="l2", mask=random_mask(30, 3), trainable=False)])
    x = samples(7, inputs=40)[0]
    for refused in (lambda: model.save(tmp_path / "model.keras"), lambda: saving.torch.to_state_dict(model)):
        with pytest.raises(TypeError, match="Put|put layer.to_dense\\(\\) in its place"):
            refused()
    dense = models.Sequential([layer.to_dense() for layer in model.layers])
    assert [type(layer) for layer in dense.layers] == [layers.Dense] * 2
    assert dense.layers[1].kernel_regularizer is not None and not dense.layers[1].trainable
    assert dense.predict(x).tobytes() == model.predict(x).tobytes()
    saving.torch.to_state_dict(dense)
    assert not layers.SparseDense(3, density=0.5).to_dense().built


@pytest.mark.parametrize("mask", [
    {}, {"shape": [3], "gaps": ""}, {"shape": [3, -1], "gaps": ""}, {"shape": [3, 2]}, {"shape": [3, 2], "gaps": 5},
    {"shape": [3, 2], "gaps": "?"}, {"shape": [3, 2], "gaps": "AAAA" * 9}, {"shape": [3, 2], "gaps": "////"},
    {"shape": [3, 2], "gaps": "/wA="}, {"shape": [10**9, 10**9], "gaps": ""}, {"shape": ["3", 2], "gaps": ""}, [], "x"])
def test_damaged_masks_are_refused(mask):
    units = mask["shape"][1] if isinstance(mask, dict) and mask.get("shape") == [3, 2] else 2
    with pytest.raises((TypeError, ValueError), match="mask|shape"):
        layers.SparseDense(units, mask=mask).build((3,))


# Errors


@pytest.mark.parametrize("options, error, message", [
    ({}, ValueError, "one of density and mask, received none"),
    ({"density": 0.5, "mask": MASKS["random"]}, ValueError, "received both"),
    ({"density": 0}, ValueError, "in \\(0, 1\\], received 0"), ({"density": 1.5}, ValueError, "received 1.5"),
    ({"density": True}, ValueError, "received True"), ({"density": "few"}, ValueError, "received 'few'"),
    ({"density": float("nan")}, ValueError, "received nan"), ({"density": 0.5, "seed": -1}, ValueError, "seed"),
    ({"mask": MASKS["random"][:, 1:]}, ValueError, "a column for each of 21 units, received 20"),
    ({"mask": MASKS["random"][0]}, ValueError, "shape \\(21,\\) of bool"),
    ({"mask": MASKS["random"] * 0.5}, ValueError, "mask=weight != 0"),
    ({"mask": np.full((INPUTS, UNITS), "x")}, ValueError, "boolean array"),
])
def test_refusals(options, error, message):
    with pytest.raises(error, match=message):
        layers.SparseDense(UNITS, **options)


def test_refusals_when_it_is_built():
    layer = layers.SparseDense(UNITS, mask=MASKS["random"])
    for change in (lambda: layer.build((INPUTS + 1,)), lambda: setattr(layer, "values", [1]),
                   lambda: setattr(layer, "weight", np.zeros((INPUTS, UNITS))), lambda: layer.build((INPUTS, 2))):
        with pytest.raises(ValueError, match="37 rows|needs|one axis|samples of shape"):
            change()
        assert not layer.built and layer.weight is None and layer.values is None
    layer.build((INPUTS,))
    with pytest.raises(ValueError, match="zero where the layer has no connection"):
        layer.weight = np.ones((INPUTS, UNITS))
    with pytest.raises(ValueError, match="received shape"):
        layer.weight = np.ones((UNITS, INPUTS))


def test_sparse_rows_are_refused():
    model = models.Sequential([layers.SparseDense(UNITS, mask=MASKS["random"], input_shape=(INPUTS,))])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="Only a Dense layer reads sparse rows.*SparseDense.*toarray"):
        model.predict(sparse.csr_array((4, INPUTS)))
    with pytest.raises(ValueError, match="first stage Dense"):
        layer = layers.SparseDense(UNITS, mask=MASKS["random"])
        layer.build((INPUTS,))
        layer(sparse.csr_array((4, INPUTS)))


@pytest.mark.parametrize("start, index, inputs, bias", [
    ([0, 2, 2], [0, 1, 2], 3, 2), ([1, 2, 3], [0, 1, 2], 3, 2), ([0, 4, 3], [0, 1, 2], 3, 2),
    ([0, 2, 3], [0, 3, 2], 3, 2),
    ([0, 2, 3], [0, -1, 2], 3, 2), ([0, 2, 3], [1, 0, 2], 3, 2), ([0, 2, 3], [1, 1, 2], 3, 2),
    ([0, 2, 3], [0, 1], 3, 2),
    ([0, 2, 3], [0, 1, 2], 3, 1), ([], [0, 1, 2], 3, 2)])
def test_the_stage_refuses_what_would_read_out_of_bounds(start, index, inputs, bias):
    with pytest.raises(ValueError, match="connections of"):
        _core.SparseDense(np.ones(3), np.array(start, "int64"), np.array(index, "int32"), inputs, np.ones(bias), "relu")


def test_it_learns_digits():
    (x, y), _ = mnist.load_sample()
    utils.set_random_seed(0)
    model = models.Sequential([layers.Flatten(input_shape=(28, 28)), layers.Rescaling(1 / 255),
                               layers.SparseDense(128, "relu", density=0.1),
                               layers.SparseDense(10, "softmax", density=0.5)])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(x[:2000], y[:2000], epochs=8, verbose=0).history
    assert history["loss"][-1] < 0.4 * history["loss"][0] and history["accuracy"][-1] > 0.88
