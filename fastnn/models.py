"""Sequential: layers in a row, trained and asked in Keras' words."""
import math
import re
from _thread import RLock, allocate_lock  # as in threading, without half a millisecond of import

import numpy as np

from . import _core, inputs, saving
from .batches import are_batches, parts
from .layers import Input, Layer
from .layers import get as get_layer
from .layers.base import overwrite_all, pass_through
from .saving import load_model, save_model
from .training import Trainer
from .utils import as_list, described, next_model_seed

__all__ = ["Sequential", "clone_model", "load_model", "model_from_json", "save_model"]


NOT_RUN = ("call", "compute_loss", "train_step", "test_step", "predict_step")      # which models of Keras may override


class Sequential(Trainer):
    """Layers in a row.

    >>> model = Sequential([Dense(512, activation='relu', input_shape=(784,)), Dense(10, activation='softmax')])
    >>> model.compile(optimizer='rmsprop', loss='categorical_crossentropy', metrics=['accuracy'])
    >>> history = model.fit(x, y, epochs=5, batch_size=128)
    """

    def __init__(self, layers=None, name="sequential"):
        own = [word for word in NOT_RUN if hasattr(self, word)]
        if own:
            raise TypeError(f"{type(self).__name__} overrides {own[0]}(), which fastnn never calls. Put a function "
                            "between layers as layers.Lambda(function), and what training minimises into a loss of "
                            "your own.")
        self.name, self.layers = name, []
        self.optimizer = self.loss = None
        self.metrics, self.weighted_metrics, self.metrics_names = [], [], ["loss"]
        self.stop_training = False
        self._network = self._seed = None
        self._epochs = 0                    # epochs trained: the position in the stream of permutations
        self._fitting, self._measuring = allocate_lock(), RLock()
        for layer in as_list(layers):
            self.add(layer)

    # Building

    def add(self, layer):
        """Append a layer; built at once if the shape of its input is known."""
        if not isinstance(layer, Layer):
            raise TypeError(f"A model is made of layers, received {layer!r}. Use layers.Dense(...) or another layer.")
        if hasattr(layer, "call"):
            raise TypeError(f"{type(layer).__name__} computes in call(), which fastnn never runs. Write what it does "
                            "as a function without weights, in layers.Lambda(function).")
        if self.layers and isinstance(layer, Input):
            raise ValueError("Input must be the first layer.")
        before = self.layers[-1].output_shape if self.layers else layer.input_shape
        if self.layers and before and layer.input_shape and not layer.built and layer.input_shape != before:
            raise ValueError(f"The layer expects inputs of shape {layer.input_shape}, but the layer before gives "
                             f"{before}.")
        kind = re.sub("(?<=[a-z])(?=[A-Z])", "_", type(layer).__name__).lower()      # as Keras: batch_normalization
        count = sum(type(other) is type(layer) for other in self.layers)
        layer.name = layer.name or (f"{kind}_{count}" if count else kind)
        if before:
            self._build_layer(layer, before)
        self.layers.append(layer)
        self._network = None

    def _build_layer(self, layer, input_shape):
        if self._seed is None:
            self._seed = next_model_seed()
        dtype = next((other.dtype for other in [*self.layers, layer] if other.dtype), "float32")
        if layer.dtype not in (None, dtype):
            raise ValueError(f"All layers of a model share one dtype: {layer.name!r} asks for {layer.dtype}, "
                             f"the layers before are {dtype}.")
        if not layer.built:
            stream = 1 + sum(len(other.weights) for other in self.layers if other is not layer)
            layer.build(input_shape, dtype, self._seed, stream)

    def build(self, input_shape):
        """Build every layer for samples of input_shape, which may begin with a batch axis of None."""
        shape = tuple(input_shape)[1:] if input_shape and input_shape[0] is None else tuple(input_shape)
        for layer in self.layers:
            self._build_layer(layer, shape)
            shape = layer.output_shape

    @property
    def built(self):
        return bool(self.layers) and all(layer.built for layer in self.layers)

    @property
    def input_shape(self):
        return (None, *self.layers[0].input_shape)

    @property
    def output_shape(self):
        return (None, *self.layers[-1].output_shape)

    @property
    def dtype(self):
        return next((layer.dtype for layer in self.layers if layer.dtype), "float32")

    @property
    def weights(self):
        """The parameter arrays themselves, layer by layer: weight, bias, weight, ..."""
        return [weight for layer in self.layers for weight in layer.weights]

    @property
    def trainable_weights(self):
        """Those of the weights that training moves."""
        return [weight for layer in self.layers for weight in layer.trainable_weights]

    @property
    def non_trainable_weights(self):
        """The others: of frozen layers, and statistics."""
        return [weight for layer in self.layers for weight in layer.non_trainable_weights]

    @property
    def trainable(self):
        """Whether any layer trains.  Assigning sets all layers; it takes effect with the next training."""
        return any(layer.trainable for layer in self.layers)

    @trainable.setter
    def trainable(self, value):
        for layer in self.layers:
            layer.trainable = bool(value)

    def _compiled_network(self):
        """The compiled stages, made anew when layers or the loss have changed."""
        if self._network is None:
            if not self.layers or not self.built:
                raise RuntimeError("The model has no layers, or does not know its input. Add layers, and give the "
                                   "first one input_shape=, or call fit(x, y) first.")
            computing = self._computing()
            self._stages = [(layer, layer.stages()) for layer in computing]
            stages = [stage for _, those in self._stages for stage in those] or pass_through(self.layers[-1])
            scale = math.prod(layer.factor for layer in self.layers[:len(self.layers) - len(computing)])
            self._network = _core.Network(stages, scale=scale, **self._measures(stages))
            self._plain = len(self.layers[0].input_shape) == len(self.layers[-1].output_shape) == 1
        return self._network

    def get_config(self):
        """The architecture as plain data: the name, and class and words of each layer.  from_config() reads it."""
        return {"name": self.name, "layers": [described(layer) for layer in self.layers]}

    @classmethod
    def from_config(cls, config):
        """A model of the architecture that get_config() gave, with new random weights."""
        return cls([get_layer(layer) for layer in config["layers"]], config.get("name", "sequential"))

    # Asking

    def predict(self, x, batch_size=None, verbose=0, steps=None, callbacks=None, out=None):
        """The outputs (n, units) for x (n, *input_shape), which may be sparse; the same bits for any batch size.

        x may also give batches, of which `steps` are taken, or be a np.memmap larger than memory.
        out: an array of that shape and the model's dtype that takes the result.  callbacks: whose hooks on_predict_...
        are called, with batches of batch_size.  verbose is accepted for Keras' sake and changes nothing.
        """
        if callbacks:
            return self._predict_telling(x, batch_size, steps, callbacks, out)
        network = self._network or self._compiled_network()
        if self._plain and network.fits(x):
            return network.predict(x, out)
        if are_batches(x) and not isinstance(x, (list, tuple)) or inputs.must_stay_mapped(x):
            return np.concatenate([self.predict(part) for part in parts(x, steps)], out=out)
        shape = (-1, *self.layers[-1].output_shape)
        rows = out if out is None or self._plain else inputs.as_rows(out, network.units)
        return network.predict(self._inputs(x, self.layers[0].input_shape), rows).reshape(shape)

    predict_on_batch = __call__ = predict

    # Files

    def save(self, filepath, overwrite=True, include_optimizer=True):
        """Save the whole model in a .fastnn or .keras file, for models.load_model(): see saving.save_model."""
        saving.save_model(self, filepath, overwrite, include_optimizer)

    def save_weights(self, filepath, overwrite=True):
        """Save the weights alone: see saving.save_weights."""
        saving.save_weights(self, filepath, overwrite)

    def load_weights(self, filepath):
        """Overwrite the weights with those of a file: see saving.load_weights."""
        saving.load_weights(self, filepath)

    def export(self, filepath, overwrite=True):
        """Write the model for other programs to predict with, as .c or .onnx: see saving.export_model."""
        saving.export_model(self, filepath, overwrite)

    def to_json(self, **options):
        """The architecture as JSON text, for model_from_json(); options are those of json.dumps."""
        from .saving.plain import to_json

        return to_json(self, **options)

    def __reduce__(self):
        """Copies and pickles go through the bytes of a .fastnn file."""
        return saving.from_bytes, (saving.to_bytes(self),)

    # Looking inside

    def get_weights(self):
        """Copies of the parameters, layer by layer: weight, bias, weight, ..."""
        return [weight.copy() for weight in self.weights]

    def set_weights(self, weights):
        """Overwrite the parameters with arrays of the same shapes, in the order of get_weights()."""
        overwrite_all(self.weights, weights)

    def count_params(self):
        """How many numbers the model learns."""
        return sum(layer.count_params() for layer in self.layers)

    def summary(self, line_length=None, print_fn=None, show_trainable=False):
        """A table of the layers, their output shapes and parameters, line by line to print_fn (print).

        line_length: columns of the table; by default as many as it needs, at most those of the terminal.
        show_trainable: a column that tells whether fit() moves the layer's weights.
        """
        from .summaries import table

        for line in table(self, line_length, show_trainable):
            (print_fn or print)(line)

    def get_layer(self, name=None, index=None):
        """The layer of a name, or at an index."""
        if (name is None) == (index is None):
            raise ValueError("get_layer() takes a name or an index.")
        if index is not None:
            count = len(self.layers)
            if not -count <= index < count:
                raise ValueError(f"There is no layer {index}: the model has {count}.")
            return self.layers[index]
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise ValueError(f"There is no layer {name!r}. There are: {', '.join(layer.name for layer in self.layers)}.")

    def pop(self):
        """Take the last layer off, and return it."""
        if not self.layers:
            raise ValueError("The model has no layers to take off.")
        self._network = None
        return self.layers.pop()


def clone_model(model):
    """A model of the same architecture with new random weights, not compiled; Python functions are shared."""
    return type(model)([layer.clone() for layer in model.layers], model.name)


def model_from_json(json_string):
    """A model of the architecture that to_json() gave, with new random weights, not compiled."""
    from .saving.plain import from_json

    return from_json(json_string)
