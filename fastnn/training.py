"""Trainer: compile, fit and evaluate, for whatever has layers and compiled stages."""
import itertools
import math
import warnings
from contextlib import contextmanager, nullcontext

import numpy as np

from . import inputs, losses, optimizers
from .batches import Arrays, are_batches, parts
from .callbacks import Callback, History, ProgressBar
from .feeding import Feeder
from .layers import BatchNormalization, Normalization, Rescaling
from .metrics import Metric
from .metrics import get as get_metric
from .utils import as_list, whole_number

SECONDS_BETWEEN_REPORTS = 0.1
UNUSED = {"auto_scale_loss", "jit_compile", "loss_weights", "run_eagerly", "steps_per_execution"}     # of Keras
MOST_KEPT = 2**18       # outputs between two times that metrics are told some


class NotFinite(RuntimeError):
    """A loss that is NaN or infinite, at a batch of an epoch."""

    def __init__(self, message, batch):
        super().__init__(message)
        self.batch = batch


class Place:
    """Where fit() stands: the batches that are done of an epoch, the samples seen and totals, and where in the order
    of the source the epoch began."""

    def __init__(self, epoch, begun=None, done=0, steps=None, seen=0, totals=()):
        self.epoch, self.begun, self.done, self.steps, self.seen, self.totals = epoch, begun, done, steps, seen, totals
        self.counted = {}                   # by metrics that are told outputs

    def as_data(self):
        totals = [float(total) for total in self.totals]
        return {word: value for word, value in vars(self).items() if word != "counted"} | {"totals": totals}


class Trainer(Feeder):
    """What a model is trained and measured with."""

    def compile(self, optimizer="rmsprop", loss=None, metrics=(), weighted_metrics=(), **unused):
        """Choose what training minimises, how, and what it reports: names or objects of fastnn.optimizers, losses
        and metrics, or functions of (y_true, y_pred).  weighted_metrics heed the weights of samples.

        unused: jit_compile, run_eagerly, steps_per_execution and auto_scale_loss are accepted for Keras' sake and
        change nothing.
        """
        for word, value in unused.items():
            if word == "loss_weights" and value is not None:
                raise ValueError("compile(): a model has one output, so loss_weights have nothing to weigh. Leave them "
                                 "out, or change the learning rate.")
            if word not in UNUSED:
                raise TypeError(f"compile() has no argument {word!r}. It takes optimizer, loss, metrics and "
                                "weighted_metrics.")
        if loss is None:
            raise ValueError("compile() needs a loss, for example loss='categorical_crossentropy'.")
        chosen = (optimizers.get(optimizer), losses.get(loss), [get_metric(m) for m in as_list(metrics)],
                  [get_metric(m) for m in as_list(weighted_metrics)])
        if chosen[1].reduction != "sum_over_batch_size":
            raise ValueError(f"Training takes the mean of the samples' losses, but loss={chosen[1].name!r} has "
                             f"reduction={chosen[1].reduction!r}. Leave reduction out, or change the learning rate.")
        self.optimizer, self.loss, self.metrics, self.weighted_metrics = chosen
        self.metrics_names = ["loss"]
        for i, metric in enumerate(self.metrics + self.weighted_metrics):
            taken = metric.name in self.metrics_names and i >= len(self.metrics)
            name = first = f"weighted_{metric.name}" if taken else metric.name
            again = 0
            while name in self.metrics_names:
                again += 1
                name = f"{first}_{again}"
            self.metrics_names.append(name)
        self._network = None

    def _measures(self, stages):
        """The words of the compiled network that say what it minimises and reports."""
        self._told = []         # metrics that are told y_true and y_pred, and whether weights too
        if self.loss is None:
            return {}
        units, last = stages[-1].units, getattr(self.layers[-1], "activation", None)
        self._told = [(metric, False) for metric in self.metrics if metric.kernel_for(units) is None]
        self._told += [(metric, True) for metric in self.weighted_metrics]
        self._finished = [(name, metric) for name, metric in zip(self.metrics_names[1:], self.metrics, strict=False)
                          if type(metric).finish is not Metric.finish]
        kernels = [metric.kernel_for(units) for metric in self.metrics]
        if not self.loss.kernel:
            kernel = losses.Criterion(self.loss, self.layers[-1].output_shape)
        elif self.loss.from_logits:
            kernel = self.loss.measure
            if last in self.loss.fused:
                warnings.warn(f"loss={self.loss.name!r} with from_logits=True, but the last layer gives no logits: it "
                              f"ends in {last!r}. Leave from_logits out, or that activation.", stacklevel=5)
        else:
            kernel = self.loss.fused.get(last, self.loss.measure) if len(stages) > 1 else self.loss.measure
        return {"loss": kernel, "metrics": [kernel for kernel in kernels if kernel is not None],
                "smoothing": self.loss.label_smoothing, "from_logits": self.loss.from_logits}

    # Training

    def fit(self, x=None, y=None, batch_size=None, epochs=1, verbose="auto", callbacks=None, validation_split=0.0,
            validation_data=None, shuffle=True, class_weight=None, sample_weight=None, initial_epoch=0,
            steps_per_epoch=None, validation_steps=None, validation_batch_size=None, validation_freq=1):
        """Train for epochs initial_epoch + 1 to epochs; returns a History whose `history` is a dict of lists.

        x: (n, *input_shape), uint8 or any real dtype, used where it is without a copy if it is C-contiguous uint8,
        float32 or float64; the arithmetic is in the model's dtype.  A SciPy sparse x, CSR best, is never made dense and
        gives the bits of the dense one; its first computing layer must be Dense.  y: (n, outputs), or labels (n,) for
        sparse_categorical_crossentropy.  A np.memmap may be larger than memory.  batch_size: 32 by default; the last
        batch may be smaller.

        Or x alone gives batches (x, y) or (x, y, sample_weight): a generator, which goes on where the last epoch ended,
        any iterable, or an object with __len__ and __getitem__ such as keras.utils.PyDataset, whose batches are
        shuffled.

        sample_weight: (n,), multiplies each sample's loss.  class_weight: {label: weight}, does so by class.
        verbose: 'auto' or 1 shows progress, 2 a line an epoch, 0 nothing.  validation_split: the share of the last
        rows that is kept for validation, taken before shuffling.  validation_data: (x, y), (x, y, sample_weight) or
        batches to validate on, after every validation_freq-th epoch or after those in a list.  steps_per_epoch,
        validation_steps: batches of an epoch, of a validation; by default all.

        Raises RuntimeError before compile(), during another fit(), and when the loss is not finite: the weights are
        then those of the last step before.  Ctrl-C stops between two steps.
        """
        extra = _checked(callbacks)
        batch_size = whole_number("batch_size", 32 if batch_size is None else batch_size, 1)
        held_size = whole_number("validation_batch_size",
                                 batch_size if validation_batch_size is None else validation_batch_size, 1)
        epochs = range(whole_number("initial_epoch", initial_epoch, 0), whole_number("epochs", epochs, 0))
        steps, held_steps = _steps("steps_per_epoch", steps_per_epoch), _steps("validation_steps", validation_steps)
        validates = _validates(validation_freq)
        source = self._source("fit", batch_size, steps, x, y, sample_weight, class_weight)
        scaling = (BatchNormalization, Normalization, Rescaling)
        if type(source) is Arrays and not any(isinstance(layer, scaling) for layer in self.layers):
            inputs.warn_of_bytes(source.rows.x)
        held = None
        if validation_data is not None:
            held = self._validation(validation_data, held_size, held_steps)
        elif validation_split:
            source, held = self._split(source, validation_split, held_size, held_steps)
        with self._alone():
            return self._fit(source, held, validates, epochs, shuffle, verbose, extra)

    @contextmanager
    def _alone(self):
        """One training at a time."""
        if not self._fitting.acquire(blocking=False):
            raise RuntimeError("This model is in another fit(). Wait for it to end, or train a model of its own.")
        try:
            yield
        finally:
            self._fitting.release()

    def _fit(self, source, held, validates, epochs, shuffle, verbose, extra):
        self._bind_optimizer()
        self.stop_training = False
        history = History()
        bar = [ProgressBar(verbose)] if verbose not in (0, False) else []
        everyone = self._introduced([*extra, *bar, history], epochs=epochs.stop, steps=source.steps, verbose=verbose,
                                    samples=source.samples)
        try:
            self._fit_epochs(source, held, validates, epochs, shuffle, everyone)
        finally:
            _tell(bar, "on_train_end")          # ends a half-drawn line, also after an error or Ctrl-C
        return history

    def _fit_epochs(self, source, held, validates, epochs, shuffle, everyone):
        self.place = Place(epochs.start)
        _tell(everyone, "on_train_begin", {})       # BackupAndRestore may set another place
        seed, logs = self._seed if shuffle else None, {}
        by_batch = any(callback.wants_batches for callback in everyone)
        source.go_to(self.place.begun, seed)
        for epoch in range(max(epochs.start, self.place.epoch), epochs.stop):
            _tell(everyone, "on_epoch_begin", epoch, {})
            position = max(self._epochs, epoch)
            reached = self._train_epoch(source, seed, position, epoch, everyone, by_batch)
            if not reached and not self.stop_training:
                break                   # the data had run out
            logs = reached
            self._epochs = position + 1
            if held is not None and validates(epoch):
                measured = self._evaluate(held, everyone)
                logs |= {f"val_{key}": value for key, value in measured.items()}
            self.place = Place(epoch + 1, source.begun())
            _tell(everyone, "on_epoch_end", epoch, logs)
            if self.stop_training:
                break
        _tell(everyone, "on_train_end", logs)

    def _train_epoch(self, source, seed, position, epoch, everyone, by_batch):
        totals, place = self._resumed(source, epoch)
        seen, done, skipped = place.seen, place.done, place.done
        logs = self._logs(totals, seen) if done else {}
        watchers = [callback for callback in everyone if hasattr(callback, "on_progress")]
        for rows, order, size, first, last in source.epoch(seed, position):
            first, skipped = min(first + skipped, last), max(first + skipped - last, 0)
            while first < last and not self.stop_training:
                if by_batch:
                    _tell(everyone, "on_train_batch_begin", done, {})
                try:
                    reached = self._train(rows, order, size, first, first + 1 if by_batch else last, totals, epoch,
                                          done)
                except NotFinite as error:
                    if not any([callback.ends_quietly(error.batch) for callback in everyone]):
                        raise
                    return {**logs, "loss": math.nan}
                seen += min(reached * size, rows.count) - first * size
                done, first = done + reached - first, reached
                logs = self._logs(totals, seen)
                place.done, place.seen, place.totals = done, seen, totals
                if by_batch:
                    _tell(everyone, "on_train_batch_end", done - 1, dict(logs))
                for callback in watchers:
                    callback.on_progress(done, source.steps or done, logs)
            if self.stop_training:
                break
        return logs

    def _resumed(self, source, epoch):
        """Totals and place at the beginning of an epoch, or within it where fit() was resumed there."""
        totals, place = self._begin(), self.place
        if place.epoch != epoch or not place.done:
            self.place = place = Place(epoch, source.begun(), steps=source.steps)
        elif len(place.totals) != len(totals) or place.steps != (source.steps or place.steps):
            raise ValueError(f"The backup was made in a training of {place.steps} batches an epoch that reported "
                             f"{len(place.totals)} numbers; this one has {source.steps} and {len(totals)}. Pass the "
                             "same data, batch_size and metrics, or remove the backup.")
        else:
            from .saving.native import set_metric_states

            totals[...] = place.totals
            set_metric_states(self, place.counted)
        return totals, place

    def _begin(self):
        """Sums for the loss and the compiled metrics, and the other metrics begun anew."""
        for metric, _ in self._told:
            metric.reset_state()
        return np.zeros(len(self.metrics_names) - len(self._told))

    def _train(self, rows, order, batch_size, first, last, totals, epoch=0, done=0):
        """Batches first .. last - 1, or as many as a tenth of a second holds; returns the number reached."""
        rule, self._network.seed = self.optimizer.rule(), self._seed or 0
        moments = []                            # which the pass moves, before an optimizer in Python may raise
        if rule is None:
            last = first + 1
            moments = [(w, w.copy()) for layer, _ in self._stages for w in layer.non_trainable_weights]
        try:
            reached, finite = self._run(rows, order, batch_size, first, last, totals, rule, True,
                                        SECONDS_BETWEEN_REPORTS, self.optimizer.iterations)
        finally:
            if rule is not None:
                self.optimizer.iterations = rule.step
        if not finite:
            raise NotFinite(self._blame(epoch, done + reached - first), done + reached - first)
        if rule is None:
            moved = [stage for stage in self._learners() if not stage.frozen]
            try:
                self.optimizer.apply([g for stage in moved for g in stage.gradients],
                                     [w for stage in moved for w in stage.learned()])
            except BaseException:
                for weight, before in moments:
                    weight[...] = before
                raise
            for hold in self._network.after_step:
                hold()
        return reached

    def _run(self, rows, order, batch_size, first, last, totals, *training):
        """network.run(), after which the metrics that are told outputs have been told those of its batches."""
        network = self._network
        if not self._told:
            return network.run(rows.x, rows.y, order, first, last, batch_size, totals, *training, weights=rows.weights)
        last = min(last, first + max(1, MOST_KEPT // (batch_size * network.units)))
        outputs = np.empty((min(last * batch_size, rows.count) - first * batch_size, network.units), self.dtype)
        reached, finite = network.run(rows.x, rows.y, order, first, last, batch_size, totals, *training,
                                      weights=rows.weights, outputs=outputs)
        if finite:
            chosen = slice(first * batch_size, reached * batch_size)
            chosen = chosen if order is None else order[chosen]
            y, weights = rows.y[chosen], None if rows.weights is None else rows.weights[chosen]
            self._tell_metrics(y, outputs[:len(y)], weights, batch_size)
        return reached, finite

    def _tell_metrics(self, y, outputs, weights, batch_size):
        shape = self.layers[-1].output_shape
        outputs = outputs.reshape(-1, *shape)
        y = y.reshape(outputs.shape) if y.size == outputs.size else y
        for metric, weighted in self._told:
            size = len(y) if metric.additive else batch_size
            for at in range(0, len(y), size):
                part = slice(at, at + size)
                metric.update_state(y[part], outputs[part], weights[part] if weighted and weights is not None else None)

    def _learners(self):
        """The compiled stages with parameters, in the order of the weights."""
        return [stage for stage in self._compiled_network().stages if stage.learned()]

    def _bind_optimizer(self):
        """Slots for every weight that can be trained; arrays for the gradients where the optimizer takes them whole."""
        self._freeze()
        optimizer, rule = self.optimizer, self.optimizer.rule()
        learned = {id(weight) for stage in self._learners() for weight in stage.learned()}
        weights, names = [weight for layer in self.layers for weight in layer.weights if id(weight) in learned], None
        if optimizer.asks_names:
            named = {id(weight): name for layer in self.layers
                     for weight, name in zip(layer.weights, layer.weight_names(), strict=True)}
            names = [named[id(weight)] for weight in weights]
        optimizer.build(weights, names)
        slots = {id(weight): slots for weight, slots in zip(weights, optimizer.slots, strict=True)}
        for stage in self._learners():
            stage.bind([slots[id(w)] for w in stage.learned()], optimizer.lasting(stage.learned()))
            if rule is None or rule.whole:
                stage.keep_gradients()
        self._network.after_step = [hold for layer in self.layers if layer.trainable for hold in layer.holds]

    def _freeze(self):
        """Tell the stages which layers train, as of now."""
        for layer, stages in self._stages:
            for stage in stages:
                stage.frozen = not layer.trainable

    def _blame(self, epoch, batch):
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
        if not self._told:
            values = (totals / max(seen, 1)).tolist()
            logs = dict(zip(self.metrics_names, values, strict=True))
            for name, metric in self._finished:
                logs[name] = metric.finish(logs[name])
            return logs
        means, told = iter((totals / max(seen, 1)).tolist()), [metric for metric, _ in self._told]
        logs = {"loss": next(means)}
        for name, metric in zip(self.metrics_names[1:], self.metrics + self.weighted_metrics, strict=True):
            logs[name] = metric.result() if any(metric is other for other in told) else metric.finish(next(means))
        return logs

    def _computing(self):
        """The layers from the first on that does more than what the gather does."""
        return list(itertools.dropwhile(lambda layer: layer.factor is not None, self.layers))

    def train_on_batch(self, x, y=None, sample_weight=None, class_weight=None, return_dict=False):
        """One step on all of x and y; returns the loss (and metrics) of this batch before the step."""
        self._require_compiled("train_on_batch")
        rows = self._rows(x, y, sample_weight, class_weight)
        self._try_metrics(rows)
        totals = self._begin()
        with self._alone():
            self._bind_optimizer()
            self._train(rows, None, rows.count, 0, 1, totals)
        return self._result(self._logs(totals, rows.count), return_dict)

    # Measuring

    def evaluate(self, x=None, y=None, batch_size=None, verbose=0, sample_weight=None, steps=None, callbacks=None,
                 return_dict=False):
        """The mean loss over x and y, and the metrics: a list in the order of metrics_names, or a dict.

        The loss alone, as a float, where there are no metrics.  x, y, sample_weight: as in fit(), also batches.
        steps: batches to take; by default all.  verbose: 1 shows one line.  callbacks: whose hooks on_test_... are
        called.
        """
        everyone = self._introduced(_checked(callbacks))
        batch_size = whole_number("batch_size", 32 if batch_size is None else batch_size, 1)
        source = self._source("evaluate", batch_size, _steps("steps", steps), x, y, sample_weight)
        bar = ProgressBar(verbose) if verbose not in (0, "auto") else None
        logs = self._evaluate(source, everyone)
        if bar:
            bar.on_test_result(source.steps, logs)
        return self._result(logs, return_dict)

    def _evaluate(self, source, everyone=()):
        self._compiled_network()
        with self._measuring if self._told else nullcontext():     # metrics that are told outputs count in one place
            return self._evaluate_alone(source, everyone)

    def _evaluate_alone(self, source, everyone):
        self._freeze()
        totals, seen, done = self._begin(), 0, 0
        source.restart()
        by_batch = any(callback.wants("test") for callback in everyone)
        _tell(everyone, "on_test_begin", {})
        for rows, order, size, first, last in source.epoch():
            while first < last:
                if by_batch:
                    _tell(everyone, "on_test_batch_begin", done, {})
                reached, _ = self._run(rows, order, size, first, first + 1 if by_batch else last, totals)
                seen += min(reached * size, rows.count) - first * size
                done, first = done + reached - first, reached
                if by_batch:
                    _tell(everyone, "on_test_batch_end", done - 1, self._logs(totals, seen))
        logs = self._logs(totals, seen)
        _tell(everyone, "on_test_end", logs)
        return logs

    def _predict_telling(self, x, batch_size, steps, extra, out):
        """predict() that calls hooks, for each batch where one is overridden."""
        everyone = self._introduced(_checked(extra))
        if are_batches(x) and not isinstance(x, (list, tuple)):
            given = parts(x, steps)
        else:
            x = x if inputs.is_sparse(x) else np.asarray(x)
            size = batch_size or 32 if any(callback.wants("predict") for callback in everyone) else max(x.shape[0], 1)
            given = (x[first:first + size] for first in range(0, max(x.shape[0], 1), size))
        _tell(everyone, "on_predict_begin", {})
        outputs = []
        for batch, part in enumerate(given):
            _tell(everyone, "on_predict_batch_begin", batch, {})
            outputs.append(self.predict(part))
            _tell(everyone, "on_predict_batch_end", batch, {"outputs": outputs[-1]})
        _tell(everyone, "on_predict_end", {})
        return np.concatenate(outputs, out=out)

    def _introduced(self, everyone, **params):
        """The callbacks, each told of the model and of `params`."""
        for callback in everyone:
            callback.set_model(self)
            callback.set_params(dict(params))
        return everyone

    def test_on_batch(self, x, y=None, sample_weight=None, return_dict=False):
        """The loss (and metrics) of one batch."""
        self._require_compiled("test_on_batch")
        rows = self._rows(x, y, sample_weight)
        return self._result(self._evaluate(Arrays(rows, rows.count)), return_dict)

    def _result(self, logs, return_dict):
        values = list(logs.values())
        return logs if return_dict else values if len(values) > 1 else values[0]


def _tell(everyone, hook, *arguments):
    for callback in everyone:
        getattr(callback, hook)(*arguments)


def _steps(name, steps):
    return None if steps is None else whole_number(name, steps, 1)


def _validates(freq):
    """Whether an epoch, counted from 0, ends with a validation."""
    if isinstance(freq, (list, tuple, set, range)):
        chosen = {whole_number("Each epoch in validation_freq", epoch, 1) for epoch in freq}
        return lambda epoch: epoch + 1 in chosen
    freq = whole_number("validation_freq", freq, 1)
    return lambda epoch: (epoch + 1) % freq == 0


def _checked(extra):
    extra = as_list(extra)
    for callback in extra:
        if not isinstance(callback, Callback):
            raise TypeError(f"callbacks must be objects of fastnn.callbacks.Callback, received {callback!r}.")
    return extra
