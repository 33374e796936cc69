"""Every metric against Keras: by itself in batches, with weights, and in fit() and evaluate()."""
import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import numpy as np
import pytest

from fastnn import layers, metrics, models

keras = pytest.importorskip("keras")
pytestmark = pytest.mark.filterwarnings("ignore")

RNG = np.random.default_rng(1)
N = 500
P = RNG.random((N, 4)).astype("float32")
P[::7] = np.round(P[::7] * 4) / 4           # ties, and predictions at thresholds
BITS = (RNG.random((N, 4)) < 0.4).astype("float32")
LABELS = RNG.integers(0, 4, N)
ONE_HOT = np.eye(4, dtype="float32")[LABELS]
WEIGHTS = RNG.random(N).astype("float32") * 2
SINGLE, TRUTH = P[:, :1], BITS[:, :1]
CASES = [  # class, words, y_true, y_pred
    ("Precision", {}, BITS, P), ("Precision", {"thresholds": 0.25}, BITS, P), ("Precision", {}, TRUTH[:, 0], SINGLE),
    ("Precision", {"thresholds": [0.7, 0.2, 0.5]}, BITS, P), ("Precision", {"class_id": 2}, ONE_HOT, P),
    ("Recall", {}, BITS, P), ("Recall", {"thresholds": [0.3, 0.6]}, BITS, P), ("Recall", {"class_id": 0}, BITS, P),
    ("TruePositives", {}, BITS, P), ("FalsePositives", {"thresholds": 0.25}, BITS, P),
    ("TrueNegatives", {"thresholds": [0.7, 0.2]}, BITS, P), ("FalseNegatives", {}, TRUTH[:, 0], SINGLE),
    ("F1Score", {}, ONE_HOT, P), ("F1Score", {"average": "micro"}, ONE_HOT, P),
    ("F1Score", {"average": "macro"}, ONE_HOT, P), ("F1Score", {"average": "weighted"}, ONE_HOT, P),
    ("F1Score", {"average": "macro", "threshold": 0.5}, BITS, P),
    ("FBetaScore", {"average": "macro", "beta": 2.0, "threshold": 0.25}, BITS, P),
    ("AUC", {}, BITS, P), ("AUC", {"curve": "PR"}, BITS, P), ("AUC", {"num_thresholds": 10}, TRUTH, SINGLE),
    ("AUC", {"num_thresholds": 3, "summation_method": "minoring"}, BITS, P),
    ("AUC", {"num_thresholds": 7, "summation_method": "majoring", "curve": "PR"}, BITS, P),
    ("AUC", {"thresholds": [0.2, 0.3, 0.9]}, BITS, P), ("AUC", {"multi_label": True}, BITS, P),
    ("AUC", {"multi_label": True, "curve": "PR"}, BITS, P), ("AUC", {"from_logits": True}, BITS, 4 * P - 2),
    ("TopKCategoricalAccuracy", {"k": 2}, ONE_HOT, P), ("TopKCategoricalAccuracy", {}, ONE_HOT, P),
    ("SparseTopKCategoricalAccuracy", {"k": 3}, LABELS, P),
    ("BinaryAccuracy", {}, BITS, P), ("BinaryAccuracy", {"threshold": 0.25}, BITS, P),
    ("CategoricalAccuracy", {}, ONE_HOT, P), ("SparseCategoricalAccuracy", {}, LABELS, P),
    ("R2Score", {}, BITS, P), ("R2Score", {"class_aggregation": None}, BITS, P),
    ("R2Score", {"class_aggregation": "variance_weighted_average"}, BITS, P),
    ("RootMeanSquaredError", {}, BITS, P), ("MeanSquaredError", {}, BITS, P), ("MeanAbsoluteError", {}, BITS, P),
    ("MeanAbsolutePercentageError", {}, P[::-1] + 0.1, P), ("MeanSquaredLogarithmicError", {}, BITS, P),
    ("LogCoshError", {}, BITS, P), ("KLDivergence", {}, BITS, P), ("Poisson", {}, BITS, P), ("Hinge", {}, BITS, P),
    ("SquaredHinge", {}, BITS, P), ("CategoricalHinge", {}, ONE_HOT, P), ("CosineSimilarity", {}, P[::-1], P),
    ("BinaryCrossentropy", {}, BITS, P), ("BinaryCrossentropy", {"label_smoothing": 0.1}, BITS, P),
    ("CategoricalCrossentropy", {}, ONE_HOT, P), ("SparseCategoricalCrossentropy", {}, LABELS, P),
    ("SparseCategoricalCrossentropy", {"from_logits": True}, LABELS, P),
]
IDS = [f"{name} {words}" for name, words, _, _ in CASES]


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize("name, words, y_true, y_pred", CASES, ids=IDS)
def test_values_equal_keras(name, words, y_true, y_pred, weighted):
    """Within 1e-5, after each of three batches of several sizes, and again after reset_state()."""
    mine, theirs = getattr(metrics, name)(**words), getattr(keras.metrics, name)(**words)
    for _ in range(2):
        for part in (slice(0, 32), slice(32, 33), slice(33, N)):
            weights = WEIGHTS[part] if weighted else None
            mine.update_state(y_true[part], y_pred[part], weights)
            theirs.update_state(y_true[part], y_pred[part], weights)
            np.testing.assert_allclose(mine.result(), np.asarray(theirs.result()), rtol=2e-5, atol=2e-6)
        mine.reset_state()
        theirs.reset_state()


X = RNG.standard_normal((N, 6)).astype("float32")


@pytest.mark.parametrize("y, names", [
    (ONE_HOT, ["accuracy", "precision", "Recall", "auc", "AUC", "categorical_crossentropy", "mse",
               "top_k_categorical_accuracy", "cosine_similarity", "kl_divergence", "root_mean_squared_error"]),
    (ONE_HOT, [("Precision", {"thresholds": 0.3, "name": "p"}), ("F1Score", {"average": "macro"}), "acc",
               ("R2Score", {}), ("AUC", {"curve": "PR", "name": "pr"})]),
    (LABELS, ["accuracy", ("SparseTopKCategoricalAccuracy", {"k": 2}), "sparse_categorical_crossentropy"]),
], ids=["names", "objects", "labels"])
def test_fit_and_evaluate_report_what_keras_does(y, names):
    """Keys alike; values within 1e-4, counts of single samples aside."""
    mine = models.Sequential([layers.Dense(8, activation="tanh", input_shape=(6,)),
                              layers.Dense(4, activation="softmax")])
    theirs = keras.Sequential([keras.Input((6,)), keras.layers.Dense(8, activation="tanh"),
                               keras.layers.Dense(4, activation="softmax")])
    theirs.set_weights(mine.get_weights())
    loss = "sparse_categorical_crossentropy" if y is LABELS else "categorical_crossentropy"
    for model, library in ((mine, metrics), (theirs, keras.metrics)):
        made = [name if isinstance(name, str) else getattr(library, name[0])(**name[1]) for name in names]
        model.compile("sgd", loss, metrics=made)
    options = {"batch_size": 32, "epochs": 3, "shuffle": False, "verbose": 0, "validation_data": (X[:70], y[:70])}
    found, right = mine.fit(X, y, **options).history, theirs.fit(X, y, **options).history
    assert set(found) == set(right)
    for key in right:
        np.testing.assert_allclose(found[key], right[key], rtol=1e-4, atol=1e-5, err_msg=key)
    found = mine.evaluate(X, y, batch_size=77, return_dict=True)
    right = theirs.evaluate(X, y, batch_size=77, return_dict=True, verbose=0)
    assert found == pytest.approx(right, rel=1e-4, abs=1e-5)


def test_a_metric_of_ones_own_and_its_mean_over_batches():
    """A value for each sample is averaged over samples, one for the batch over batches, as Keras does."""
    def largest(y_true, y_pred):
        return (keras.ops.max if not isinstance(y_pred, np.ndarray) else np.max)(y_pred)

    def by_row(y_true, y_pred):
        ops = keras.ops if not isinstance(y_pred, np.ndarray) else np
        return ops.max(y_pred - y_true, axis=-1)

    mine = models.Sequential([layers.Dense(4, activation="tanh", input_shape=(6,))])
    theirs = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4, activation="tanh")])
    theirs.set_weights(mine.get_weights())
    for model in (mine, theirs):
        model.compile("sgd", "mse", metrics=[largest, by_row])
    found = mine.evaluate(X, P, batch_size=77, return_dict=True)
    right = theirs.evaluate(X, P, batch_size=77, return_dict=True, verbose=0)
    assert found == pytest.approx(right, rel=1e-5)
