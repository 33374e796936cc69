"""What both estimators do: the training and its state, under scikit-learn's names."""
import math
import warnings

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import assert_all_finite, check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from .. import _core, layers, regularizers, saving
from .plan import Plan
from .watch import Watch

DTYPES = (np.float64, np.float32, np.uint8)     # of X, that stay as they are; any other becomes the first
INPUT = {"accept_sparse": "csr", "dtype": DTYPES, "order": "C", "ensure_all_finite": False}


def keep(estimator, words):
    """Make the words of a constructor attributes, as scikit-learn has it."""
    vars(estimator).update({name: value for name, value in words.items() if name not in ("self", "__class__")})


def check_finite(estimator, X):
    """scikit-learn's error for a NaN or infinity in X; it looks itself only where the sum of sizes, which is quicker on
    all threads, is none either."""
    numbers = X.data if issparse(X) else X
    if numbers.dtype.kind == "f" and not math.isfinite(_core.sizes(numbers)[0]):
        assert_all_finite(X, estimator_name=type(estimator).__name__, input_name="X")


class MLP(BaseEstimator):
    """What both estimators do; a subclass turns y into targets, and outputs into answers and a score.

    Its _words() are fastnn's loss, the last activation, the factor from that loss to what is minimised, as in
    scikit-learn a sum over outputs, and what that is divided by where it is reported.
    """

    def fit(self, X, y, sample_weight=None):
        """Train, from new weights or with warm_start from those that there are, and return self.

        X: (n, features), dense or sparse; float32, float64 and uint8 are read where they are.  y: (n,) or (n, outputs).
        sample_weight: (n,), how much each sample counts.  Warns ConvergenceWarning when max_iter ends the training.
        """
        return self._fit(X, y, sample_weight)

    def _fit(self, X, y, sample_weight, incremental=False, classes=None):
        plan, fresh = Plan(self), not hasattr(self, "model_") or not (self.warm_start or incremental)
        if incremental and self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True: it trains for one epoch. Use fit().")
        if not fresh and plan.hidden != self._hidden:
            raise ValueError("Training goes on with the layers that there are, but hidden_layer_sizes, activation or "
                             "dropout have changed. Use warm_start=False, or clone() the estimator.")
        X, y = validate_data(self, X, y, reset=fresh, multi_output=True, y_numeric=self._y_numeric, **INPUT)
        check_finite(self, X)
        targets = self._targets(y, fresh, classes, incremental)
        weights = self._weights(X, y, sample_weight, incremental)
        random = check_random_state(self.random_state)
        initial = plan.initial_weights(X.shape[1], self.n_outputs_, random) if fresh else None
        parts, held = self._hold_out(X, targets, weights, random)
        if fresh:
            self._begin(plan, X, initial, random)
        if fresh or bool(held) != (self.best_loss_ is None):        # early_stopping may have been set since
            self._watch_anew()
        self._train(*parts, held, plan.optimizer, incremental)
        return self

    def _weights(self, X, y, sample_weight, incremental):
        """What each sample counts, or None where all count the same."""
        if sample_weight is None:
            return None
        weights = _check_sample_weight(sample_weight, X)
        if (weights < 0).any() or not weights.any():
            raise ValueError("sample_weight must be 0 or more, and above 0 for some samples, received "
                             f"{weights.min():g} to {weights.max():g}.")
        return weights

    def _hold_out(self, X, targets, weights, random):
        """The arrays to train on, and (X, targets, weights) to validate on, or None without early_stopping."""
        if not self.early_stopping:
            return (X, targets, weights), None
        parts = train_test_split(X, targets, *([] if weights is None else [weights]), random_state=random,
                                 test_size=self.validation_fraction, stratify=self._strata(targets))
        if parts[1].shape[0] < 2:
            raise ValueError(f"validation_fraction={self.validation_fraction} of {X.shape[0]} samples is less than the "
                             "2 that early_stopping needs. Increase it.")
        parts += [None, None] if weights is None else []
        return parts[::2], parts[1::2]

    def _begin(self, plan, X, initial, random):
        """A model with the initial weights, and nothing learnt."""
        dtype = "float64" if X.dtype == np.float64 else "float32"
        self._hidden, self.model_ = plan.hidden, plan.network(X.shape[1], self.n_outputs_, self._words()[1], dtype)
        self.model_._seed = int(random.randint(2**63 - 1, dtype=np.int64))
        self.model_.build((None, X.shape[1]))
        self.model_.set_weights(initial)
        self.n_layers_, self.t_, self.loss_curve_ = len(plan.hidden) + 2, 0, []

    def _watch_anew(self):
        """Nothing is the best so far."""
        self._no_improvement_count = 0
        self.validation_scores_ = self.best_validation_score_ = self.best_loss_ = None
        if self.early_stopping:
            self.validation_scores_, self.best_validation_score_ = [], -math.inf
            self._best_weights = self.model_.get_weights()
        else:
            self.best_loss_ = math.inf

    def _train(self, X, targets, weights, held, optimizer, incremental):
        n, model = X.shape[0], self.model_
        batch_size = min(200 if self.batch_size == "auto" else self.batch_size, n)
        loss, _, factor, _ = self._words()
        mean = 1 if weights is None else weights.mean()
        for layer in self._dense():
            layer.kernel_regularizer = regularizers.L2(self.alpha / (2 * batch_size * mean)) if self.alpha else None
        model.compile(model.optimizer if incremental and model.optimizer else optimizer, loss)
        if weights is not None or factor != 1:
            weights = np.full(n, factor) if weights is None else weights * (factor / mean)
        own = [] if self.callbacks is None else list(self.callbacks)
        self.n_iter_, epochs = 0, 1 if incremental else self.max_iter
        try:
            model.fit(X, targets, batch_size, epochs, int(self.verbose), [Watch(self, n, held), *own],
                      shuffle=self.shuffle, sample_weight=weights)
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=4)
        finally:
            for callback in own:
                callback.set_model(None)        # so that clone() copies callbacks and not models
        if held:
            model.set_weights(self._best_weights)
        if self.n_iter_ == self.max_iter and not incremental and not model.stop_training:
            warnings.warn(f"Maximum iterations ({self.max_iter}) reached and the optimization has not converged yet. "
                          "Increase max_iter, or tol.", ConvergenceWarning, stacklevel=4)

    def _dense(self):
        return [layer for layer in self.model_.layers if isinstance(layer, layers.Dense)]

    @property
    def coefs_(self):
        """The weight (inputs, units) of every layer: the model's own arrays."""
        check_is_fitted(self)
        return [layer.weight for layer in self._dense()]

    @property
    def intercepts_(self):
        """The bias (units,) of every layer: the model's own arrays."""
        check_is_fitted(self)
        return [layer.bias for layer in self._dense()]

    def _outputs(self, X):
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, **INPUT)
        check_finite(self, X)
        return self.model_.predict(X)

    def __getstate__(self):
        state = dict(super().__getstate__())
        if "model_" in state:
            state["model_"] = saving.to_bytes(self.model_)
        return state

    def __setstate__(self, state):
        super().__setstate__(state)
        if "model_" in state:
            self.model_ = saving.from_bytes(state["model_"])

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
