"""Sparse rows as input: every result has the bits that the same numbers give as a dense array."""
import numpy as np
import pytest
from scipy import sparse

from fastnn import layers, models, optimizers, utils

OPTIMIZERS = [optimizers.SGD, lambda: optimizers.SGD(0.1, momentum=0.9), optimizers.RMSprop, optimizers.Adagrad,
              lambda: optimizers.Adagrad(epsilon=0), optimizers.Adam]
IDS = ["sgd", "momentum", "rmsprop", "adagrad", "adagrad without epsilon", "adam"]


def bag_of_words(n=150, words=97, density=0.05, dtype="float32", seed=0):
    """Sparse rows and their dense form, with empty rows and columns among them; labels of 3 classes."""
    rng = np.random.default_rng(seed)
    dense = np.where(rng.random((n, words)) < density, rng.integers(1, 200, (n, words)), 0).astype(dtype)
    dense[::7] = 0
    dense[:, ::5] = 0
    return sparse.csr_array(dense), dense, rng.integers(0, 3, n)


def network(words=97, hidden=33, optimizer="rmsprop", dtype=None):
    utils.set_random_seed(3)
    model = models.Sequential([layers.Dense(hidden, activation="relu", input_shape=(words,), dtype=dtype),
                               layers.Dense(3, activation="softmax")])
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def trained(x, y, *, batch_size=32, optimizer="rmsprop", dtype=None, hidden=33):
    """Everything that two epochs and the questions after them give, as bytes."""
    model = network(x.shape[1], hidden, optimizer, dtype)
    history = model.fit(x, y, epochs=2, batch_size=batch_size, validation_split=0.2, verbose=0)
    state = [*model.weights, *(slot for slots in model.optimizer.slots for slot in slots)]
    return [array.tobytes() for array in state] + [history.history, model.evaluate(x, y), model.predict(x).tobytes()]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=IDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_fit_gives_the_bits_of_dense_rows(optimizer, dtype, isa):
    rows, dense, y = bag_of_words()
    expected = trained(dense, y, optimizer=optimizer(), dtype=dtype)
    assert trained(rows, y, optimizer=optimizer(), dtype=dtype) == expected


@pytest.mark.parametrize("hidden", [1, 2, 15, 16, 17, 31, 63, 64, 65, 130])
@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_awkward_sizes(hidden, batch_size, isa):
    rows, dense, y = bag_of_words(20, 13, 0.3)
    expected = trained(dense, y, hidden=hidden, batch_size=batch_size)
    assert trained(rows, y, hidden=hidden, batch_size=batch_size) == expected


def test_threads_and_instruction_sets_do_not_show(fma_isas, set_isa, set_threads):
    rows, _, y = bag_of_words(600, 2000, 0.05)
    expected = None
    for isa in fma_isas:
        set_isa(isa)
        for threads in (1, 2, 3, 4):
            set_threads(threads)
            results = trained(rows, y, batch_size=128, hidden=100)
            expected = expected or results
            assert results == expected, (isa, threads)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "bool", "float32", "float64"])
@pytest.mark.parametrize("index", ["int32", "int64"])
def test_values_and_indices_of_every_dtype(dtype, index):
    rows, dense, y = bag_of_words(dtype="uint8")
    rows = rows.astype(dtype)
    rows.indices, rows.indptr = rows.indices.astype(index), rows.indptr.astype(index)
    for model in (network(), network(dtype="float64")):
        assert model.predict(rows).tobytes() == model.predict(dense.astype(dtype)).tobytes()


def test_scaled_rows():
    rows, dense, y = bag_of_words(dtype="uint8")
    results = []
    for x in (rows, dense):
        utils.set_random_seed(0)
        model = models.Sequential([layers.Rescaling(1 / 255, input_shape=(97,)), layers.Dense(5)])
        model.compile("adam", "mse")
        model.fit(x, np.ones((150, 5)), verbose=0)
        results.append(model.predict(x).tobytes())
    assert results[0] == results[1]


def test_unsorted_and_doubled_entries_are_summed_in_a_copy():
    rows = sparse.csr_array((np.array([1, 2, 4, 8], "float32"), np.array([3, 1, 3, 0]), np.array([0, 3, 4])), (2, 4))
    before = [array.copy() for array in (rows.data, rows.indices, rows.indptr)]
    model = network(4)
    assert model.predict(rows).tobytes() == model.predict(np.array([[0, 2, 0, 5], [8, 0, 0, 0]], "float32")).tobytes()
    for array, old in zip((rows.data, rows.indices, rows.indptr), before, strict=True):
        np.testing.assert_array_equal(array, old)


def test_read_only_arrays_and_longer_ones_than_their_rows_need():
    rows, dense, _ = bag_of_words()
    rows.data = np.append(rows.data, np.float32(np.nan))
    rows.indices = np.append(rows.indices, rows.indices.dtype.type(-1))
    for array in (rows.data, rows.indices, rows.indptr):
        array.flags.writeable = False
    model = network()
    assert model.predict(rows).tobytes() == model.predict(dense).tobytes()


@pytest.mark.parametrize("kind", ["coo", "csc", "lil", "dok", "bsr"])
def test_other_sparse_formats_become_rows(kind):
    rows, dense, y = bag_of_words()
    assert trained(rows.asformat(kind), y) == trained(dense, y)


def test_single_batches_and_explicit_validation_data():
    rows, dense, y = bag_of_words()
    results = []
    for x in (rows, sparse.csr_matrix(dense), dense):
        model = network()
        numbers = model.train_on_batch(x, y), model.test_on_batch(x, y)
        history = model.fit(x, y, epochs=2, validation_data=(x, y), shuffle=False, verbose=0).history
        results.append((numbers, history, model.layers[0](x).tobytes()))
    assert results[0] == results[1] == results[2]


def test_rows_without_any_entry():
    empty = sparse.csr_array((40, 97), dtype="float32")
    y = np.arange(40) % 3
    assert trained(empty, y) == trained(empty.toarray(), y)


def refusals():
    rows, _, _ = bag_of_words(4, 6, 0.9)
    outside, falling = rows.copy(), rows.copy()
    outside.indices = outside.indices.copy()
    outside.indices[0] = 6
    falling.indptr = falling.indptr[[0, 2, 1, 3, 4]]
    return [(rows, 5, ValueError, "expects inputs of shape"), (rows.astype(complex), 6, TypeError, "complex"),
            (outside, 6, ValueError, "columns 0 to 5"), (falling, 6, ValueError, "indptr")]


def test_more_columns_than_int32_can_number():
    model = models.Sequential([layers.Dense(2)])
    model.compile("sgd", "mse")
    rows = sparse.csr_array((2, 2**31))
    with pytest.raises(ValueError, match=r"Sparse rows may have up to 2\*\*31 - 1 columns, received 2147483648"):
        model.fit(rows, np.zeros((2, 2)))
    assert not model.built


@pytest.mark.parametrize("rows, words, error, message", refusals(), ids=["shape", "dtype", "index", "indptr"])
def test_refusals_change_nothing(rows, words, error, message):
    model = network(words)
    before = model.get_weights()
    for call in (model.predict, lambda x: model.fit(x, [0, 1, 2, 0])):
        with pytest.raises(error, match=message):
            call(rows)
    for new, old in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(new, old)


def test_a_first_layer_that_cannot_read_sparse_rows_is_named():
    model = models.Sequential([layers.Activation("relu", input_shape=(97,)), layers.Dense(3)])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="'activation' .Activation."):
        model.predict(bag_of_words()[0])


def test_a_loss_that_is_not_finite_keeps_the_weights():
    rows, _, y = bag_of_words()
    rows.data[3] = np.nan
    model = network()
    before = model.get_weights()
    with pytest.raises(RuntimeError, match="not finite"):
        model.fit(rows, y, batch_size=150, verbose=0)
    for new, old in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(new, old)


def test_a_bag_of_words_never_becomes_dense():
    """20,000 rows of 20,000 words are 1.6 GB as a dense float32 array."""
    resource = pytest.importorskip("resource")
    rng = np.random.default_rng(0)
    index = np.sort(rng.integers(0, 400, (20_000, 50)) + 400 * np.arange(50), axis=1).ravel()
    rows = sparse.csr_array((np.ones(index.size, "float32"), index, np.arange(20_001) * 50), (20_000, 20_000))
    model = network(20_000, 16)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    model.fit(rows, rng.integers(0, 3, 20_000), batch_size=128, verbose=0)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60_000     # kB: indices, lists, slots
