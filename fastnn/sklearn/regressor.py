"""MLPRegressor: a network that predicts numbers."""
import math

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils import column_or_1d

from .base import MLP, keep

# scikit-learn's losses: fastnn's, the last activation, the factor for one output
REGRESSION = {"squared_error": ("mse", "linear", 0.5), "absolute_error": ("mae", "linear", 1),
              "poisson": ("poisson", "exponential", 1)}


class MLPRegressor(RegressorMixin, MLP):
    """A network that predicts numbers, with scikit-learn's parameters and attributes.

    y: (n,) or (n, outputs).  loss: 'squared_error', half the squared difference as in scikit-learn, 'absolute_error',
    'poisson' for counts, with an exponential at the end (loss_ leaves out what does not depend on the prediction), or
    by name or as an object another of fastnn.losses.  Of several outputs the losses with scikit-learn's names are
    added, and loss_ is their mean.  The other parameters, the attributes and the dtypes are
    MLPClassifier's, without class_weight and classes_.

    >>> MLPRegressor(hidden_layer_sizes=(100,), random_state=0).fit(X, y).predict(X)
    """

    _y_numeric = True

    def __init__(self, loss="squared_error", hidden_layer_sizes=(100,), activation="relu", *, solver="adam",
                 alpha=0.0001, batch_size="auto", learning_rate="constant", learning_rate_init=0.001, power_t=0.5,
                 max_iter=200, shuffle=True, random_state=None, tol=1e-4, verbose=False, warm_start=False, momentum=0.9,
                 nesterovs_momentum=True, early_stopping=False, validation_fraction=0.1, beta_1=0.9, beta_2=0.999,
                 epsilon=1e-8, n_iter_no_change=10, dropout=0.0, callbacks=None):
        keep(self, locals())

    def partial_fit(self, X, y, sample_weight=None):
        """Train for one epoch on X and y."""
        return self._fit(X, y, sample_weight, True)

    def _targets(self, y, fresh, classes, incremental):
        y = column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y
        y = y.reshape(len(y), -1)
        if not fresh and y.shape[1] != self.n_outputs_:
            raise ValueError(f"The model has {self.n_outputs_} outputs, but y has shape {y.shape}. Pass as many "
                             "columns, or train anew with fit().")
        if self._poisson() and (y < 0).any():
            raise ValueError(f"loss='poisson' is for counts, 0 or more, but y holds {y.min():g}. Use another loss.")
        if fresh:
            self.n_outputs_, self.out_activation_ = y.shape[1], "exp" if self._poisson() else "identity"
        return y

    def _poisson(self):
        return isinstance(self.loss, str) and self.loss == "poisson"

    def _words(self):
        if isinstance(self.loss, str) and self.loss in REGRESSION:
            loss, last, share = REGRESSION[self.loss]
            return loss, last, share * self.n_outputs_, self.n_outputs_
        return self.loss, "linear", 1, 1

    def _strata(self, targets):
        return None

    def _score_outputs(self, outputs, targets, weights):
        """The coefficient of determination."""
        return float(r2_score(targets, outputs, sample_weight=weights)) if np.isfinite(outputs).all() else math.nan

    def predict(self, X):
        """The numbers (n,) for X (n, features), or (n, outputs)."""
        outputs = self._outputs(X)
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
