"""Callback: the hooks that fit, evaluate and predict call; History and LambdaCallback, which only fill them in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Logs = dict[str, Any]

BATCH_HOOKS = {
    "train": ("on_train_batch_begin", "on_train_batch_end", "on_batch_begin", "on_batch_end"),
    "test": ("on_test_batch_begin", "on_test_batch_end"),
    "predict": ("on_predict_batch_begin", "on_predict_batch_end"),
}


class Callback:
    """Base of all callbacks, with Keras' hooks: override those you need, and give the object to ``fit``.

    ``fit`` sets ``model`` and ``params`` ({"epochs": ..., "steps": batches an epoch, "verbose": ...}) before
    training. ``logs`` maps the names of loss and metrics to their values so far; what a callback puts into those of
    ``on_epoch_end`` is seen by the callbacks after it, and kept in the history. ``model.stop_training = True`` ends
    the training.

    Example::

        class Report(Callback):
            def on_epoch_end(self, epoch, logs=None):
                print(epoch, logs["loss"])

        model.fit(x, y, callbacks=[Report()])
    """

    def __init__(self) -> None:
        self.model: Any = None
        self.params: dict[str, Any] = {}

    @property
    def wants_batches(self) -> bool:
        """Whether a hook for training batches is overridden: if none is, ``fit`` runs many batches in one compiled
        call."""
        return self.wants("train")

    def wants(self, kind: str) -> bool:
        """Whether a hook for the batches of "train", "test" or "predict" is overridden, by a class or on the object."""
        return any(
            getattr(getattr(self, hook), "__func__", None) is not getattr(Callback, hook) for hook in BATCH_HOOKS[kind]
        )

    def ends_quietly(self, batch: int) -> bool:
        """Called by ``fit`` at a loss that is NaN or infinite; True ends the training without an error."""
        return False

    def set_model(self, model: Any) -> None:
        self.model = model

    def set_params(self, params: dict[str, Any]) -> None:
        self.params = params

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Called once, before the first epoch."""

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Called once, after the last epoch."""

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Called before each epoch; ``epoch`` counts from 0."""

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Called after each epoch and its validation, whose values are in ``logs`` as ``val_...``."""

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before each training step; ``batch`` counts from 0 in every epoch."""
        self.on_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called after each training step."""
        self.on_batch_end(batch, logs)

    def on_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Another name of ``on_train_batch_begin``."""

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Another name of ``on_train_batch_end``."""

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Called before an evaluation or validation."""

    def on_test_end(self, logs: Logs | None = None) -> None:
        """Called after an evaluation or validation."""

    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before each batch of an evaluation or validation."""

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called after each batch of an evaluation or validation."""

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        """Called before a prediction to which callbacks were given."""

    def on_predict_end(self, logs: Logs | None = None) -> None:
        """Called after a prediction to which callbacks were given."""

    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before each batch of a prediction."""

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called after each batch of a prediction; ``logs["outputs"]`` are its outputs."""


class History(Callback):
    """What ``fit`` returns: ``history["loss"]`` is the list of the epochs' losses, ``epoch`` their numbers.

    ``history`` has one list for each name in the logs: ``loss``, ``accuracy``, ``val_loss``, ...
    """

    def __init__(self) -> None:
        super().__init__()
        self.history: dict[str, list[float]] = {}
        self.epoch: list[int] = []

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.history = {}
        self.epoch = []

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)


class LambdaCallback(Callback):
    """A callback of functions, one for each hook that is named.

    Example::

        LambdaCallback(on_epoch_end=lambda epoch, logs: print(epoch, logs["loss"]))
    """

    def __init__(self, **hooks: Callable[..., Any] | None) -> None:
        super().__init__()
        for hook, function in hooks.items():
            if not hook.startswith("on_") or not hasattr(Callback, hook):
                known = ", ".join(name for name in vars(Callback) if name.startswith("on_"))
                raise TypeError(f"LambdaCallback: there is no hook {hook!r}. The hooks are {known}.")
            if function is not None:
                setattr(self, hook, function)
