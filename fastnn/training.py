"""Trainer: compile, fit and evaluate, for whatever has layers and compiled stages."""
from contextlib import contextmanager

import numpy as np

from . import _core, callbacks, inputs, losses, optimizers
from .layers import Dense, Flatten, Input, Rescaling
from .metrics import get as get_metric
from .utils import as_list, whole_number

SECONDS_BETWEEN_REPORTS = 0.1


class Trainer:
    """What a model is trained and measured with."""

    def compile(self, optimizer="rmsprop", loss=None, metrics=()):
        """Choose what training minimises, how, and what it reports: names or objects of fastnn.optimizers, losses
        and metrics."""
        if loss is None:
            raise ValueError("compile() needs a loss, for example loss='categorical_crossentropy'.")
        chosen = optimizers.get(optimizer), losses.get(loss), [get_metric(m) for m in as_list(metrics)]
        self.optimizer, self.loss, self.metrics = chosen
        self.metrics_names = ["loss", *(metric.name for metric in self.metrics)]
        self._network = None

    def _measures(self, stages):
        if self.loss is None:
            return None, []
        units, last = stages[-1].units, getattr(self.layers[-1], "activation", None)
        fused = self.loss.fused if len(stages) > 1 else {}
        kernel = fused.get(last, self.loss.kernel)
        return kernel, [metric.kernel_for(units) for metric in self.metrics]

    # Training

    def fit(self, x=None, y=None, batch_size=None, epochs=1, verbose="auto", callbacks=None, validation_split=0.0,
            validation_data=None, shuffle=True, initial_epoch=0):
        """Train for epochs initial_epoch + 1 to epochs; returns a History whose `history` is a dict of lists.

        x: (n, *input_shape), uint8 or any real dtype, used where it is without a copy if it is C-contiguous uint8,
        float32 or float64; the arithmetic is in the model's dtype.  A SciPy sparse x, CSR best, is never made dense and
        gives the bits of the dense one; its first computing layer must be Dense.  y: (n, outputs), or labels (n,) for
        sparse_categorical_crossentropy.  batch_size: 32 by default; the last batch may be smaller.
        verbose: 'auto' or 1 shows progress, 2 a line an epoch, 0 nothing.  validation_split: the share of the last
        rows that is kept for validation, taken before shuffling.  validation_data: (x, y) to validate on.
        Raises RuntimeError before compile(), during another fit(), and when the loss is not finite: the weights are
        then those of the last step before.  Ctrl-C stops between two steps.
        """
        extra = _checked(callbacks)
        batch_size = whole_number("batch_size", 32 if batch_size is None else batch_size, 1)
        initial_epoch = whole_number("initial_epoch", initial_epoch, 0)
        epochs = whole_number("epochs", epochs, 0)
        x, y = self._data(x, y, "fit")
        if not any(isinstance(layer, Rescaling) for layer in self.layers):
            inputs.warn_of_bytes(x)
        held = None
        if validation_data is not None:
            held = self._validation(validation_data)
        elif validation_split:
            (x, y), held = inputs.split(x, y, validation_split, "crossentropy" in self.loss.name)
        with self._alone():
            return self._fit(x, y, held, batch_size, range(initial_epoch, epochs), shuffle, verbose, extra)

    @contextmanager
    def _alone(self):
        """One training at a time."""
        if not self._fitting.acquire(blocking=False):
            raise RuntimeError("This model is in another fit(). Wait for it to end, or train a model of its own.")
        try:
            yield
        finally:
            self._fitting.release()

    def _fit(self, x, y, held, batch_size, epochs, shuffle, verbose, extra):
        self._bind_optimizer()
        self.stop_training = False
        history = callbacks.History()
        bar = [callbacks.ProgressBar(verbose)] if verbose not in (0, False) else []
        everyone = [*extra, *bar, history]
        batches = -(-len(x) // batch_size)
        for callback in everyone:
            callback.set_model(self)
            callback.set_params({"epochs": epochs.stop, "steps": batches, "verbose": verbose, "samples": len(x)})
        try:
            self._fit_epochs(x, y, held, batch_size, epochs, shuffle, everyone)
        finally:
            _tell(bar, "on_train_end")          # ends a half-drawn line, also after an error or Ctrl-C
        return history

    def _fit_epochs(self, x, y, held, batch_size, epochs, shuffle, everyone):
        _tell(everyone, "on_train_begin", {})
        logs = {}
        for epoch in epochs:
            _tell(everyone, "on_epoch_begin", epoch, {})
            position = max(self._epochs, epoch)
            order = _core.permutation(len(x), self._seed, position) if shuffle else None
            logs = self._train_epoch(x, y, order, batch_size, epoch, everyone)
            self._epochs = position + 1
            if held is not None:
                _tell(everyone, "on_test_begin", {})
                measured = self._evaluate(*held, batch_size)
                _tell(everyone, "on_test_end", measured)
                logs |= {f"val_{key}": value for key, value in measured.items()}
            _tell(everyone, "on_epoch_end", epoch, logs)
            if self.stop_training:
                break
        _tell(everyone, "on_train_end", logs)

    def _train_epoch(self, x, y, order, batch_size, epoch, everyone):
        batch_size = min(batch_size, len(x))
        batches, first, logs = -(-len(x) // batch_size), 0, {}
        totals = np.zeros(len(self.metrics_names))
        by_batch = any(callback.wants_batches for callback in everyone)
        watchers = [callback for callback in everyone if hasattr(callback, "on_progress")]
        while first < batches and not self.stop_training:
            if by_batch:
                _tell(everyone, "on_train_batch_begin", first, {})
            first = self._train(x, y, order, first, first + 1 if by_batch else batches, batch_size, totals, epoch)
            logs = self._logs(totals, min(first * batch_size, len(x)))
            if by_batch:
                _tell(everyone, "on_train_batch_end", first - 1, dict(logs))
            for callback in watchers:
                callback.on_progress(first, batches, logs)
        return logs

    def _train(self, x, y, order, first, last, batch_size, totals, epoch=0):
        """Batches first .. last - 1, or as many as a tenth of a second holds; returns the number reached."""
        network, rule = self._network, self.optimizer.rule()
        if rule is None:
            last = first + 1
        try:
            reached, finite = network.run(x, y, order, first, last, batch_size, totals, rule, True,
                                          SECONDS_BETWEEN_REPORTS, self.optimizer.iterations)
        finally:
            if rule is not None:
                self.optimizer.iterations = rule.step
        if not finite:
            raise RuntimeError(self._blame(epoch, reached, batch_size))
        if rule is None:
            moved = [stage for stage in self._learners() if not stage.frozen]
            self.optimizer.apply([g for stage in moved for g in stage.gradients],
                                 [w for stage in moved for w in stage.learned()])
        return reached

    def _learners(self):
        """The compiled stages with parameters, in the order of the weights."""
        return [stage for stage in self._compiled_network().stages if stage.learned()]

    def _bind_optimizer(self):
        """Slots for every weight; arrays for the gradients where the optimizer takes them whole."""
        self._freeze()
        optimizer, rule = self.optimizer, self.optimizer.rule()
        optimizer.build(self.weights, [name for layer in self.layers for name in layer.weight_names()])
        slots = {id(w): slots for w, slots in zip(self.weights, optimizer.slots, strict=True)}
        for stage in self._learners():
            stage.bind([slots[id(w)] for w in stage.learned()], optimizer.lasting(stage.learned()))
            if rule is None or rule.by_norm:
                stage.keep_gradients()

    def _freeze(self):
        """Tell the stages which layers train, as of now."""
        for layer, stages in self._stages:
            for stage in stages:
                stage.frozen = not layer.trainable

    def _blame(self, epoch, batch, batch_size):
        """The message for a loss that is not finite, with the first layer whose output is not."""
        where = "the loss itself"
        layers = [layer for layer, stages in self._stages for _ in stages]
        for layer, out in zip(layers, self._network.outputs(), strict=False):
            if not np.isfinite(out).all():
                where = f"first in the output of layer {layer.name!r}"
                break
        return (f"The loss is not finite at epoch {epoch + 1}, batch {batch + 1} ({where}), with "
                f"learning_rate={self.optimizer.learning_rate}. The weights are those of the last finite step. "
                "Use a smaller learning rate, scale x, and check that x and y hold no NaN or infinity.")

    def _logs(self, totals, seen):
        return dict(zip(self.metrics_names, (totals / max(seen, 1)).tolist(), strict=True))

    def _data(self, x, y, caller):
        """x and y checked and ready for the compiled loop; an unbuilt model is built for x."""
        if self.loss is None:
            raise RuntimeError(f"Call compile(...) before {caller}().")
        if x is None:
            raise ValueError("x is missing: pass the samples, one row each.")
        if not self.layers:
            raise RuntimeError(f"Add layers before {caller}().")
        shape = self.layers[0].input_shape or inputs.sample_shape(x)
        rows = self._inputs(x, shape)
        if not len(rows):
            raise ValueError(f"x holds no samples: its shape is {np.shape(x)}.")
        y = inputs.as_targets(y, len(rows), self._shape_after(shape), self.loss, self.dtype)
        if not self.built:
            self.build(shape)
        self._compiled_network()
        return rows, y

    def _validation(self, data):
        if not isinstance(data, (tuple, list)) or len(data) != 2:
            raise ValueError("validation_data must be a pair (x, y).")
        try:
            return self._data(*data, "fit")
        except (TypeError, ValueError) as error:
            raise type(error)(f"validation_data: {error}") from error

    def _shape_after(self, shape):
        """The shape of one output for samples of `shape`, built or not."""
        for layer in self.layers:
            shape = layer.shape_after(shape)
        return shape

    def _inputs(self, x, shape):
        first = next((layer for layer in self.layers if not isinstance(layer, Input)), self.layers[0])
        if inputs.is_sparse(x):
            reader = next((layer for layer in self.layers if not isinstance(layer, (Input, Flatten, Rescaling))), first)
            if not isinstance(reader, Dense):
                raise ValueError(f"Only a Dense layer reads sparse rows, but x is sparse and the first layer that "
                                 f"computes is {reader.name!r} ({type(reader).__name__}). Pass x.toarray(), or put a "
                                 "Dense layer first.")
        return inputs.as_inputs(x, shape, self.dtype, type(first).__name__)

    def train_on_batch(self, x, y, return_dict=False):
        """One step on all of x and y; returns the loss (and metrics) before the step."""
        x, y = self._data(x, y, "train_on_batch")
        totals = np.zeros(len(self.metrics_names))
        with self._alone():
            self._bind_optimizer()
            self._train(x, y, None, 0, 1, len(x), totals)
        return self._result(self._logs(totals, len(x)), return_dict)

    # Measuring

    def evaluate(self, x=None, y=None, batch_size=None, verbose=0, return_dict=False):
        """The mean loss over x and y, and the metrics: a list in the order of metrics_names, or a dict.

        The loss alone, as a float, where there are no metrics.  verbose: 1 shows one line.
        """
        batch_size = whole_number("batch_size", 32 if batch_size is None else batch_size, 1)
        x, y = self._data(x, y, "evaluate")
        bar = callbacks.ProgressBar(verbose) if verbose not in (0, "auto") else None
        logs = self._evaluate(x, y, batch_size)
        if bar:
            bar.on_test_result(-(-len(x) // batch_size), logs)
        return self._result(logs, return_dict)

    def _evaluate(self, x, y, batch_size):
        batch_size = min(batch_size, len(x))
        totals = np.zeros(len(self.metrics_names))
        network = self._compiled_network()
        self._freeze()
        network.run(x, y, None, 0, -(-len(x) // batch_size), batch_size, totals)
        return self._logs(totals, len(x))

    def test_on_batch(self, x, y, return_dict=False):
        """The loss (and metrics) of one batch."""
        x, y = self._data(x, y, "test_on_batch")
        return self._result(self._evaluate(x, y, len(x)), return_dict)

    def _result(self, logs, return_dict):
        values = list(logs.values())
        return logs if return_dict else values if len(values) > 1 else values[0]


def _tell(everyone, hook, *arguments):
    for callback in everyone:
        getattr(callback, hook)(*arguments)


def _checked(extra):
    extra = as_list(extra)
    for callback in extra:
        if not isinstance(callback, callbacks.Callback):
            raise TypeError(f"callbacks must be objects of fastnn.callbacks.Callback, received {callback!r}.")
    return extra
