"""Metrics: values by hand, states over batches, keys, and metrics of one's own."""
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from fastnn import layers, metrics, models

RNG = np.random.default_rng(0)
N = 300
X = RNG.standard_normal((N, 5)).astype("float32")
LABELS = RNG.integers(0, 3, N)
ONE_HOT = np.eye(3, dtype="float32")[LABELS]
TRUE, SCORES = np.array([0, 0, 1, 1]), np.array([0.0, 0.5, 0.3, 0.9])


def model(metrics=(), loss="categorical_crossentropy", last="softmax", **words):
    made = models.Sequential([layers.Dense(6, activation="tanh", input_shape=(5,)), layers.Dense(3, activation=last)])
    start = np.random.default_rng(1)
    made.set_weights([start.standard_normal(w.shape) for w in made.weights])
    made.compile("sgd", loss, metrics=metrics, **words)
    return made


@pytest.mark.parametrize("metric, value", [
    (metrics.Precision(), 1.0), (metrics.Recall(), 0.5), (metrics.Precision(thresholds=0.2), 2 / 3),
    (metrics.Recall(thresholds=0.2), 1.0), (metrics.Precision(thresholds=1.0), 0.0), (metrics.AUC(), 0.75),
    (metrics.BinaryAccuracy(), 0.75), (metrics.BinaryAccuracy(threshold=0.2), 0.75),
    (metrics.RootMeanSquaredError(), np.sqrt((0.25 + 0.49 + 0.01) / 4)), (metrics.R2Score(), 1 - 0.75),
])
def test_values_by_hand(metric, value):
    assert metric(TRUE, SCORES) == pytest.approx(value, rel=1e-6)
    metric.reset_state()
    assert metric(TRUE[::-1], SCORES[::-1]) == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize("cls, one, three", [
    (metrics.TruePositives, 1, [1, 2, 1]), (metrics.FalsePositives, 0, [0, 1, 1]),
    (metrics.TrueNegatives, 2, [2, 1, 1]), (metrics.FalseNegatives, 1, [1, 0, 1])])
def test_counts_by_hand(cls, one, three):
    assert cls()(TRUE, SCORES) == one
    np.testing.assert_array_equal(cls([0.6, 0.2, 0.4])(TRUE, SCORES), three)
    assert metrics.get(cls.name).name == cls.name and type(metrics.get(cls.__name__)) is cls
    weighted = cls()
    weighted.update_state(TRUE, SCORES, [1, 2, 4, 8])
    assert weighted.result() == {"TruePositives": 8, "FalsePositives": 0, "TrueNegatives": 3, "FalseNegatives": 4}[
        cls.__name__]


def test_several_thresholds_keep_their_order():
    np.testing.assert_allclose(metrics.Precision(thresholds=[0.6, 0.2, 0.4])(TRUE, SCORES), [1, 2 / 3, 1 / 2])


def test_f_scores_by_hand():
    y_true, y_pred = np.eye(3)[[0, 0, 1, 2]], np.eye(3)[[0, 1, 1, 1]] * 0.8
    by_class = [2 / 3, 2 * (1 / 3) / (4 / 3), 0]
    np.testing.assert_allclose(metrics.F1Score()(y_true, y_pred), by_class, rtol=1e-6)
    assert metrics.F1Score(average="macro")(y_true, y_pred) == pytest.approx(np.mean(by_class), rel=1e-6)
    assert metrics.F1Score(average="weighted")(y_true, y_pred) == pytest.approx(
        np.average(by_class, weights=[2, 1, 1]), rel=1e-6)
    assert metrics.F1Score(average="micro")(y_true, y_pred) == pytest.approx(0.5, rel=1e-6)
    assert metrics.FBetaScore("macro", beta=2.0, threshold=0.5)(y_true, y_pred) == pytest.approx(
        np.mean([5 * 0.5 / (4 * 1 + 0.5), 5 * (1 / 3) / (4 / 3 + 1), 0]), rel=1e-6)


def test_the_confusion_matrix_by_hand():
    right = [[1, 1, 0], [0, 1, 0], [1, 0, 0]]
    y_true, y_pred = np.array([0, 0, 1, 2]), np.array([0, 1, 1, 0])
    np.testing.assert_array_equal(metrics.confusion_matrix(y_true, y_pred), right)
    np.testing.assert_array_equal(metrics.confusion_matrix(np.eye(3)[y_true], np.eye(3)[y_pred] * 0.6), right)
    np.testing.assert_array_equal(metrics.confusion_matrix(y_true, y_pred, 4)[:3, :3], right)
    np.testing.assert_array_equal(metrics.ConfusionMatrix(2)(TRUE, SCORES[:, None]), [[2, 0], [1, 1]])
    np.testing.assert_array_equal(metrics.ConfusionMatrix(2)(TRUE, SCORES, [1, 2, 3, 4]), [[3, 0], [3, 4]])
    with pytest.raises(ValueError, match="counts labels 0 to 1, received y_true from 0 to 2"):
        metrics.ConfusionMatrix(2)(y_true, y_pred)


def test_ties_and_k_beyond_the_classes_count_for_top_k():
    y_pred = np.array([[0.25, 0.25, 0.5], [0.1, 0.2, 0.7]])
    assert metrics.SparseTopKCategoricalAccuracy(k=2)([1, 0], y_pred) == 0.5
    assert metrics.TopKCategoricalAccuracy()(np.eye(3)[[1, 0]], y_pred) == 1.0


def test_r2_of_large_numbers_loses_nothing():
    y = 1e8 + RNG.standard_normal(1000)
    noise = RNG.standard_normal(1000) / 2
    right = 1 - (noise ** 2).sum() / ((y - y.mean()) ** 2).sum()
    assert metrics.R2Score()(y, y + noise) == pytest.approx(right, rel=1e-4)


TOLD = ["precision", "recall", "auc", metrics.AUC(curve="PR", name="pr"), metrics.F1Score(average="macro"),
        metrics.TopKCategoricalAccuracy(k=2), metrics.R2Score(), metrics.ConfusionMatrix(3)]


@pytest.mark.parametrize("batch_size", [1, 7, 32, 1000])
def test_states_are_exact_whatever_the_batch_size(batch_size):
    m = model([*TOLD, "accuracy"])
    y_pred = m.predict(X)
    found = m.evaluate(X, ONE_HOT, batch_size=batch_size, return_dict=True)
    for name, metric in zip(m.metrics_names[1:], m.metrics, strict=True):
        metric.reset_state()
        np.testing.assert_allclose(found[name], metric(ONE_HOT, y_pred), rtol=1e-12, err_msg=name)


def test_training_reports_outputs_before_each_step_and_the_same_weights(monkeypatch):
    """Of shuffled batches, also where metrics are told several times an epoch."""
    monkeypatch.setattr("fastnn.training.MOST_KEPT", 200)
    plain, told = model(["accuracy", "mse"]), model(["accuracy", metrics.CategoricalAccuracy(name="c"), *TOLD])
    told._seed = plain._seed
    seen = []

    def accuracy(y_true, y_pred):
        seen.append(len(y_pred))
        return y_true.argmax(-1) == y_pred.argmax(-1)

    told.compile("sgd", "categorical_crossentropy", metrics=["accuracy", accuracy, *TOLD])
    options = {"batch_size": 32, "epochs": 3, "verbose": 0}
    right = plain.fit(X, ONE_HOT, **options).history
    found = told.fit(X, ONE_HOT, **options).history
    assert found["accuracy"] == right["accuracy"] == pytest.approx(found["accuracy_1"])
    assert found["top_k_categorical_accuracy"][0] > found["accuracy"][0]
    assert seen == [32] * 9 + [12] + [32] * 9 + [12] + [32] * 9 + [12]
    for a, b in zip(plain.weights, told.weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_keys_are_keras_ones():
    m = model(["acc", metrics.Precision(), "precision", metrics.Precision(thresholds=0.1), "AUC",
               metrics.MeanSquaredError()], weighted_metrics=["acc"])
    names = ["loss", "acc", "precision", "precision_1", "precision_2", "AUC", "mean_squared_error",
             "weighted_acc"]
    assert m.metrics_names == names
    history = m.fit(X, ONE_HOT, validation_data=(X, ONE_HOT), verbose=0).history
    assert list(history) == names + [f"val_{name}" for name in names]


def test_weighted_metrics_heed_weights_and_metrics_do_not():
    weights = RNG.random(N)
    m = model(["accuracy", "auc"], weighted_metrics=["accuracy", metrics.AUC(name="weighted_auc")])
    right = m.predict(X).argmax(1) == LABELS
    _, plain, auc, weighted, weighted_auc = m.evaluate(X, ONE_HOT, sample_weight=weights)
    assert plain == pytest.approx(right.mean()) and weighted == pytest.approx(np.average(right, weights=weights))
    assert weighted_auc == pytest.approx(metrics.AUC()(ONE_HOT, m.predict(X), weights)) != auc
    assert m.evaluate(X, ONE_HOT)[3] == pytest.approx(plain)


class Largest(metrics.Metric):
    def reset_state(self):
        self.most = 0.0

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.most = max(self.most, float(y_pred.max()))

    def result(self):
        return self.most


def test_a_metric_of_ones_own_class():
    m = model([Largest(), Largest(name="again")])
    found = m.evaluate(X, ONE_HOT, return_dict=True)
    assert found["largest"] == found["again"] == pytest.approx(m.predict(X).max())


@pytest.mark.parametrize("metric", ["precision", metrics.F1Score(), metrics.R2Score(), metrics.AUC()],
                         ids=lambda metric: getattr(metric, "name", metric))
def test_labels_where_rows_are_needed_are_refused_before_training(metric):
    m = model([metric], "sparse_categorical_crossentropy")
    before = m.get_weights()
    with pytest.raises(ValueError, match="needs y_true and y_pred of one shape.*to_categorical"):
        m.fit(X, LABELS, verbose=0)
    for a, b in zip(m.weights, before, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("make, message", [
    (lambda: metrics.Precision(thresholds=2), "thresholds must be numbers from 0 to 1, received 2"),
    (lambda: metrics.F1Score(average="mean"), "average must be None, 'micro', 'macro' or 'weighted', received 'mean'"),
    (lambda: metrics.AUC(curve="XY"), "curve must be 'ROC' or 'PR', received 'XY'"),
    (lambda: metrics.AUC(num_thresholds=1), "num_thresholds must be at least 2, received 1"),
    (lambda: metrics.TopKCategoricalAccuracy(k=0), "k must be a whole number, 1 or more, received 0"),
    (lambda: metrics.AUC()(TRUE, 3 * SCORES), "needs predictions from 0 to 1, received 0 to 2.7"),
    (lambda: metrics.get("presision"), "Unknown metric 'presision'. Did you mean 'precision'"),
])
def test_wrong_words_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("cls", metrics.CLASSES)
def test_configurations_make_the_same_metric(cls):
    made = cls(name="mine")
    again = metrics.get({"class_name": cls.__name__, "config": made.get_config()})
    assert type(again) is cls and again.get_config() == made.get_config() and again.name == "mine"


def test_results_that_are_arrays_are_shown_and_kept(capsys):
    m = model([metrics.ConfusionMatrix(3), metrics.F1Score(), "accuracy"])
    history = m.fit(X, ONE_HOT, epochs=2, verbose=2).history
    assert "accuracy: " in capsys.readouterr().out
    assert history["confusion_matrix"][1].sum() == N and history["f1_score"][0].shape == (3,)


def test_many_threads_may_evaluate_one_model():
    """Metrics that are told outputs count in one place, so one evaluation waits for the other."""
    made = model(["auc", "accuracy", metrics.ConfusionMatrix(3)])
    parts = [slice(0, 100), slice(100, 190), slice(50, 300)]
    expected = [made.evaluate(X[part], ONE_HOT[part], batch_size=7, return_dict=True) for part in parts]
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda i: made.evaluate(X[parts[i % 3]], ONE_HOT[parts[i % 3]], batch_size=7,
                                                      return_dict=True), range(60)))
    for i, logs in enumerate(found):
        for name, value in expected[i % 3].items():
            np.testing.assert_array_equal(logs[name], value)
