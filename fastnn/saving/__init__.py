"""Models in files: save_model, load_model, and weights alone; the suffix of the name chooses the format."""
import os
from importlib import import_module

from .files import FormatError, as_path, mapped, write_whole

MODELS = {".fastnn": "native", ".keras": "keras_files", ".h5": "keras_h5"}
WEIGHTS = {".fastnn": "native", ".weights.h5": "keras_files", ".safetensors": "torch"}
EXPORTS = {".c": "c_source", ".onnx": "onnx"}           # with export(model, path), which gives {path: bytes}


def save_model(model, filepath, overwrite=True, include_optimizer=True):
    """Save a model so that load_model() gives it back: its layers and weights, how it is compiled, and its place in
    training, which then goes on to the same bits as if it had not been interrupted.

    filepath: ends in .fastnn, or in .keras for what Keras 3 loads too; ~ is the home folder.
    The file is the old one or the new one at every moment.
    include_optimizer: False leaves out how the model is compiled.  Raises TypeError, before anything is written, for a
    Python function or a class of one's own in the model; OSError where the file cannot be written, or is there and
    overwrite is False.

    >>> save_model(model, "digits.fastnn")
    >>> load_model("digits.fastnn").predict(x)
    """
    path = as_path(filepath)
    form = _format(path, MODELS, "Models are saved as")
    write_whole(_free(path, overwrite), form.write(model, include_optimizer))


def load_model(filepath, compile=True, custom_objects=None):
    """The model in a file of save_model() or of Keras: .keras, or .h5 of Keras 2 and 3, of layers in a row.

    compile=False leaves it not compiled.  custom_objects: nothing, for a file holds classes of fastnn alone.

    Raises FormatError, a ValueError, for a file that is damaged or no model; nothing in it is ever run.
    """
    path = as_path(filepath)
    if custom_objects:
        raise ValueError("load_model() makes objects of fastnn's own classes alone, so it has no use for "
                         f"custom_objects ({', '.join(map(str, custom_objects))}). Load with compile=False and "
                         "compile() with them, or build the model with its code and call load_weights().")
    return _format(path, MODELS, "Models are loaded from").read(mapped(path), path, compile)


def save_weights(model, filepath, overwrite=True):
    """Save the weights alone, of any model that is built: .fastnn, .weights.h5 of Keras 3, or .safetensors with
    PyTorch's names (see saving.torch)."""
    path = as_path(filepath)
    form = _format(path, WEIGHTS, "Weights are saved as")
    if not model.built:
        raise RuntimeError("The model has no weights yet: give its first layer input_shape=, or call fit(x, y) first.")
    write_whole(_free(path, overwrite), form.write_weights(model))


def load_weights(model, filepath):
    """Overwrite the weights of a model that is built with those of a file of save_weights() or save_model()."""
    path = as_path(filepath)
    form = _format(path, WEIGHTS, "Weights are loaded from")
    if not model.built:
        raise RuntimeError("The model has no weights yet: give its first layer input_shape=, or call fit(x, y) first.")
    form.read_weights(model, mapped(path), path)


def __getattr__(name):
    """fastnn.saving.torch, imported when it is first used."""
    if name == "torch":
        return import_module(".torch", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def export_model(model, filepath, overwrite=True):
    """Write a model for other programs to predict with: as C99 source and its header (.c), or as ONNX (.onnx)."""
    path = as_path(filepath)
    for name, data in _format(path, EXPORTS, "Models are exported as").export(model, path).items():
        write_whole(_free(name, overwrite), data)


def to_bytes(model):
    """The bytes of a .fastnn file."""
    from .native import write

    return bytes(write(model))


def from_bytes(data):
    """The model in the bytes of to_bytes() or of a .fastnn file."""
    from .native import read

    return read(memoryview(data).cast("B"), "The data")


def _format(path, formats, sentence):
    """The module for a path's suffix."""
    for suffix, module in formats.items():
        if path.lower().endswith(suffix):
            return import_module(f".{module}", __name__)
    raise ValueError(f"{sentence} {' or '.join(formats)} files, received {path!r}.")


def _free(path, overwrite):
    if not overwrite and os.path.lexists(path):
        raise FileExistsError(17, "Cannot save: the file is there already, and overwrite is False", path)
    return path


__all__ = ["FormatError", "export_model", "from_bytes", "load_model", "load_weights", "save_model", "save_weights",
           "to_bytes"]
