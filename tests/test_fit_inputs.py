"""What fit, evaluate and predict take: weights, batches from iterables, files larger than memory, tables."""
import subprocess
import sys
import warnings

import numpy as np
import pytest

from fastnn import callbacks, layers, models

RNG = np.random.default_rng(0)
N = 90
X = RNG.standard_normal((N, 4)).astype("float32")
LABELS = RNG.integers(0, 3, N)
Y = np.eye(3, dtype="float32")[LABELS]
WEIGHTS = RNG.random(N).astype("float32")
QUIET = {"verbose": 0, "shuffle": False}


def model(loss="categorical_crossentropy", units=3, metrics=("accuracy",)):
    made = models.Sequential([layers.Dense(5, activation="tanh", input_shape=(4,)),
                              layers.Dense(units, activation="softmax" if units > 1 else "sigmoid")])
    start = np.random.default_rng(1)
    made.set_weights([start.standard_normal(w.shape) for w in made.weights])
    made._seed = 1
    made.compile("sgd", loss, metrics=metrics)
    return made


def fitted(x, y=None, loss="categorical_crossentropy", units=3, **options):
    made = model(loss, units)
    history = made.fit(x, y, **{"epochs": 2, "batch_size": 10, **QUIET, **options}).history
    return [*made.get_weights(), *map(np.array, history.values())]


def assert_same(found, right):
    for a, b in zip(found, right, strict=True):
        np.testing.assert_array_equal(a, b)


def batches(count=9, weights=False):
    for i in range(count):
        part = slice(i % 9 * 10, i % 9 * 10 + 10)
        yield (X[part], Y[part], WEIGHTS[part]) if weights else (X[part], Y[part])


class Sequence:
    def __init__(self):
        self.asked, self.ends = [], 0

    def __len__(self):
        return 9

    def __getitem__(self, i):
        if not 0 <= i < 9:
            raise IndexError(i)
        self.asked.append(i)
        return X[10 * i:10 * i + 10], Y[10 * i:10 * i + 10]

    def on_epoch_end(self):
        self.ends += 1


class Loader:
    """As torch's DataLoader: no index."""

    def __len__(self):
        return 9

    def __iter__(self):
        return batches()


# Weights of samples and classes

@pytest.mark.parametrize("y, loss, units, labels", [
    (Y, "categorical_crossentropy", 3, LABELS), (LABELS, "sparse_categorical_crossentropy", 3, LABELS),
    (LABELS[:, None], "sparse_categorical_crossentropy", 3, LABELS),
    ((LABELS == 1).astype(float), "binary_crossentropy", 1, LABELS == 1), (LABELS == 1, "mse", 1, LABELS == 1),
], ids=["one-hot", "sparse", "sparse column", "binary", "bool"])
def test_class_weight_is_the_weight_of_its_samples(y, loss, units, labels):
    by_sample = np.where(labels == 1, 3.0, np.where(labels == 0, 0.5, 1.0))
    assert_same(fitted(X, y, loss, units, class_weight={0: 0.5, 1: 3}),
                fitted(X, y, loss, units, sample_weight=by_sample))


@pytest.mark.parametrize("form", [list, lambda w: w[:, None], lambda w: w.astype("float64"), lambda w: w[::-1][::-1]])
def test_the_form_of_weights_changes_nothing(form):
    assert_same(fitted(X, Y, sample_weight=form(WEIGHTS)), fitted(X, Y, sample_weight=WEIGHTS))


def test_weights_go_with_their_samples_when_shuffled():
    options = {"sample_weight": WEIGHTS, "shuffle": True, "batch_size": N}
    found, right = fitted(X, Y, **options), fitted(X, Y, **{**options, "shuffle": False})
    for a, b in zip(found, right, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_weights_are_split_with_their_samples():
    history = model().fit(X, Y, sample_weight=WEIGHTS, validation_split=0.2, verbose=0).history
    made = model()
    right = made.fit(X[:72], Y[:72], sample_weight=WEIGHTS[:72], verbose=0,
                     validation_data=(X[72:], Y[72:], WEIGHTS[72:])).history
    assert history == right


def test_train_and_test_on_batch_take_weights():
    a, b = model(), model()
    before = a.test_on_batch(X, Y, WEIGHTS)
    assert before == pytest.approx(a.evaluate(X, Y, batch_size=7, sample_weight=WEIGHTS), rel=1e-6)
    assert before == a.train_on_batch(X, Y, WEIGHTS)
    b.fit(X, Y, batch_size=N, sample_weight=WEIGHTS, **QUIET)
    assert_same(a.weights, b.weights)
    c, d = model(), model()
    c.train_on_batch(X, Y, class_weight={2: 5.0})
    d.fit(X, Y, batch_size=N, class_weight={2: 5.0}, **QUIET)
    assert_same(c.weights, d.weights)


@pytest.mark.parametrize("options, error, message", [
    ({"sample_weight": WEIGHTS[:5]}, ValueError, r"one number for each of the 90 samples.*received shape \(5,\)"),
    ({"sample_weight": WEIGHTS[:, None] * np.ones(3)}, ValueError, r"received shape \(90, 3\)"),
    ({"sample_weight": np.full(N, np.nan)}, ValueError, "holds NaN or infinity"),
    ({"sample_weight": ["a"] * N}, TypeError, "sample_weight must hold real numbers"),
    ({"sample_weight": WEIGHTS, "class_weight": {0: 1}}, ValueError, "both sample_weight and class_weight"),
    ({"class_weight": [1, 2, 3]}, TypeError, r"class_weight must be a dict.*received \[1, 2, 3\]"),
    ({"class_weight": {3: 1.0}}, ValueError, "has the key 3, but the labels are the integers 0 to 2"),
    ({"class_weight": {"a": 1.0}}, ValueError, "has the key 'a'"),
    ({"class_weight": {0: "x"}}, ValueError, "must give class 0 a finite number, received 'x'"),
    ({"validation_freq": 0}, ValueError, "validation_freq must be at least 1, received 0"),
    ({"steps_per_epoch": 0}, ValueError, "steps_per_epoch must be at least 1, received 0"),
    ({"validation_batch_size": 1.5}, TypeError, "validation_batch_size must be an integer, received 1.5"),
    ({"validation_data": (X, Y, WEIGHTS[:3])}, ValueError, "validation_data: sample_weight must hold one number"),
    ({"validation_data": (X,)}, ValueError, "validation_data must be a pair"),
])
def test_a_refused_call_changes_nothing(options, error, message):
    made = model()
    before = made.get_weights()
    with pytest.raises(error, match=message):
        made.fit(X, Y, verbose=0, **options)
    assert_same(made.weights, before)


def test_class_weight_of_numbers_that_are_no_classes():
    with pytest.raises(ValueError, match="needs a y that names classes 0 to 1.*Use sample_weight"):
        model("mse", 1).fit(X, X[:, 0], class_weight={0: 2.0}, verbose=0)


# Validation and steps

@pytest.mark.parametrize("freq, epochs", [(1, [1, 2, 3, 4, 5]), (2, [2, 4]), ([1, 5], [1, 5])])
def test_validation_freq(freq, epochs):
    told = []
    report = callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: told.append("val_loss" in logs))
    history = model().fit(X, Y, epochs=5, validation_data=(X, Y), validation_freq=freq, verbose=0,
                          callbacks=[report]).history
    assert [i + 1 for i, had in enumerate(told) if had] == epochs
    assert len(history["val_loss"]) == len(epochs) and len(history["loss"]) == 5


def test_validation_steps_and_evaluate_steps_take_the_first_batches():
    made = model()
    right = made.evaluate(X[:40], Y[:40])
    assert made.evaluate(X, Y, batch_size=20, steps=2) == pytest.approx(right, rel=1e-6)
    history = made.fit(X, Y, validation_data=(X, Y), validation_batch_size=20, validation_steps=2, verbose=0).history
    assert history["val_loss"] == pytest.approx([made.evaluate(X[:40], Y[:40])[0]], rel=1e-6)


def steps_of(x, y=None, **options):
    made = model()
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        history = made.fit(x, y, batch_size=10, verbose=0, **options).history
    assert all(w.filename == __file__ for w in found), [w.filename for w in found]
    return made.optimizer.iterations, len(history["loss"]), len([w for w in found if "ran out" in str(w.message)])


def test_steps_per_epoch_is_keras_one():
    """Counted with Keras: an epoch goes on where the last ended, and ends early, with a warning, with the data."""
    assert steps_of(X, Y, steps_per_epoch=3, epochs=4) == (12, 4, 0)
    assert steps_of(X, Y, steps_per_epoch=4, epochs=3) == (9, 3, 1)
    assert steps_of(X, Y, steps_per_epoch=15, epochs=2) == (18, 2, 2)
    assert steps_of(batches(1000), steps_per_epoch=7, epochs=2) == (14, 2, 0)
    assert steps_of(batches(), epochs=1) == (9, 1, 0)
    assert steps_of(batches(), epochs=3) == (9, 1, 1)
    assert steps_of(batches(), steps_per_epoch=4, epochs=3) == (9, 3, 1)
    assert steps_of(Loader(), epochs=3) == (27, 3, 0)
    assert steps_of(Sequence(), epochs=2) == (18, 2, 0)
    assert steps_of(Sequence(), steps_per_epoch=4, epochs=3) == (9, 3, 1)


# Batches

@pytest.mark.parametrize("make", [lambda: batches(18), Loader, Sequence, lambda: list(batches())],
                         ids=["generator", "loader", "sequence", "list"])
def test_batches_train_to_the_bits_of_their_arrays(make):
    assert_same(fitted(make(), steps_per_epoch=9), fitted(X, Y))


def test_batches_with_weights():
    assert_same(fitted(list(batches(weights=True))), fitted(X, Y, sample_weight=WEIGHTS))
    assert_same(fitted(Loader(), class_weight={1: 3.0}), fitted(X, Y, class_weight={1: 3.0}))


def test_a_sequence_is_shuffled_by_batches_and_told_of_the_end():
    source = Sequence()
    fitted(source, shuffle=True, epochs=2)
    first, second = source.asked[1:10], source.asked[10:]         # the first was asked for the shapes
    assert sorted(first) == sorted(second) == list(range(9)) and first != second
    assert source.ends == 2


def test_an_unbuilt_model_is_built_for_the_first_batch():
    made = models.Sequential([layers.Dense(3, activation="softmax")])
    made.compile("sgd", "categorical_crossentropy")
    made.fit(batches(), verbose=0)
    assert made.input_shape == (None, 4) and made.optimizer.iterations == 9


@pytest.mark.parametrize("make", [batches, Loader, Sequence, lambda: list(batches())],
                         ids=["generator", "loader", "sequence", "list"])
def test_evaluate_and_validate_on_batches(make):
    made = model()
    assert made.evaluate(make()) == pytest.approx(made.evaluate(X, Y, batch_size=10), rel=1e-6)
    if make is not batches:
        history = made.fit(X, Y, validation_data=make(), epochs=2, verbose=0).history
        assert history["val_loss"][-1] == pytest.approx(made.evaluate(X, Y)[0], rel=1e-6)


def test_predict_on_batches():
    made = model()
    right = made.predict(X)
    for source in (batches(), Loader(), Sequence(), (x for x, _ in batches())):
        np.testing.assert_array_equal(made.predict(source), right)
    np.testing.assert_array_equal(made.predict(batches(), steps=2), right[:20])


def test_by_batch_hooks_and_progress_of_batches(capsys):
    seen = []
    told = callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(batch))
    model().fit(batches(), callbacks=[told], verbose=2)
    assert seen == list(range(9)) and "accuracy" in capsys.readouterr().out


@pytest.mark.parametrize("call, error, message", [
    (lambda m: m.fit(batches(), Y), ValueError, "x gives batches, so y and sample_weight must be left out"),
    (lambda m: m.fit(batches(0)), ValueError, "x gives no batches"),
    (lambda m: m.fit(batches(), validation_split=0.2), ValueError, "validation_split needs arrays"),
    (lambda m: m.fit((x for x, _ in batches()), verbose=0), ValueError, "y is missing"),
    (lambda m: m.fit((x[:, :2], y) for x, y in batches()), ValueError, r"received \(10, 2\)"),
    (lambda m: m.fit([(X, Y, WEIGHTS, 1)], verbose=0), ValueError, "received 4 parts"),
    (lambda m: m.fit(batches(weights=True), class_weight={0: 1.0}), ValueError, "both sample_weight and class_weight"),
])
def test_batches_that_are_refused(call, error, message):
    made = model()
    before = made.get_weights()
    with pytest.raises(error, match=message):
        call(made)
    assert_same(made.weights, before)


# Files

def mapped(path, array, order="C"):
    file = np.memmap(path, array.dtype, "w+", shape=array.shape, order=order)
    file[...] = array
    return np.memmap(path, array.dtype, "r", shape=array.shape, order=order)


@pytest.mark.parametrize("x_form, y_form", [("C", None), ("F", None), ("F", "C"), ("C", "F"), ("F", "F"),
                                            ("view", None), (">f4", ">f8"), ("float16", None), ("int32", "int16")])
def test_mapped_files_train_to_the_bits_of_arrays(tmp_path, x_form, y_form):
    def formed(name, array, form):
        if form is None:
            return array, array
        if form in "CF":
            return mapped(tmp_path / name, array, form), array
        if form == "view":
            return mapped(tmp_path / name, np.repeat(array, 2, axis=1))[:, ::2], array
        array = (4 * array).astype(form) if "int" in form else array.astype(form)
        return mapped(tmp_path / name, array), array.astype("float32")

    x, plain_x = formed("x", X, x_form)
    y, plain_y = formed("y", Y, y_form)
    for options in ({}, {"shuffle": True}, {"sample_weight": WEIGHTS}, {"class_weight": {1: 2.0}},
                    {"validation_split": 0.25}, {"validation_data": (x, y)}):
        plain = {**options, "validation_data": (plain_x, plain_y)} if "validation_data" in options else options
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert_same(fitted(x, y, **options), fitted(plain_x, plain_y, **plain))
    made = model()
    assert made.evaluate(x, y) == made.evaluate(plain_x, plain_y)
    np.testing.assert_array_equal(made.predict(x), made.predict(plain_x))


LARGE = """
import sys, threading, time
import numpy as np
from fastnn import layers, models

n, path, order, dtype = 1_000_000, sys.argv[1], sys.argv[2], sys.argv[3]
cols = 1_000_000_000 // n // np.dtype(dtype).itemsize
x = np.memmap(path, dtype, "r", shape=(n, cols), order=order)
y = np.memmap(path, "float32", "r", shape=(n, 1))

def anonymous():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon")) * 1024

before, most, done = anonymous(), 0, False
def watch():
    global most
    while not done:
        most = max(most, anonymous())
        time.sleep(0.001)

watcher = threading.Thread(target=watch, daemon=True)
watcher.start()
model = models.Sequential([layers.Dense(4, activation="relu", input_shape=(cols,)), layers.Dense(1)])
model.compile("sgd", "mse")
model.fit(x, y, batch_size=200, steps_per_epoch=3, verbose=0)
model.evaluate(x, y, batch_size=200, steps=3)
model.predict(x[:5000])
done = True
watcher.join()
print((most - before) / 2**20)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("order, dtype", [("C", "float32"), ("F", "float32"), ("C", "float16"), ("F", "uint8")])
def test_a_file_of_a_gigabyte_is_never_copied_whole(tmp_path, order, dtype):
    """The file is sparse: it takes no room on the disk.  What is counted is memory of the process's own."""
    path = tmp_path / "large"
    with open(path, "wb") as file:
        file.truncate(1_000_000_000)
    run = subprocess.run([sys.executable, "-P", "-c", LARGE, str(path), order, dtype], capture_output=True, text=True,
                         check=True)
    assert float(run.stdout) < 64, run.stdout


# Tables

class Table:
    """What pandas' DataFrame is to NumPy."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.array, dtype)

    def __len__(self):
        return len(self.array)

    def __iter__(self):
        return iter("abcd")         # a table iterates over the names of its columns

    def __getitem__(self, name):
        raise KeyError(name)


def test_what_turns_into_an_array_is_one():
    assert_same(fitted(Table(np.asfortranarray(X)), Table(Y), sample_weight=Table(WEIGHTS)),
                fitted(X, Y, sample_weight=WEIGHTS))
    with pytest.raises(TypeError, match="x must hold real numbers, received dtype object"):
        fitted(Table(np.array([[1, "a", 2, 3]] * N, object)), Y)


def test_pandas():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abcd"))
    assert_same(fitted(frame, pandas.DataFrame(Y)), fitted(X, Y))
    assert_same(fitted(frame, pandas.Series(LABELS == 1), "binary_crossentropy", 1),
                fitted(X, LABELS == 1, "binary_crossentropy", 1))
    with pytest.raises(TypeError, match="x must hold real numbers"):
        fitted(frame.assign(e="text"), Y)


def test_sparse_rows_take_weights():
    sparse = pytest.importorskip("scipy.sparse")
    thin = X * (X > 0.5)
    assert_same(fitted(sparse.csr_array(thin), Y, sample_weight=WEIGHTS), fitted(thin, Y, sample_weight=WEIGHTS))
