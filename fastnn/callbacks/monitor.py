"""Callbacks that watch one number: EarlyStopping, ReduceLROnPlateau, and what they and ModelCheckpoint share."""

from __future__ import annotations

import math
import warnings
from typing import Any

from ..utils import whole_number
from .base import Callback, Logs
from .progress import say

# The metrics of which more is better; of every other one here, and of a loss, less is.
MORE_IS_BETTER = ("Accuracy", "Precision", "Recall", "AUC", "F1", "FBeta", "TopK", "R2", "CosineSimilarity", "IoU")


class Monitor(Callback):
    """Base of callbacks which compare the epochs' values of ``monitor`` with the best so far.

    ``mode``: "min", "max", or "auto", which knows losses and the metrics of fastnn. ``min_delta``: the least
    difference that counts. A value that is missing from the logs is warned of, and nothing else happens.
    """

    def __init__(self, monitor: str = "val_loss", mode: str = "auto", min_delta: float = 0.0) -> None:
        super().__init__()
        if mode not in ("auto", "min", "max"):
            raise ValueError(f"{type(self).__name__}: mode must be 'auto', 'min' or 'max', received {mode!r}.")
        self.monitor, self.mode, self.min_delta = monitor, mode, abs(min_delta)
        self.best: float | None = None

    def is_improvement(self, value: float, best: float | None) -> bool:
        """Whether ``value`` is better than ``best`` by more than ``min_delta``; NaN never is."""
        more = self.more_is_better()
        if best is None:
            return True
        return value - self.min_delta > best if more else value + self.min_delta < best

    def more_is_better(self) -> bool:
        if self.mode != "auto":
            return self.mode == "max"
        name = self.monitor.removeprefix("val_")
        if name == "loss":
            return False
        kinds = [type(metric) for metric in getattr(self.model, "metrics", []) if metric.name == name]
        if not kinds or not kinds[0].__module__.startswith("fastnn."):
            raise ValueError(
                f"{type(self).__name__} does not know whether more or less of {self.monitor!r} is better. Give it "
                "mode='max' or mode='min'."
            )
        return any(part in kinds[0].__name__ for part in MORE_IS_BETTER)

    def value(self, logs: Logs | None) -> float | None:
        """The value of this epoch, or None with a warning."""
        if (logs or {}).get(self.monitor) is None:
            warnings.warn(
                f"{type(self).__name__} watches {self.monitor!r}, which is not there. There are: "
                f"{', '.join(logs or {})}.", stacklevel=4,
            )
            return None
        assert logs is not None
        value = logs[self.monitor]
        if getattr(value, "size", 1) != 1:
            raise ValueError(f"{type(self).__name__} watches {self.monitor!r}, which is an array of shape "
                             f"{value.shape}. Watch a metric of one number, such as F1Score(average='macro').")
        return float(value)


class EarlyStopping(Monitor):
    """Stop when ``monitor`` has not improved for ``patience`` epochs.

    ``baseline``: patience starts anew only where the value is also better than this one. ``restore_best_weights``:
    the weights of the best epoch are put back when the training ends, also where it was not stopped.
    ``start_from_epoch``: the epochs before are not looked at. ``verbose=1`` says what was done. ``stopped_epoch`` is
    the epoch that was the last one (0: it was not stopped), ``best_epoch`` the best one, both counted from 0.

    Example::

        model.fit(x, y, validation_split=0.1, epochs=100, callbacks=[EarlyStopping(patience=3)])
    """

    def __init__(
        self, monitor: str = "val_loss", min_delta: float = 0.0, patience: int = 0, verbose: int = 0,
        mode: str = "auto", baseline: float | None = None, restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        self.patience = whole_number("EarlyStopping: patience", patience, 0)
        self.verbose, self.baseline = verbose, baseline
        self.restore_best_weights, self.start_from_epoch = restore_best_weights, start_from_epoch
        self.wait = self.stopped_epoch = self.best_epoch = 0
        self.best_weights: list[Any] | None = None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.wait = self.stopped_epoch = self.best_epoch = 0
        self.best = self.best_weights = None

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        value = self.value(logs)
        if value is None or epoch < self.start_from_epoch:
            return
        self.wait += 1
        if self.is_improvement(value, self.best):
            self.best, self.best_epoch = value, epoch
            if self.restore_best_weights:
                self.best_weights = self.model.get_weights()
            if self.baseline is None or self.is_improvement(value, self.baseline):
                self.wait = 0
        elif self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self, logs: Logs | None = None) -> None:
        if self.stopped_epoch and self.verbose:
            say(f"Epoch {self.stopped_epoch + 1}: early stopping")
        if self.best_weights is not None:
            if self.verbose:
                say(f"Restoring model weights from the end of the best epoch: {self.best_epoch + 1}.")
            self.model.set_weights(self.best_weights)


class ReduceLROnPlateau(Monitor):
    """Multiply the learning rate by ``factor`` when ``monitor`` has not improved for ``patience`` epochs.

    ``cooldown``: epochs after a reduction which are not counted. ``min_lr``: the least learning rate. The logs of each
    epoch then have its ``learning_rate``. ``verbose=1`` says what was done.
    """

    def __init__(
        self, monitor: str = "val_loss", factor: float = 0.1, patience: int = 10, verbose: int = 0, mode: str = "auto",
        min_delta: float = 1e-4, cooldown: int = 0, min_lr: float = 0.0,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        if not 0 < factor < 1:
            raise ValueError(f"ReduceLROnPlateau: factor must be between 0 and 1, received {factor!r}.")
        self.factor, self.verbose = factor, verbose
        self.patience = whole_number("ReduceLROnPlateau: patience", patience, 0)
        self.cooldown = whole_number("ReduceLROnPlateau: cooldown", cooldown, 0)
        self.min_lr = min_lr
        self.wait = self.cooldown_counter = 0

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.best = None
        self.wait = self.cooldown_counter = 0

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if logs is not None:
            logs["learning_rate"] = learning_rate_of(self.model.optimizer)
        value = self.value(logs)
        if value is None:
            return
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.wait = 0
        if self.is_improvement(value, self.best):
            self.best, self.wait = value, 0
        elif self.cooldown_counter == 0:
            self.wait += 1
            if self.wait >= self.patience and self._reduce(epoch):
                self.cooldown_counter, self.wait = self.cooldown, 0

    def _reduce(self, epoch: int) -> bool:
        optimizer = self.model.optimizer
        old = learning_rate_of(optimizer)
        if old <= self.min_lr:
            return False
        optimizer.learning_rate = max(old * self.factor, self.min_lr)
        if self.verbose:
            say(f"Epoch {epoch + 1}: ReduceLROnPlateau reducing learning rate to {optimizer.learning_rate}.")
        return True


class LearningRateScheduler(Callback):
    """Set the learning rate before each epoch: ``schedule(epoch, learning_rate)``, or ``schedule(epoch)``, returns it.

    The logs of each epoch then have its ``learning_rate``. ``verbose=1`` says what was done.

    Example::

        LearningRateScheduler(lambda epoch, rate: rate if epoch < 10 else 0.9 * rate)
    """

    def __init__(self, schedule: Any, verbose: int = 0) -> None:
        super().__init__()
        if not callable(schedule):
            raise TypeError(f"LearningRateScheduler takes a function of the epoch, received {schedule!r}. For example: "
                            "lambda epoch, rate: 0.9 * rate.")
        self.schedule, self.verbose = schedule, verbose

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        optimizer = self.model.optimizer
        rate = self._asked(epoch, learning_rate_of(optimizer))
        if isinstance(rate, bool) or not hasattr(rate, "__float__") or not math.isfinite(rate) or rate < 0:
            raise ValueError(f"LearningRateScheduler: the schedule must return a finite number, 0 or more, for epoch "
                             f"{epoch} it returned {rate!r}.")
        optimizer.learning_rate = float(rate)
        if self.verbose:
            say(f"Epoch {epoch + 1}: LearningRateScheduler setting learning rate to {float(rate)}.")

    def _asked(self, epoch: int, rate: float) -> Any:
        import inspect

        try:
            inspect.signature(self.schedule).bind(epoch, rate)
        except TypeError:
            return self.schedule(epoch)
        except ValueError:  # a function of C without a signature
            pass
        return self.schedule(epoch, rate)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if logs is not None:
            logs["learning_rate"] = learning_rate_of(self.model.optimizer)


class TerminateOnNaN(Callback):
    """End the training quietly at a loss that is NaN or infinite, where ``fit`` would raise RuntimeError.

    The weights are those of the last step before, as after the error; the epoch's loss in the history is NaN or
    infinite. ``raise_error=True`` keeps the error.
    """

    def __init__(self, raise_error: bool = False) -> None:
        super().__init__()
        self.raise_error = raise_error

    def ends_quietly(self, batch: int) -> bool:
        if not self.raise_error:
            say(f"Batch {batch}: Invalid loss, terminating training")
            self.model.stop_training = True
        return not self.raise_error


def learning_rate_of(optimizer: Any) -> float:
    """The learning rate of the next step, also where it follows a schedule."""
    rate = optimizer.learning_rate
    return float(rate(optimizer.iterations) if callable(rate) else rate)
