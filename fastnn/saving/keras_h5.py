"""Keras' older files .h5, read: the architecture as JSON in an attribute, the weights under the layers' names."""
from . import hdf5
from .files import FormatError
from .keras_files import blame, compile_from, model_from, parsed, set_optimizer, slot_order

MOST_WEIGHTS = 8            # of a layer


def write(model, include_optimizer=True):
    raise ValueError("The older format .h5 is only read. Save as .keras, which Keras 3 loads, or as .fastnn.")


def read(data, source, compile=True):
    """A model from the bytes of a .h5 file of Keras 2 or 3, with the optimizer's state."""
    with blame(source), hdf5.opened(data) as file:
        config = file.texts("model_config", 1)
        if config is None:
            raise FormatError("it holds weights without a model. Build the model with its code, and load the weights "
                              "from a .weights.h5 file")
        model = model_from(parsed(config[0].encode()), Weights(file.at("model_weights")))
        training = file.texts("training_config", 1)
        if compile and training:
            config = parsed(training[0].encode())
            compile_from(model, {**config, "optimizer": config.get("optimizer_config")})
            if "optimizer_weights" in file.names():
                _set_optimizer(model, file.at("optimizer_weights"))
    return model


class Weights:
    """Gives each layer, as it is built, the arrays that the attribute weight_names of its group names, in order."""

    def __init__(self, file):
        self.file = file
        self.group, self.paths, self.taken = file, [], 0

    def begin(self, layer):
        known = isinstance(layer.name, str) and layer.name in self.file.names()
        self.group, self.taken = (self.file.at(layer.name) if known else self.file), 0
        self.paths = self.group.texts("weight_names", MOST_WEIGHTS) or [] if known else []

    def __call__(self, name, shape, dtype):
        if self.taken >= len(self.paths):
            raise FormatError(f"it has {len(self.paths)} arrays for layer {name!r}, which needs more")
        self.taken += 1
        return self.group.array(self.paths[self.taken - 1], shape, (dtype_code(dtype),))

    def skip(self):
        self.taken += 1

    def end(self, layer):
        if self.taken != len(self.paths):
            raise FormatError(f"it has {len(self.paths)} arrays for layer {layer.name!r}, which has {self.taken}")

    def finish(self):
        pass


def dtype_code(dtype):
    return {"float32": "f4", "float64": "f8"}[dtype]


def _set_optimizer(model, group):
    """The state in Keras 3's order, or in that of Keras 2: no learning rate, and each kind of slot for all weights."""
    slots, count = len(model.optimizer.slot_names), len(model.trainable_weights)
    paths = group.texts("weight_names", 3 + slots * count) or []
    if len(paths) == 1 + slots * count and not model.optimizer.schedule:
        paths[1:] = ["", *(paths[1 + kind * count + i] for i, kind in slot_order(model.optimizer, count))]
    set_optimizer(model, len(paths), lambda i, shape, kinds: group.array(paths[i], shape, kinds))
