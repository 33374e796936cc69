"""Feeder: from what users pass as data to where the compiled loop takes its batches from."""
import math

import numpy as np

from . import inputs
from .batches import Arrays, Batches, Mapped, Rows, are_batches
from .layers import Input


class Feeder:
    """Checks data against the layers and the loss of a model, and builds the model for it."""

    def _source(self, caller, batch_size, steps, x, y, sample_weight=None, class_weight=None):
        """Where the batches come from, and the model built for them."""
        self._require_compiled(caller)
        if are_batches(x, y):
            if y is not None or sample_weight is not None:
                raise ValueError("x gives batches, so y and sample_weight must be left out: let each batch be "
                                 "(x, y) or (x, y, sample_weight).")
            source = Batches(x, steps, lambda x, y, weights: self._rows(x, y, weights, class_weight))
            self._try_metrics(source.first)
            return source
        if inputs.must_stay_mapped(x) or inputs.must_stay_mapped(y):
            return self._mapped(batch_size, steps, x, y, sample_weight, class_weight)
        rows = self._rows(x, y, sample_weight, class_weight)
        self._try_metrics(rows)
        return Arrays(rows, batch_size, steps)

    def _mapped(self, batch_size, steps, x, y, sample_weight, class_weight):
        x, y = (part if inputs.is_sparse(part) else np.asarray(part) for part in (x, y))
        if x.ndim < 1 or y.ndim < 1 or len(x) != len(y):
            raise ValueError(f"x and y must have the same number of samples, received {len(x)} and {len(y)}.")
        self._try_metrics(self._rows(x[:1], y[:1], None, class_weight))
        weights = inputs.as_weights(sample_weight, class_weight, y, 1, self.dtype) if class_weight is None else None
        return Mapped(Rows(x, y, weights), batch_size, steps,
                      lambda x, y, weights: self._rows(x, y, weights, class_weight))

    def _split(self, source, share, batch_size, steps):
        if isinstance(source, Batches):
            raise ValueError("validation_split needs arrays, but x gives batches. Use validation_data.")
        classes = (self.loss.classes or "crossentropy" in self.loss.name) and not isinstance(source, Mapped)
        trained, held = inputs.split(source.rows, share, classes)
        return source.of(trained), source.of(held, batch_size, steps)

    def _require_compiled(self, caller):
        if self.loss is None:
            raise RuntimeError(f"Call compile(...) before {caller}().")
        if not self.layers:
            raise RuntimeError(f"Add layers before {caller}().")

    def _rows(self, x, y, sample_weight=None, class_weight=None):
        """Rows of x, y and weights checked and ready for the compiled loop; an unbuilt model is built for x."""
        if x is None:
            raise ValueError("x is missing: pass the samples, one row each.")
        shape = self.layers[0].input_shape or inputs.sample_shape(x)
        rows = self._inputs(x, shape)
        if not len(rows):
            raise ValueError(f"x holds no samples: its shape is {np.shape(x)}.")
        after = self._shape_after(shape)
        units = math.prod(after)
        measured = any(metric.kernel_for(units) is not None for metric in self.metrics)
        y = inputs.as_targets(y, len(rows), after, self.loss, self.dtype, measured)
        weights = inputs.as_weights(sample_weight, class_weight, y, units, self.dtype)
        if not self.built:
            self.build(shape)
        self._compiled_network()
        return Rows(rows, y, weights)

    def _validation(self, data, batch_size, steps):
        parts = [data, None] if are_batches(data) and not isinstance(data, tuple) else data
        if not isinstance(parts, (tuple, list)) or len(parts) not in (2, 3):
            raise ValueError("validation_data must be a pair (x, y), (x, y, sample_weight), or batches of them.")
        try:
            return self._source("fit", batch_size, steps, *parts)
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
            reader = next(iter(self._computing()), first)
            if not reader.reads_sparse_rows:
                raise ValueError(f"Only a Dense layer reads sparse rows, but x is sparse and the first layer that "
                                 f"computes is {reader.name!r} ({type(reader).__name__}). Pass x.toarray(), or put a "
                                 "Dense layer first.")
        return inputs.as_inputs(x, shape, self.dtype, type(first).__name__)

    def _try_metrics(self, rows):
        """Have metrics that can't work with such a y say so before anything has changed."""
        for metric, _ in self._told:
            if metric.additive:
                shape = (1, *self.layers[-1].output_shape)
                y = rows.y[:1]
                y = y.reshape(shape) if y.size == np.prod(shape) else y
                with self._measuring:
                    metric.update_state(y, np.zeros(shape, self.dtype))
