"""MLPClassifier and MLPRegressor: scikit-learn's estimators, under its words, on fastnn's networks.

>>> from fastnn.sklearn import MLPClassifier
>>> classifier = MLPClassifier((100,), random_state=0).fit(x_train, y_train)
>>> classifier.score(x_test, y_test)
"""
import copy
import math
import numbers
import warnings

import numpy as np

from . import activations, layers, models, optimizers, regularizers
from .callbacks import Callback
from .utils import look_up, whole_number

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.metrics import r2_score
    from sklearn.model_selection import train_test_split
    from sklearn.utils import check_random_state, column_or_1d
    from sklearn.utils.class_weight import compute_sample_weight
    from sklearn.utils.multiclass import check_classification_targets, type_of_target, unique_labels
    from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data
except ImportError as error:
    raise ImportError("fastnn.sklearn needs scikit-learn 1.6 or later. "
                      'Install it with: pip install "fastnn-cpu[sklearn]"') from error

ACTIVATIONS = {"identity": "linear", "logistic": "sigmoid"}     # scikit-learn's words; the others are fastnn's
DTYPES = (np.float64, np.float32, np.uint8)     # of X, that stay as they are; any other becomes the first
ADAM = ("beta_1", "beta_2", "epsilon")
SOLVER_WORDS = {"adam": ADAM, "adamw": ADAM, "nadam": ADAM}     # what a solver takes beside the learning rate
NOT_NEGATIVE = "0 or more", lambda v: v >= 0
POSITIVE = "above 0", lambda v: v > 0
SHARE = "from 0 to below 1", lambda v: 0 <= v < 1
RANGES = {"alpha": NOT_NEGATIVE, "learning_rate_init": POSITIVE, "power_t": NOT_NEGATIVE, "tol": NOT_NEGATIVE,
          "momentum": ("from 0 to 1", lambda v: 0 <= v <= 1), "beta_1": SHARE, "beta_2": SHARE, "epsilon": POSITIVE,
          "validation_fraction": ("between 0 and 1", lambda v: 0 < v < 1),
          "n_iter_no_change": ("1 or more", lambda v: v >= 1)}
SCHEDULES = ("constant", "invscaling", "adaptive")
SMALLEST_RATE = 1e-6            # where 'adaptive' stops
INPUT = {"accept_sparse": "csr", "dtype": DTYPES, "order": "C"}


def keep(estimator, words):
    """Make the words of a constructor attributes, as scikit-learn has it."""
    vars(estimator).update({name: value for name, value in words.items() if name not in ("self", "__class__")})


def check_number(name, value, words, holds):
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not holds(value):
        raise ValueError(f"{name} must be a number {words}, received {value!r}.")
    return value


class Plan:
    """What an estimator's parameters say, checked before anything else happens."""

    def __init__(self, estimator):
        e = estimator
        sizes = list(e.hidden_layer_sizes) if np.iterable(e.hidden_layer_sizes) else [e.hidden_layer_sizes]
        self.units = [whole_number("Each of hidden_layer_sizes", size, 1) for size in sizes]
        self.activations = [activations.get(ACTIVATIONS.get(name, name))
                            for name in self.per_layer("activation", e.activation)]
        self.dropout = [check_number("dropout", rate, *SHARE) for rate in self.per_layer("dropout", e.dropout)]
        for name, (words, holds) in RANGES.items():
            check_number(name, getattr(e, name), words, holds)
        whole_number("max_iter", e.max_iter, 1)
        if e.batch_size != "auto":
            whole_number("batch_size, unless 'auto',", e.batch_size, 1)
        if e.learning_rate not in SCHEDULES:
            raise ValueError(f"learning_rate must be one of {', '.join(SCHEDULES)}, received {e.learning_rate!r}. "
                             "The number goes to learning_rate_init.")

    def per_layer(self, name, value):
        values = list(value) if isinstance(value, (list, tuple)) else [value] * len(self.units)
        if len(values) != len(self.units):
            raise ValueError(f"{name} must be one value, or a list of one for each of the {len(self.units)} hidden "
                             f"layers, received {value!r}.")
        return values

    def network(self, inputs, outputs, last, dtype):
        """A Sequential of these layers, not yet built."""
        stack, options = [], {"input_shape": (inputs,), "dtype": dtype}
        for units, activation, rate in zip([*self.units, outputs], [*self.activations, last], [*self.dropout, 0],
                                           strict=True):
            stack += [layers.Dense(units, activation, **options), *([layers.Dropout(rate)] if rate else [])]
            options = {}
        return models.Sequential(stack, name="mlp")


class Watch(Callback):
    """What scikit-learn does after every epoch: curves and scores, the learning rate, and whether to stop."""

    def __init__(self, estimator, samples, held):
        super().__init__()
        self.estimator, self.samples, self.held = estimator, samples, held

    def on_epoch_end(self, epoch, logs=None):
        e = self.estimator
        e.n_iter_ += 1
        e.t_ += self.samples
        e.loss_ = logs["loss"] / e._loss_share()
        e.loss_curve_.append(e.loss_)
        better = self.better_score(e, logs) if self.held else self.better_loss(e)
        e._no_improvement_count = 0 if better else e._no_improvement_count + 1
        scheduled = e.solver != "adam"
        if scheduled and e.learning_rate == "invscaling":
            self.model.optimizer.learning_rate = e.learning_rate_init / (e.t_ + 1) ** e.power_t
        if e._no_improvement_count > e.n_iter_no_change:
            self.stop_or_slow_down(scheduled and e.learning_rate == "adaptive")

    def better_score(self, e, logs):
        x, y, weights = self.held
        logs["validation_score"] = score = e._score_outputs(self.model.predict(x), y, weights)
        better = score >= e.best_validation_score_ + e.tol
        e.validation_scores_.append(score)
        if score > e.best_validation_score_:
            e.best_validation_score_, e._best_weights = score, self.model.get_weights()
        return better

    def better_loss(self, e):
        better = e.loss_ <= e.best_loss_ - e.tol
        e.best_loss_ = min(e.loss_, e.best_loss_)
        return better

    def stop_or_slow_down(self, adaptive):
        if adaptive and self.model.optimizer.learning_rate > SMALLEST_RATE:
            self.model.optimizer.learning_rate /= 5
            self.estimator._no_improvement_count = 0
        else:
            self.model.stop_training = True


class _MLP(BaseEstimator):
    """What both estimators do; a subclass turns y into targets, and outputs into answers and a score."""

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
        if not fresh and vars(plan) != vars(self._plan):
            raise ValueError("Training goes on with the layers that there are, but hidden_layer_sizes, activation or "
                             "dropout have changed. Use warm_start=False, or clone() the estimator.")
        X, y = validate_data(self, X, y, reset=fresh, multi_output=True, y_numeric=self._y_numeric, **INPUT)
        targets = self._targets(y, fresh, classes, incremental)
        weights = self._weights(X, y, sample_weight, incremental)
        random = check_random_state(self.random_state)
        initial = self._initial_weights(plan, X.shape[1], random) if fresh else None
        parts, held = self._hold_out(X, targets, weights, random)
        if fresh:
            self._begin(plan, X, initial, random)
        self._train(*parts, held, incremental)
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

    def _initial_weights(self, plan, inputs, random):
        """Weight, bias, weight, ... uniform in +-sqrt(6 / (inputs + units)), or sqrt(2 / ...) where the activation is
        logistic (Glorot and Bengio 2010): scikit-learn's own numbers for the same random_state."""
        sizes, arrays = [inputs, *plan.units, self.n_outputs_], []
        for i, shape in enumerate(zip(sizes, sizes[1:], strict=False)):
            name = plan.activations[min(i, len(plan.units) - 1)] if plan.units else "linear"
            bound = math.sqrt((2 if name == "sigmoid" else 6) / sum(shape))
            arrays += [random.uniform(-bound, bound, shape), random.uniform(-bound, bound, shape[1])]
        return arrays

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
        self._plan, self.model_ = plan, plan.network(X.shape[1], self.n_outputs_, self._words()[1], dtype)
        self.model_._seed = int(random.randint(2**63 - 1, dtype=np.int64))
        self.model_.build((None, X.shape[1]))
        self.model_.set_weights(initial)
        self.n_layers_, self.t_, self.loss_curve_, self._no_improvement_count = len(plan.units) + 2, 0, [], 0
        self.validation_scores_ = self.best_validation_score_ = self.best_loss_ = None
        if self.early_stopping:
            self.validation_scores_, self.best_validation_score_ = [], -math.inf
            self._best_weights = self.model_.get_weights()
        else:
            self.best_loss_ = math.inf

    def _train(self, X, targets, weights, held, incremental):
        n, model = X.shape[0], self.model_
        batch_size = min(200 if self.batch_size == "auto" else self.batch_size, n)
        loss, _, factor = self._words()
        mean = 1 if weights is None else weights.mean()
        for layer in self._dense():
            layer.kernel_regularizer = regularizers.L2(self.alpha / (2 * batch_size * mean)) if self.alpha else None
        model.compile(model.optimizer if incremental and model.optimizer else self._optimizer(), loss)
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

    def _optimizer(self):
        if not isinstance(self.solver, str):
            optimizer = copy.deepcopy(optimizers.get(self.solver))
            optimizer.slots, optimizer.iterations = None, 0
            return optimizer
        if self.solver == "sgd":
            words = {"momentum": self.momentum, "nesterov": self.nesterovs_momentum}
        else:
            words = {word: getattr(self, word) for word in SOLVER_WORDS.get(self.solver, ())}
        return look_up("solver", self.solver, optimizers.OPTIMIZERS)(self.learning_rate_init, **words)

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
        return self.model_.predict(validate_data(self, X, reset=False, **INPUT))

    def __getstate__(self):
        state = dict(super().__getstate__())
        if "model_" in state:
            state["model_"] = packed(self.model_)
        return state

    def __setstate__(self, state):
        super().__setstate__(state)
        if "model_" in state:
            self.model_ = unpacked(state["model_"])

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def packed(model):
    """A model as plain data and arrays: what copying and pickling an estimator keep of it."""
    optimizer = copy.copy(model.optimizer)
    slots, optimizer.slots, optimizer._weights = optimizer.slots, None, None
    return {"config": model.get_config(), "weights": model.get_weights(), "seed": model._seed,
            "epochs": model._epochs, "optimizer": optimizer, "slots": slots, "loss": model.loss.name}


def unpacked(state):
    """The model that packed() has described."""
    model = models.Sequential.from_config(state["config"])
    model._seed, model._epochs = state["seed"], state["epochs"]
    model.build(model.input_shape)
    model.set_weights(state["weights"])
    model.compile(state["optimizer"], state["loss"])
    if state["slots"] is not None:
        model.optimizer.build(model.weights)
        for mine, kept in zip(model.optimizer.slots, state["slots"], strict=True):
            for array, value in zip(mine, kept, strict=True):
                array[...] = value
    return model


class MLPClassifier(ClassifierMixin, _MLP):
    """A network that tells classes apart, with scikit-learn's parameters and attributes.

    y: labels of any type, (n,); or, where a sample may have several labels (multilabel), a column of 0 and 1 for each.
    The loss is the cross-entropy, of a softmax over more than two classes, otherwise of a sigmoid.

    Parameters as in sklearn.neural_network.MLPClassifier, with the same meaning and defaults:
    hidden_layer_sizes, alpha (L2: alpha / (2 n) times the sum of squared weights in a batch of n), batch_size,
    learning_rate, learning_rate_init, power_t, max_iter, shuffle, random_state, tol, verbose, warm_start, momentum,
    nesterovs_momentum, early_stopping, validation_fraction, beta_1, beta_2, epsilon, n_iter_no_change.  Wider are:

    activation: 'identity', 'logistic', 'tanh', 'relu' or another of fastnn.activations; or a list, one for each layer.
    solver: 'adam', 'sgd', or by name or as an object another of fastnn.optimizers; an object has its own learning rate.
        learning_rate='invscaling' and 'adaptive' are for every solver but 'adam'.  There is no 'lbfgs'.
    New are:
    dropout: the share of each hidden layer's outputs that training leaves out, or a list, one for each layer.
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
            unknown = np.setdiff1d(present, found)
            if len(unknown):
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
            if classes is not None and not np.array_equal(found, unique_labels(classes)):
                raise ValueError(f"classes={classes!r} is not what the first call named: {found}.")
            return found
        if multilabel:
            return np.arange(y.shape[1])
        if incremental and classes is None:
            raise ValueError("classes must be passed on the first call to partial_fit: all labels there will be.")
        return unique_labels(classes if incremental else y)

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
        """Loss, last activation, and the factor from that loss to what scikit-learn minimises, a sum over outputs."""
        if self.out_activation_ == "softmax":
            return "sparse_categorical_crossentropy", "softmax", 1
        return "binary_crossentropy", "sigmoid", self.n_outputs_

    def _loss_share(self):
        return 1

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


REGRESSION = {"squared_error": ("mse", "linear", 0.5), "absolute_error": ("mae", "linear", 1)}


class MLPRegressor(RegressorMixin, _MLP):
    """A network that predicts numbers, with scikit-learn's parameters and attributes.

    y: (n,) or (n, outputs).  loss: 'squared_error', half the squared difference as in scikit-learn, 'absolute_error',
    or by name or as an object another of fastnn.losses.  The other parameters, the attributes and the dtypes are
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
        if fresh:
            self.n_outputs_, self.out_activation_ = y.shape[1], "identity"
        return y

    def _words(self):
        if isinstance(self.loss, str) and self.loss in REGRESSION:
            loss, last, share = REGRESSION[self.loss]
            return loss, last, share * self.n_outputs_
        return self.loss, "linear", 1

    def _loss_share(self):
        """scikit-learn descends on the sum over outputs, and reports their mean."""
        return self.n_outputs_ if self._words()[2] != 1 else 1

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
