"""Callbacks that write files: ModelCheckpoint, BackupAndRestore, CSVLogger, TensorBoard."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

from .base import Callback, Logs
from .monitor import Monitor, learning_rate_of
from .progress import say

SaveFreq = int | str


class _Every:
    """Whether it is time to save: at every ``save_freq``-th batch, counted over the epochs, or never for "epoch"."""

    def __init__(self, owner: Callback, save_freq: SaveFreq) -> None:
        if save_freq != "epoch" and (isinstance(save_freq, bool) or not isinstance(save_freq, int) or save_freq < 1):
            raise ValueError(f"{type(owner).__name__}: save_freq must be 'epoch' or a number of batches, 1 or more, "
                             f"received {save_freq!r}.")
        self.batches = 0 if save_freq == "epoch" else int(save_freq)
        self.seen = 0

    def now(self) -> bool:
        self.seen += 1
        if self.seen < self.batches or not self.batches:
            return False
        self.seen = 0
        return True


class ModelCheckpoint(Monitor):
    """Save the model, or with ``save_weights_only`` its weights, after each epoch or each ``save_freq`` batches.

    ``filepath``: may name the epoch, counted from 1, and the logs: "{epoch:02d}-{val_loss:.2f}.fastnn"; its suffix
    chooses the format, its folder is made. ``save_best_only``: only where ``monitor`` is better than at every save
    before, and than ``initial_value_threshold``. ``verbose=1`` says what was saved.

    Example::

        ModelCheckpoint("best.fastnn", save_best_only=True)
    """

    def __init__(
        self, filepath: Any, monitor: str = "val_loss", verbose: int = 0, save_best_only: bool = False,
        save_weights_only: bool = False, mode: str = "auto", save_freq: SaveFreq = "epoch",
        initial_value_threshold: float | None = None,
    ) -> None:
        from .. import saving

        super().__init__(monitor, mode)
        self.best = initial_value_threshold
        self.filepath, self.verbose = saving.as_path(filepath), verbose
        self.save_best_only, self.save_weights_only, self.save_freq = save_best_only, save_weights_only, save_freq
        self.every, self.epoch = _Every(self, save_freq), 0
        suffixes = tuple(saving.WEIGHTS if save_weights_only else saving.MODELS)
        if not self.filepath.lower().endswith(suffixes):
            what = "weights" if save_weights_only else "models"
            raise ValueError(f"ModelCheckpoint: files of {what} end in {' or '.join(suffixes)}, received "
                             f"{self.filepath!r}.")

    @property
    def wants_batches(self) -> bool:
        return self.save_freq != "epoch" or type(self) is not ModelCheckpoint and super().wants_batches

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        if self.every.now():
            self._save({"batch": batch + 1, **(logs or {})})

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if self.save_freq == "epoch":
            self._save(logs or {})

    def _save(self, logs: Logs) -> None:
        try:
            path = self.filepath.format(**{"epoch": self.epoch + 1, **logs})
        except KeyError as error:
            raise KeyError(f"ModelCheckpoint: {self.filepath!r} names {error}, there are: epoch, "
                           f"{', '.join(logs)}.") from error
        if not self._is_due(logs, path):
            return
        if folder := os.path.dirname(path):
            os.makedirs(folder, exist_ok=True)
        (self.model.save_weights if self.save_weights_only else self.model.save)(path)

    def _is_due(self, logs: Logs, path: str) -> bool:
        value, title = self.value(logs) if self.save_best_only else None, f"Epoch {self.epoch + 1}: "
        if value is None:
            self._tell(f"{title}saving model to {path}")
            return True
        best = "None" if self.best is None else f"{self.best:.5f}"
        if not self.is_improvement(value, self.best):
            self._tell(f"{title}{self.monitor} did not improve from {best}")
            return False
        self._tell(f"{title}{self.monitor} improved from {best} to {value:.5f}, saving model to {path}")
        self.best = value
        return True

    def _tell(self, text: str) -> None:
        if self.verbose:
            say(text)


class BackupAndRestore(Callback):
    """Go on where a training was interrupted: run the same script again, and it ends with the same bits.

    Keeps one file in ``backup_dir``, written after each epoch or each ``save_freq`` batches: weights, optimizer, and
    the place in training, also within an epoch. ``fit`` begins there if the file is there, and removes it at its end
    unless ``delete_checkpoint`` is False. The script must build the same model and pass the same data and batch_size;
    batches that it gives itself, also by a generator, must come in the same order again: those before are passed over.
    Any model can be backed up, with Lambda layers and optimizers of one's own too. What other callbacks have counted so
    far is not kept, nor the history of the epochs before.

    Example::

        model.fit(x, y, epochs=100, callbacks=[BackupAndRestore("backup")])
    """

    def __init__(self, backup_dir: Any, save_freq: SaveFreq = "epoch", delete_checkpoint: bool = True) -> None:
        from .. import saving

        super().__init__()
        if not backup_dir:
            raise ValueError("BackupAndRestore needs the name of a folder.")
        self.backup_dir = saving.as_path(backup_dir)
        self.path = os.path.join(self.backup_dir, "latest.fastnn")
        self.save_freq, self.delete_checkpoint, self.every = save_freq, delete_checkpoint, _Every(self, save_freq)

    @property
    def wants_batches(self) -> bool:
        return self.save_freq != "epoch" or type(self) is not BackupAndRestore and super().wants_batches

    def on_train_begin(self, logs: Logs | None = None) -> None:
        from ..saving.files import mapped
        from ..saving.native import read_state

        if os.path.exists(self.path):
            read_state(self.model, mapped(self.path), self.path)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        if self.every.now():
            self._save()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if self.save_freq == "epoch":
            self._save()

    def _save(self) -> None:
        from ..saving.files import write_whole
        from ..saving.native import write_state

        os.makedirs(self.backup_dir, exist_ok=True)
        write_whole(self.path, write_state(self.model))

    def on_train_end(self, logs: Logs | None = None) -> None:
        if self.delete_checkpoint:
            with suppress(OSError):         # not there; or others' files in the folder
                os.remove(self.path)
                os.rmdir(self.backup_dir)


class CSVLogger(Callback):
    """Write a line of the epoch's logs to a CSV file, with a head line of their names.

    ``append=True`` goes on in a file that is there. What is missing in an epoch is "NA".
    """

    def __init__(self, filename: Any, separator: str = ",", append: bool = False) -> None:
        from ..saving import as_path

        super().__init__()
        self.filename, self.sep, self.append = as_path(filename), separator, append
        self.keys: list[str] = []
        self.file: Any = None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.on_train_end()
        there = self.append and os.path.exists(self.filename) and os.path.getsize(self.filename) > 0
        self.file = open(self.filename, "a" if self.append else "w", newline="", encoding="utf-8")
        self.keys, self.head = [], not there

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        import csv

        logs, writer = logs or {}, csv.writer(self.file, delimiter=self.sep)
        if not self.keys:
            self.keys = sorted(logs)
            if not any(key.startswith("val_") for key in self.keys):  # validation_freq may bring them later
                self.keys += [f"val_{key}" for key in self.keys]
            if self.head:
                writer.writerow(["epoch", *self.keys])
        writer.writerow([epoch, *(_cell(logs.get(key, "NA")) for key in self.keys)])
        self.file.flush()

    def on_train_end(self, logs: Logs | None = None) -> None:
        if self.file is not None:
            self.file.close()
            self.file = None


def _cell(value: Any) -> Any:
    values = value.tolist() if hasattr(value, "tolist") else value
    return f'"[{", ".join(map(str, values))}]"' if isinstance(values, (list, tuple)) else values


class TensorBoard(Callback):
    """Write the logs for TensorBoard, by tensorboardX.

    ``log_dir``: the runs "train" and "validation" are written there. ``histogram_freq``: a histogram of each weight
    every so many epochs, 0: none. ``update_freq``: "epoch"; or "batch" or a number of batches, to write the values
    within an epoch too. ``write_steps_per_second``: also how fast it is. Needs the extra "tensorboard".
    """

    def __init__(
        self, log_dir: Any = "logs", histogram_freq: int = 0, write_steps_per_second: bool = False,
        update_freq: SaveFreq = "epoch",
    ) -> None:
        from ..saving import as_path

        super().__init__()
        self.log_dir, self.histogram_freq = as_path(log_dir), histogram_freq
        self.write_steps_per_second, self.update_freq = write_steps_per_second, update_freq
        self.every = _Every(self, 1 if update_freq == "batch" else update_freq)
        self.writers: dict[str, Any] = {}
        self.training = False

    @property
    def wants_batches(self) -> bool:
        return self.update_freq != "epoch" or type(self) is not TensorBoard and super().wants_batches

    def _writer(self, run: str) -> Any:
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise ImportError('Writing for TensorBoard needs tensorboardX. Install it with: pip install '
                              '"fastnn-cpu[tensorboard]"') from error
        if run not in self.writers:
            self.writers[run] = SummaryWriter(os.path.join(self.log_dir, run))
        return self.writers[run]

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._writer("train")
        self.training = True

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        import time

        self.start, self.first = time.perf_counter(), self.model.optimizer.iterations

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        if self.every.now():
            for name, value in (logs or {}).items():
                self._scalar("train", f"batch_{name}", value, self.model.optimizer.iterations)

    def _scalar(self, run: str, name: str, value: Any, step: int) -> None:
        """A number, or each of an array's under its index."""
        if not getattr(value, "ndim", 0):
            self._writer(run).add_scalar(name, value, step)
            return
        for i, part in enumerate(value):
            self._scalar(run, f"{name}/{i}", part, step)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        import time

        logs = {**(logs or {}), "learning_rate": learning_rate_of(self.model.optimizer)}
        if self.write_steps_per_second:
            steps = self.model.optimizer.iterations - self.first
            logs["steps_per_second"] = steps / (time.perf_counter() - self.start)
        for name, value in logs.items():
            run = "validation" if name.startswith("val_") else "train"
            self._scalar(run, f"epoch_{name.removeprefix('val_')}", value, epoch)
        if self.histogram_freq and epoch % self.histogram_freq == 0:
            from ..saving.native import names_of_weights

            for name, weight in zip(names_of_weights(self.model), self.model.weights, strict=True):
                self._writer("train").add_histogram(f"{name}/histogram", weight, epoch)

    def on_test_end(self, logs: Logs | None = None) -> None:
        for name, value in (logs or {}).items():
            self._scalar("validation", f"evaluation_{name}_vs_iterations", value, self.model.optimizer.iterations)
        if not self.training:
            self._close()

    def on_train_end(self, logs: Logs | None = None) -> None:
        self.training = False
        self._close()

    def _close(self) -> None:
        for writer in self.writers.values():
            writer.close()
        self.writers = {}
