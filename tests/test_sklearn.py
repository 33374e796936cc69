"""fastnn.sklearn: scikit-learn's own checks of an estimator, its own training step by step, and what is new here."""

import copy
import inspect
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest
import scipy.sparse

pytest.importorskip("sklearn", "1.6")

from sklearn import datasets, neural_network  # noqa: E402
from sklearn.base import clone  # noqa: E402
from sklearn.exceptions import ConvergenceWarning, NotFittedError  # noqa: E402
from sklearn.model_selection import GridSearchCV, cross_val_score  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402
from sklearn.utils.estimator_checks import parametrize_with_checks  # noqa: E402

import fastnn  # noqa: E402
from fastnn import callbacks, models, optimizers  # noqa: E402
from fastnn.sklearn import MLPClassifier, MLPRegressor  # noqa: E402

unconverged = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
pytestmark = unconverged
same_words = pytest.mark.skipif("sample_weight" not in inspect.signature(neural_network.MLPClassifier.fit).parameters,
                                reason="needs scikit-learn 1.7, whose MLPs take sample_weight and loss='poisson'")
QUICK = {"hidden_layer_sizes": (16,), "max_iter": 5, "random_state": 0}


def digits():
    x, y = datasets.load_digits(return_X_y=True)
    return x[:600] / 16, y[:600]


def cancer():
    x, y = datasets.load_breast_cancer(return_X_y=True)
    return StandardScaler().fit_transform(x), y


def several_labels():
    return datasets.make_multilabel_classification(300, 10, n_classes=4, random_state=0)


def diabetes():
    x, y = datasets.load_diabetes(return_X_y=True)
    return StandardScaler().fit_transform(x), y / 100


def two_numbers():
    x, y = diabetes()
    return x, np.column_stack([y, y - x[:, 2]])


CLASSIFIED, PREDICTED = (digits, cancer, several_labels), (diabetes, two_numbers)


def peer(estimator):
    """scikit-learn's estimator with the parameters of ours that it has."""
    cls = getattr(neural_network, type(estimator).__name__)
    words = estimator.get_params()
    return cls(**{word: words[word] for word in cls().get_params() if word in words})


def estimator_for(data, **words):
    return (MLPClassifier if data in CLASSIFIED else MLPRegressor)(**words)


def assert_same_training(ours, theirs, tolerance=1e-9):
    for name in ("loss_curve_", "validation_scores_", "best_loss_", "best_validation_score_", "loss_"):
        expected, found = getattr(theirs, name), getattr(ours, name)
        assert (found is None) == (expected is None), name
        if expected is not None:
            # of several numbers scikit-learn reports the mean, but the whole penalty of their sum
            mixed = isinstance(ours, MLPRegressor) and ours.n_outputs_ > 1 and ours.alpha and "loss" in name
            np.testing.assert_allclose(found, expected, rtol=0.1 if mixed else tolerance, err_msg=name)
    for name in ("n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_", "n_features_in_"):
        assert getattr(ours, name) == getattr(theirs, name), name
    for name in ("coefs_", "intercepts_"):
        for found, expected in zip(getattr(ours, name), getattr(theirs, name), strict=True):
            assert found.dtype == expected.dtype
            np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance, err_msg=name)


# --- scikit-learn's own checks


@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks([
    MLPClassifier(max_iter=100), MLPRegressor(max_iter=100), MLPClassifier(), MLPRegressor(),
    MLPClassifier((20, 10), ["tanh", "relu"], solver="rmsprop", learning_rate_init=0.01, max_iter=100),
    MLPRegressor(hidden_layer_sizes=20, activation="tanh", solver="sgd", learning_rate="adaptive",
                 learning_rate_init=0.05, max_iter=100)])
def test_estimator_checks(estimator, check):
    check(estimator)


# --- the same training as scikit-learn's, step by step: without shuffling nothing is left to chance

SAME = {
    "defaults": {}, "no penalty": {"alpha": 0}, "strong penalty": {"alpha": 1.0},
    "sgd": {"solver": "sgd", "learning_rate_init": 0.05},
    "no momentum": {"solver": "sgd", "learning_rate_init": 0.1, "momentum": 0},
    "plain momentum": {"solver": "sgd", "learning_rate_init": 0.05, "nesterovs_momentum": False, "momentum": 0.8},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.1, "power_t": 0.3},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "learning_rate_init": 0.1, "tol": 0.05,
                 "n_iter_no_change": 2, "max_iter": 40},
    "adam's numbers": {"beta_1": 0.8, "beta_2": 0.99, "epsilon": 1e-3, "learning_rate_init": 0.01},
    "logistic": {"activation": "logistic"}, "tanh": {"activation": "tanh"}, "identity": {"activation": "identity"},
    "three layers": {"hidden_layer_sizes": (12, 9, 7)}, "one number": {"hidden_layer_sizes": 11},
    "no hidden layer": {"hidden_layer_sizes": ()},
    "batch of 50": {"batch_size": 50}, "one batch": {"batch_size": 200, "alpha": 0.5},
    "stops by the loss": {"tol": 0.05, "n_iter_no_change": 3, "max_iter": 60, "learning_rate_init": 0.02},
    "early stopping": {"early_stopping": True, "validation_fraction": 0.25, "n_iter_no_change": 2, "max_iter": 40,
                       "learning_rate_init": 0.02, "batch_size": 150},
}


def multiple_of(data, batch):
    """The data cut to whole batches: scikit-learn's penalty is stronger in a smaller last batch, ours is not."""
    x, y = data()
    n = len(x) // batch * batch
    return x[:n], y[:n]


@pytest.mark.parametrize("data", CLASSIFIED + PREDICTED)
@pytest.mark.parametrize("words", SAME.values(), ids=SAME)
def test_the_same_training_as_scikit_learn(data, words):
    words = {"hidden_layer_sizes": (20,), "max_iter": 8, "batch_size": 100, "random_state": 3, "shuffle": False} | words
    x, y = multiple_of(data, 200)
    ours = estimator_for(data, **words).fit(x, y)
    theirs = peer(ours).fit(x, y)
    assert_same_training(ours, theirs)
    np.testing.assert_array_equal(ours.predict(x) == theirs.predict(x), True) if data in CLASSIFIED else \
        np.testing.assert_allclose(ours.predict(x), theirs.predict(x), rtol=1e-8)


@pytest.mark.parametrize("data", CLASSIFIED + PREDICTED)
def test_warm_start_and_partial_fit_go_on_as_scikit_learn_does(data):
    x, y = multiple_of(data, 100)
    ours = estimator_for(data, shuffle=False, warm_start=True, batch_size=100, **QUICK).fit(x, y).fit(x, y)
    theirs = peer(ours).fit(x, y).fit(x, y)
    assert_same_training(ours, theirs)
    first = {"classes": np.arange(4) if y.ndim == 2 else np.unique(y)} if data in CLASSIFIED else {}
    ours, theirs = (clone(model).set_params(warm_start=False) for model in (ours, theirs))
    for model in (ours, theirs):
        model.partial_fit(x, y, **first).partial_fit(x[:100], y[:100]).partial_fit(x[:200], y[:200])
    assert_same_training(ours, theirs)


@same_words
@pytest.mark.parametrize("data", CLASSIFIED + PREDICTED)
def test_weighted_samples_count_as_in_scikit_learn(data):
    x, y = data()
    weights = np.random.default_rng(0).integers(0, 4, len(x)).astype(float)
    half = {"early_stopping": True, "validation_fraction": 0.5, "batch_size": len(x) // 2}
    for words in ({"batch_size": len(x)}, half):
        words = QUICK | {"shuffle": False, "alpha": 0.1} | words
        ours = estimator_for(data, **words).fit(x, y, weights)
        theirs = peer(ours).fit(x, y, weights)
        assert_same_training(ours, theirs)


@pytest.mark.parametrize("load", [datasets.load_iris, datasets.load_digits, datasets.load_wine])
def test_the_accuracy_of_scikit_learn(load):
    x, y = load(return_X_y=True)
    words = {"max_iter": 60, "random_state": 0, "learning_rate_init": 0.005}
    scores = [cross_val_score(make_pipeline(StandardScaler(), cls(**words)), x, y, cv=3).mean()
              for cls in (MLPClassifier, neural_network.MLPClassifier)]
    assert abs(scores[0] - scores[1]) < 0.02


# --- input


@pytest.mark.parametrize("given, computed", [("float32", "float32"), ("float64", "float64"), ("uint8", "float32"),
                                             ("int32", "float64"), ("bool", "float64")])
def test_what_is_computed_in_which_dtype(given, computed):
    x, y = digits()
    x = (x * 16).astype(given)
    model = MLPClassifier(**QUICK)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)    # of uint8 up to 16
        model.fit(x, y)
    assert {w.dtype.name for w in [*model.coefs_, *model.intercepts_]} == {computed}
    assert model.predict_proba(x).dtype == computed
    assert model.model_.dtype == computed


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
def test_x_is_not_copied(dtype, monkeypatch):
    x, y = digits()
    x = np.ascontiguousarray((x > 0.5).astype(dtype))
    seen = []
    fit, predict = models.Sequential.fit, models.Sequential.predict
    monkeypatch.setattr(models.Sequential, "fit", lambda self, x, *rest, **words: seen.append(x) or
                        fit(self, x, *rest, **words))
    monkeypatch.setattr(models.Sequential, "predict", lambda self, x: seen.append(x) or predict(self, x))
    MLPClassifier(**QUICK).fit(x, y).predict(x)
    assert len(seen) == 2
    assert all(np.shares_memory(x, array) for array in seen)


@pytest.mark.parametrize("make", [scipy.sparse.csr_matrix, scipy.sparse.csr_array, scipy.sparse.csc_array,
                                  scipy.sparse.coo_array])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("data", [digits, diabetes])
def test_sparse_rows_give_the_bits_of_dense_ones(make, dtype, data):
    x, y = data()
    x = np.where(x > 0.3, x, 0).astype(dtype)
    dense, sparse = (estimator_for(data, early_stopping=True, **QUICK).fit(rows, y) for rows in (x, make(x)))
    for a, b in zip(dense.coefs_, sparse.coefs_, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(dense.predict(x), sparse.predict(make(x)))
    assert dense.loss_curve_ == sparse.loss_curve_


def test_sparse_rows_are_never_made_dense(monkeypatch):
    """10,000 rows of a million columns would take 80 GB."""
    x = scipy.sparse.random_array((500, 200_000), density=1e-4, format="csr", rng=np.random.default_rng(0))
    y = np.arange(500) % 2
    for name in ("toarray", "todense"):
        monkeypatch.setattr(type(x), name, lambda *a, **k: pytest.fail("made dense"))
    MLPClassifier((4,), max_iter=2, random_state=0).fit(x, y).predict(x)


@pytest.mark.parametrize("names", [np.array(["cat", "dog", "鳥"]), np.array(["cat", "dog", "鳥"], object),
                                   np.array([10, -3, 7]), np.array([True, False])],
                         ids=["text", "object", "numbers", "bool"])
def test_labels_of_any_type(names):
    x, y = datasets.load_iris(return_X_y=True)
    x, y = x[y < len(names)], y[y < len(names)]
    model = MLPClassifier((16,), random_state=0, learning_rate_init=0.05, max_iter=60).fit(x, names[y])
    assert model.classes_.tolist() == sorted(names.tolist())
    assert model.predict(x).dtype == names.dtype
    assert model.score(x, names[y]) > 0.9
    proba = model.predict_proba(x)
    assert proba.shape == (len(x), len(names))
    np.testing.assert_allclose(proba.sum(1), 1)
    np.testing.assert_array_equal(model.classes_[proba.argmax(1)], model.predict(x))
    np.testing.assert_allclose(np.exp(model.predict_log_proba(x)), proba)


def test_several_labels():
    x, y = several_labels()
    model = MLPClassifier((50,), random_state=0, learning_rate_init=0.02).fit(x, y)
    sparse = MLPClassifier((50,), random_state=0, learning_rate_init=0.02).fit(x, scipy.sparse.csr_array(y))
    assert model.out_activation_ == "logistic"
    assert model.classes_.tolist() == [0, 1, 2, 3]
    assert model.predict(x).dtype == y.dtype
    assert (model.predict(x) == y).mean() > 0.9
    np.testing.assert_array_equal(model.predict_proba(x) > 0.5, model.predict(x))
    np.testing.assert_array_equal(model.predict(x), sparse.predict(x))


def test_one_class_is_predicted():
    x, _ = digits()
    model = MLPClassifier(**QUICK).fit(x, ["only"] * len(x))
    assert set(model.predict(x)) == {"only"}
    assert model.predict_proba(x).tolist() == [[1.0]] * len(x)


def test_data_frames_bring_their_names():
    pandas = pytest.importorskip("pandas")
    x, y = datasets.load_iris(return_X_y=True)
    frame = pandas.DataFrame(x, columns=["a", "b", "c", "d"])
    model = MLPClassifier(**QUICK).fit(frame, y)
    assert model.feature_names_in_.tolist() == ["a", "b", "c", "d"]
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[["b", "a", "c", "d"]])


# --- results do not depend on threads, copies or where they were trained


def test_any_number_of_threads_gives_the_same_bits(set_threads):
    x, y = digits()
    found = []
    for threads in (1, 2, 3):
        set_threads(threads)
        model = MLPClassifier((40, 30), dropout=0.2, early_stopping=True, max_iter=4, random_state=7).fit(x, y)
        found.append([w.tobytes() for w in model.coefs_] + [str(model.loss_curve_)])
    assert found[0] == found[1] == found[2]


def test_random_state():
    x, y = digits()
    fitted = [MLPClassifier(**QUICK | {"random_state": seed}).fit(x, y) for seed in (0, 0, 1)]
    weights = [model.coefs_[0] for model in fitted]
    seeds = [model.model_._seed for model in fitted]        # of shuffling and dropout
    assert seeds[0] == seeds[1] != seeds[2]
    np.testing.assert_array_equal(weights[0], weights[1])
    assert not np.array_equal(weights[0], weights[2])
    stream = np.random.RandomState(0)
    weights = [MLPClassifier(**QUICK | {"random_state": stream}).fit(x, y).coefs_[0] for _ in range(2)]
    assert not np.array_equal(*weights)


@pytest.mark.parametrize("way", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
@pytest.mark.parametrize("words", [{}, {"solver": "sgd"}, {"dropout": 0.3, "solver": optimizers.RMSprop(0.01)}],
                         ids=["adam", "sgd", "rmsprop"])
@pytest.mark.parametrize("data", [digits, diabetes])
def test_a_copy_predicts_the_same_and_goes_on_the_same(way, words, data):
    x, y = data()
    classes = {"classes": np.unique(y)} if data is digits else {}
    model = estimator_for(data, **QUICK | words).partial_fit(x, y, **classes)
    other = way(model)
    np.testing.assert_array_equal(model.predict(x), other.predict(x))
    for one in (model, other):
        one.partial_fit(x, y).partial_fit(x, y)
    for a, b in zip([*model.coefs_, *model.intercepts_], [*other.coefs_, *other.intercepts_], strict=True):
        np.testing.assert_array_equal(a, b)
        assert not np.shares_memory(a, b)
    assert model.loss_curve_ == other.loss_curve_


def test_clone_and_parameters():
    model = MLPClassifier((5,), "tanh", solver=optimizers.Adam(0.01), dropout=0.5, callbacks=[callbacks.Callback()])
    x, y = digits()
    model.fit(x, y) if model.set_params(max_iter=1) else None
    other = clone(model)
    assert not hasattr(other, "model_")
    assert other.get_params()["dropout"] == 0.5
    assert other.solver is not model.solver
    assert repr(MLPClassifier((5,), alpha=0.1)) == "MLPClassifier(alpha=0.1, hidden_layer_sizes=(5,))"


def test_not_fitted():
    with pytest.raises(NotFittedError):
        MLPClassifier().predict([[1.0]])
    assert not hasattr(MLPRegressor(), "coefs_")


# --- pipelines, searches, processes


def test_search_in_two_processes_equals_one():
    x, y = digits()
    grid = {"mlpclassifier__hidden_layer_sizes": [(8,), (16,)], "mlpclassifier__dropout": [0.0, 0.2]}
    found = []
    for jobs in (1, 2):
        pipeline = make_pipeline(StandardScaler(), MLPClassifier(max_iter=8, learning_rate_init=0.02, random_state=0))
        search = GridSearchCV(pipeline, grid, cv=3, n_jobs=jobs).fit(x, y)
        found.append(search.cv_results_["mean_test_score"].tolist())
        assert search.best_estimator_.score(x, y) > 0.7
    assert found[0] == found[1]


WORKER = """
import time, warnings
import numpy as np
from joblib import Parallel, delayed

def work(seed):
    import fastnn
    from fastnn.sklearn import MLPClassifier
    warnings.simplefilter("ignore")
    x, y = np.random.default_rng(seed).random((20_000, 64), "float32"), np.arange(20_000) % 10
    used, start = time.process_time(), time.perf_counter()
    MLPClassifier((256,), max_iter=2, random_state=seed).fit(x, y)
    used, took = time.process_time() - used, time.perf_counter() - start
    return fastnn.info()["threads"], used < 1.1 * took + 0.02       # the time of all threads together

if __name__ == "__main__":
    print(set(Parallel(n_jobs=2)(delayed(work)(seed) for seed in range(4))))
"""


def test_two_processes_use_one_thread_each(tmp_path, monkeypatch):
    for name in ("OMP_NUM_THREADS", "FASTNN_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "2")
    script = tmp_path / "work.py"
    script.write_text(WORKER)
    run = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120)
    assert run.stdout.strip() == "{(1, True)}", run.stderr


# --- what is new here


def test_each_layer_has_its_activation_and_dropout():
    x, y = digits()
    model = MLPClassifier((8, 6), ["tanh", "logistic"], dropout=[0.1, 0.4], max_iter=2, random_state=0).fit(x, y)
    kinds = [(type(layer).__name__, getattr(layer, "activation", None), getattr(layer, "rate", None))
             for layer in model.model_.layers]
    assert kinds == [("Dense", "tanh", None), ("Dropout", None, 0.1), ("Dense", "sigmoid", None),
                     ("Dropout", None, 0.4), ("Dense", "softmax", None)]
    assert isinstance(model.model_, fastnn.Sequential)


def test_dropout_makes_the_training_loss_larger_and_predictions_stay_sure():
    x, y = digits()
    words = {"learning_rate_init": 0.01, "max_iter": 30, "random_state": 0}
    plain, dropped = (MLPClassifier((64,), dropout=rate, **words).fit(x, y) for rate in (0, 0.5))
    assert dropped.loss_ > 1.5 * plain.loss_
    assert dropped.score(x, y) > 0.9
    np.testing.assert_array_equal(dropped.predict_proba(x), dropped.predict_proba(x))


@pytest.mark.parametrize("kind", ["classes", "binary"])
def test_class_weights_are_sample_weights(kind):
    x, y = digits()
    y = y if kind == "classes" else np.where(y == 3, "three", "other")
    names, numbers, counts = np.unique(y, return_inverse=True, return_counts=True)
    balanced = (len(y) / (len(names) * counts))[numbers]
    by_word, by_dict, by_sample = (
        MLPClassifier(class_weight=weight, **QUICK).fit(x, y, given) for weight, given in (
            ("balanced", None), (dict(zip(names, len(y) / (len(names) * counts), strict=True)), None),
            (None, balanced)))
    for other in (by_dict, by_sample):
        np.testing.assert_array_equal(by_word.coefs_[0], other.coefs_[0])
    rare = (MLPClassifier(class_weight={names[1]: weight}, **QUICK).fit(x, y) for weight in (100, 0.01))
    often, seldom = ((model.predict(x) == names[1]).sum() for model in rare)
    assert often > 2 * seldom


def test_callbacks_hear_of_every_epoch_and_may_stop():
    class Stop(callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.losses = []

        def on_epoch_end(self, epoch, logs=None):
            self.losses.append(logs["loss"])
            self.model.stop_training = epoch == 2

    x, y = digits()
    stop = Stop()
    model = MLPClassifier(callbacks=[stop], **QUICK)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        model.fit(x, y)
    assert model.n_iter_ == 3
    assert stop.losses == model.loss_curve_
    assert stop.model is None
    assert clone(model).fit(x, y).n_iter_ == 3


@pytest.mark.parametrize("solver", ["rmsprop", "adagrad", optimizers.SGD(0.1, momentum=0.5), optimizers.RMSprop])
def test_every_solver_learns(solver):
    x, y = digits()
    model = MLPClassifier((32,), solver=solver, learning_rate_init=0.01, max_iter=20, random_state=0).fit(x, y)
    assert model.loss_curve_[-1] < 0.9 * model.loss_curve_[0]
    if isinstance(solver, optimizers.Optimizer):
        assert model.model_.optimizer is not solver
        assert solver.slots is None and solver.iterations == 0


def test_validation_curve_and_best_weights():
    x, y = digits()
    model = MLPClassifier((32,), early_stopping=True, validation_fraction=0.25, n_iter_no_change=3, max_iter=60,
                          learning_rate_init=0.03, random_state=0).fit(x, y)
    assert len(model.validation_scores_) == len(model.loss_curve_) == model.n_iter_
    assert model.best_validation_score_ == max(model.validation_scores_)
    assert model.best_loss_ is None


def test_early_stopping_may_be_switched_between_two_fits():
    x, y = digits()
    model = MLPClassifier(warm_start=True, **QUICK).fit(x, y)
    model.set_params(early_stopping=True).fit(x, y)
    assert len(model.validation_scores_) == 5
    assert model.best_loss_ is None
    model.set_params(early_stopping=False).partial_fit(x, y)
    assert model.best_loss_ == model.loss_
    assert model.validation_scores_ is None
    assert len(model.loss_curve_) == 11


def test_verbose_shows_a_line_an_epoch(capsys):
    x, y = digits()
    MLPClassifier(verbose=True, early_stopping=True, **QUICK).fit(x, y)
    out = capsys.readouterr().out.splitlines()
    assert len(out) == 5
    assert out[0].startswith("Epoch 1/5 - ") and "loss: " in out[0] and "validation_score: " in out[0]
    MLPClassifier(**QUICK).fit(x, y)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("loss", ["absolute_error", "mse"])
def test_losses_of_the_regressor(loss):
    x, y = diabetes()
    model = MLPRegressor(loss, (32,), learning_rate_init=0.01, max_iter=60, random_state=0).fit(x, y)
    assert model.score(x, y) > 0.4


@same_words
def test_counts():
    x, y = diabetes()
    y = np.round(np.exp(y / 2)).astype(int)
    ours = MLPRegressor("poisson", shuffle=False, batch_size=len(x), **QUICK).fit(x, y)
    theirs = peer(ours).fit(x, y)
    assert ours.out_activation_ == theirs.out_activation_ == "exp"
    np.testing.assert_allclose(ours.predict(x), theirs.predict(x), rtol=1e-5)   # fastnn's divides by y_pred + 1e-7
    np.testing.assert_allclose(np.diff(ours.loss_curve_), np.diff(theirs.loss_curve_), rtol=1e-4)
    with pytest.raises(ValueError, match="loss='poisson' is for counts, 0 or more, but y holds -1"):
        ours.fit(x, y - 1 - y.min())


def test_interrupted_training_keeps_what_it_has(monkeypatch):
    class Interrupt(callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

    x, y = digits()
    with pytest.warns(UserWarning, match="interrupted"):
        model = MLPClassifier(callbacks=[Interrupt()], **QUICK).fit(x, y)
    assert model.n_iter_ == 2
    assert len(model.predict(x)) == len(x)


def test_the_end_of_max_iter_is_told():
    x, y = digits()
    with pytest.warns(ConvergenceWarning, match=r"Maximum iterations \(5\) reached"):
        MLPClassifier(**QUICK).fit(x, y)


# --- refusals


@pytest.mark.parametrize("words, message", [
    ({"hidden_layer_sizes": (5, 0)}, "hidden_layer_sizes must be at least 1, received 0"),
    ({"activation": "rely"}, "Unknown activation 'rely'. Did you mean 'relu'?"),
    ({"activation": ["relu", "tanh"]}, "activation must be one value, or a list of one for each of the 1 hidden"),
    ({"solver": "lbfgs"}, "Unknown solver 'lbfgs'. "), ({"solver": "adm"}, "Did you mean 'adam'?"),
    ({"alpha": -1}, "alpha must be a number 0 or more, received -1"), ({"alpha": None}, "received None"),
    ({"batch_size": 0}, "batch_size, unless 'auto', must be at least 1, received 0"),
    ({"learning_rate": 0.1}, "learning_rate must be one of constant, invscaling, adaptive, received 0.1"),
    ({"learning_rate_init": 0}, "learning_rate_init must be a number above 0"),
    ({"momentum": 1.5}, "momentum must be a number from 0 to 1"), ({"beta_1": 1}, "beta_1 must be a number from 0"),
    ({"max_iter": 0}, "max_iter must be at least 1"), ({"dropout": 1}, "dropout must be a number from 0 to below 1"),
    ({"n_iter_no_change": 0}, "n_iter_no_change must be a number 1 or more"),
    ({"early_stopping": True, "validation_fraction": 1}, "validation_fraction must be a number between 0 and 1"),
    ({"early_stopping": True, "validation_fraction": 1e-9}, "validation_fraction=1e-09 of 600 samples is less than"),
])
def test_refused_parameters(words, message):
    x, y = digits()
    with pytest.raises((ValueError, TypeError)) as info:
        MLPClassifier(**words).fit(x, y)
    assert message in str(info.value)


def test_refused_targets():
    x, y = digits()
    model = MLPClassifier(warm_start=True, **QUICK).fit(x, y)
    before = [w.copy() for w in model.coefs_]
    for call, message in [
            (lambda: model.fit(x, y + 5), "y holds 10, which is not among the classes"),
            (lambda: model.partial_fit(x, y, classes=[0, 1]), "is not what the first call named"),
            (lambda: model.fit(x, np.eye(10)[y]), "Pass the same kind of y"),
            (lambda: model.fit(x, y, -np.ones(len(x))), "sample_weight must be 0 or more"),
            (lambda: model.fit(x, y, np.zeros(len(x))), "ample"),
            (lambda: clone(model).partial_fit(x, y), "classes must be passed on the first call"),
            (lambda: clone(model).set_params(early_stopping=True).partial_fit(x, y, classes=y), "partial_fit does not"),
            (lambda: clone(model).set_params(class_weight="balanced").partial_fit(x, y, classes=y), "compute_class_w"),
            (lambda: MLPClassifier(class_weight="balanced").fit(*several_labels()), "y is multilabel"),
            (lambda: clone(model).set_params(hidden_layer_sizes=(3,)).fit(x, y.astype(float) + 0.5), "Unknown label"),
            (lambda: model.set_params(hidden_layer_sizes=(3,)).fit(x, y), "hidden_layer_sizes, activation or dropout")]:
        with pytest.raises(ValueError, match=message):
            call()
    for a, b in zip(before, model.coefs_, strict=True):
        np.testing.assert_array_equal(a, b)


def test_scikit_learn_is_not_imported_with_fastnn():
    script = "import sys, fastnn; print('sklearn' in sys.modules, 'scipy' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", script], text=True).split() == ["False", "False"]
    script = ("import sys; sys.modules['sklearn'] = None\ntry: import fastnn.sklearn\n"
              "except ImportError as error: print(error)")
    assert subprocess.check_output([sys.executable, "-c", script], text=True).strip() == \
        'fastnn.sklearn needs scikit-learn 1.6 or later. Install it with: pip install "fastnn-cpu[sklearn]"'
