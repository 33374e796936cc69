"""Dropout: what it passes, its statistics, its independence of threads and sets, and resumption."""
import numpy as np
import pytest
from watch import Watch

from fastnn import layers, models, saving
from fastnn.layers import Dense, Dropout
from fastnn.utils import set_random_seed


def masks(rate, units, batch, steps, dtype="float32", seed=None, depth=1):
    """Where numbers pass in each step, (steps, batch, units): each sample has a row of the first weight of its own."""
    set_random_seed(4)
    model = models.Sequential([layers.Input((batch,), dtype=dtype), Dense(units, use_bias=False),
                               *[Dropout(rate, seed=seed) for _ in range(depth)], Dense(1, use_bias=False)])
    model.compile(Watch(), "mse")
    for weight in model.weights:
        weight[...] = 1
    x, y = np.eye(batch), np.full((batch, 1), -1e6)
    return np.array([model.optimizer.step(model, x, y)[0] != 0 for _ in range(steps)])


def test_masks_have_the_rate_and_are_independent():
    found = masks(0.3, 500, 40, 8)
    assert abs(found.mean() - 0.7) < 4 * (0.21 / found.size) ** 0.5
    for rows in (found, found.transpose(1, 0, 2), found.transpose(2, 0, 1)):    # by step, by sample, by unit
        means = rows.reshape(len(rows), -1).mean(1)
        size = rows[0].size
        assert np.abs(means - 0.7).max() < 5 * (0.21 / size) ** 0.5
    centred = found - 0.7
    for shift in [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (0, 1, 1), (3, 0, 0), (0, 0, 16), (0, 2, 7)]:
        both = (centred * np.roll(centred, shift, (0, 1, 2))).mean() / 0.21
        assert abs(both) < 5 / found.size ** 0.5
    pairs = np.corrcoef(found.reshape(len(found), -1))
    assert np.abs(pairs - np.eye(len(found))).max() < 5 / found[0].size ** 0.5


def test_layers_of_one_model_differ_and_both_types_agree():
    assert (masks(0.5, 100, 10, 3, "float64") == masks(0.5, 100, 10, 3)).all()
    both = masks(0.5, 400, 20, 3, depth=2)
    assert abs(both.mean() - 0.25) < 0.02
    one = masks(0.5, 400, 20, 3)
    assert not (one[0] == one[1]).all()


def test_a_seed_of_its_own():
    assert (masks(0.5, 50, 5, 2, seed=3) == masks(0.5, 50, 5, 2, seed=3)).all()
    assert not (masks(0.5, 50, 5, 2, seed=3) == masks(0.5, 50, 5, 2, seed=4)).all()


def test_a_step_by_hand(isa):
    """One sample, whose mask the last gradient tells: h = relu(x . first + bias), out = (mask h) . last + end."""
    model = models.Sequential([layers.Input((6,), dtype="float64"), Dense(90, activation="relu"), Dropout(0.2),
                               Dense(1)])
    model.compile(Watch(), "mse")
    x, y = np.random.default_rng(0).normal(0, 1, (1, 6)), np.array([[5.0]])
    first, bias, last, end = model.weights
    h = np.maximum(x @ first + bias, 0)
    dfirst, dbias, dlast, dend = model.optimizer.step(model, x, y)
    alive = h[0] > 0
    mask = np.where(alive, dlast[:, 0] / dend / np.where(alive, h[0], 1), 1)
    assert set(np.round(mask[alive], 12)) == {0.0, 1.25}
    dout = 2 * ((mask * h) @ last + end - y)
    np.testing.assert_allclose(dend, dout[0], 1e-12)
    dz = dout * last.T * mask * alive
    np.testing.assert_allclose(dbias, dz[0], 1e-12, 1e-15)
    np.testing.assert_allclose(dfirst, x.T @ dz, 1e-12, 1e-15)
    np.testing.assert_allclose(model.predict(x), h @ last + end, 1e-12)       # nothing is dropped
    np.testing.assert_allclose(model.evaluate(x, y), ((h @ last + end - y) ** 2).item(), 1e-12)
    np.testing.assert_array_equal(model.layers[2](h), h)


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_all_or_nothing(rate):
    model = models.Sequential([Dense(4, input_shape=(3,)), Dropout(rate), Dense(2)])
    model.compile(Watch(), "mse")
    first, _, last, _ = model.optimizer.step(model, np.ones((5, 3)), np.ones((5, 2)))
    assert (rate == 1) == (not first.any() and not last.any())


def network():
    set_random_seed(9)
    model = models.Sequential([Dropout(0.1, input_shape=(30,)), Dense(300, activation="relu"), Dropout(0.5),
                               Dense(40, activation="sigmoid"), Dropout(0.2), Dense(4)])
    model.compile("adam", "mse")
    return model


def trained(model, epochs, initial_epoch=0):
    """The weights' bytes after the epochs."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(0, 1, (300, 30)).astype("float32"), rng.normal(0, 1, (300, 4)).astype("float32")
    model.fit(x, y, epochs=epochs, batch_size=128, verbose=0, initial_epoch=initial_epoch)
    return b"".join(w.tobytes() for w in model.weights)


def test_the_same_bits_on_any_threads_and_sets(fma_isas, set_isa, set_threads):
    found = set()
    for isa in fma_isas:
        for threads in (1, 2, 3):
            set_isa(isa)
            set_threads(threads)
            found.add(trained(network(), 2))
    assert len(found) == 1


def test_training_in_two_parts_is_training_in_one():
    model = network()
    trained(model, 2)
    again = saving.from_bytes(saving.to_bytes(model))
    whole = trained(network(), 4)
    assert trained(model, 4, 2) == whole
    assert trained(again, 4, 2) == whole


@pytest.mark.parametrize(("rate", "message"), [
    (1.5, "Dropout: rate must be from 0 to 1, received 1.5."), (-0.1, "must be from 0 to 1"),
    ("a", "must be a finite number"), (True, "must be a finite number")])
def test_bad_rates(rate, message):
    with pytest.raises((TypeError, ValueError)) as error:
        Dropout(rate)
    assert message in str(error.value)


def test_configuration():
    layer = Dropout(0.4, seed=3, name="d")
    assert layers.get({"class_name": "Dropout", "config": layer.get_config()}).get_config() == layer.get_config()
    assert not layer.weights
