"""MLPClassifier: a network that tells classes apart."""
import math

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils import column_or_1d
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets, type_of_target

from .base import MLP, keep


class MLPClassifier(ClassifierMixin, MLP):
    """A network that tells classes apart, with scikit-learn's parameters and attributes.

    y: labels of any type, (n,); or, where a sample may have several labels (multilabel), a column of 0 and 1 for each.
    The loss is the cross-entropy, of a softmax over more than two classes, otherwise of a sigmoid.

    Parameters as in sklearn.neural_network.MLPClassifier, with the same meaning and defaults:
    hidden_layer_sizes, alpha (L2: alpha / (2 batch_size) times the sum of squared weights; in scikit-learn a little
    more in a smaller last batch), batch_size, learning_rate, learning_rate_init, power_t, max_iter, shuffle,
    random_state, tol, verbose, warm_start, momentum, nesterovs_momentum, early_stopping, validation_fraction, beta_1,
    beta_2, epsilon, n_iter_no_change.  Wider are:

    activation: 'identity', 'logistic', 'tanh', 'relu' or another of fastnn.activations; or a list, one for each layer.
    solver: 'adam', 'sgd', or by name or as an object another of fastnn.optimizers; an object has its own learning rate.
    The schedules of learning_rate are for every solver but 'adam'; there is no 'lbfgs'.

    New are dropout: the share of each hidden layer's outputs that training leaves out, or a list, one for each layer.
    class_weight: {label: weight}, or 'balanced' for n / (classes * samples of the class); not for multilabel y.
    callbacks: objects of fastnn.callbacks.

    Attributes: classes_, coefs_, intercepts_, loss_, best_loss_, loss_curve_, validation_scores_,
    best_validation_score_, n_iter_, t_, n_layers_, n_outputs_, out_activation_, n_features_in_, feature_names_in_ as in
    scikit-learn; model_: the fastnn.Sequential that was trained, to save, export or look into.

    float64 X (and lists, and integers but uint8) is computed in float64, float32 and uint8 X in float32, which is about
    twice as fast.  The same random_state gives the initial weights of scikit-learn, and here the same bits on any
    number of threads.

    >>> MLPClassifier((100,), dropout=0.2, class_weight='balanced', random_state=0).fit(X, y).predict(X)
    """

    _y_numeric = False

    def __init__(self, hidden_layer_sizes=(100,), activation="relu", *, solver="adam", alpha=0.0001, batch_size="auto",
                 learning_rate="constant", learning_rate_init=0.001, power_t=0.5, max_iter=200, shuffle=True,
                 random_state=None, tol=1e-4, verbose=False, warm_start=False, momentum=0.9, nesterovs_momentum=True,
                 early_stopping=False, validation_fraction=0.1, beta_1=0.9, beta_2=0.999, epsilon=1e-8,
                 n_iter_no_change=10, dropout=0.0, class_weight=None, callbacks=None):
        keep(self, locals())

    def partial_fit(self, X, y, sample_weight=None, classes=None):
        """Train for one epoch on X and y.  classes: all the labels there will be, needed in the first call."""
        return self._fit(X, y, sample_weight, True, classes)

    def _targets(self, y, fresh, classes, incremental):
        """y as the numbers of its classes, (n,) or (n, 1) of two, or as (n, outputs) of 0 and 1; sets classes_."""
        check_classification_targets(y)
        kind = type_of_target(y)
        multilabel = kind.startswith("multilabel")
        if kind == "multiclass-multioutput":
            raise ValueError(f"y has shape {y.shape} and more than two values. Unknown label type: pass labels of "
                             "shape (n,), or columns of 0 and 1.")
        y = y.toarray() if hasattr(y, "toarray") else y
        y = y.astype(np.uint8) if multilabel else column_or_1d(y, warn=True)
        found = self._classes(y, multilabel, fresh, classes, incremental)
        if not multilabel:
            present, numbers = np.unique(y, return_inverse=True)
            unknown = np.setdiff1d(present, found).tolist()
            if unknown:
                raise ValueError(f"y holds {unknown[0]!r}, which is not among the classes {found}. Give every class to "
                                 "the first partial_fit(classes=...), or train anew with fit() and warm_start=False.")
            y = np.searchsorted(found, present)[numbers]
        if fresh:
            self.classes_ = found
            several = multilabel or len(found) > 2
            self.n_outputs_ = len(found) if several else 1
            self.out_activation_ = "softmax" if several and not multilabel else "logistic"
        return y if multilabel or self.n_outputs_ > 1 else y.astype(np.uint8)[:, None]

    def _classes(self, y, multilabel, fresh, classes, incremental):
        if not fresh:
            found = self.classes_
            if multilabel != self._multilabel() or multilabel and y.shape[1] != len(found):
                raise ValueError(f"The model knows {'the columns' if self._multilabel() else 'the classes'} {found}, "
                                 f"but y has shape {y.shape}. Pass the same kind of y, or train anew with fit().")
            if classes is not None and not multilabel and not np.array_equal(found, np.unique(classes)):
                raise ValueError(f"classes={classes!r} is not what the first call named: {found}.")
            return found
        if multilabel:
            return np.arange(y.shape[1])
        if incremental and classes is None:
            raise ValueError("classes must be passed on the first call to partial_fit: all labels there will be.")
        return np.unique(classes if incremental else y)

    def _multilabel(self):
        return self.out_activation_ == "logistic" and self.n_outputs_ > 1

    def _weights(self, X, y, sample_weight, incremental):
        weights = super()._weights(X, y, sample_weight, incremental)
        if self.class_weight is None:
            return weights
        if self._multilabel():
            raise ValueError("class_weight needs one label a sample, and y is multilabel. Use sample_weight.")
        if incremental and self.class_weight == "balanced":
            raise ValueError("class_weight='balanced' needs all of y, which partial_fit does not see. Pass a dict, "
                             "such as dict(zip(classes, compute_class_weight('balanced', classes=classes, y=y))).")
        balance = compute_sample_weight(self.class_weight, y)
        return balance if weights is None else weights * balance

    def _strata(self, targets):
        return targets if self.n_outputs_ == 1 else None        # two classes, as scikit-learn has it

    def _words(self):
        if self.out_activation_ == "softmax":
            return "sparse_categorical_crossentropy", "softmax", 1, 1
        return "binary_crossentropy", "sigmoid", self.n_outputs_, 1     # Keras' is the mean over outputs

    def _picked(self, outputs):
        """The number of the class (n,), or 0 and 1 (n, outputs)."""
        return outputs.argmax(1) if self.out_activation_ == "softmax" else (outputs > 0.5).astype(np.uint8)

    def _score_outputs(self, outputs, targets, weights):
        """The accuracy: the share of samples whose label, or all of whose labels, are right."""
        if not np.isfinite(outputs).all():
            return math.nan
        right = self._picked(outputs) == targets
        return float(np.average(right.reshape(len(right), -1).all(1), weights=weights))

    def predict(self, X):
        """The labels (n,) of X (n, features), or 0 and 1 (n, outputs) where y was multilabel."""
        picked = self._picked(self._outputs(X))
        if self._multilabel():
            return picked.astype(self.classes_.dtype)
        return self.classes_[np.minimum(picked.reshape(-1), len(self.classes_) - 1)]

    def predict_proba(self, X):
        """The probability of each of classes_, (n, classes); of several labels each on its own."""
        outputs = self._outputs(X)
        if outputs.shape[1] > 1:
            return outputs
        return np.hstack([1 - outputs, outputs]) if len(self.classes_) == 2 else np.ones_like(outputs)

    def predict_log_proba(self, X):
        """The logarithm of predict_proba(X)."""
        with np.errstate(divide="ignore"):      # of a probability that is 0 in its dtype: -inf
            return np.log(self.predict_proba(X))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
